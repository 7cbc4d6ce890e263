package dispatch_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"behest/command"
)

// guarded is a type whose commands can be undone, and need an approval where
// they open a valve wide.
func guarded() command.Type {
	t := settable(command.Restore)
	t.Approval = &command.ApprovalRule{Approvers: 1, When: []command.Condition{{Pointer: "/p", Above: new(100.0)}}}
	return t
}

// position are params, as JSON and as the wire has them.
func position(p byte) (json.RawMessage, []byte) {
	return fmt.Appendf(nil, `{"p":%d}`, p), []byte{0xa1, 0x61, 'p', 0x18, p}
}

// open sets valves, whoever has to approve it, and lets the devices succeed.
func (w *world) open(p byte, names ...string) command.Issued {
	w.t.Helper()
	raw, _ := position(p)
	i, err := w.Issue(w.ctx(), command.Intent{Type: "valve.set", Targets: command.Targets{Devices: names}, Params: raw, RequestedBy: "ann"})
	if err != nil {
		w.t.Fatal(err)
	}
	if i.Command.Approval != nil {
		w.approve(i.View, "bob")
	}
	w.settle()
	return i
}

func (w *world) settle() {
	time.Sleep(time.Second)
	synctest.Wait()
}

// What a device gets back may need an approval though what is undone needed
// none; and then exactly that is approved, and goes.
func TestWhatIsGivenBackIsApproved(t *testing.T) {
	inWorld(t, func(w *world) {
		w.declare(guarded())
		h := w.ready("valve")
		w.reportAll(w.open(200, "valve"), command.StatusSuccess)
		i := w.open(50, "valve")
		x := w.check(i.Command.ID, command.Sent, command.NoCause)
		w.refused("while nobody can say what is given back", x, command.RollbackIntent{})
		w.done("valve", x)
		back := w.undo(x)
		_, wide := position(200)
		if held := w.check(back.Command.ID, command.AwaitingApproval, command.NoCause); !bytes.Equal(held.Params, wide) {
			t.Errorf("it waits with the params %x, want %x", held.Params, wide)
		}
		w.approve(w.view(back.Command.ID), "bob")
		w.check(back.Command.ID, command.Sent, command.NoCause)
		w.shows(h, string(wide))
	})
}

// Of a way back over many, the digest is of what each device gets back. That is
// what each gets then, whatever was heard meanwhile.
func TestTheDigestIsOfWhatEachGetsBack(t *testing.T) {
	inWorld(t, func(w *world) {
		w.declare(guarded())
		handles := map[string]int64{}
		for _, name := range []string{"a", "b", "c", "d"} {
			handles[name] = w.ready(name)
		}
		for name, p := range map[string]byte{"a": 200, "b": 30, "d": 40} {
			w.reportAll(w.open(p, name), command.StatusSuccess)
		}
		i := w.open(50, "a", "b", "c", "d")
		w.done("a", w.on(i, "a"))
		w.done("b", w.on(i, "b"))
		time.Sleep(command.DefaultClocks.DeliverWithin + time.Hour) // nobody hears of c and d
		synctest.Wait()
		for name := range handles {
			w.ready(name)
		}
		back := w.undo(w.on(i, "a"))
		_, wide := position(200)
		_, narrow := position(30)
		_, other := position(40)
		want := []command.Target{{Device: "a", Params: wide}, {Device: "b", Params: narrow}, {Device: "c"}, {Device: "d", Params: other}}
		v, err := w.store.Command(w.ctx(), back.Command.ID)
		if err != nil || v.State() != "awaiting_approval" {
			t.Fatalf("%s, %v", v.State(), err)
		}
		if diff := cmp.Diff(v.Own, want); diff != "" {
			t.Errorf("what each gets back (-got +want):\n%s", diff)
		}
		if !bytes.Equal(v.Command.Resolved, command.DigestTargets(want)) || bytes.Equal(v.Command.Resolved, command.DigestTargets(command.Named("a", "b", "c", "d"))) {
			t.Errorf("the digest is not of what each gets back")
		}
		for _, name := range []string{"c", "d"} {
			late := command.Report{Status: command.StatusSuccess, Prev: []byte{7}}
			if err := w.Report(w.ctx(), name, there, w.on(i, name).Seq, late); err != nil {
				t.Fatal(err)
			}
		}
		w.restart()
		w.approve(v, "bob")
		w.settle()
		for _, one := range want {
			x := w.on(back, one.Device)
			switch {
			case one.Params == nil && (x.State != command.Canceled || x.Cause != command.NothingToUndo):
				t.Errorf("%s is %s %s, and there is nothing to give back", one.Device, x.State, x.Cause)
			case one.Params != nil && x.State != command.Sent:
				t.Errorf("%s is %s %s", one.Device, x.State, x.Cause)
			case one.Params != nil:
				w.shows(handles[one.Device], string(one.Params))
			}
		}
	})
}

// on is the execution of a command on a device.
func (w *world) on(i command.Issued, name string) command.Execution {
	w.t.Helper()
	x, _, err := w.store.Execution(w.ctx(), i.Command.ID, name)
	if err != nil {
		w.t.Fatal(err)
	}
	return x
}

// What each gets back is looked at once more before anything leaves.
func TestWhatEachGetsBackIsWhatWasApproved(t *testing.T) {
	inWorld(t, func(w *world) {
		w.declare(guarded())
		for _, name := range []string{"a", "b"} {
			w.ready(name)
			w.reportAll(w.open(200, name), command.StatusSuccess)
		}
		i := w.open(50, "a", "b")
		w.reportAll(i, command.StatusSuccess)
		back := w.undo(w.on(i, "a"))
		w.tamper(`UPDATE own_params SET params = x'a161701864' WHERE device = 1 AND command = ?`, back.Command.N)
		w.approve(w.view(back.Command.ID), "bob")
		w.settle()
		for _, name := range []string{"a", "b"} {
			if x := w.on(back, name); x.State != command.Canceled || x.Cause != command.IntegrityFailed {
				t.Errorf("%s is %s %s", name, x.State, x.Cause)
			}
		}
	})
}
