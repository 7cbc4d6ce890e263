package dispatch

import (
	"context"
	"errors"
	"slices"

	"behest/command"
	"behest/command/ledger"
)

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
		if cause == command.NoCause && !v.d.seals.genuine(x) {
			cause = command.IntegrityFailed // a new seal must not make it good
		}
		after := x
		if cause == command.NoCause && x.Command.Restores && x.Params == nil {
			if x.Command.Approval == nil { // else what is not there was approved so
				if after.Params, err = before(v.tx, of); err != nil {
					return err
				}
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
		v.d.seals.put(&after) // its params may be its own by now
		if err := v.store(x, &after, ""); err != nil {
			return err
		}
		if err := v.tx.SaveSeal(after); err != nil {
			return err
		}
	}
	return nil
}

// undone is the execution that x undoes.
func (v *visit) undone(x command.Execution) (command.Execution, error) {
	n, err := v.tx.Original(x.Command.N)
	if err != nil {
		return command.Execution{}, err
	}
	return v.tx.ExecutionOf(n, x.Device)
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
	by, err := undoneBy(v.tx, of, x.Command.N, x.Command.Restores)
	switch {
	case err != nil:
		return command.NoCause, err
	case by != nil && by.Effect == command.EffectApplied:
		return command.NothingToUndo, nil
	case by != nil:
		return command.OutcomeUnknown, nil
	}
	newer, err := superseded(v.tx, of)
	if err != nil || newer == nil {
		return command.NoCause, err
	}
	return command.Superseded, nil
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
		if errors.Is(err, errOpenYet) {
			return nil // it is tried again as what is open ends
		}
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
