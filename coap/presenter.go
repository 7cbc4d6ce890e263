package coap

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"behest/coap/endpoint"
	"behest/command"
	"behest/device"
)

// presenter carries the open lists of devices to their observers.
type presenter struct {
	endpoint *endpoint.Endpoint
	uses     UseCases
	log      *slog.Logger
	againMin time.Duration
	againMax time.Duration

	pulls chan int64 // devices whose turn has come; see pull

	mu     sync.Mutex
	boards map[int64]*board        // by handle: devices with something open or under way
	busy   map[endpoint.Peer]int64 // whose board waits for that peer to be free
	closed bool
}

// board is what one device should see, and how far that has come. It is
// guarded by the presenter's mu.
type board struct {
	dev    device.Device
	shown  command.Presentation
	dirty  bool      // the device has not been sent this list
	notice *notice   // the exchange that is under way, or nil
	number int64     // the last Observe number, before it is cut to 24 bits
	at     time.Time // of the last list that came

	again      *time.Timer   // shows a delivered list again
	againAfter time.Duration // the next interval
	pulling    bool          // a pull is under way
	pulled     bool          // nothing has changed since the last one
}

// Numbers of the presenter's own goroutines. A pull is one commit, and many
// share an fsync.
const (
	pullWorkers = 64
	pullsMax    = 16 << 10
	retryAfter  = time.Second // when a bound inside was reached
)

// A board is kept for a while after it has nothing to do, so that a list which
// comes late is still seen to be old.
const (
	sweepEvery = 5 * time.Second
	restFor    = 10 * time.Second
)

func newPresenter(e *endpoint.Endpoint, o Options) *presenter {
	return &presenter{
		endpoint: e, log: o.Logger, againMin: o.AgainMin, againMax: o.AgainMax,
		pulls:  make(chan int64, pullsMax),
		boards: make(map[int64]*board),
		busy:   make(map[endpoint.Peer]int64),
	}
}

// run gives devices their turn until ctx ends.
func (p *presenter) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for range pullWorkers {
		g.Go(func() error {
			for {
				select {
				case <-ctx.Done():
					return nil
				case h := <-p.pulls:
					p.pullOne(ctx, h)
				}
			}
		})
	}
	g.Go(func() error {
		tick := time.NewTicker(sweepEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case now := <-tick.C:
				p.sweep(now)
			}
		}
	})
	err := g.Wait()
	p.close()
	return err
}

// close stops the timers of all boards, and starts no more.
func (p *presenter) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, b := range p.boards {
		b.calm()
	}
}

func (p *presenter) pullOne(ctx context.Context, h int64) {
	p.mu.Lock()
	if b := p.boards[h]; b != nil {
		b.pulling, b.pulled = false, true
	}
	p.mu.Unlock()
	if err := p.uses.Pull(ctx, h); err != nil && ctx.Err() == nil {
		p.log.Warn("giving a device its turn", "device", h, "err", err)
	}
}

// pull asks for the device's turn: at once when something changed since the
// last one, else after a while, for what withheld it then may still stand. [mu held]
func (p *presenter) pull(h int64, b *board) {
	if b.pulling || p.closed {
		return
	}
	b.pulling = true
	if !b.pulled {
		select {
		case p.pulls <- h:
			return
		default: // too many at once
		}
	}
	time.AfterFunc(retryAfter, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.boards[h] == b {
			b.pulling, b.pulled = false, false
			p.advance(h, b)
		}
	})
}

// Ready reports whether a notification for d would leave now.
func (p *presenter) Ready(d device.Device) bool {
	if !d.Online(time.Now()) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.boards[d.Handle]
	return !p.closed && (b == nil || b.notice == nil)
}

// Present takes the list that d should see from now on.
func (p *presenter) Present(d device.Device, shown command.Presentation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.take(d, shown)
	if b == nil {
		return
	}
	p.advance(d.Handle, b)
}

// take puts a list on the device's board, unless a younger one is there. [mu held]
func (p *presenter) take(d device.Device, shown command.Presentation) *board {
	b := p.boards[d.Handle]
	if b == nil {
		b = &board{}
		p.boards[d.Handle] = b
	}
	if shown.Generation <= b.shown.Generation {
		return nil
	}
	if shown.Revived || !sameList(b.shown.List, shown.List) {
		b.dirty, b.pulled = true, false
		b.calm()
	}
	b.dev, b.shown, b.at = d, shown, time.Now()
	if n := b.notice; n != nil && shown.Reported != 0 && n.everCarried(shown.Reported) {
		p.finish(b, command.DeliveryAcked, n.carriedBy(shown.Reported))
	}
	return b
}

// sameList reports whether two lists say the same to a device.
func sameList(a, b []command.Entry) bool {
	return slices.EqualFunc(a, b, func(x, y command.Entry) bool { return x.Seq == y.Seq && x.Cancel == y.Cancel })
}

// advance does what the board of h needs next. [mu held]
func (p *presenter) advance(h int64, b *board) {
	switch {
	case b.notice != nil || p.closed:
		return // its end leads here again
	case b.dirty && b.dev.Online(time.Now()):
		p.notify(h, b)
	case b.shown.Waiting && b.dev.Online(time.Now()):
		p.pull(h, b)
	}
}

// sweep forgets the boards that have nothing to do, or nobody to show it to:
// a device that comes back is presented what is open by then. An idle device
// costs nothing.
func (p *presenter) sweep(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for h, b := range p.boards {
		idle := len(b.shown.List) == 0 && !b.dirty || !b.dev.Online(now)
		if idle && b.notice == nil && !b.pulling && now.Sub(b.at) > restFor && b.number <= observeNumber(now) {
			b.calm()
			delete(p.boards, h)
		}
	}
}

// notify starts an exchange that carries the board's list. [mu held]
func (p *presenter) notify(h int64, b *board) {
	o := b.dev.Observation
	n := &notice{p: p, handle: h, observation: o, lifetime: b.dev.Registration.Lifetime}
	x, err := p.endpoint.Confirm(peerOf(o), endpoint.TokenOf(o.Token), n, endpoint.ConfirmOptions{
		AckTimeout: b.dev.AckTimeout, BlockSize: o.BlockSize, Path: []string{"c", b.dev.Name},
	})
	switch {
	case err == nil:
		n.exchange, b.notice = x, n
	case errors.Is(err, endpoint.ErrBusy):
		p.busy[peerOf(o)] = h
	case errors.Is(err, endpoint.ErrClosed):
	default:
		p.log.Warn("notifying a device", "device", b.dev.Name, "err", err)
		b.later(retryAfter, p, h)
	}
}

// begin answers a GET that observes. The observation is d's from now on, and
// whatever was under way for an earlier one is over.
func (p *presenter) begin(d device.Device, shown command.Presentation) endpoint.Response {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := &notice{p: p, handle: d.Handle, observation: d.Observation, lifetime: d.Registration.Lifetime}
	b := p.boards[d.Handle]
	if b == nil {
		b = &board{}
		p.boards[d.Handle] = b
	}
	if old := b.notice; old != nil {
		old.stop()
		b.notice = nil
	}
	if shown.Generation > b.shown.Generation {
		b.dev, b.shown, b.at = d, shown, time.Now()
	}
	b.dirty = false
	b.calm()
	if len(b.shown.List) > 0 {
		b.notice = n
		return endpoint.Response{Separate: n}
	}
	r := emptyList()
	n.observing(&r, b, time.Now())
	p.advance(d.Handle, b)
	return r
}

// answer is the separate response to a GET that does not observe.
func (p *presenter) answer(d device.Device, shown command.Presentation) *notice {
	return &notice{p: p, handle: d.Handle, list: shown.List}
}

// idle is told when a peer can be sent to again.
func (p *presenter) idle(peer endpoint.Peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h, waits := p.busy[peer]
	if !waits {
		return
	}
	delete(p.busy, peer)
	if b := p.boards[h]; b != nil {
		p.advance(h, b)
	}
}

// finish ends the board's exchange: what it carried, and what became of it,
// goes to the use cases. [mu held]
func (p *presenter) finish(b *board, outcome command.Delivery, carried []command.Carried) {
	n := b.notice
	n.stop()
	b.notice, b.pulled = nil, false
	p.uses.Arrived(n.handle, n.observation, command.Arrival{Carried: carried, Attempts: len(n.sent), Outcome: outcome})
	if outcome == command.DeliveryAcked {
		p.showAgain(n.handle, b)
	}
}

// showAgain sees to it that a list which the device has, and on which it does
// not report, is shown again: with back-off, and as long as one of its
// commands may still be started or stopped. [mu held]
func (p *presenter) showAgain(h int64, b *board) {
	if b.dirty || p.closed {
		return
	}
	now := time.Now()
	if !slices.ContainsFunc(b.shown.List, func(e command.Entry) bool { return now.Before(e.StartBy) }) {
		return
	}
	b.againAfter = min(max(b.againAfter*2, p.againMin), p.againMax)
	b.later(b.againAfter, p, h)
}

// later marks the board's list as unsent after a while. [mu held]
func (b *board) later(after time.Duration, p *presenter, h int64) {
	if b.again != nil {
		b.again.Stop()
	}
	var timer *time.Timer
	timer = time.AfterFunc(after, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.boards[h] == b && b.again == timer {
			b.dirty = true
			p.advance(h, b)
		}
	})
	b.again = timer
}

// calm forgets that the list was to be shown again. [mu held]
func (b *board) calm() {
	if b.again != nil {
		b.again.Stop()
		b.again = nil
	}
	b.againAfter = 0
}
