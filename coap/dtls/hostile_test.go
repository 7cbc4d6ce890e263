package dtls_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	pion "github.com/pion/dtls/v3"

	"behest/coap/dtls"
	"behest/coap/endpoint"
)

// junk is datagrams that nobody with a key sent, aimed at a session that has
// the connection id of stolen, or none.
func junk(rng *rand.Rand, stolen []byte) []byte {
	record := func(typ byte, epoch uint16, seq uint64, body []byte) []byte {
		b := make([]byte, 13, 13+len(body))
		binary.BigEndian.PutUint64(b[3:], uint64(epoch)<<48|seq)
		b[0], b[1], b[2] = typ, 0xfe, 0xfd
		binary.BigEndian.PutUint16(b[11:], uint16(len(body)))
		return append(b, body...)
	}
	noise := make([]byte, rng.IntN(60))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	seq := rng.Uint64N(1 << 20)
	switch rng.IntN(9) {
	case 0:
		return noise
	case 1:
		return record(21, 0, seq, []byte{2, 40}) // a fatal alert in clear
	case 2:
		return record(21, 0, seq, []byte{1, 0}) // close_notify in clear
	case 3:
		return record(23, 0, seq, noise) // data in clear [CVE-2019-20786]
	case 4:
		return record(22, 0, seq, noise)
	case 5:
		return record(byte(20+rng.IntN(4)), uint16(rng.IntN(4)), seq, noise)
	case 6:
		return append(record(23, 1, seq, noise), record(21, 0, seq, []byte{2, 10})...)
	case 7:
		return record(20, 0, seq, []byte{1})
	}
	b := append([]byte(nil), stolen...)
	for range 1 + rng.IntN(3) {
		b[rng.IntN(len(b))] ^= byte(1 + rng.IntN(255))
	}
	return b
}

// TestJunkTearsNothingDown: from the device's own address and from elsewhere,
// with and without a connection id, no session ends and nothing is let through.
func TestJunkTearsNothingDown(t *testing.T) {
	for _, row := range []struct {
		name string
		o    []pion.ClientOption
	}{
		{"without a connection id", with("pump-1", key1)},
		{"with one", with("pump-1", key1, pion.WithConnectionIDGenerator(pion.OnlySendCIDGenerator()))},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := serve(t, &book{}, dtls.Options{})
			p := newProxy(t, s.addr())
			c, err := dial(socket(t, "127.0.0.1:0"), p.front.LocalAddr(), row.o)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			round(t, c, "before")
			number := (<-s.got).Peer.Session
			up := p.sent()
			stolen := up[len(up)-1]
			elsewhere := socket(t, "127.0.0.3:0")
			rng := rand.New(rand.NewPCG(1, 2))
			const each = 10_000
			for i := range each {
				p.back.WriteTo(junk(rng, stolen), s.addr())
				elsewhere.WriteTo(junk(rng, stolen), s.addr())
				if i%500 == 0 {
					round(t, c, "in between") // also paces: nothing is lost in the socket
				}
			}
			round(t, c, "after")
			for len(s.got) > 0 {
				if d := <-s.got; d.Peer.Session != number || string(d.Data) != "in between" && string(d.Data) != "after" {
					t.Fatalf("let through: %+v", d)
				}
			}
			told, ok := s.Session(number)
			if n := s.Stats(); !ok || n.Sessions != 1 || len(s.ends) != 0 || !told.Proven || told.Remote != p.outside() {
				t.Errorf("session %+v, stats %+v", told, n)
			}
		})
	}
}

// TestAReplayIsNotAcceptedTwice: all that the device sent, three times over, in
// any order, from its own address and from elsewhere.
func TestAReplayIsNotAcceptedTwice(t *testing.T) {
	s := serve(t, &book{}, dtls.Options{})
	c, p, number := roaming(t, s)
	seen := map[string]int{}
	take := func() {
		for len(s.got) > 0 {
			seen[string((<-s.got).Data)]++
		}
	}
	const each = 200
	for i := range each {
		round(t, c, fmt.Sprint("message ", i))
		take()
	}
	up := p.sent()
	elsewhere := socket(t, "127.0.0.4:0")
	for range 3 {
		rand.Shuffle(len(up), func(i, j int) { up[i], up[j] = up[j], up[i] })
		for i, b := range up {
			if i%2 == 0 {
				elsewhere.WriteTo(b, s.addr())
			} else {
				p.back.WriteTo(b, s.addr())
			}
			if i%8 == 0 {
				round(t, c, "still here") // also paces: no queue overflows
			}
		}
	}
	round(t, c, "still here")
	take()
	for text, n := range seen {
		if text != "still here" && n != 1 {
			t.Errorf("%q came %d times", text, n)
		}
	}
	if len(seen) != each+1 {
		t.Errorf("%d messages, want %d", len(seen), each+1)
	}
	if told, ok := s.Session(number); !ok || !told.Proven || told.Remote != p.outside() {
		t.Errorf("session %+v", told)
	}
	wait(t, "an empty table", func() bool { return s.Stats().Handshaking == 0 })
}

// TestAFloodOfHellosKeepsNobodyOut, whether each address says hello once or
// twice: it costs no place, no memory and fewer bytes than it brings, and every
// device comes in at the first try.
func TestAFloodOfHellosKeepsNobodyOut(t *testing.T) {
	for _, row := range []struct {
		name    string
		sources int
		each    int
	}{
		{"from one address", 1, 10_000},
		{"in pairs from many", 2000, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := serve(t, &book{}, dtls.Options{HandshakesMax: 4})
			round(t, client(t, s, with("pump-2", key2)), "before")
			before, goroutines := inUse(), runtime.NumGoroutine()
			var flood sync.WaitGroup
			var in, out int
			flood.Go(func() {
				buf := make([]byte, 2048)
				for i := range row.sources {
					src, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 9, byte(i >> 8), byte(i)}), 0)))
					if err != nil {
						t.Error(err)
						return
					}
					for j := range row.each {
						n, _ := src.WriteTo(helloOf(byte(i), byte(i>>8), byte(j), byte(j>>8)), s.addr())
						in += n
						if j%8 == 7 {
							time.Sleep(time.Millisecond)
						}
					}
					src.SetReadDeadline(time.Now().Add(time.Millisecond))
					for {
						n, err := src.Read(buf)
						if err != nil {
							break
						}
						out += n
					}
					src.Close()
				}
			})
			const devices = 20
			for range devices {
				c, err := dial(socket(t, "127.0.0.1:0"), s.addr(), with("pump-1", key1))
				if err != nil {
					t.Fatal("a device is kept out:", err)
				}
				round(t, c, "in")
				c.Close()
			}
			flood.Wait()
			n := s.Stats()
			grown := inUse() - before
			t.Logf("%d bytes in, %d out (as far as read); %d KB and %d goroutines more; %+v", in, out, grown>>10, runtime.NumGoroutine()-goroutines, n)
			if n.Handshakes != devices+1 || n.Shed+n.Pushed+n.Failed != 0 || n.Asked < uint64(row.sources*row.each)/2 {
				t.Errorf("stats %+v", n)
			}
			if out > in || out == 0 {
				t.Errorf("%d bytes out for %d in", out, in)
			}
			if most := int64(1 << 20); grown > most {
				t.Errorf("%d bytes more, at most %d", grown, most)
			}
		})
	}
}

// TestHandshakesGoAway by themselves, with all that they hold.
func TestHandshakesGoAway(t *testing.T) {
	s := serve(t, &book{}, dtls.Options{HandshakeTimeout: 100 * time.Millisecond})
	round(t, client(t, s, with("pump-1", key1)), "all that serves runs")
	goroutines := runtime.NumGoroutine()
	const times = 50
	for i := range times {
		pc := socket(t, "127.0.0.1:0")
		pc.WriteTo(bearing(helloOf(byte(i)), askFor(t, s, pc, helloOf(byte(i)))), s.addr())
	}
	wait(t, "their end", func() bool { return s.Stats().Failed == times && runtime.NumGoroutine() < goroutines+10 })
	if n := s.Stats(); n.Handshaking != 0 || n.Asked < times {
		t.Errorf("stats %+v", n)
	}
}

// TestBytesThatAreNoHelloCostNothing: not an allocation, and not an answer.
func TestBytesThatAreNoHelloCostNothing(t *testing.T) {
	s := serve(t, &book{}, dtls.Options{})
	whole := helloOf(1)
	from := netip.MustParseAddrPort("127.0.0.1:9")
	for n := range len(whole) {
		d := &endpoint.Datagram{Peer: endpoint.Peer{Remote: from}, Data: whole[:n:n]}
		if a := testing.AllocsPerRun(10, func() { s.Receive(d) }); a != 0 {
			t.Fatalf("%v allocations for the first %d bytes of a hello", a, n)
		}
	}
	fourteen := []byte{22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1}
	d := &endpoint.Datagram{Peer: endpoint.Peer{Remote: from}, Data: fourteen}
	if a := testing.AllocsPerRun(100, func() { s.Receive(d) }); a != 0 {
		t.Errorf("%v allocations for % x", a, fourteen)
	}
	if n := s.Stats(); n.Handshaking != 0 || n.SendErrors != 0 {
		t.Errorf("stats %+v", n)
	}
}

// TestWhoComesTooLateIsToldToBeginAgain, once for each hello and in fewer bytes;
// but nobody who has a session.
func TestWhoComesTooLateIsToldToBeginAgain(t *testing.T) {
	s := serve(t, &book{}, dtls.Options{})
	second := helloOf(1)
	second[13+5] = 1 // the second message of a handshake that was never begun
	stranger := socket(t, "127.0.0.1:0")
	stranger.WriteTo(second, s.addr())
	buf := make([]byte, 100)
	stranger.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, err := stranger.Read(buf); err != nil || n != 15 || buf[0] != 21 || buf[13] != 2 {
		t.Errorf("answered % x, %v; want a fatal alert", buf[:n], err)
	}
	p := newProxy(t, s.addr())
	c, err := dial(socket(t, "127.0.0.1:0"), p.front.LocalAddr(), with("pump-1", key1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	round(t, c, "in")
	_, out := p.bytes()
	p.back.WriteTo(second, s.addr())
	wait(t, "its arrival", func() bool { return s.Stats().Disowned == 2 })
	if _, now := p.bytes(); now != out {
		t.Error("a device with a session is told to begin again")
	}
	round(t, c, "still in")
}
