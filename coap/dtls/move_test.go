package dtls_test

import (
	"bytes"
	"fmt"
	"net"
	"testing"
	"time"

	pion "github.com/pion/dtls/v3"

	"behest/coap/dtls"
	"behest/coap/endpoint"
)

// roaming is a device with a connection id behind a NAT.
func roaming(t *testing.T, s *server) (*pion.Conn, *proxy, uint32) {
	t.Helper()
	p := newProxy(t, s.addr())
	c, err := dial(socket(t, "127.0.0.1:0"), p.front.LocalAddr(), with("pump-1", key1, pion.WithConnectionIDGenerator(pion.OnlySendCIDGenerator())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	round(t, c, "at home")
	return c, p, (<-s.got).Peer.Session
}

// TestAnAddressChangeLosesNoSession, often.
func TestAnAddressChangeLosesNoSession(t *testing.T) {
	s := serve(t, &book{}, dtls.Options{})
	c, p, number := roaming(t, s)
	before, _ := s.Session(number)
	for i := range 10 {
		p.rebind(t)
		round(t, c, fmt.Sprint("from elsewhere ", i))
		d := <-s.got
		if d.Peer != before.Peer {
			t.Fatalf("another peer: %+v, was %+v", d.Peer, before.Peer)
		}
		wait(t, "the proof", func() bool {
			tryRound(c, "answers pings")
			now, ok := s.Session(number)
			return ok && now.Proven && now.Remote == p.outside()
		})
		for len(s.got) > 0 {
			<-s.got
		}
	}
	if n := s.Stats(); n.Handshakes != 1 || n.Sessions != 1 || n.Moved != 10 || n.Proven != 10 {
		t.Errorf("stats %+v", n)
	}
}

// TestAnUnprovenAddressGetsLittle: the device is silent there, or it is not the
// device at all.
func TestAnUnprovenAddressGetsLittle(t *testing.T) {
	s := serve(t, &book{}, dtls.Options{})
	c, p, number := roaming(t, s)
	p.rebind(t)
	if _, err := c.Write([]byte("from elsewhere, and nothing more")); err != nil {
		t.Fatal(err)
	}
	<-s.got
	told, _ := s.Session(number)
	if told.Proven {
		t.Fatal("proven before it answered")
	}
	long := bytes.Repeat([]byte("x"), 500)
	for range 100 {
		s.WriteBatch([]endpoint.Datagram{{Peer: told.Peer, Data: long}, {Peer: told.Peer, Data: []byte("short")}})
	}
	wait(t, "what is not sent", func() bool { return s.Stats().Throttled > 100 })
	time.Sleep(50 * time.Millisecond) // for what would come too late to be counted: the assertion is an upper bound
	if in, out := p.bytes(); in == 0 || out == 0 || out > 3*in {
		t.Errorf("%d bytes out for %d in", out, in)
	}
	wait(t, "the proof", func() bool { tryRound(c, "answers pings"); now, _ := s.Session(number); return now.Proven })
	s.WriteBatch([]endpoint.Datagram{{Peer: told.Peer, Data: long}})
	in, _ := p.bytes()
	wait(t, "all of it", func() bool {
		s.WriteBatch([]endpoint.Datagram{{Peer: told.Peer, Data: long}})
		_, out := p.bytes()
		return out > 3*in+10*len(long)
	})
}

// TestARecordSentOnFromElsewhere moves the session for as long as the device is
// silent, and its sender gets next to nothing.
func TestARecordSentOnFromElsewhere(t *testing.T) {
	s := serve(t, &book{}, dtls.Options{})
	c, p, number := roaming(t, s)
	p.withhold(true)
	n := len(p.sent())
	if _, err := c.Write([]byte("on its way")); err != nil {
		t.Fatal(err)
	}
	wait(t, "the record", func() bool { return len(p.sent()) > n })
	stolen := p.sent()[n]
	thief := socket(t, "127.0.0.2:0")
	thief.WriteTo(stolen, s.addr())
	if d := <-s.got; string(d.Data) != "on its way" || d.Peer.Session != number {
		t.Fatalf("got %+v", d)
	}
	told, _ := s.Session(number)
	if told.Proven || told.Remote != thief.LocalAddr().(*net.UDPAddr).AddrPort() {
		t.Errorf("session %+v", told)
	}
	// Resets made up by the thief do not open, so they prove nothing.
	for range 100 {
		thief.WriteTo(append(append([]byte(nil), stolen[:21]...), 0, 4, 0x70, 0, 1, 2), s.addr())
	}
	for range 50 {
		s.WriteBatch([]endpoint.Datagram{{Peer: told.Peer, Data: []byte("a notification that is meant for the device")}})
	}
	got, buf := 0, make([]byte, 2048)
	thief.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	for {
		n, err := thief.Read(buf)
		if err != nil {
			break
		}
		got += n
	}
	if paid := len(stolen) + 100*27; got > 3*paid {
		t.Errorf("%d bytes for %d", got, paid)
	}
	p.withhold(false)
	round(t, c, "the device itself")
	if told, _ := s.Session(number); !told.Proven || told.Remote != p.outside() {
		t.Errorf("not home again: %+v", told)
	}
}

// TestWithoutAConnectionIDAnAddressIsAllThereIs.
func TestWithoutAConnectionIDAnAddressIsAllThereIs(t *testing.T) {
	s := serve(t, &book{}, dtls.Options{})
	p := newProxy(t, s.addr())
	c, err := dial(socket(t, "127.0.0.1:0"), p.front.LocalAddr(), with("pump-1", key1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	round(t, c, "at home")
	before := s.Stats().Garbage
	p.rebind(t)
	c.Write([]byte("from elsewhere"))
	wait(t, "the drop", func() bool { return s.Stats().Garbage > before })
	if n := s.Stats(); n.Sessions != 1 {
		t.Errorf("%d sessions", n.Sessions)
	}
	if len(s.got) != 1 {
		t.Errorf("%d messages, want the first alone", len(s.got))
	}
}
