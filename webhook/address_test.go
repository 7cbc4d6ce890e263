package webhook

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"behest/command"
)

// inner are addresses that no hook may reach unless it was allowed to, or
// never: the edges of each class.
var inner = []string{
	"0.0.0.0", "0.0.0.1", "0.255.255.255", "10.0.0.0", "10.1.2.3", "10.255.255.255",
	"100.64.0.0", "100.100.100.200", "100.127.255.255", "127.0.0.0", "127.0.0.1", "127.255.255.255",
	"168.63.129.16", "169.254.0.0", "169.254.169.254", "169.254.170.2", "169.254.255.255",
	"172.16.0.0", "172.31.255.255", "192.0.0.0", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.0", "192.168.255.255",
	"198.18.0.0", "198.19.255.255", "198.51.100.7", "203.0.113.7", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
}

// inner6 are those that only IPv6 has.
var inner6 = []string{
	"::", "::1", "::2", "fc00::", "fd00::1", "fd00:ec2::254", "fd20:ce::254", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	"fe80::1", "febf::1", "fec0::1", "ff00::1", "ff02::1", "ff0e::1", "100::1", "5f00::1", "4000::1", "8000::1",
	"2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:10::1", "2001:20::1", "2001:db8::1", "2002::1", "3fff::1", "64:ff9b:1::1",
}

// outer are addresses that anybody may reach.
var outer = []string{
	"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
	"169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0", "198.17.255.255",
	"198.20.0.0", "223.255.255.255", "2606:4700::1111", "2a00:1450::1", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8",
}

// formsOf are the ways to write an IPv4 address that lead there, or once did
// in some program.
func formsOf(text string) []string {
	b := netip.MustParseAddr(text).As4()
	n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	hi, lo := n>>16, n&0xffff
	return []string{
		text,
		fmt.Sprint(n), fmt.Sprintf("0x%x", n), fmt.Sprintf("0%o", n), // in one number
		fmt.Sprintf("0%o.0%o.0%o.0%o", b[0], b[1], b[2], b[3]),
		fmt.Sprintf("0x%x.0x%x.0x%x.0x%x", b[0], b[1], b[2], b[3]),
		fmt.Sprintf("%d.%d", b[0], n&0xffffff), fmt.Sprintf("%d.%d.%d", b[0], b[1], lo), // short
		fmt.Sprintf("%03d.%03d.%03d.%03d", b[0], b[1], b[2], b[3]), text + ".",
		"[::ffff:" + text + "]", fmt.Sprintf("[::ffff:%x:%x]", hi, lo), "[0:0:0:0:0:ffff:" + text + "]", // mapped
		"[::" + text + "]", "[::ffff:0:" + text + "]", // compatible, translated
		"[64:ff9b::" + text + "]", fmt.Sprintf("[64:ff9b::%x:%x]", hi, lo), "[64:ff9b:1::" + text + "]", // NAT64
		fmt.Sprintf("[2002:%x:%x::1]", hi, lo),                                                                     // 6to4
		fmt.Sprintf("[2001:0:1:2:3:4:%x:%x]", ^hi&0xffff, ^lo&0xffff),                                              // Teredo
		"[2606:4700::5efe:" + text + "]", "[2606:4700::200:5efe:" + text + "]", "[fe80::5efe:" + text + "%25eth0]", // ISATAP
	}
}

// nameServer is a name server on loopback: every name is at the addresses that
// it is told. It answers until the test ends.
func nameServer(t testing.TB, at func(name string) []netip.Addr) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	go func() {
		defer close(done)
		for b := make([]byte, 1500); ; {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			if reply := resolve(b[:n], at); reply != nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// resolve answers a query, or nothing if it is none.
func resolve(query []byte, at func(name string) []netip.Addr) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	for _, a := range at(strings.TrimSuffix(q.Name.String(), ".")) {
		head := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 0}
		switch {
		case q.Type == dnsmessage.TypeA && a.Is4():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AResource{A: a.As4()}})
		case q.Type == dnsmessage.TypeAAAA && a.Is6():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	reply, err := m.Pack()
	if err != nil {
		return nil
	}
	return reply
}

// canary counts the connections to a port of all addresses of this machine.
func canary(t *testing.T) (port string, count *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	count = new(atomic.Int64)
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			count.Add(1)
			c.Close()
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port, count
}

// TestNoWayLeadsInside tries every form of every inner address as the host of
// a URL, and names that lead there. Each must be refused when it is about to
// be connected to, whatever was or was not seen when the hook was declared.
func TestNoWayLeadsInside(t *testing.T) {
	port, connected := canary(t)
	vectors := map[string]netip.Addr{} // host to where its name leads, if it is one
	loopback := netip.MustParseAddr("127.0.0.1")
	for _, text := range inner {
		for _, form := range formsOf(text) {
			vectors[form] = loopback
		}
	}
	for _, text := range inner6 {
		vectors["["+text+"]"] = loopback
	}
	for i, text := range append(append([]string{"::ffff:127.0.0.1", "64:ff9b::127.0.0.1"}, inner...), inner6...) {
		vectors[fmt.Sprintf("name-%d.example.org", i)] = netip.MustParseAddr(text)
	}
	for _, name := range []string{"localhost", "LOCALHOST", "localhost.", "metadata.google.internal", "127.0.0.1.nip.io", "①②⑦.⓪.⓪.①", "127。0。0。1"} {
		vectors[name] = loopback
	}
	resolver := nameServer(t, func(name string) []netip.Addr {
		if a, ok := vectors[name]; ok {
			return []netip.Addr{a}
		}
		return []netip.Addr{loopback} // as C's resolver reads numbers
	})
	o := Options{Resolver: resolver, Timeout: 5 * time.Second, Schedule: []time.Duration{}}
	o.fill()
	refused, unknown := 0, 0
	for host := range vectors {
		h := command.Hook{ID: "in", URL: "https://" + host + ":" + port + "/", Generation: 1}
		s := newSender(h, Key{}, &o)
		a := s.send(context.Background(), command.Event{Type: command.EventIssued, Epoch: 1, N: 1})
		s.close()
		switch {
		case strings.HasPrefix(a.fault, "refused: "):
			refused++
		// Go's resolver knows no numbers. One that does would be refused as above.
		case strings.HasSuffix(a.fault, "no such host") && len(check("in", command.HookSpec{URL: h.URL, AllowPrivate: true})) > 0:
			unknown++
		default:
			t.Errorf("%s: %+v", host, a)
		}
	}
	if n := connected.Load(); n > 0 {
		t.Errorf("%d connections were made", n)
	}
	if refused < 200 {
		t.Errorf("only %d ways were refused when connecting", refused)
	}
	t.Logf("%d ways refused when connecting, %d were none", refused, unknown)
}

func TestEveryAddressOfANameIsLookedAt(t *testing.T) {
	port, connected := canary(t)
	o := Options{Timeout: 5 * time.Second, Resolver: nameServer(t, func(string) []netip.Addr {
		return []netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.0.1")}
	})}
	o.fill()
	s := newSender(command.Hook{URL: "https://example.org:" + port + "/", Generation: 1}, Key{}, &o)
	defer s.close()
	for range 3 {
		if a := s.send(context.Background(), command.Event{Type: command.EventIssued}); !strings.HasPrefix(a.fault, "refused: ") {
			t.Errorf("got %+v", a)
		}
	}
	if n := connected.Load(); n > 0 {
		t.Errorf("%d connections were made", n)
	}
}

func TestAddressesAreWhatTheyAre(t *testing.T) {
	for _, text := range outer {
		if k := judge(netip.MustParseAddr(text)); k != public {
			t.Errorf("%s is %d, want public", text, k)
		}
	}
	for _, text := range append(append([]string{}, inner...), inner6...) {
		if judge(netip.MustParseAddr(text)) == public {
			t.Errorf("%s is public", text)
		}
	}
	if judge(netip.Addr{}) != never {
		t.Error("no address is one")
	}
	for _, row := range []struct {
		at   string
		g    guard
		want bool
	}{
		{"8.8.8.8", guard{}, true},
		{"8.8.8.8", guard{private: true}, true},
		{"8.8.8.8", guard{private: true, plain: true}, false}, // not without TLS
		{"127.0.0.1", guard{}, false},
		{"127.0.0.1", guard{private: true, plain: true}, true},
		{"::1", guard{private: true}, true},
		{"::ffff:10.0.0.1", guard{private: true}, true},
		{"10.0.0.1", guard{private: true}, true},
		{"100.64.0.1", guard{private: true}, true},
		{"fe80::1%eth0", guard{private: true}, true},
		{"fe80::5efe:8.8.8.8", guard{}, false},
		{"fe80::5efe:169.254.169.254", guard{private: true}, false},
		{"169.254.0.1", guard{private: true}, true},
		{"169.254.169.254", guard{private: true}, false},
		{"fd00:ec2::254", guard{private: true}, false},
		{"64:ff9b::169.254.169.254", guard{private: true}, false},
		{"0.0.0.0", guard{private: true}, false},
		{"::", guard{private: true}, false},
		{"224.0.0.1", guard{private: true}, false},
		{"255.255.255.255", guard{private: true}, false},
	} {
		if err := row.g.allows(netip.MustParseAddr(row.at)); (err == nil) != row.want {
			t.Errorf("%s under %+v: %v", row.at, row.g, err)
		}
	}
	for _, network := range []string{"udp4", "unix", ""} {
		if (guard{private: true}).control(network, "10.0.0.1:80", nil) == nil {
			t.Errorf("%q may be connected to", network)
		}
	}
	if (guard{private: true}).control("tcp4", "/run/docker.sock", nil) == nil {
		t.Error("a path may be connected to")
	}
}

// FuzzURL holds what may be declared against what may be connected to.
func FuzzURL(f *testing.F) {
	for _, host := range append(append([]string{"example.org", "example.org:8443", "a:b@example.org"}, formsOf("127.0.0.1")...), formsOf("8.8.8.8")...) {
		f.Add("https://"+host+"/", false)
		f.Add("http://"+host+"/a?b#c", true)
	}
	f.Fuzz(func(t *testing.T, url string, allowed bool) {
		spec := command.HookSpec{URL: url, AllowPrivate: allowed}
		if len(check("in", spec)) > 0 {
			return
		}
		s := newSender(command.Hook{URL: url, AllowPrivate: allowed, Generation: 1}, Key{}, &Options{})
		req, err := s.request(context.Background(), command.Event{Type: command.EventIssued})
		if err != nil {
			t.Fatalf("%q was declared, and no request can be made: %v", url, err)
		}
		if req.URL.Scheme != "https" && !(allowed && req.URL.Scheme == "http") || req.URL.User != nil {
			t.Errorf("%q was declared", url)
		}
		a, err := netip.ParseAddr(req.URL.Hostname())
		if err != nil {
			return
		}
		if k := judge(a); k == never || k == private && !allowed {
			t.Errorf("%q was declared, and is of kind %d", url, k)
		}
	})
}
