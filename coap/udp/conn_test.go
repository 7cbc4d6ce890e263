package udp_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"behest/coap/endpoint"
	"behest/coap/udp"
)

var compareAddr = cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})

func listen(t testing.TB, addr string) *udp.Conn {
	t.Helper()
	c, err := udp.Listen(addr, udp.Options{})
	if err != nil {
		if strings.Contains(addr, "[::") && strings.Contains(err.Error(), "assign") {
			t.Skip("this machine has no IPv6:", err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// dial connects a plain socket, so that an answer from another address than the
// one that was asked does not arrive.
func dial(t testing.TB, to netip.AddrPort) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(10 * time.Second))
	t.Cleanup(func() { c.Close() })
	return c
}

func readOne(t testing.TB, c *udp.Conn) endpoint.Datagram {
	t.Helper()
	batch := []endpoint.Datagram{{Data: make([]byte, 0, 64)}}
	n, err := c.ReadBatch(batch)
	if n != 1 || err != nil {
		t.Fatalf("ReadBatch: %d, %v", n, err)
	}
	return batch[0]
}

func TestAnswerLeavesFromTheAddressThatWasAsked(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells which address was asked")
	}
	for _, row := range []struct{ name, listen, ask string }{
		{"one IPv4 address", "127.0.0.1:0", "127.0.0.1"},
		{"IPv4 wildcard, second address", "0.0.0.0:0", "127.0.0.2"},
		{"dual-stack wildcard over IPv4", ":0", "127.0.0.3"},
		{"dual-stack wildcard over IPv6", ":0", "::1"},
		{"one IPv6 address", "[::1]:0", "::1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if strings.Contains(row.ask, ":") {
				listen(t, "[::1]:0") // skips without IPv6
			}
			server := listen(t, row.listen)
			asked := netip.MustParseAddr(row.ask)
			client := dial(t, netip.AddrPortFrom(asked, server.LocalAddr().Port()))
			if _, err := client.Write([]byte("ping")); err != nil {
				t.Fatal(err)
			}
			got := readOne(t, server)
			want := endpoint.Datagram{Data: []byte("ping"),
				Peer: endpoint.Peer{Remote: client.LocalAddr().(*net.UDPAddr).AddrPort(), Local: asked}}
			if diff := cmp.Diff(got, want, compareAddr); diff != "" {
				t.Fatal("got, want:", diff)
			}
			got.Data = []byte("pong")
			if n, err := server.WriteBatch([]endpoint.Datagram{got}); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			buf := make([]byte, 16)
			n, err := client.Read(buf)
			if err != nil || string(buf[:n]) != "pong" {
				t.Fatalf("%q, %v", buf[:n], err)
			}
		})
	}
}

func TestDatagramsOfABatchArriveInOrder(t *testing.T) {
	server, client := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	const count = 150 // more than two batches
	var out []endpoint.Datagram
	for i := range count {
		out = append(out, endpoint.Datagram{Peer: endpoint.Peer{Remote: server.LocalAddr()}, Data: fmt.Appendf(nil, "%d", i)})
	}
	if n, err := client.WriteBatch(out); n != count || err != nil {
		t.Fatal(n, err)
	}
	var got []string
	for len(got) < count {
		batch := make([]endpoint.Datagram, 32)
		for i := range batch {
			batch[i].Data = make([]byte, 8)
		}
		n, err := server.ReadBatch(batch)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range batch[:n] {
			got = append(got, string(d.Data))
		}
	}
	var want []string
	for i := range count {
		want = append(want, fmt.Sprint(i))
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Fatal("got, want:", diff)
	}
}

func TestDatagramLargerThanItsBufferIsTruncated(t *testing.T) {
	server := listen(t, "127.0.0.1:0")
	client := dial(t, server.LocalAddr())
	client.Write(make([]byte, 65))
	client.Write(make([]byte, 63))
	if d := readOne(t, server); !d.Truncated || len(d.Data) != 64 {
		t.Errorf("65 bytes into 64: truncated %t, %d bytes", d.Truncated, len(d.Data))
	}
	if d := readOne(t, server); d.Truncated || len(d.Data) != 63 {
		t.Errorf("63 bytes into 64: truncated %t, %d bytes", d.Truncated, len(d.Data))
	}
}

func TestEmptyDatagramIsADatagram(t *testing.T) {
	server, client := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	if n, err := client.WriteBatch([]endpoint.Datagram{{Peer: endpoint.Peer{Remote: server.LocalAddr()}}}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if d := readOne(t, server); len(d.Data) != 0 {
		t.Fatalf("%d bytes", len(d.Data))
	}
}

func TestRefusedDatagramDoesNotTakeTheOthersAlong(t *testing.T) {
	server, client := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	good := endpoint.Datagram{Peer: endpoint.Peer{Remote: server.LocalAddr()}, Data: []byte("good")}
	bad := endpoint.Datagram{Peer: endpoint.Peer{Remote: netip.MustParseAddrPort("127.0.0.1:0")}, Data: []byte("bad")}
	n, err := client.WriteBatch([]endpoint.Datagram{good, bad, good})
	if n != 1 || err == nil {
		t.Fatalf("%d, %v; want one sent, and an error for the next", n, err)
	}
	if n, err := client.WriteBatch([]endpoint.Datagram{good}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	readOne(t, server)
	readOne(t, server)
}

func TestTakenPortIsOneClearLine(t *testing.T) {
	first := listen(t, "127.0.0.1:0")
	addr := first.LocalAddr().String()
	_, err := udp.Listen(addr, udp.Options{})
	if want := "udp: " + addr + " is taken: another process listens there"; err == nil || err.Error() != want {
		t.Fatalf("%v\nwant %s", err, want)
	}
}

func TestBadAddressesAreRefused(t *testing.T) {
	for _, addr := range []string{"", "127.0.0.1", "127.0.0.1:99999", "192.0.2.1:0", "no such host:1"} {
		if c, err := udp.Listen(addr, udp.Options{}); err == nil {
			c.Close()
			t.Errorf("%q: listens", addr)
		} else if strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), "udp: ") {
			t.Errorf("%q: %v", addr, err)
		}
	}
	if _, err := udp.Listen("127.0.0.1:0", udp.Options{BatchMax: -1}); err == nil {
		t.Error("a negative batch is accepted")
	}
}

func TestCloseUnblocksRead(t *testing.T) {
	c := listen(t, "127.0.0.1:0")
	done := make(chan error)
	go func() {
		_, err := c.ReadBatch([]endpoint.Datagram{{Data: make([]byte, 8)}})
		done <- err
	}()
	c.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	if _, err := c.WriteBatch([]endpoint.Datagram{{Peer: endpoint.Peer{Remote: c.LocalAddr()}}}); !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
}

func TestReceiveBufferIsLargeAndItsOverflowCounted(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("drops are counted on Linux only")
	}
	server, err := udp.Listen("127.0.0.1:0", udp.Options{ReceiveBufferBytes: 4096})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if large := listen(t, "127.0.0.1:0"); large.ReceiveBufferBytes() <= server.ReceiveBufferBytes() {
		t.Errorf("receive buffers: %d bytes by default, %d when 4096 are asked for", large.ReceiveBufferBytes(), server.ReceiveBufferBytes())
	}
	client := dial(t, server.LocalAddr())
	for range 200 {
		client.Write(make([]byte, 1000))
	}
	readOne(t, server) // makes room for one more, which carries the counter
	client.Write([]byte("last"))
	for string(readOne(t, server).Data) != "last" {
	}
	if server.Dropped() == 0 {
		t.Error("200 kB into a buffer of 4 kB: no drop counted")
	}
}

func TestReadAndWriteAllocateNothing(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("batches are Linux's")
	}
	server, client := listen(t, ":0"), listen(t, "127.0.0.1:0")
	to := endpoint.Peer{Remote: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), server.LocalAddr().Port())}
	out := make([]endpoint.Datagram, 8)
	in := make([]endpoint.Datagram, 8)
	for i := range out {
		out[i] = endpoint.Datagram{Peer: to, Data: make([]byte, 20)}
		in[i].Data = make([]byte, 64)
	}
	allocs := testing.AllocsPerRun(200, func() {
		if n, err := client.WriteBatch(out); n != 8 || err != nil {
			t.Fatal(n, err)
		}
		for n := 0; n < 8; {
			got, err := server.ReadBatch(in)
			if err != nil {
				t.Fatal(err)
			}
			n += got
		}
		if n, err := server.WriteBatch(in[:1]); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if n, err := client.ReadBatch(in); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations for nine datagrams out and in", allocs)
	}
}

func BenchmarkEcho(b *testing.B) {
	for _, size := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			server, client := listen(b, "127.0.0.1:0"), listen(b, "127.0.0.1:0")
			go func() {
				batch := make([]endpoint.Datagram, size)
				for i := range batch {
					batch[i].Data = make([]byte, 64)
				}
				for {
					n, err := server.ReadBatch(batch)
					if err != nil {
						return
					}
					server.WriteBatch(batch[:n])
				}
			}()
			out, in := make([]endpoint.Datagram, size), make([]endpoint.Datagram, size)
			for i := range out {
				out[i] = endpoint.Datagram{Peer: endpoint.Peer{Remote: server.LocalAddr()}, Data: make([]byte, 20)}
				in[i].Data = make([]byte, 64)
			}
			b.ReportAllocs()
			for i := 0; i < b.N; i += size {
				if _, err := client.WriteBatch(out); err != nil {
					b.Fatal(err)
				}
				for n := 0; n < size; {
					got, err := client.ReadBatch(in)
					if err != nil {
						b.Fatal(err)
					}
					n += got
				}
			}
		})
	}
}
