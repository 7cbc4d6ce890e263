package dispatch_test

import (
	"testing"
	"time"

	"behest/command"
)

// pending is how many devices of a command are not written out at this moment.
func (w *world) pending(i command.Issued) int {
	w.t.Helper()
	v, err := w.store.Command(w.ctx(), i.Command.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return v.Tally.Pending
}

// outAfter is how long it takes until nothing of a command is pending.
func (w *world) outAfter(i command.Issued) time.Duration {
	w.t.Helper()
	for begun := time.Now(); ; time.Sleep(time.Millisecond) {
		if since := time.Since(begun); w.pending(i) == 0 || since > time.Minute {
			return since
		}
	}
}

// A command over many devices takes a third of the store's time, however long its
// commits take there; what is urgent takes all of it.
func TestALargeCommandRestsBetweenItsGroups(t *testing.T) {
	inWorld(t, func(w *world) {
		const groups, commit, looks = 20, 10 * time.Millisecond, 100 * time.Millisecond // a gate is looked at so often
		w.declare(command.Type{Name: "pump.stop", Policy: command.Policy{Urgent: true}})
		w.doubt.slow = commit
		for _, one := range []struct {
			name    string
			typ     string
			rollout *command.Rollout
			want    time.Duration
		}{
			{"at once", "pump.start", nil, 3 * groups * commit},
			{"behind a gate", "pump.start", &command.Rollout{Halt: &command.Threshold{Percent: 100, Minimum: 1}}, 3 * groups * commit},
			{"urgent", "pump.stop", nil, groups * commit},
			{"urgent behind a gate", "pump.stop", &command.Rollout{Halt: &command.Threshold{Percent: 100, Minimum: 1}}, groups * commit},
		} {
			in := intent(fleet(16 * groups)...)
			in.Type, in.Rollout = one.typ, one.rollout
			i, err := w.Issue(w.ctx(), in)
			if err != nil {
				t.Fatalf("%s: %v", one.name, err)
			}
			if took := w.outAfter(i); took < one.want-3*commit || took > one.want+looks+2*commit {
				t.Errorf("%s: %d groups of %v are out after %v, want %v", one.name, groups, commit, took, one.want)
			}
			time.Sleep(time.Second) // the loops are idle again
		}
	})
}

// Who waits behind another gate does not wait until a large command is out.
func TestALargeCommandBehindAGateKeepsNoOtherWaiting(t *testing.T) {
	inWorld(t, func(w *world) {
		w.doubt.slow = 10 * time.Millisecond
		gate := &command.Rollout{Halt: &command.Threshold{Percent: 100, Minimum: 1}}
		large, small := intent(fleet(3200)...), intent(fleet(2)...)
		large.Rollout, small.Rollout = gate, gate
		first, err := w.Issue(w.ctx(), large)
		if err != nil {
			t.Fatal(err)
		}
		second, err := w.Issue(w.ctx(), small)
		if err != nil {
			t.Fatal(err)
		}
		if took := w.outAfter(second); took > 300*time.Millisecond {
			t.Errorf("it is out after %v", took)
		}
		if n := w.pending(first); n < 2000 {
			t.Errorf("of the large one only %d were left: the small one did wait", n)
		}
	})
}

// A gate is asked again after the store was busy, and so are those that were to
// be asked after it.
func TestABusyStoreForgetsNoGate(t *testing.T) {
	inWorld(t, func(w *world) {
		var both []command.Issued
		for _, names := range [][]string{fleet(8)[:4], fleet(8)[4:]} {
			for _, name := range names {
				w.ready(name)
			}
			in := intent(names...)
			in.Rollout = &command.Rollout{Waves: []command.Wave{{Count: 1}}}
			i, err := w.Issue(w.ctx(), in)
			if err != nil {
				t.Error(err)
				return
			}
			both = append(both, i)
		}
		time.Sleep(time.Second)
		for _, i := range both {
			w.some(i, 1, command.StatusSuccess)
		}
		w.doubt.refuse.Store(1)
		time.Sleep(5 * time.Second)
		for k, i := range both {
			if n := w.through(i); n != 4 {
				t.Errorf("of rollout %d %d are through, want 4", k, n)
			}
		}
	})
}
