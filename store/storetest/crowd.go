package storetest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// testCrowd has hundreds of goroutines write and read at once. Each keeps
// its own device and knows what it was told.
func testCrowd(t *testing.T, e Engine) {
	const writers, rounds, readers = 300, 4, 8
	ctx := context.Background()
	r := start(t, e)
	var writing, reading sync.WaitGroup
	var stop atomic.Bool
	for i := range writers {
		writing.Go(func() {
			if err := round(r, i, rounds); err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	for range readers {
		reading.Go(func() {
			for !stop.Load() {
				views, _, err := r.Commands(ctx, command.Filter{Limit: 20})
				if err != nil {
					t.Error(err)
					return
				}
				for _, v := range views {
					if v.Only.State == command.Succeeded && v.Only.Seq == 0 {
						t.Errorf("half of a commit is seen: %+v", v.Only)
					}
				}
			}
		})
	}
	writing.Wait()
	stop.Store(true)
	reading.Wait()

	diff(t, len(collect(t, r, command.Filter{Outcome: command.AllSucceeded})), writers*rounds)
	diff(t, len(follow(t, r, command.Place{}, command.EventFilter{}, 0)), 2*writers*rounds)
	list, _, err := r.Devices(ctx, device.Filter{})
	if err != nil || len(list) != writers {
		t.Errorf("%d devices, %v", len(list), err)
	}
	t.Logf("%d writers, %d readers, %d commands", writers, readers, writers*rounds)
}

// round registers a device and takes commands round with it.
func round(r *rig, i, rounds int) error {
	ctx := context.Background()
	name := fmt.Sprint("p", i)
	err := r.Update(ctx, ledger.Registrations, func(tx ledger.Tx) error {
		d := aDevice(name)
		return tx.AddDevice(&d)
	})
	for n := 0; n < rounds && err == nil; n++ {
		c := aCommand(i*rounds+n, name)
		var x command.Execution
		err = r.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
			xs, err := issue(tx, c)
			if err != nil {
				return err
			}
			x = xs[0]
			if err := tx.Log(command.Event{Type: command.EventIssued, At: c.CreatedAt, CommandN: c.N, Device: x.Device}); err != nil {
				return err
			}
			return release(tx, &x, c.CreatedAt)
		})
		if err != nil {
			return err
		}
		err = r.Update(ctx, ledger.Reports, func(tx ledger.Tx) error {
			x, err := tx.ExecutionBySeq(x.Device, x.Seq)
			if err != nil {
				return err
			}
			if err := tx.Log(command.Event{Type: command.EventOf(command.Succeeded), At: c.CreatedAt, CommandN: c.N, Device: x.Device}); err != nil {
				return err
			}
			return succeed(tx, &x, c.CreatedAt)
		})
		if err != nil {
			return err
		}
		v, err := r.Command(ctx, c.ID)
		if err != nil {
			return err
		}
		if v.State() != "succeeded" {
			return fmt.Errorf("what was answered does not show: %s", v.State())
		}
	}
	return err
}
