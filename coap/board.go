package coap

import (
	"maps"
	"slices"
	"time"

	"behest/command"
	"behest/device"
)

// board is what one device should see, and how far that has come. It is
// guarded by the presenter's mu.
type board struct {
	dev     device.Device
	shown   command.Presentation
	dirty   bool      // the observer has not been sent this list
	doubted bool      // the observation was revived, and nobody has acknowledged there since
	notice  *notice   // the exchange with the observer that is under way, or nil
	answers []*notice // answers to GETs that are under way
	number  int64     // the last Observe number, before it is cut to 24 bits
	at      time.Time // of the last list that came

	heardOf    []uint32           // listed numbers that were reported on
	carriedIn  map[uint32]*notice // by listed number: the exchange of what goes once, from when it left
	again      *time.Timer        // shows a delivered list again
	againAfter time.Duration      // the next interval
	pulling    bool               // a pull is under way
	pulled     bool               // nothing has changed since the last one
}

// A board is kept for a while after it has nothing to do, so that a list which
// comes late is still seen to be old.
const (
	sweepEvery = 5 * time.Second
	restFor    = 10 * time.Second
	// An answer that nothing was ever sent of was refused by the message layer,
	// or waits behind so many that a notification is sooner there.
	refusedFor = 2 * time.Minute
)

// board is the board of a device, a new one if it has none. [mu held]
func (p *presenter) board(h int64) *board {
	b := p.boards[h]
	if b == nil {
		b = &board{}
		p.boards[h] = b
	}
	return b
}

// take puts a list on the device's board, unless a younger one is there. [mu held]
func (p *presenter) take(d device.Device, shown command.Presentation) *board {
	b := p.board(d.Handle)
	if shown.Generation > b.shown.Generation {
		if shown.Revived || !sameList(b.shown.List, shown.List) {
			b.dirty, b.pulled = true, false
			b.calm()
		}
		b.doubted = b.doubted || shown.Revived
		b.dev, b.shown, b.at = d, shown, p.now()
		b.heardOf = slices.DeleteFunc(b.heardOf, func(seq uint32) bool { return !b.lists(seq) })
		maps.DeleteFunc(b.carriedIn, func(seq uint32, _ *notice) bool { return !b.lists(seq) })
	}
	if shown.Reported != 0 {
		p.reported(b, shown.Reported)
	}
	return b
}

// lists reports whether seq is listed as a command, not as a cancel.
func (b *board) lists(seq uint32) bool {
	return slices.ContainsFunc(b.shown.List, func(e command.Entry) bool { return e.Seq == seq && !e.Cancel })
}

// listFor is the list as n carries it, or, with nil, an exchange that is to come:
// without what goes once and left in another. The store may not know yet that it
// did, nor that the other is over.
func (b *board) listFor(n *notice) []command.Entry {
	elsewhere := func(e command.Entry) bool {
		in := b.carriedIn[e.Seq]
		return e.Once && in != nil && in != n
	}
	if !slices.ContainsFunc(b.shown.List, elsewhere) {
		return b.shown.List
	}
	return slices.DeleteFunc(slices.Clone(b.shown.List), elsewhere)
}

// left notes that n carries list.
func (b *board) left(n *notice, list []command.Entry) {
	for _, e := range list {
		if e.Once {
			if b.carriedIn == nil {
				b.carriedIn = make(map[uint32]*notice)
			}
			b.carriedIn[e.Seq] = n
		}
	}
}

// sameList reports whether two lists say the same to a device.
func sameList(a, b []command.Entry) bool {
	return slices.EqualFunc(a, b, func(x, y command.Entry) bool { return x.Seq == y.Seq && x.Cancel == y.Cancel })
}

// reported notes that the device reported on seq: it has a list that carried
// it, which ends the exchanges that do, and it need not be shown seq again. [mu held]
func (p *presenter) reported(b *board, seq uint32) {
	if b.lists(seq) && !slices.Contains(b.heardOf, seq) {
		b.heardOf = append(b.heardOf, seq)
	}
	for _, n := range append(slices.Clone(b.answers), b.notice) {
		if n != nil && n.carriedBy(seq) != nil {
			p.finish(b, n, command.DeliveryAcked, n.carriedBy(seq))
		}
	}
	if !b.dirty && !b.engaged() {
		b.calm()
		p.showAgain(b)
	}
}

// engaged reports whether something is under way to the observer, whose end
// leads to advance. [mu held]
func (b *board) engaged() bool {
	return b.notice != nil || slices.ContainsFunc(b.answers, func(n *notice) bool { return n.to == b.dev.Observation.Endpoint })
}

// advance does what the board needs next. [mu held]
func (p *presenter) advance(b *board) {
	switch {
	case b.engaged() || p.closed:
		return // its end leads here again
	case b.dirty && b.dev.Online(p.now()):
		p.notify(b)
	case b.shown.Waiting && b.dev.Online(p.now()):
		p.pull(b)
	}
}

// sweep forgets the boards that have nothing to do, or nobody to show it to:
// a device that comes back is presented what is open by then. An idle device
// costs nothing.
func (p *presenter) sweep(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for h, b := range p.boards {
		p.dropRefused(b, now)
		idle := len(b.shown.List) == 0 && !b.dirty || !b.dev.Online(now)
		under := b.notice != nil || len(b.answers) > 0 || b.pulling || len(b.carriedIn) > 0
		if idle && !under && now.Sub(b.at) > restFor && b.number <= observeNumber(now) {
			b.calm()
			delete(p.boards, h)
		}
	}
}

// dropRefused gives up what the message layer will never tell the end of. [mu held]
func (p *presenter) dropRefused(b *board, now time.Time) {
	for _, n := range append(slices.Clone(b.answers), b.notice) {
		if n != nil && n.exchange == nil && len(n.sent) == 0 && now.Sub(n.begun) > refusedFor {
			n.stop()
			b.drop(n)
			b.dirty = true
			p.advance(b)
		}
	}
}

// drop takes n off the board; it reports whether n was what the observer was
// being told. [mu held]
func (b *board) drop(n *notice) (observed bool) {
	if b.notice == n {
		b.notice = nil
		return true
	}
	b.answers = slices.DeleteFunc(b.answers, func(other *notice) bool { return other == n })
	return false
}

// finish ends an exchange: what it carried, and what became of it, goes to the
// use cases. [mu held]
func (p *presenter) finish(b *board, n *notice, outcome command.Delivery, carried []command.Carried) {
	n.stop()
	observed := b.drop(n)
	b.pulled = false
	p.uses.Arrived(n.handle, n.observation, command.Arrival{Carried: carried, Attempts: len(n.sent), Outcome: outcome})
	switch {
	case observed && outcome != command.DeliveryAcked:
		b.lostSight(n.observation)
	case observed || outcome == command.DeliveryAcked && n.to == b.dev.Observation.Endpoint:
		b.doubted = b.doubted && !observed
		// Of an older list, or of an answer, the ACK does not say that the observer
		// has the youngest.
		b.dirty = b.doubted || !slices.Equal(carried, carries(b.listFor(n)))
		p.showAgain(b)
	}
}

// lostSight keeps the board from trying the same observation again before the
// store says so. [mu held]
func (b *board) lostSight(o device.Observation) {
	if b.dev.Observation.Same(o) {
		b.dev.Observation.Suspended, b.dirty = true, true
	}
}

// showAgain sees to it that a list which the device has, and on which it does
// not report, is shown again: with back-off, and as long as one of its
// commands may still be started or stopped. [mu held]
func (p *presenter) showAgain(b *board) {
	if b.dirty || p.closed {
		return
	}
	after := min(max(b.againAfter*2, p.againMin), p.againMax)
	then := p.now().Add(after)
	open := func(e command.Entry) bool {
		return e.Cancel || then.Before(e.StartBy) && !slices.Contains(b.heardOf, e.Seq)
	}
	if slices.ContainsFunc(b.listFor(nil), open) {
		b.againAfter = after
		p.later(b, after)
	}
}

// later marks the board's list as unsent after a while. [mu held]
func (p *presenter) later(b *board, after time.Duration) {
	if b.again != nil {
		b.again.Stop()
	}
	var timer *time.Timer
	timer = time.AfterFunc(after, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.boards[b.dev.Handle] == b && b.again == timer {
			b.dirty = true
			p.advance(b)
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
