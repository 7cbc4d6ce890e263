package dispatch_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

func (w *world) declare(t command.Type) command.Type {
	w.t.Helper()
	out, _, err := w.PutType(w.ctx(), t, 0, "ann")
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func TestACommandKeepsTheVersionThatItWasIssuedWith(t *testing.T) {
	inWorld(t, func(w *world) {
		h := w.ready("pump")
		typ := command.Type{Name: "pump.start", Policy: command.Policy{WireCode: 7}, Clocks: command.TypeClocks{RunFor: command.Bound{Default: time.Minute}}}
		first := w.declare(typ)
		i := w.issue("pump")
		typ.Policy.WireCode = 8
		second := w.declare(typ)
		if first.Version != 1 || second.Version != 2 {
			t.Errorf("versions %d and %d, want 1 and 2", first.Version, second.Version)
		}
		w.restart()
		v, err := w.store.Command(w.ctx(), i.Command.ID)
		if err != nil {
			t.Fatal(err)
		}
		if v.Command.TypeVersion != 1 || v.Command.Clocks.RunFor != time.Minute {
			t.Errorf("it has version %d and run_for %s", v.Command.TypeVersion, v.Command.Clocks.RunFor)
		}
		if list := w.screen.on(h).List; len(list) != 1 || list[0].WireCode != 7 {
			t.Errorf("the device sees %+v, want wire code 7", list)
		}
	})
}

// Whoever mends a type is told of all that is wrong with it, in its schemas too,
// unless one is too long to be read.
func TestAllFaultsOfATypeAreNamedAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		typ := command.Type{
			Name: "pump.start", Slot: []string{"rpm"}, Rollback: &command.RollbackRule{Kind: command.Inverse},
			Params: json.RawMessage(`{"type":"number","minimum":"1"}`), Result: json.RawMessage(`{"type":"nothing"}`),
		}
		for name, tt := range map[string]struct {
			params json.RawMessage
			want   []string
		}{
			"all":      {typ.Params, []string{"/params/minimum", "/result/type", "/rollback/type", "/slot/0"}},
			"too long": {json.RawMessage(`"` + strings.Repeat("x", command.SchemaBytesMax) + `"`), []string{"/params", "/rollback/type", "/slot/0"}},
		} {
			typ.Params = tt.params
			_, _, err := w.PutType(w.ctx(), typ, 0, "ann")
			e, ok := errors.AsType[*command.Error](err)
			if !ok {
				t.Errorf("%s: %v", name, err)
				continue
			}
			var got []string
			for _, f := range e.Fields {
				got = append(got, f.Pointer)
			}
			slices.Sort(got)
			if diff := cmp.Diff(slices.Compact(got), tt.want); diff != "" {
				t.Errorf("%s (-got +want):\n%s", name, diff)
			}
		}
	})
}

// TestAWireCodeIsNotGivenOnWhileSomethingIsOpenUnderIt: a device would be shown
// a number that it takes for something else.
func TestAWireCodeIsNotGivenOnWhileSomethingIsOpenUnderIt(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ready("pump")
		pump := command.Type{Name: "pump.start", Policy: command.Policy{WireCode: 7}}
		valve := command.Type{Name: "valve.open", Policy: command.Policy{WireCode: 7}}
		taken := func(when string) {
			t.Helper()
			_, _, err := w.PutType(w.ctx(), valve, 0, "ann")
			if err == nil || command.CodeOf(err) != command.CodeConflict || !strings.Contains(err.Error(), `"pump.start"`) {
				t.Errorf("%s: %v", when, err)
			}
		}
		w.declare(pump)
		i := w.issue("pump")
		if err := w.RetireType(w.ctx(), "pump.start", 0, "ann"); err != nil {
			t.Fatal(err)
		}
		taken("its type was retired")
		w.declare(pump) // it comes back under its own
		pump.Policy.WireCode = 8
		w.declare(pump)
		taken("its type has another by now")
		w.restart()
		taken("after a restart")
		err := w.store.Update(w.ctx(), ledger.Issues, func(tx ledger.Tx) error { // by a server that did not look
			had := valve
			return tx.AddType(&had)
		})
		valve.Policy.Urgent = true
		if again := w.declare(valve); err != nil || again.Version != 2 {
			t.Errorf("what it has it does not keep: version %d, %v", again.Version, err)
		}
		if err := w.RetireType(w.ctx(), "valve.open", 0, "ann"); err != nil {
			t.Fatal(err)
		}
		taken("it gave it back")
		if err := w.report("pump", w.now(i.Command.ID).Seq, command.StatusSuccess); err != nil {
			t.Fatal(err)
		}
		w.declare(valve)
	})
}

func TestAnIdenticalTypeIsNoNewVersion(t *testing.T) {
	inWorld(t, func(w *world) {
		typ := command.Type{Name: "pump.start", Params: json.RawMessage(`{"type":"object"}`)}
		w.declare(typ)
		if again := w.declare(typ); again.Version != 1 {
			t.Errorf("version %d, want 1", again.Version)
		}
		if _, _, err := w.PutType(w.ctx(), command.Type{Name: "pump.start"}, 5, "ann"); command.CodeOf(err) != command.CodePrecondition {
			t.Errorf("held against version 5 it is answered %v, want precondition", err)
		}
	})
}

func TestParamsAreHeldAgainstTheirSchema(t *testing.T) {
	inWorld(t, func(w *world) {
		w.declare(command.Type{Name: "pump.start", Params: json.RawMessage(
			`{"type":"object","properties":{"rpm":{"type":"integer","maximum":3000}},"required":["rpm"],"additionalProperties":false}`)})
		in := intent("pump")
		in.Params = json.RawMessage(`{"rpm":1200}`)
		if _, err := w.Issue(w.ctx(), in); err != nil {
			t.Error(err)
		}
		for _, bad := range []string{`{"rpm":9000}`, `{}`, `{"rpm":1.5}`, `{"rpm":1,"x":2}`} {
			in.Params = json.RawMessage(bad)
			if _, err := w.Issue(w.ctx(), in); command.CodeOf(err) != command.CodeInvalid {
				t.Errorf("%s is answered %v, want invalid", bad, err)
			}
		}
		in.Params = nil
		if _, err := w.Issue(w.ctx(), in); command.CodeOf(err) != command.CodeInvalid {
			t.Errorf("no params are answered %v, want invalid", err)
		}
	})
}

func TestAResultThatBreaksItsSchemaCountsAndIsMarked(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ready("pump")
		w.declare(command.Type{Name: "pump.start", Result: json.RawMessage(`{"type":"integer"}`)})
		i := w.issue("pump")
		r := command.Report{Status: command.StatusSuccess, Result: []byte{0x61, 'x'}} // a text
		if err := w.Report(w.ctx(), "pump", there, i.Only.Seq, r); err != nil {
			t.Fatal(err)
		}
		if x := w.check(i.Command.ID, command.Succeeded, command.NoCause); !x.Last.Invalid {
			t.Error("the result is not marked")
		}
	})
}

func TestARetiredTypeIssuesNothingAndKeepsItsCommands(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ready("pump")
		w.declare(command.Type{Name: "pump.start"})
		i := w.issue("pump")
		if err := w.RetireType(w.ctx(), "pump.start", 0, "ann"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Issue(w.ctx(), intent("pump")); command.CodeOf(err) != command.CodeInvalid {
			t.Errorf("issuing is answered %v, want invalid", err)
		}
		if err := w.RetireType(w.ctx(), "pump.start", 0, "ann"); command.CodeOf(err) != command.CodeNotFound {
			t.Errorf("retiring again is answered %v, want not_found", err)
		}
		if err := w.report("pump", i.Only.Seq, command.StatusSuccess); err != nil {
			t.Error(err)
		}
	})
}

func TestAnUrgentCommandGoesPastTheHead(t *testing.T) {
	inWorld(t, func(w *world) {
		h := w.ready("pump")
		w.declare(command.Type{Name: "pump.stop", Policy: command.Policy{Urgent: true}})
		head := w.issue("pump")
		in := intent("pump")
		in.Type = "pump.stop"
		urgent, err := w.Issue(w.ctx(), in)
		if err != nil {
			t.Fatal(err)
		}
		if got := seqs(w.screen.on(h).List); len(got) != 2 || got[0] != head.Only.Seq || got[1] != urgent.Only.Seq {
			t.Errorf("the device sees %v", got)
		}
	})
}

func TestWhatGoesOnceIsGivenUpAfterARestart(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ready("pump")
		w.declare(command.Type{Name: "pump.start", Policy: command.Policy{Redelivery: command.Once}})
		i := w.issue("pump")
		w.check(i.Command.ID, command.Sent, command.NoCause)
		w.restart()
		w.check(i.Command.ID, command.TimedOut, command.Unacknowledged)
	})
}

func TestOutsideDevelopmentNothingUndeclaredPasses(t *testing.T) {
	inWorld(t, func(w *world) {
		w.stop()
		w.production = true
		w.start()
		if _, err := w.Register(w.ctx(), device.Registering{Name: "pump", From: there, Lifetime: time.Hour}); command.CodeOf(err) != command.CodeForbidden {
			t.Errorf("an unknown device is answered %v, want forbidden", err)
		}
		if _, _, err := w.PutDevice(w.ctx(), "pump", device.Edit{}, "ann"); err != nil {
			t.Fatal(err)
		}
		w.ready("pump")
		if _, err := w.Issue(w.ctx(), intent("pump")); command.CodeOf(err) != command.CodeInvalid {
			t.Errorf("an undeclared type is answered %v, want invalid", err)
		}
		w.declare(command.Type{Name: "pump.start"})
		if i := w.issue("pump"); i.Only.State != command.Sent {
			t.Errorf("it is %s, want sent", i.Only.State)
		}
		if _, err := w.Issue(w.ctx(), intent("valve")); command.CodeOf(err) != command.CodeUnknownDevice {
			t.Errorf("an unknown target is answered %v, want unknown_device", err)
		}
	})
}

// A dear schema may take a second over a large result: no commit waits for it.
// What is found out is kept, also of a report that comes twice.
func TestALargeResultIsJudgedBeforeItsCommit(t *testing.T) {
	inWorld(t, func(w *world) {
		w.declare(command.Type{Name: "pump.log", Result: json.RawMessage(`{"type":"string","maxLength":5000}`), Policy: command.Policy{Large: true}})
		for _, tt := range []struct {
			name    string
			length  int
			invalid bool
			waited  bool
		}{
			{"small", 100, false, true},
			{"large", 4000, false, false},
			{"too-large", 6000, true, false},
		} {
			w.ready(tt.name)
			in := intent(tt.name)
			in.Type = "pump.log"
			i, err := w.Issue(w.ctx(), in)
			if err != nil {
				t.Fatal(err)
			}
			result := append([]byte{0x79, byte(tt.length >> 8), byte(tt.length)}, strings.Repeat("x", tt.length)...)
			w.judge.waited, w.judge.without = nil, nil
			for range 2 {
				if err := w.Report(w.ctx(), tt.name, there, i.Only.Seq, command.Report{Status: command.StatusSuccess, Result: result}); err != nil {
					t.Errorf("%s: %v", tt.name, err)
				}
			}
			if x := w.check(i.Command.ID, command.Succeeded, command.NoCause); x.Last.Invalid != tt.invalid || !bytes.Equal(x.Last.Result, result) {
				t.Errorf("%s: %d bytes are kept, invalid %t", tt.name, len(x.Last.Result), x.Last.Invalid)
			}
			want := [2]int{0, 2}
			if tt.waited {
				want = [2]int{2, 0}
			}
			if got := [2]int{len(w.judge.waited), len(w.judge.without)}; got != want {
				t.Errorf("%s: judged %d times while a commit waited, %d times without, want %v", tt.name, got[0], got[1], want)
			}
		}
	})
}

// Who was removed is as unknown as who never was: nobody acts on what he does
// not see.
func TestOutsideDevelopmentModeARemovedDeviceIsUnknown(t *testing.T) {
	inWorld(t, func(w *world) {
		w.stop()
		w.production = true
		w.start()
		w.known(append(fleet(65), "pump", "valve")...)
		w.declare(command.Type{Name: "pump.start"})
		w.declare(command.Type{Name: "pump.swap", Rollback: &command.RollbackRule{Kind: command.Restore}})
		w.ready("pump")
		w.ready("valve")
		swap := intent("pump", "valve")
		swap.Type = "pump.swap"
		swapped, err := w.Issue(w.ctx(), swap)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.RemoveDevice(w.ctx(), "pump", 0, "ann"); err != nil {
			t.Fatal(err)
		}
		staged := intent("pump", "valve")
		staged.Rollout = &command.Rollout{Waves: []command.Wave{{Count: 1}}}
		for name, in := range map[string]command.Intent{
			"alone": intent("pump"), "with another": intent("pump", "valve"),
			"in waves": staged, "among many": intent(append(fleet(65), "pump")...),
		} {
			if _, err := w.Issue(w.ctx(), in); command.CodeOf(err) != command.CodeUnknownDevice {
				t.Errorf("%s: answered %v, want unknown_device", name, err)
			}
			if _, err := w.Preview(w.ctx(), in); command.CodeOf(err) != command.CodeUnknownDevice {
				t.Errorf("%s: the preview answers %v, want unknown_device", name, err)
			}
			in.AllowUnregistered = true
			if _, err := w.Issue(w.ctx(), in); err != nil {
				t.Errorf("%s, although it is not there: %v", name, err)
			}
		}
		if back, err := w.Rollback(w.ctx(), swapped.Command.ID, command.RollbackIntent{By: "ann"}); err != nil || back.Tally.Total() != 2 {
			t.Errorf("undoing what it may have done: on %d, %v", back.Tally.Total(), err)
		}
	})
}
