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
