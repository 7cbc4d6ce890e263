package command

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestAnyWalkKeepsThePromises gives an execution of any type triggers of any
// kind, at any time, and looks at each step whether the promises hold.
func TestAnyWalkKeepsThePromises(t *testing.T) {
	steps, ends := 0, map[State]int{}
	rapid.Check(t, func(rt *rapid.T) {
		for range rapid.IntRange(1, 20).Draw(rt, "walks") {
			w := newWalk(rt)
			for range rapid.IntRange(1, 25).Draw(rt, "steps") {
				w.step()
				steps++
			}
			ends[w.x.State]++
			w.follow()
		}
	})
	t.Logf("%d steps; last states %v", steps, ends)
}

// walk is a random life.
type walk struct {
	t      *rapid.T
	x      Execution
	now    time.Time
	ever   map[State]bool
	device bool // the device gave an outcome
}

func newWalk(t *rapid.T) *walk {
	span := func(name string, most time.Duration) time.Duration {
		return time.Duration(rapid.Int64Range(int64(ClockMin), int64(most)).Draw(t, name))
	}
	c := Clocks{
		ApproveWithin: span("approve_within", time.Hour), UseWithin: span("use_within", time.Hour),
		HoldWithin: span("hold_within", time.Hour), DeliverWithin: span("deliver_within", time.Hour),
		RunFor: span("run_for", time.Hour), CancelFor: span("cancel_for", 2*CancelForMax), SettleFor: span("settle_for", time.Hour),
	}
	if rapid.Bool().Draw(t, "heartbeat") {
		c.ReportEvery = span("report_every", time.Hour)
	}
	p := Policy{
		Redelivery: Redelivery(rapid.IntRange(0, int(redeliveryEnd)-1).Draw(t, "redelivery")),
		Fresh:      rapid.Bool().Draw(t, "fresh"), Urgent: rapid.Bool().Draw(t, "urgent"),
	}
	w := &walk{t: t, x: issued(p, c), now: epoch}
	w.x.State = rapid.SampledFrom([]State{AwaitingApproval, Scheduled, Queued, Queued, Queued}).Draw(t, "created")
	if w.x.State != Queued {
		w.x.QueuedAt = time.Time{}
	}
	if w.x.State == Scheduled && rapid.Bool().Draw(t, "gate") {
		w.x.Command.NotBefore = epoch.Add(span("not_before", time.Hour))
	}
	w.ever = map[State]bool{w.x.State: true}
	return w
}

// rash are the kinds that end most lives; they come now and then.
var rash = map[Kind]bool{Cancel: true, Deny: true, Withdraw: true, Lose: true}

// step lets some time pass and tries one trigger, one that the table knows
// more often than not.
func (w *walk) step() {
	t := w.t
	switch when, _ := w.x.Deadline(); rapid.IntRange(0, 6).Draw(t, "time") {
	case 0:
		w.now = later(w.now, when)
	case 1:
		w.now = w.now.Add(time.Duration(rapid.Int64Range(0, int64(20*time.Minute)).Draw(t, "wait")))
	}
	var known []Kind
	for _, k := range Kinds {
		if _, ok := moves[edge{w.x.State, k}]; ok && !rash[k] {
			known = append(known, k)
		}
	}
	k := rapid.SampledFrom(Kinds).Draw(t, "any kind")
	if len(known) > 0 && rapid.IntRange(0, 4).Draw(t, "known") > 0 {
		k = rapid.SampledFrom(known).Draw(t, "kind")
	}
	tr := sample(k)
	if k.isReport() {
		tr = Reported(w.report(tr.Report), w.x.State)
	}
	y, v := w.x.Step(tr, w.now)
	w.check(tr, y, v)
	w.x = y
	w.ever[y.State] = true
	w.device = w.device || v == Moved && y.State.Ended() && tr.Kind.isReport()
}

func (w *walk) report(r Report) Report {
	t := w.t
	if rapid.Bool().Draw(t, "numbered") {
		r.N = ptr(rapid.Uint32Range(0, 5).Draw(t, "n"))
	}
	if rapid.Bool().Draw(t, "with effect") {
		r.Effect = ptr(Effect(rapid.IntRange(0, int(effectEnd)-1).Draw(t, "effect")))
	}
	if rapid.Bool().Draw(t, "with next") {
		r.Next = time.Duration(rapid.Int64Min(0).Draw(t, "next"))
	}
	return r
}

// check is what must be true of every step from w.x to y.
func (w *walk) check(tr Trigger, y Execution, v Verdict) {
	x := w.x
	must := func(ok bool, format string, args ...any) {
		if !ok {
			w.t.Fatalf("%s at %s, %s: %s\nbefore %+v\nafter  %+v", tr.Kind, x.State, v, fmt.Sprintf(format, args...), x, y)
		}
	}
	to, listed := moves[edge{x.State, tr.Kind}]
	switch v {
	case Moved:
		must(listed && to == y.State && to != x.State, "the table says %q", to)
	case Kept:
		must(listed && to == y.State && to == x.State, "the table says %q", to)
	default:
		must(cmp.Equal(x, y), "nothing may change")
		must(v == Refused || tr.Kind.isReport(), "only reports are judged")
	}
	must(!w.device || v != Moved && v != Kept, "an outcome that the device gave is final")
	made := v == Moved && (y.State == Succeeded || y.State == Failed || y.State == Rejected)
	must(!made || tr.Kind.isReport(), "only the device makes an outcome")

	must(y.Seq == x.Seq || x.Seq == 0 && tr.Kind == Release, "the number stands")
	must((y.Seq != 0) == (w.ever[Sent] || y.State == Sent), "a number is given with the release, and only then")
	must(y.State != Expired && y.State != Denied || y.Seq == 0, "what expired never left")
	must(y.Attempts >= x.Attempts, "attempts are only added")
	must(y.Late == (x.Late || x.State == TimedOut && v == Moved), "late is what comes after timed_out")
	must(!y.Settled || y.State == TimedOut, "only timed_out is closed as unknown")
	must(v != Moved || (y.Cause != NoCause) == (y.State == TimedOut || y.State == Expired || tr.Kind == Withdraw),
		"a cause is the server's reason for an end")
	must(!y.State.OnWire() || y.Effect == EffectUnknown, "on the wire the effect is unknown")
	must(!y.State.Unsent() || y.Effect == EffectNone, "unsent has no effect")
	must(y.State != Succeeded || y.Effect == EffectApplied, "success is applied")
	must(y.State != TimedOut || y.Effect == EffectUnknown, "timed_out is unknown")
	must(y.State != Expired && y.State != Denied || y.Effect == EffectNone, "what never left has no effect")
	w.checkMoments(must, y)
}

// checkMoments sees that moments stand once they are set, and come in order.
func (w *walk) checkMoments(must func(bool, string, ...any), y Execution) {
	x := w.x
	for _, m := range []struct {
		name     string
		was, is  time.Time
		restarts bool
	}{
		{"approved", x.ApprovedAt, y.ApprovedAt, false}, {"queued", x.QueuedAt, y.QueuedAt, false},
		{"sent", x.SentAt, y.SentAt, false}, {"delivered", x.DeliveredAt, y.DeliveredAt, false},
		{"started", x.StartedAt, y.StartedAt, false}, {"reported", x.ReportedAt, y.ReportedAt, true},
		{"cancel acked", x.CancelAckedAt, y.CancelAckedAt, true}, {"ended", x.EndedAt, y.EndedAt, true},
	} {
		must(m.restarts || m.was.IsZero() || m.is.Equal(m.was), "%s stands", m.name)
		must(m.is.IsZero() || !m.is.Before(m.was), "%s never goes back", m.name)
		must(!m.is.After(w.now), "%s is not in the future", m.name)
	}
	order := []time.Time{epoch, y.ApprovedAt, y.QueuedAt, y.SentAt, y.DeliveredAt, y.StartedAt, y.ReportedAt, y.EndedAt}
	last := epoch
	for i, m := range order {
		must(m.IsZero() || !m.Before(last), "moment %d comes before the one before it", i)
		last = later(last, m)
	}
	must(y.State.Ended() == !y.EndedAt.IsZero(), "ended and the moment of it go together")
	when, _ := y.Deadline()
	must(when.IsZero() == (y.State.Ended() && (y.State != TimedOut || y.Settled)), "everything has a clock until it is closed")
}

// follow lets only the clocks work: soon everything is closed.
func (w *walk) follow() {
	for range 6 {
		when, k := w.x.Deadline()
		if when.IsZero() {
			return
		}
		w.now = later(w.now, when)
		y, v := w.x.Step(sample(k), w.now)
		w.check(sample(k), y, v)
		if v != Moved && v != Kept {
			w.t.Fatalf("%q of %s is %s", k, w.x.State, v)
		}
		w.x = y
		w.ever[y.State] = true
	}
	w.t.Fatalf("%s is still open after six clocks", w.x.State)
}
