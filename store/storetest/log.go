package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"behest/command"
	"behest/command/ledger"
)

func testLog(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	one, many := aCommand(1, "p"), aCommand(2, "p", "q")
	want := logged(t, r, one, many)

	t.Run("EveryEventInOrder", func(t *testing.T) {
		for _, limit := range []int{0, 1, 2, 7} {
			diffEvents(t, follow(t, r, command.Place{}, command.EventFilter{}, limit), want)
		}
		diffEvents(t, follow(t, r, command.Place{Epoch: 1, N: 10}, command.EventFilter{}, 3), want[10:])
		diff(t, must(r.End(ctx))(t), command.Place{Epoch: 1, N: int64(len(want))})
	})

	filters := map[string]command.EventFilter{
		"by type":          {Types: []command.EventType{"made.up", command.EventIssued}},
		"by device":        {Device: "q"},
		"by command":       {Command: many.ID},
		"by all of them":   {Types: []command.EventType{command.EventProgress}, Device: "p", Command: one.ID},
		"by a stranger":    {Device: "z"},
		"by no command":    {Command: idOf(99)},
		"by a type unseen": {Types: []command.EventType{command.EventTwoDevices}},
	}
	for name, f := range filters {
		t.Run("Picked "+name, func(t *testing.T) {
			var picked []command.Event
			for _, e := range want {
				byType := len(f.Types) == 0
				for _, kind := range f.Types {
					byType = byType || e.Type == kind
				}
				if byType && (f.Device == "" || e.Name == f.Device) && (f.Command == command.ID{} || e.Command == f.Command) {
					picked = append(picked, e)
				}
			}
			diffEvents(t, follow(t, r, command.Place{}, f, 2), picked)
		})
	}

	for name, p := range map[string]command.Place{
		"past the end":     {Epoch: 1, N: int64(len(want) + 1)},
		"of another epoch": {Epoch: 2, N: 3},
		"of no epoch":      {N: 3},
		"before the start": {Epoch: 1, N: -1},
	} {
		t.Run("RefusedAPlace "+name, func(t *testing.T) {
			_, _, err := r.Events(ctx, p, command.EventFilter{}, 10)
			wantCode(t, err, command.CodeNotFound)
		})
	}

	for name, bad := range map[string]command.Event{
		"without a type": {At: at(1)},
		"without a time": {Type: command.EventEdited},
		"of no JSON":     {Type: command.EventEdited, At: at(1), Data: json.RawMessage(`{"type":"\U000e0001"}`)},
	} {
		t.Run("RefusedAnEvent "+name, func(t *testing.T) {
			end := must(r.End(ctx))(t)
			wantCode(t, r.Update(ctx, ledger.Issues, func(tx ledger.Tx) error { return tx.Log(bad) }), command.CodeInternal)
			diff(t, must(r.End(ctx))(t), end)
		})
	}

	t.Run("AWatcherMissesNothing", func(t *testing.T) { watch(t, r) })
}

// here is where all requests of these tests come from.
const here = "192.0.2.7"

// logged issues two commands, logs events of all sorts about them, and
// answers with what a reader should find.
func logged(t *testing.T, r *rig, one, many *command.Command) (want []command.Event) {
	withDevices(r, "p", "q")
	begin := r.Changed()
	note := func(tx ledger.Tx, e command.Event, c *command.Command, d int64, name string) error {
		if c != nil {
			e.CommandN, e.Command = c.N, c.ID
		}
		e.Device, e.Name, e.Epoch, e.N = d, name, 1, int64(len(want)+1)
		if e.Actor != "" {
			e.From = here
		}
		want = append(want, e)
		e.Command, e.Name, e.Epoch, e.N, e.From = command.ID{}, "", 0, 0, ""
		return tx.Log(e)
	}
	r.do(func(tx ledger.Tx) error {
		xs, err := issue(tx, one)
		if err != nil {
			return err
		}
		if _, err = issue(tx, many); err != nil {
			return err
		}
		if err := note(tx, command.Event{Type: command.EventIssued, At: at(5), Actor: "ann"}, one, xs[0].Device, "p"); err != nil {
			return err
		}
		return note(tx, command.Event{Type: command.EventIssued, At: at(4), Actor: "zoë", Data: json.RawMessage(`{"a":[1,2]}`)}, many, 0, "")
	})
	select {
	case <-begin:
	default:
		t.Error("nobody was told of the first events")
	}
	for i := range 50 {
		r.do(func(tx ledger.Tx) error {
			d, err := tx.DeviceNamed([]string{"p", "q"}[i%2])
			if err != nil {
				return err
			}
			kinds := []command.EventType{command.EventObserving, command.EventOf(command.Running), "made.up", command.EventProgress}
			for k := range i % 4 {
				c := []*command.Command{nil, one, many}[(i+k)%3]
				if err := note(tx, command.Event{Type: kinds[(i+k)%4], At: at(i - k), Data: json.RawMessage(fmt.Sprint(i))}, c, d.Handle, d.Name); err != nil {
					return err
				}
			}
			return nil
		})
	}
	r.refused(command.CodeInternal, func(tx ledger.Tx) error { return tx.Log(command.Event{At: at(1)}) })
	r.restart()
	return want
}

// watch follows the log while others write.
func watch(t *testing.T, r *rig) {
	ctx := context.Background()
	from := must(r.End(ctx))(t)
	const n = 100
	seen := make(chan int64)
	go func() {
		defer close(seen)
		next := from
		for got := 0; got < n; {
			changed := r.Changed()
			events, to, err := r.Events(ctx, next, command.EventFilter{}, 5)
			if err != nil {
				t.Error(err)
				return
			}
			for _, e := range events {
				seen <- e.N
				got++
			}
			next = to
			if len(events) == 0 {
				<-changed
			}
		}
	}()
	go func() {
		for range n {
			r.do(func(tx ledger.Tx) error { return tx.Log(command.Event{Type: command.EventEdited, At: at(1)}) })
		}
	}()
	last := from.N
	for n := range seen {
		if n != last+1 {
			t.Errorf("event %d came after %d", n, last)
		}
		last = n
	}
	diff(t, last, from.N+n)
}

func diffEvents(t *testing.T, got, want []command.Event) {
	t.Helper()
	if d := cmp.Diff(got, want, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("got (-) and want (+) differ:\n%s", d)
	}
}

// follow reads the log from a place to its end.
func follow(t *testing.T, r *rig, from command.Place, f command.EventFilter, limit int) (all []command.Event) {
	t.Helper()
	for {
		events, next, err := r.Events(context.Background(), from, f, limit)
		if err != nil {
			t.Fatal(err)
		}
		if limit > 0 && len(events) > limit {
			t.Errorf("a page of %d has %d", limit, len(events))
		}
		all = append(all, events...)
		if next == from {
			return all
		}
		from = next
	}
}
