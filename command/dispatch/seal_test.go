package dispatch_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"behest/command"
	"behest/command/dispatch"
)

// What somebody wrote into the database without the key does not reach a
// device: not in the place of what was accepted, and not beside it.
func TestWhatWasNotAcceptedDoesNotLeave(t *testing.T) {
	for what, change := range map[string]func(w *world, n int64){
		"params": func(w *world, n int64) {
			w.tamper(`UPDATE command SET intent = unhex(replace(hex(intent), '62746F07', '62746F08')) WHERE n = ?`, n)
		},
		"requester": func(w *world, n int64) {
			w.tamper(`INSERT INTO who (name) VALUES ('eve')`)
			w.tamper(`UPDATE command SET who = (SELECT n FROM who WHERE name = 'eve') WHERE n = ?`, n)
		},
		"device": func(w *world, n int64) {
			w.tamper(`UPDATE command SET device = (SELECT handle FROM device WHERE name = 'b') WHERE n = ?`, n)
		},
		"type":    func(w *world, n int64) { w.tamper(`UPDATE kind SET type = 'valve.get' WHERE type = 'valve.set'`) },
		"time":    func(w *world, n int64) { w.tamper(`UPDATE command SET created_at = created_at + 1 WHERE n = ?`, n) },
		"id":      func(w *world, n int64) { w.tamper(`UPDATE command SET id = zeroblob(16) WHERE n = ?`, n) },
		"no seal": func(w *world, n int64) { w.tamper(`UPDATE command SET seal = NULL WHERE n = ?`, n) },
		"another's seal": func(w *world, n int64) {
			w.tamper(`UPDATE command SET seal = (SELECT seal FROM command WHERE n <> ?1 AND seal IS NOT NULL) WHERE n = ?1`, n)
		},
	} {
		inWorld(t, func(w *world) {
			h := w.register("a")
			w.register("b")
			w.register("c")
			w.issue("c")
			in := intent("a")
			in.Type, in.Params, in.RequestedBy = "valve.set", []byte(`{"to": 7}`), "ann"
			i, err := w.Issue(w.ctx(), in)
			if err != nil {
				t.Fatal(err)
			}
			change(w, i.Command.N)
			for _, name := range []string{"a", "b"} {
				w.observe(name)
			}
			var state command.State
			var cause command.Cause
			w.tamper(`UPDATE command SET id = ?1 WHERE n = ?2`, i.Command.ID[:], i.Command.N) // to find it
			if x := w.view(i.Command.ID).Only; x != nil {
				state, cause = x.State, x.Cause
			}
			if state != command.Canceled || cause != command.IntegrityFailed {
				t.Errorf("%s: it is %s %s", what, state, cause)
			}
			if list := w.screen.on(h).List; len(list) > 0 {
				t.Errorf("%s: the device sees %+v", what, list)
			}
		})
	}
}

// A copy of a command that was accepted is another command, and nobody asked
// for it.
func TestACopyOfACommandDoesNotLeave(t *testing.T) {
	inWorld(t, func(w *world) {
		h := w.register("a")
		i := w.issue("a")
		w.tamper(`INSERT INTO command (device, version, state, effect, settled, deadline, course, id, kind, who, created_at, intent, extra, seal)
			SELECT device, version, state, effect, settled, deadline, course, randomblob(16), kind, who, created_at, intent, extra, seal FROM command WHERE n = ?`, i.Command.N)
		p := w.observe("a")
		if len(p.List) != 1 {
			t.Fatalf("the device sees %+v", p.List)
		}
		if err := w.report("a", p.List[0].Seq, command.StatusSuccess); err != nil {
			t.Fatal(err)
		}
		w.check(i.Command.ID, command.Succeeded, command.NoCause)
		if list := w.screen.on(h).List; len(list) != 0 {
			t.Errorf("the device sees the copy: %+v", list)
		}
	})
}

// What left as it was accepted is not shown again as something else.
func TestWhatIsOnTheWireIsLookedAtAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		h := w.ready("a")
		in := intent("a")
		in.Params = []byte(`{"to": 7}`)
		i, err := w.Issue(w.ctx(), in)
		if err != nil {
			t.Fatal(err)
		}
		if list := w.screen.on(h).List; len(list) != 1 || !bytes.Contains(list[0].Params, []byte("\x62to\x07")) {
			t.Fatalf("the device sees %+v", list)
		}
		w.tamper(`UPDATE command SET intent = unhex(replace(hex(intent), '62746F07', '62746F08')) WHERE n = ?`, i.Command.N)
		if p := w.observe("a"); len(p.List) != 0 {
			t.Errorf("the device sees %+v", p.List)
		}
		w.check(i.Command.ID, command.TimedOut, command.IntegrityFailed)
	})
}

// A store that was used without a key takes one, with what is in it; after that
// no other one, unless it is told so. Nothing that was forged meanwhile is made
// good by the way.
func TestAKeyIsTakenOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		first := w.key
		w.key = nil
		w.restart()
		w.register("a")
		w.register("b")
		before := w.issue("a")
		w.key = first
		w.restart()
		if err := w.SealAll(w.ctx(), false); err != nil {
			t.Fatal(err)
		}
		after := w.issue("b")
		w.tamper(`UPDATE command SET seal = NULL WHERE n = ?`, after.Command.N)
		w.restart()
		if err := w.SealAll(w.ctx(), false); err != nil {
			t.Fatal(err)
		}
		w.observe("a")
		w.observe("b")
		w.check(before.Command.ID, command.Sent, command.NoCause)
		w.check(after.Command.ID, command.Canceled, command.IntegrityFailed)

		w.key = []byte("another key")
		w.restart()
		if err := w.SealAll(w.ctx(), false); !errors.Is(err, dispatch.ErrOtherKey) {
			t.Errorf("another key: %v", err)
		}
		if err := w.SealAll(w.ctx(), true); err != nil {
			t.Fatal(err)
		}
		if err := w.SealAll(w.ctx(), false); err != nil {
			t.Errorf("the key that was taken instead: %v", err)
		}
		var sealed int
		events, _, err := w.store.Events(w.ctx(), command.Place{}, command.EventFilter{Types: []command.EventType{command.EventSealed}}, 10)
		if err != nil {
			t.Fatal(err)
		}
		if sealed = len(events); sealed != 2 {
			t.Errorf("a key was taken twice, and the log says %d times", sealed)
		}
	})
}

// The seal covers every field that it is to cover.
func TestEveryPartOfAnExecutionIsSealed(t *testing.T) {
	demand := command.Demand{Approvers: 2, Role: "approver"}
	fresh := func() command.Execution {
		return command.Execution{Name: "a", Command: &command.Command{
			ID: command.ID{1}, Type: "t", TypeVersion: 1, Params: []byte{1}, RequestedBy: "ann", CreatedAt: time.UnixMilli(5),
			Devices: 1, Clocks: command.DefaultClocks, Approval: &demand,
		}}
	}
	seen := map[string]string{}
	for what, change := range map[string]func(x *command.Execution){
		"nothing":        func(*command.Execution) {},
		"device":         func(x *command.Execution) { x.Name = "b" },
		"own params":     func(x *command.Execution) { x.Params = []byte{2} },
		"id":             func(x *command.Execution) { x.Command.ID = command.ID{2} },
		"type":           func(x *command.Execution) { x.Command.Type = "u" },
		"version":        func(x *command.Execution) { x.Command.TypeVersion = 2 },
		"params":         func(x *command.Execution) { x.Command.Params = []byte{3} },
		"requester":      func(x *command.Execution) { x.Command.RequestedBy = "eve" },
		"created":        func(x *command.Execution) { x.Command.CreatedAt = time.UnixMilli(6) },
		"a clock":        func(x *command.Execution) { x.Command.Clocks.RunFor++ },
		"not before":     func(x *command.Execution) { x.Command.NotBefore = time.UnixMilli(9) },
		"no approval":    func(x *command.Execution) { x.Command.Approval = nil },
		"one approval":   func(x *command.Execution) { x.Command.Approval = &command.Demand{Approvers: 1, Role: "approver"} },
		"redelivery":     func(x *command.Execution) { x.Command.Policy.Redelivery = command.Safe },
		"fresh":          func(x *command.Execution) { x.Command.Policy.Fresh = true },
		"wire code":      func(x *command.Execution) { x.Command.Policy.WireCode = 1 },
		"what it undoes": func(x *command.Execution) { x.Command.RollbackOf = command.ID{3} },
		"forced":         func(x *command.Execution) { x.Command.Forced = true },
		"restores":       func(x *command.Execution) { x.Command.Restores = true },
		"slot":           func(x *command.Execution) { x.Command.Slot = 4 },
		"automatic":      func(x *command.Execution) { x.Command.Automatic = &command.Threshold{Percent: 1} },
		"rollout":        func(x *command.Execution) { x.Command.Rollout = &command.Rollout{RatePerMinute: 1} },
		"devices":        func(x *command.Execution) { x.Command.Devices = 2 },
		"all devices":    func(x *command.Execution) { x.Command.Resolved = []byte{1} },
	} {
		x := fresh()
		change(&x)
		text := string(x.Sealed())
		if other, ok := seen[text]; ok {
			t.Errorf("%s and %s read alike", what, other)
		}
		seen[text] = what
	}
}
