package command

import (
	"math"
	"testing"
	"time"
)

const day = 24 * time.Hour

func TestApprovalLapses(t *testing.T) {
	held(t, DefaultClocks).lapsesAfter(day, ApproveLapse).
		stands(standing{State: Expired, Cause: ApprovalLapsed})
}

func TestAnApprovalIsToBeUsedInTime(t *testing.T) {
	t.Run("while scheduled", func(t *testing.T) {
		held(t, DefaultClocks).after(time.Hour).moves(Approve).
			lapsesAfter(time.Hour+day, UseLapse).stands(standing{State: Expired, Cause: ApprovalUnused})
	})
	t.Run("while queued", func(t *testing.T) {
		held(t, DefaultClocks).after(time.Hour).moves(Approve).after(time.Hour).moves(Due).
			lapsesAfter(time.Hour+day, UseLapse).stands(standing{State: Expired, Cause: ApprovalUnused})
	})
	t.Run("until it is released", func(t *testing.T) {
		held(t, DefaultClocks).moves(Approve).moves(Due).after(day - time.Second).moves(Release).
			after(time.Hour).moves(Ack)
	})
}

func TestHeldTooLong(t *testing.T) {
	c := DefaultClocks
	c.UseWithin = ClockMax
	t.Run("from creation", func(t *testing.T) {
		l := queued(t, Policy{}, c)
		l.x.State, l.x.QueuedAt = Scheduled, time.Time{}
		l.lapsesAfter(30*day, HoldLapse).stands(standing{State: Expired, Cause: Held})
	})
	t.Run("from approval", func(t *testing.T) {
		held(t, c).after(time.Hour).moves(Approve).lapsesAfter(time.Hour+30*day, HoldLapse)
	})
}

func TestNotBeforeIsAGate(t *testing.T) {
	l := queued(t, Policy{}, DefaultClocks)
	l.x.State, l.x.QueuedAt = Scheduled, time.Time{}
	l.x.Command.NotBefore = epoch.Add(time.Hour)
	l.lapsesAfter(time.Hour, Due).lapsesAfter(time.Hour+day, DeliverLapse)
}

func TestDeliverWithinStartsWhenQueued(t *testing.T) {
	held(t, DefaultClocks).after(time.Hour).moves(Approve)
	c := DefaultClocks
	c.UseWithin = ClockMax
	l := held(t, c).after(time.Hour).moves(Approve).after(time.Hour).moves(Due).
		lapsesAfter(2*time.Hour+day, DeliverLapse)
	l.stands(standing{State: Expired, Cause: NotObserving})
}

// What waits too long for its turn says so, and so does every other cause
// that the caller knows of.
func TestExpiryNamesItsCause(t *testing.T) {
	for _, cause := range []Cause{NeverRegistered, NotObserving, Unreachable, Asleep, BehindOtherCommand, OutsideWindow} {
		l := queued(t, Policy{}, DefaultClocks).after(day)
		l.gets(Trigger{Kind: DeliverLapse, Cause: cause}, Moved).stands(standing{State: Expired, Cause: cause})
	}
}

func TestUnreachable(t *testing.T) {
	queued(t, Policy{}, DefaultClocks).moves(Release).keeps(Unanswered).
		lapsesAfter(day+5*time.Minute, UnreachedLapse).
		stands(standing{State: TimedOut, Cause: Unreachable, Effect: EffectUnknown})
}

// An approval, a gate or a transmission that comes when the clock has lapsed
// comes too late, also when the lapse itself was not noted yet: a server that
// was down must not send what expired meanwhile.
func TestNothingGoesOutPastItsClock(t *testing.T) {
	t.Run("approval", func(t *testing.T) { held(t, DefaultClocks).after(day).refuses(Approve).moves(ApproveLapse) })
	t.Run("gate", func(t *testing.T) {
		held(t, DefaultClocks).moves(Approve).after(day).refuses(Due).moves(UseLapse)
	})
	t.Run("start deadline", func(t *testing.T) {
		queued(t, Policy{}, DefaultClocks).after(day).refuses(Release).moves(DeliverLapse)
	})
	t.Run("use of the approval", func(t *testing.T) {
		held(t, DefaultClocks).moves(Approve).after(time.Hour).moves(Due).after(day).refuses(Release)
	})
	t.Run("and stopping is never too late", func(t *testing.T) {
		queued(t, Policy{}, DefaultClocks).after(day).moves(Cancel)
	})
}

func TestRunForStartsWithTheFirstSign(t *testing.T) {
	t.Run("delivered", func(t *testing.T) {
		queued(t, Policy{}, DefaultClocks).moves(Release).after(time.Minute).moves(Ack).
			lapsesAfter(6*time.Minute, RunLapse).stands(standing{State: TimedOut, Cause: NoReport, Effect: EffectUnknown})
	})
	t.Run("delivered, then running", func(t *testing.T) {
		delivered(t, Policy{}, DefaultClocks).after(time.Minute).says(saysRunning, Moved).
			lapsesAfter(5*time.Minute, RunLapse).stands(standing{State: TimedOut, Cause: NoReport, Effect: EffectUnknown})
	})
	t.Run("running before its ACK", func(t *testing.T) {
		queued(t, Policy{}, DefaultClocks).moves(Release).after(time.Minute).says(saysRunning, Moved).
			lapsesAfter(6*time.Minute, RunLapse)
	})
	t.Run("no report prolongs it", func(t *testing.T) {
		running(t, Policy{}, DefaultClocks).after(4*time.Minute).says(saysRunning, Kept).lapsesAfter(5*time.Minute, RunLapse)
	})
}

func TestHeartbeat(t *testing.T) {
	clocks := func(every time.Duration) Clocks {
		c := DefaultClocks
		c.ReportEvery, c.RunFor = every, time.Hour
		return c
	}
	next := func(d time.Duration) Report { return Report{Status: StatusRunning, Next: d} }
	t.Run("has a grace of half its interval", func(t *testing.T) {
		running(t, Policy{}, clocks(time.Minute)).lapsesAfter(90*time.Second, SilenceLapse).
			stands(standing{State: TimedOut, Cause: Silent, Effect: EffectUnknown})
	})
	t.Run("of five seconds at least", func(t *testing.T) {
		running(t, Policy{}, clocks(2*time.Second)).lapsesAfter(7*time.Second, SilenceLapse)
	})
	t.Run("is off unless the type asks", func(t *testing.T) {
		running(t, Policy{}, clocks(0)).lapsesAfter(time.Hour, RunLapse)
	})
	t.Run("starts anew with each running report", func(t *testing.T) {
		running(t, Policy{}, clocks(time.Minute)).after(80*time.Second).says(saysRunning, Kept).
			lapsesAfter(170*time.Second, SilenceLapse)
	})
	t.Run("waits for the next that the report names", func(t *testing.T) {
		delivered(t, Policy{}, clocks(time.Minute)).says(next(10*time.Minute), Moved).lapsesAfter(15*time.Minute, SilenceLapse)
	})
	t.Run("also where the type does not ask", func(t *testing.T) {
		delivered(t, Policy{}, clocks(0)).says(next(10*time.Minute), Moved).lapsesAfter(15*time.Minute, SilenceLapse)
	})
	t.Run("returns to the type's when the next names none", func(t *testing.T) {
		delivered(t, Policy{}, clocks(time.Minute)).says(next(10*time.Minute), Moved).says(saysRunning, Kept).
			lapsesAfter(90*time.Second, SilenceLapse)
	})
	t.Run("never goes past run_for", func(t *testing.T) {
		delivered(t, Policy{}, clocks(time.Minute)).says(next(2*time.Hour), Moved).lapsesAfter(time.Hour, RunLapse)
	})
	t.Run("not even with a next beyond all bounds", func(t *testing.T) {
		delivered(t, Policy{}, clocks(time.Minute)).says(next(math.MaxInt64), Moved).lapsesAfter(time.Hour, RunLapse)
	})
	t.Run("does not start before running", func(t *testing.T) {
		delivered(t, Policy{}, clocks(time.Minute)).lapsesAfter(time.Hour, RunLapse)
	})
	t.Run("is not asked of what is being canceled", func(t *testing.T) {
		running(t, Policy{}, clocks(time.Minute)).moves(Cancel).lapsesAfter(25*time.Hour, CancelLapse)
	})
}

func TestCancel(t *testing.T) {
	t.Run("before it is sent ends it at once", func(t *testing.T) {
		queued(t, Policy{}, DefaultClocks).moves(Cancel).stands(standing{State: Canceled})
	})
	t.Run("is bounded like a delivery until it is acknowledged", func(t *testing.T) {
		delivered(t, Policy{}, DefaultClocks).moves(Cancel).keeps(Unanswered).
			lapsesAfter(day+5*time.Minute, CancelLapse).
			stands(standing{State: TimedOut, Cause: NotCanceled, Effect: EffectUnknown})
	})
	t.Run("is bounded by cancel_for from then on", func(t *testing.T) {
		delivered(t, Policy{}, DefaultClocks).moves(Cancel).after(time.Minute).keeps(AckCancel).
			lapsesAfter(2*time.Minute, CancelLapse).
			stands(standing{State: TimedOut, Cause: NotCanceled, Effect: EffectUnknown})
	})
	t.Run("starts cancel_for with the first ACK only", func(t *testing.T) {
		delivered(t, Policy{}, DefaultClocks).moves(Cancel).keeps(AckCancel).
			after(50*time.Second).keeps(AckCancel).lapsesAfter(time.Minute, CancelLapse)
	})
	t.Run("is not acknowledged by the ACK of a list without it", func(t *testing.T) {
		queued(t, Policy{}, DefaultClocks).moves(Release).moves(Cancel).keeps(Ack).
			lapsesAfter(day+5*time.Minute, CancelLapse)
	})
	t.Run("never lasts longer than a day", func(t *testing.T) {
		c := DefaultClocks
		c.CancelFor = 48 * time.Hour
		delivered(t, Policy{}, c).moves(Cancel).keeps(AckCancel).lapsesAfter(day, CancelLapse)
	})
	t.Run("that comes too late leads back to running", func(t *testing.T) {
		running(t, Policy{}, DefaultClocks).after(time.Minute).moves(Cancel).keeps(AckCancel).
			says(cannotCancel, Moved).stands(standing{State: Running, Effect: EffectUnknown}).
			lapsesAfter(5*time.Minute, RunLapse)
	})
	t.Run("asked again starts its clock anew", func(t *testing.T) {
		running(t, Policy{}, DefaultClocks).moves(Cancel).keeps(AckCancel).says(cannotCancel, Moved).
			after(time.Minute).moves(Cancel).lapsesAfter(day+5*time.Minute, CancelLapse)
	})
	t.Run("asked while it is being canceled changes nothing", func(t *testing.T) {
		delivered(t, Policy{}, DefaultClocks).moves(Cancel).refuses(Cancel)
	})
	t.Run("does not cut the run_for of what started late", func(t *testing.T) {
		queued(t, Policy{}, DefaultClocks).moves(Release).after(day+4*time.Minute).says(saysRunning, Moved).
			after(2*time.Minute).moves(Cancel).lapsesAfter(day+9*time.Minute, CancelLapse)
	})
	t.Run("keeps the first sign of delivery", func(t *testing.T) {
		running(t, Policy{}, DefaultClocks).after(time.Minute).moves(Cancel).keeps(Ack).says(cannotCancel, Moved).
			lapsesAfter(5*time.Minute, RunLapse)
	})
	t.Run("may be answered by any completion", func(t *testing.T) {
		for _, r := range completions {
			delivered(t, Policy{}, DefaultClocks).moves(Cancel).says(r, Moved)
		}
	})
	t.Run("means nothing to what has ended", func(t *testing.T) {
		delivered(t, Policy{}, DefaultClocks).says(saysSuccess, Moved).refuses(Cancel)
		delivered(t, Policy{}, DefaultClocks).lapses(RunLapse).refuses(Cancel)
	})
}

func TestOnceGoesOnce(t *testing.T) {
	queued(t, Policy{Redelivery: Once}, DefaultClocks).moves(Release).moves(GiveUp).
		stands(standing{State: TimedOut, Cause: Unacknowledged, Effect: EffectUnknown})
	for _, again := range []Redelivery{Dedup, Safe} {
		queued(t, Policy{Redelivery: again}, DefaultClocks).moves(Release).refuses(GiveUp)
	}
}

func TestCircumstancesEndWhatIsOpen(t *testing.T) {
	for _, s := range situations {
		for _, cause := range []Cause{DeviceRemoved, NotEntitled, IntegrityFailed} {
			x, now := s.reach(t, Withdraw)
			y, v := x.Step(Trigger{Kind: Withdraw, Cause: cause}, now)
			switch {
			case x.State.Ended() && v != Refused, !x.State.Ended() && (v != Moved || y.Cause != cause),
				x.State.Unsent() && y.State != Canceled, x.State.OnWire() && y.State != TimedOut:
				t.Errorf("%s, %s: %s, %s", s.name, cause, v, y.State)
			}
		}
		for _, cause := range []Cause{Restored, DeviceReset} {
			x, now := s.reach(t, Lose)
			y, v := x.Step(Trigger{Kind: Lose, Cause: cause}, now)
			switch {
			case x.State.Ended() && v != Refused, !x.State.Ended() && (v != Moved || y.State != TimedOut || y.Cause != cause):
				t.Errorf("%s, %s: %s, %s", s.name, cause, v, y.State)
			}
		}
	}
}

// Every state has a clock that ends it, and following the clocks alone leads
// to an end that nothing can change any more, in less than three years.
func TestAlwaysAnExit(t *testing.T) {
	for _, s := range situations {
		x, now := s.reach(t, SilenceLapse)
		for moves := 0; ; moves++ {
			when, k := x.Deadline()
			if when.IsZero() {
				if !x.State.Ended() || x.State == TimedOut && !x.Settled {
					t.Errorf("%s: %s has no clock", s.name, x.State)
				}
				break
			}
			if moves > 4 || when.After(epoch.Add(3*ClockMax)) {
				t.Fatalf("%s: %s waits for %q until %v", s.name, x.State, k, when)
			}
			y, v := x.Step(sample(k), later(when, now))
			if v != Moved && v != Kept {
				t.Fatalf("%s: %q of %s is %s", s.name, k, x.State, v)
			}
			x, now = y, later(when, now)
		}
	}
}

// Whoever asks too early, or for a clock that no longer runs, is refused.
func TestALapseNeedsItsClock(t *testing.T) {
	for _, s := range situations {
		for _, k := range Kinds {
			x, now := s.reach(t, k)
			when, next := x.Deadline()
			if !k.isLapse() {
				continue
			}
			if next == k && !when.IsZero() {
				now = when.Add(-time.Nanosecond)
			}
			if _, v := x.Step(sample(k), now); v != Refused {
				t.Errorf("%s: %q before its time is %s", s.name, k, v)
			}
		}
	}
}
