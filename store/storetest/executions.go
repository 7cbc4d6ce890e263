package storetest

import (
	"context"
	"slices"
	"testing"

	"behest/command"
	"behest/command/ledger"
)

// testAllExecutions holds the list of executions against what a naive reader
// remembers of them.
func testAllExecutions(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	var all []command.Execution // the newest first
	for _, v := range history(r) {
		xs, _, err := r.Executions(ctx, v.Command.ID, "", 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(xs)
		all = append(all, xs...)
	}
	slices.SortFunc(all, func(a, b command.Execution) int { return int(b.N - a.N) })
	in := func(s ...command.State) func(command.Execution) bool {
		return func(x command.Execution) bool { return slices.Contains(s, x.State) }
	}
	open := []command.State{command.Queued, command.Sent}
	for _, row := range []struct {
		name string
		f    command.ExecutionFilter
		like func(command.Execution) bool
	}{
		{"all", command.ExecutionFilter{}, func(command.Execution) bool { return true }},
		{"open", command.ExecutionFilter{States: open}, in(open...)},
		{"ended", command.ExecutionFilter{States: []command.State{command.Succeeded, command.Failed}}, in(command.Succeeded, command.Failed)},
		{"open and ended", command.ExecutionFilter{States: []command.State{command.Sent, command.Canceled}}, in(command.Sent, command.Canceled)},
		{"of no state", command.ExecutionFilter{States: []command.State{command.Running}}, in()},
		{"effect", command.ExecutionFilter{Effects: []command.Effect{command.EffectPartial, command.EffectUnknown}}, func(x command.Execution) bool {
			return x.Effect == command.EffectPartial || x.Effect == command.EffectUnknown
		}},
		{"device", command.ExecutionFilter{Device: "b"}, func(x command.Execution) bool { return x.Name == "b" }},
		{"unknown device", command.ExecutionFilter{Device: "z"}, in()},
		{"type", command.ExecutionFilter{Type: "fan.set"}, func(x command.Execution) bool { return x.Command.Type == "fan.set" }},
		{"after", command.ExecutionFilter{CreatedAfter: at(20)}, func(x command.Execution) bool { return x.Command.CreatedAt.After(at(20)) }},
		{"before", command.ExecutionFilter{CreatedBefore: at(20)}, func(x command.Execution) bool { return x.Command.CreatedAt.Before(at(20)) }},
		{"of one site", command.ExecutionFilter{Sees: siteA}, in()}, // no device has labels
		{"all at once", command.ExecutionFilter{Device: "a", Type: "pump.stop", States: open, CreatedAfter: at(10), Effects: []command.Effect{command.EffectNone}}, func(x command.Execution) bool {
			return x.Name == "a" && x.Command.Type == "pump.stop" && x.State == command.Queued && x.Command.CreatedAt.After(at(10))
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var want []command.Execution
			for _, x := range all {
				if row.like(x) {
					want = append(want, x)
				}
			}
			for _, limit := range []int{0, 1, 7, 500, 1_000_000} {
				row.f.Limit = limit
				diff(t, collectExecutions(t, r, row.f), want)
			}
		})
	}
	t.Run("PagesStandStillWhileOthersIssue", func(t *testing.T) {
		f := command.ExecutionFilter{Limit: 9}
		var got []command.Execution
		for n := 1000; ; n++ {
			page, next, err := r.AllExecutions(ctx, f)
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, page...); next == 0 {
				break
			}
			f.Before = next
			r.do(func(tx ledger.Tx) error { _, err := issue(tx, aCommand(n, "a", "c")); return err })
		}
		diff(t, got, all)
	})
}

// collectExecutions reads all pages.
func collectExecutions(t *testing.T, r *rig, f command.ExecutionFilter) (xs []command.Execution) {
	t.Helper()
	for {
		page, next, err := r.AllExecutions(context.Background(), f)
		if err != nil {
			t.Fatal(err)
		}
		if xs = append(xs, page...); next == 0 {
			return xs
		}
		if f.Limit > 0 && len(page) > f.Limit || f.Before > 0 && next >= f.Before {
			t.Fatalf("a page of %d has %d, and goes on before row %d after %d", f.Limit, len(page), next, f.Before)
		}
		f.Before = next
	}
}
