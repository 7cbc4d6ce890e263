package dispatch

import (
	"context"
	"sync"
	"time"

	"behest/command"
)

// Wait answers with a command as it is when it has ended, or when ctx is done:
// not as it was when somebody began to wait.
func (d *Dispatcher) Wait(ctx context.Context, id command.ID) (command.View, error) {
	ended, leave := d.waits.join(id)
	defer leave()
	for {
		view, err := d.store.Command(context.WithoutCancel(ctx), id)
		if err != nil || view.Tally.Ended() {
			return view, err
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return d.store.Command(context.WithoutCancel(ctx), id)
		}
	}
}

// waits are those who wait for a command's end.
type waits struct {
	mu sync.Mutex
	of map[command.ID][]chan struct{} // each with room for one token
}

func newWaits() waits { return waits{of: make(map[command.ID][]chan struct{})} }

// join waits for id: the channel gets a token whenever it may have ended.
func (w *waits) join(id command.ID) (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.of[id] = append(w.of[id], ch)
	return ch, func() { w.leave(id, ch) }
}

func (w *waits) leave(id command.ID, ch chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	rest := w.of[id][:0]
	for _, c := range w.of[id] {
		if c != ch {
			rest = append(rest, c)
		}
	}
	if len(rest) == 0 {
		delete(w.of, id)
		return
	}
	w.of[id] = rest
}

func (w *waits) tell(ids []command.ID) {
	if len(ids) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		for _, ch := range w.of[id] {
			select {
			case ch <- struct{}{}:
			default: // told already
			}
		}
	}
}

// alarm is a clock that can be set earlier while somebody waits for it.
type alarm struct {
	now  func() time.Time
	mu   sync.Mutex
	when time.Time     // zero: nothing is set
	set  chan struct{} // one token: when became earlier
}

func newAlarm(now func() time.Time) alarm {
	return alarm{now: now, set: make(chan struct{}, 1)}
}

// ring sets the alarm to when, if that is earlier than what it is set to.
func (a *alarm) ring(when time.Time) {
	a.mu.Lock()
	earlier := a.when.IsZero() || when.Before(a.when)
	if earlier {
		a.when = when
	}
	a.mu.Unlock()
	if earlier {
		select {
		case a.set <- struct{}{}:
		default: // it will look anyway
		}
	}
}

// wait waits for the alarm, which the caller knows to be due at next (zero:
// not at all), and clears it. It answers false when ctx ends first.
func (a *alarm) wait(ctx context.Context, next time.Time) bool {
	a.mu.Lock()
	if a.when.IsZero() || !next.IsZero() && next.Before(a.when) {
		a.when = next
	}
	a.mu.Unlock()
	for {
		a.mu.Lock()
		when := a.when
		a.mu.Unlock()
		var due <-chan time.Time
		if !when.IsZero() {
			due = time.After(when.Sub(a.now()))
		}
		select {
		case <-ctx.Done():
			return false
		case <-a.set:
		case <-due:
			a.mu.Lock()
			a.when = time.Time{}
			a.mu.Unlock()
			return true
		}
	}
}
