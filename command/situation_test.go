package command

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files from what the code does")

// epoch is when every test begins.
var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// situation is a state with what matters of how it was reached.
type situation struct {
	name    string
	state   State
	policy  Policy
	held    bool // created as awaiting_approval, otherwise as queued
	path    []Kind
	overdue bool // what comes next comes after the start deadline
}

// situations has every state at least once, and those apart in which the same
// state answers differently.
var situations = []situation{
	{name: "awaiting_approval", state: AwaitingApproval, held: true},
	{name: "scheduled", state: Scheduled, held: true, path: []Kind{Approve}},
	{name: "queued", state: Queued, held: true, path: []Kind{Approve, Due}},
	{name: "sent", state: Sent, path: []Kind{Release}},
	{name: "sent, of a type that goes once", state: Sent, policy: Policy{Redelivery: Once}, path: []Kind{Release}},
	{name: "sent, of a fresh type, its start deadline passed", state: Sent, policy: Policy{Fresh: true},
		path: []Kind{Release}, overdue: true},
	{name: "delivered", state: Delivered, path: []Kind{Release, Ack}},
	{name: "running", state: Running, path: []Kind{Release, Ack, ReportRunning}},
	{name: "canceling, not started as far as we know", state: Canceling, path: []Kind{Release, Ack, Cancel}},
	{name: "canceling, of a fresh type that did not start", state: Canceling, policy: Policy{Fresh: true},
		path: []Kind{Release, Ack, Cancel}},
	{name: "canceling, started", state: Canceling, path: []Kind{Release, Ack, ReportRunning, Cancel}},
	{name: "succeeded", state: Succeeded, path: []Kind{Release, Ack, ReportRunning, ReportSuccess}},
	{name: "failed", state: Failed, path: []Kind{Release, Ack, ReportRunning, ReportFailure}},
	{name: "rejected", state: Rejected, path: []Kind{Release, Ack, ReportRejected}},
	{name: "rejected, of a fresh type", state: Rejected, policy: Policy{Fresh: true},
		path: []Kind{Release, Ack, ReportRejected}},
	{name: "denied", state: Denied, held: true, path: []Kind{Deny}},
	{name: "canceled, never sent", state: Canceled, path: []Kind{Cancel}},
	{name: "canceled by the device", state: Canceled, path: []Kind{Release, Ack, Cancel, ReportCanceled}},
	{name: "expired", state: Expired, path: []Kind{DeliverLapse}},
	{name: "timed_out, unreachable", state: TimedOut, path: []Kind{Release, UnreachedLapse}},
	{name: "timed_out, no report", state: TimedOut, path: []Kind{Release, Ack, ReportRunning, RunLapse}},
	{name: "timed_out, silent, run_for left", state: TimedOut, path: []Kind{Release, Ack, ReportRunning, SilenceLapse}},
	{name: "timed_out, settled", state: TimedOut, path: []Kind{Release, Ack, RunLapse, SettleLapse}},
}

// clocksFor are clocks of which the one behind k is the first to lapse in any
// state that it bounds.
func clocksFor(kinds ...Kind) Clocks {
	c := DefaultClocks
	for _, k := range kinds {
		switch k {
		case HoldLapse:
			c.HoldWithin = time.Hour
		case DeliverLapse:
			c.DeliverWithin = time.Hour
		case SilenceLapse:
			c.ReportEvery = 30 * time.Second
		}
	}
	return c
}

// reach is an execution in that situation, by the moves that lead there, and
// the moment that it got there. If then is the lapse of a clock that bounds
// it, that clock is the first to lapse.
func (s situation) reach(t testing.TB, then Kind) (Execution, time.Time) {
	t.Helper()
	x := issued(s.policy, clocksFor(s.path...))
	if s.held {
		x.State, x.QueuedAt = AwaitingApproval, time.Time{}
	}
	now := epoch
	for _, k := range s.path {
		now = x.moment(k, now.Add(time.Second))
		y, v := x.Step(sample(k), now)
		if v != Moved && v != Kept {
			t.Fatalf("%s: %s at %s is %s", s.name, k, x.State, v)
		}
		x = y
	}
	if x.State != s.state {
		t.Fatalf("%s: the path leads to %s, want %s", s.name, x.State, s.state)
	}
	if s.overdue {
		now = x.StartBy()
	}
	c := *x.Command
	c.Clocks = clocksFor(append(s.path, then)...)
	x.Command = &c
	return x, now
}

// issued is a command on one device, just queued.
func issued(p Policy, c Clocks) Execution {
	return Execution{
		Command: &Command{N: 1, Type: "pump.start", Policy: p, Clocks: c, CreatedAt: epoch},
		N:       1, Device: 1, Name: "pump-7", State: Queued, QueuedAt: epoch,
	}
}

// moment is when k happens: when its clock lapses if it is the clock that
// bounds x, otherwise at now.
func (x Execution) moment(k Kind, now time.Time) time.Time {
	if when, next := x.Deadline(); k.isLapse() && next == k {
		return when
	}
	return now
}

// sample is the plainest trigger of that kind.
func sample(k Kind) Trigger {
	t := Trigger{Kind: k}
	switch k {
	case Release:
		t.Seq = 1001
	case Ack, AckCancel, Unanswered:
		t.Attempts = 1
	case DeliverLapse:
		t.Cause = NotObserving
	case Withdraw:
		t.Cause = DeviceRemoved
	case Lose:
		t.Cause = Restored
	case ReportRunning, ReportCannotCancel:
		t.Report.Status = StatusRunning
	case ReportSuccess, ReportFailure, ReportRejected, ReportCanceled:
		t.Report.Status = Status(k - ReportRunning)
	}
	if k == ReportCannotCancel {
		code := int64(GenericCannotCancel)
		t.Report.Code = &code
	}
	return t
}

// golden compares got with a file, or rewrites the file.
func golden(t *testing.T, got, path string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(filepath.FromSlash(path), []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(filepath.FromSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, string(want)); diff != "" {
		t.Errorf("%s is stale; read this, then: make gen (-got +want)\n%s", path, diff)
	}
}

func ptr[T any](v T) *T { return &v }
