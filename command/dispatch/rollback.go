package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// Rollback issues the command that undoes another: an ordinary one, linked to
// it. It goes to the devices on which the other may have had an effect, and on
// each it waits until the other has ended there. CodeConflict says why there
// is no way back.
func (d *Dispatcher) Rollback(ctx context.Context, id command.ID, in command.RollbackIntent) (command.Issued, error) {
	r := &rollback{d: d, in: in}
	if err := r.find(ctx, id); err != nil {
		return command.Issued{}, err
	}
	if err := r.stop(ctx); err != nil {
		return command.Issued{}, err
	}
	if err := r.aim(ctx); err != nil {
		return command.Issued{}, err
	}
	c, err := r.command(ctx)
	if err != nil {
		return command.Issued{}, err
	}
	i := &issue{d: d, in: command.Intent{Targets: c.Targets, RequestedBy: in.By}, intent: *c, rollback: r}
	if err := i.aim(r.devices); err != nil {
		return command.Issued{}, err
	}
	issued, errs, err := d.commitIssues(ctx, []*issue{i}, make([]error, 1), nil)
	if err != nil {
		return command.Issued{}, err
	}
	return issued[0], errs[0]
}

// rollback is the undoing of a command, as it is prepared.
type rollback struct {
	d  *Dispatcher
	in command.RollbackIntent

	original command.View
	rule     *command.RollbackRule
	devices  []device.Device
	open     bool // the original has not ended on one of them
}

// find finds the command that is to be undone, and its type's way back.
func (r *rollback) find(ctx context.Context, id command.ID) (err error) {
	if r.original, err = r.d.store.Command(ctx, id); err != nil {
		return err
	}
	c := r.original.Command
	t, err := r.d.typeOf(ctx, c)
	if err != nil {
		return err
	}
	r.rule = t.Rollback
	switch {
	case !t.Rollback.Reversible():
		return command.Errorf(command.CodeConflict, "commands of type %q are irreversible", c.Type)
	case r.in.Force && r.in.Reason == "":
		return faulty("/reason", "is missing: what is forced needs a reason")
	case len(r.in.Reason) > command.ReasonBytesMax:
		return faulty("/reason", fmt.Sprintf("is over %d bytes", command.ReasonBytesMax))
	}
	return nil
}

// stop sees to it that what has not left for one of many devices never does:
// to send it and to undo it would be a strange wish.
func (r *rollback) stop(ctx context.Context) error {
	c := r.original.Command
	if c.Devices == 1 || len(r.in.Devices) > 0 {
		return nil
	}
	if err := r.d.mayAll(ctx, c, nil, r.in.By, operator); err != nil {
		return err
	}
	if err := r.d.store.Update(ctx, ledger.Issues, r.alone); err != nil {
		return err
	}
	if _, err := r.d.cancelPending(ctx, c, nil, r.in.By); err != nil {
		return err
	}
	todo, err := r.d.cancelable(ctx, c, nil)
	if err != nil {
		return err
	}
	for _, x := range todo {
		if !x.State.Unsent() {
			continue
		}
		if err := r.d.cancelOne(ctx, x, r.in.By); err != nil {
			return err
		}
	}
	return nil
}

// aim picks the devices: those on which the original may have had an effect.
func (r *rollback) aim(ctx context.Context) error {
	c := r.original.Command
	wanted := slices.Clone(r.in.Devices)
	for after := int64(0); ; {
		xs, more, err := r.d.store.Executions(ctx, c.ID, "", after, command.PageMax)
		if err != nil {
			return err
		}
		for _, x := range xs {
			after = x.N
			if len(r.in.Devices) > 0 {
				at := slices.Index(wanted, x.Name)
				if at < 0 {
					continue
				}
				wanted = slices.Delete(wanted, at, at+1)
			}
			if x.State.Ended() && x.Effect == command.EffectNone || x.State.Unsent() {
				continue // it did nothing there, and will be canceled rather than undone
			}
			r.open = r.open || !x.State.Ended()
			r.devices = append(r.devices, device.Device{Handle: x.Device, Name: x.Name})
		}
		if !more {
			break
		}
	}
	switch {
	case len(wanted) > 0:
		return faulty("/devices", fmt.Sprintf("%q is no device of the command, or not yet", wanted[0]))
	case len(r.devices) == 0:
		return command.Errorf(command.CodeConflict, "there is nothing to undo: the command had no effect; what has not left can be canceled")
	}
	return nil
}

// command is the command that undoes the original.
func (r *rollback) command(ctx context.Context) (*command.Command, error) {
	of := r.original.Command
	name := of.Type
	if r.rule.Kind == command.Inverse {
		name = r.rule.Type
	}
	t, err := r.d.typeFor(ctx, name)
	if err != nil {
		return nil, err
	}
	in := command.Intent{Type: name, Reason: r.in.Reason, RequestedBy: r.in.By}
	clocks, faults := t.ClocksFor(r.d.clocks, in)
	if len(faults) > 0 {
		return nil, &command.Error{Code: command.CodeInvalid, Msg: "the rollback cannot be accepted as it is", Fields: faults}
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make a command id: %w", err)
	}
	c := &command.Command{
		ID: command.ID(id), Type: t.Name, TypeVersion: t.Version, Policy: t.Policy, Clocks: clocks,
		Reason: r.in.Reason, RequestedBy: r.in.By, Devices: len(r.devices),
		RollbackOf: of.ID, Restores: r.rule.Kind == command.Restore, Forced: r.in.Force,
	}
	for _, dev := range r.devices {
		c.Targets.Devices = append(c.Targets.Devices, dev.Name)
	}
	slices.Sort(c.Targets.Devices)
	params, err := r.params(t, c)
	if err != nil {
		return nil, err
	}
	c.Slot = t.SlotOf(params)
	member := func(string) bool { return false }
	if t.Approval != nil && (len(t.Approval.Groups) > 0 || t.Approval.Asks(params, member)) {
		if c.Restores && r.open {
			return nil, command.Errorf(command.CodeConflict, "the rollback needs an approval, and nobody can say of what before the command has ended")
		}
		c.Approval = r.d.demand(t)
	}
	return c, nil
}

// params gives c its params, if they are known before it goes: what a device
// gets back is looked up when the original has ended there.
func (r *rollback) params(t command.Type, c *command.Command) (json.RawMessage, error) {
	of := r.original.Command
	raw, ok := json.RawMessage(nil), true
	if len(of.Params) > 0 {
		raw, ok = r.d.schemas.JSON(of.Params)
	}
	if c.Restores {
		return raw, nil // of the same slot
	}
	if !ok {
		return nil, command.Errorf(command.CodeConflict, "the params of the command cannot be written as JSON, from which its inverse would be made")
	}
	inverse, err := r.rule.InverseParams(raw)
	if err != nil {
		return nil, command.Errorf(command.CodeConflict, "%v", err)
	}
	item, faults, err := r.d.schemas.Params(t, inverse)
	if err != nil {
		return nil, err
	}
	if len(faults) > 0 {
		return nil, &command.Error{Code: command.CodeInvalid, Fields: faults,
			Msg: fmt.Sprintf("the type %q does not take the params that its inverse %q makes", t.Name, of.Type)}
	}
	c.Params = item
	return inverse, nil
}

// begin refuses a rollback, in the commit that would issue it, of what is
// being undone already or has been superseded.
func (r *rollback) begin(tx ledger.Tx) error {
	if err := r.alone(tx); err != nil || r.in.Force || len(r.devices) > 1 {
		return err // of many, each is looked at when it goes
	}
	of := r.original.Command
	newer, err := superseded(tx, of, r.devices[0].Handle)
	if err != nil || newer == nil {
		return err
	}
	return command.Errorf(command.CodeConflict, "%s has set the same on %q since, or may have; undo that first, or force it with a reason", newer.Command.ID, newer.Name)
}

// alone refuses a second rollback while one is alive.
func (r *rollback) alone(tx ledger.Tx) error {
	rows, err := tx.Rollbacks(r.original.Command.N)
	if err != nil {
		return err
	}
	for _, n := range rows {
		tally, err := tx.Tally(n)
		if err != nil {
			return err
		}
		if !tally.Ended() {
			before, err := tx.CommandN(n)
			if err != nil {
				return err
			}
			return command.Errorf(command.CodeConflict, "the command is being undone already, by %s", before.ID)
		}
	}
	return nil
}

// superseded is the younger execution that has set the same on a device as of,
// or may have. What undid of does not count.
func superseded(tx ledger.Tx, of *command.Command, dev int64) (*command.Execution, error) {
	if of.Slot == 0 {
		return nil, nil // accepted before its type had a way back
	}
	x, err := tx.Latest(dev, of.Slot, of.N)
	switch {
	case err != nil && command.CodeOf(err) == command.CodeNotFound:
		return nil, nil
	case err != nil:
		return nil, err
	case x.Command.N == of.N || x.Command.RollbackOf == of.ID:
		return nil, nil
	}
	return &x, nil
}

// undoes lets rollbacks go that have waited until what they undo has ended.
func (v *visit) undoes() error {
	for _, x := range slices.Clone(v.open) {
		if x.State != command.Scheduled || x.Command.RollbackOf == (command.ID{}) || !x.DueAt.IsZero() {
			continue
		}
		of, err := v.undone(x)
		if err != nil {
			return err
		}
		if !of.State.Ended() {
			continue
		}
		cause, err := v.unfitToUndo(x, of)
		if err != nil {
			return err
		}
		after := x
		if cause == command.NoCause && x.Command.Restores && x.Params == nil {
			if after.Params, err = v.before(of); err != nil {
				return err
			}
			if after.Params == nil {
				cause = command.NothingToUndo
			}
		}
		if cause != command.NoCause {
			if _, err := v.step(x, command.Trigger{Kind: command.Withdraw, Cause: cause}); err != nil {
				return err
			}
			continue
		}
		after.DueAt = v.d.windows.opens(x.Command.Window(), v.now)
		after, _ = after.Step(command.Trigger{Kind: command.Due}, v.now)
		if err := v.store(x, &after, ""); err != nil {
			return err
		}
	}
	return nil
}

// undone is the execution that x undoes.
func (v *visit) undone(x command.Execution) (command.Execution, error) {
	of, err := v.tx.Command(x.Command.RollbackOf)
	if err != nil {
		return command.Execution{}, err
	}
	return v.tx.ExecutionOf(of.N, x.Device)
}

// unfitToUndo says why x must not undo what has ended.
func (v *visit) unfitToUndo(x, of command.Execution) (command.Cause, error) {
	switch {
	case of.Effect == command.EffectNone:
		return command.NothingToUndo, nil
	case of.Effect == command.EffectUnknown && !x.Command.Restores:
		return command.OutcomeUnknown, nil
	case x.Command.Forced:
		return command.NoCause, nil
	}
	newer, err := superseded(v.tx, of.Command, x.Device)
	if err != nil || newer == nil {
		return command.NoCause, err
	}
	return command.Superseded, nil
}

// before is the value that was there before an execution: what the device said
// of it, else what the last success in the slot had set. nil: nobody knows.
func (v *visit) before(of command.Execution) ([]byte, error) {
	if of.Last.Prev != nil {
		return of.Last.Prev, nil
	}
	if of.Command.Slot == 0 {
		return nil, nil
	}
	last, err := v.tx.Succeeded(v.dev.Handle, of.Command.Slot, of.N)
	if err != nil && command.CodeOf(err) == command.CodeNotFound {
		return nil, nil
	}
	if err != nil || last.Params != nil {
		return last.Params, err
	}
	return last.Command.Params, nil
}

// contradicted notes that something took effect after it was undone.
func (v *visit) contradicted(before, after command.Execution) error {
	if before.State != command.TimedOut || after.Effect != command.EffectApplied || after.Command.Slot == 0 {
		return nil
	}
	rows, err := v.tx.Rollbacks(after.Command.N)
	if err != nil {
		return err
	}
	for _, n := range rows {
		x, err := v.tx.ExecutionOf(n, v.dev.Handle)
		if err != nil && command.CodeOf(err) == command.CodeNotFound {
			continue // it was not for this device
		}
		if err != nil {
			return err
		}
		if x.Seq != 0 {
			return v.log(command.EventContradicts, after, "", map[string]any{"rollback": x.Command.ID.String()})
		}
	}
	return nil
}

// undo rolls a command back by itself: too much of it went wrong. It is done
// once; a refusal is as good as done.
func (d *Dispatcher) undo(ctx context.Context, g command.Gate) error {
	done := false
	err := d.store.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
		rows, err := tx.Rollbacks(g.Command.N)
		done = len(rows) > 0
		return err
	})
	if err != nil {
		return err
	}
	if !done {
		_, err = d.Rollback(ctx, g.Command.ID, command.RollbackIntent{Reason: "by itself: too many failed, or nobody knows what became of them"})
		switch command.CodeOf(err) {
		case command.CodeConflict, command.CodeInvalid, command.CodeDeviceFull:
			d.log.Warn("a command could not be rolled back by itself", "command", g.Command.ID, "err", err)
		default:
			if err != nil {
				return err
			}
		}
	}
	return d.store.Update(context.WithoutCancel(ctx), ledger.Issues, func(tx ledger.Tx) error {
		now := d.now()
		before, err := tx.Gate(g.Command.N)
		if err != nil && command.CodeOf(err) == command.CodeNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		after := before
		after.Undone = true
		return saveGate(tx, before, &after, "", now, now)
	})
}
