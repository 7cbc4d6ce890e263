package webhook

import (
	"net"
	"net/netip"
	"testing"
)

// Loopback resolves every name to this machine.
func Loopback(t testing.TB) *net.Resolver {
	return nameServer(t, func(string) []netip.Addr { return []netip.Addr{netip.MustParseAddr("127.0.0.1")} })
}
