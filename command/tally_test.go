package command

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestTally(t *testing.T) {
	type answer struct {
		Total   int
		Ended   bool
		Settled bool
		Outcome Outcome
		State   string
	}
	ended := func(s State, e Effect) Execution { return Execution{State: s, Effect: e} }
	succeeded, failed := ended(Succeeded, EffectApplied), ended(Failed, EffectUnknown)
	unsure, closed := ended(TimedOut, EffectUnknown), Execution{State: TimedOut, Effect: EffectUnknown, Settled: true}
	for _, tt := range []struct {
		name string
		xs   []Execution
		want answer
	}{
		{"no device had room", nil, answer{0, true, true, NoneDone, "ended"}},
		{"all held", []Execution{{State: AwaitingApproval}, {State: AwaitingApproval}}, answer{2, false, false, Open, "awaiting_approval"}},
		{"all scheduled", []Execution{{State: Scheduled}}, answer{1, false, false, Open, "scheduled"}},
		{"all denied", []Execution{{State: Denied}, {State: Denied}}, answer{2, true, true, NoneDone, "denied"}},
		{"denied, less one that was canceled before", []Execution{{State: Denied}, {State: Canceled}}, answer{2, true, true, NoneDone, "denied"}},
		{"some scheduled", []Execution{{State: Scheduled}, {State: Queued}}, answer{2, false, false, Open, "open"}},
		{"all but one ended", []Execution{succeeded, ended(Running, EffectUnknown)}, answer{2, false, false, Open, "open"}},
		{"all succeeded", []Execution{succeeded, succeeded}, answer{2, true, true, AllSucceeded, "ended"}},
		{"one may still be heard of", []Execution{succeeded, unsure}, answer{2, true, false, SomeUnknown, "ended"}},
		{"one will not be heard of", []Execution{succeeded, closed}, answer{2, true, true, SomeUnknown, "ended"}},
		{"one failed, effect unknown", []Execution{succeeded, failed}, answer{2, true, true, SomeUnknown, "ended"}},
		{"one failed in part", []Execution{succeeded, ended(Failed, EffectPartial)}, answer{2, true, true, SomeFailed, "ended"}},
		{"one failed without effect", []Execution{succeeded, ended(Failed, EffectNone)}, answer{2, true, true, SomeFailed, "ended"}},
		{"none took effect", []Execution{ended(Expired, EffectNone), ended(Rejected, EffectNone), ended(Canceled, EffectNone),
			ended(Failed, EffectNone)}, answer{4, true, true, NoneDone, "ended"}},
		{"canceled half way", []Execution{ended(Canceled, EffectPartial)}, answer{1, true, true, SomeFailed, "ended"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var y Tally
			for _, x := range tt.xs {
				y.Add(x)
			}
			got := answer{y.Total(), y.Ended(), y.Settled(), y.Outcome(), y.State()}
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("-got +want\n%s", diff)
			}
		})
	}
}

// A command over very many devices is written out bit by bit: what has ended
// so far is not the end.
func TestNothingHasEndedWhileDevicesArePending(t *testing.T) {
	y := Tally{Pending: 1}
	for _, x := range []Execution{{State: Succeeded, Effect: EffectApplied}, {State: TimedOut, Effect: EffectUnknown, Settled: true}} {
		y.Add(x)
		if y.Ended() || y.Settled() || y.Outcome() != Open || y.State() != "open" {
			t.Errorf("ended %v, settled %v, outcome %q, state %s", y.Ended(), y.Settled(), y.Outcome(), y.State())
		}
	}
	if y.Pending = 0; !y.Settled() || y.Outcome() != SomeUnknown || y.State() != "ended" {
		t.Errorf("written out: settled %v, outcome %q, state %s", y.Settled(), y.Outcome(), y.State())
	}
}

// Only some_unknown may still change, however the executions end.
func TestOnlySomeUnknownMayStillChange(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var y Tally
		for range rapid.IntRange(1, 20).Draw(rt, "executions") {
			s := rapid.SampledFrom(situations).Draw(rt, "situation")
			x, _ := s.reach(t, Cancel)
			y.Add(x)
		}
		if (y.Outcome() == Open) == y.Ended() {
			rt.Fatalf("outcome %q, ended %v", y.Outcome(), y.Ended())
		}
		if y.Ended() && !y.Settled() && y.Outcome() != SomeUnknown {
			rt.Fatalf("outcome %q may still change", y.Outcome())
		}
	})
}

func TestCountingManyAlikeIsCountingEach(t *testing.T) {
	var each, many Tally
	for range 1000 {
		each.Add(Execution{State: TimedOut, Effect: EffectUnknown})
		each.Add(Execution{State: TimedOut, Effect: EffectUnknown, Settled: true})
	}
	many.AddN(TimedOut, EffectUnknown, false, 1000)
	many.AddN(TimedOut, EffectUnknown, true, 1000)
	if diff := cmp.Diff(many, each); diff != "" {
		t.Errorf("-got +want\n%s", diff)
	}
}

func TestAViewOfOneDeviceHasItsExecutionsState(t *testing.T) {
	x := Execution{State: Delivered}
	v := View{Only: &x}
	v.Tally.Add(x)
	if got := v.State(); got != "delivered" {
		t.Errorf("one device: %s, want delivered", got)
	}
	v.Only = nil
	if got := v.State(); got != "open" {
		t.Errorf("many devices: %s, want open", got)
	}
}
