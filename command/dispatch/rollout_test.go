package dispatch_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"behest/command"
	"behest/device"
)

// roll issues a command to n devices that are there, by a rollout.
func (w *world) roll(n int, r *command.Rollout) command.Issued {
	w.t.Helper()
	names := fleet(n)
	for _, name := range names {
		w.ready(name)
	}
	in := intent(names...)
	in.Rollout = r
	i, err := w.Issue(w.ctx(), in)
	if err != nil {
		w.t.Fatal(err)
	}
	return i
}

// through is how many devices of a command are through its gate by now.
func (w *world) through(i command.Issued) int {
	w.t.Helper()
	synctest.Wait()
	v, err := w.store.Command(w.ctx(), i.Command.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return v.Command.Devices - v.Tally.Pending
}

// some lets n of those that a command was sent to report.
func (w *world) some(i command.Issued, n int, s command.Status) {
	w.t.Helper()
	xs, _, err := w.store.Executions(w.ctx(), i.Command.ID, "sent", 0, n)
	if err != nil || len(xs) < n {
		w.t.Fatalf("%d of %d are sent, %v", len(xs), n, err)
	}
	for _, x := range xs {
		if err := w.report(x.Name, x.Seq, s); err != nil {
			w.t.Error(err)
		}
	}
}

// A rate is never exceeded, in no second, and it is used.
func TestARateIsKept(t *testing.T) {
	for _, tt := range []struct{ perMinute, devices int }{{60, 12}, {600, 60}, {20, 4}} {
		inWorld(t, func(w *world) {
			begun := time.Now()
			i := w.roll(tt.devices, &command.Rollout{RatePerMinute: tt.perMinute})
			for w.through(i) < tt.devices {
				if time.Since(begun) > time.Hour {
					t.Fatalf("%d a minute: %d of %d are through after an hour", tt.perMinute, w.through(i), tt.devices)
				}
				time.Sleep(500 * time.Millisecond)
				may := int(time.Since(begun).Minutes()*float64(tt.perMinute)) + 1
				if got := w.through(i); got > may || got < may-2-tt.perMinute/60 {
					t.Errorf("%d a minute: %d are through after %s, and %d may be", tt.perMinute, got, time.Since(begun), may)
				}
			}
		})
	}
}

// What a rate had to leave unused while a wave was waited for is not made up
// for when the next begins, nor what it could not use while nobody was there.
func TestARateIsNotSavedUp(t *testing.T) {
	inWorld(t, func(w *world) {
		i := w.roll(40, &command.Rollout{Waves: []command.Wave{{Count: 1}}, RatePerMinute: 60})
		time.Sleep(10 * time.Minute)
		if got := w.through(i); got != 1 {
			t.Fatalf("%d are through, want the first wave", got)
		}
		w.some(i, 1, command.StatusSuccess)
		time.Sleep(5 * time.Second)
		if got := w.through(i); got < 4 || got > 1+1+5 {
			t.Errorf("%d are through five seconds into the second wave", got)
		}
		before := w.through(i)
		w.stop()
		time.Sleep(10 * time.Minute)
		w.start()
		time.Sleep(2 * time.Second)
		if got := w.through(i) - before; got < 1 || got > 1+1+2 {
			t.Errorf("%d went two seconds after a start", got)
		}
	})
}

// A wave that does not end is not waited for longer than wave_within.
func TestAWaveIsNotWaitedForForEver(t *testing.T) {
	inWorld(t, func(w *world) {
		i := w.roll(5, &command.Rollout{Waves: []command.Wave{{Count: 2}, {Percent: 20}}, WaveWithin: 2 * time.Minute})
		for _, want := range []int{2, 3, 5} {
			time.Sleep(time.Minute)
			if got := w.through(i); got != want {
				t.Errorf("%d are through, want %d", got, want)
			}
			time.Sleep(time.Minute + time.Second)
		}
	})
}

// A wave has ended when so many of those that are through have, whatever they
// came to.
func TestAWaveEndsWhenEnoughHaveEnded(t *testing.T) {
	for percent, needed := range map[int]int{50: 2, 51: 3, 0: 4} {
		inWorld(t, func(w *world) {
			i := w.roll(8, &command.Rollout{Waves: []command.Wave{{Count: 4}}, AdvancePercent: percent})
			w.stands(i, "open", 4)
			w.some(i, needed-1, command.StatusFailure)
			w.stands(i, "open", 4)
			w.some(i, 1, command.StatusSuccess)
			w.stands(i, "open", 0)
		})
	}
}

// Too many failures, or too many of whom nobody heard, halt a rollout; not
// before so many have ended that it means something.
func TestTooManyFailuresOrUnknownsHalt(t *testing.T) {
	halting := &command.Rollout{Waves: []command.Wave{{Count: 4}}, AdvancePercent: 1, Halt: &command.Threshold{Percent: 50, Minimum: 4}}
	for _, status := range []command.Status{command.StatusFailure, command.StatusRejected} {
		inWorld(t, func(w *world) {
			r := *halting
			r.AdvancePercent = 100
			i := w.roll(8, &r)
			w.stands(i, "open", 4)
			w.some(i, 3, status)
			w.stands(i, "open", 4)
			w.some(i, 1, command.StatusSuccess)
			w.stands(i, "halted", 4)
		})
	}
	inWorld(t, func(w *world) { // just not enough
		i := w.roll(8, &command.Rollout{Waves: []command.Wave{{Count: 4}}, Halt: &command.Threshold{Percent: 51, Minimum: 4}})
		w.stands(i, "open", 4)
		w.some(i, 2, command.StatusFailure)
		w.some(i, 2, command.StatusSuccess)
		w.stands(i, "open", 0)
	})
	inWorld(t, func(w *world) { // nobody hears of two
		i := w.roll(8, &command.Rollout{Waves: []command.Wave{{Count: 4}}, Halt: &command.Threshold{Percent: 50, Minimum: 4}})
		w.stands(i, "open", 4)
		w.some(i, 2, command.StatusSuccess)
		time.Sleep(command.DefaultClocks.DeliverWithin + command.DefaultClocks.RunFor)
		w.stands(i, "halted", 4)
	})
}

// halted is a rollout that has halted: of eight devices four are through, and
// failed or are not heard of.
func (w *world) halted(s command.Status, heard bool) command.Issued {
	w.t.Helper()
	w.declare(command.Type{Name: "pump.start", Rollback: &command.RollbackRule{Kind: command.Inverse, Type: "pump.stop"}})
	i := w.roll(8, &command.Rollout{Waves: []command.Wave{{Count: 4}}, Halt: &command.Threshold{Percent: 50, Minimum: 4}})
	w.stands(i, "open", 4)
	if heard {
		w.some(i, 4, s)
	} else {
		time.Sleep(command.DefaultClocks.DeliverWithin + command.DefaultClocks.RunFor)
		for _, name := range fleet(8) {
			w.ready(name)
		}
	}
	w.stands(i, "halted", 4)
	return i
}

// Who resumes what has halted forgives what went wrong so far, and no more.
func TestAHaltedRolloutIsResumed(t *testing.T) {
	inWorld(t, func(w *world) {
		i := w.halted(command.StatusFailure, true)
		if _, err := w.Resume(w.ctx(), i.Command.ID, "ann"); err != nil {
			t.Fatal(err)
		}
		w.stands(i, "open", 0)
	})
	inWorld(t, func(w *world) { // in three waves: the second halts it again
		i := w.roll(9, &command.Rollout{Waves: []command.Wave{{Count: 2}, {Count: 3}}, Halt: &command.Threshold{Percent: 60, Minimum: 2}})
		w.stands(i, "open", 7)
		w.some(i, 2, command.StatusFailure)
		w.stands(i, "halted", 7)
		if _, err := w.Resume(w.ctx(), i.Command.ID, "ann"); err != nil {
			t.Fatal(err)
		}
		w.stands(i, "open", 4)
		w.restart()
		w.some(i, 1, command.StatusSuccess)
		w.stands(i, "open", 4)
		w.some(i, 2, command.StatusFailure)
		w.stands(i, "halted", 4)
	})
}

// Canceled, nobody else gets it.
func TestAHaltedRolloutIsCanceled(t *testing.T) {
	inWorld(t, func(w *world) {
		i := w.halted(command.StatusFailure, true)
		v, err := w.Cancel(w.ctx(), i.Command.ID, nil, "ann")
		if err != nil || v.Tally.Count[command.Canceled] != 4 || v.Tally.Pending != 0 || v.State() != "ended" {
			t.Errorf("%s, %+v, %v", v.State(), v.Tally, err)
		}
		if _, err := w.Resume(w.ctx(), i.Command.ID, "ann"); command.CodeOf(err) != command.CodeConflict {
			t.Errorf("resumed: %v, want a conflict", err)
		}
	})
}

// Rolled back, the rest does not get it, and those whose effect is not none get
// the way back.
func TestAHaltedRolloutIsRolledBack(t *testing.T) {
	inWorld(t, func(w *world) {
		i := w.halted(command.StatusFailure, true)
		back, err := w.Rollback(w.ctx(), i.Command.ID, command.RollbackIntent{By: "ann", Reason: "it fails"})
		if err != nil {
			t.Fatal(err)
		}
		w.stands(i, "ended", 0)
		if v := w.view(i.Command.ID); v.Tally.Count[command.Canceled] != 4 || v.RolledBackBy != back.Command.ID {
			t.Errorf("%+v, rolled back by %s", v.Tally, v.RolledBackBy)
		}
		if v := w.view(back.Command.ID); v.Command.Devices != 4 || v.Tally.Count[command.Canceled] != 4 {
			t.Errorf("an inverse of failures of which nobody knows the effect: %d devices, %+v", v.Command.Devices, v.Tally)
		}
	})
}

// A rollback that is refused leaves everything as it was.
func TestARefusedRollbackStopsNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		i := w.halted(command.StatusRejected, true)
		if _, err := w.Rollback(w.ctx(), i.Command.ID, command.RollbackIntent{By: "ann"}); command.CodeOf(err) != command.CodeConflict {
			t.Errorf("nothing to undo: %v, want a conflict", err)
		}
		w.stands(i, "halted", 4)
	})
}

// What was unknown may turn out well: it stays halted until somebody says so.
func TestLateTruthDoesNotResume(t *testing.T) {
	inWorld(t, func(w *world) {
		i := w.halted(0, false)
		for _, name := range fleet(4) {
			if err := w.report(name, w.on(i, name).Seq, command.StatusSuccess); err != nil {
				t.Fatal(err)
			}
		}
		w.stands(i, "halted", 4)
		w.restart()
		w.stands(i, "halted", 4)
	})
}

// Past its type's threshold a command is rolled back by itself, once.
func TestACommandIsRolledBackByItself(t *testing.T) {
	for name, rollout := range map[string]*command.Rollout{
		"its type says so":    {Waves: []command.Wave{{Count: 4}}},
		"its rollout does":    {Waves: []command.Wave{{Count: 4}}, Halt: &command.Threshold{Percent: 50, Minimum: 4}, RollbackOnHalt: true},
		"nobody does":         {Waves: []command.Wave{{Count: 4}}, Halt: &command.Threshold{Percent: 50, Minimum: 4}},
		"all went out before": nil,
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				rule := &command.RollbackRule{Kind: command.Inverse, Type: "pump.stop"}
				if name == "its type says so" || rollout == nil {
					rule.Automatic = &command.Threshold{Percent: 50, Minimum: 4}
				}
				w.declare(command.Type{Name: "pump.start", Rollback: rule})
				i := w.roll(8, rollout)
				time.Sleep(time.Second)
				w.some(i, 2, command.StatusSuccess)
				w.some(i, 1, command.StatusFailure)
				w.stands(i, "open", w.view(i.Command.ID).Tally.Pending)
				if v := w.view(i.Command.ID); v.RolledBackBy != (command.ID{}) {
					t.Fatalf("it is rolled back by %s before the threshold", v.RolledBackBy)
				}
				w.some(i, 1, command.StatusFailure)
				v := w.view(i.Command.ID)
				if name == "nobody does" {
					if v.State() != "halted" || v.RolledBackBy != (command.ID{}) {
						t.Errorf("%s, rolled back by %s", v.State(), v.RolledBackBy)
					}
					return
				}
				back, err := w.store.Command(w.ctx(), v.RolledBackBy)
				if err != nil || v.Tally.Pending != 0 {
					t.Fatalf("%+v %v", v.Tally, err)
				}
				want := 4 // those that were through
				if rollout == nil {
					want = 8
				}
				if back.Command.Devices != want || back.Command.RequestedBy != "" || back.Command.Reason == "" || back.Tally.Count[command.Sent] != 2 {
					t.Errorf("the way back: %d devices, for %q because %q: %+v", back.Command.Devices, back.Command.RequestedBy, back.Command.Reason, back.Tally)
				}
				w.restart()
				w.reportAll(command.Issued{View: back}, command.StatusFailure)
				w.stands(i, w.view(i.Command.ID).State(), 0)
				n := 0
				for _, kind := range w.kinds(i.Command.ID) {
					if kind == command.EventRollback {
						n++
					}
				}
				if n != 1 {
					t.Errorf("it was rolled back %d times", n)
				}
			})
		})
	}
}

// A success that is heard of after the way back went is told: what stands now is
// for somebody to look at.
func TestALateSuccessContradictsTheRollback(t *testing.T) {
	for _, gone := range []bool{true, false} {
		inWorld(t, func(w *world) {
			w.declare(settable(command.Restore))
			h := w.ready("valve")
			w.done("valve", w.set("valve", 1))
			x := w.set("valve", 2)
			w.Arrived(h, device.Observation{}, arrival(x.Seq, command.DeliveryAcked))
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			w.check(x.Command.ID, command.TimedOut, command.NoReport)
			w.screen.mu.Lock()
			w.screen.deaf = !gone
			w.screen.mu.Unlock()
			w.undo(x)
			w.done("valve", x)
			if got := slices.Contains(w.kinds(x.Command.ID), command.EventContradicts); got != gone {
				t.Errorf("the rollback left: %t; told that it is contradicted: %t", gone, got)
			}
			w.check(x.Command.ID, command.Succeeded, command.NoCause)
		})
	}
}

// Devices that nobody knows yet are targets if the operator says so; what they
// are sent waits for them.
func TestDevicesThatAreToCome(t *testing.T) {
	inWorld(t, func(w *world) {
		w.stop()
		w.production = true
		w.start()
		w.declare(command.Type{Name: "pump.start"})
		in := intent(fleet(3)...)
		in.Rollout = &command.Rollout{Waves: []command.Wave{{Count: 3}}}
		_, err := w.Issue(w.ctx(), in)
		if e, ok := errors.AsType[*command.Error](err); !ok || e.Code != command.CodeUnknownDevice || len(e.Fields) == 0 {
			t.Errorf("devices that nobody knows: %v", err)
		}
		if p, err := w.Preview(w.ctx(), in); command.CodeOf(err) != command.CodeUnknownDevice {
			t.Errorf("their preview: %+v %v", p, err)
		}
		in.AllowUnregistered = true
		i, err := w.Issue(w.ctx(), in)
		if err != nil {
			t.Fatal(err)
		}
		w.stands(i, "open", 0)
		if x := w.on(i, "pump-0002"); x.State != command.Queued {
			t.Errorf("on a device that is to come it is %s", x.State)
		}
		w.ready("pump-0002")
		if x := w.on(i, "pump-0002"); x.State != command.Sent {
			t.Errorf("when it came it is %s", x.State)
		}
		time.Sleep(command.DefaultClocks.DeliverWithin + time.Minute)
		synctest.Wait()
		if x := w.on(i, "pump-0001"); x.State != command.Expired || x.Cause != command.NeverRegistered {
			t.Errorf("on a device that never came it is %s %s", x.State, x.Cause)
		}
	})
}

// A rollout has its number of devices, or it is none.
func TestARolloutExpectsItsTargets(t *testing.T) {
	inWorld(t, func(w *world) {
		in := intent(fleet(3)...)
		in.Rollout = &command.Rollout{Waves: []command.Wave{{Count: 1}}}
		for n, want := range map[int]command.Code{2: command.CodeConflict, 3: command.CodeInternal} {
			in.ExpectTargets = &n
			if _, err := w.Issue(w.ctx(), in); err != nil && command.CodeOf(err) != want || err == nil && n != 3 {
				t.Errorf("%d expected of 3: %v", n, err)
			}
		}
	})
}

// Nothing leaves before its time, and at its time the first wave does.
func TestARolloutWaitsForItsTime(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, name := range fleet(4) {
			w.ready(name)
		}
		in := intent(fleet(4)...)
		in.NotBefore = time.Now().Add(time.Hour / 2)
		in.Rollout = &command.Rollout{Waves: []command.Wave{{Percent: 50}}}
		i, err := w.Issue(w.ctx(), in)
		if err != nil {
			t.Fatal(err)
		}
		w.stands(i, "scheduled", 4)
		w.restart()
		time.Sleep(time.Until(in.NotBefore) - time.Second)
		if got := w.through(i); got != 0 {
			t.Errorf("%d are through before their time", got)
		}
		time.Sleep(time.Second)
		w.stands(i, "open", 2)
		if x := w.on(i, "pump-0000"); x.State != command.Sent {
			t.Errorf("the first is %s", x.State)
		}
	})
}

// What is held too long ends where it is, and says so: behind a gate, and before
// a window.
func TestWhatIsHeldTooLongExpires(t *testing.T) {
	inWorld(t, func(w *world) {
		w.declare(command.Type{Name: "pump.start", Clocks: command.TypeClocks{HoldWithin: command.Bound{Default: 10 * time.Minute}}})
		i := w.roll(4, &command.Rollout{Waves: []command.Wave{{Count: 1}}})
		in := intent("pump-0000")
		in.Rollout = &command.Rollout{Window: &command.Window{Cron: "0 12 * * *", Duration: time.Hour}} // the world begins at midnight
		before, err := w.Issue(w.ctx(), in)
		if err != nil {
			t.Fatal(err)
		}
		w.check(before.Command.ID, command.Scheduled, command.NoCause)
		w.stands(i, "open", 3)
		time.Sleep(10 * time.Minute)
		w.stands(i, "open", 0) // one is still out
		for _, name := range fleet(4)[1:] {
			if x := w.on(i, name); x.State != command.Expired || x.Cause != command.Held || x.Effect != command.EffectNone {
				t.Errorf("%s is %s %s, effect %s", name, x.State, x.Cause, x.Effect)
			}
		}
		w.check(before.Command.ID, command.Expired, command.Held)
		in.Rollout, in.NotBefore = nil, time.Now().Add(time.Hour)
		if _, err := w.Issue(w.ctx(), in); command.CodeOf(err) != command.CodeInvalid {
			t.Errorf("not before a time that it is not held until: %v", err)
		}
	})
}

// A window is at its time of the day in its zone, whatever the zone does that
// night. A beginning that the clocks leap over is none.
func TestWindowsFollowTheirZone(t *testing.T) {
	for _, tt := range []struct{ name, now, cron, opens string }{
		{"the night before summer", "2026-03-27T12:00:00Z", "0 3 * * *", "2026-03-28T02:00:00Z"},
		{"into summer", "2026-03-28T12:00:00Z", "0 3 * * *", "2026-03-29T01:00:00Z"},
		{"an hour that is not there", "2026-03-28T12:00:00Z", "30 2 * * *", "2026-03-30T00:30:00Z"},
		{"the night before winter", "2026-10-23T12:00:00Z", "0 4 * * *", "2026-10-24T02:00:00Z"},
		{"into winter", "2026-10-24T12:00:00Z", "0 4 * * *", "2026-10-25T03:00:00Z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.stop()
				now, _ := time.Parse(time.RFC3339, tt.now)
				opens, _ := time.Parse(time.RFC3339, tt.opens)
				ahead := time.Until(now)
				w.wall = func() time.Time { return time.Now().Add(ahead) }
				w.start()
				w.ready("pump")
				in := intent("pump")
				in.Rollout = &command.Rollout{Window: &command.Window{Cron: tt.cron, Duration: 30 * time.Minute, Zone: "Europe/Berlin"}}
				i, err := w.Issue(w.ctx(), in)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(opens.Sub(now) - time.Minute)
				synctest.Wait()
				w.check(i.Command.ID, command.Scheduled, command.NoCause)
				time.Sleep(time.Minute + 2*time.Second)
				synctest.Wait()
				w.check(i.Command.ID, command.Sent, command.NoCause)
			})
		})
	}
}
