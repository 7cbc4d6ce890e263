package dtls

import (
	"errors"
	"fmt"
	"net"

	"behest/coap/endpoint"
)

// read is the reader: it waits for nothing but the network.
func (c *Conn) read() error {
	batch := make([]endpoint.Datagram, readBatch)
	buffers := make([]byte, readBatch*datagramBytesMax)
	for errs := 0; ; {
		for i := range batch {
			batch[i] = endpoint.Datagram{Data: buffers[i*datagramBytesMax:][:datagramBytesMax:datagramBytesMax]}
		}
		n, err := c.inner.ReadBatch(batch)
		for i := range batch[:n] {
			c.receive(&batch[i])
		}
		if errs++; err == nil {
			errs = 0
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if errs == readErrorsMax {
			return fmt.Errorf("dtls: read: %w", err)
		}
	}
}

// receive gives a datagram to whom it is for: by its connection id, else by the
// address that it came from.
func (c *Conn) receive(d *endpoint.Datagram) {
	if d.Truncated {
		c.stats.Truncated.Add(1)
		return
	}
	from := endpoint.Peer{Remote: d.Peer.Remote, Local: d.Peer.Local}
	r, _, ok := nextRecord(d.Data)
	switch {
	case !ok:
		c.stats.Garbage.Add(1)
	case r.typ == typeCID:
		c.byConnectionID(cid(r.cid), from, d.Data)
	case r.epoch == 0 && r.typ == typeHandshake && len(r.body) > 0 && r.body[0] == typeClientHello:
		h, ok := parseHello(r.body)
		if !ok {
			c.stats.Garbage.Add(1)
			return
		}
		c.greet(from, &h, r.sequence, d.Data)
	default:
		c.byPeer(from, d.Data)
	}
}

func (c *Conn) byConnectionID(id cid, from endpoint.Peer, data []byte) {
	c.mu.Lock()
	s := c.byCID[id]
	var coming *handshake
	if s != nil {
		coming = s.coming
	}
	c.mu.Unlock()
	switch {
	case s != nil && coming == nil:
		c.feed(s, from, data)
	case s != nil && s.from == from:
		coming.put(append([]byte(nil), data...))
	default:
		c.stats.Garbage.Add(1)
	}
}

// byPeer serves an address: the handshake that is under way there, and the
// session that may be its last one.
func (c *Conn) byPeer(from endpoint.Peer, data []byte) {
	c.mu.Lock()
	coming, going := c.handshaking[from], c.byAddress[from]
	c.mu.Unlock()
	if coming != nil {
		coming.put(append([]byte(nil), data...))
	}
	switch {
	case going != nil:
		c.feed(going, from, data)
	case coming == nil:
		c.stats.Garbage.Add(1)
	}
}

func (c *Conn) feed(s *session, from endpoint.Peer, data []byte) {
	if !s.take(from, data) {
		c.stats.Garbage.Add(1)
	}
}

// greet takes a ClientHello: of a new handshake, or of one that is known.
func (c *Conn) greet(from endpoint.Peer, h *hello, sequence uint64, data []byte) {
	key := knock{from: from, random: h.random}
	c.mu.Lock()
	s := c.handshaking[from]
	if s == nil || s.random != h.random {
		s = c.knocking[key]
	}
	// A cookie that came back shows that the address is its own.
	if s != nil && len(h.cookie) > 0 && string(s.cookie) == string(h.cookie) && c.knocking[key] == s && !c.admitLocked(s, key) {
		c.mu.Unlock()
		c.stats.Shed.Add(1)
		return
	}
	c.mu.Unlock()
	if s == nil && (h.sequence != 0 || len(h.cookie) > 0) {
		c.disown(from, sequence)
		return
	}
	if s == nil {
		if s = c.open(from, h, key); s == nil {
			return
		}
	}
	s.put(append([]byte(nil), data...))
}

// open begins a handshake, unless there are too many.
func (c *Conn) open(from endpoint.Peer, h *hello, key knock) *handshake {
	host := from.Remote.Addr()
	c.mu.Lock()
	crowded, full := len(c.knocking) >= c.o.HalfOpenMax/2, c.perHost[host] >= c.o.HandshakesPerAddress
	c.mu.Unlock()
	if full || crowded && !c.knocks.again(from) {
		c.stats.Shed.Add(1)
		return nil
	}
	s := newHandshake(c, from, h.random)
	if err := s.prepare(); err != nil {
		c.log.Error("dtls handshake", "err", err)
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return nil
	}
	if len(c.knocking) >= c.o.HalfOpenMax {
		for _, pushed := range c.knocking { // any
			c.unlistLocked(pushed)
			pushed.shut()
			c.stats.Pushed.Add(1)
			break
		}
	}
	c.knocking[key] = s
	c.perHost[host]++
	s.begin()
	return s
}

// disown answers a ClientHello with a cookie that nobody here gave, most likely
// because its handshake was pushed out: the device would repeat it in vain, and
// should begin again. Where a session is, it is a stray repeat of its handshake.
func (c *Conn) disown(from endpoint.Peer, sequence uint64) {
	c.stats.Disowned.Add(1)
	c.mu.Lock()
	live := c.byAddress[from] != nil
	c.mu.Unlock()
	if !live {
		c.send(from, alertRecord(sequence, handshakeFailure))
	}
}

// admitLocked lets a handshake go on after its cookie, if there is a place.
func (c *Conn) admitLocked(s *handshake, key knock) bool {
	old := c.handshaking[s.from] // the device rebooted in the middle of one
	if old == nil && len(c.handshaking) >= c.o.HandshakesMax && !c.pushLocked() {
		return false
	}
	if old != nil {
		c.unlistLocked(old)
		old.shut()
	}
	delete(c.knocking, key)
	s.admitted = true
	c.handshaking[s.from] = s
	s.timer.Reset(c.o.HandshakeTimeout)
	return true
}

// pushLocked makes room among handshakes: of the oldest, if it has had a
// quarter of its time, so that who dawdles keeps nobody out.
func (c *Conn) pushLocked() bool {
	var oldest *handshake
	for _, s := range c.handshaking {
		if oldest == nil || s.since < oldest.since {
			oldest = s
		}
	}
	if oldest == nil || c.now()-oldest.since < c.o.HandshakeTimeout/4 {
		return false
	}
	c.unlistLocked(oldest)
	oldest.shut()
	c.stats.Pushed.Add(1)
	return true
}

// unlistLocked takes a handshake off the tables.
func (c *Conn) unlistLocked(s *handshake) {
	key := knock{from: s.from, random: s.random}
	switch {
	case c.knocking[key] == s:
		delete(c.knocking, key)
	case c.handshaking[s.from] == s:
		delete(c.handshaking, s.from)
	default:
		return
	}
	host := s.from.Remote.Addr()
	if c.perHost[host]--; c.perHost[host] == 0 {
		delete(c.perHost, host)
	}
}
