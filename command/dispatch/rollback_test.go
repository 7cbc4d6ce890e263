package dispatch_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"behest/command"
	"behest/device"
)

// settable is a type whose commands set a valve, and can be undone.
func settable(kind command.RollbackKind) command.Type {
	rule := &command.RollbackRule{Kind: kind}
	if kind == command.Inverse {
		rule.Type = "valve.close"
	}
	return command.Type{Name: "valve.set", Rollback: rule}
}

// set issues a command that sets the valve of a device, and answers with it as
// it was sent.
func (w *world) set(name string, position int) command.Execution {
	w.t.Helper()
	i, err := w.Issue(w.ctx(), command.Intent{Type: "valve.set", Targets: command.Targets{Devices: []string{name}},
		Params: json.RawMessage{byte('0' + position)}, RequestedBy: "ann"})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.check(i.Command.ID, command.Sent, command.NoCause)
}

func (w *world) undo(x command.Execution) command.Issued {
	w.t.Helper()
	i, err := w.Rollback(w.ctx(), x.Command.ID, command.RollbackIntent{By: "ann"})
	if err != nil {
		w.t.Fatal(err)
	}
	return i
}

func (w *world) done(name string, x command.Execution) {
	w.t.Helper()
	if err := w.report(name, x.Seq, command.StatusSuccess); err != nil {
		w.t.Fatal(err)
	}
}

// What is to be undone may still be running: the way back waits for it.
func TestARollbackWaitsForTheEndOfWhatItUndoes(t *testing.T) {
	inWorld(t, func(w *world) {
		w.declare(settable(command.Inverse))
		h := w.ready("valve")
		x := w.set("valve", 1)
		back := w.undo(x)
		w.check(back.Command.ID, command.Scheduled, command.NoCause)
		w.restart()
		w.check(back.Command.ID, command.Scheduled, command.NoCause)
		w.done("valve", x)
		w.check(back.Command.ID, command.Sent, command.NoCause)
		if list := w.screen.on(h).List; len(list) != 1 || list[0].Type != "valve.close" {
			t.Errorf("the device sees %+v, want the inverse alone", list)
		}
		if _, err := w.Rollback(w.ctx(), x.Command.ID, command.RollbackIntent{By: "ann"}); command.CodeOf(err) != command.CodeConflict {
			t.Errorf("a second rollback beside the first: %v, want a conflict", err)
		}
	})
}

// A relative inverse of what nobody knows might do what was never done.
func TestAnInverseDoesNotGoOnAnUnknownOutcome(t *testing.T) {
	for kind, want := range map[command.RollbackKind]struct {
		state command.State
		cause command.Cause
	}{
		command.Inverse: {command.Canceled, command.OutcomeUnknown},
		command.Restore: {command.Sent, command.NoCause},
	} {
		inWorld(t, func(w *world) {
			w.declare(settable(kind))
			h := w.ready("valve")
			w.done("valve", w.set("valve", 1)) // the value before
			x := w.set("valve", 2)
			w.Arrived(h, device.Observation{}, arrival(x.Seq, command.DeliveryAcked))
			back := w.undo(x)
			time.Sleep(time.Hour) // run_for lapses
			synctest.Wait()
			w.check(x.Command.ID, command.TimedOut, command.NoReport)
			w.check(back.Command.ID, want.state, want.cause)
		})
	}
}

// Two changes, and the second is undone: the value of the first comes back. The
// first cannot be undone past the second, unless somebody insists.
func TestRestoreBringsBackTheValueBefore(t *testing.T) {
	inWorld(t, func(w *world) {
		w.declare(settable(command.Restore))
		h := w.ready("valve")
		first := w.set("valve", 1)
		w.done("valve", first)
		second := w.set("valve", 2)
		w.done("valve", second)
		if _, err := w.Rollback(w.ctx(), first.Command.ID, command.RollbackIntent{By: "ann"}); command.CodeOf(err) != command.CodeConflict {
			t.Errorf("undone past a newer one: %v, want a conflict", err)
		}
		back := w.undo(second)
		w.check(back.Command.ID, command.Sent, command.NoCause)
		if list := w.screen.on(h).List; len(list) != 1 || string(list[0].Params) != "\x01" {
			t.Errorf("the device sees %+v, want the params of the first", list)
		}
	})
}

// A newer command may take effect while the way back waits.
func TestARollbackThatWasOvertakenDoesNotGo(t *testing.T) {
	inWorld(t, func(w *world) {
		typ := settable(command.Inverse)
		w.declare(typ)
		w.ready("valve")
		x := w.set("valve", 1)
		back := w.undo(x)
		typ.Policy.Urgent = true
		w.declare(typ)
		w.done("valve", w.set("valve", 3))
		w.done("valve", x)
		w.check(back.Command.ID, command.Canceled, command.Superseded)
	})
}

// Twins under one key undo a command once. Who comes while the other is on its
// way is told so, or gets his answer.
func TestTwinRollbacksUnderOneKeyUndoOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		w.declare(settable(command.Restore))
		w.ready("valve")
		w.done("valve", w.set("valve", 1))
		x := w.set("valve", 2)
		w.done("valve", x)
		type answer struct {
			body string
			err  error
		}
		answers := make(chan answer, 10)
		once := func() (a answer) {
			body, _, err := w.RollbackOnce(w.ctx(), command.Claim{Key: [32]byte{7}}, x.Command.ID, command.RollbackIntent{By: "ann"},
				func(i command.Issued) []byte { return []byte(i.Command.ID.String()) })
			return answer{string(body), err}
		}
		for range cap(answers) {
			go func() { answers <- once() }()
		}
		bodies := make(map[string]int)
		for range cap(answers) {
			if a := <-answers; a.err == nil {
				bodies[a.body]++
			} else if command.CodeOf(a.err) != command.CodeConflict {
				t.Error(a.err)
			}
		}
		again := once()
		if len(bodies) != 1 || again.err != nil || bodies[again.body] == 0 {
			t.Errorf("they were answered %v, and the next %v", bodies, again)
		}
		if v := w.view(x.Command.ID); v.RolledBackBy.String() != again.body {
			t.Errorf("it is undone by %s, the answer was %s", v.RolledBackBy, again.body)
		}
	})
}
