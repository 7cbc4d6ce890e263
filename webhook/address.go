package webhook

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
)

// kind is what an address is to us.
type kind uint8

const (
	public  kind = iota + 1 // on the Internet
	private                 // on this machine or in a private network: for hooks that were allowed to
	never                   // no receiver is there, or one that must not be reached from here; the worst is last
)

// class is a kind of addresses.
type class struct {
	prefix netip.Prefix
	kind   kind
}

// classes are the addresses that are not public, the narrow before the wide.
// They are IANA's registries of special-purpose addresses (RFC 6890), and
// what clouds have put where anybody who can make a server ask finds it.
var classes = func() (list []class) {
	for _, c := range []struct {
		kind     kind
		prefixes []string
	}{
		{never, []string{
			"169.254.169.254/32", "169.254.169.123/32", "169.254.170.2/32", "169.254.170.23/32", // metadata and credentials of AWS, Azure, Google and others
			"fd00:ec2::/32", "fd20:ce::/32", // the same over IPv6
			"100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", // Alibaba, Azure, Oracle
		}},
		{private, []string{
			"127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
			"169.254.0.0/16", // link-local
			"100.64.0.0/10",  // between a provider and its customers
			"198.18.0.0/15",  // test beds
			"::1/128", "fc00::/7", "fe80::/10", "fec0::/10",
		}},
		{never, []string{
			"0.0.0.0/8",                                         // Linux connects 0.0.0.0 to itself
			"192.0.0.0/24",                                      // protocols
			"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", // examples
			"192.31.196.0/24", "192.175.48.0/24", // name servers for what nobody should ask
			"192.52.193.0/24", "192.88.99.0/24", // relays
			"224.0.0.0/4", "240.0.0.0/4", // many, and nobody
			"2001::/23",                  // protocols: Teredo, ORCHID and others
			"2001:db8::/32", "3fff::/20", // examples
			"2620:4f:8000::/48", "2002::/16", // name servers, relays
		}},
	} {
		for _, p := range c.prefixes {
			list = append(list, class{netip.MustParsePrefix(p), c.kind})
		}
	}
	return list
}()

// global is what IPv6 gives out. What is neither there nor in classes is for later, or an
// IPv4 address in a form that nothing needs (RFC 4291 2.5.5.1, RFC 7915).
var global = netip.MustParsePrefix("2000::/3")

// nat64 is where a translator gives access to IPv4 [RFC 6052].
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// judge says what an address is. An IPv4 address stays what it is inside an
// IPv6 address that leads to it.
func judge(a netip.Addr) kind {
	a = a.WithZone("").Unmap()
	if nat64.Contains(a) {
		return judge(last4(a))
	}
	if isatap(a) {
		return max(listed(a), judge(last4(a)))
	}
	return listed(a)
}

// listed is what the classes say.
func listed(a netip.Addr) kind {
	for _, c := range classes {
		if c.prefix.Contains(a) {
			return c.kind
		}
	}
	if a.Is4() || global.Contains(a) {
		return public
	}
	return never
}

// isatap reports whether a leads to an IPv4 address of its site [RFC 5214 6.1].
func isatap(a netip.Addr) bool {
	const universal = 1 << 25 // set if the IPv4 address is unique
	b := a.As16()
	return a.Is6() && binary.BigEndian.Uint32(b[8:])&^universal == 0x5efe
}

// last4 is the IPv4 address at the end of an IPv6 address.
func last4(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom4([4]byte(b[12:]))
}

// refusal is why a connection was not made.
type refusal string

func (r refusal) Error() string { return string(r) }

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

// guard looks at each address that is about to be connected to.
type guard struct {
	private bool // may be connected to
	plain   bool // without TLS: then nothing else may
}

func guardOf(address string, private bool) guard {
	return guard{private: private, plain: !strings.HasPrefix(strings.ToLower(address), "https:")}
}

// allows says why not, or nothing.
func (g guard) allows(a netip.Addr) error {
	k := judge(a)
	switch {
	case k == never:
		return refuse("refused: no receiver may be at %s", a)
	case k == private && !g.private:
		return refuse("refused: %s is private", a)
	case k == public && g.plain:
		return refuse("refused: %s is public, and the URL is without TLS", a)
	}
	return nil
}

// control is net.Dialer.Control: it runs when the name is resolved and the
// socket is there, before the first packet.
func (g guard) control(network, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || network != "tcp4" && network != "tcp6" {
		return refuse("refused: %s %s", network, address)
	}
	return g.allows(to.Addr())
}
