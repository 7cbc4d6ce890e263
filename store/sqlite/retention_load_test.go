package sqlite_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"behest/command"
	"behest/command/ledger"
)

// pastLife adds commands that are over, with two events and a report each, some
// hundred to a commit.
func (l load) pastLife(count int) error {
	for left := count; left > 0; left -= 200 {
		err := l.s.Update(context.Background(), ledger.Issues, func(tx ledger.Tx) error {
			d, err := tx.DeviceNamed("device-0")
			if err != nil {
				return err
			}
			for range min(left, 200) {
				c := l.command(1, "device-0")
				x := []command.Execution{{Device: d.Handle, Name: d.Name, State: command.Canceled, QueuedAt: c.CreatedAt, EndedAt: c.CreatedAt}}
				e := command.Event{Type: command.EventIssued, At: c.CreatedAt}
				err := errors.Join(err, tx.AddCommand(c, x), tx.AddReport(x[0].N, command.PastReport{At: c.CreatedAt}), tx.Log(e), tx.Log(e))
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// latencies has some devices issued commands, one after the other each, until
// stop, and answers with how long each took to be on disk, sorted.
func latencies(t *testing.T, l load, devices int, stop *atomic.Bool) (all []time.Duration) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for d := range devices {
		wg.Go(func() {
			for n := 0; !stop.Load(); n++ {
				begun := time.Now()
				if err := l.fleetOn(d); err != nil {
					t.Error(err)
					return
				}
				took := time.Since(begun)
				mu.Lock()
				all = append(all, took)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(all)
	return all
}

// fleetOn issues a command on one device, which is over at once.
func (l load) fleetOn(d int) error {
	return l.s.Update(context.Background(), ledger.Issues, func(tx ledger.Tx) error {
		dev, err := tx.Device(int64(d + 1))
		if err != nil {
			return err
		}
		c := l.command(1, dev.Name)
		x := []command.Execution{{Device: dev.Handle, Name: dev.Name, State: command.Canceled, QueuedAt: c.CreatedAt, EndedAt: c.CreatedAt}}
		return errors.Join(tx.AddCommand(c, x), tx.Log(command.Event{Type: command.EventIssued, At: c.CreatedAt, CommandN: c.N}))
	})
}

// TestIssuingWhileMuchIsRemoved prints what removal costs those who issue: the
// same load with and without it, on the same store.
func TestIssuingWhileMuchIsRemoved(t *testing.T) {
	if !testing.Verbose() {
		t.Skip("it measures, and says what with -v alone")
	}
	const devices, past = 8, 2000
	s, l, _ := loaded(t, devices)
	if err := l.pastLife(past); err != nil {
		t.Fatal(err)
	}
	measure := func(while func()) []time.Duration {
		var stop atomic.Bool
		go func() {
			while()
			stop.Store(true)
		}()
		return latencies(t, l, devices, &stop)
	}
	measure(func() { time.Sleep(200 * time.Millisecond) }) // warm
	quiet := measure(func() { time.Sleep(2 * time.Second) })
	begun := time.Now()
	var removed ledger.Removed
	busy := measure(func() { removed = retain(t, s, 1) })
	took := time.Since(begun)
	at := func(all []time.Duration, percent int) time.Duration { return all[(len(all)-1)*percent/100] }
	t.Logf("%d commands, %d reports and %d events went in %s, %.0f rows a second", removed.Commands, removed.Reports, removed.Events,
		took.Round(time.Millisecond), float64(removed.Commands+removed.Reports)/took.Seconds())
	for _, percent := range []int{50, 90, 99} {
		t.Logf("issue, %d %%: %s without, %s with removal, %.2f times", percent, at(quiet, percent).Round(10*time.Microsecond),
			at(busy, percent).Round(10*time.Microsecond), float64(at(busy, percent))/float64(at(quiet, percent)))
	}
	if removed.Commands < past/2 {
		t.Errorf("only %d commands went", removed.Commands)
	}
}
