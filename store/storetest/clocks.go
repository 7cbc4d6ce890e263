package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"behest/command"
	"behest/command/ledger"
)

func testClocks(t *testing.T, e Engine) {
	each(t, e, []testCase{
		{"DueInTheOrderOfTheirClocks", clockDueInTheOrderOfTheirClocks},
		{"BusyAreThoseWithOpenExecutions", clockBusyAreThoseWithOpenExecutions},
	})
}

func clockDueInTheOrderOfTheirClocks(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	withDevices(r, "p", "q")
	var xs []command.Execution
	for n, minutes := range []int{30, 10, 20, 10, 40} {
		c := aCommand(n+1, []string{"p", "q"}[n%2])
		c.CreatedAt = epoch
		c.Clocks.DeliverWithin = time.Duration(minutes) * time.Minute
		r.do(func(tx ledger.Tx) error {
			added, err := issue(tx, c)
			xs = append(xs, added...)
			return err
		})
	}
	due := func(minutes, limit int, want []int, next time.Time) {
		t.Helper()
		got, when, err := r.Due(ctx, epoch.Add(time.Duration(minutes)*time.Minute), limit)
		if err != nil {
			t.Fatal(err)
		}
		var list []ledger.Due
		for _, i := range want {
			list = append(list, ledger.Due{N: xs[i].N, Device: xs[i].Device})
		}
		diff(t, got, list)
		diff(t, when, next)
	}
	minute := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Minute) }
	due(9, 10, nil, minute(10))
	due(10, 10, []int{1, 3}, minute(20))
	due(39, 10, []int{1, 3, 2, 0}, minute(40))
	due(39, 2, []int{1, 3}, minute(40))
	due(40, 10, []int{1, 3, 2, 0, 4}, time.Time{})

	// A move sets another clock, the last one none.
	r.do(func(tx ledger.Tx) error { return release(tx, &xs[1], minute(1)) })
	due(10, 10, []int{3}, minute(15)) // deliver_within and run_for
	r.do(func(tx ledger.Tx) error { return succeed(tx, &xs[1], minute(2)) })
	due(20, 10, []int{3, 2}, minute(30))
}

func clockBusyAreThoseWithOpenExecutions(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	var names []string
	for i := range 10 {
		names = append(names, fmt.Sprint("p", i))
	}
	withDevices(r, names...)
	var want []int64
	for i, name := range names {
		r.do(func(tx ledger.Tx) error {
			if i%3 == 1 {
				return nil
			}
			xs, err := issue(tx, aCommand(10*i+1, name))
			if err != nil {
				return err
			}
			if i%3 == 2 {
				return step(tx, &xs[0], command.Trigger{Kind: command.Cancel}, at(200))
			}
			want = append(want, xs[0].Device)
			_, err = issue(tx, aCommand(10*i+2, name))
			return err
		})
	}
	var got []int64
	for after := int64(0); ; {
		page, err := r.Busy(ctx, after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		got = append(got, page...)
		after = page[len(page)-1]
	}
	slices.Sort(want)
	diff(t, got, want)
}
