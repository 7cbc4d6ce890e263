package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// staged is the n-th command of a test, for some devices that go in waves.
func staged(n int, names ...string) *command.Command {
	c := aCommand(n, names...)
	c.Rollout = &command.Rollout{Waves: []command.Wave{{Count: 1}}, WaveWithin: time.Minute}
	return c
}

// hold adds c, all of whose devices are pending behind a gate.
func hold(tx ledger.Tx, c *command.Command, look time.Time) (command.Gate, error) {
	var handles []int64
	for _, name := range c.Targets.Devices {
		d, err := tx.DeviceNamed(name)
		if err != nil {
			return command.Gate{}, err
		}
		handles = append(handles, d.Handle)
	}
	if err := tx.AddCommand(c, nil); err != nil {
		return command.Gate{}, err
	}
	if err := tx.AddPending(c.N, [][]int64{handles}); err != nil {
		return command.Gate{}, err
	}
	g := command.NewGate(c, c.CreatedAt)
	return g, tx.AddGate(&g, look)
}

func testGates(t *testing.T, e Engine) {
	each(t, e, []testCase{
		{"EveryFieldComesBack", gateEveryFieldComesBack},
		{"ListedWhenTheyAreDue", gateListedWhenTheyAreDue},
		{"SavedByVersionUntilDone", gateSavedByVersionUntilDone},
		{"PendingIsTakenInParts", gatePendingIsTakenInParts},
		{"PendingIsDroppedByDevice", gatePendingIsDroppedByDevice},
		{"ShownWithItsCommand", gateShownWithItsCommand},
	})
}

func gateEveryFieldComesBack(t *testing.T, e Engine) {
	r := start(t, e)
	withDevices(r, "a", "b")
	c := staged(1, "a", "b")
	var g command.Gate
	fill(&g, "Command", "Version")
	g.Command, g.State, g.Ending, g.From = c, command.GateClosed, command.HoldLapse, command.Scheduled
	g.Through = c.Devices                        // a gate that let more through would be found out
	g.PacedAt = at(5).Add(60 * time.Microsecond) // what a rate leaves
	r.do(func(tx ledger.Tx) error {
		if _, err := hold(tx, c, time.Time{}); err != nil {
			return err
		}
		g.Version = 1
		return tx.SaveGate(&g, at(9))
	})
	r.restart()
	lean := *c
	lean.Targets = command.Targets{}
	want := g
	want.Command = &lean
	r.do(func(tx ledger.Tx) error {
		got, err := tx.Gate(c.N)
		diff(t, got, want)
		return err
	})
	got, tally, err := r.GateTally(context.Background(), c.N)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, got, want)
	diff(t, tally, command.Tally{Pending: 2})
}

func gateListedWhenTheyAreDue(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	withDevices(r, "a", "b")
	looks := []time.Time{at(30), {}, at(10), at(20).Add(time.Microsecond), at(10)}
	rows := make([]int64, len(looks))
	for i, look := range looks {
		c := staged(i, "a", "b")
		r.do(func(tx ledger.Tx) error { _, err := hold(tx, c, look); return err })
		rows[i] = c.N
	}
	due := func(now time.Time, limit int, want []int64, wantNext time.Time) {
		t.Helper()
		got, next, err := r.GatesDue(ctx, now, limit)
		if err != nil {
			t.Fatal(err)
		}
		diff(t, got, want)
		diff(t, next, wantNext)
	}
	due(at(9), 10, nil, at(10))
	late := at(20).Add(time.Millisecond) // never before its time
	due(at(10), 10, []int64{rows[2], rows[4]}, late)
	due(at(10), 1, []int64{rows[2]}, late)
	due(at(20), 10, []int64{rows[2], rows[4]}, late)
	due(at(99), 10, []int64{rows[2], rows[4], rows[3], rows[0]}, time.Time{})
	diff(t, must(r.Gates(ctx, 0, 10))(t), rows)
	diff(t, must(r.Gates(ctx, rows[1], 2))(t), rows[2:4])
	diff(t, must(r.Pending(ctx, 10))(t), []int64(nil))
}

func gateSavedByVersionUntilDone(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	withDevices(r, "a", "b")
	c := staged(1, "a", "b")
	var g command.Gate
	r.refused(command.CodeNotFound, func(tx ledger.Tx) error { _, err := tx.Gate(99); return err })
	r.do(func(tx ledger.Tx) (err error) { g, err = hold(tx, c, at(9)); return err })
	r.refused(command.CodeConflict, func(tx ledger.Tx) error { twin := g; return tx.AddGate(&twin, at(9)) })
	stale := g
	g.Through, g.State = 1, command.GatePaused
	r.do(func(tx ledger.Tx) error { return tx.SaveGate(&g, at(8)) })
	if g.Version != 2 {
		t.Errorf("saved once, its version is %d", g.Version)
	}
	r.refused(command.CodeConflict, func(tx ledger.Tx) error { old := stale; return tx.SaveGate(&old, at(7)) })
	stale.State = command.GateDone
	r.refused(command.CodeConflict, func(tx ledger.Tx) error { old := stale; return tx.SaveGate(&old, at(7)) })
	r.do(func(tx ledger.Tx) error {
		got, err := tx.Gate(c.N)
		diff(t, got.State, command.GatePaused)
		return err
	})
	g.State = command.GateDone
	r.do(func(tx ledger.Tx) error { return tx.SaveGate(&g, at(8)) })
	r.refused(command.CodeNotFound, func(tx ledger.Tx) error { _, err := tx.Gate(c.N); return err })
	_, _, err := r.GateTally(ctx, c.N)
	wantCode(t, err, command.CodeNotFound)
	diff(t, must(r.Gates(ctx, 0, 10))(t), []int64(nil))
	diff(t, must(r.Pending(ctx, 10))(t), []int64{c.N}) // nothing holds it back any more
}

// gatePendingIsTakenInParts lets devices through in other numbers than those
// in which they are kept.
func gatePendingIsTakenInParts(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	names := []string{"a", "b", "c", "d", "e"}
	withDevices(r, names...)
	c := staged(1, names...)
	held := func() (names []string) {
		t.Helper()
		err := r.Held(ctx, c.N, func(d device.Device) error {
			names = append(names, fmt.Sprint(d.Name, d.Labels["of"]))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(names)
		return names
	}
	r.do(func(tx ledger.Tx) error {
		d, err := tx.DeviceNamed("b")
		if err != nil {
			return err
		}
		d.Labels = map[string]string{"of": "!"}
		if err := tx.SaveDevice(&d); err != nil {
			return err
		}
		if err := tx.AddCommand(c, nil); err != nil {
			return err
		}
		g := command.NewGate(c, at(1))
		if err := tx.AddGate(&g, at(1)); err != nil {
			return err
		}
		return tx.AddPending(c.N, [][]int64{{3, 1, 2}, {5, 4}})
	})
	for _, step := range []struct {
		limit int
		want  []int64
		left  []string
	}{
		{2, []int64{3, 1}, []string{"b!", "d", "e"}},
		{2, []int64{2}, []string{"d", "e"}}, // at most a group
		{1, []int64{5}, []string{"d"}},
		{9, []int64{4}, nil},
		{9, nil, nil},
	} {
		r.restart()
		r.do(func(tx ledger.Tx) error {
			got, err := tx.TakePending(c.N, step.limit)
			diff(t, got, step.want)
			if err != nil {
				return err
			}
			for _, h := range got {
				if err := tx.AddRefused(c.N, h, command.CodeDeviceFull); err != nil {
					return err
				}
			}
			return nil
		})
		diff(t, held(), step.left)
	}
}

// gatePendingIsDroppedByDevice takes devices out of the middle of what is
// pending, and of nothing else.
func gatePendingIsDroppedByDevice(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	names := []string{"a", "b", "c", "d", "e"}
	withDevices(r, names...)
	var all []*command.Command
	for n := range 3 {
		c := staged(n+1, names...)
		all = append(all, c)
		r.do(func(tx ledger.Tx) error {
			if err := tx.AddCommand(c, nil); err != nil {
				return err
			}
			if n != 1 { // the other is held back by nothing
				g := command.NewGate(c, at(1))
				if err := tx.AddGate(&g, at(1)); err != nil {
					return err
				}
			}
			return tx.AddPending(c.N, [][]int64{{3, 1, 2}, {5, 4}})
		})
	}
	first, second, third := all[0].N, all[1].N, all[2].N
	diff(t, must(r.Pending(ctx, 10))(t), []int64{second})
	diff(t, must(r.Holding(ctx, 5))(t), []int64{first, second, third})
	diff(t, must(r.Holding(ctx, 9))(t), []int64(nil))
	for _, step := range []struct {
		drop, want []int64
	}{
		{[]int64{1, 5}, []int64{1, 5}},
		{[]int64{1, 9}, nil}, // not any more, and never
		{[]int64{4, 2, 3}, []int64{2, 3, 4}},
		{[]int64{4}, nil},
	} {
		r.restart()
		r.do(func(tx ledger.Tx) error {
			got, err := tx.DropPending(first, step.drop)
			slices.Sort(got)
			diff(t, got, step.want)
			for _, h := range got {
				if err := tx.AddRefused(first, h, command.CodeDeviceFull); err != nil {
					return err
				}
			}
			return err
		})
	}
	diff(t, must(r.Holding(ctx, 3))(t), []int64{second, third})
	diff(t, must(r.Command(ctx, all[0].ID))(t).Tally.Pending, 0)
	diff(t, must(r.Command(ctx, all[2].ID))(t).Tally.Pending, 5)
}

// gateShownWithItsCommand looks at commands as readers do.
func gateShownWithItsCommand(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	withDevices(r, "a", "b")
	one := aCommand(1, "a") // has a gate that only watches
	one.Automatic = &command.Threshold{Percent: 50, Minimum: 1}
	r.do(func(tx ledger.Tx) error {
		if _, err := issue(tx, one); err != nil {
			return err
		}
		g := command.NewGate(one, at(1))
		return tx.AddGate(&g, at(1))
	})
	if v := must(r.Command(ctx, one.ID))(t); v.Gate != nil || v.State() != "queued" {
		t.Errorf("a command on one device is %s and shows the gate %+v", v.State(), v.Gate)
	}
	states := []command.GateState{command.GateAwaiting, command.GateScheduled, command.GateOpen, command.GatePaused, command.GateHalted, command.GateClosed}
	var gates []command.Gate
	for i, s := range states {
		c := staged(i+2, "a", "b")
		if s == command.GateAwaiting {
			c.Approval = &command.Demand{Approvers: 1, Role: command.ApproverRole}
		}
		r.do(func(tx ledger.Tx) error {
			g, err := hold(tx, c, time.Time{})
			if err != nil {
				return err
			}
			g.State = s
			gates = append(gates, g)
			return tx.SaveGate(&gates[i], time.Time{})
		})
		v := must(r.Command(ctx, c.ID))(t)
		diff(t, v, command.View{Command: c, Tally: command.Tally{Pending: 2}, Gate: &gates[i]})
		picked, _, err := r.Commands(ctx, command.Filter{State: v.State()})
		if err != nil || !slices.ContainsFunc(picked, func(p command.View) bool { return p.Command.N == c.N }) {
			t.Errorf("%s: not among the %d that are in that state, %v", v.State(), len(picked), err)
		}
	}
	for _, state := range []string{"paused", "halted", "scheduled", "awaiting_approval"} {
		picked, _, err := r.Commands(ctx, command.Filter{State: state})
		if err != nil || len(picked) != 1 || picked[0].Gate.State.String() != state {
			t.Errorf("%s: %d are, %v", state, len(picked), err)
		}
	}
}
