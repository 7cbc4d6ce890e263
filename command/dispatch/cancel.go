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
			if err := d.cancelOne(ctx, x, by); err != nil {
				return command.View{}, err
			}
		}
		asked += len(todo)
	}
	if view, err = d.store.Command(ctx, id); err == nil && asked == 0 {
		return view, command.Errorf(command.CodeConflict, "nothing is left to cancel: the command is %s", view.State())
	}
	return view, err
}

// cancelPending sees to it that nothing of c is pending: what is not written
// out yet begins as canceled, or, if only some devices are named, as usual.
func (d *Dispatcher) cancelPending(ctx context.Context, c *command.Command, devices []string, by string) (asked int, err error) {
	if len(devices) > 0 {
		by = ""
	} else if closed, err := d.closeGate(ctx, c, by); err != nil || closed {
		return 1, err
	}
	if c.Gated() {
		return 0, nil // what is behind the gate stays there
	}
	for {
		took, err := d.writeGroup(ctx, c.N, by)
		if err != nil || !took {
			return asked, err
		}
		if by != "" {
			asked++
		}
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

func (d *Dispatcher) cancelOne(ctx context.Context, x command.Execution, by string) error {
	_, err := d.visit(ctx, ledger.Issues, byHandle(x.Device), func(v *visit) error {
		_, err := v.cancel(x.N, by)
		return err
	})
	return err
}

// CancelDevice empties a device's queue, and asks back what it has. It
// answers how many executions that were.
func (d *Dispatcher) CancelDevice(ctx context.Context, name, by string) (int, error) {
	count := 0
	_, err := d.visit(ctx, ledger.Issues, byName(name), func(v *visit) error {
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
