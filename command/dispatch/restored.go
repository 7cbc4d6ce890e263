package dispatch

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// What was open in a backup when it is restored ends as unknown: it may have gone
// out, or further, after the backup. Nothing of it goes out any more.

// lostTrigger is what happens to it.
var lostTrigger = command.Trigger{Kind: command.Lose, Cause: command.Restored}

// Lost counts what ended because a store was restored.
type Lost struct {
	Executions int // that were open
	Behind     int // devices of commands on many that had none yet
	Devices    int // with open executions
	Gates      int // that were given up
}

// EndRestored ends all that is open in a store that was restored, which must run
// and be nobody else's. progress hears how far it is, from one goroutine; nil:
// nobody asks.
func EndRestored(ctx context.Context, store Store, clock *Clock, progress func(Lost)) (l Lost, err error) {
	if progress == nil {
		progress = func(Lost) {}
	}
	d := New(store, nobody{}, Options{Clock: clock})
	for _, end := range []func(context.Context, *Lost, func(Lost)) error{d.endPending, d.endGates, d.endOpen} {
		if err := end(ctx, &l, progress); err != nil {
			return l, fmt.Errorf("end what was open: %w", err)
		}
	}
	return l, nil
}

// nobody is who there is to present anything to while a store is restored.
type nobody struct{}

func (nobody) Ready(device.Device) bool                    { return false }
func (nobody) Present(device.Device, command.Presentation) {}

// endPending ends commands on many devices that no gate holds back, on those of
// them whose turn had not come.
func (d *Dispatcher) endPending(ctx context.Context, l *Lost, progress func(Lost)) error {
	for {
		rows, err := d.store.Pending(ctx, groupMax)
		if err != nil || len(rows) == 0 {
			return err
		}
		for _, n := range rows {
			begun, _, err := d.endGroup(ctx, n)
			if err != nil {
				return err
			}
			l.Behind += begun
			progress(*l)
		}
	}
}

// endGates ends what is behind gates, and those with it: what is known to have
// gone wrong must not roll anything back by itself.
func (d *Dispatcher) endGates(ctx context.Context, l *Lost, progress func(Lost)) error {
	for after := int64(0); ; {
		rows, err := d.store.Gates(ctx, after, groupMax)
		if err != nil || len(rows) == 0 {
			return err
		}
		for _, n := range rows {
			for done := false; !done; {
				var begun int
				if begun, done, err = d.endGroup(ctx, n); err != nil {
					return err
				}
				l.Behind += begun
				progress(*l)
			}
			l.Gates++
		}
		after = rows[len(rows)-1]
	}
}

// endGroup begins the next executions of a command on many devices as lost. It
// answers with how many, and whether its gate is done, if it has one.
func (d *Dispatcher) endGroup(ctx context.Context, n int64) (begun int, done bool, err error) {
	err = d.store.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
		before, err := tx.Gate(n)
		gated := err == nil
		if err != nil && command.CodeOf(err) != command.CodeNotFound {
			return err
		}
		handles, err := tx.TakePending(n, writeTargets)
		if err != nil {
			return err
		}
		c, err := tx.CommandN(n)
		if err != nil {
			return err
		}
		g := group{d: d, tx: tx, now: d.now()}
		begun, done = len(handles), gated && len(handles) == 0
		err = g.begin(c, handles, func(x command.Execution) command.Execution {
			switch {
			case gated && before.State == command.GateClosed: // nobody sent it since
				return before.Begin(x, g.now)
			case gated && before.State == command.GateAwaiting:
				x.State = command.AwaitingApproval
			default:
				x.State = command.Scheduled
			}
			x, _ = x.Step(lostTrigger, g.now)
			return x
		})
		if err != nil || !gated {
			return err
		}
		return endGate(&g, before, begun)
	})
	return begun, done, err
}

// endGate notes that n more are through a gate; none: it is done.
func endGate(g *group, before command.Gate, n int) error {
	after := before
	after.Through += n
	if n == 0 {
		after.State = command.GateDone
		if before.State != command.GateClosed && before.Command.Gated() {
			after.Ending, after.Cause = lostTrigger.Kind, lostTrigger.Cause
		}
	}
	return saveGate(g.tx, before, &after, "", g.now, g.now)
}

// endOpen ends what is open on devices.
func (d *Dispatcher) endOpen(ctx context.Context, l *Lost, progress func(Lost)) error {
	for after := int64(0); ; {
		handles, err := d.store.Busy(ctx, after, groupMax)
		if err != nil || len(handles) == 0 {
			return err
		}
		ended := make([]int, len(handles))
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(parallelMax)
		for k, h := range handles {
			g.Go(func() error {
				return d.giveTurn(gctx, h, func(v *visit) (err error) {
					ended[k], err = v.endAll()
					return err
				})
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		for _, n := range ended {
			l.Executions += n
		}
		l.Devices += len(handles)
		progress(*l)
		after = handles[len(handles)-1]
	}
}

// endAll ends all that is open on a device, and answers how much that was.
func (v *visit) endAll() (int, error) {
	open, err := v.tx.Open(v.dev.Handle)
	if err != nil {
		return 0, err
	}
	for _, x := range open {
		if _, err := v.step(x, lostTrigger); err != nil {
			return 0, err
		}
	}
	return len(open), nil
}
