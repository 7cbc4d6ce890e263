package dispatch

import (
	"context"
	"fmt"
	"time"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// Limits of what an operator may set on a device.
const (
	ackTimeoutMin = 500 * time.Millisecond // below it, a slow device's ACK always comes too late
	ackTimeoutMax = 60 * time.Second       // above it, one lost datagram costs minutes
	awakeMax      = 24 * time.Hour
)

// PutDevice makes a device known before it registers, or edits it.
func (d *Dispatcher) PutDevice(ctx context.Context, name string, e device.Edit, by string) (v device.View, created bool, err error) {
	if what := device.CheckName(name); what != "" {
		return device.View{}, false, command.Errorf(command.CodeInvalid, "%s", what)
	}
	find := func(tx ledger.Tx) (device.Device, error) {
		dev, err := tx.DeviceNamed(name)
		if created = err != nil && command.CodeOf(err) == command.CodeNotFound; created {
			return d.byNameOrNew(name)(tx)
		}
		created = err == nil && !dev.RemovedAt.IsZero()
		return dev, err
	}
	v, err = d.edit(ctx, find, e, by, func(v *visit) error {
		if created {
			return nil // it is nobody's yet
		}
		return d.entitled(by, operator, v.dev) // that the name is taken is no secret to who asks for it
	})
	return v, created, err
}

// EditDevice changes what an operator may change about a device.
func (d *Dispatcher) EditDevice(ctx context.Context, name string, e device.Edit, by string) (device.View, error) {
	return d.edit(ctx, present(name), e, by, func(v *visit) error { return d.mayTo(by, v.dev, operator) })
}

// present finds a device that is there for operators.
func present(name string) finder {
	return func(tx ledger.Tx) (device.Device, error) {
		dev, err := tx.DeviceNamed(name)
		if err == nil && !dev.RemovedAt.IsZero() {
			err = command.Errorf(command.CodeNotFound, "no device is called %q", name)
		}
		return dev, err
	}
}

// edit changes a device for who may change it as it is, which allow looks at,
// and as it becomes: labels say who may what, and nobody lets himself in, or
// others out, by them.
func (d *Dispatcher) edit(ctx context.Context, find finder, e device.Edit, by string, allow func(*visit) error) (device.View, error) {
	if err := checkEdit(e); err != nil {
		return device.View{}, err
	}
	open := 0
	v, err := d.visit(ctx, ledger.Registrations, find, func(v *visit) error {
		if err := allow(v); err != nil {
			return err
		}
		if e.Version != 0 && e.Version != v.dev.Version {
			return command.Errorf(command.CodePrecondition, "the device was changed meanwhile")
		}
		apply(&v.dev, e)
		v.dev.RemovedAt, v.dirty = time.Time{}, true
		if err := d.entitled(by, operator, v.dev); err != nil {
			return err
		}
		xs, err := v.tx.Open(v.dev.Handle)
		open = len(xs)
		if err != nil {
			return err
		}
		return v.logDevice(command.EventEdited, by, edited(e))
	})
	if err != nil {
		return device.View{}, err
	}
	return device.View{Device: v.dev, Open: open}, nil
}

// edited is what an edit sets, as its event tells it.
func edited(e device.Edit) map[string]any {
	set := map[string]any{}
	if e.Labels != nil {
		set["labels"] = e.Labels
	}
	if e.AckTimeoutSeconds != nil {
		set["ack_timeout_seconds"] = *e.AckTimeoutSeconds
	}
	if e.AwakeSeconds != nil {
		set["awake_seconds"] = *e.AwakeSeconds
	}
	return set
}

func apply(dev *device.Device, e device.Edit) {
	if e.Labels != nil {
		dev.Labels = e.Labels
	}
	if e.AckTimeoutSeconds != nil {
		dev.AckTimeout = time.Duration(*e.AckTimeoutSeconds * float64(time.Second))
	}
	if e.AwakeSeconds != nil {
		dev.Awake = time.Duration(*e.AwakeSeconds) * time.Second
	}
}

// checkEdit names every fault of an edit. Zero seconds mean the default.
func checkEdit(e device.Edit) error {
	var faults []command.Field
	fault := func(pointer, format string, args ...any) {
		faults = append(faults, command.Field{Pointer: pointer, Detail: fmt.Sprintf(format, args...)})
	}
	checkLabels(fault, e.Labels)
	if s := e.AckTimeoutSeconds; s != nil && *s != 0 && (*s < ackTimeoutMin.Seconds() || *s > ackTimeoutMax.Seconds()) {
		fault("/ack_timeout_seconds", "is neither 0 nor between %g and %g", ackTimeoutMin.Seconds(), ackTimeoutMax.Seconds())
	}
	if s := e.AwakeSeconds; s != nil && (*s < 0 || *s > int(awakeMax.Seconds())) {
		fault("/awake_seconds", "is not between 0 and %g", awakeMax.Seconds())
	}
	if len(faults) > 0 {
		return &command.Error{Code: command.CodeInvalid, Msg: "the device cannot be changed like that", Fields: faults}
	}
	return nil
}

// RemoveDevice removes a device: what is open on it ends, its registration and
// observation are gone, its credentials are revoked and its sessions end. Its
// handle and its history stay.
func (d *Dispatcher) RemoveDevice(ctx context.Context, name string, ifVersion int64, by string) error {
	_, err := d.visit(ctx, ledger.Registrations, present(name), func(v *visit) error {
		if err := d.mayTo(by, v.dev, admin); err != nil {
			return err
		}
		if ifVersion != 0 && ifVersion != v.dev.Version {
			return command.Errorf(command.CodePrecondition, "the device was changed meanwhile")
		}
		open, err := v.tx.Open(v.dev.Handle)
		if err != nil {
			return err
		}
		for _, x := range open {
			if _, err := v.step(x, command.Trigger{Kind: command.Withdraw, Cause: command.DeviceRemoved}); err != nil {
				return err
			}
		}
		v.dev.Registration, v.dev.Observation, v.dev.Labels = device.Registration{}, device.Observation{}, nil
		v.dev.Replaced = device.Replaced{}
		v.dev.RemovedAt, v.dirty = v.now, true
		if err := revokeCredentials(v.tx, v.dev, v.now, by); err != nil {
			return err
		}
		return v.logDevice(command.EventRemoved, by, nil)
	})
	if err == nil || command.CodeOf(err) == command.CodeOutcomeUnknown {
		d.door.revoked(name)
	}
	return err
}
