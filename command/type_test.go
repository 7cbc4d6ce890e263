package command

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAQueueKeepsPlacesForWhatIsUrgent(t *testing.T) {
	fill := func(n int, p Policy) (open []Execution) {
		for range n {
			open = append(open, Execution{Command: &Command{Policy: p}, State: Queued})
		}
		return open
	}
	usual, urgent := Policy{}, Policy{Urgent: true}
	for _, row := range []struct {
		name string
		open []Execution
		p    Policy
		want bool
	}{
		{"an empty queue", nil, usual, true},
		{"one place left", fill(OpenMax-1, usual), usual, true},
		{"full", fill(OpenMax, usual), usual, false},
		{"full, and urgent", fill(OpenMax, usual), urgent, true},
		{"urgent ones take no usual place", fill(OpenUrgentMax, urgent), usual, true},
		{"more urgent ones than they have places", fill(OpenMax+OpenUrgentMax-1, urgent), usual, true},
		{"full of urgent ones", fill(OpenMax+OpenUrgentMax, urgent), usual, false},
		{"full of both", append(fill(OpenMax, usual), fill(OpenUrgentMax, urgent)...), urgent, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := Room(row.open, &Command{Policy: row.p}); got != row.want {
				t.Errorf("room %t, want %t", got, row.want)
			}
		})
	}
}

func TestWhatGoesOnceIsNotShownAgainOnceItArrived(t *testing.T) {
	for _, s := range []State{Sent, Delivered, Running, Canceling} {
		x := Execution{Command: &Command{Policy: Policy{Redelivery: Once}}, State: s, Seq: 1}
		want := s == Sent || s == Canceling
		if got := len(List([]Execution{x})) == 1; got != want {
			t.Errorf("%s: shown %t, want %t", s, got, want)
		}
	}
}

func TestClocksComeFromTheCommandTheTypeAndTheServerInThatOrder(t *testing.T) {
	typ := Type{Name: "t", Clocks: TypeClocks{
		DeliverWithin: Bound{Default: time.Hour, Min: time.Minute, Max: 2 * time.Hour},
		RunFor:        Bound{Max: time.Minute},
		ReportEvery:   Bound{Default: 10 * time.Second},
	}}
	for _, row := range []struct {
		name   string
		in     Intent
		want   func(*Clocks)
		faults []string
	}{
		{"nothing asked", Intent{}, func(c *Clocks) { c.DeliverWithin, c.RunFor, c.ReportEvery = time.Hour, time.Minute, 10*time.Second }, nil},
		{"within bounds", Intent{DeliverWithin: 90 * time.Minute, RunFor: time.Second},
			func(c *Clocks) {
				c.DeliverWithin, c.RunFor, c.ReportEvery = 90*time.Minute, time.Second, 10*time.Second
			}, nil},
		{"out of bounds", Intent{DeliverWithin: time.Second, RunFor: time.Hour}, nil,
			[]string{"/deliver_within_seconds", "/run_for_seconds"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, faults := typ.ClocksFor(DefaultClocks, row.in)
			var pointers []string
			for _, f := range faults {
				pointers = append(pointers, f.Pointer)
			}
			if diff := cmp.Diff(pointers, row.faults); diff != "" {
				t.Fatalf("faults (-got +want):\n%s", diff)
			}
			if row.want == nil {
				return
			}
			want := DefaultClocks
			row.want(&want)
			if diff := cmp.Diff(got, want); diff != "" {
				t.Errorf("clocks (-got +want):\n%s", diff)
			}
		})
	}
}

func TestATypesFaultsAreNamed(t *testing.T) {
	for _, row := range []struct {
		name string
		typ  Type
		want []string
	}{
		{"sound", Type{Name: "pump.start"}, nil},
		{"no name", Type{}, []string{"/name"}},
		{"a slash", Type{Name: "a/b"}, []string{"/name"}},
		{"a long name", Type{Name: strings.Repeat("x", 64)}, []string{"/name"}},
		{"a large schema", Type{Name: "t", Params: make([]byte, SchemaBytesMax+1)}, []string{"/params"}},
		{"a slot that is no pointer", Type{Name: "t", Slot: []string{"/a", "b"}}, []string{"/slot/1"}},
		{"a clock under a second", Type{Name: "t", Clocks: TypeClocks{RunFor: Bound{Default: time.Millisecond}}}, []string{"/clocks/run_for_seconds"}},
		{"min above max", Type{Name: "t", Clocks: TypeClocks{RunFor: Bound{Min: time.Hour, Max: time.Minute}}}, []string{"/clocks/run_for_seconds"}},
		{"a default out of bounds", Type{Name: "t", Clocks: TypeClocks{RunFor: Bound{Default: time.Hour, Max: time.Minute}}}, []string{"/clocks/run_for_seconds"}},
		{"a cancel over a day", Type{Name: "t", Clocks: TypeClocks{CancelFor: Bound{Default: 25 * time.Hour}}}, []string{"/clocks/cancel_for_seconds"}},
		{"urgent and parallel", Type{Name: "t", Policy: Policy{Urgent: true, Parallel: true}}, []string{"/urgent"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got []string
			for _, f := range row.typ.Check() {
				got = append(got, f.Pointer)
			}
			if diff := cmp.Diff(got, row.want); diff != "" {
				t.Errorf("faults (-got +want):\n%s", diff)
			}
		})
	}
}
