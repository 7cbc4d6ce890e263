package device

import (
	"net/netip"
	"testing"
)

func TestWhoMaySpeak(t *testing.T) {
	at := netip.MustParseAddrPort("127.0.0.1:40000")
	plain := Speaker{Endpoint: Endpoint{Remote: at}}
	over := func(identity string) Speaker { return Speaker{Endpoint{at, 7}, identity} }
	open, secured := Device{Name: "pump-7"}, Device{Name: "pump-7", Registration: Registration{Secured: true}}
	for _, tt := range []struct {
		name          string
		by            Speaker
		d             Device
		names, speaks Right
	}{
		{"anybody, without a session", plain, open, Its, Its},
		{"anybody, for one that came over a session", plain, secured, Its, Nobody},
		{"the device itself", over("pump-7"), open, Its, Its},
		{"the device itself, again", over("pump-7"), secured, Its, Its},
		{"another device", over("pump-8"), open, Another, Another},
		{"a name that begins alike", over("pump-77"), secured, Another, Another},
		{"a name in capitals", over("PUMP-7"), secured, Another, Another},
		{"a session that is over", over(""), open, Nobody, Nobody},
	} {
		if got := tt.by.Names(tt.d.Name); got != tt.names {
			t.Errorf("%s: may name it: %d, want %d", tt.name, got, tt.names)
		}
		if got := tt.by.Speaks(&tt.d); got != tt.speaks {
			t.Errorf("%s: may speak for it: %d, want %d", tt.name, got, tt.speaks)
		}
	}
}
