package dispatch

import (
	"context"
	"slices"

	"behest/command"
	"behest/command/ledger"
)

// Cancel stops a command on all its devices, or on those named: what never
// left is canceled at once, what left is asked back. It answers with the
// command as it now is. CodeConflict: nothing of it was left to cancel.
func (d *Dispatcher) Cancel(ctx context.Context, id command.ID, devices []string, by string) (command.View, error) {
	view, err := d.store.Command(ctx, id)
	if err != nil {
		return command.View{}, err
	}
	if err := d.mayAll(ctx, view.Command, devices, by, operator, approver); err != nil {
		return command.View{}, err
	}
	asked, err := d.cancelPending(ctx, view.Command, devices, by)
	if err != nil {
		return command.View{}, err
	}
	for {
		todo, err := d.cancelable(ctx, view.Command, devices)
		if err != nil {
			return command.View{}, err
		}
		if len(todo) == 0 {
			break
		}
		for _, x := range todo {
			done, err := d.cancelOne(ctx, x, by)
			if err != nil {
				return command.View{}, err
			}
			if done {
				asked++
			}
		}
	}
	if view, err = d.store.Command(ctx, id); err == nil && asked == 0 {
		where := ""
		if len(devices) > 0 {
			where = " on the devices that are named"
		}
		return view, command.Errorf(command.CodeConflict, "nothing is left to cancel%s: the command is %s", where, view.State())
	}
	return view, err
}

// cancelPending cancels what of c is not written out yet: all of it, or the
// devices that are named. The others stay where they are.
func (d *Dispatcher) cancelPending(ctx context.Context, c *command.Command, devices []string, by string) (asked int, err error) {
	if c.Devices == 1 {
		return 0, nil
	}
	if len(devices) > 0 {
		return d.cancelHeld(ctx, c.N, byNames(devices), by)
	}
	if closed, err := d.closeGate(ctx, c, by); err != nil || closed {
		return 1, err
	}
	if c.Gated() {
		return 0, nil // its gate is closed, and lets what is behind it end
	}
	for {
		g, err := d.writeGroup(ctx, c.N, by)
		if err != nil || !g.took {
			return asked, err
		}
		asked++
	}
}

// cancelHeld cancels a command on some of the devices that are not written out:
// they leave the list, and their executions begin as canceled. Nobody has to
// agree to that. The digest stays: what others decide on is what was asked for,
// and less of it happens.
func (d *Dispatcher) cancelHeld(ctx context.Context, commandN int64, find func(ledger.Tx) ([]int64, error), by string) (int, error) {
	var g *group
	dropped := 0
	err := d.store.Update(context.WithoutCancel(ctx), ledger.Issues, func(tx ledger.Tx) error {
		g = &group{d: d, tx: tx, now: d.now(), canceledBy: by}
		handles, err := find(tx)
		if err != nil {
			return err
		}
		if handles, err = tx.DropPending(commandN, handles); err != nil || len(handles) == 0 {
			dropped = 0
			return err
		}
		dropped = len(handles)
		return g.cancelBehind(commandN, handles)
	})
	if err != nil {
		return 0, d.failed(err)
	}
	g.tell()
	if dropped > 0 {
		d.watched.add(commandN) // perhaps nobody is left behind it
		d.gates.ring(d.now())
	}
	return dropped, nil
}

// cancelBehind begins executions of the command in a row as canceled, past its
// gate if it has one.
func (g *group) cancelBehind(commandN int64, handles []int64) error {
	c, err := g.tx.CommandN(commandN)
	if err != nil {
		return err
	}
	gate, err := g.tx.Gate(commandN)
	held := err == nil
	if err != nil && command.CodeOf(err) != command.CodeNotFound {
		return err
	}
	err = g.begin(c, handles, func(x command.Execution) command.Execution {
		if x.State = command.Scheduled; held && gate.State == command.GateAwaiting {
			x.State = command.AwaitingApproval
		}
		return x
	})
	if err != nil || !held {
		return err
	}
	gate.Through += len(handles)
	return g.tx.SaveGate(&gate, g.now)
}

// byNames finds those devices of a list of names that are there.
func byNames(names []string) func(ledger.Tx) ([]int64, error) {
	return func(tx ledger.Tx) (handles []int64, err error) {
		for _, name := range names {
			dev, err := tx.DeviceNamed(name)
			if err != nil && command.CodeOf(err) == command.CodeNotFound {
				continue
			}
			if err != nil {
				return nil, err
			}
			handles = append(handles, dev.Handle)
		}
		return handles, nil
	}
}

// cancelable lists open executions of c that nobody asked to cancel yet.
func (d *Dispatcher) cancelable(ctx context.Context, c *command.Command, devices []string) (todo []command.Execution, err error) {
	err = d.store.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
		todo = nil
		open, err := tx.OpenOf(c.N, command.TargetsMax)
		for _, x := range open {
			if x.State != command.Canceling && (len(devices) == 0 || slices.Contains(devices, x.Name)) {
				todo = append(todo, x)
			}
		}
		return err
	})
	return todo, err
}

// cancelOne answers false if something else ended x meanwhile.
func (d *Dispatcher) cancelOne(ctx context.Context, x command.Execution, by string) (done bool, err error) {
	_, err = d.visit(ctx, ledger.Issues, byHandle(x.Device), func(v *visit) (err error) {
		done, err = v.cancel(x.N, by)
		return err
	})
	return done, err
}

// CancelDevice empties a device's queue, and asks back what it has. It
// answers how many executions that were, what waits for it behind gates
// included.
func (d *Dispatcher) CancelDevice(ctx context.Context, name, by string) (int, error) {
	count, held := 0, 0
	v, err := d.visit(ctx, ledger.Issues, byName(name), func(v *visit) error {
		count = 0
		if err := d.mayTo(by, v.dev, operator, approver); err != nil {
			return err
		}
		open, err := v.tx.Open(v.dev.Handle)
		if err != nil {
			return err
		}
		for _, x := range open {
			done, err := v.cancel(x.N, by)
			if err != nil {
				return err
			}
			if done {
				count++
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	rows, err := d.store.Holding(ctx, v.dev.Handle)
	for _, n := range rows {
		if err != nil {
			break
		}
		held, err = d.cancelHeld(ctx, n, func(ledger.Tx) ([]int64, error) { return []int64{v.dev.Handle}, nil }, by)
		count += held
	}
	return count, err
}

// cancel asks for the end of execution n, if it is still there to end.
func (v *visit) cancel(n int64, by string) (bool, error) {
	x, err := v.tx.Execution(n)
	if err != nil {
		return false, err
	}
	after, verdict := x.Step(command.Trigger{Kind: command.Cancel}, v.now)
	if verdict != command.Moved {
		return false, nil
	}
	return true, v.store(x, &after, by)
}
