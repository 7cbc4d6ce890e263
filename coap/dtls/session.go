package dtls

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"

	"behest/coap/endpoint"
)

const (
	// feedMax is how many datagrams wait for one session: a flight of a handshake
	// in small fragments, or a burst.
	feedMax = 16
	// handshakeBytesMax bounds what a handshake may be sent, repeats included:
	// a chain of certificates and some losses.
	handshakeBytesMax = 64 << 10
	// messageBytesMax is the longest message that a record brings.
	messageBytesMax = 1500
	// oddReadsMax is how many reads in a row may bring an error and no message,
	// warnings of the device, before its session ends.
	oddReadsMax = 100
)

// session is a handshake, and then a security association. It is also the
// network that pion sees: datagrams for this device alone.
type session struct {
	// Set once.
	c      *Conn
	conn   *dtls.Conn
	from   endpoint.Peer // where the handshake came from
	random [randomBytes]byte
	since  time.Duration
	feed   chan packet
	nudge  chan struct{} // one token: the read deadline is past
	done   chan struct{}
	once   sync.Once // closes done
	timer  *time.Timer

	// Set by the end of the handshake.
	number     uint32
	id         []byte // connection id that it asked the device for; none: by address
	credential Credential
	expires    time.Time // of its certificate

	// Guarded by c.mu.
	cookie   []byte // that pion asks for
	admitted bool   // it came back
	ended    bool   // taken off the tables

	// Of the handshake. keyed and proved are set in pion's callbacks, the others
	// owned by pion's reader.
	keyed, proved atomic.Bool
	trial         trial // before keyed is set
	finished      bool  // the device's Finished was fed, or what looks like it
	fedBytes      int
	sequence      atomic.Uint64 // the next of ours in epoch 0

	established atomic.Bool
	heard       atomic.Int64 // c.now of its newest message
	routes
}

// packet is a datagram on its way to pion.
type packet struct {
	route *route
	data  []byte
}

func newSession(c *Conn, from endpoint.Peer, random [randomBytes]byte) *session {
	s := &session{c: c, from: from, random: random, since: c.now(), feed: make(chan packet, feedMax),
		nudge: make(chan struct{}, 1), done: make(chan struct{})}
	s.routes.start(from)
	return s
}

// peer is what the endpoint knows the session by.
func (s *session) peer() endpoint.Peer {
	return endpoint.Peer{Remote: s.from.Remote, Local: s.from.Local, Session: s.number}
}

func (s *session) told() Session {
	at, proven := s.current(s.conn.RemoteAddr())
	return Session{Peer: s.peer(), Credential: s.credential, Remote: at, Proven: proven}
}

// put gives pion a datagram, or loses it when pion is slow: the reader of the
// network waits for nobody.
func (s *session) put(from endpoint.Peer, data []byte) {
	select {
	case s.feed <- packet{route: s.routeOf(from, s.conn.RemoteAddr()), data: data}:
	default:
		s.c.stats.Overflowed.Add(1)
	}
}

// shut ends the session in silence: pion can neither read nor write any more.
func (s *session) shut() { s.once.Do(func() { close(s.done) }) }

func (s *session) isShut() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// write sends a message in a record.
func (s *session) write(data []byte) error {
	_, err := s.conn.Write(data)
	return err
}

// read hands the device's messages to the endpoint until the session is over.
func (s *session) read() {
	buf := make([]byte, messageBytesMax)
	for odd := 0; odd < oddReadsMax && !s.isShut(); {
		n, err := s.conn.Read(buf)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, dtls.ErrConnClosed):
			return
		case err != nil: // a message too long for us, or a warning
			s.c.stats.Truncated.Add(1)
			odd++
			continue
		}
		odd = 0
		s.heard.Store(int64(s.c.now()))
		if s.arrived(buf[:n]) {
			continue
		}
		select {
		case s.c.inbox <- message{peer: s.peer(), data: append([]byte(nil), buf[:n]...)}:
		default:
			s.c.stats.Overflowed.Add(1)
		}
	}
}

// ReadFrom gives pion its next datagram. That pion asks for it means that it is
// done with the one before.
func (s *session) ReadFrom(b []byte) (int, net.Addr, error) {
	if s.refuted() {
		s.refuse()
		return 0, nil, net.ErrClosed
	}
	select {
	case <-s.done:
		return 0, nil, net.ErrClosed
	case <-s.nudge:
		return 0, nil, os.ErrDeadlineExceeded
	case p := <-s.feed:
		if !s.established.Load() {
			if s.fedBytes += len(p.data); s.fedBytes > handshakeBytesMax {
				s.shut()
				return 0, nil, net.ErrClosed
			}
			s.finished = s.finished || bearsFinished(p.data)
		}
		s.count(p.route, len(p.data))
		return copy(b, p.data), p.route, nil
	}
}

// WriteTo sends a datagram of pion's where the newest record came from, as far
// as that address may be sent to.
func (s *session) WriteTo(b []byte, to net.Addr) (int, error) {
	if s.isShut() {
		return 0, net.ErrClosed
	}
	r, ok := to.(*route)
	if !ok {
		return 0, errors.New("dtls: not an address of ours")
	}
	if !s.established.Load() {
		s.written(b)
	}
	if !s.spend(r, len(b)) {
		s.c.stats.Throttled.Add(1)
		return len(b), nil // lost, as far as pion knows
	}
	s.c.send(r.peer, b)
	return len(b), nil
}

// written notes the cookie that pion asks for, and which records it used up.
func (s *session) written(b []byte) {
	if cookie, ok := cookieOf(b); ok {
		s.c.mu.Lock()
		s.cookie = append([]byte(nil), cookie...)
		s.c.mu.Unlock()
	}
	for len(b) > 0 {
		r, rest, ok := nextRecord(b)
		if !ok {
			return
		}
		if r.epoch == 0 {
			s.sequence.Add(1)
		}
		b = rest
	}
}

// Close is pion's word that it needs no network any more.
func (s *session) Close() error {
	s.shut()
	return nil
}

// LocalAddr is for pion, which asks nobody else.
func (s *session) LocalAddr() net.Addr { return &route{peer: s.from} }

// SetReadDeadline ends a read that waits, when t is past; the zero time takes
// that back. Pion uses no other times.
func (s *session) SetReadDeadline(t time.Time) error {
	if t.IsZero() {
		select {
		case <-s.nudge:
		default:
		}
		return nil
	}
	select {
	case s.nudge <- struct{}{}:
	default: // a token is there already
	}
	return nil
}

// SetWriteDeadline does nothing: a write does not wait.
func (s *session) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline is for reads alone.
func (s *session) SetDeadline(t time.Time) error { return s.SetReadDeadline(t) }
