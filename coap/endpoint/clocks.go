package endpoint

import (
	"math"
	"runtime/debug"
	"time"
)

// runClocks keeps all clocks, and is the one goroutine that calls Build, Done
// and Idle. It ends all exchanges when stop is closed.
func (e *Endpoint) runClocks(stop <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var work clockWork
	for {
		e.mu.Lock()
		e.armed = math.MinInt64 // awake: nobody need wake us
		e.collectLocked(&work, e.now())
		if !work.empty() {
			e.mu.Unlock()
			e.perform(&work)
			continue
		}
		wait := time.Duration(math.MaxInt64)
		e.armed = math.MaxInt64
		if at, ok := e.wheel.next(); ok {
			e.armed = at
			wait = max(at-e.now(), 0)
		}
		e.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-e.wake:
		case <-stop:
			e.stopAll(&work)
			return
		}
	}
}

// clockWork is what the clocks have to do without the lock.
type clockWork struct {
	fired    []firing
	due      []uint32 // exchanges with a transmission due
	finished []uint32
	idle     []Peer
}

func (w *clockWork) empty() bool { return len(w.due)+len(w.finished)+len(w.idle) == 0 }

// collectLocked advances the wheel, does at once what calls nobody, and takes
// the rest to be done without the lock.
func (e *Endpoint) collectLocked(w *clockWork, now time.Duration) {
	w.due = w.due[:0]
	w.fired = e.wheel.advance(now, w.fired[:0])
	for _, f := range w.fired {
		switch f.kind {
		case timerExchange:
			e.exchanges.at(f.ref).timer = 0
			w.due = append(w.due, f.ref)
		case timerAnswer:
			e.ackNowLocked(e.jobs.slots[f.ref])
		case timerUpload:
			e.uploadExpiredLocked(f.ref)
		case timerDownload:
			e.downloadExpiredLocked(f.ref, now)
		case timerSweep:
			e.sweepLocked(now)
		}
	}
	w.finished, e.finished = e.finished, w.finished[:0]
	w.idle, e.idle = e.idle, w.idle[:0]
}

// perform calls out: first what ended, then what may begin because of it.
func (e *Endpoint) perform(w *clockWork) {
	for _, x := range w.finished {
		e.callDone(x)
	}
	for _, x := range w.due {
		e.transmit(x)
	}
	for _, p := range w.idle {
		e.protect("idle", func() { e.h.Idle(p) })
	}
}

// callDone tells an exchange's end, and gives its place back.
func (e *Endpoint) callDone(x uint32) {
	e.mu.Lock()
	ex := e.exchanges.at(x)
	c, outcome, attempt, peer := ex.c, ex.outcome, int(ex.answered), ex.peer
	e.mu.Unlock()
	e.protect("done", func() { c.Done(outcome, attempt) })
	e.mu.Lock()
	defer e.mu.Unlock()
	e.exchanges.remove(x)
	e.idleLocked(peer)
	e.peers.unpin(peer, e.now()+e.o.ExchangeLifetime)
}

// protect keeps a panic of a callback from ending the process.
func (e *Endpoint) protect(where string, f func()) {
	defer func() {
		if v := recover(); v != nil {
			e.panicked(where, v, debug.Stack())
		}
	}()
	f()
}

// transmit builds and sends the next transmission of an exchange whose time has
// come, or ends it.
func (e *Endpoint) transmit(x uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	ex := e.exchanges.at(x)
	now := e.now()
	if ex.state != exchangeRunning || ex.timer != 0 {
		return // it ended, or was set anew, since its timer fired
	}
	if int(ex.attempt) > e.o.MaxRetransmit {
		e.finishLocked(x, Silent, int(ex.attempt)-1, now)
		return
	}
	if e.heldLocked(ex) {
		ex.held = true
		return
	}
	gen, c, attempt := ex.gen, ex.c, int(ex.attempt)
	e.mu.Unlock()
	var r Response
	var ok bool
	e.protect("build", func() { r, ok = c.Build(attempt, time.Now()) })
	e.mu.Lock()
	ex, now = e.exchanges.at(x), e.now() // the slab may have moved
	if ex.gen != gen || ex.state != exchangeRunning {
		return // answered or stopped meanwhile
	}
	if ok && r.Separate == nil {
		err := e.sendAttemptLocked(x, &r, now)
		if err == nil {
			return
		}
		e.log.Error("confirmable does not encode", "code", r.Code, "err", err)
	}
	e.finishLocked(x, Stopped, attempt-1, now)
}

// heldLocked tells whether a transmission must wait, since the peer is fetching
// a body that it would replace. The first transmission of a response answers a
// request that the peer sent since, and goes.
func (e *Endpoint) heldLocked(ex *exchange) bool {
	return e.peers.at(ex.peer).frozen > 0 && !(ex.lane == laneSeparate && ex.attempt == 0)
}

// stopAll ends all exchanges, told as Stopped.
func (e *Endpoint) stopAll(w *clockWork) {
	e.mu.Lock()
	e.closed = true
	now := e.now()
	for x := range e.exchanges.slab {
		// Those that wait begin when the one before them ends, and end in turn.
		if ex := e.exchanges.at(uint32(x)); ex.state == exchangeRunning || ex.state == exchangeWaiting {
			e.stopOneLocked(uint32(x), now)
		}
	}
	e.finished, w.finished = nil, e.finished
	e.mu.Unlock()
	for _, x := range w.finished {
		e.callDone(x)
	}
}

func (e *Endpoint) stopOneLocked(x uint32, now time.Duration) {
	ex := e.exchanges.at(x)
	if ex.state == exchangeRunning {
		e.finishLocked(x, Stopped, int(ex.attempt)-1, now)
		return
	}
	// It waits behind another, whose end starts it: take its place in the queue out.
	for before := e.peers.at(ex.peer).lanes[laneSeparate]; before != 0; before = e.exchanges.at(before).next {
		if e.exchanges.at(before).next == x {
			e.exchanges.at(before).next = ex.next
			break
		}
	}
	ex.next, ex.state, ex.outcome, ex.answered = 0, exchangeFinished, Stopped, -1
	e.stats.Stopped.Add(1)
	e.finished = append(e.finished, x)
}
