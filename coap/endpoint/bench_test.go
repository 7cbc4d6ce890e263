package endpoint_test

import (
	"context"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/coap/endpoint"
	"behest/coap/endpoint/simnet"
	"behest/coap/udp"
)

// window is how many requests the generator keeps outstanding, over clients
// sockets, so that no peer meets its bound.
const window, clients = 256, 32

// generate sends b.N confirmable POSTs and counts their answers.
func generate(b *testing.B, to netip.AddrPort) {
	b.Helper()
	var conns [clients]*udp.Conn
	for i := range conns {
		c, err := udp.Listen("127.0.0.1:0", udp.Options{})
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		conns[i] = c
	}
	const each = window / clients
	out, in := make([]endpoint.Datagram, each), make([]endpoint.Datagram, each)
	for i := range out {
		m := msg{typ: con, code: codes.POST, token: "1234", options: path("c/pump-7/1700000000"), payload: "\xa2\x01\x01\x05\xa1bok\xf5"}
		out[i] = endpoint.Datagram{Peer: endpoint.Peer{Remote: to}, Data: m.bytes()}
		in[i].Data = make([]byte, 64)
	}
	mid := 0
	b.ReportAllocs()
	b.ResetTimer()
	for sent := 0; sent < b.N; sent += window {
		for _, c := range conns {
			for i := range out {
				mid++
				out[i].Data[2], out[i].Data[3] = byte(mid>>8), byte(mid)
				// A token of its own, so that ids that come round are no repeats.
				out[i].Data[4], out[i].Data[5], out[i].Data[6] = byte(mid>>24), byte(mid>>16), byte(mid>>8)
			}
			if _, err := c.WriteBatch(out); err != nil {
				b.Fatal(err)
			}
		}
		for _, c := range conns {
			for n := 0; n < each; {
				got, err := c.ReadBatch(in)
				if err != nil {
					b.Fatal(err)
				}
				n += got
			}
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// BenchmarkRequests is a confirmable POST answered 2.04, generator included,
// beside an echo of the same datagrams with the same batches.
func BenchmarkRequests(b *testing.B) {
	b.Run("echo", func(b *testing.B) {
		conn, err := udp.Listen("127.0.0.1:0", udp.Options{})
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		go func() {
			batch, buffers := make([]endpoint.Datagram, 32), make([]byte, 32*64)
			for {
				for i := range batch {
					batch[i].Data = buffers[i*64:][:64:64]
				}
				n, err := conn.ReadBatch(batch)
				if err != nil {
					return
				}
				conn.WriteBatch(batch[:n])
			}
		}()
		generate(b, conn.LocalAddr())
	})
	b.Run("endpoint", func(b *testing.B) {
		conn, err := udp.Listen("127.0.0.1:0", udp.Options{})
		if err != nil {
			b.Fatal(err)
		}
		e, err := endpoint.New(conn, changed, endpoint.Options{})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ran := make(chan error)
		go func() { ran <- e.Run(ctx) }()
		generate(b, conn.LocalAddr())
		cancel()
		<-ran
	})
}

// TestPeersCostLittle counts the heap of peers heard of a moment ago, each with
// one request remembered.
func TestPeersCostLittle(t *testing.T) {
	const peers = 20_000
	var before, after runtime.MemStats
	tellPeers(t, peers, &before, &after)
	each := float64(int64(after.HeapAlloc)-int64(before.HeapAlloc)) / peers
	objects := float64(after.HeapObjects) - float64(before.HeapObjects)
	t.Logf("%.0f bytes a peer, %.4f objects", each, objects/peers)
	if each > 1024 || objects > peers/10 {
		t.Error("more than a kilobyte, or objects that grow with the peers")
	}
}

func tellPeers(t *testing.T, peers int, before, after *runtime.MemStats) {
	tell(t, simnet.Conditions{}, changed, endpoint.Options{}, func(s *story) {
		conn, err := s.net.Listen(netip.MustParseAddrPort("127.0.0.2:1"), manyAddrs(peers)...)
		if err != nil {
			t.Fatal(err)
		}
		settle(before)
		for i, a := range manyAddrs(peers) {
			m := msg{typ: con, code: codes.POST, mid: i & 0xffff, token: "t", options: path("c")}
			if err := conn.Send(endpoint.Datagram{Peer: endpoint.Peer{Remote: s.server, Local: a}, Data: m.bytes()}); err != nil {
				t.Fatal(err)
			}
			conn.Receive(time.Second)
		}
		settle(after)
		if got := s.e.Stats().Peers; got != peers {
			t.Errorf("%d peers, want %d", got, peers)
		}
		conn.Close()
	})
}

func manyAddrs(n int) (a []netip.Addr) {
	for i := range n {
		a = append(a, netip.AddrFrom4([4]byte{127, 1 + byte(i>>16), byte(i >> 8), byte(i)}))
	}
	return a
}

// settle reads the heap without what earlier tests left in pools, which takes
// two collections to go, and their finalizers a third.
func settle(m *runtime.MemStats) {
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(m)
}
