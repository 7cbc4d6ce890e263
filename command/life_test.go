package command

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// life leads one execution through its moves, one line of a test each.
type life struct {
	t   *testing.T
	x   Execution
	now time.Time
}

// queued begins with a command that was just queued.
func queued(t *testing.T, p Policy, c Clocks) *life {
	return &life{t: t, x: issued(p, c), now: epoch}
}

// held begins with a command that waits for its approval.
func held(t *testing.T, c Clocks) *life {
	l := queued(t, Policy{}, c)
	l.x.State, l.x.QueuedAt = AwaitingApproval, time.Time{}
	return l
}

// delivered begins with a command that the device has.
func delivered(t *testing.T, p Policy, c Clocks) *life {
	return queued(t, p, c).moves(Release).moves(Ack)
}

// running begins with a command that the device works on.
func running(t *testing.T, p Policy, c Clocks) *life {
	return delivered(t, p, c).says(Report{Status: StatusRunning}, Moved)
}

func (l *life) after(d time.Duration) *life {
	l.now = l.now.Add(d)
	return l
}

// gets gives it a trigger, and says what verdict must come.
func (l *life) gets(tr Trigger, want Verdict) *life {
	l.t.Helper()
	was := l.x
	x, v := l.x.Step(tr, l.now)
	if v != want {
		l.t.Fatalf("%s at %s: %s, want %s", tr.Kind, was.State, v, want)
	}
	if diff := cmp.Diff(x, was); diff != "" && v != Moved && v != Kept {
		l.t.Fatalf("%s at %s is %s and yet changed something (-got +want)\n%s", tr.Kind, was.State, v, diff)
	}
	l.x = x
	return l
}

func (l *life) moves(k Kind) *life   { l.t.Helper(); return l.gets(sample(k), Moved) }
func (l *life) keeps(k Kind) *life   { l.t.Helper(); return l.gets(sample(k), Kept) }
func (l *life) refuses(k Kind) *life { l.t.Helper(); return l.gets(sample(k), Refused) }

// says is a report, judged as the server would.
func (l *life) says(r Report, want Verdict) *life {
	l.t.Helper()
	return l.gets(Reported(r, l.x.State), want)
}

// lapses waits for its clock, which must be that one.
func (l *life) lapses(want Kind) *life {
	l.t.Helper()
	when, k := l.x.Deadline()
	if k != want {
		l.t.Fatalf("the clock of %s is %q, want %q", l.x.State, k, want)
	}
	l.now = when.Add(-time.Nanosecond)
	l.refuses(k)
	l.now = when
	if k == SettleLapse {
		return l.keeps(k)
	}
	return l.moves(k)
}

// lapsesAfter is lapses, and says how long after the beginning.
func (l *life) lapsesAfter(d time.Duration, want Kind) *life {
	l.t.Helper()
	if when, _ := l.x.Deadline(); !when.Equal(epoch.Add(d)) {
		l.t.Fatalf("the clock of %s lapses after %s, want %s", l.x.State, when.Sub(epoch), d)
	}
	return l.lapses(want)
}

// standing is what a reader asks of an execution first.
type standing struct {
	State   State
	Cause   Cause
	Effect  Effect
	Late    bool
	Settled bool
}

func (l *life) stands(want standing) *life {
	l.t.Helper()
	got := standing{l.x.State, l.x.Cause, l.x.Effect, l.x.Late, l.x.Settled}
	if diff := cmp.Diff(got, want); diff != "" {
		l.t.Fatalf("-got +want\n%s", diff)
	}
	return l
}

var (
	saysRunning  = Report{Status: StatusRunning}
	saysSuccess  = Report{Status: StatusSuccess}
	saysFailure  = Report{Status: StatusFailure}
	saysRejected = Report{Status: StatusRejected}
	saysCanceled = Report{Status: StatusCanceled}
	cannotCancel = Report{Status: StatusRunning, Code: ptr(int64(GenericCannotCancel))}
	completions  = []Report{saysSuccess, saysFailure, saysRejected, saysCanceled}
)
