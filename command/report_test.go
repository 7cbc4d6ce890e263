package command

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReportOvertakesAck(t *testing.T) {
	for _, r := range append(completions, saysRunning) {
		t.Run(r.Status.String(), func(t *testing.T) {
			queued(t, Policy{}, DefaultClocks).moves(Release).says(r, Moved).refuses(Ack)
		})
	}
}

// UDP may bring a report before the ACK, or lose the ACK: then the report is
// the first that is known of the delivery.
func TestAReportImpliesDelivery(t *testing.T) {
	for _, r := range append(completions, saysRunning) {
		l := queued(t, Policy{}, DefaultClocks).moves(Release).after(3*time.Second).says(r, Moved)
		if got, want := l.x.DeliveredAt, l.now; !got.Equal(want) {
			t.Errorf("%s from sent: delivered at %v, want %v", r.Status, got, want)
		}
	}
	l := delivered(t, Policy{}, DefaultClocks).after(time.Second).says(saysSuccess, Moved)
	if got := l.x.DeliveredAt; !got.Equal(epoch) {
		t.Errorf("an earlier ACK is forgotten: delivered at %v", got)
	}
}

func TestTheFirstOutcomeWins(t *testing.T) {
	for _, first := range completions {
		for _, second := range completions {
			t.Run(first.Status.String()+" then "+second.Status.String(), func(t *testing.T) {
				first.Text, second.Text = "first", "second"
				want := Contradicted
				if first.Status == second.Status {
					want = Repeated
				}
				l := delivered(t, Policy{}, DefaultClocks).says(first, Moved).after(time.Minute).says(second, want)
				if l.x.Last.Text != "first" {
					t.Errorf("the content is %q, want that of the first", l.x.Last.Text)
				}
			})
		}
	}
}

// What makes a repeat is the status; the rest may have been lost in a reboot.
func TestARepeatNeedsTheSameStatusOnly(t *testing.T) {
	delivered(t, Policy{}, DefaultClocks).
		says(Report{Status: StatusFailure, Code: ptr(int64(40)), N: ptr(uint32(2))}, Moved).
		says(Report{Status: StatusFailure, Code: ptr(int64(GenericInterrupted)), Effect: ptr(EffectUnknown)}, Repeated)
}

func TestARunningAfterTheEndMovesNothing(t *testing.T) {
	for _, r := range completions {
		delivered(t, Policy{}, DefaultClocks).says(r, Moved).says(saysRunning, Noted)
	}
}

func TestAStartedCommandCannotBeRejected(t *testing.T) {
	running(t, Policy{}, DefaultClocks).says(saysRejected, Contradicted)
}

func TestLateTruth(t *testing.T) {
	for _, tt := range []struct {
		name   string
		report Report
		want   standing
	}{
		{"success", saysSuccess, standing{State: Succeeded, Effect: EffectApplied, Late: true}},
		{"failure", saysFailure, standing{State: Failed, Effect: EffectUnknown, Late: true}},
		{"failure, effect said", Report{Status: StatusFailure, Effect: ptr(EffectPartial)},
			standing{State: Failed, Effect: EffectPartial, Late: true}},
		{"rejected", saysRejected, standing{State: Rejected, Effect: EffectNone, Late: true}},
		{"canceled", saysCanceled, standing{State: Canceled, Effect: EffectNone, Late: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := delivered(t, Policy{}, DefaultClocks).lapses(RunLapse).
				stands(standing{State: TimedOut, Cause: NoReport, Effect: EffectUnknown}).
				after(time.Hour).says(tt.report, Moved).stands(tt.want)
			if got, want := l.x.EndedAt, l.now; !got.Equal(want) {
				t.Errorf("ended at %v, want %v, when the truth came", got, want)
			}
			if when, k := l.x.Deadline(); !when.IsZero() {
				t.Errorf("a true end has the clock %q", k)
			}
			l.says(tt.report, Repeated)
		})
	}
}

// Every way to time out is settling: the device may know better.
func TestEveryTimedOutTakesLateTruth(t *testing.T) {
	ways := map[string]*life{
		"no report":    delivered(t, Policy{}, DefaultClocks).lapses(RunLapse),
		"unreachable":  queued(t, Policy{}, DefaultClocks).moves(Release).lapses(UnreachedLapse),
		"silent":       running(t, Policy{}, clocksFor(SilenceLapse)).lapses(SilenceLapse),
		"not canceled": delivered(t, Policy{}, DefaultClocks).moves(Cancel).lapses(CancelLapse),
		"once":         queued(t, Policy{Redelivery: Once}, DefaultClocks).moves(Release).moves(GiveUp),
		"withdrawn":    delivered(t, Policy{}, DefaultClocks).moves(Withdraw),
		"lost":         running(t, Policy{}, DefaultClocks).moves(Lose),
	}
	for name, l := range ways {
		t.Run(name, func(t *testing.T) {
			l.t = t
			l.after(time.Hour).says(saysSuccess, Moved).stands(standing{State: Succeeded, Effect: EffectApplied, Late: true})
		})
	}
}

func TestSettledIsClosed(t *testing.T) {
	for _, r := range append(completions, saysRunning) {
		l := delivered(t, Policy{}, DefaultClocks).lapses(RunLapse).
			lapsesAfter(DefaultClocks.RunFor+DefaultClocks.SettleFor, SettleLapse).
			stands(standing{State: TimedOut, Cause: NoReport, Effect: EffectUnknown, Settled: true}).
			says(r, Noted)
		if when, k := l.x.Deadline(); !when.IsZero() {
			t.Errorf("what is closed has the clock %q", k)
		}
	}
}

func TestOnlySilenceIsRevivedByALateRunning(t *testing.T) {
	clocks := clocksFor(SilenceLapse)
	l := running(t, Policy{}, clocks).lapses(SilenceLapse).after(time.Second).
		says(saysRunning, Moved).stands(standing{State: Running, Effect: EffectUnknown, Late: true})
	if !l.x.EndedAt.IsZero() {
		t.Errorf("what runs has ended at %v", l.x.EndedAt)
	}
	l.lapses(SilenceLapse).after(time.Second).says(saysSuccess, Moved).
		stands(standing{State: Succeeded, Effect: EffectApplied, Late: true})

	t.Run("not once run_for is over", func(t *testing.T) {
		l := running(t, Policy{}, clocks).lapses(SilenceLapse)
		l.now = epoch.Add(clocks.RunFor)
		l.says(saysRunning, Noted)
	})
	t.Run("not after another cause", func(t *testing.T) {
		running(t, Policy{}, clocks).moves(Withdraw).says(saysRunning, Noted)
	})
}

func TestAnOlderReportMovesNothing(t *testing.T) {
	at := func(n uint32, percent uint8) Report {
		return Report{Status: StatusRunning, N: &n, Progress: &percent}
	}
	l := delivered(t, Policy{}, DefaultClocks).says(at(2, 40), Moved).
		after(time.Second).says(at(1, 10), Noted).
		after(time.Second).says(at(2, 40), Repeated).
		after(time.Second).says(at(3, 60), Kept)
	if got := *l.x.Last.Progress; got != 60 {
		t.Errorf("progress %d, want 60", got)
	}
	t.Run("but numbers begin anew after a reboot", func(t *testing.T) {
		l.says(Report{Status: StatusRunning, Progress: ptr(uint8(5))}, Kept).says(at(1, 10), Kept)
	})
	t.Run("and a completion counts whatever its number", func(t *testing.T) {
		delivered(t, Policy{}, DefaultClocks).says(at(7, 90), Moved).
			says(Report{Status: StatusSuccess, N: ptr(uint32(1))}, Moved)
	})
}

// A completion that says less than the reports before it does not unsay them.
func TestACompletionKeepsWhatWasSaidBefore(t *testing.T) {
	l := delivered(t, Policy{}, DefaultClocks).
		says(Report{Status: StatusRunning, Prev: []byte{0x18, 0x2a}, Progress: ptr(uint8(40)), N: ptr(uint32(1))}, Moved).
		says(Report{Status: StatusSuccess, Text: "done"}, Moved)
	want := Report{Status: StatusSuccess, Text: "done", Prev: []byte{0x18, 0x2a}, Progress: ptr(uint8(40)), N: ptr(uint32(1))}
	if diff := cmp.Diff(l.x.Last, want); diff != "" {
		t.Errorf("-got +want\n%s", diff)
	}
}

func TestFresh(t *testing.T) {
	fresh := Policy{Fresh: true}
	clocks := clocksFor(DeliverLapse)
	t.Run("starts before its deadline", func(t *testing.T) {
		delivered(t, fresh, clocks).after(clocks.DeliverWithin-time.Nanosecond).
			says(saysRunning, Moved).says(saysRunning, Kept)
	})
	t.Run("does not start at its deadline, when no second is left", func(t *testing.T) {
		queued(t, fresh, clocks).moves(Release).after(clocks.DeliverWithin).says(saysRunning, Contradicted).
			says(Report{Status: StatusRejected, Code: ptr(int64(GenericExpired))}, Moved)
	})
	t.Run("goes on after its deadline", func(t *testing.T) {
		clocks := clocks
		clocks.RunFor = 2 * time.Hour
		delivered(t, fresh, clocks).says(saysRunning, Moved).after(clocks.DeliverWithin+time.Minute).
			says(saysRunning, Kept)
	})
	t.Run("does not start once it has ended", func(t *testing.T) {
		for _, r := range completions {
			delivered(t, fresh, clocks).says(r, Moved).says(saysRunning, Contradicted)
		}
		delivered(t, fresh, clocks).lapses(RunLapse).says(saysRunning, Contradicted)
		delivered(t, fresh, clocks).lapses(RunLapse).lapses(SettleLapse).says(saysRunning, Contradicted)
	})
	t.Run("may repeat what it said when it started", func(t *testing.T) {
		running(t, fresh, clocks).says(saysSuccess, Moved).says(saysRunning, Noted)
	})
	t.Run("does not start once somebody wants it stopped", func(t *testing.T) {
		delivered(t, fresh, clocks).moves(Cancel).says(saysRunning, Contradicted).says(saysCanceled, Moved).
			stands(standing{State: Canceled, Effect: EffectNone})
	})
	t.Run("goes on as canceling when it had started", func(t *testing.T) {
		running(t, fresh, clocks).moves(Cancel).says(saysRunning, Kept)
	})
	t.Run("holds for no other type", func(t *testing.T) {
		queued(t, Policy{}, clocks).moves(Release).after(clocks.DeliverWithin+time.Second).says(saysRunning, Moved)
	})
}

func TestEffect(t *testing.T) {
	said := func(s Status, e Effect) Report { return Report{Status: s, Effect: &e} }
	for _, tt := range []struct {
		name string
		life *life
		want Effect
	}{
		{"queued", queued(t, Policy{}, DefaultClocks), EffectNone},
		{"sent", queued(t, Policy{}, DefaultClocks).moves(Release), EffectUnknown},
		{"delivered", delivered(t, Policy{}, DefaultClocks), EffectUnknown},
		{"running", running(t, Policy{}, DefaultClocks), EffectUnknown},
		{"canceling", delivered(t, Policy{}, DefaultClocks).moves(Cancel), EffectUnknown},
		{"success", delivered(t, Policy{}, DefaultClocks).says(saysSuccess, Moved), EffectApplied},
		{"success that says none", delivered(t, Policy{}, DefaultClocks).says(said(StatusSuccess, EffectNone), Moved), EffectApplied},
		{"failure", delivered(t, Policy{}, DefaultClocks).says(saysFailure, Moved), EffectUnknown},
		{"failure that says none", delivered(t, Policy{}, DefaultClocks).says(said(StatusFailure, EffectNone), Moved), EffectNone},
		{"failure that says partial", running(t, Policy{}, DefaultClocks).says(said(StatusFailure, EffectPartial), Moved), EffectPartial},
		{"rejected", delivered(t, Policy{}, DefaultClocks).says(saysRejected, Moved), EffectNone},
		{"rejected that says applied", delivered(t, Policy{}, DefaultClocks).says(said(StatusRejected, EffectApplied), Moved), EffectNone},
		{"rejected while canceling, though it had started",
			running(t, Policy{}, DefaultClocks).moves(Cancel).says(saysRejected, Moved), EffectUnknown},
		{"rejected late, though it had started",
			running(t, Policy{}, DefaultClocks).lapses(RunLapse).says(said(StatusRejected, EffectPartial), Moved), EffectPartial},
		{"canceled before it was sent", queued(t, Policy{}, DefaultClocks).moves(Cancel), EffectNone},
		{"canceled from sent", queued(t, Policy{}, DefaultClocks).moves(Release).says(saysCanceled, Moved), EffectNone},
		{"canceled from delivered", delivered(t, Policy{}, DefaultClocks).moves(Cancel).says(saysCanceled, Moved), EffectNone},
		{"canceled from running", running(t, Policy{}, DefaultClocks).moves(Cancel).says(saysCanceled, Moved), EffectUnknown},
		{"canceled from running that says partial",
			running(t, Policy{}, DefaultClocks).says(said(StatusCanceled, EffectPartial), Moved), EffectPartial},
		{"denied", held(t, DefaultClocks).moves(Deny), EffectNone},
		{"expired", queued(t, Policy{}, DefaultClocks).lapses(DeliverLapse), EffectNone},
		{"timed_out", delivered(t, Policy{}, DefaultClocks).lapses(RunLapse), EffectUnknown},
		{"withdrawn before it was sent", queued(t, Policy{}, DefaultClocks).moves(Withdraw), EffectNone},
		{"withdrawn from sent", queued(t, Policy{}, DefaultClocks).moves(Release).moves(Withdraw), EffectUnknown},
		{"lost before it was sent", queued(t, Policy{}, DefaultClocks).moves(Lose), EffectUnknown},
	} {
		if got := tt.life.x.Effect; got != tt.want {
			t.Errorf("%s: effect %s, want %s", tt.name, got, tt.want)
		}
	}
}
