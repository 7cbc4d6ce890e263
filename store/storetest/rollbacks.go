package storetest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// asked is the n-th command of a test, which needs an approval.
func asked(n int, names ...string) *command.Command {
	c := aCommand(n, names...)
	c.Approval = &command.Demand{Approvers: 2, Role: command.ApproverRole}
	return c
}

// await adds c, on one device, where it waits for its approval.
func await(tx ledger.Tx, c *command.Command) (command.Execution, error) {
	d, err := tx.DeviceNamed(c.Targets.Devices[0])
	if err != nil {
		return command.Execution{}, err
	}
	xs := []command.Execution{{Device: d.Handle, Name: d.Name, State: command.AwaitingApproval}}
	err = tx.AddCommand(c, xs)
	return xs[0], err
}

func testDecisions(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	withDevices(r, "a", "b")
	c := asked(1, "a")
	said := []command.Decision{
		{User: "zoe", Approve: true, At: at(2), Digest: [32]byte{1}},
		{User: "bob", Comment: "not <today>", At: at(2), Digest: [32]byte{2}},
	}
	r.do(func(tx ledger.Tx) error {
		if _, err := await(tx, c); err != nil {
			return err
		}
		if got, err := tx.Decisions(c.N); got != nil || err != nil {
			t.Errorf("before the first: %v, %v", got, err)
		}
		for _, d := range said {
			if err := tx.AddDecision(c.N, d); err != nil {
				return err
			}
		}
		return nil
	})
	r.refused(command.CodeConflict, func(tx ledger.Tx) error { return tx.AddDecision(c.N, said[0]) })
	r.refused(command.CodeConflict, func(tx ledger.Tx) error {
		return tx.AddDecision(c.N, command.Decision{User: "zoe", At: at(3)})
	})
	r.refused(command.CodeInternal, func(tx ledger.Tx) error { return tx.AddDecision(99, said[0]) })
	r.restart()
	r.do(func(tx ledger.Tx) error {
		got, err := tx.Decisions(c.N)
		diff(t, got, said)
		return err
	})
	diff(t, must(r.Command(ctx, c.ID))(t).Decisions, said)
	list, _, err := r.Commands(ctx, command.Filter{})
	if err != nil || len(list) != 1 {
		t.Fatal(len(list), err)
	}
	diff(t, list[0].Decisions, said)
	awaiting(t, r)
}

// awaiting looks for what waits for approvals, which some do for others.
func awaiting(t *testing.T, r *rig) {
	ctx := context.Background()
	ids := func(after int64, limit int) (ids []command.ID, more bool) {
		t.Helper()
		views, more, err := r.Awaiting(ctx, after, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range views {
			if v.State() != "awaiting_approval" {
				t.Errorf("command %s awaits and is %s", v.Command.ID, v.State())
			}
			ids = append(ids, v.Command.ID)
		}
		return ids, more
	}
	many := asked(2, "a", "b")
	one, gone := asked(4, "b"), asked(5, "a")
	var x command.Execution
	r.do(func(tx ledger.Tx) error {
		if _, err := hold(tx, many, time.Time{}); err != nil {
			return err
		}
		g, err := hold(tx, staged(3, "a", "b"), time.Time{}) // for no approval
		if err != nil || g.State == command.GateAwaiting {
			return fmt.Errorf("the gate is %s, %v", g.State, err)
		}
		if _, err := await(tx, one); err != nil {
			return err
		}
		x, err = await(tx, gone)
		return err
	})
	all := []command.ID{idOf(1), many.ID, one.ID, gone.ID}
	got, more := ids(0, 10)
	diff(t, got, all)
	diff(t, more, false)
	got, more = ids(0, 2)
	diff(t, got, all[:2])
	diff(t, more, true)
	got, _ = ids(many.N, 10)
	diff(t, got, all[2:])
	got, _ = ids(one.N, 10)
	diff(t, got, all[3:])
	r.do(func(tx ledger.Tx) error {
		if err := step(tx, &x, command.Trigger{Kind: command.Deny}, at(9)); err != nil {
			return err
		}
		g, err := tx.Gate(many.N)
		if err != nil {
			return err
		}
		g, _ = g.Step(command.Trigger{Kind: command.Approve}, "bob", at(9))
		return tx.SaveGate(&g, at(9))
	})
	got, _ = ids(0, 10)
	diff(t, got, []command.ID{idOf(1), one.ID})
}

func testRollbacks(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	withDevices(r, "a", "b")
	original := aCommand(1, "a", "b")
	original.Slot = -7
	first, second := aCommand(2, "a"), aCommand(3, "a", "b")
	first.RollbackOf, second.RollbackOf = original.ID, original.ID
	r.refused(command.CodeNotFound, func(tx ledger.Tx) error { _, err := issue(tx, first); return err })
	var xs []command.Execution
	r.do(func(tx ledger.Tx) error {
		if _, err := issue(tx, original); err != nil {
			return err
		}
		if got, err := tx.Rollbacks(original.N); got != nil || err != nil {
			t.Errorf("before the first: %v, %v", got, err)
		}
		if _, err := issue(tx, first); err != nil {
			return err
		}
		var err error
		xs, err = issue(tx, second)
		return err
	})
	// What a device gets back is only known when it goes.
	r.do(func(tx ledger.Tx) error {
		xs[1].Params, xs[1].DueAt = []byte{0x18, 0x2a}, at(50)
		return tx.Save(&xs[1])
	})
	r.restart()
	r.do(func(tx ledger.Tx) error {
		rows, err := tx.Rollbacks(original.N)
		diff(t, rows, []int64{first.N, second.N})
		if err != nil {
			return err
		}
		undone, err := tx.Original(second.N)
		diff(t, undone, original.N)
		if err != nil {
			return err
		}
		x, err := tx.ExecutionOf(second.N, xs[1].Device)
		lean := *second
		lean.Targets = command.Targets{}
		want := xs[1]
		want.Command = &lean
		diff(t, x, want)
		return err
	})
	diff(t, must(r.Command(ctx, original.ID))(t).RolledBackBy, second.ID)
	diff(t, must(r.Command(ctx, second.ID))(t).RolledBackBy, command.ID{})
	r.refused(command.CodeNotFound, func(tx ledger.Tx) error { _, err := tx.ExecutionOf(first.N, xs[1].Device); return err })
	r.refused(command.CodeNotFound, func(tx ledger.Tx) error { _, err := tx.ExecutionOf(99, xs[1].Device); return err })
	r.refused(command.CodeNotFound, func(tx ledger.Tx) error { _, err := tx.Original(original.N); return err })
}

// testOwnParams keeps what devices have for themselves, as long as the gate.
func testOwnParams(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	withDevices(r, "a", "b", "c")
	original, c := aCommand(1, "a", "b", "c"), asked(2, "a", "b", "c")
	original.Slot = 5
	c.RollbackOf, c.Restores = original.ID, true
	want := []command.Target{{Device: "a", Params: []byte{1}}, {Device: "b"}, {Device: "c", Params: []byte{}}}
	r.do(func(tx ledger.Tx) error {
		if _, err := issue(tx, original); err != nil {
			return err
		}
		if _, err := hold(tx, c, time.Time{}); err != nil {
			return err
		}
		for _, own := range want {
			d, err := tx.DeviceNamed(own.Device)
			if err != nil {
				return err
			}
			if err := tx.AddOwnParams(c.N, d.Handle, own.Params); err != nil {
				return err
			}
		}
		return nil
	})
	r.restart()
	diff(t, must(r.OwnParams(ctx, c.N, 10))(t), want)
	diff(t, must(r.OwnParams(ctx, c.N, 2))(t), want[:2])
	diff(t, must(r.OwnParams(ctx, original.N, 10))(t), []command.Target(nil))
	diff(t, must(r.Command(ctx, c.ID))(t).Own, want)
	north := func(labels map[string]string) bool { return labels["site"] == "north" }
	r.do(func(tx ledger.Tx) error {
		d, err := tx.DeviceNamed("b")
		if err != nil {
			return err
		}
		d.Labels = map[string]string{"site": "north"}
		return tx.SaveDevice(&d)
	})
	diff(t, must(r.CommandSeen(ctx, c.ID, north))(t).Own, want[1:2])
	r.do(func(tx ledger.Tx) error {
		handles, err := tx.TakePending(c.N, 3)
		if err != nil {
			return err
		}
		for k, h := range handles {
			got, err := tx.OwnParams(c.N, h)
			diff(t, got, want[k].Params)
			if err != nil {
				return err
			}
			if err := tx.AddRefused(c.N, h, command.CodeDeviceFull); err != nil {
				return err
			}
		}
		got, err := tx.OwnParams(original.N, handles[0])
		diff(t, got, []byte(nil))
		return err
	})
	diff(t, must(r.OwnParams(ctx, c.N, 10))(t), want)
	r.do(func(tx ledger.Tx) error {
		g, err := tx.Gate(c.N)
		if err != nil {
			return err
		}
		g.State = command.GateDone
		return tx.SaveGate(&g, time.Time{})
	})
	diff(t, must(r.OwnParams(ctx, c.N, 10))(t), []command.Target(nil))
}

// testSlots brings commands that set the same to all ends, and asks for those
// that may have had an effect and for the last that had.
func testSlots(t *testing.T, e Engine) {
	r := start(t, e)
	withDevices(r, "a", "b")
	var xs []command.Execution // on a, in slot 5
	n := 0
	add := func(slot int64, how int, names ...string) {
		n++
		c := aCommand(n, names...)
		c.Slot = slot
		r.do(func(tx ledger.Tx) error {
			got, err := issue(tx, c)
			if err != nil {
				return err
			}
			for i := range got {
				if err := end(tx, &got[i], how); err != nil {
					return err
				}
			}
			if slot == 5 {
				xs = append(xs, got[0])
			}
			return nil
		})
		if len(xs) > 0 {
			agreeOnSlot(r, xs)
		}
	}
	for round := range 3 {
		for how := range 6 {
			add(5, how+round, "a", "b")
			add(0, how, "a")
			add(6, 5, "a")
			add(5, how+1, "a")
			add(5, how, "a", "b")
		}
	}
	t.Logf("%d executions in a slot", len(xs))
}

// agreeOnSlot asks for the last ones from either end of what a device has in
// slot 5, and around the middle.
func agreeOnSlot(r *rig, xs []command.Execution) {
	r.t.Helper()
	for _, i := range []int{0, len(xs) / 2, len(xs) - 1} {
		var younger []command.Execution
		var last command.Execution
		for _, x := range xs {
			if x.Effect != command.EffectNone && leftAfter(x, xs[i]) {
				younger = append(younger, x)
			}
			if x.State == command.Succeeded && x.Seq < xs[i].Seq && x.Seq > last.Seq {
				last = x
			}
		}
		want := rowsOf(youngestFirst(younger))
		r.do(func(tx ledger.Tx) error {
			for _, limit := range []int{1000, 2} {
				list, err := tx.Younger(xs[i], limit)
				diff(r.t, rowsOf(list), want[:min(limit, len(want))])
				if err != nil {
					return err
				}
			}
			x, err := tx.Succeeded(xs[i])
			wantRow(r.t, "the last before it that succeeded", x, err, last.N)
			other := *xs[i].Command
			other.Slot = 7
			elsewhere := xs[i]
			elsewhere.Command, elsewhere.Seq, elsewhere.N = &other, 0, 0
			list, err := tx.Younger(elsewhere, 10)
			diff(r.t, rowsOf(list), []int64{})
			return err
		})
	}
}

// leftAfter reports whether o left after x, or nobody can say.
func leftAfter(o, x command.Execution) bool {
	return o.Seq > x.Seq || o.Seq == 0 && o.N > x.N
}

func youngestFirst(xs []command.Execution) []command.Execution {
	slices.SortFunc(xs, func(a, b command.Execution) int { return cmp.Or(cmp.Compare(b.Seq, a.Seq), cmp.Compare(b.N, a.N)) })
	return xs
}

// rowsOf are the rows of executions.
func rowsOf(xs []command.Execution) []int64 {
	rows := []int64{}
	for _, x := range xs {
		rows = append(rows, x.N)
	}
	return rows
}

// wantRow wants the execution in row n, or none.
func wantRow(t testing.TB, what string, x command.Execution, err error, n int64) {
	t.Helper()
	switch {
	case n == 0 && command.CodeOf(err) == command.CodeNotFound && err != nil:
	case err != nil || x.N != n:
		t.Errorf("%s: got row %d, %v, want row %d", what, x.N, err, n)
	}
}

func testGroups(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	var want []device.Group
	for i, name := range []string{"a", "b", "ä", "🚰"} {
		g := device.Group{Name: name, Selector: "site=" + name, CreatedAt: at(i), ChangedAt: at(i + 1), ChangedBy: []string{"ann", ""}[i%2]}
		r.do(func(tx ledger.Tx) error { return tx.PutGroup(&g) })
		want = append(want, g)
	}
	again := device.Group{Name: "b", Selector: "x", CreatedAt: at(9), ChangedAt: at(9)}
	r.refused(command.CodeConflict, func(tx ledger.Tx) error { g := again; return tx.PutGroup(&g) })
	again.Version = 1
	r.do(func(tx ledger.Tx) error { return tx.PutGroup(&again) })
	if again.Version != 2 {
		t.Errorf("changed once, its version is %d", again.Version)
	}
	r.refused(command.CodeConflict, func(tx ledger.Tx) error { g := want[1]; return tx.PutGroup(&g) })
	want[1] = again
	r.restart()
	diff(t, must(r.Groups(ctx))(t), want)
	page, more, err := r.GroupPage(ctx, "a", 2)
	if err != nil || !more {
		t.Errorf("more is %v, the error %v", more, err)
	}
	diff(t, page, want[1:3])
	diff(t, must(r.GroupNamed(ctx, "b"))(t), again)
	r.do(func(tx ledger.Tx) error {
		got, err := tx.Group("b")
		diff(t, got, again)
		return err
	})
	r.do(func(tx ledger.Tx) error { return tx.RemoveGroup("b") })
	r.refused(command.CodeNotFound, func(tx ledger.Tx) error { return tx.RemoveGroup("b") })
	r.refused(command.CodeNotFound, func(tx ledger.Tx) error { _, err := tx.Group("b"); return err })
	_, err = r.GroupNamed(ctx, "b")
	wantCode(t, err, command.CodeNotFound)
}

// testPicks visits more devices than are read at a time, one of which went.
func testPicks(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	const n = 2345
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("p%d", n-i))
	}
	withDevices(r, names...)
	var want device.Device
	fill(&want, "Handle", "Name", "Version", "RemovedAt", "LastSeq", "ReportedSeq")
	r.do(func(tx ledger.Tx) error {
		gone, err := tx.DeviceNamed(names[3])
		if err != nil {
			return err
		}
		gone.RemovedAt = at(9)
		if err := tx.SaveDevice(&gone); err != nil {
			return err
		}
		d, err := tx.DeviceNamed(names[2000])
		if err != nil {
			return err
		}
		want.Handle, want.Name, want.Version = d.Handle, d.Name, d.Version
		return tx.SaveDevice(&want)
	})
	var got []string
	err := r.Pick(ctx, func(d device.Device) error {
		if d.Name == want.Name {
			want.Registration.Params, want.Registration.Links = nil, ""
			diff(t, d, want)
		}
		got = append(got, d.Name)
		return r.Health(ctx) // there is a connection for others meanwhile
	})
	if err != nil {
		t.Fatal(err)
	}
	diff(t, got, append(names[:3:3], names[4:]...))
	enough := command.Errorf(command.CodeInvalid, "enough")
	if err := r.Pick(ctx, func(device.Device) error { return enough }); err != enough {
		t.Errorf("the visitor had enough; got %v", err)
	}
}
