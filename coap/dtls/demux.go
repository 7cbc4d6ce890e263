package dtls

import (
	"encoding/binary"
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
		c.greet(from, r.sequence, &h, d.Data)
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

// greet takes a ClientHello. Nothing is kept of one before its cookie came back,
// which shows that the address is its own.
func (c *Conn) greet(from endpoint.Peer, sequence uint64, h *hello, data []byte) {
	const withCookie = 1 // message_seq
	switch {
	case h.sequence == 0:
		c.ask(from, sequence, h)
		return
	case h.sequence != withCookie || !c.cookies.prove(from, h):
		c.disown(from, sequence)
		return
	}
	c.mu.Lock()
	coming, going := c.handshaking[from], c.byAddress[from]
	c.mu.Unlock()
	if coming == nil && going != nil && going.born == [8]byte(h.random[:8]) {
		return // a stray repeat: that handshake is over
	}
	first := max(sequence, 1) // pion sees the hello without its cookie before it
	if coming == nil || coming.random != h.random {
		if coming = c.open(from, first, h); coming == nil {
			return
		}
	}
	again := append([]byte(nil), data...)
	binary.BigEndian.PutUint64(again[3:], first)
	coming.put(again)
}

// disown answers a ClientHello with a cookie that does not count: it is older
// than two periods, or from before a restart. The device would repeat it in vain,
// and should begin again: a second request for a cookie would be one message more
// than pion counts. Where a handshake or a session is, it is a stray.
func (c *Conn) disown(from endpoint.Peer, sequence uint64) {
	c.stats.Disowned.Add(1)
	c.mu.Lock()
	known := c.byAddress[from] != nil || c.handshaking[from] != nil
	c.mu.Unlock()
	if !known {
		c.send(from, alertRecord(sequence, handshakeFailure))
	}
}

// open begins a handshake, if there is a place.
func (c *Conn) open(from endpoint.Peer, sequence uint64, hi *hello) *handshake {
	host := from.Remote.Addr()
	c.mu.Lock()
	old := c.handshaking[from] // the device rebooted in the middle of one
	full := c.stopping || old == nil && (c.perHost[host] >= c.o.HandshakesPerAddress || len(c.handshaking) >= c.o.HandshakesMax && !c.pushLocked())
	c.mu.Unlock()
	if full {
		c.stats.Shed.Add(1)
		return nil
	}
	h, err := newHandshake(c, from, sequence, hi)
	if err != nil {
		c.log.Error("dtls handshake", "err", err)
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return nil
	}
	if old = c.handshaking[from]; old != nil {
		c.unlistLocked(old)
		old.shut()
	}
	c.handshaking[from] = h
	c.perHost[host]++
	h.begin()
	return h
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
func (c *Conn) unlistLocked(h *handshake) {
	if c.handshaking[h.from] != h {
		return
	}
	delete(c.handshaking, h.from)
	host := h.from.Remote.Addr()
	if c.perHost[host]--; c.perHost[host] == 0 {
		delete(c.perHost, host)
	}
}
