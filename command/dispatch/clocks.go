package dispatch

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"behest/command"
	"behest/command/ledger"
)

// runClocks lapses the clocks of executions as they run out.
func (d *Dispatcher) runClocks(ctx context.Context) error {
	for {
		next, err := d.lapseDue(ctx)
		if err != nil && ctx.Err() == nil {
			d.log.Warn("lapsing clocks", "err", err)
			next = d.now().Add(pause)
		}
		if !d.lapse.wait(ctx, next) {
			return nil
		}
	}
}

// lapseDue lapses what is due, and answers when it has to be called again.
func (d *Dispatcher) lapseDue(ctx context.Context) (time.Time, error) {
	for {
		due, next, err := d.store.Due(ctx, d.now(), groupMax)
		if err != nil || len(due) == 0 {
			return next, err
		}
		byDevice := map[int64][]int64{}
		for _, x := range due {
			byDevice[x.Device] = append(byDevice[x.Device], x.N)
		}
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(parallelMax)
		for device, ns := range byDevice {
			g.Go(func() error { return d.lapseOn(gctx, device, ns) })
		}
		if err := g.Wait(); err != nil {
			return time.Time{}, err
		}
	}
}

// lapseOn lapses executions of one device, and gives it its turn: what they
// kept waiting may go.
func (d *Dispatcher) lapseOn(ctx context.Context, device int64, ns []int64) error {
	_, err := d.visit(ctx, ledger.Expiries, byHandle(device), func(v *visit) error {
		for _, n := range ns {
			x, err := v.tx.Execution(n)
			if err != nil {
				return err
			}
			when, kind := x.Deadline()
			if when.IsZero() || v.now.Before(when) {
				continue // it moved meanwhile, and another clock bounds it now
			}
			t := command.Trigger{Kind: kind}
			if kind == command.DeliverLapse {
				if t.Cause, err = v.undelivered(x); err != nil {
					return err
				}
			}
			if _, err := v.step(x, t); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("lapse clocks of device %d: %w", device, err)
	}
	return nil
}

// undelivered says why x, which lapses now, never left for the device.
func (v *visit) undelivered(x command.Execution) (command.Cause, error) {
	open, err := v.tx.Open(v.dev.Handle)
	if err != nil {
		return command.NoCause, err
	}
	switch {
	case !v.dev.Registered():
		return command.NeverRegistered, nil
	case !v.dev.Observing():
		return command.NotObserving, nil
	case !v.dev.Online(v.now):
		return command.Unreachable, nil
	case !v.d.opens(x, v.now).IsZero():
		return command.OutsideWindow, nil
	case v.dev.Asleep(v.now):
		return command.Asleep, nil
	}
	for _, x := range open {
		if x.State.OnWire() {
			return command.BehindOtherCommand, nil
		}
	}
	return command.Unreachable, nil
}

// RFC 7641 4.5 asks for a confirmable notification at least once a day, so that
// nobody is notified for ever who is not there any more.
const (
	quietAfter = 23 * time.Hour // with an hour to look around in
	quietEvery = time.Hour
)

// runQuiet sends each observer that was not heard of for a day its list anew.
func (d *Dispatcher) runQuiet(ctx context.Context) error {
	for {
		sleep(ctx, quietEvery)
		if ctx.Err() != nil {
			return nil
		}
		if err := d.askQuiet(ctx, d.now().Add(-quietAfter)); err != nil && ctx.Err() == nil {
			d.log.Warn("asking quiet devices", "err", err)
		}
	}
}

func (d *Dispatcher) askQuiet(ctx context.Context, before time.Time) error {
	for after := int64(0); ; {
		handles, err := d.store.Quiet(ctx, before, after, groupMax)
		if err != nil || len(handles) == 0 {
			return err
		}
		for _, h := range handles {
			_, err := d.visit(ctx, ledger.Deliveries, byHandle(h), func(v *visit) error {
				v.revived = v.dev.Online(v.now)
				return nil
			})
			if err != nil {
				return err
			}
		}
		after = handles[len(handles)-1]
	}
}
