package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"behest/command"
)

func TestWhoAsksTooFastWaitsAndNobodyElse(t *testing.T) {
	now := noon
	p := newPace(10, 20, func() time.Time { return now })
	asked := func(who string, times int) (let int) {
		for range times {
			if p.ask(who) == nil {
				let++
			}
		}
		return let
	}
	if got := asked("ann", 50); got != 20 {
		t.Errorf("ann's burst is %d, want 20", got)
	}
	if got := asked("bob", 1); got != 1 {
		t.Error("bob pays for ann")
	}
	now = now.Add(time.Second)
	if got := asked("ann", 50); got != 10 {
		t.Errorf("a second later ann may ask %d times, want 10", got)
	}
	err := p.ask("ann")
	var e *command.Error
	if command.CodeOf(err) != command.CodeTooMany || !errors.As(err, &e) || e.RetryAfter != 100*time.Millisecond {
		t.Errorf("got %v", err)
	}
	for range 10 { // forgetting gives nobody more than his burst
		now = now.Add(p.keep)
		if got := asked("ann", 50); got != 20 {
			t.Errorf("after %s ann may ask %d times, want 20", p.keep, got)
		}
	}
}

func TestPaceForgetsTheIdle(t *testing.T) {
	now := noon
	p := newPace(1, 1, func() time.Time { return now })
	for i := range 5 * paceMax {
		if err := p.ask(fmt.Sprint(i)); err != nil {
			t.Fatalf("newcomer %d: %v", i, err)
		}
	}
	if n := len(p.young) + len(p.old); n > 2*paceMax {
		t.Errorf("%d are kept, of at most %d", n, 2*paceMax)
	}
}

func TestNoRateIsNoBound(t *testing.T) {
	p := newPace(0, 0, nil)
	for range 1000 {
		if err := p.ask("ann"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNeighbourhood(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8::1": "2001:db8::/64",
		"2001:db8::ffff:1": "2001:db8::/64", "2001:db8:0:1::1": "2001:db8:0:1::/64", "fe80::1%eth0": "fe80::/64", "": "", "@": "@",
	} {
		if got := neighbourhood(addr); got != want {
			t.Errorf("%q: %q, want %q", addr, got, want)
		}
	}
}

func TestOneUserDoesNotTakeAllPlaces(t *testing.T) {
	p := newPlaces(8)
	for i, want := range []bool{true, true, false} {
		if got := p.take("ann"); got != want {
			t.Errorf("ann's place %d: %v", i, got)
		}
	}
	for _, who := range []string{"bob", "bob", "eve", "eve", "joe", "joe"} {
		if !p.take(who) {
			t.Errorf("no place for %s", who)
		}
	}
	if p.take("zoe") {
		t.Error("a ninth of eight places")
	}
	p.leave("ann")
	p.leave("ann")
	if !p.take("zoe") || len(p.taken) != 4 {
		t.Errorf("what came free is not there, or is still counted: %v", p.taken)
	}
}

// Over HTTP: a user's own rate, an address's rate for who is nobody, and no
// header that moves one from bucket to bucket.
func TestRatesOverHTTP(t *testing.T) {
	now := noon
	s := serve(t, &desk{}, &desk{}, Options{Rate: 5, Now: func() time.Time { return now }})
	last := func(times int, a ask) (r reply) {
		for range times {
			r = s.do(a)
		}
		return r
	}
	viewer, admin := ask{name: "viewer", as: "viewer", path: "/v1/me"}, ask{name: "admin", as: "admin", path: "/v1/me"}
	if r := last(10, viewer); r.status != http.StatusOK {
		t.Fatalf("the burst: %d", r.status)
	}
	if r := last(1, viewer); r.status != http.StatusTooManyRequests || r.header.Get("Retry-After") != "1" || !strings.Contains(r.body, "too_many") {
		t.Errorf("past the burst: %d %s", r.status, r.body)
	}
	if r := last(1, admin); r.status != http.StatusOK {
		t.Errorf("another user: %d", r.status)
	}
	nobody := ask{name: "nobody", as: "nobody", path: "/v1/me"}
	if r := last(strangerBurst, nobody); r.status != http.StatusUnauthorized {
		t.Errorf("a stranger's burst: %d", r.status)
	}
	for _, forged := range []string{"", "X-Forwarded-For", "X-Real-Ip", "Forwarded"} {
		a := nobody
		if forged != "" {
			a.header = map[string]string{forged: "198.51.100.7"}
		}
		if r := last(1, a); r.status != http.StatusTooManyRequests {
			t.Errorf("a stranger with the header %q: %d", forged, r.status)
		}
	}
	if r := last(1, admin); r.status != http.StatusOK {
		t.Errorf("who has a token, from the address of a stranger: %d", r.status)
	}
	now = now.Add(time.Second)
	if r := last(5, viewer); r.status != http.StatusOK {
		t.Errorf("a second later: %d", r.status)
	}
}

func TestOnlyANamedProxyIsTakenAtItsWord(t *testing.T) {
	ip := ipExtractor([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::1/128")})
	for _, tt := range []struct{ remote, forwarded, want string }{
		{"192.0.2.9:1", "198.51.100.7", "198.51.100.7"},
		{"192.0.2.9:1", "203.0.113.1, 198.51.100.7", "198.51.100.7"}, // what the client wrote itself comes first
		{"192.0.2.9:1", "203.0.113.1, 192.0.2.8", "203.0.113.1"},
		{"[2001:db8::1]:1", "198.51.100.7", "198.51.100.7"},
		{"[2001:db8::2]:1", "198.51.100.7", "2001:db8::2"},
		{"198.51.100.9:1", "203.0.113.1", "198.51.100.9"},
		{"127.0.0.1:1", "203.0.113.1", "127.0.0.1"},
		{"10.0.0.1:1", "203.0.113.1", "10.0.0.1"},
		{"192.0.2.9:1", "nonsense", "192.0.2.9"},
		{"192.0.2.9:1", "", "192.0.2.9"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = tt.remote
		if tt.forwarded != "" {
			r.Header.Set("X-Forwarded-For", tt.forwarded)
		}
		if got := ip(r); got != tt.want {
			t.Errorf("from %s, forwarded for %q: %s, want %s", tt.remote, tt.forwarded, got, tt.want)
		}
	}
}
