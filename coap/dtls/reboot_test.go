package dtls_test

import (
	"context"
	"testing"
	"time"

	pion "github.com/pion/dtls/v3"

	"behest/coap/dtls"
)

// once makes a client that repeats nothing: it comes in with its first try, or
// not at all.
var once = pion.WithFlightInterval(time.Hour)

// TestARebootOnTheSameAddressGetsInAtOnce, and its old session ends only then.
func TestARebootOnTheSameAddressGetsInAtOnce(t *testing.T) {
	for _, row := range []struct {
		name string
		o    []pion.ClientOption
	}{
		{"without a connection id", with("pump-1", key1, once)},
		{"with one", with("pump-1", key1, once, pion.WithConnectionIDGenerator(pion.OnlySendCIDGenerator()))},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := serve(t, &book{}, dtls.Options{})
			pc := socket(t, "127.0.0.1:0")
			reboot := func(was *plug) (*plug, *pion.Conn) {
				if was != nil {
					was.unplug()
				}
				p := &plug{UDPConn: pc}
				c, err := dial(p, s.addr(), row.o)
				if err != nil {
					t.Fatal("handshake:", err)
				}
				return p, c
			}
			p, c := reboot(nil)
			round(t, c, "first life")
			number := (<-s.got).Peer.Session
			for life := range 5 {
				p, c = reboot(p)
				e := s.endOf(t)
				if e.why != dtls.Replaced || e.session.Peer.Session != number {
					t.Errorf("ended %+v", e)
				}
				round(t, c, "another life")
				if next := (<-s.got).Peer.Session; next == number {
					t.Errorf("life %d has the session of the one before", life)
				} else {
					number = next
				}
			}
			if n := s.Stats(); n.Sessions != 1 || n.Handshakes != 6 || n.Failed != 0 || n.Shed != 0 {
				t.Errorf("stats %+v", n)
			}
		})
	}
}

// TestWhoOnlyKnocksEndsNobody: a hello from a device's address, and a handshake
// there with a wrong key, leave its session alone.
func TestWhoOnlyKnocksEndsNobody(t *testing.T) {
	s := serve(t, &book{}, dtls.Options{})
	pc := socket(t, "127.0.0.1:0")
	p := &plug{UDPConn: pc}
	c, err := dial(p, s.addr(), with("pump-1", key1))
	if err != nil {
		t.Fatal(err)
	}
	round(t, c, "in")
	for i := range 20 {
		pc.WriteTo(helloOf(byte(i)), s.addr())
		round(t, c, "still in")
	}
	number := (<-s.got).Peer.Session
	p.unplug() // the device's own reader would take the stranger's datagrams
	q := &plug{UDPConn: pc}
	if _, err := dial(q, s.addr(), with("pump-1", key2, once)); err == nil {
		t.Fatal("came in")
	}
	if _, ok := s.Session(number); !ok || len(s.ends) > 0 {
		t.Error("the session is gone")
	}
}

// TestARebootInTheMiddleOfAHandshake leaves it behind.
func TestARebootInTheMiddleOfAHandshake(t *testing.T) {
	s := serve(t, &book{}, dtls.Options{})
	pc := socket(t, "127.0.0.1:0")
	for range 5 {
		p := &halfway{plug: &plug{UDPConn: pc}}
		c, err := pion.ClientWithOptions(p, s.addr(), with("pump-1", key1)...)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if err := c.HandshakeContext(ctx); err == nil {
			t.Fatal("came in with its flight lost")
		}
		cancel()
		p.unplug()
	}
	wait(t, "a handshake past its cookie", func() bool { return s.Stats().Handshaking == 1 })
	c, err := dial(&plug{UDPConn: pc}, s.addr(), with("pump-1", key1, once))
	if err != nil {
		t.Fatal(err)
	}
	round(t, c, "in")
	wait(t, "an empty table", func() bool { n := s.Stats(); return n.Handshaking == 0 })
}
