package dtls

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"behest/coap/endpoint"
)

// Options of a Conn. The zero value is the default.
type Options struct {
	// Certificate returns the server's own certificate, ECDSA on P-256, as it is
	// now. Nil: devices come with pre-shared keys only.
	Certificate func() *tls.Certificate

	SessionsMax          int // 100,000: about 200 MB
	SessionsPerDevice    int // 2: one that is going and one that comes
	HandshakesMax        int // 128: from the cookie to Finished
	HandshakesPerAddress int // 64 of these, whatever the port: devices share an address behind a NAT

	HandshakeTimeout time.Duration // 30 s from the cookie to Finished
	IdleTimeout      time.Duration // 49 h without a word: twice the default lifetime of a registration, less an hour
	CheckEvery       time.Duration // 1 min, between looks for what is idle, expired or revoked

	// Ended is told of each session that ended, from any goroutine, with no lock
	// held. It must not block.
	Ended  func(Session, Reason)
	Logger *slog.Logger
}

const (
	datagramBytesMax = 2048 // what is read from the network; more is cut, and lost
	readBatch        = 32
	// inboxMax is how many messages wait for the endpoint, which reads them at
	// once: a burst.
	inboxMax = 4096
	// readErrorsMax is how many reads in a row may fail before the network counts
	// as broken; a datagram socket reports other hosts' troubles too.
	readErrorsMax = 100
)

func (o Options) complete() (Options, error) {
	for _, n := range []struct {
		name     string
		value    *int
		fallback int
	}{
		{"SessionsMax", &o.SessionsMax, 100_000},
		{"SessionsPerDevice", &o.SessionsPerDevice, 2},
		{"HandshakesMax", &o.HandshakesMax, 128},
		{"HandshakesPerAddress", &o.HandshakesPerAddress, 64},
	} {
		if *n.value < 0 {
			return o, fmt.Errorf("dtls: %s is negative", n.name)
		}
		if *n.value == 0 {
			*n.value = n.fallback
		}
	}
	for _, d := range []struct {
		name     string
		value    *time.Duration
		fallback time.Duration
	}{
		{"HandshakeTimeout", &o.HandshakeTimeout, 30 * time.Second},
		{"IdleTimeout", &o.IdleTimeout, 49 * time.Hour},
		{"CheckEvery", &o.CheckEvery, time.Minute},
	} {
		if *d.value < 0 {
			return o, fmt.Errorf("dtls: %s is negative", d.name)
		}
		if *d.value == 0 {
			*d.value = d.fallback
		}
	}
	if o.Ended == nil {
		o.Ended = func(Session, Reason) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// Conn is DTLS over a packet connection. To the endpoint above it is a packet
// connection whose peers are sessions.
type Conn struct {
	// Set once.
	inner   endpoint.PacketConn
	o       Options
	log     *slog.Logger
	keys    *keyring
	epoch   time.Time // session.heard is since
	inbox   chan message
	closed  chan struct{}
	stats   counters
	running sync.WaitGroup // a goroutine for each handshake

	// Owned by the reader.
	cookies *cookies
	asking  [1]endpoint.Datagram // its buffers are used again

	mu          sync.Mutex // guards all below; never held across I/O or a call out
	began       bool
	stopping    bool
	last        uint32 // session number given
	sessions    map[uint32]*session
	byAddress   map[endpoint.Peer]*session // by address, Session 0
	byIdentity  map[string][]*session      // the oldest first
	byCID       map[cid]*session           // also of handshakes
	handshaking map[endpoint.Peer]*handshake
	perHost     map[netip.Addr]int // handshakes
}

// message is what a device said.
type message struct {
	peer endpoint.Peer
	data []byte
}

// New returns DTLS over inner, which it owns from then on; nothing starts
// before Run.
func New(inner endpoint.PacketConn, credentials Credentials, o Options) (*Conn, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	if err := checkPion(); err != nil {
		return nil, err
	}
	c := &Conn{
		inner: inner, o: o, log: o.Logger, keys: newKeyring(credentials), epoch: time.Now(),
		inbox: make(chan message, inboxMax), closed: make(chan struct{}),
		last:     rand.Uint32(), // a number from before a restart most likely is nobody's
		sessions: map[uint32]*session{}, byAddress: map[endpoint.Peer]*session{}, byIdentity: map[string][]*session{},
		byCID: map[cid]*session{}, handshaking: map[endpoint.Peer]*handshake{},
		perHost: map[netip.Addr]int{},
	}
	c.cookies = newCookies(c.now)
	return c, nil
}

// LocalAddr returns the address underneath.
func (c *Conn) LocalAddr() netip.AddrPort { return c.inner.LocalAddr() }

// now is the time since the connection's epoch, on the monotonic clock.
func (c *Conn) now() time.Duration { return time.Since(c.epoch) }

// Run reads the network until Close, or until the network fails, and then
// returns after all its goroutines. A connection runs once.
func (c *Conn) Run() error {
	c.mu.Lock()
	again := c.began
	c.began = true
	c.mu.Unlock()
	if again {
		return errors.New("dtls: ran already")
	}
	stop := make(chan struct{})
	var sweeper sync.WaitGroup
	sweeper.Go(func() { c.sweep(stop) })
	err := c.read()
	close(stop)
	sweeper.Wait()
	err = errors.Join(err, c.Close())
	c.running.Wait()
	return err
}

// Close tells the devices, ends all sessions and closes the network. ReadBatch
// then fails with net.ErrClosed.
func (c *Conn) Close() error {
	c.mu.Lock()
	again := c.stopping
	c.stopping = true
	var ending []*session
	var dropping []*handshake
	for _, s := range c.sessions {
		ending = append(ending, s)
	}
	for _, h := range c.handshaking {
		dropping = append(dropping, h)
	}
	c.mu.Unlock()
	if again {
		return nil
	}
	for _, h := range dropping {
		h.shut()
	}
	for _, s := range ending {
		c.end(s, Closed)
	}
	close(c.closed)
	return c.inner.Close()
}

// ReadBatch blocks for at least one message of a device.
func (c *Conn) ReadBatch(batch []endpoint.Datagram) (int, error) {
	if len(batch) == 0 {
		return 0, nil
	}
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	case m := <-c.inbox:
		m.into(&batch[0])
	}
	for n := 1; n < len(batch); n++ {
		select {
		case m := <-c.inbox:
			m.into(&batch[n])
		default:
			return n, nil
		}
	}
	return len(batch), nil
}

func (m *message) into(d *endpoint.Datagram) {
	d.Data = d.Data[:copy(d.Data[:cap(d.Data)], m.data)]
	d.Truncated = len(d.Data) < len(m.data)
	d.Peer = m.peer
}

// WriteBatch sends each message in a record of its session. One whose session
// ended, or whose address has had enough, is disposed of, and nothing ever
// leaves unprotected.
func (c *Conn) WriteBatch(batch []endpoint.Datagram) (int, error) {
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	default:
	}
	sealed := make([]endpoint.Datagram, 0, len(batch))
	for i := range batch {
		c.mu.Lock()
		s := c.sessions[batch[i].Peer.Session]
		c.mu.Unlock()
		if s == nil {
			c.stats.Unsent.Add(1)
			continue
		}
		if d, ok := s.seal(typeApplication, batch[i].Data); ok {
			sealed = append(sealed, d)
		}
	}
	c.sendAll(sealed)
	return len(batch), nil
}

// Session returns the session with this number, if it is one still.
func (c *Conn) Session(number uint32) (Session, bool) {
	c.mu.Lock()
	s := c.sessions[number]
	c.mu.Unlock()
	if s == nil {
		return Session{}, false
	}
	return s.told(), true
}

// Identity returns the id of the device at the far end of a session, if it is
// one still.
func (c *Conn) Identity(number uint32) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sessions[number]
	if s == nil {
		return "", false
	}
	return s.credential.Identity, true // set before it was listed
}

// Recheck ends the sessions of a device whose credential was revoked. It is
// called after a change; a sweep finds the same within CheckEvery.
func (c *Conn) Recheck(identity string) {
	c.mu.Lock()
	sessions := append([]*session(nil), c.byIdentity[identity]...)
	c.mu.Unlock()
	for _, s := range sessions {
		c.check(s, c.now())
	}
}

// sweep looks at all sessions from time to time.
func (c *Conn) sweep(stop <-chan struct{}) {
	ticker := time.NewTicker(c.o.CheckEvery)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		c.mu.Lock()
		sessions := make([]*session, 0, len(c.sessions))
		for _, s := range c.sessions {
			sessions = append(sessions, s)
		}
		c.mu.Unlock()
		now := c.now()
		for _, s := range sessions {
			c.check(s, now)
		}
	}
}

// check ends a session that should not be any more.
func (c *Conn) check(s *session, now time.Duration) {
	switch {
	case c.keys.credentials.Revoked(s.credential):
		c.end(s, Revoked)
	case !s.expires.IsZero() && time.Now().After(s.expires):
		c.end(s, Expired)
	case now-time.Duration(s.heard.Load()) > c.o.IdleTimeout:
		c.end(s, Idle)
	}
}

// send lets a datagram go.
func (c *Conn) send(to endpoint.Peer, data []byte) {
	c.sendAll([]endpoint.Datagram{{Peer: to, Data: data}})
}

// sendAll lets datagrams go. What the socket refuses is lost, and the others
// are not.
func (c *Conn) sendAll(batch []endpoint.Datagram) {
	for len(batch) > 0 {
		n, err := c.inner.WriteBatch(batch)
		if err == nil {
			return
		}
		c.stats.SendErrors.Add(1)
		batch = batch[min(n+1, len(batch)):]
	}
}
