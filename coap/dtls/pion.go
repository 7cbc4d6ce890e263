package dtls

import (
	"encoding/binary"
	"net"
	"os"
	"time"

	"behest/coap/endpoint"
)

// handshakeBytesMax bounds what a handshake may be sent, repeats included: a
// chain of certificates and some losses.
const handshakeBytesMax = 64 << 10

// A handshake is the network that pion sees: datagrams of this device alone.

// ReadFrom gives pion its next datagram. That pion asks for it means that it is
// done with the one before. Once our Finished has left, what comes is for the
// session, and pion waits in vain.
func (h *handshake) ReadFrom(b []byte) (int, net.Addr, error) {
	if h.refuted() {
		h.refuse()
		return 0, nil, net.ErrClosed
	}
	for feed := h.feed; ; {
		select {
		case <-h.done:
			return 0, nil, net.ErrClosed
		case <-h.nudge:
			return 0, nil, os.ErrDeadlineExceeded
		case data := <-feed:
			if h.finished.Load() {
				feed = nil
				h.put(data)
				continue
			}
			if h.fedBytes += len(data); h.fedBytes > handshakeBytesMax {
				h.shut()
				return 0, nil, net.ErrClosed
			}
			h.answered = h.answered || bearsFinished(data)
			return copy(b, data), address{h.from}, nil
		}
	}
}

// WriteTo sends a datagram of pion's, all but its request for a cookie.
func (h *handshake) WriteTo(b []byte, _ net.Addr) (int, error) {
	if h.isShut() {
		return 0, net.ErrClosed
	}
	sent := append([]byte(nil), b...)
	h.written(sent)
	if asksForCookie(sent) {
		h.agree()
	} else {
		h.c.send(h.from, sent)
	}
	return len(b), nil
}

// written notes what pion says: which records it used up, and its last flight.
// Its records in clear are numbered on from the device's hello [RFC 6347 4.2.1].
func (h *handshake) written(b []byte) {
	last, finished := false, false
	for rest := b; len(rest) > 0; {
		r, after, ok := nextRecord(rest)
		if !ok {
			break
		}
		if r.epoch == 0 {
			h.sequence.Add(1)
			binary.BigEndian.PutUint64(r.raw[3:], r.sequence+h.ahead)
		}
		last = last || r.typ == typeChangeCipherSpec
		finished = finished || r.epoch != 0
		rest = after
	}
	if last || finished {
		h.last = append(h.last, b...)
	}
	if finished {
		h.finished.Store(true)
	}
}

// Close is pion's word that it needs no network any more.
func (h *handshake) Close() error {
	h.shut()
	return nil
}

// LocalAddr is for pion, which asks nobody else.
func (h *handshake) LocalAddr() net.Addr { return address{h.from} }

// SetReadDeadline ends a read that waits, when t is past; the zero time takes
// that back. Pion uses no other times.
func (h *handshake) SetReadDeadline(t time.Time) error {
	if t.IsZero() {
		select {
		case <-h.nudge:
		default:
		}
		return nil
	}
	select {
	case h.nudge <- struct{}{}:
	default: // a token is there already
	}
	return nil
}

// SetWriteDeadline does nothing: a write does not wait.
func (h *handshake) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline is for reads alone.
func (h *handshake) SetDeadline(t time.Time) error { return h.SetReadDeadline(t) }

// address is a peer as pion wants it.
type address struct{ endpoint.Peer }

// Network and String make it a net.Addr.
func (a address) Network() string { return "udp" }
func (a address) String() string  { return a.Remote.String() }
