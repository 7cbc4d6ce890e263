package command

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMovesGolden writes down what every state makes of every kind of trigger.
// testdata/moves.txt is to be read by a person: it is the lifecycle.
func TestMovesGolden(t *testing.T) {
	var b strings.Builder
	b.WriteString("What every state makes of every kind of trigger. Written by the code: make gen.\n")
	b.WriteString("A clock that lapses is shown at the moment it does.\n")
	for _, s := range situations {
		fmt.Fprintf(&b, "\n%s\n", s.name)
		var refused []string
		for _, k := range Kinds {
			x, now := s.reach(t, k)
			trigger := sample(k)
			if k.isReport() {
				trigger = Reported(trigger.Report, x.State)
			}
			y, v := x.Step(trigger, x.moment(k, now))
			if v == Refused {
				refused = append(refused, k.String())
				continue
			}
			fmt.Fprintf(&b, "  %-32s %s\n", k, outcomeText(y, v))
		}
		fmt.Fprintf(&b, "  refused: %s\n", strings.Join(refused, ", "))
	}
	golden(t, b.String(), "testdata/moves.txt")
}

// outcomeText is what a trigger led to, in one line.
func outcomeText(x Execution, v Verdict) string {
	if v != Moved && v != Kept {
		return v.String()
	}
	text := x.State.String()
	if x.Cause != NoCause {
		text += " (" + x.Cause.String() + ")"
	}
	if x.Settled {
		text += " settled"
	}
	if x.Late {
		text += " late"
	}
	if v == Kept {
		text += ", kept"
	}
	return fmt.Sprintf("%-38s effect %s", text, x.Effect)
}

func TestEveryStateIsASituation(t *testing.T) {
	for _, want := range States {
		found := false
		for _, s := range situations {
			found = found || s.state == want
		}
		if !found {
			t.Errorf("no situation shows %s", want)
		}
	}
}

// Each line of the table happens, and Step makes no move besides the table.
func TestStepFollowsTheTableAndNothingElse(t *testing.T) {
	fired := map[edge]bool{}
	for _, s := range situations {
		for _, k := range Kinds {
			x, now := s.reach(t, k)
			y, v := x.Step(sample(k), x.moment(k, now))
			to, listed := moves[edge{x.State, k}]
			switch {
			case v == Moved && (!listed || to == x.State || y.State != to):
				t.Errorf("%s: %s moved to %s, the table says %q", s.name, k, y.State, to)
			case v == Kept && (!listed || to != x.State || y.State != to):
				t.Errorf("%s: %s kept %s, the table says %q", s.name, k, y.State, to)
			case v == Moved || v == Kept:
				fired[edge{x.State, k}] = true
			default:
				if diff := cmp.Diff(y, x); diff != "" {
					t.Errorf("%s: %s is %s and yet changed something (-got +want)\n%s", s.name, k, v, diff)
				}
			}
		}
	}
	for e, to := range moves {
		if !fired[e] {
			t.Errorf("%s -%s-> %s is in the table and never happens", e.from, e.on, to)
		}
	}
	t.Logf("%d moves, %d situations, %d kinds of trigger", len(moves), len(situations), len(Kinds))
}

// The law: no clock, no acknowledgement and no person makes a device's outcome.
func TestOnlyTheDeviceMakesAnOutcome(t *testing.T) {
	law := map[State]Kind{Succeeded: ReportSuccess, Failed: ReportFailure, Rejected: ReportRejected}
	for e, to := range moves {
		if only, guarded := law[to]; guarded && e.on != only {
			t.Errorf("%s -%s-> %s: only %q may lead there", e.from, e.on, to, only)
		}
	}
	tried := 0
	for _, s := range situations {
		for _, k := range Kinds {
			if k.isReport() {
				continue
			}
			x, now := s.reach(t, k)
			trigger := sample(k)
			trigger.Report = Report{Status: StatusSuccess} // smuggled in: only the kind counts
			y, _ := x.Step(trigger, x.moment(k, now))
			tried++
			if law[y.State] != 0 && y.State != x.State {
				t.Errorf("%s: %s made it %s", s.name, k, y.State)
			}
		}
	}
	t.Logf("%d pairs tried", tried)
}

// The one move out of canceled, expired and the like would be a lie to whoever
// was told: an end is an end, but for timed_out.
func TestOnlyTimedOutCanStillMove(t *testing.T) {
	for e := range moves {
		if e.from.Ended() && e.from != TimedOut {
			t.Errorf("%s -%s-> %s leaves an end", e.from, e.on, moves[e])
		}
		if e.from == TimedOut && !e.on.isReport() && e.on != SettleLapse {
			t.Errorf("timed_out -%s-> %s is no late truth", e.on, moves[e])
		}
	}
}

// What was never released has no number, so no device can have heard of it.
func TestNothingUnsentTakesAReport(t *testing.T) {
	for _, s := range situations {
		x, now := s.reach(t, ReportSuccess)
		if x.Seq != 0 {
			continue
		}
		for k := ReportRunning; k <= ReportCannotCancel; k++ {
			if y, v := x.Step(sample(k), now); v != Refused || y.State != x.State {
				t.Errorf("%s: %s is %s, want refused", s.name, k, v)
			}
		}
	}
}

func TestEveryNameIsItsOwn(t *testing.T) {
	seen := map[string]string{}
	add := func(set, name string) {
		if name == "" || name == "unknown" && set != "effect" {
			t.Errorf("a %s has no name", set)
		}
		if was := seen[set+name]; was != "" {
			t.Errorf("two of %s are called %q", set, name)
		}
		seen[set+name] = name
	}
	for _, s := range States {
		add("state", s.String())
	}
	for _, k := range Kinds {
		add("kind", k.String())
	}
	for c := NeverRegistered; c < causeEnd; c++ {
		add("cause", c.String())
	}
	for e := range effectEnd {
		add("effect", e.String())
	}
	for s := range statusEnd {
		add("status", s.String())
	}
	for v := Refused; v <= Contradicted; v++ {
		add("verdict", v.String())
	}
	for r := range redeliveryEnd {
		add("redelivery", r.String())
	}
	if got := State(200).String(); got != "unknown" {
		t.Errorf("a state out of range is called %q", got)
	}
}
