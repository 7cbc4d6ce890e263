package command

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// open is an execution of a device's queue.
func open(n int64, s State, p Policy) Execution {
	x := issued(p, DefaultClocks)
	x.N, x.State = n, s
	if s.OnWire() {
		x.Seq = 1000 + uint32(n)
	}
	if s == Running {
		x.StartedAt = epoch
	}
	return x
}

func started(x Execution) Execution { x.StartedAt = epoch; return x }
func late(x Execution) Execution    { x.Late = true; return x }

func TestHead(t *testing.T) {
	var plain, urgent, parallel = Policy{}, Policy{Urgent: true}, Policy{Parallel: true}
	for _, tt := range []struct {
		name    string
		window  int
		open    []Execution
		release []int64
	}{
		{"nothing to do", 1, nil, nil},
		{"the oldest goes first", 1, []Execution{open(3, Queued, plain), open(2, Queued, plain)}, []int64{2}},
		{"one at a time", 1, []Execution{open(1, Sent, plain), open(2, Queued, plain)}, nil},
		{"what is delivered keeps its place", 1, []Execution{open(1, Delivered, plain), open(2, Queued, plain)}, nil},
		{"what runs keeps its place", 1, []Execution{open(1, Running, plain), open(2, Queued, plain)}, nil},
		{"what is canceling keeps its place", 1, []Execution{open(1, Canceling, plain), open(2, Queued, plain)}, nil},
		{"the next goes when it has ended", 1, []Execution{open(1, Succeeded, plain), open(2, Queued, plain)}, []int64{2}},
		{"as many as the device asked for", 3,
			[]Execution{open(1, Running, plain), open(2, Queued, plain), open(3, Queued, plain), open(4, Queued, plain)},
			[]int64{2, 3}},
		{"a lowered window takes nothing back", 1,
			[]Execution{open(1, Running, plain), open(2, Sent, plain), open(3, Queued, plain)}, nil},
		{"urgent ones never wait", 1,
			[]Execution{open(1, Running, plain), open(2, Queued, plain), open(3, Queued, urgent)}, []int64{3}},
		{"urgent ones take no place", 1, []Execution{open(1, Running, urgent), open(2, Queued, plain)}, []int64{2}},
		{"urgent ones released now take no place", 1,
			[]Execution{open(1, Queued, urgent), open(2, Queued, plain)}, []int64{1, 2}},
		{"a parallel one takes a place until it runs", 1, []Execution{open(1, Delivered, parallel), open(2, Queued, plain)}, nil},
		{"a parallel one that runs takes none", 1, []Execution{open(1, Running, parallel), open(2, Queued, plain)}, []int64{2}},
		{"nor when it is then being canceled", 1,
			[]Execution{started(open(1, Canceling, parallel)), open(2, Queued, plain)}, []int64{2}},
		{"a parallel one that never ran takes one while it is being canceled", 1,
			[]Execution{open(1, Canceling, parallel), open(2, Queued, plain)}, nil},
		{"what is heard of again stands beside", 1,
			[]Execution{late(open(1, Running, plain)), open(2, Queued, plain)}, []int64{2}},
		{"and stays there when it is being canceled", 1,
			[]Execution{late(started(open(1, Canceling, plain))), open(2, Queued, plain)}, []int64{2}},
		{"what is held or scheduled is not in line", 1,
			[]Execution{open(1, AwaitingApproval, plain), open(2, Scheduled, plain), open(3, Queued, plain)}, []int64{3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			release := Head(tt.open, tt.window)
			var got []int64
			for _, x := range release {
				got = append(got, x.N)
			}
			if diff := cmp.Diff(got, tt.release); diff != "" {
				t.Errorf("released (-got +want):\n%s", diff)
			}
		})
	}
}

// Whatever is open: the window is kept, nobody overtakes, nobody waits in
// vain.
func TestHeadKeepsTheWindow(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var all []Execution
		for n := range rapid.IntRange(0, OpenMax).Draw(rt, "open") {
			s := rapid.SampledFrom([]State{Scheduled, Queued, Queued, Sent, Delivered, Running, Canceling}).Draw(rt, "state")
			all = append(all, open(int64(n), s, Policy{
				Urgent: rapid.IntRange(0, 9).Draw(rt, "urgent") == 0, Parallel: rapid.Bool().Draw(rt, "parallel"),
			}))
		}
		window := rapid.IntRange(1, WindowMax).Draw(rt, "window")
		release := Head(rapid.Permutation(all).Draw(rt, "order"), window)
		places, went := 0, map[int64]bool{}
		for _, x := range release {
			went[x.N] = true
		}
		for _, x := range all {
			if x.State.OnWire() && !x.beside() || went[x.N] && !x.Command.Policy.Urgent {
				places++
			}
		}
		if places > window && slices.ContainsFunc(release, func(x Execution) bool { return !x.Command.Policy.Urgent }) {
			rt.Fatalf("%d places of %d are taken", places, window)
		}
		left := false
		for _, x := range all {
			if x.State != Queued {
				continue
			}
			left = left || !went[x.N]
			if went[x.N] && left && !x.Command.Policy.Urgent {
				rt.Fatalf("%d overtook an older one", x.N)
			}
			if !went[x.N] && (x.Command.Policy.Urgent || places < window) {
				rt.Fatalf("%d waits in vain: %d places of %d are taken", x.N, places, window)
			}
		}
	})
}

func TestList(t *testing.T) {
	clocks := DefaultClocks
	clocks.RunFor, clocks.ReportEvery = time.Hour, 30*time.Second
	full := Execution{
		Command: &Command{Type: "valve.open", Policy: Policy{WireCode: 7, Fresh: true}, Clocks: clocks, Params: []byte{0xa0}},
		N:       9, Seq: 2000, State: Delivered, QueuedAt: epoch,
	}
	got := List([]Execution{
		full, open(3, Canceling, Policy{}), open(2, Running, Policy{}), open(4, Queued, Policy{}),
		open(5, Scheduled, Policy{}), open(6, Succeeded, Policy{}), open(1, Sent, Policy{}),
	})
	by := epoch.Add(DefaultClocks.DeliverWithin)
	want := []Entry{
		{Seq: 1001, Type: "pump.start", StartBy: by},
		{Seq: 1002, Type: "pump.start", StartBy: by},
		{Seq: 1003, Cancel: true, StartBy: by},
		{Seq: 2000, Type: "valve.open", WireCode: 7, Params: []byte{0xa0}, StartBy: by,
			RunFor: time.Hour, ReportEvery: 30 * time.Second, Fresh: true},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("-got +want\n%s", diff)
	}
	if got := List([]Execution{open(4, Queued, Policy{})}); got != nil {
		t.Errorf("a list with nothing released is %v, want empty", got)
	}
}

// Once released it is listed until it ends: a lost notification costs time,
// never a command.
func TestListedFromReleaseToEnd(t *testing.T) {
	for _, s := range situations {
		x, _ := s.reach(t, Cancel)
		if got, want := len(List([]Execution{x})) == 1, x.Seq != 0 && !x.State.Ended(); got != want {
			t.Errorf("%s: listed %v, want %v", s.name, got, want)
		}
	}
}
