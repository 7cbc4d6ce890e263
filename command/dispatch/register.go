package dispatch

import (
	"context"
	"time"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// Register registers a device, or registers it anew, and answers with its
// handle. Its queue stays; its observation stays, until it observes again. A
// `last` that contradicts what is stored ends what is open on it.
func (d *Dispatcher) Register(ctx context.Context, r device.Registering) (int64, error) {
	var answer error
	v, err := d.visit(ctx, ledger.Registrations, claimed(r.Name, r.From, d.admits(r.Name)), func(v *visit) (err error) {
		answer, err = v.register(r)
		return err
	})
	if err != nil {
		return 0, err
	}
	return v.dev.Handle, answer
}

// admits finds a device that may register. Outside development mode that is
// one that an operator made known, and did not remove.
func (d *Dispatcher) admits(name string) finder {
	if d.dev {
		return d.byNameOrNew(name)
	}
	return func(tx ledger.Tx) (device.Device, error) {
		dev, err := tx.DeviceNamed(name)
		if err != nil && command.CodeOf(err) == command.CodeNotFound || err == nil && !dev.RemovedAt.IsZero() {
			return dev, command.Errorf(command.CodeForbidden, "not a known device")
		}
		return dev, err
	}
}

// byNameOrNew finds a device, or makes it known.
func (d *Dispatcher) byNameOrNew(name string) finder {
	return func(tx ledger.Tx) (device.Device, error) {
		dev, err := tx.DeviceNamed(name)
		if command.CodeOf(err) != command.CodeNotFound {
			return dev, err
		}
		dev = device.New(name, d.now(), tx.Base())
		return dev, tx.AddDevice(&dev)
	}
}

func (v *visit) register(r device.Registering) (answer, err error) {
	if r.Last != nil {
		switch v.dev.Remember(*r.Last, v.now, v.tx.Base()) {
		case device.Impossible:
			return command.Errorf(command.CodeMalformed, "last is ahead of any number given out"),
				v.logDevice(command.EventLastRefused, "", map[string]any{"last": *r.Last})
		case device.StoreLost:
			err = v.lose(*r.Last, command.Restored, command.EventStoreLost)
		case device.DeviceLost:
			err = v.lose(*r.Last, command.DeviceReset, command.EventDeviceLost)
		}
		if err != nil {
			return nil, err
		}
	}
	v.dev.Registration = device.Registration{
		At: v.now, Lifetime: r.Lifetime, Window: r.Window, Params: r.Params, Links: r.Links,
		Secured: r.From.Session != 0,
	}
	v.dev.RemovedAt, v.dirty = time.Time{}, true
	if err := v.heard(r.From); err != nil {
		return nil, err
	}
	return nil, v.logDevice(command.EventRegistered, "", map[string]any{"lifetime_seconds": int64(r.Lifetime / time.Second)})
}

// lose ends what is open when one of the two sides lost its memory, because
// nobody can say what was done, and no number is ever used for anything else.
// When the device forgot, what never left it cannot have done: that stays.
func (v *visit) lose(last uint32, cause command.Cause, kind command.EventType) error {
	if err := v.logDevice(kind, "", map[string]any{"last": last, "given": v.dev.LastSeq, "reported": v.dev.ReportedSeq}); err != nil {
		return err
	}
	open, err := v.tx.Open(v.dev.Handle)
	if err != nil {
		return err
	}
	for _, x := range open {
		if cause == command.DeviceReset && x.State.Unsent() {
			continue
		}
		if _, err := v.step(x, command.Trigger{Kind: command.Lose, Cause: cause}); err != nil {
			return err
		}
	}
	v.dev.LastSeq = max(v.dev.LastSeq, last)
	v.dev.ReportedSeq = min(v.dev.ReportedSeq, last)
	return nil
}

// Refresh says that a registered device is still there. A lifetime of zero
// leaves it as it is.
func (d *Dispatcher) Refresh(ctx context.Context, handle int64, from device.Speaker, lifetime time.Duration) error {
	_, err := d.visit(ctx, ledger.Registrations, spoken(from, registeredHandle(handle)), func(v *visit) error {
		lapsed := !v.dev.Alive(v.now)
		v.dev.Registration.At, v.dirty = v.now, true
		if lifetime > 0 {
			v.dev.Registration.Lifetime = lifetime
		}
		err := v.heard(from)
		v.revived = v.revived || lapsed && v.dev.Online(v.now)
		return err
	})
	return err
}

// Deregister ends a registration and its observation. The queue stays.
func (d *Dispatcher) Deregister(ctx context.Context, handle int64, from device.Speaker) error {
	_, err := d.visit(ctx, ledger.Registrations, spoken(from, registeredHandle(handle)), func(v *visit) error {
		v.dev.Registration, v.dev.Observation, v.dev.Replaced = device.Registration{}, device.Observation{}, device.Replaced{}
		v.dirty = true
		return v.logDevice(command.EventDeregistered, "", nil)
	})
	return err
}

// registeredHandle finds a registration by its handle.
func registeredHandle(handle int64) finder {
	return func(tx ledger.Tx) (device.Device, error) {
		dev, err := tx.Device(handle)
		if err == nil && !dev.Registered() {
			err = command.Errorf(command.CodeNotFound, "no registration has the handle %d", handle)
		}
		return dev, err
	}
}
