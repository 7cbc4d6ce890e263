package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"behest/command"
	"behest/command/ledger"
)

// testFleets writes a command on many devices out in groups.
func testFleets(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	names := make([]string, 7)
	for i := range names {
		names[i] = fmt.Sprint("p", i)
	}
	withDevices(r, names...)
	c := aCommand(1, names...)
	var handles []int64
	var groups [][]int64
	r.do(func(tx ledger.Tx) error {
		for _, name := range names {
			d, err := tx.DeviceNamed(name)
			if err != nil {
				return err
			}
			handles = append(handles, d.Handle)
		}
		if err := tx.AddCommand(c, nil); err != nil {
			return err
		}
		// Any order, and far apart.
		groups = [][]int64{{handles[6], handles[0], handles[3]}, {handles[1], handles[2]}, {handles[5], handles[4]}}
		return tx.AddPending(c.N, groups)
	})
	r.restart()

	want := command.View{Command: c, Tally: command.Tally{Pending: 7}}
	diff(t, must(r.Command(ctx, c.ID))(t), want)
	boom := errors.New("boom")
	err := r.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
		if _, err := tx.TakePending(c.N, command.TargetsMax); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatal(err)
	}
	xs := writeOut(r, c, groups, &want.Tally)
	want.Refused = []command.Refusal{{Device: "p0", Code: command.CodeDeviceFull}, {Device: "p2", Code: command.CodeDeviceFull}, {Device: "p4", Code: command.CodeDeviceFull}}
	diff(t, must(r.Command(ctx, c.ID))(t), want)
	got, more, err := r.Executions(ctx, c.ID, "", 0, 10)
	if more || err != nil {
		t.Error(more, err)
	}
	diff(t, got, xs)
	// The third device of the first group is nowhere yet, which a sound store
	// has not.
	r.do(func(tx ledger.Tx) error {
		if group, err := tx.TakePending(c.N, command.TargetsMax); group != nil || err != nil {
			t.Errorf("pending after the last: %v, %v", group, err)
		}
		if any, err := tx.AnyPending(c.N); any || err != nil {
			t.Errorf("any pending after the last: %t, %v", any, err)
		}
		return tx.AddRefused(c.N, handles[3], command.CodeDeviceFull)
	})
	for _, want := range []bool{true, false} {
		r.do(func(tx ledger.Tx) error {
			if first, err := tx.End(c.N); first != want || err != nil {
				t.Errorf("it ends for the first time: %t, %v, want %t", first, err, want)
			}
			return nil
		})
		r.restart()
	}
	r.refused(command.CodeNotFound, func(tx ledger.Tx) error { _, err := tx.CommandN(xs[0].N); return err })
	r.refused(command.CodeNotFound, func(tx ledger.Tx) error { _, err := tx.CommandN(999); return err })
}

// writeOut takes what is pending, group by group: the first device gets an
// execution, the second is refused.
func writeOut(r *rig, c *command.Command, groups [][]int64, tally *command.Tally) (xs []command.Execution) {
	r.t.Helper()
	for _, group := range groups {
		r.do(func(tx ledger.Tx) error {
			if any, err := tx.AnyPending(c.N); !any || err != nil {
				r.t.Errorf("any pending before the last: %t, %v", any, err)
			}
			got, err := tx.TakePending(c.N, command.TargetsMax)
			diff(r.t, got, group)
			if err != nil {
				return err
			}
			byRow, err := tx.CommandN(c.N)
			lean := *c
			lean.Targets = command.Targets{}
			diff(r.t, byRow, &lean)
			if err != nil {
				return err
			}
			if err := tx.AddRefused(c.N, group[1], command.CodeDeviceFull); err != nil {
				return err
			}
			add := []command.Execution{{Device: group[0], State: command.Queued, QueuedAt: at(2)}}
			if err := tx.AddExecutions(c, add); err != nil {
				return err
			}
			x, err := tx.Execution(add[0].N)
			xs = append(xs, x)
			tally.Add(x)
			tally.Pending -= len(group)
			return err
		})
	}
	return xs
}

func testAnswers(t *testing.T, e Engine) {
	r := start(t, e)
	key, other := [32]byte{1}, [32]byte{2}
	a := ledger.Answer{Request: [32]byte{9}, At: at(1), Body: []byte(`{"id":"x"}`)}
	r.refused(command.CodeNotFound, func(tx ledger.Tx) error { _, err := tx.Answer(key); return err })
	r.do(func(tx ledger.Tx) error { return tx.KeepAnswer(key, a) })
	r.refused(command.CodeConflict, func(tx ledger.Tx) error { return tx.KeepAnswer(key, a) })
	r.restart()
	r.do(func(tx ledger.Tx) error {
		got, err := tx.Answer(key)
		diff(t, got, a)
		return err
	})
	r.refused(command.CodeNotFound, func(tx ledger.Tx) error { _, err := tx.Answer(other); return err })
}
