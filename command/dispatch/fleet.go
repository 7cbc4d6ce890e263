package dispatch

import (
	"context"
	"fmt"
	"slices"
	"time"

	"behest/command"
	"behest/command/ledger"
)

// A command over many devices is accepted as one row and a list of handles.
// Its executions are written out in groups, each in a commit with others'
// work, so that nobody else waits. A crash in between costs nothing: what is
// pending is a row, and goes in the commit that writes it out.
//
// Between groups it rests for twice as long as the last one took, from when it
// was asked for until it was on disk. That is longer the more others want of the
// writer and of the processors, first of all the devices that answer: so a large
// command goes as fast as they do, and leaves room for single ones. What is
// urgent does not rest.

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
			begun := time.Now()
			g, err := d.writeGroup(ctx, n, "")
			if err != nil {
				return fmt.Errorf("command row %d: %w", n, err)
			}
			g.rest(ctx, begun)
		}
	}
}

// writeGroup writes out the next group of a command that has no gate, if one is
// left. With somebody who cancels, they begin as canceled.
func (d *Dispatcher) writeGroup(ctx context.Context, n int64, canceledBy string) (*group, error) {
	var g *group
	err := d.store.Update(context.WithoutCancel(ctx), ledger.Issues, func(tx ledger.Tx) error {
		g = &group{d: d, tx: tx, now: d.now(), canceledBy: canceledBy}
		return g.run(n)
	})
	if err != nil {
		return nil, d.failed(err)
	}
	g.tell()
	return g, nil
}

// group is the unit of work that writes out some executions of a command.
type group struct {
	d          *Dispatcher
	tx         ledger.Tx
	now        time.Time
	canceledBy string

	took   bool
	urgent bool
	begun  []command.Execution
	visits []*visit
	ended  []command.ID
}

func (g *group) run(n int64) error {
	handles, err := g.tx.TakePending(n, writeTargets)
	if err != nil || handles == nil {
		return err
	}
	g.took = true
	c, err := g.tx.CommandN(n)
	if err != nil {
		return err
	}
	return g.begin(c, handles, func(x command.Execution) command.Execution { return g.d.begun(x, g.now) })
}

// begin adds the executions of c on some devices, as start makes them, and
// gives the devices their turn. Those without room are refused.
func (g *group) begin(c *command.Command, handles []int64, start func(command.Execution) command.Execution) error {
	if len(handles) == 0 {
		return nil
	}
	g.urgent = c.Policy.Urgent
	var xs []command.Execution
	for _, h := range handles {
		v := &visit{d: g.d, tx: g.tx, now: g.now}
		var err error
		if v.dev, err = g.tx.Device(h); err != nil {
			return err
		}
		x := command.Execution{Command: c, Device: h, Name: v.dev.Name}
		if c.Restores && c.Approval != nil { // as it was approved
			if x.Params, err = g.tx.OwnParams(c.N, h); err != nil {
				return err
			}
		}
		x = start(x)
		g.d.seals.put(&x)
		if !v.dev.RemovedAt.IsZero() && !v.dev.RemovedAt.Before(c.CreatedAt) && !x.State.Ended() { // while it waited
			x, _ = x.Step(command.Trigger{Kind: command.Withdraw, Cause: command.DeviceRemoved}, g.now)
		}
		if !x.State.Ended() && g.canceledBy == "" {
			if v.open, err = g.tx.Open(h); err != nil {
				return err
			}
			if !command.Room(v.open, c) {
				if err := g.tx.AddRefused(c.N, h, command.CodeDeviceFull); err != nil {
					return err
				}
				continue
			}
			v.open = slices.Grow(v.open, 1) // not nil: it was read
		}
		g.visits, xs = append(g.visits, v), append(xs, x)
	}
	if err := g.tx.AddExecutions(c, xs); err != nil {
		return err
	}
	g.begun = xs
	if err := g.turns(xs); err != nil {
		return err
	}
	return g.finish(c, xs)
}

// turns logs what ended before it began, and gives the others their turn.
func (g *group) turns(xs []command.Execution) error {
	visits, begun := g.visits[:0:0], xs[:0:0]
	for k, v := range g.visits {
		switch x := xs[k]; {
		case x.State.Ended():
			if err := v.log(command.EventOf(x.State), x, "", facts(command.Execution{}, x)); err != nil {
				return err
			}
			continue
		case g.canceledBy != "":
			if _, err := v.cancel(x.N, g.canceledBy); err != nil {
				return err
			}
		}
		visits, begun = append(visits, v), append(begun, xs[k])
	}
	g.visits = visits
	return giveTurns(visits, begun)
}

// finish ends a command if nothing of its last group is open: the end of what
// is will be looked at as it comes.
func (g *group) finish(c *command.Command, xs []command.Execution) error {
	if len(g.visits) > 0 {
		return nil
	}
	v := &visit{d: g.d, tx: g.tx, now: g.now}
	if err := v.endFleet(c, command.EventEnded, ""); err != nil {
		return err
	}
	g.ended = v.ended
	return nil
}

// restTimes is how many times as long as a group took others have the writer for
// themselves. What it costs and what single commands gain: docs/bench.md.
const restTimes = 2

// rest leaves the writer to others, after a group that was asked for at begun.
func (g *group) rest(ctx context.Context, begun time.Time) {
	if !g.urgent {
		sleep(ctx, min(restTimes*time.Since(begun), pause))
	}
}

// tell tells what was committed.
func (g *group) tell() {
	for _, v := range g.visits {
		g.d.tell(v)
	}
	g.d.waits.tell(g.ended)
}
