package endpoint

import (
	"errors"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
)

// exchangeState is how far an exchange is.
type exchangeState uint8

const (
	exchangeFree     exchangeState = iota
	exchangeWaiting                // behind another separate response
	exchangeRunning                // it has a timer, or is being built
	exchangeFinished               // its Done is due
)

const (
	laneNotify   = 0
	laneSeparate = 1

	// separatesWaitingMax bounds the separate responses of a peer behind the
	// outstanding one: more than a device asks for at once.
	separatesWaitingMax = 4
)

// exchange is a confirmable under way. It is pooled; gen tells its users apart.
type exchange struct {
	c         Confirmable
	gen       uint32
	peer      uint32
	next      uint32 // free, or waiting behind this one
	timer     uint32
	body      uint64        // key of its body in downloads
	timeout   time.Duration // of the first transmission
	blockSize int
	token     Token
	mids      [attemptsMax]uint16
	sent      uint16 // bit a: attempt a left
	attempt   int8   // the next one
	answered  int8   // the attempt that Done tells
	lane      uint8
	state     exchangeState
	outcome   Outcome
	held      bool // its next attempt waits for a transfer to end
}

// exchangeTable is a slab; index 0 is none.
type exchangeTable struct {
	slab []exchange
	free uint32
	n    int
	max  int
}

func newExchangeTable(limit int) *exchangeTable {
	return &exchangeTable{slab: make([]exchange, 1), max: limit}
}

func (t *exchangeTable) at(i uint32) *exchange { return &t.slab[i] }
func (t *exchangeTable) len() int              { return t.n }

func (t *exchangeTable) add() uint32 {
	if t.n >= t.max {
		return 0
	}
	t.n++
	i := t.free
	if i == 0 {
		t.slab = append(t.slab, exchange{})
		return uint32(len(t.slab) - 1)
	}
	t.free = t.slab[i].next
	t.slab[i].next = 0
	return i
}

func (t *exchangeTable) remove(i uint32) {
	t.n--
	t.slab[i] = exchange{gen: t.slab[i].gen + 1, next: t.free}
	t.free = i
}

// Exchange is a confirmable that was started by Confirm.
type Exchange struct {
	e   *Endpoint
	i   uint32
	gen uint32
}

// Stop ends the exchange at once; true: it was still running, and Done will not
// be called.
func (x *Exchange) Stop() bool {
	e := x.e
	e.mu.Lock()
	defer e.mu.Unlock()
	ex := e.exchanges.at(x.i)
	if ex.gen != x.gen || ex.state != exchangeRunning {
		return false
	}
	now := e.now()
	peer := ex.peer
	e.leaveLaneLocked(x.i, now)
	e.exchanges.remove(x.i)
	e.peers.unpin(peer, now+e.o.ExchangeLifetime)
	e.idleLocked(peer)
	e.stats.Stopped.Add(1)
	return true
}

// Confirm sends a notification until it is answered. It returns ErrBusy while
// the peer has an exchange outstanding or a transfer frozen. The first
// transmission is built at once, on the goroutine that keeps the clocks.
func (e *Endpoint) Confirm(p Peer, t Token, c Confirmable, o ConfirmOptions) (*Exchange, error) {
	switch {
	case c == nil || !p.Remote.IsValid():
		return nil, errors.New("endpoint: Confirm needs a peer and what to send")
	case o.BlockSize < 0 || o.AckTimeout < 0:
		return nil, errors.New("endpoint: negative block size or timeout")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, ErrClosed
	}
	now := e.now()
	i := e.heardLocked(p, now)
	if i == 0 {
		return nil, ErrOverloaded
	}
	n := e.peers.at(i)
	if n.busy() {
		return nil, ErrBusy
	}
	x := e.exchanges.add()
	if x == 0 {
		return nil, ErrOverloaded
	}
	n.proven = n.proven || o.Proven
	ex := e.exchanges.at(x)
	ex.c, ex.peer, ex.token, ex.lane, ex.blockSize = c, i, t, laneNotify, blockSizeOf(o.BlockSize)
	ex.body, ex.timeout = e.bodyKey(o.Path, o.Query, n.salt), e.firstTimeoutLocked(o.AckTimeout)
	e.peers.pin(i)
	e.enterLaneLocked(x, now)
	return &Exchange{e: e, i: x, gen: ex.gen}, nil
}

// busy tells whether a notification must wait.
func (p *peer) busy() bool {
	return p.lanes[laneNotify] != 0 || p.lanes[laneSeparate] != 0 || p.frozen > 0
}

// blockSizeOf rounds a size that a peer asked for down to one that exists.
func blockSizeOf(n int) int {
	if n == 0 {
		return 0
	}
	size := blockSizeMin
	for size*2 <= min(n, blockSizeMax) {
		size *= 2
	}
	return size
}

// separateLocked starts the separate response to a request, or lets it wait for
// the one before it. false: too many wait, or the endpoint ends.
func (e *Endpoint) separateLocked(g *origin, c Confirmable, now time.Duration) bool {
	if e.closed {
		return false
	}
	p := e.peers.at(g.peer)
	last, count := p.lanes[laneSeparate], 0
	for last != 0 && e.exchanges.at(last).next != 0 {
		last = e.exchanges.at(last).next
		count++
	}
	if count >= separatesWaitingMax {
		return false
	}
	x := e.exchanges.add()
	if x == 0 {
		return false
	}
	ex := e.exchanges.at(x)
	ex.c, ex.peer, ex.token, ex.lane, ex.blockSize = c, g.peer, g.token, laneSeparate, g.blockSize
	ex.body, ex.timeout = g.body, e.firstTimeoutLocked(0)
	e.peers.pin(g.peer)
	if last == 0 {
		e.enterLaneLocked(x, now)
		return true
	}
	ex.state = exchangeWaiting
	e.exchanges.at(last).next = x
	return true
}

// firstTimeoutLocked draws the timeout of a first transmission [RFC 7252 4.2].
func (e *Endpoint) firstTimeoutLocked(ack time.Duration) time.Duration {
	if ack == 0 {
		ack = e.o.AckTimeout
	}
	return ack + time.Duration(e.rand.Float64()*(e.o.AckRandomFactor-1)*float64(ack))
}

func (e *Endpoint) enterLaneLocked(x uint32, now time.Duration) {
	ex := e.exchanges.at(x)
	ex.state = exchangeRunning
	e.peers.at(ex.peer).lanes[ex.lane] = x
	ex.timer = e.scheduleLocked(now, timerExchange, x)
}

// leaveLaneLocked takes an exchange off its lane; the next one starts.
func (e *Endpoint) leaveLaneLocked(x uint32, now time.Duration) {
	ex := e.exchanges.at(x)
	e.wheel.remove(ex.timer)
	ex.timer = 0
	next := ex.next
	ex.next = 0
	e.peers.at(ex.peer).lanes[ex.lane] = 0
	if next != 0 {
		e.enterLaneLocked(next, now)
	}
}

// rearmLocked lets a held exchange go on.
func (e *Endpoint) rearmLocked(x uint32, now time.Duration) {
	ex := e.exchanges.at(x)
	ex.held = false
	e.wheel.remove(ex.timer)
	ex.timer = e.scheduleLocked(now, timerExchange, x)
}

// idleLocked notes that Handler.Idle is due, if the peer is free.
func (e *Endpoint) idleLocked(i uint32) {
	if p := e.peers.at(i); !p.busy() && !e.closed {
		e.idle = append(e.idle, e.peers.peer(&p.key))
		e.wakeClocks()
	}
}

// finishLocked ends an exchange; its Done follows.
func (e *Endpoint) finishLocked(x uint32, o Outcome, answered int, now time.Duration) {
	ex := e.exchanges.at(x)
	ex.state, ex.outcome, ex.answered = exchangeFinished, o, int8(answered)
	e.leaveLaneLocked(x, now)
	e.finished = append(e.finished, x)
	e.wakeClocks()
	switch o {
	case Acked:
		e.stats.Acked.Add(1)
	case Reset:
		e.stats.Reset.Add(1)
	case Silent:
		e.stats.Silent.Add(1)
	case Stopped:
		e.stats.Stopped.Add(1)
	}
}

// straysMax is how many ids an unproven peer may guess wrong before a right one
// no longer proves anything: with 5 of 65,536 ids out, a guesser's chance stays
// below one in two hundred.
const straysMax = 64

// answered takes an ACK or a RST: it ends the exchange of the same peer that
// sent a message with its id.
func (e *Endpoint) answered(d *Datagram, o Outcome) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := e.peers.find(e.peers.key(d.Peer))
	if i == 0 {
		e.stats.Strays.Add(1)
		return
	}
	p := e.peers.at(i)
	for _, x := range p.lanes {
		if x == 0 {
			continue
		}
		if attempt := e.exchanges.at(x).attemptOf(e.in.mid); attempt >= 0 {
			p.proven = p.proven || o == Acked && p.strays < straysMax
			e.finishLocked(x, o, attempt, e.now())
			return
		}
	}
	e.stats.Strays.Add(1)
	if !p.proven && p.strays < straysMax {
		p.strays++
	}
}

// attemptOf returns the attempt that left with a message id, or -1.
func (x *exchange) attemptOf(mid uint16) int {
	for a := range int(x.attempt) {
		if x.sent>>a&1 == 1 && x.mids[a] == mid {
			return a
		}
	}
	return -1
}

// sendAttemptLocked encodes one transmission of an exchange and sends it, as
// a new message [RFC 7641 4.5.2].
func (e *Endpoint) sendAttemptLocked(x uint32, r *Response, now time.Duration) error {
	ex := e.exchanges.at(x)
	a := ex.attempt
	ex.mids[a] = e.nextIDLocked(ex.peer)
	out := outbound{typ: message.Confirmable, mid: ex.mids[a], token: ex.token}
	k := e.out.packet()
	n, err := e.composeLocked(&out, r, ex.peer, ex.body, ex.blockSize, k, now)
	if err != nil {
		return err
	}
	if n > 0 {
		ex.sent |= 1 << a
		e.postLocked(ex.peer, k, n)
	}
	ex.attempt++
	ex.timer = e.scheduleLocked(now+ex.timeout<<a, timerExchange, x) // [RFC 7252 4.2]
	if a == 0 {
		e.stats.Confirmables.Add(1)
	} else {
		e.stats.Retransmissions.Add(1)
	}
	return nil
}
