package dispatch

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"behest/command"
	"behest/command/ledger"
)

// carry takes along with the clock what happened while it was held, so that
// what began then lasts as long as it was to. Each device is done once or not
// at all: what is left behind, for whatever reason, lapses early.
func (d *Dispatcher) carry(ctx context.Context, j jump) {
	if j.by <= 0 {
		return
	}
	busy := func(after int64) ([]int64, error) { return d.store.Busy(ctx, after, groupMax) }
	observing := func(after int64) ([]int64, error) {
		return d.store.Quiet(ctx, j.to.Add(time.Millisecond), after, groupMax)
	}
	gates := func(after int64) ([]int64, error) { return d.store.Gates(ctx, after, groupMax) }
	device := func(handle int64) error {
		return d.giveTurn(ctx, handle, func(v *visit) error { return v.carry(j) })
	}
	gate := func(n int64) error { return d.carryGate(ctx, n, j) }
	done := map[int64]bool{}
	d.eachOnce(ctx, busy, device, done)
	d.eachOnce(ctx, observing, device, done)
	d.eachOnce(ctx, gates, gate, map[int64]bool{})
}

// eachOnce does something to what is listed, unless that is done. What fails
// is told, and not tried again: its commit may be on disk.
func (d *Dispatcher) eachOnce(ctx context.Context, list func(after int64) ([]int64, error), do func(int64) error, done map[int64]bool) {
	for after := int64(0); ; {
		some, err := list(after)
		if err != nil && ctx.Err() == nil {
			d.log.Warn("what began while the clock was held is left behind, and lapses early", "err", err)
		}
		if err != nil || len(some) == 0 {
			return
		}
		var g errgroup.Group
		g.SetLimit(parallelMax)
		for _, n := range some {
			if done[n] {
				continue
			}
			done[n] = true
			g.Go(func() error {
				if err := do(n); err != nil && ctx.Err() == nil {
					d.log.Warn("what began while the clock was held may be left behind, and lapses early", "of", n, "err", err)
				}
				return nil
			})
		}
		_ = g.Wait()
		after = some[len(some)-1]
	}
}

// shift moves the times that lie in a hold, and reports whether any did.
func (j jump) shift(times ...*time.Time) (any bool) {
	for _, t := range times {
		if t.After(j.from) && !t.After(j.to) {
			*t, any = t.Add(j.by), true
		}
	}
	return any
}

// carry takes along what is open on a device, and what it said of itself.
func (v *visit) carry(j jump) error {
	if j.shift(&v.dev.SeenAt, &v.dev.Registration.At, &v.dev.Observation.At) {
		v.dirty = true
	}
	open, err := v.tx.Open(v.dev.Handle)
	if err != nil {
		return err
	}
	for _, x := range open {
		after := x
		if !j.shift(&after.ApprovedAt, &after.QueuedAt, &after.SentAt, &after.DeliveredAt, &after.StartedAt, &after.ReportedAt, &after.CancelAckedAt) {
			continue
		}
		if err := v.store(x, &after, ""); err != nil {
			return err
		}
	}
	return nil
}

// carryGate takes along a gate.
func (d *Dispatcher) carryGate(ctx context.Context, commandN int64, j jump) error {
	err := d.store.Update(context.WithoutCancel(ctx), ledger.Issues, func(tx ledger.Tx) error {
		before, err := tx.Gate(commandN)
		if command.CodeOf(err) == command.CodeNotFound {
			return nil // it is done
		}
		after := before
		if err != nil || !j.shift(&after.ApprovedAt, &after.WaveAt, &after.PacedAt) {
			return err
		}
		now := d.now()
		return saveGate(tx, before, &after, "", now, now)
	})
	if err != nil {
		return fmt.Errorf("gate of command %d: %w", commandN, d.failed(err))
	}
	return nil
}
