package dtls

import (
	"encoding/binary"
	"math/rand/v2"

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

// route is an address of a session.
type route struct {
	peer    endpoint.Peer // Session 0
	proven  bool
	in, out int64 // bytes, while unproven
	ping    uint16
	pinged  bool
	guesses int
}

// routes are where a session is, and where it was last known to receive; mostly
// that is the same.
//
// Anybody who sees a record can send it on from elsewhere, and be first. So an
// address that a record came from gets little until it answers: it is sent an
// empty confirmable with a random message id, and only who receives it, and has
// the keys, can reset that [RFC 7252 4.3], or acknowledge it, as some stacks do.
//
// Its session's mu guards it.
type routes struct {
	home *route // proven
	at   *route // where the newest record came from [RFC 9146 6]
}

func routesAt(from endpoint.Peer) routes {
	r := &route{peer: from, proven: true}
	return routes{home: r, at: r}
}

// came notes that an authentic record came from a peer. Only the newest one
// tells where the device is.
func (t *routes) came(from endpoint.Peer, bytes int, newest bool) {
	switch {
	case t.at.peer == from:
	case !newest:
		return
	case t.home.peer == from:
		t.at = t.home
	default:
		t.at = &route{peer: from}
	}
	if !t.at.proven {
		t.at.in += int64(bytes)
	}
}

// spend reports whether n bytes may go to a route, and counts them.
func (r *route) spend(n int) bool {
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
	s.mu.Lock()
	r := s.at
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
		s.say(typeApplication, ping)
		return false
	}
	r.proven = true
	was := s.home.peer
	s.home = r
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

// address returns where a session is listed.
func (s *session) address() endpoint.Peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.home.peer
}
