package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"behest/command"
	"behest/command/ledger"
)

const (
	// watchEvery is how often the wall is looked at and, while the clock is held,
	// the system is asked.
	watchEvery = 5 * time.Second
	// markEvery is how old the mark grows: a server that crashes knows to the
	// minute how far it had come, at the price of a commit that others share. One
	// that has had nothing to do may know it to the hour.
	markEvery     = time.Minute
	idleMarkEvery = time.Hour
	// stepMin is what somebody is told of: more than a leap second, or than time
	// daemons push a clock about by without a word.
	stepMin = 2 * time.Second
)

// watch watches the clock: it asks the system while the clock is held, says
// when somebody sets the wall, and raises the mark.
type watch struct {
	d       *Dispatcher
	ahead   time.Duration   // of the wall, as it was last told
	marked  time.Time       // the mark
	untold  []command.Event // that are not in the log yet
	refused bool            // the system does not say whether its clock is synchronised
}

// newWatch begins to watch, and says with what if it is out of the ordinary.
func newWatch(d *Dispatcher) *watch {
	c, w := d.clock, &watch{d: d, ahead: d.clock.Ahead()}
	switch {
	case c.doubt == NoDoubt:
	case !c.Held():
		w.trusts("operator", 0)
	case w.synchronised(): // nothing was accepted yet
		j := c.jump(c.present())
		c.release()
		w.trusts("system", j.by)
	default:
		d.log.Warn("nothing is sent and nothing expires until the system says that its clock is synchronised, or the server is started with --trust-clock",
			"why", string(c.doubt), "mark", c.mark.UTC(), "wall", c.wall().UTC())
		w.note(command.EventClockHeld, map[string]any{"why": string(c.doubt)})
	}
	return w
}

// run watches until ctx ends, and raises the mark a last time.
func (w *watch) run(ctx context.Context) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		w.look(ctx)
		select {
		case <-ctx.Done():
			if err := w.raise(context.WithoutCancel(ctx)); err != nil {
				w.d.log.Warn("raising the mark of the clock", "err", err)
			}
			return nil
		case <-tick.C:
		}
	}
}

// look does what is to be done every now and then.
func (w *watch) look(ctx context.Context) {
	c := w.d.clock
	if c.Held() && w.synchronised() {
		if err := w.goOn(ctx); err != nil && ctx.Err() == nil {
			w.d.log.Warn("setting the clock", "err", err)
		}
	}
	if ahead := c.Ahead(); (ahead - w.ahead).Abs() >= stepMin {
		w.d.log.Warn("somebody set the system's clock; the server's own goes on as it was until it is restarted",
			"forward_by", (w.ahead - ahead).String(), "server_ahead_by", ahead.String())
		w.ahead = ahead
	}
	err := w.tell(ctx)
	age := w.d.now().Sub(w.marked)
	if err == nil && (age >= idleMarkEvery || age >= markEvery && w.d.stirred.Swap(false)) {
		err = w.raise(ctx)
	}
	if err != nil && ctx.Err() == nil {
		w.d.log.Warn("watching the clock", "err", err)
	}
}

// goOn ends a hold. The clock is set first, and what was accepted meanwhile
// goes with it while nothing lapses and nothing leaves yet. The mark is there
// before either: whatever happens in between, no run begins behind a time that
// is kept.
func (w *watch) goOn(ctx context.Context) error {
	c := w.d.clock
	to := c.present()
	if err := w.d.store.RaiseMark(ctx, to.time); err != nil {
		return w.d.failed(err)
	}
	j := c.jump(to)
	w.d.carry(ctx, j)
	c.release()
	w.trusts("system", j.by)
	w.d.presentAnew() // what is open was shown to nobody
	return nil
}

// synchronised asks the system about its clock.
func (w *watch) synchronised() bool {
	ok, err := w.d.clock.sync()
	if err != nil && !w.refused {
		w.refused = true
		w.d.log.Warn("the system does not say whether its clock is synchronised", "err", err)
	}
	return ok && err == nil
}

// trusts says that the clock is trusted after all, by whom, and how far it was
// set forward.
func (w *watch) trusts(by string, forward time.Duration) {
	w.ahead = w.d.clock.Ahead()
	w.d.log.Warn("the clock is trusted", "by", by, "although", string(w.d.clock.doubt), "forward_by", forward.String(), "server_ahead_by", w.ahead.String())
	w.note(command.EventClockTrusted, map[string]any{"although": string(w.d.clock.doubt), "by": by, "forward_by": forward.String()})
}

// note has an event ready for the log.
func (w *watch) note(kind command.EventType, data map[string]any) {
	c := w.d.clock
	data["mark"], data["wall"] = c.mark.UTC(), c.wall().UTC().Truncate(time.Millisecond)
	raw, err := json.Marshal(data)
	if err != nil {
		panic(err) // it is made of words and times
	}
	w.untold = append(w.untold, command.Event{Type: kind, At: c.Now(), Data: raw})
}

// tell takes to the log what is not there yet.
func (w *watch) tell(ctx context.Context) error {
	if len(w.untold) == 0 {
		return nil
	}
	err := w.d.store.Update(context.WithoutCancel(ctx), ledger.Expiries, func(tx ledger.Tx) error {
		for _, e := range w.untold {
			if err := tx.Log(e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("log the clock's events: %w", w.d.failed(err))
	}
	w.untold = nil
	return nil
}

// raise raises the mark. While the clock is held, nobody knows what time it is.
func (w *watch) raise(ctx context.Context) error {
	if w.d.clock.Held() {
		return nil
	}
	now := w.d.now()
	if err := w.d.store.RaiseMark(ctx, now); err != nil {
		return w.d.failed(err)
	}
	w.marked = now
	return nil
}

// trusted is a loop that begins when the clock is trusted.
func (d *Dispatcher) trusted(ctx context.Context, loop func(context.Context) error) func() error {
	return func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-d.clock.trusted:
			return loop(ctx)
		}
	}
}
