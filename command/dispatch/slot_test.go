package dispatch_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// refused wants a rollback refused as a conflict.
func (w *world) refused(what string, x command.Execution, in command.RollbackIntent) {
	w.t.Helper()
	in.By = "ann"
	if i, err := w.Rollback(w.ctx(), x.Command.ID, in); command.CodeOf(err) != command.CodeConflict {
		w.t.Errorf("%s: %+v %v, want a conflict", what, i.Command, err)
	}
}

// forced undoes x whatever stands in the way.
func (w *world) forced(x command.Execution) command.Execution {
	w.t.Helper()
	i, err := w.Rollback(w.ctx(), x.Command.ID, command.RollbackIntent{By: "ann", Force: true, Reason: "I know"})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.check(i.Command.ID, command.Sent, command.NoCause)
}

// shows is what the valve is told to be set to.
func (w *world) shows(h int64, params string) {
	w.t.Helper()
	if list := w.screen.on(h).List; len(list) != 1 || string(list[0].Params) != params {
		w.t.Errorf("the device sees %+v, want the params %x", list, params)
	}
}

// What provably did nothing does not stand in the way of a rollback, wherever it
// is in the slot; what did, or may have, does, also below that.
func TestOnlyWhatMayHaveTakenEffectStandsInTheWay(t *testing.T) {
	none := command.EffectNone
	for _, tt := range []struct {
		name  string
		after []command.Report // of what was set since, oldest first
		want  bool             // it can be undone
	}{
		{"nothing since", nil, true},
		{"rejected", []command.Report{{Status: command.StatusRejected}}, true},
		{"failed without effect", []command.Report{{Status: command.StatusFailure, Effect: &none}}, true},
		{"failed, nobody knows how", []command.Report{{Status: command.StatusFailure}}, false},
		{"done", []command.Report{{Status: command.StatusSuccess}}, false},
		{"done, below what was rejected", []command.Report{{Status: command.StatusSuccess}, {Status: command.StatusRejected}}, false},
		{"rejected, below what was done", []command.Report{{Status: command.StatusRejected}, {Status: command.StatusSuccess}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.declare(settable(command.Restore))
				h := w.ready("valve")
				w.done("valve", w.set("valve", 1))
				x := w.set("valve", 2)
				w.done("valve", x)
				for i, r := range tt.after {
					y := w.set("valve", 3+i)
					if err := w.Report(w.ctx(), "valve", there, y.Seq, r); err != nil {
						t.Fatal(err)
					}
				}
				if !tt.want {
					w.refused(tt.name, x, command.RollbackIntent{})
					w.forced(x)
				} else {
					w.undo(x)
				}
				w.shows(h, "\x01")
			})
		})
	}
}

// Changes are undone one after the other, from the youngest: what was undone
// stands in nobody's way, nor does what undid it.
func TestChangesAreUndoneOneAfterTheOther(t *testing.T) {
	for _, kind := range []command.RollbackKind{command.Restore, command.Inverse} {
		t.Run(string(kind), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.declare(settable(kind))
				h := w.ready("valve")
				var xs []command.Execution
				for i := range 4 {
					xs = append(xs, w.set("valve", i))
					w.done("valve", xs[i])
				}
				for i := 3; i >= 1; i-- {
					if i > 1 {
						w.refused("past a younger one", xs[i-1], command.RollbackIntent{})
					}
					back := w.undo(xs[i])
					if kind == command.Restore {
						w.shows(h, string(rune(i-1)))
					}
					w.refused("while it is under way", xs[i], command.RollbackIntent{Force: true, Reason: "I know"})
					w.done("valve", w.check(back.Command.ID, command.Sent, command.NoCause))
					w.refused("twice", xs[i], command.RollbackIntent{})
				}
				w.done("valve", w.set("valve", 9))
				w.refused("past a new one", xs[0], command.RollbackIntent{})
			})
		})
	}
}

// What was created first and waited for its time set the slot last.
func TestTheOrderIsThatOfLeaving(t *testing.T) {
	inWorld(t, func(w *world) {
		w.declare(settable(command.Restore))
		h := w.ready("valve")
		held, err := w.Issue(w.ctx(), command.Intent{Type: "valve.set", Targets: command.Targets{Devices: []string{"valve"}},
			Params: json.RawMessage("1"), RequestedBy: "ann", NotBefore: time.Now().Add(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		other := w.set("valve", 2)
		w.done("valve", other)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		first := w.check(held.Command.ID, command.Sent, command.NoCause)
		w.done("valve", first)
		w.refused("what was overtaken", other, command.RollbackIntent{})
		w.undo(first)
		w.shows(h, "\x02")
	})
}

// What was forced back past a younger one has set the slot itself.
func TestAForcedRollbackStandsInTheWay(t *testing.T) {
	inWorld(t, func(w *world) {
		w.declare(settable(command.Restore))
		h := w.ready("valve")
		w.done("valve", w.set("valve", 1))
		first, second := w.set("valve", 2), command.Execution{}
		w.done("valve", first)
		second = w.set("valve", 3)
		w.done("valve", second)
		w.done("valve", w.forced(first))
		w.refused("past what was forced", second, command.RollbackIntent{})
		w.refused("twice", first, command.RollbackIntent{})
		if _, err := w.Rollback(w.ctx(), first.Command.ID, command.RollbackIntent{By: "ann", Force: true}); command.CodeOf(err) != command.CodeInvalid {
			t.Errorf("forced without a reason: %v", err)
		}
		w.forced(first)
		w.shows(h, "\x01")
	})
}

// An inverse is relative: where one may have acted, another would do the
// opposite. A value can be given back as often as one likes.
func TestNothingIsUndoneTwice(t *testing.T) {
	for _, kind := range []command.RollbackKind{command.Restore, command.Inverse} {
		t.Run(string(kind), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.declare(settable(kind))
				h := w.ready("valve")
				w.done("valve", w.set("valve", 1))
				x := w.set("valve", 2)
				w.done("valve", x)
				back := w.check(w.undo(x).Command.ID, command.Sent, command.NoCause)
				w.Arrived(h, device.Observation{}, arrival(back.Seq, command.DeliveryAcked))
				time.Sleep(10 * time.Minute) // run_for lapses
				synctest.Wait()
				w.check(back.Command.ID, command.TimedOut, command.NoReport)
				if kind == command.Restore {
					w.check(w.undo(x).Command.ID, command.Sent, command.NoCause)
					return
				}
				w.refused("once more, on a way back of unknown effect", x, command.RollbackIntent{})
				w.forced(x)
			})
		})
	}
}

// The value before is what the device said it was; its own word goes before
// what the last success had set.
func TestRestoreGoesByWhatTheDeviceSays(t *testing.T) {
	inWorld(t, func(w *world) {
		w.declare(settable(command.Restore))
		h := w.ready("valve")
		w.done("valve", w.set("valve", 1))
		x := w.set("valve", 2)
		if err := w.Report(w.ctx(), "valve", there, x.Seq, command.Report{Status: command.StatusSuccess, Prev: []byte{7}}); err != nil {
			t.Fatal(err)
		}
		w.undo(x)
		w.shows(h, "\x07")
	})
}

// Of a first change whose device does not say what there was, nobody knows.
func TestRestoreOfNothingKnownIsSaid(t *testing.T) {
	inWorld(t, func(w *world) {
		w.declare(settable(command.Restore))
		w.ready("valve")
		x := w.set("valve", 1)
		w.done("valve", x)
		w.check(w.undo(x).Command.ID, command.Canceled, command.NothingToUndo)
	})
}

// What a rollback undid may be gone by the rules of retention. Then nobody can
// tell what the rollback brought back, so it stands in the way of what is older.
func TestARollbackOfWhatIsGoneStandsInTheWay(t *testing.T) {
	inWorld(t, func(w *world) {
		w.declare(settable(command.Restore))
		w.ready("valve")
		first := w.set("valve", 1)
		w.done("valve", first)
		second := w.set("valve", 2)
		w.done("valve", second)
		back := w.undo(second)
		w.done("valve", w.check(back.Command.ID, command.Sent, command.NoCause))
		time.Sleep(3 * time.Hour)
		w.known("later") // the log goes on, and so it can be cut
		removed, err := w.store.Retain(w.ctx(), ledger.Keeping{Keep: time.Hour, Now: time.Now})
		if err != nil || removed.Commands != 1 {
			t.Fatalf("%+v went, %v", removed, err)
		}
		if _, err := w.store.Command(w.ctx(), second.Command.ID); command.CodeOf(err) != command.CodeNotFound {
			t.Errorf("what was undone is there: %v", err)
		}
		w.refused("past a rollback", first, command.RollbackIntent{})
	})
}
