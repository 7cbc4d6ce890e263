package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

func testSight(t *testing.T, e Engine) {
	each(t, e, []testCase{
		{"DevicesByPages", sightDevicesByPages},
		{"CommandsAreSeenByTheirDevices", sightCommandsByDevices},
		{"CommandsByPages", sightCommandsByPages},
		{"EventsAreSeenByWhatTheyAreAbout", sightEvents},
		{"WhatIsRemovedIsNobodys", sightRemoved},
	})
}

// siteA is a reader who sees the devices of site a.
func siteA(labels map[string]string) bool { return labels["site"] == "a" }

// sites adds devices, each of the site that its first letter names.
func sites(r *rig, names ...string) {
	r.t.Helper()
	r.do(func(tx ledger.Tx) error {
		for _, name := range names {
			d := aDevice(name)
			d.Labels = map[string]string{"site": name[:1], "name": name}
			if err := tx.AddDevice(&d); err != nil {
				return err
			}
		}
		return nil
	})
}

func sightDevicesByPages(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	var names, want []string
	for n := range 2500 { // more than one look
		name := fmt.Sprintf("b%04d", n)
		if n%100 == 7 {
			name = fmt.Sprintf("a%04d", n)
		}
		names = append(names, name)
		if name[0] == 'a' {
			want = append(want, name)
		}
	}
	sites(r, names...)
	for _, size := range []int{1, 7, 24, 25, 26, 500} {
		var got []string
		for after, more := "", true; more; {
			var views []device.View
			var err error
			views, more, err = r.Devices(ctx, device.Filter{After: after, Limit: size, Sees: siteA})
			if err != nil {
				t.Fatal(err)
			}
			if more && len(views) != size {
				t.Errorf("a page of %d has %d", size, len(views))
			}
			for _, v := range views {
				got, after = append(got, v.Name), v.Name
			}
		}
		diff(t, got, want)
	}
	all := func(map[string]string) bool { return true }
	seen, _, err := r.Devices(ctx, device.Filter{Limit: 100, Label: map[string]string{"name": "b0003"}, Sees: all})
	if err != nil {
		t.Fatal(err)
	}
	diff(t, seen, []device.View{must(r.Device(ctx, "b0003"))(t)})
	none, more, err := r.Devices(ctx, device.Filter{Label: map[string]string{"name": "b0003"}, Sees: siteA})
	if err != nil || more || len(none) > 0 {
		t.Errorf("got %v, %v, %v", none, more, err)
	}
}

// shown are the commands of a page, by their number.
func shown(t *testing.T, r *rig, f command.Filter) (ns []int64, more bool) {
	t.Helper()
	views, more, err := r.Commands(context.Background(), f)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range views {
		ns = append(ns, v.Command.N)
	}
	return ns, more
}

func sightCommandsByDevices(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	sites(r, "a1", "a2", "b1", "b2")
	byName := make(map[string]int64)
	mine, theirs := aCommand(1, "a1"), aCommand(2, "b1")
	both, beyond, waits, full := aCommand(3, "b1", "a2", "b2"), aCommand(4, "b1", "b2"), aCommand(5, "b1", "a1"), aCommand(6, "b1", "a1", "b2")
	r.do(func(tx ledger.Tx) error {
		for _, name := range []string{"a1", "a2", "b1", "b2"} {
			d, err := tx.DeviceNamed(name)
			if err != nil {
				return err
			}
			byName[name] = d.Handle
		}
		for _, c := range []*command.Command{mine, theirs, both, beyond} {
			if _, err := issue(tx, c); err != nil {
				return err
			}
		}
		if err := tx.AddCommand(waits, nil); err != nil {
			return err
		}
		if err := tx.AddPending(waits.N, [][]int64{{byName["b1"]}, {byName["a1"]}}); err != nil {
			return err
		}
		if err := tx.AddCommand(full, nil); err != nil {
			return err
		}
		for _, name := range full.Targets.Devices {
			if err := tx.AddRefused(full.N, byName[name], command.CodeDeviceFull); err != nil {
				return err
			}
		}
		return nil
	})
	got, more := shown(t, r, command.Filter{Sees: siteA})
	diff(t, got, []int64{full.N, waits.N, both.N, mine.N})
	diff(t, more, false)
	got, _ = shown(t, r, command.Filter{Sees: siteA, Device: "a1"})
	diff(t, got, []int64{mine.N})
	got, _ = shown(t, r, command.Filter{Sees: siteA, Device: "b1"}) // it would tell what b1 is a target of
	diff(t, len(got), 0)
	got, _ = shown(t, r, command.Filter{Sees: siteA, RequestedBy: "bob"})
	diff(t, len(got), 0)

	for _, c := range []*command.Command{theirs, beyond} {
		_, err := r.CommandSeen(ctx, c.ID, siteA)
		wantCode(t, err, command.CodeNotFound)
		_, _, err = r.ExecutionsSeen(ctx, c.ID, "", 0, 10, siteA)
		wantCode(t, err, command.CodeNotFound)
	}
	diff(t, must(r.CommandSeen(ctx, mine.ID, siteA))(t), must(r.Command(ctx, mine.ID))(t))
	for _, c := range []*command.Command{both, waits, full} {
		want := must(r.Command(ctx, c.ID))(t)
		want.Command.Targets.Devices = slices.DeleteFunc(want.Command.Targets.Devices, func(name string) bool { return name[:1] != "a" })
		want.Refused = slices.DeleteFunc(want.Refused, func(f command.Refusal) bool { return f.Device[:1] != "a" })
		want.Command.Devices, want.Tally = 1, command.Tally{}
		switch c {
		case both:
			want.Tally.AddN(command.Queued, command.EffectNone, false, 1)
		case waits:
			want.Tally.Pending = 1
		}
		diff(t, must(r.CommandSeen(ctx, c.ID, siteA))(t), want)
	}
	diff(t, must(r.CommandSeen(ctx, both.ID, nil))(t), must(r.Command(ctx, both.ID))(t))

	xs, more, err := r.ExecutionsSeen(ctx, both.ID, "", 0, 10, siteA)
	if err != nil || more || len(xs) != 1 || xs[0].Name != "a2" {
		t.Errorf("got %+v, %v, %v", xs, more, err)
	}
	xs, _, err = r.ExecutionsSeen(ctx, both.ID, "", 0, 10, nil)
	if err != nil || len(xs) != 3 {
		t.Errorf("who sees all sees %d executions, %v", len(xs), err)
	}
	xs, more, err = r.ExecutionsSeen(ctx, both.ID, "", 0, 2, func(map[string]string) bool { return true })
	if err != nil || len(xs) != 2 || !more {
		t.Errorf("a page of two has %d, more: %v, %v", len(xs), more, err)
	}
}

func sightCommandsByPages(t *testing.T, e Engine) {
	r := start(t, e)
	sites(r, "a", "b")
	var want []int64
	for from := 0; from < 2200; from += 200 { // more than one look
		r.do(func(tx ledger.Tx) error {
			for n := from; n < from+200; n++ {
				name := "b"
				if n%97 == 5 {
					name = "a"
				}
				c := aCommand(n, name)
				if name == "a" {
					c.Type = "fan.set"
				}
				// Canceled before it left: a device takes only so many open ones.
				x := command.Execution{Command: c, State: command.Queued, QueuedAt: c.CreatedAt}
				d, err := tx.DeviceNamed(name)
				if err != nil {
					return err
				}
				x.Device, x.Name = d.Handle, name
				x, _ = x.Step(command.Trigger{Kind: command.Cancel}, c.CreatedAt)
				if err := tx.AddCommand(c, []command.Execution{x}); err != nil {
					return err
				}
				if name == "a" {
					want = append(want, c.N)
				}
			}
			return nil
		})
	}
	slices.Reverse(want)
	for _, size := range []int{1, 5, len(want) - 1, len(want), len(want) + 1, 500} {
		var got []int64
		f := command.Filter{Limit: size, Sees: siteA, State: "canceled"}
		for more := true; more; {
			var some []int64
			some, more = shown(t, r, f)
			if more && len(some) != size {
				t.Errorf("a page of %d has %d", size, len(some))
			}
			if got = append(got, some...); len(some) > 0 {
				f.Before = some[len(some)-1]
			}
		}
		diff(t, got, want)
		got = nil
		for _, x := range collectExecutions(t, r, command.ExecutionFilter{Limit: size, Sees: siteA, States: []command.State{command.Canceled}}) {
			got = append(got, x.N)
		}
		diff(t, got, want)
		got = nil
		for _, x := range collectExecutions(t, r, command.ExecutionFilter{Limit: size, Type: "fan.set"}) {
			got = append(got, x.N)
		}
		diff(t, got, want)
	}
}

func sightEvents(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	sites(r, "a1", "b1", "b2")
	both, theirs := aCommand(1, "b1", "a1"), aCommand(2, "b1", "b2")
	r.do(func(tx ledger.Tx) error {
		for _, c := range []*command.Command{both, theirs} {
			if _, err := issue(tx, c); err != nil {
				return err
			}
		}
		a, err := tx.DeviceNamed("a1")
		if err != nil {
			return err
		}
		b, err := tx.DeviceNamed("b1")
		if err != nil {
			return err
		}
		for i, ev := range []command.Event{
			{Type: "device.edited", Device: a.Handle}, {Type: "device.edited", Device: b.Handle},
			{Type: "command.created", CommandN: both.N}, {Type: "command.created", CommandN: theirs.N},
			{Type: "execution.sent", CommandN: both.N, Device: a.Handle}, {Type: "execution.sent", CommandN: both.N, Device: b.Handle},
			{Type: "execution.sent", CommandN: theirs.N, Device: b.Handle}, {Type: "command.ended", CommandN: 999},
			{Type: "type.declared"}, {Type: "group.changed"}, {Type: "user.changed"}, {Type: "token.created"}, {Type: "webhook.changed"}, {Type: "typewriter"},
		} {
			ev.At = at(i)
			if err := tx.Log(ev); err != nil {
				return err
			}
		}
		return nil
	})
	read := func(f command.EventFilter, limit int) (lines []string) {
		t.Helper()
		for after, ended := (command.Place{}), false; !ended; {
			events, next, err := r.Events(ctx, after, f, limit)
			if err != nil {
				t.Fatal(err)
			}
			for _, ev := range events {
				about := ev.Name
				if ev.Command == both.ID {
					about += "+both"
				}
				lines = append(lines, string(ev.Type)+" "+about)
			}
			ended, after = next == after, next
		}
		return lines
	}
	want := []string{"device.edited a1", "command.created +both", "execution.sent a1+both", "type.declared ", "group.changed "}
	for _, limit := range []int{1, 2, 100} {
		diff(t, read(command.EventFilter{Sees: siteA}, limit), want)
	}
	diff(t, read(command.EventFilter{Sees: siteA, Command: both.ID}, 100), want[1:3])
	diff(t, len(read(command.EventFilter{Sees: siteA, Device: "b1"}, 100)), 0)
	diff(t, len(read(command.EventFilter{Sees: siteA, Command: theirs.ID}, 100)), 0)
	diff(t, len(read(command.EventFilter{}, 100)), 14)
}

// Nothing says any more whose a removed device was. A reader whose selector is
// fulfilled by no labels at all must not see it for that.
func sightRemoved(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	sites(r, "a1", "b1")
	c := aCommand(1, "b1")
	r.do(func(tx ledger.Tx) error {
		if _, err := issue(tx, c); err != nil {
			return err
		}
		d, err := tx.DeviceNamed("b1")
		if err != nil {
			return err
		}
		d.Labels, d.RemovedAt = nil, at(5)
		if err := tx.Log(command.Event{Type: "device.removed", At: at(5), Device: d.Handle}); err != nil {
			return err
		}
		return tx.SaveDevice(&d)
	})
	notB := func(labels map[string]string) bool { return labels["site"] != "b" }
	got, _ := shown(t, r, command.Filter{Sees: notB})
	diff(t, len(got), 0)
	_, err := r.CommandSeen(ctx, c.ID, notB)
	wantCode(t, err, command.CodeNotFound)
	events, _, err := r.Events(ctx, command.Place{}, command.EventFilter{Sees: notB}, 10)
	if err != nil || len(events) > 0 {
		t.Errorf("got %v, %v", events, err)
	}
	views, _, err := r.Devices(ctx, device.Filter{Sees: notB})
	if err != nil || len(views) != 1 || views[0].Name != "a1" {
		t.Errorf("got %v, %v", views, err)
	}
}
