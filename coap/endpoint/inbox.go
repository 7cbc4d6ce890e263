package endpoint

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"net"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
)

// readErrorsMax is how many reads in a row may fail before the connection
// counts as broken; a datagram socket reports other hosts' troubles too.
const readErrorsMax = 100

// read is the reader: it never waits for anything but the connection.
func (e *Endpoint) read() error {
	batch := make([]Datagram, e.o.BatchSize)
	buffers := make([]byte, e.o.BatchSize*datagramBytesMax)
	for errs := 0; ; {
		for i := range batch {
			batch[i] = Datagram{Data: buffers[i*datagramBytesMax:][:datagramBytesMax:datagramBytesMax]}
		}
		n, err := e.conn.ReadBatch(batch)
		now := e.now()
		e.stats.Received.Add(uint64(n))
		for i := range batch[:n] {
			e.receive(&batch[i], now)
		}
		if errs++; err == nil {
			errs = 0
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		e.stats.ReadErrors.Add(1)
		if errs == readErrorsMax {
			return fmt.Errorf("endpoint: read: %w", err)
		}
	}
}

// receive takes one datagram. A panic here costs the datagram.
func (e *Endpoint) receive(d *Datagram, now time.Duration) {
	defer func() {
		if v := recover(); v != nil {
			e.panicked("receive", v, debug.Stack())
		}
	}()
	m := &e.in
	if d.Truncated {
		e.receiveTruncated(d)
		return
	}
	switch m.decode(d.Data) {
	case notCoAP:
		e.stats.Malformed.Add(1)
		return
	case formatError:
		e.stats.Malformed.Add(1)
		e.reject(d)
		return
	}
	switch {
	case m.code == codes.Empty:
		e.receiveEmpty(d, now)
	case isRequest(m.code) && (m.typ == message.Confirmable || m.typ == message.NonConfirmable):
		e.request(d, now)
	case !isRequest(m.code) && m.typ == message.Acknowledgement:
		// A piggybacked response to a notification makes no sense, but the peer has
		// the message, which is all that an ACK says.
		e.answered(d, Acked)
	case !isRequest(m.code) && m.typ == message.Confirmable:
		e.stats.Strays.Add(1)
		e.reject(d) // [RFC 7252 4.2]
	default:
		// A NON response to nothing; a request in an ACK; an RST with a code
		// [RFC 7252 4.2, 4.3].
		e.stats.Strays.Add(1)
	}
}

func (e *Endpoint) receiveEmpty(d *Datagram, now time.Duration) {
	switch e.in.typ {
	case message.Confirmable: // ping [RFC 7252 4.3]
		e.stats.Pings.Add(1)
		e.reject(d)
	case message.Acknowledgement:
		e.answered(d, Acked)
	case message.Reset:
		e.answered(d, Reset)
	default: // [RFC 7252 4.3]
		e.stats.Strays.Add(1)
	}
}

// reject answers a CON with a RST, anything else with silence. It needs no
// state, and never sends more than came.
func (e *Endpoint) reject(d *Datagram) {
	if e.in.typ != message.Confirmable {
		return
	}
	k := e.out.packet()
	k.peer, k.n = d.Peer, encodeEmpty(k.buf[:], message.Reset, e.in.mid)
	e.post(k)
}

// receiveTruncated refuses a datagram that did not fit the buffer, and says
// which blocks would [RFC 7959 2.9.3].
func (e *Endpoint) receiveTruncated(d *Datagram) {
	e.stats.Truncated.Add(1)
	m := &e.in
	if m.decodeHeader(d.Data) != wellFormed || m.typ != message.Confirmable {
		return
	}
	if !isRequest(m.code) {
		e.reject(d)
		return
	}
	out := outbound{typ: message.Acknowledgement, code: codes.RequestEntityTooLarge, mid: m.mid, token: m.token,
		block1: block{szx: szxOf(e.o.BlockSize)}.opt()}
	k := e.out.packet()
	e.mu.Lock()
	n, err := e.enc.encode(&out, k.buf[:])
	e.mu.Unlock()
	if err != nil { // cannot be: everything in it is bounded
		panic(err)
	}
	k.peer, k.n = d.Peer, n
	e.post(k)
}

// request answers a request that the message layer can answer by itself, and
// gives all others to the pool.
func (e *Endpoint) request(d *Datagram, now time.Duration) {
	m := &e.in
	e.mu.Lock()
	defer e.mu.Unlock()
	i := e.heardLocked(d.Peer, now)
	if i == 0 {
		e.stats.Refused.Add(1)
		return
	}
	p := e.peers.at(i)
	p.proven = p.proven || m.echo != nil && e.echoes.good(&p.key, now, m.echo)
	if !p.proven {
		p.bytesIn = uint32(min(uint64(p.bytesIn)+uint64(len(d.Data)), math.MaxUint32))
	}
	g := origin{peer: i, con: m.typ == message.Confirmable, mid: m.mid, code: m.code, token: m.token,
		hash: maphash.Bytes(e.seed, d.Data) ^ p.salt}
	if m.badOption != 0 || m.proxied {
		e.stats.BadOptions.Add(1)
		e.refuseOptionLocked(&g)
		return
	}
	if r := e.repeats.find(g.hash, now); r != 0 && e.repeatedLocked(&g, e.repeats.slab.at(r)) {
		return
	}
	if e.closing {
		e.overloadLocked(&g, now)
		return
	}
	e.freshLocked(&g, now)
}

// refuseOptionLocked answers a request that has a critical option which we do
// not recognise, or asks for a proxy. The former in a NON is rejected in
// silence [RFC 7252 5.4.1, 4.3]; otherwise the option is named, to an address
// that has proven itself.
func (e *Endpoint) refuseOptionLocked(g *origin) {
	switch {
	case e.in.badOption == 0:
		e.answerLocked(g, &outbound{code: codes.ProxyingNotSupported})
	case g.con && e.peers.at(g.peer).proven:
		e.answerLocked(g, &outbound{code: codes.BadOption, payload: strconv.AppendUint([]byte("option "), uint64(e.in.badOption), 10)})
	case g.con:
		e.answerLocked(g, &outbound{code: codes.BadOption})
	}
}

// repeatedLocked answers a repeat [RFC 7252 4.5]. false: its answer is no longer
// kept, and it must be served anew.
func (e *Endpoint) repeatedLocked(g *origin, r *repeat) bool {
	switch r.state {
	case repeatRunning: // answered when it is done
	case repeatAcked:
		if g.con {
			e.emptyLocked(g.peer, message.Acknowledgement, g.mid)
		}
	case repeatAnswered:
		kept := e.answers.get(r.answer)
		if kept == nil {
			return false
		}
		if e.roomLocked(g.peer) < len(kept) {
			e.stats.Throttled.Add(1)
			break
		}
		k := e.out.packet()
		e.postLocked(g.peer, k, copy(k.buf[:], kept))
	}
	e.stats.Duplicates.Add(1)
	return true
}

// freshLocked serves a request that was not seen before, as far as the message
// layer can, and gives it to the pool when it is whole.
func (e *Endpoint) freshLocked(g *origin, now time.Duration) {
	m := &e.in
	if e.challengedLocked(g, now) {
		return
	}
	lifetime := e.o.NonLifetime
	if g.con {
		lifetime = e.o.ExchangeLifetime
	}
	if r := e.repeats.find(g.hash, now); r != 0 {
		g.repeat = r
		e.repeats.slab.at(r).state = repeatRunning
	} else {
		g.repeat = e.repeats.add(g.hash, g.peer, g.con, now, lifetime)
	}
	b1, uploads := m.block1.Get()
	b2, asks := m.block2.Get()
	if uploads && blockOf(b1).szx == szxReserved || asks && blockOf(b2).szx == szxReserved {
		e.stats.BadOptions.Add(1)
		e.answerLocked(g, &outbound{code: codes.BadRequest})
		return
	}
	g.body = e.bodyKeyOf(m, e.peers.at(g.peer).salt)
	if asks {
		g.blockSize = blockOf(b2).size()
		if blockOf(b2).num > 0 && !uploads {
			e.laterBlockLocked(g, blockOf(b2), now)
			return
		}
	}
	body := m.payload
	if uploads {
		var whole bool
		if body, whole = e.uploadLocked(g, blockOf(b1), now); !whole {
			return
		}
	}
	e.admitLocked(g, body, now)
}
