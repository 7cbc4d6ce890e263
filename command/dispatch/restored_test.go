package dispatch_test

import (
	"slices"
	"testing"
	"time"

	"behest/command"
	"behest/command/dispatch"
)

// Everything that had not ended in a backup ends as unknown when it is restored,
// wherever it stood, and nothing goes on by itself after that.
func TestWhatWasOpenInABackupIsLost(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ready("pump")
		sent := w.issue("pump")
		queued := w.issue("pump")
		undone := settable(command.Restore) // by itself, when as much as one is unknown
		undone.Rollback.Automatic = &command.Threshold{Percent: 1, Minimum: 1}
		w.declare(undone)
		raw, _ := position(7)
		for _, name := range fleet(5) {
			w.ready(name)
		}
		waves, err := w.Issue(w.ctx(), command.Intent{Type: undone.Name, Targets: command.Targets{Devices: fleet(5)}, Params: raw, RequestedBy: "ann",
			Rollout: &command.Rollout{Waves: []command.Wave{{Count: 2}, {Count: 3}}}})
		if err != nil {
			t.Fatal(err)
		}
		w.settle()
		over := w.issue("other")
		if _, err := w.Cancel(w.ctx(), over.Command.ID, nil, "ann"); err != nil {
			t.Fatal(err)
		}
		rolling := w.roll(4, &command.Rollout{Waves: []command.Wave{{Count: 1}, {Count: 3}}})
		w.declare(command.Type{Name: "gas.vent", Approval: &command.ApprovalRule{Approvers: 1}})
		w.still = true
		w.restart()
		denied, err := w.Issue(w.ctx(), command.Intent{Type: "gas.vent", Targets: command.Targets{Devices: []string{"a", "b"}}, RequestedBy: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Deny(w.ctx(), denied.Command.ID, digestOf(denied.View), "", "bob"); err != nil {
			t.Fatal(err)
		}
		pending := w.issue(slices.Concat(fleet(1200), []string{"pump"})...)

		all := dispatch.Lost{}
		lost, err := dispatch.EndRestored(w.ctx(), w.store, dispatch.NewClock(dispatch.ClockOptions{}), func(l dispatch.Lost) { all = l })
		if err != nil || lost != all || lost.Behind != 1201+3+4+2 || lost.Gates != 3 {
			t.Fatalf("it ended %+v, said %+v, %v", lost, all, err)
		}
		for name, i := range map[string]command.Issued{"sent": sent, "queued": queued, "waves": waves, "rolling": rolling, "pending": pending} {
			v, err := w.store.Command(w.ctx(), i.Command.ID)
			if err != nil || v.State() != "ended" && v.State() != "timed_out" || v.Tally.Pending != 0 || v.Tally.Outcome() != command.SomeUnknown {
				t.Errorf("%s is %s, %+v, %v", name, v.State(), v.Tally, err)
			}
			xs, _, err := w.store.Executions(w.ctx(), i.Command.ID, "", 0, 2*command.PageMax)
			for _, x := range xs {
				if !x.State.Ended() || x.State == command.TimedOut && x.Cause != command.Restored {
					t.Errorf("%s on %s is %s, %s", name, x.Name, x.State, x.Cause)
				}
			}
			kinds := w.endings(i.Command.ID)
			if n := len(slices.DeleteFunc(kinds, func(k command.EventType) bool { return k != command.EventEnded })); err != nil || n != 1 {
				t.Errorf("%s ended %d times, %v", name, n, err)
			}
		}
		if v := w.view(denied.Command.ID); v.State() != "denied" {
			t.Errorf("what somebody had denied is %s", v.State())
		}
		if x := w.now(over.Command.ID); x.State != command.Canceled {
			t.Errorf("what was over is %s", x.State)
		}
		gates, err := w.store.Gates(w.ctx(), 0, 10)
		busy, err2 := w.store.Busy(w.ctx(), 0, 10)
		if len(gates)+len(busy) > 0 || err != nil || err2 != nil {
			t.Errorf("gates %v, devices with something open %v, %v, %v", gates, busy, err, err2)
		}
		if again, err := dispatch.EndRestored(w.ctx(), w.store, dispatch.NewClock(dispatch.ClockOptions{}), nil); err != nil || again != (dispatch.Lost{}) {
			t.Errorf("a second time it ended %+v, %v", again, err)
		}
		w.still = false
		w.restart()
		time.Sleep(time.Hour)
		if v := w.view(waves.Command.ID); v.RolledBackBy != (command.ID{}) {
			t.Errorf("it was rolled back by itself: %v", v.RolledBackBy)
		}
		w.ready("pump")
		next := w.issue("pump")
		w.settle()
		w.check(next.Command.ID, command.Sent, command.NoCause)
	})
}
