package dispatch

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// Pull gives a device its turn: what waited for nothing but a notification
// that can leave is released, and the list is presented.
func (d *Dispatcher) Pull(ctx context.Context, handle int64) error {
	_, err := d.visit(ctx, ledger.Issues, byHandle(handle), func(*visit) error { return nil })
	return err
}

// waking is which devices had a turn in this process, until all of them had. What
// went once to the others was in an exchange of the process before, which is over.
type waking struct {
	mu  sync.Mutex
	had map[int64]bool // nil: all had
}

func newWaking() waking { return waking{had: make(map[int64]bool)} }

// first reports whether it is the device's first turn.
func (w *waking) first(handle int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.had != nil && !w.had[handle]
}

// note notes that a device had its turn, on disk.
func (w *waking) note(handle int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.had != nil {
		w.had[handle] = true
	}
}

// over notes that all had.
func (w *waking) over() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.had = nil
}

// giveUp gives up what goes once and was sent by a process before this one.
func (v *visit) giveUp() error {
	for _, x := range slices.Clone(v.open) {
		if x.State != command.Sent || x.Command.Policy.Redelivery != command.Once {
			continue
		}
		if _, err := v.step(x, command.Trigger{Kind: command.GiveUp}); err != nil {
			return err
		}
	}
	return nil
}

// List is the open list that answers a device's GET. What it releases leaves
// with that answer.
func (d *Dispatcher) List(ctx context.Context, name string, from device.Speaker) (device.Device, command.Presentation, error) {
	return d.answer(ctx, ledger.Issues, name, from, func(v *visit) error { return v.heard(from) })
}

// Observe makes o, which is from's, the device's observation, in place of any
// earlier one, and answers with the list that the observation begins with.
func (d *Dispatcher) Observe(ctx context.Context, name string, from device.Speaker, o device.Observation) (device.Device, command.Presentation, error) {
	return d.answer(ctx, ledger.Registrations, name, from, func(v *visit) error {
		if err := v.twins(from, o.Token); err != nil {
			return err
		}
		before := v.dev.Observation
		o.At, o.Endpoint = v.now, from.Endpoint
		v.dev.Observation, v.dev.SeenAt, v.dirty = o, v.now, true
		if before.Endpoint == o.Endpoint && !before.Suspended {
			return nil // it observes again, as it should with each refresh
		}
		if before.Endpoint != o.Endpoint {
			v.dev.Replaced = device.Replaced{Endpoint: before.Endpoint, Token: before.Token}
		}
		return v.logDevice(command.EventObserving, "", map[string]any{"address": o.Remote.String()})
	})
}

// Forget ends a device's observation, if it is still the one of that endpoint
// and token, and answers with the list.
func (d *Dispatcher) Forget(ctx context.Context, name string, from device.Speaker, o device.Observation) (device.Device, command.Presentation, error) {
	return d.answer(ctx, ledger.Registrations, name, from, func(v *visit) error {
		o.Endpoint = from.Endpoint
		if v.dev.Observation.Same(o) {
			v.dev.Observation, v.dirty = device.Observation{}, true
		}
		return v.twins(from, nil)
	})
}

// answer visits a device whose request is answered with its list.
func (d *Dispatcher) answer(ctx context.Context, lane ledger.Lane, name string, from device.Speaker, f func(*visit) error) (device.Device, command.Presentation, error) {
	v, err := d.visit(ctx, lane, claimed(name, from, registered(name)), func(v *visit) error {
		v.answers = true
		return f(v)
	})
	if err != nil {
		return device.Device{}, command.Presentation{}, err
	}
	return v.dev, v.shown, nil
}

// registered finds a device that has registered at least once and was not
// removed since.
func registered(name string) finder {
	return func(tx ledger.Tx) (device.Device, error) {
		dev, err := tx.DeviceNamed(name)
		if err == nil && !dev.Registered() {
			err = command.Errorf(command.CodeNotFound, "not registered")
		}
		return dev, err
	}
}

// arrival is what became of an exchange with a device: with the observation
// that it went to, or, if it answered a GET, none.
type arrival struct {
	device      int64
	observation device.Observation
	command.Arrival
}

// Arrived takes what became of an exchange. It never blocks: the fact goes to
// the store with others, within a second.
func (d *Dispatcher) Arrived(handle int64, o device.Observation, a command.Arrival) {
	select {
	case d.arrivals <- arrival{handle, o, a}:
	default: // see arrivalsMax
	}
}

// runArrivals takes the transport's facts to the store, many in one commit.
func (d *Dispatcher) runArrivals(ctx context.Context) error {
	for {
		var group []arrival
		select {
		case <-ctx.Done():
			return nil
		case a := <-d.arrivals:
			group = append(group, a)
		}
		for len(group) < groupMax && len(d.arrivals) > 0 {
			group = append(group, <-d.arrivals)
		}
		if err := d.arrived(ctx, group); err != nil && ctx.Err() == nil {
			d.log.Warn("noting what arrived", "err", err)
		}
	}
}

// arrived notes a group of arrivals. A commit that fails costs their facts:
// the lists are presented again, and the reports say more.
func (d *Dispatcher) arrived(ctx context.Context, group []arrival) error {
	var visits []*visit
	err := d.store.Update(context.WithoutCancel(ctx), ledger.Deliveries, func(tx ledger.Tx) error {
		visits = nil
		for _, a := range group {
			dev, err := tx.Device(a.device)
			if err != nil {
				return err
			}
			v := &visit{d: d, tx: tx, now: d.now(), dev: dev, answers: true}
			if err := v.arrived(a); err != nil {
				return fmt.Errorf("device %d: %w", a.device, err)
			}
			visits = append(visits, v)
		}
		return nil
	})
	if err != nil {
		return d.failed(err)
	}
	for _, v := range visits {
		d.tell(v)
	}
	return nil
}

// arrived notes one exchange: on each execution that it carried, and on the
// observation that it went to.
func (v *visit) arrived(a arrival) error {
	gone := false
	for _, c := range a.Carried {
		x, err := v.tx.ExecutionBySeq(v.dev.Handle, c.Seq)
		switch {
		case err != nil && command.CodeOf(err) == command.CodeNotFound:
			continue // gone meanwhile
		case err != nil:
			return err
		}
		after, err := v.step(x, a.trigger(c, x))
		if err != nil {
			return err
		}
		gone = gone || after.State.Ended() && !x.State.Ended()
	}
	if err := v.sight(a); err != nil {
		return err
	}
	if err := v.save(); err != nil {
		return err
	}
	if gone { // what gave up leaves its place to the next
		v.answers = false
		return v.turn()
	}
	return nil
}

// trigger is what the exchange means to an execution that it carried.
func (a arrival) trigger(c command.Carried, x command.Execution) command.Trigger {
	t := command.Trigger{Kind: command.Unanswered, Attempts: a.Attempts}
	switch {
	case a.Outcome == command.DeliveryAcked && c.Cancel:
		t.Kind = command.AckCancel
	case a.Outcome == command.DeliveryAcked:
		t.Kind = command.Ack
	case x.State == command.Sent && x.Command.Policy.Redelivery == command.Once:
		t.Kind = command.GiveUp
	}
	return t
}

// sight notes what the exchange says of its device: it is there, or the
// observation that nobody answers for ends or is suspended. A newer one stays.
func (v *visit) sight(a arrival) error {
	if a.Outcome == command.DeliveryAcked {
		if o := &v.dev.Observation; o.Suspended && o.Same(a.observation) {
			o.Suspended, v.dirty = false, true // it was heard of after all
		}
		v.alive()
		return nil
	}
	if !a.observation.Remote.IsValid() || !v.dev.Observation.Same(a.observation) {
		return nil
	}
	v.dirty = true
	if a.Outcome == command.DeliveryReset {
		v.dev.Observation = device.Observation{}
		return v.logDevice(command.EventSuspended, "", map[string]any{"reason": "reset"})
	}
	v.dev.Observation.Suspended = true
	return v.logDevice(command.EventSuspended, "", map[string]any{"reason": "silent"})
}
