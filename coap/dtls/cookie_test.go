package dtls_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"behest/coap/dtls"
	"behest/coap/endpoint"
)

// Where things are in a datagram with a hello of helloOf.
const (
	helloSequence = 13 + 4 // message_seq
	helloCookie   = 13 + 12 + 2 + 32 + 1
	verifyCookie  = 13 + 12 + 2
)

// askFor says hello, and returns the cookie that comes back.
func askFor(t testing.TB, s *server, pc *net.UDPConn, hello []byte) []byte {
	t.Helper()
	buf := make([]byte, 200)
	for range 5 { // a datagram may be lost
		pc.WriteTo(hello, s.addr())
		pc.SetReadDeadline(time.Now().Add(2 * time.Second))
		n, err := pc.Read(buf)
		if err != nil {
			continue
		}
		if n != verifyCookie+1+20 || buf[0] != 22 || buf[13] != 3 || buf[verifyCookie] != 20 {
			t.Fatalf("answered % x; want a HelloVerifyRequest", buf[:n])
		}
		return append([]byte(nil), buf[verifyCookie+1:n]...)
	}
	t.Fatal("no answer to a hello")
	return nil
}

// bearing is the second hello of a handshake: the first with a cookie.
func bearing(hello, cookie []byte) []byte {
	b := append([]byte(nil), hello[:helloCookie]...)
	b = append(append(b, byte(len(cookie))), cookie...)
	b = append(b, hello[helloCookie+1:]...)
	b[10], b[helloSequence+1] = 1, 1
	b[12] += byte(len(cookie))
	b[16] += byte(len(cookie))
	b[24] += byte(len(cookie))
	return b
}

// TestACookieCountsWhereItWasGiven, for the hello that it was given to.
func TestACookieCountsWhereItWasGiven(t *testing.T) {
	s := serve(t, &book{}, dtls.Options{})
	one, other, elsewhere := socket(t, "127.0.0.1:0"), socket(t, "127.0.0.1:0"), socket(t, "127.0.0.5:0")
	hello := helloOf(1)
	cookie := askFor(t, s, one, hello)
	edited := func(at int, to byte) []byte {
		b := bearing(hello, cookie)
		b[at] = to
		return b
	}
	for _, row := range []struct {
		name string
		from *net.UDPConn
		data []byte
	}{
		{"another port", other, bearing(hello, cookie)},
		{"another address", elsewhere, bearing(hello, cookie)},
		{"another random", one, edited(13+12+2, 9)},
		{"another suite", one, edited(len(bearing(hello, cookie))-3, 0xa4)},
		{"another cookie", one, edited(helloCookie+1, cookie[0]^1)},
		{"a shorter cookie", one, bearing(hello, cookie[:19])},
		{"no cookie", one, bearing(hello, nil)},
		{"a third message", one, edited(helloSequence+1, 2)},
	} {
		before := s.Stats().Disowned
		row.from.WriteTo(row.data, s.addr())
		wait(t, "a word on "+row.name, func() bool { return s.Stats().Disowned == before+1 })
	}
	if n := s.Stats(); n.Handshaking != 0 || n.Failed != 0 {
		t.Errorf("stats %+v", n)
	}
	one.WriteTo(bearing(hello, cookie), s.addr())
	wait(t, "a handshake with the right one", func() bool { return s.Stats().Handshaking == 1 })
}

// TestACookieLastsOneToTwoPeriods on a clock of the test's.
func TestACookieLastsOneToTwoPeriods(t *testing.T) {
	var now time.Duration
	c := dtls.NewCookies(func() time.Duration { return now })
	from := endpoint.Peer{Remote: netip.MustParseAddrPort("192.0.2.1:5684")}
	for _, row := range []struct {
		given, shown time.Duration
		counts       bool
	}{
		{0, 0, true}, {0, 119 * time.Second, true}, {0, 120 * time.Second, false},
		{59 * time.Second, 119 * time.Second, true}, {59 * time.Second, 120 * time.Second, false},
		{time.Hour, time.Hour + time.Minute, true}, {time.Hour, 2 * time.Hour, false},
	} {
		now = row.given
		cookie := c.Of(from, helloOf(1))
		now = row.shown
		if got := c.Prove(from, bearing(helloOf(1), cookie)); got != row.counts {
			t.Errorf("given at %v, at %v it counts: %v", row.given, row.shown, got)
		}
	}
	if dtls.NewCookies(func() time.Duration { return now }).Prove(from, bearing(helloOf(1), c.Of(from, helloOf(1)))) {
		t.Error("the cookie of another process counts")
	}
}

// TestAHelloCostsNoMemory: a forged one is answered, and leaves nothing.
func TestAHelloCostsNoMemory(t *testing.T) {
	s := serve(t, &book{}, dtls.Options{})
	there := socket(t, "127.0.0.1:0").LocalAddr().(*net.UDPAddr).AddrPort()
	d := &endpoint.Datagram{Peer: endpoint.Peer{Remote: there}, Data: helloOf(1)}
	s.Receive(d)
	if a := testing.AllocsPerRun(100, func() { s.Receive(d) }); a != 0 {
		t.Errorf("%v allocations for a hello", a)
	}
}

// TestADeviceThatRepeatsItself, as on a slow path, gets in once; and what it
// began with begins nothing afterwards.
func TestADeviceThatRepeatsItself(t *testing.T) {
	s := serve(t, &book{}, dtls.Options{})
	p := newProxy(t, s.addr())
	p.mu.Lock()
	p.twice = true
	p.mu.Unlock()
	c, err := dial(socket(t, "127.0.0.1:0"), p.front.LocalAddr(), with("pump-1", key1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	round(t, c, "in")
	for _, b := range p.sent() {
		p.back.WriteTo(b, s.addr())
	}
	round(t, c, "still in")
	if n := s.Stats(); n.Handshakes != 1 || n.Handshaking != 0 || n.Failed != 0 {
		t.Errorf("stats %+v", n)
	}
}

// TestAnswersAreNumberedAsTheHello [RFC 6347 4.2.1]: one that was repeated has
// used up numbers.
func TestAnswersAreNumberedAsTheHello(t *testing.T) {
	const record = 10 // the last byte of a record's number
	s := serve(t, &book{}, dtls.Options{})
	pc := socket(t, "127.0.0.1:0")
	hello := helloOf(1)
	cookie := askFor(t, s, pc, hello)
	for _, first := range []byte{9, 0} {
		hello[record] = first
		b := bearing(hello, cookie)
		b[record] = first
		if first == 0 { // and one that has not: another handshake
			pc = socket(t, "127.0.0.1:0")
			b = bearing(hello, askFor(t, s, pc, hello))
			b[record] = 0
		}
		pc.WriteTo(b, s.addr())
		buf := make([]byte, 1500)
		pc.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, err := pc.Read(buf)
		if err != nil || n < 14 || buf[13] != 2 || buf[record] != max(first, 1) {
			t.Errorf("to a hello with number %d: % x, %v", first, buf[:min(n, 14)], err)
		}
	}
}

// BenchmarkForgedHello is what a ClientHello costs that nobody goes on with,
// the socket included.
func BenchmarkForgedHello(b *testing.B) {
	s := serve(b, &book{}, dtls.Options{})
	d := &endpoint.Datagram{Peer: endpoint.Peer{Remote: netip.MustParseAddrPort("127.0.0.1:9")}, Data: helloOf(1)}
	b.ReportAllocs()
	for b.Loop() {
		s.Receive(d)
	}
}
