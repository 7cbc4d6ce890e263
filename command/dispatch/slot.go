package dispatch

import (
	"behest/command"
	"behest/command/ledger"
)

// slotMax bounds how far a slot is looked through for what stands in the way of
// a rollback. Who has to look further says no: it can be forced.
const slotMax = 64

// superseded is the youngest execution that has set the same on its device since
// of, or may have, and that nothing has undone. What undid of does not count.
func superseded(tx ledger.Tx, of command.Execution) (*command.Execution, error) {
	if of.Command.Slot == 0 {
		return nil, nil // accepted before its type had a way back
	}
	younger, err := tx.Younger(of, slotMax)
	if err != nil {
		return nil, err
	}
	for _, x := range younger {
		if stands, err := standsSince(tx, of, x); err != nil || stands {
			return &x, err
		}
	}
	if len(younger) == slotMax {
		return &younger[slotMax-1], nil
	}
	return nil, nil
}

// standsSince reports whether what x set, which came after of, may still be
// there. It is not if it was undone; and what undid something younger than of
// brought back no more than what of had left, or what stands by itself.
func standsSince(tx ledger.Tx, of, x command.Execution) (bool, error) {
	if x.Command.RollbackOf == of.Command.ID {
		return false, nil
	}
	if x.Command.RollbackOf != (command.ID{}) && x.Effect == command.EffectApplied {
		n, err := tx.Original(x.Command.N)
		if err != nil && command.CodeOf(err) == command.CodeNotFound {
			return true, nil // it was too old to be kept; nobody can tell what came back
		}
		if err != nil {
			return false, err
		}
		undone, err := tx.ExecutionOf(n, x.Device)
		if err != nil || undone.Seq > of.Seq {
			return false, err
		}
	}
	by, err := undoneBy(tx, x, 0, true)
	return by == nil, err
}

// undoneBy is the execution that undid x on its device, the command in row but
// left out; nil: none did. sure asks for one that is known to have taken effect,
// else one that may have is enough: to undo by an inverse twice is to do the
// opposite.
func undoneBy(tx ledger.Tx, x command.Execution, but int64, sure bool) (*command.Execution, error) {
	rows, err := tx.Rollbacks(x.Command.N)
	if err != nil {
		return nil, err
	}
	for _, n := range rows {
		if n == but {
			continue
		}
		by, err := tx.ExecutionOf(n, x.Device)
		switch {
		case err != nil && command.CodeOf(err) == command.CodeNotFound: // it was not for this device
		case err != nil:
			return nil, err
		case by.Effect == command.EffectApplied, !sure && by.Effect != command.EffectNone:
			return &by, nil
		}
	}
	return nil, nil
}

// before is the value that was there before an execution: what the device said
// of it, else what the last success in the slot had set. nil: nobody knows.
func before(tx ledger.Tx, of command.Execution) ([]byte, error) {
	if of.Last.Prev != nil {
		return of.Last.Prev, nil
	}
	if of.Command.Slot == 0 {
		return nil, nil
	}
	last, err := tx.Succeeded(of)
	if err != nil && command.CodeOf(err) == command.CodeNotFound {
		return nil, nil
	}
	if err != nil || last.Params != nil {
		return last.Params, err
	}
	return last.Command.Params, nil
}
