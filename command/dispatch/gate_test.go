package dispatch_test

import (
	"testing"
	"testing/synctest"
	"time"

	"behest/command"
)

// A paused rollout lets nobody through, over a restart too, and a halted one
// says so.
func TestAPausedRolloutStandsStill(t *testing.T) {
	inWorld(t, func(w *world) {
		names := fleet(6)
		for _, name := range names {
			w.ready(name)
		}
		in := intent(names...)
		in.Rollout = &command.Rollout{Waves: []command.Wave{{Count: 2}, {Count: 2}}, Halt: &command.Threshold{Percent: 50, Minimum: 2}}
		i, err := w.Issue(w.ctx(), in)
		if err != nil {
			t.Fatal(err)
		}
		w.stands(i, "open", 4)
		if _, err := w.Pause(w.ctx(), i.Command.ID, "ann"); err != nil {
			t.Fatal(err)
		}
		w.reportAll(i, command.StatusSuccess)
		w.restart()
		w.stands(i, "paused", 4)
		if _, err := w.Resume(w.ctx(), i.Command.ID, "ann"); err != nil {
			t.Fatal(err)
		}
		w.stands(i, "open", 2)
		w.reportAll(i, command.StatusFailure)
		w.stands(i, "halted", 2)
		w.restart()
		w.stands(i, "halted", 2)
	})
}

// stands waits until nothing moves, and holds a command against what is wanted.
func (w *world) stands(i command.Issued, state string, pending int) {
	w.t.Helper()
	time.Sleep(time.Second)
	synctest.Wait()
	v, err := w.store.Command(w.ctx(), i.Command.ID)
	if err != nil || v.State() != state || v.Tally.Pending != pending {
		w.t.Errorf("the command is %s, %d pending, %v; want %s, %d", v.State(), v.Tally.Pending, err, state, pending)
	}
}

// reportAll reports on all that is out of a command.
func (w *world) reportAll(i command.Issued, s command.Status) {
	w.t.Helper()
	xs, _, err := w.store.Executions(w.ctx(), i.Command.ID, "sent", 0, command.PageMax)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, x := range xs {
		if err := w.report(x.Name, x.Seq, s); err != nil {
			w.t.Error(err)
		}
	}
}

// A window is closed: what is queued waits for it, and keeps nobody waiting.
func TestAClosedWindowHoldsBackItsOwnCommandsAlone(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ready("pump")
		opens := time.Now().UTC().Add(10 * time.Minute).Truncate(time.Minute)
		in := intent("pump")
		in.Rollout = &command.Rollout{Window: &command.Window{Cron: opens.Format("4 15 * * *"), Duration: time.Hour}}
		i, err := w.Issue(w.ctx(), in)
		if err != nil {
			t.Fatal(err)
		}
		w.check(i.Command.ID, command.Scheduled, command.NoCause)
		other := w.issue("pump")
		w.done("pump", w.check(other.Command.ID, command.Sent, command.NoCause))
		time.Sleep(time.Until(opens.Add(2 * time.Second)))
		synctest.Wait()
		w.check(i.Command.ID, command.Sent, command.NoCause)
	})
}

// A device that comes when its window has closed again is told in the next.
func TestWhatMissedItsWindowWaitsForTheNext(t *testing.T) {
	inWorld(t, func(w *world) {
		w.register("pump")
		in := intent("pump")
		in.Rollout = &command.Rollout{Window: &command.Window{Cron: "*/30 * * * *", Duration: 5 * time.Minute}} // the world begins at midnight
		i, err := w.Issue(w.ctx(), in)
		if err != nil {
			t.Fatal(err)
		}
		w.check(i.Command.ID, command.Queued, command.NoCause)
		time.Sleep(10 * time.Minute)
		w.observe("pump")
		w.check(i.Command.ID, command.Queued, command.NoCause)
		other := w.issue("pump")
		w.done("pump", w.check(other.Command.ID, command.Sent, command.NoCause))
		w.restart()
		w.check(i.Command.ID, command.Queued, command.NoCause)
		time.Sleep(21 * time.Minute)
		synctest.Wait()
		w.check(i.Command.ID, command.Sent, command.NoCause)
	})
}

// Its device is there, and the window is not open any more: that is the cause.
func TestWhatExpiresOutsideItsWindowSaysSo(t *testing.T) {
	inWorld(t, func(w *world) {
		w.register("pump")
		in := intent("pump")
		in.DeliverWithin = 10 * time.Minute
		in.Rollout = &command.Rollout{Window: &command.Window{Cron: "*/30 * * * *", Duration: 5 * time.Minute}} // the world begins at midnight
		i, err := w.Issue(w.ctx(), in)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Minute)
		w.observe("pump")
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		w.check(i.Command.ID, command.Expired, command.OutsideWindow)
	})
}

// What goes to a few devices is closed and done in one commit: it is told all
// the same.
func TestAGateThatClosesIsTold(t *testing.T) {
	inWorld(t, func(w *world) {
		w.declare(command.Type{Name: "pump.start", Approval: &command.ApprovalRule{Approvers: 1}})
		i := w.issue(fleet(2)...)
		time.Sleep(command.DefaultClocks.ApproveWithin + time.Second)
		events, _, err := w.store.Events(w.ctx(), command.Place{}, command.EventFilter{Command: i.Command.ID}, 100)
		if err != nil {
			t.Fatal(err)
		}
		told := map[command.EventType]int{}
		for _, e := range events {
			told[e.Type]++
		}
		if told[command.EventGate] != 1 || told[command.EventLapsed] != 1 || told[command.EventOf(command.Expired)] != 2 || told[command.EventEnded] != 1 {
			t.Errorf("an approval that lapses is told as %v", told)
		}
	})
}

// A gate that waited for its time and lets everybody through at once was open
// in between.
func TestAGateThatOpensIsTold(t *testing.T) {
	inWorld(t, func(w *world) {
		in := intent(fleet(2)...)
		in.NotBefore = time.Now().Add(time.Minute)
		in.Rollout = &command.Rollout{Halt: &command.Threshold{Percent: 100, Minimum: 2}}
		i, err := w.Issue(w.ctx(), in)
		if err != nil {
			t.Fatal(err)
		}
		w.stands(i, "scheduled", 2)
		time.Sleep(time.Minute)
		events, _, err := w.store.Events(w.ctx(), command.Place{}, command.EventFilter{Command: i.Command.ID, Types: []command.EventType{command.EventGate}}, 100)
		if err != nil || len(events) != 1 || string(events[0].Data) != `{"state":"open","through":2}` {
			t.Errorf("its opening is told as %+v, %v", events, err)
		}
	})
}

// Who does not answer holds up the next wave for wave_within, and no longer.
func TestAWaveIsFollowedAfterItsTime(t *testing.T) {
	inWorld(t, func(w *world) {
		in := intent(fleet(80)...)
		in.Rollout = &command.Rollout{Waves: []command.Wave{{Count: 1}}, WaveWithin: time.Minute}
		i, err := w.Issue(w.ctx(), in)
		if err != nil {
			t.Fatal(err)
		}
		w.stands(i, "open", 79)
		time.Sleep(time.Minute)
		w.stands(i, "open", 0)
	})
}

// A rollout whose commit was done and not known to be goes on all the same.
func TestARolloutOfUnknownOutcomeGoesOn(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, rollout := range []*command.Rollout{nil, {Waves: []command.Wave{{Count: 1}}, WaveWithin: time.Minute}} {
			in := intent(fleet(80)...)
			in.Rollout = rollout
			w.doubt.after.Store(1) // its devices are made known first
			w.doubt.next.Store(true)
			if _, err := w.Issue(w.ctx(), in); command.CodeOf(err) != command.CodeOutcomeUnknown {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Minute)
			views, _, err := w.store.Commands(w.ctx(), command.Filter{Limit: 1})
			if err != nil || views[0].Tally.Pending != 0 || views[0].Tally.Count[command.Queued] != 80 {
				t.Errorf("it stands at %+v, %v", views[0].Tally, err)
			}
		}
	})
}
