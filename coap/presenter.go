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
	lines    *lines
	uses     UseCases
	log      *slog.Logger
	againMin time.Duration
	againMax time.Duration
	now      func() time.Time

	pulls chan int64 // devices whose turn has come; see pull

	mu     sync.Mutex
	boards map[int64]*board          // by handle: devices with something open or under way
	busy   map[endpoint.Peer][]int64 // whose boards wait for that peer to be free
	closed bool
}

// Numbers of the presenter's own goroutines. A pull is one commit, and many
// share an fsync.
const (
	pullWorkers = 64
	pullsMax    = 16 << 10
	retryAfter  = time.Second // when a bound inside was reached
)

func newPresenter(l *lines, o Options) *presenter {
	return &presenter{
		lines: l, log: o.Logger, againMin: o.AgainMin, againMax: o.AgainMax, now: o.Now,
		pulls:  make(chan int64, pullsMax),
		boards: make(map[int64]*board),
		busy:   make(map[endpoint.Peer][]int64),
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
			case <-tick.C:
				p.sweep(p.now())
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
func (p *presenter) pull(b *board) {
	if b.pulling || p.closed {
		return
	}
	h := b.dev.Handle
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
			p.advance(b)
		}
	})
}

// Ready reports whether a notification for d would leave now.
func (p *presenter) Ready(d device.Device) bool {
	if !d.Online(p.now()) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.boards[d.Handle]
	return !p.closed && (b == nil || !b.engaged()) && p.lines.reach(d.Name, d.Observation)
}

// Present takes the list that d should see from now on.
func (p *presenter) Present(d device.Device, shown command.Presentation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance(p.take(d, shown))
}

// notify starts an exchange that carries the board's list. [mu held]
func (p *presenter) notify(b *board) {
	o := b.dev.Observation
	if !p.lines.reach(b.dev.Name, o) {
		p.uses.Arrived(b.dev.Handle, o, command.Arrival{Outcome: command.DeliverySilent})
		b.lostSight(o)
		return
	}
	n := p.notice(b.dev)
	x, err := p.lines.to(peerOf(o)).Confirm(peerOf(o), endpoint.TokenOf(o.Token), n, endpoint.ConfirmOptions{
		AckTimeout: b.dev.AckTimeout, BlockSize: o.BlockSize, Path: []string{"c", b.dev.Name},
		// Where nobody answered, and somebody spoke again, that may be another one
		// in its name: it gets little until it acknowledges. [RFC 7641 7]
		Proven: !b.doubted,
	})
	switch {
	case err == nil:
		n.exchange, b.notice = x, n
	case errors.Is(err, endpoint.ErrBusy):
		if waiting := p.busy[peerOf(o)]; !slices.Contains(waiting, n.handle) {
			p.busy[peerOf(o)] = append(waiting, n.handle)
		}
	case errors.Is(err, endpoint.ErrClosed):
	default:
		p.log.Warn("notifying a device", "device", b.dev.Name, "err", err)
		p.later(b, retryAfter)
	}
}

// notice is an exchange with d's observer.
func (p *presenter) notice(d device.Device) *notice {
	return &notice{
		p: p, handle: d.Handle, begun: p.now(), to: d.Observation.Endpoint,
		observation: d.Observation, lifetime: d.Registration.Lifetime,
	}
}

// begin answers a GET that observes. The observation is d's from now on, and
// whatever was under way for an earlier one is over.
func (p *presenter) begin(d device.Device, shown command.Presentation) endpoint.Response {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.notice(d)
	b := p.board(d.Handle)
	if old := b.notice; old != nil {
		p.abandon(old)
		b.notice = nil
	}
	if shown.Generation > b.shown.Generation {
		b.dev, b.shown, b.at = d, shown, p.now()
	}
	b.dirty, b.doubted = false, false
	b.calm()
	if len(b.listFor(nil)) > 0 {
		b.notice = n
		return endpoint.Response{Separate: n}
	}
	r := emptyList()
	n.observing(&r, b, p.now())
	p.advance(b)
	return r
}

// answer is the separate response to a GET that does not observe. What the GET
// released, an observer elsewhere sees at once; the same endpoint sees it here.
func (p *presenter) answer(d device.Device, shown command.Presentation, to device.Endpoint) *notice {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := &notice{p: p, handle: d.Handle, begun: p.now(), to: to}
	b := p.take(d, shown)
	b.answers = append(b.answers, n)
	p.advance(b)
	return n
}

// idle is told when a peer can be sent to again. One of the devices that wait
// for it gets it; its end leads here again.
func (p *presenter) idle(peer endpoint.Peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	waiting := p.busy[peer]
	delete(p.busy, peer)
	for i, h := range waiting {
		b := p.boards[h]
		if b == nil {
			continue
		}
		p.advance(b)
		taken := b.notice != nil && peerOf(b.notice.observation) == peer
		if rest := append(p.busy[peer], waiting[i+1:]...); taken || len(p.busy[peer]) > 0 {
			if len(rest) > 0 {
				p.busy[peer] = rest
			}
			return
		}
	}
}
