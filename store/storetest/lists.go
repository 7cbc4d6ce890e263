package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"behest/command"
	"behest/command/ledger"
)

// history issues commands of every kind and brings them to different ends. It
// answers with what a naive reader remembers of them, newest first.
func history(r *rig) (views []command.View) {
	r.t.Helper()
	withDevices(r, "a", "b", "c")
	for n := range 60 {
		c := aCommand(n, [][]string{{"a"}, {"b"}, {"a", "b"}, {"c"}, {"a", "b", "c"}}[n%5]...)
		c.Type = []string{"pump.start", "pump.stop", "fan.set"}[n%3]
		c.RequestedBy = []string{"ann", "bob", ""}[n/2%3]
		if n%4 == 0 {
			c.Labels = map[string]string{"run": fmt.Sprint(n % 8), `odd "key"`: "x"}
		}
		var xs []command.Execution
		r.do(func(tx ledger.Tx) (err error) {
			if xs, err = issue(tx, c); err != nil {
				return err
			}
			for i := range xs {
				if err := end(tx, &xs[i], n/5+i); err != nil {
					return err
				}
			}
			return nil
		})
		v := command.View{Command: c, Tally: tallyOf(xs...)}
		if len(xs) == 1 {
			v.Only = &xs[0]
		}
		views = append([]command.View{v}, views...)
	}
	return views
}

// end brings x to one of its ends, or leaves it open.
func end(tx ledger.Tx, x *command.Execution, how int) error {
	now := x.Command.CreatedAt.Add(time.Second)
	switch how % 6 {
	case 0:
		return nil
	case 1:
		return step(tx, x, command.Trigger{Kind: command.Cancel}, now)
	}
	if err := release(tx, x, now); err != nil || how%6 == 2 {
		return err
	}
	report := command.Report{Status: command.StatusSuccess}
	switch partly := command.EffectPartial; how % 6 {
	case 3:
		report = command.Report{Status: command.StatusFailure, Effect: &partly}
	case 4:
		return step(tx, x, command.Trigger{Kind: command.Withdraw, Cause: command.NotEntitled}, now.Add(time.Hour))
	}
	return step(tx, x, command.Reported(report, x.State), now.Add(time.Second))
}

func testLists(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	all := history(r)
	rows := []struct {
		name string
		f    command.Filter
		like func(command.View) bool
	}{
		{"all", command.Filter{}, func(command.View) bool { return true }},
		{"sent", command.Filter{State: "sent"}, func(v command.View) bool { return v.State() == "sent" }},
		{"canceled", command.Filter{State: "canceled"}, func(v command.View) bool { return v.State() == "canceled" }},
		{"open", command.Filter{State: "open"}, func(v command.View) bool { return v.State() == "open" }},
		{"ended", command.Filter{State: "ended"}, func(v command.View) bool { return v.State() == "ended" }},
		{"type", command.Filter{Type: "fan.set"}, func(v command.View) bool { return v.Command.Type == "fan.set" }},
		{"unknown type", command.Filter{Type: "nothing"}, func(command.View) bool { return false }},
		{"device", command.Filter{Device: "c"}, func(v command.View) bool { return isFor(v, "c") }},
		{"unknown device", command.Filter{Device: "z"}, func(command.View) bool { return false }},
		{"label", command.Filter{Label: map[string]string{"run": "4"}}, func(v command.View) bool { return v.Command.Labels["run"] == "4" }},
		{"labels", command.Filter{Label: map[string]string{"run": "0", `odd "key"`: "x"}}, func(v command.View) bool { return v.Command.Labels["run"] == "0" }},
		{"requester", command.Filter{RequestedBy: "bob"}, func(v command.View) bool { return v.Command.RequestedBy == "bob" }},
		{"after", command.Filter{CreatedAfter: at(20)}, func(v command.View) bool { return v.Command.CreatedAt.After(at(20)) }},
		{"before", command.Filter{CreatedBefore: at(20)}, func(v command.View) bool { return v.Command.CreatedAt.Before(at(20)) }},
		{"all at once", command.Filter{Outcome: command.SomeFailed, Device: "a", Type: "pump.start", CreatedAfter: at(20)}, func(v command.View) bool {
			return v.Tally.Outcome() == command.SomeFailed && isFor(v, "a") && v.Command.Type == "pump.start" && v.Command.CreatedAt.After(at(20))
		}},
	}
	for _, o := range []command.Outcome{command.AllSucceeded, command.SomeUnknown, command.NoneDone, command.SomeFailed} {
		rows = append(rows, struct {
			name string
			f    command.Filter
			like func(command.View) bool
		}{string(o), command.Filter{Outcome: o}, func(v command.View) bool { return v.Tally.Outcome() == o }})
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var want []command.View
			for _, v := range all {
				if row.like(v) {
					want = append(want, v)
				}
			}
			for _, limit := range []int{0, 1, 7, 500, 1_000_000} {
				row.f.Limit = limit
				diff(t, collect(t, r, row.f), want)
			}
			if row.name != "unknown type" && row.name != "unknown device" && (len(want) == 0 || row.name != "all" && len(want) == len(all)) {
				t.Errorf("the case picks %d of %d: it shows nothing", len(want), len(all))
			}
		})
	}
	t.Run("PagesStandStillWhileOthersIssue", func(t *testing.T) {
		f := command.Filter{Limit: 9}
		var got []command.View
		for n := 1000; ; n++ {
			page, more, err := r.Commands(ctx, f)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, page...)
			if !more {
				break
			}
			f.Before = page[len(page)-1].Command.N
			r.do(func(tx ledger.Tx) error { _, err := issue(tx, aCommand(n, "a", "c")); return err })
		}
		diff(t, got, all)
	})
}

func isFor(v command.View, name string) bool {
	for _, d := range v.Command.Targets.Devices {
		if d == name {
			return true
		}
	}
	return false
}

// collect reads all pages.
func collect(t *testing.T, r *rig, f command.Filter) (views []command.View) {
	t.Helper()
	for {
		page, more, err := r.Commands(context.Background(), f)
		if err != nil {
			t.Fatal(err)
		}
		views = append(views, page...)
		if !more {
			return views
		}
		if len(page) == 0 || f.Limit > 0 && len(page) > f.Limit {
			t.Fatalf("a page of %d has %d, and there are more", f.Limit, len(page))
		}
		f.Before = page[len(page)-1].Command.N
	}
}
