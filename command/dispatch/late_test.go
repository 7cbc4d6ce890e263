package dispatch_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"behest/command"
)

// endings are what the log has told of a command as a whole.
func (w *world) endings(id command.ID) (types []command.EventType) {
	w.t.Helper()
	filter := command.EventFilter{Command: id, Types: []command.EventType{command.EventEnded, command.EventSettled}}
	events, _, err := w.store.Events(w.ctx(), command.Place{}, filter, 100)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range events {
		types = append(types, e.Type)
	}
	return types
}

// A device that was silent runs on, and succeeds: its command had ended as
// unknown, and settles.
func TestACommandEndsOnceHoweverLateItSettles(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ready("pump")
		i := w.issue("pump")
		running := command.Report{Status: command.StatusRunning, Next: time.Second}
		says := func() {
			if err := w.Report(w.ctx(), "pump", there, i.Only.Seq, running); err != nil {
				t.Fatal(err)
			}
		}
		says()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		w.check(i.Command.ID, command.TimedOut, command.Silent)
		says()
		w.check(i.Command.ID, command.Running, command.NoCause)
		if err := w.report("pump", i.Only.Seq, command.StatusSuccess); err != nil {
			t.Fatal(err)
		}
		w.check(i.Command.ID, command.Succeeded, command.NoCause)
		if got, want := w.endings(i.Command.ID), []command.EventType{command.EventEnded, command.EventSettled}; !slices.Equal(got, want) {
			t.Errorf("told of its end: %v, want %v", got, want)
		}
	})
}

// Of many devices one was silent, runs on after the command has ended, and
// succeeds: it had ended before. If what is unknown is closed before the last
// device ends, the end says that nothing is left to settle.
func TestACommandOnManyEndsOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		w.declare(command.Type{Name: "set", Clocks: command.TypeClocks{SettleFor: command.Bound{Default: time.Hour}}})
		w.ready("a")
		w.ready("b")
		seqs := func(id command.ID) map[string]uint32 {
			xs, _, err := w.store.Executions(w.ctx(), id, "", 0, 10)
			if err != nil || len(xs) != 2 {
				t.Fatal(xs, err)
			}
			return map[string]uint32{xs[0].Name: xs[0].Seq, xs[1].Name: xs[1].Seq}
		}
		says := func(name string, seq uint32, r command.Report) {
			if err := w.Report(w.ctx(), name, there, seq, r); err != nil {
				t.Fatal(err)
			}
		}
		wantEnds := func(id command.ID, want string) {
			t.Helper()
			synctest.Wait()
			events, _, err := w.store.Events(w.ctx(), command.Place{}, command.EventFilter{Command: id, Types: []command.EventType{command.EventEnded, command.EventSettled}}, 100)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, e := range events {
				got += string(e.Type) + string(e.Data)
			}
			if got != want {
				t.Errorf("told %s, want %s", got, want)
			}
		}
		running, success := command.Report{Status: command.StatusRunning, Next: time.Second}, command.Report{Status: command.StatusSuccess}
		intent := command.Intent{Type: "set", Targets: command.Targets{Devices: []string{"a", "b"}}, RequestedBy: "op", RunFor: 3 * time.Hour}

		i, err := w.Issue(w.ctx(), intent)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		n := seqs(i.Command.ID)
		says("a", n["a"], running)
		says("b", n["b"], success)
		time.Sleep(10 * time.Second)
		const ended = `command.ended{"outcome":"some_unknown","unsettled":1}`
		wantEnds(i.Command.ID, ended)
		says("a", n["a"], running)
		says("a", n["a"], success)
		wantEnds(i.Command.ID, ended+`command.settled{"outcome":"all_succeeded"}`)

		if i, err = w.Issue(w.ctx(), intent); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		n = seqs(i.Command.ID)
		says("a", n["a"], running)
		says("b", n["b"], command.Report{Status: command.StatusRunning})
		time.Sleep(2 * time.Hour)
		wantEnds(i.Command.ID, "")
		says("b", n["b"], success)
		wantEnds(i.Command.ID, `command.ended{"outcome":"some_unknown"}`)
	})
}
