package dtls

import (
	"sync"
	"sync/atomic"
	"time"

	"behest/coap/endpoint"
)

// messageBytesMax is the longest message that a record brings.
const messageBytesMax = 1500

// Alerts, and the first byte of a Finished [RFC 5246 7.2, 7.4].
const (
	alertWarning  = 1
	alertFatal    = 2
	closeNotify   = 0
	alertBytes    = 2
	finishedFirst = 20
)

// session is a security association with a device: what is left of a
// handshake. There are many, and most say nothing for hours, so a session has no
// goroutine and no buffer, and keys instead of ciphers.
type session struct {
	// Set once.
	c    *Conn
	from endpoint.Peer // where the handshake came from
	born [8]byte       // of the random of the hello that began it

	// Set by the end of the handshake.
	number     uint32
	id         []byte // connection id that it asked the device for; none: by address
	credential Credential
	expires    time.Time // of its certificate
	keys       keys

	// Guarded by c.mu.
	coming *handshake // until it is established
	ended  bool       // taken off the tables

	over  atomic.Bool   // it says no more
	sent  atomic.Uint64 // the number of our next record
	heard atomic.Int64  // c.now of its newest message

	mu     sync.Mutex // guards all below
	window window
	last   []byte // our last flight, until the device shows that it came
	routes
}

// peer is what the endpoint knows the session by.
func (s *session) peer() endpoint.Peer {
	return endpoint.Peer{Remote: s.from.Remote, Local: s.from.Local, Session: s.number}
}

func (s *session) told() Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Session{Peer: s.peer(), Credential: s.credential, Remote: s.at.peer.Remote, Proven: s.at.proven}
}

// take hands the endpoint what the device said in a datagram, and answers
// whether any of it was the device's.
func (s *session) take(from endpoint.Peer, data []byte) (any bool) {
	for len(data) > 0 {
		r, rest, ok := nextRecord(data)
		if !ok {
			break
		}
		if ours(&r, s.id) && s.open(from, &r) {
			any = true
		}
		data = rest
	}
	return any
}

// ours reports whether a record can belong to a session with this connection
// id, or with none. What is not protected never does.
func ours(r *record, id []byte) bool {
	mine := r.typ == typeCID
	if len(id) == 0 {
		mine = r.typ == typeAlert || r.typ == typeHandshake || r.typ == typeApplication
	}
	return mine && r.epoch == epochOfData && string(r.cid) == string(id)
}

// open takes a record, if it is the device's and did not come before.
func (s *session) open(from endpoint.Peer, r *record) bool {
	bytes := len(r.raw)
	typ, text, ok := s.keys.open(r)
	if !ok || s.over.Load() {
		return false
	}
	s.mu.Lock()
	first, newest := s.window.mark(r.sequence)
	if first {
		s.came(from, bytes, newest)
	}
	last := s.last
	if first && typ == typeApplication {
		s.last = nil // who has keys to speak with has our Finished
	}
	s.mu.Unlock()
	switch {
	case typ == typeHandshake && len(text) > 0 && text[0] == finishedFirst && last != nil:
		// It repeats its last flight, some the very record: ours did not come
		// [RFC 6347 4.2.4].
		s.send(last)
	case !first:
		return false
	case typ == typeApplication:
		s.deliver(text)
	case typ == typeAlert && len(text) == alertBytes && (text[0] == alertFatal || text[1] == closeNotify):
		s.c.end(s, Closed)
	}
	return true
}

// deliver hands a message to the endpoint.
func (s *session) deliver(text []byte) {
	if len(text) > messageBytesMax {
		s.c.stats.Truncated.Add(1)
		return
	}
	s.heard.Store(int64(s.c.now()))
	if s.arrived(text) {
		return
	}
	select {
	case s.c.inbox <- message{peer: s.peer(), data: append([]byte(nil), text...)}:
	default:
		s.c.stats.Overflowed.Add(1)
	}
}

// seal makes the datagram of a record, for where the newest record came from.
// False: it may not go there, or nowhere any more.
func (s *session) seal(typ byte, text []byte) (d endpoint.Datagram, ok bool) {
	number := s.sent.Add(1) - 1
	if s.over.Load() || number > sequenceMax {
		s.c.stats.Unsent.Add(1)
		return d, false
	}
	b, err := s.keys.seal(nil, number, typ, text)
	if err != nil {
		s.c.stats.Unsent.Add(1)
		return d, false
	}
	d.Data = b
	d.Peer, ok = s.spend(len(b))
	return d, ok
}

// say sends a record.
func (s *session) say(typ byte, text []byte) {
	if d, ok := s.seal(typ, text); ok {
		s.c.send(d.Peer, d.Data)
	}
}

// send sends a datagram that is sealed already.
func (s *session) send(data []byte) {
	if to, ok := s.spend(len(data)); ok {
		s.c.send(to, data)
	}
}

// spend tells where n bytes may go; false: not there.
func (s *session) spend(n int) (to endpoint.Peer, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.at.spend(n) {
		s.c.stats.Throttled.Add(1)
		return endpoint.Peer{}, false
	}
	return s.at.peer, true
}
