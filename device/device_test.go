package device

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestCheckName(t *testing.T) {
	for _, tt := range []struct {
		name, ep, want string
	}{
		{"plain", "pump-7", ""},
		{"one byte", "p", ""},
		{"63 bytes", strings.Repeat("p", 63), ""},
		{"63 bytes of UTF-8", strings.Repeat("ü", 31) + "p", ""},
		{"a URN", "urn:dev:mac:0024befffe804ff1", ""},
		{"spaces and signs", "pump 7 (north) %2F?#&=\\", ""},
		{"another script", "насос-7", ""},
		{"empty", "", "the endpoint name is empty"},
		{"64 bytes", strings.Repeat("p", 64), "the endpoint name is over 63 bytes"},
		{"64 bytes in 32 letters", strings.Repeat("ü", 32), "the endpoint name is over 63 bytes"},
		{"cut UTF-8", "pump\xc3", "the endpoint name is not UTF-8"},
		{"Latin 1", "p\xfcmp", "the endpoint name is not UTF-8"},
		{"a surrogate", "p\xed\xa0\x80", "the endpoint name is not UTF-8"},
		{"overlong", "p\xc0\xaf", "the endpoint name is not UTF-8"},
		{"a slash", "site/pump", "the endpoint name holds a slash"},
		{"only a slash", "/", "the endpoint name holds a slash"},
		{"NUL", "pump\x00", "the endpoint name holds a control character"},
		{"newline", "pump\n7", "the endpoint name holds a control character"},
		{"DEL", "pump\x7f", "the endpoint name holds a control character"},
		{"C1", "pump\u0085", "the endpoint name holds a control character"},
	} {
		if got := CheckName(tt.ep); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func FuzzCheckName(f *testing.F) {
	for _, s := range []string{"", "pump-7", "a/b", "\x00", "\xff", strings.Repeat("ü", 32)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if CheckName(s) != "" {
			return
		}
		for _, r := range s {
			if r < ' ' || r >= 0x7f && r < 0xa0 || r == '/' || r == '\uFFFD' && !strings.Contains(s, "\uFFFD") {
				t.Errorf("%q is accepted", s)
			}
		}
		if len(s) == 0 || len(s) > 63 {
			t.Errorf("%d bytes are accepted", len(s))
		}
	})
}

func TestOnline(t *testing.T) {
	at := Endpoint{Remote: netip.MustParseAddrPort("127.0.0.1:40000")}
	registered := Registration{At: epoch, Lifetime: time.Hour}
	for _, tt := range []struct {
		name                                 string
		d                                    Device
		now                                  time.Duration
		registered, alive, observing, online bool
	}{
		{"made known by an operator", Device{Name: "pump-7"}, 0, false, false, false, false},
		{"registered", Device{Registration: registered}, 0, true, true, false, false},
		{"observing", Device{Registration: registered, Observation: Observation{Endpoint: at}}, 0, true, true, true, true},
		{"to the last moment", Device{Registration: registered, Observation: Observation{Endpoint: at}}, time.Hour - 1, true, true, true, true},
		{"lapsed", Device{Registration: registered, Observation: Observation{Endpoint: at}}, time.Hour, true, false, true, false},
		{"suspended", Device{Registration: registered, Observation: Observation{Endpoint: at, Suspended: true}}, 0, true, true, true, false},
		{"left, observation forgotten", Device{Observation: Observation{Endpoint: at}}, 0, false, false, true, false},
		{"for the longest lifetime", Device{Registration: Registration{At: epoch, Lifetime: LifetimeMax}}, 100 * 365 * 24 * time.Hour, true, true, false, false},
	} {
		now := epoch.Add(tt.now)
		got := [4]bool{tt.d.Registered(), tt.d.Alive(now), tt.d.Observing(), tt.d.Online(now)}
		if want := [4]bool{tt.registered, tt.alive, tt.observing, tt.online}; got != want {
			t.Errorf("%s: registered, alive, observing, online %v, want %v", tt.name, got, want)
		}
	}
}

func TestWindowIsAtLeastOne(t *testing.T) {
	for asked, want := range map[int]int{0: 1, 1: 1, 8: 8} {
		if got := (&Device{Registration: Registration{Window: asked}}).Window(); got != want {
			t.Errorf("asked for %d: %d, want %d", asked, got, want)
		}
	}
}

func TestSameObservation(t *testing.T) {
	o := Observation{At: epoch, Endpoint: Endpoint{Remote: netip.MustParseAddrPort("127.0.0.1:40000")}, Token: []byte{1, 2}}
	for _, tt := range []struct {
		name   string
		change func(*Observation)
		want   bool
	}{
		{"itself", func(*Observation) {}, true},
		{"suspended meanwhile", func(p *Observation) { p.Suspended = true }, true},
		{"when it was made is not said", func(p *Observation) { p.At = time.Time{} }, true},
		{"another token", func(p *Observation) { p.Token = []byte{1, 3} }, false},
		{"no token", func(p *Observation) { p.Token = nil }, false},
		{"another port", func(p *Observation) { p.Remote = netip.MustParseAddrPort("127.0.0.1:40001") }, false},
		{"a session from the same port", func(p *Observation) { p.Session = 1 }, false},
		{"made anew since", func(p *Observation) { p.At = epoch.Add(time.Second) }, false},
	} {
		p := o
		tt.change(&p)
		if got := o.Same(p); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
