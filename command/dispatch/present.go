package dispatch

import (
	"context"
	"fmt"

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

// List is the open list that answers a device's GET. What it releases leaves
// with that answer.
func (d *Dispatcher) List(ctx context.Context, name string) (Presentation, error) {
	return d.visit(ctx, ledger.Issues, registered(name), func(v *visit) error {
		v.answers = true
		v.seen()
		return nil
	})
}

// Observe makes o the device's observation, in place of any earlier one, and
// answers with the list that the observation begins with.
func (d *Dispatcher) Observe(ctx context.Context, name string, o device.Observation) (Presentation, error) {
	return d.visit(ctx, ledger.Registrations, registered(name), func(v *visit) error {
		v.answers = true
		before := v.dev.Observation
		o.At = v.now
		v.dev.Observation, v.dev.SeenAt, v.dirty = o, v.now, true
		if before.Remote == o.Remote && !before.Suspended {
			return nil // it observes again, as it should with each refresh
		}
		return v.logDevice(command.EventObserving, "", map[string]any{"address": o.Remote.String()})
	})
}

// Forget ends a device's observation, if it is still the one of that address
// and token.
func (d *Dispatcher) Forget(ctx context.Context, name string, o device.Observation) (Presentation, error) {
	return d.visit(ctx, ledger.Registrations, registered(name), func(v *visit) error {
		v.answers = true
		if v.dev.Observation.Same(o) {
			v.dev.Observation, v.dirty = device.Observation{}, true
		}
		return nil
	})
}

// Revive notes that a device whose observation was suspended is heard of, and
// gives it its turn.
func (d *Dispatcher) Revive(ctx context.Context, handle int64) error {
	_, err := d.visit(ctx, ledger.Registrations, byHandle(handle), func(v *visit) error {
		if v.dev.Observation.Suspended {
			v.dev.Observation.Suspended, v.dirty = false, true
			v.dev.SeenAt = v.now
			return v.logDevice(command.EventObserving, "", map[string]any{"address": v.dev.Observation.Remote.String()})
		}
		return nil
	})
	return err
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

// Arrived takes what became of an exchange. It never blocks: the fact goes to
// the store with others, within a second.
func (d *Dispatcher) Arrived(a Arrival) {
	select {
	case d.arrivals <- a:
	default: // see arrivalsMax
	}
}

// runArrivals takes the transport's facts to the store, many in one commit.
func (d *Dispatcher) runArrivals(ctx context.Context) error {
	for {
		var group []Arrival
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
func (d *Dispatcher) arrived(ctx context.Context, group []Arrival) error {
	var visits []*visit
	err := d.store.Update(context.WithoutCancel(ctx), ledger.Deliveries, func(tx ledger.Tx) error {
		visits = nil
		for _, a := range group {
			dev, err := tx.Device(a.Device)
			if err != nil {
				return err
			}
			v := &visit{d: d, tx: tx, now: clock(), dev: dev, answers: true}
			if err := v.arrived(a); err != nil {
				return fmt.Errorf("device %d: %w", a.Device, err)
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
func (v *visit) arrived(a Arrival) error {
	ended := len(v.ended)
	for _, c := range a.Carried {
		x, err := v.tx.ExecutionBySeq(v.dev.Handle, c.Seq)
		switch {
		case err != nil && command.CodeOf(err) == command.CodeNotFound:
			continue // gone meanwhile
		case err != nil:
			return err
		}
		if _, err := v.step(x, a.trigger(c, x)); err != nil {
			return err
		}
	}
	if err := v.lostSight(a); err != nil {
		return err
	}
	if err := v.save(); err != nil {
		return err
	}
	if len(v.ended) > ended { // what gave up leaves its place to the next
		v.answers = false
		return v.turn()
	}
	return nil
}

// trigger is what the exchange means to an execution that it carried.
func (a Arrival) trigger(c Carried, x command.Execution) command.Trigger {
	t := command.Trigger{Kind: command.Unanswered, Attempts: a.Attempts}
	switch {
	case a.Outcome == Acked && c.Cancel:
		t.Kind = command.AckCancel
	case a.Outcome == Acked:
		t.Kind = command.Ack
	case x.State == command.Sent && x.Command.Policy.Redelivery == command.Once:
		t.Kind = command.GiveUp
	}
	return t
}

// lostSight ends or suspends the observation that nobody answers for. A newer
// one stays.
func (v *visit) lostSight(a Arrival) error {
	if a.Outcome == Acked || !a.Observation.Remote.IsValid() || !v.dev.Observation.Same(a.Observation) {
		return nil
	}
	v.dirty = true
	if a.Outcome == Reset {
		v.dev.Observation = device.Observation{}
		return v.logDevice(command.EventSuspended, "", map[string]any{"reason": "reset"})
	}
	v.dev.Observation.Suspended = true
	return v.logDevice(command.EventSuspended, "", map[string]any{"reason": "silent"})
}
