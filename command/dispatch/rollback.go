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
// it. It goes to the devices on which the other may have had an effect that was
// not undone yet, and on each it waits until the other has ended there.
// CodeConflict says why there is no way back; nothing was done then.
func (d *Dispatcher) Rollback(ctx context.Context, id command.ID, in command.RollbackIntent) (command.Issued, error) {
	return d.rollBack(ctx, id, in, nil)
}

// RollbackOnce is Rollback for a request that may come again, as IssueOnce is
// for IssueBatch. Its answer is looked for first: once it was given, there may be
// no way back any more. A twin that is on its way at the same time may be told so.
func (d *Dispatcher) RollbackOnce(ctx context.Context, once command.Claim, id command.ID, in command.RollbackIntent,
	render func(command.Issued) []byte) (body []byte, again bool, err error) {
	k := &keeper{once: once, render: func(issued []command.Issued, _ []error) []byte { return render(issued[0]) }}
	if err := d.store.Update(ctx, ledger.Issues, k.find); err != nil || k.again {
		return k.body, k.again, err
	}
	if _, err := d.rollBack(ctx, id, in, k); err != nil {
		return nil, false, err
	}
	return k.body, k.again, nil
}

// rollBack undoes a command. Who asked may have a keeper, which then has the
// answer.
func (d *Dispatcher) rollBack(ctx context.Context, id command.ID, in command.RollbackIntent, k *keeper) (command.Issued, error) {
	r := &rollback{d: d, in: in}
	if err := r.find(ctx, id); err != nil {
		return command.Issued{}, err
	}
	c, err := r.plan(ctx)
	if err != nil {
		return command.Issued{}, err
	}
	stopped, err := r.stop(ctx)
	if err != nil {
		return command.Issued{}, err
	}
	if stopped { // some that were about to leave may have left before they were stopped
		if c, err = r.plan(ctx); err != nil {
			return command.Issued{}, err
		}
	}
	// It goes where the other went, though the device be removed by now.
	like := command.Intent{Targets: c.Targets, RequestedBy: in.By, AllowUnregistered: true}
	i := &issue{d: d, in: like, intent: *c, rollback: r, own: r.gives}
	if err := i.aim(r.devices); err != nil {
		return command.Issued{}, err
	}
	issued, errs, err := d.commitIssues(ctx, []*issue{i}, make([]error, 1), k)
	if err != nil || k != nil && k.again {
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

	// What plan finds.
	devices []device.Device
	open    bool              // the original has not ended on one of them
	gives   map[string][]byte // what each device gets back, where that is to be approved; nil: it is not
}

// errOpenYet is a refusal that time will mend.
var errOpenYet = command.Errorf(command.CodeConflict,
	"the rollback may need an approval, and nobody can say of what before the command has ended")

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

// plan is the command that undoes the original, as things stand.
func (r *rollback) plan(ctx context.Context) (*command.Command, error) {
	r.devices, r.open, r.gives = nil, false, nil
	if err := r.aim(ctx); err != nil {
		return nil, err
	}
	return r.command(ctx)
}

// stop sees to it that what has not left for one of many devices never does:
// to send it and to undo it would be a strange wish. It answers whether there
// was something to stop.
func (r *rollback) stop(ctx context.Context) (bool, error) {
	c := r.original.Command
	if c.Devices == 1 || len(r.in.Devices) > 0 {
		return false, nil
	}
	if err := r.d.mayAll(ctx, c, nil, r.in.By, operator); err != nil {
		return false, err
	}
	if err := r.d.store.Update(ctx, ledger.Issues, r.alone); err != nil {
		return false, err
	}
	asked, err := r.d.cancelPending(ctx, c, nil, r.in.By)
	if err != nil {
		return false, err
	}
	todo, err := r.d.cancelable(ctx, c, nil)
	if err != nil {
		return false, err
	}
	for _, x := range todo {
		if !x.State.Unsent() {
			continue
		}
		if _, err := r.d.cancelOne(ctx, x, r.in.By); err != nil {
			return false, err
		}
		asked++ // also where it has left meanwhile: then there is more to undo
	}
	return asked > 0, nil
}

// aim picks the devices: those on which the original may have had an effect
// that nothing has undone yet.
func (r *rollback) aim(ctx context.Context) error {
	c := r.original.Command
	wanted, undone := slices.Clone(r.in.Devices), 0
	for after, more := int64(0), true; more; {
		xs, left, err := r.d.store.Executions(ctx, c.ID, "", after, command.PageMax)
		if err != nil {
			return err
		}
		more = left && len(xs) > 0
		var picked []command.Execution
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
			picked = append(picked, x)
		}
		n, err := r.take(ctx, picked)
		if err != nil {
			return err
		}
		undone += n
	}
	switch {
	case len(wanted) > 0:
		return faulty("/devices", fmt.Sprintf("%q is no device of the command, or not yet", wanted[0]))
	case len(r.devices) == 0 && undone > 0:
		return command.Errorf(command.CodeConflict, "the command has been undone already, by %s; force it with a reason to do so once more", r.original.RolledBackBy)
	case len(r.devices) == 0:
		return command.Errorf(command.CodeConflict, "there is nothing to undo: the command had no effect; what has not left can be canceled")
	}
	return nil
}

// take takes the devices of some executions on which nothing has undone them,
// and answers with the number of the others.
func (r *rollback) take(ctx context.Context, xs []command.Execution) (undone int, err error) {
	looked := r.in.Force || r.original.RolledBackBy == (command.ID{})
	from := len(r.devices)
	err = r.d.store.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
		undone, r.devices = 0, r.devices[:from]
		for _, x := range xs {
			if !looked {
				by, err := undoneBy(tx, x, 0, r.rule.Kind == command.Restore)
				if err != nil {
					return err
				}
				if by != nil {
					undone++
					continue
				}
			}
			r.open = r.open || !x.State.Ended()
			r.devices = append(r.devices, device.Device{Handle: x.Device, Name: x.Name})
		}
		return nil
	})
	return undone, err
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
	asked, err := r.asksApproval(ctx, t, params)
	if err != nil {
		return nil, err
	}
	if asked {
		c.Approval = r.d.demand(t)
	} else {
		r.gives = nil // each device is asked once more when its turn comes
	}
	return c, nil
}

// asksApproval reports whether the rule of t asks for an approval of the way
// back. Of a restore it looks at what every device would get, which is then
// what is approved.
func (r *rollback) asksApproval(ctx context.Context, t command.Type, params json.RawMessage) (bool, error) {
	member := func(string) bool { return false }
	switch {
	case t.Approval == nil:
		return false, nil
	case r.rule.Kind != command.Restore:
		return len(t.Approval.Groups) > 0 || t.Approval.Asks(params, member), nil
	case r.open:
		return false, errOpenYet
	}
	if err := r.look(ctx); err != nil {
		return false, err
	}
	asked := len(t.Approval.Groups) > 0
	for _, item := range r.gives {
		raw, _ := r.d.schemas.JSON(item) // what JSON cannot say meets any condition
		asked = asked || t.Approval.Asks(raw, member)
	}
	return asked, nil
}

// look looks up what each device had before the original.
func (r *rollback) look(ctx context.Context) error {
	r.gives = make(map[string][]byte, len(r.devices))
	known := false
	for some := range slices.Chunk(r.devices, groupMax) {
		err := r.d.store.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
			for _, dev := range some {
				of, err := tx.ExecutionOf(r.original.Command.N, dev.Handle)
				if err != nil {
					return err
				}
				item, err := before(tx, of)
				if err != nil {
					return err
				}
				r.gives[dev.Name] = item
				known = known || item != nil
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if !known {
		return command.Errorf(command.CodeConflict, "nobody knows what there was before the command")
	}
	return nil
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
	of, err := tx.ExecutionOf(r.original.Command.N, r.devices[0].Handle)
	if err != nil {
		return err
	}
	newer, err := superseded(tx, of)
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
