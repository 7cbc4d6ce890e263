package dispatch

import (
	"context"
	"fmt"
	"slices"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// A command over many devices is accepted as one row and a list of handles.
// Its executions are written out in groups, each in a commit with others'
// work, so that nobody else waits. A crash in between costs nothing: what is
// pending is a row, and goes in the commit that writes it out.

// resolve finds the handles of many devices, and makes those known that may
// be among the targets without being so.
func (d *Dispatcher) resolve(ctx context.Context, in command.Intent) ([]int64, error) {
	handles := make([]int64, 0, len(in.Targets.Devices))
	for names := range slices.Chunk(in.Targets.Devices, groupMax) {
		var found []int64
		err := d.store.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
			found = found[:0]
			for _, name := range names {
				dev, err := tx.DeviceNamed(name)
				if err != nil && command.CodeOf(err) == command.CodeNotFound {
					if !d.accepts(in) {
						return unknown(name)
					}
					dev = device.Device{Name: name, CreatedAt: clock()}
					err = tx.AddDevice(&dev)
				}
				if err != nil {
					return err
				}
				found = append(found, dev.Handle)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		handles = append(handles, found...)
	}
	return handles, nil
}

// writeOut asks for what is pending to be written out.
func (d *Dispatcher) writeOut() {
	select {
	case d.pending <- struct{}{}:
	default: // asked already
	}
}

// runFleets writes out what is pending.
func (d *Dispatcher) runFleets(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.pending:
		}
		if err := d.writeAllOut(ctx); err != nil && ctx.Err() == nil {
			d.log.Warn("writing out a command over many devices", "err", err)
			sleep(ctx, pause)
			d.writeOut()
		}
	}
}

// writeAllOut goes round the commands that have something pending, a group of
// each in turn: a small one does not wait for the end of a large one.
func (d *Dispatcher) writeAllOut(ctx context.Context) error {
	for {
		pending, err := d.store.Pending(ctx, groupMax)
		if err != nil || len(pending) == 0 {
			return err
		}
		for _, n := range pending {
			if ctx.Err() != nil {
				return nil
			}
			if _, err := d.writeGroup(ctx, n, ""); err != nil {
				return fmt.Errorf("command row %d: %w", n, err)
			}
		}
	}
}

// writeGroup writes out the next group of a command; it answers false when
// none was left. With somebody who cancels, they begin as canceled.
func (d *Dispatcher) writeGroup(ctx context.Context, n int64, canceledBy string) (bool, error) {
	var g *group
	err := d.store.Update(context.WithoutCancel(ctx), ledger.Issues, func(tx ledger.Tx) error {
		g = &group{d: d, tx: tx, canceledBy: canceledBy}
		return g.run(n)
	})
	if err != nil {
		return false, d.failed(err)
	}
	for _, v := range g.visits {
		d.tell(v)
	}
	d.waits.tell(g.ended)
	return g.took, nil
}

// group is the unit of work that writes out some executions of a command.
type group struct {
	d          *Dispatcher
	tx         ledger.Tx
	canceledBy string

	took   bool
	visits []*visit
	ended  []command.ID
}

func (g *group) run(n int64) error {
	handles, err := g.tx.TakePending(n, groupTargets)
	if err != nil || handles == nil {
		return err
	}
	g.took = true
	c, err := g.tx.CommandN(n)
	if err != nil {
		return err
	}
	now := clock()
	var xs []command.Execution
	for _, h := range handles {
		v := &visit{d: g.d, tx: g.tx, now: now}
		if v.dev, err = g.tx.Device(h); err != nil {
			return err
		}
		open, err := g.tx.Open(h)
		if err != nil {
			return err
		}
		if g.canceledBy == "" && !command.Room(open, c.Policy) {
			if err := g.tx.AddRefused(n, h, command.CodeDeviceFull); err != nil {
				return err
			}
			continue
		}
		if g.canceledBy == "" {
			v.open = slices.Grow(open, 1)
		}
		g.visits, xs = append(g.visits, v), append(xs, begun(c, v.dev, now))
	}
	if err := g.tx.AddExecutions(c, xs); err != nil {
		return err
	}
	if g.canceledBy != "" {
		for k, v := range g.visits {
			if _, err := v.cancel(xs[k].N, g.canceledBy); err != nil {
				return err
			}
		}
	}
	if err := giveTurns(g.visits, xs); err != nil {
		return err
	}
	return g.finish(c)
}

// finish ends a command whose last group found room on no device.
func (g *group) finish(c *command.Command) error {
	if len(g.visits) > 0 {
		return nil // the end of an execution is looked at as it comes
	}
	v := &visit{d: g.d, tx: g.tx, now: clock()}
	if err := v.endFleet(c, command.EventEnded, ""); err != nil {
		return err
	}
	g.ended = v.ended
	return nil
}
