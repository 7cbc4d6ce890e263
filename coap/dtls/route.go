package dtls

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"

	"behest/coap/endpoint"
)

const (
	// unprovenFactor is how many bytes may go to an address for each that came
	// from it, until it has proven that it receives [RFC 9175 2.4].
	unprovenFactor = 3
	// guessesMax is how many answers to something else than the ping an address
	// may give: few for who guesses among 65,536, enough for a device that was
	// sent notifications meanwhile.
	guessesMax = 16
)

// route is an address of a session. Pion holds on to the one that the newest
// record came from [RFC 9146 6], which is how we learn which that was.
type route struct {
	peer endpoint.Peer // Session 0

	// Guarded by routes.mu, of the session that it belongs to.
	proven  bool
	in, out int64 // bytes, while unproven
	ping    uint16
	pinged  bool
	guesses int
}

// Network and String make a route an address.
func (r *route) Network() string { return "udp" }
func (r *route) String() string  { return r.peer.Remote.String() }

// routes are where a session is, and where it was last known to receive.
//
// Anybody who sees a record can send it on from elsewhere, and be first. So an
// address that a record came from gets little until it answers: it is sent an
// empty confirmable with a random message id, and only who receives it, and has
// the keys, can reset that [RFC 7252 4.3], or acknowledge it, as some stacks do.
type routes struct {
	mu   sync.Mutex
	home *route // proven
	away *route // where a record came from since; not proven
}

func (t *routes) start(from endpoint.Peer) { t.home = &route{peer: from, proven: true} }

// routeOf returns the route of a datagram: the same one for the same address,
// so that pion sees no move where there is none. What others send from
// elsewhere does not make it forget the route that pion holds.
func (t *routes) routeOf(from endpoint.Peer, pions net.Addr) *route {
	if r, ok := pions.(*route); ok && r.peer == from {
		return r
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.home.peer == from {
		return t.home
	}
	if t.away == nil || t.away.peer != from {
		t.away = &route{peer: from}
	}
	return t.away
}

// count adds what came from a route.
func (t *routes) count(r *route, n int) {
	t.mu.Lock()
	if !r.proven {
		r.in += int64(n)
	}
	t.mu.Unlock()
}

// current tells where the newest record came from.
func (t *routes) current(a net.Addr) (at netip.AddrPort, proven bool) {
	r, ok := a.(*route)
	if !ok {
		return netip.AddrPort{}, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return r.peer.Remote, r.proven
}

// spend reports whether n bytes may go to a route, and counts them.
func (t *routes) spend(r *route, n int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.proven {
		return true
	}
	if r.out+int64(n) > unprovenFactor*r.in {
		return false
	}
	r.out += int64(n)
	return true
}

// A ping is an empty confirmable. The first bytes of an empty message are its
// version, type and token length, and then its code [RFC 7252 3].
const (
	pingBytes = 4
	emptyCON  = 0x40
	emptyACK  = 0x60
	emptyRST  = 0x70
)

func pingOf(mid uint16) []byte { return binary.BigEndian.AppendUint16([]byte{emptyCON, 0}, mid) }

// arrived looks at a message before the endpoint does. True: it was for us.
func (s *session) arrived(data []byte) bool {
	r, ok := s.conn.RemoteAddr().(*route)
	if !ok {
		return false
	}
	s.mu.Lock()
	if r.proven {
		s.mu.Unlock()
		return false
	}
	if !r.pinged {
		r.pinged, r.ping = true, uint16(rand.Uint32())
		s.c.stats.Moved.Add(1)
	}
	answers := len(data) == pingBytes && (data[0] == emptyRST || data[0] == emptyACK) && data[1] == 0
	answer := answers && r.guesses < guessesMax && binary.BigEndian.Uint16(data[2:]) == r.ping
	if answers && !answer {
		r.guesses++
	}
	if !answer {
		ping := pingOf(r.ping)
		s.mu.Unlock()
		// One for each message until it is answered, within what may be spent.
		_ = s.write(ping)
		return false
	}
	r.proven = true
	was := s.home.peer
	s.home, s.away = r, nil
	s.mu.Unlock()
	s.c.moved(s, was, r.peer)
	return true
}

// moved lists a session under the address that it has proven.
func (c *Conn) moved(s *session, from, to endpoint.Peer) {
	c.stats.Proven.Add(1)
	c.mu.Lock()
	if s.ended {
		c.mu.Unlock()
		return
	}
	if c.byAddress[from] == s {
		delete(c.byAddress, from)
	}
	lost := c.settleLocked(s, to)
	c.mu.Unlock()
	c.endAll(lost, Replaced)
}

// settleLocked lists a session at an address, and returns who can be reached no
// more for it: the same device's session from before its reboot, or one that
// has no connection id to be found by.
func (c *Conn) settleLocked(s *session, at endpoint.Peer) (lost []*session) {
	old := c.byAddress[at]
	c.byAddress[at] = s
	if old != nil && old != s && (len(old.id) == 0 || old.credential.Identity == s.credential.Identity) {
		return []*session{old}
	}
	return nil
}

// addresses returns where a session may be listed.
func (t *routes) addresses() []endpoint.Peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	return []endpoint.Peer{t.home.peer}
}
