package dispatch_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"behest/access"
	"behest/command"
	"behest/device"
)

// inCouncil is inTown, with a type that one approver must agree to, an operator
// and two approvers.
func inCouncil(t *testing.T, f func(w *world)) {
	t.Helper()
	inTown(t, func(w *world) {
		w.grant("op", access.Operator, "")
		w.grant("eve", access.Approver, "")
		w.grant("joe", access.Approver, "")
		w.declare(command.Type{Name: "valve.set", Approval: &command.ApprovalRule{Approvers: 1}, Clocks: command.TypeClocks{
			ApproveWithin: command.Bound{Default: time.Hour}, UseWithin: command.Bound{Default: time.Hour},
		}})
		f(w)
	})
}

// wish issues a command that needs an approval, for the operator.
func (w *world) wish(devices ...string) command.View {
	w.t.Helper()
	i, err := w.Issue(w.ctx(), wishFor(devices...))
	if err != nil {
		w.t.Fatal(err)
	}
	return i.View
}

func wishFor(devices ...string) command.Intent {
	return command.Intent{Type: "valve.set", Params: []byte(`{"to":7}`), Targets: command.Targets{Devices: devices}, RequestedBy: "op"}
}

func digestOf(v command.View) [32]byte { return [32]byte(v.Digest()) }

func (w *world) approve(v command.View, by string) command.View {
	w.t.Helper()
	now, err := w.Approve(w.ctx(), v.Command.ID, digestOf(v), "", by)
	if err != nil {
		w.t.Fatal(err)
	}
	return now
}

// view is a command as it stands when nothing moves.
func (w *world) view(id command.ID) command.View {
	w.t.Helper()
	time.Sleep(time.Second) // gates take their time
	synctest.Wait()
	v, err := w.store.Command(w.ctx(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// kinds are the types of a command's events, the oldest first.
func (w *world) kinds(id command.ID) (kinds []command.EventType) {
	w.t.Helper()
	events, _, err := w.store.Events(w.ctx(), command.Place{}, command.EventFilter{Command: id}, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range events {
		kinds = append(kinds, e.Type)
	}
	return kinds
}

// tamper changes the file of the store behind its back.
func (w *world) tamper(statement string, args ...any) {
	w.t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(w.dir, "db")+"?_busy_timeout=5000")
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	r, err := db.ExecContext(context.Background(), statement, args...)
	if err != nil {
		w.t.Fatal(err)
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		w.t.Fatalf("%s changed %d rows, %v", statement, n, err)
	}
}

// One device of many that wait for an approval, or for their wave, is stopped
// by itself. The others wait on, under the digest that they had.
func TestOneDeviceBehindAGateIsCanceledAlone(t *testing.T) {
	inCouncil(t, func(w *world) {
		names := fleet(4)
		handles := make(map[string]int64)
		for _, name := range names {
			handles[name] = w.ready(name)
		}
		v := w.wish(names...)
		after, err := w.Cancel(w.ctx(), v.Command.ID, []string{names[1], "nowhere"}, "eve")
		if err != nil || after.State() != "awaiting_approval" || after.Tally.Pending != 3 || after.Tally.Count[command.Canceled] != 1 {
			t.Fatalf("it is %s, %+v, %v", after.State(), after.Tally, err)
		}
		if digestOf(after) != digestOf(v) {
			t.Error("the digest is another one")
		}
		if _, err := w.Cancel(w.ctx(), v.Command.ID, []string{names[1]}, "eve"); command.CodeOf(err) != command.CodeConflict {
			t.Errorf("once more: %v, want a conflict", err)
		}
		if n, err := w.CancelDevice(w.ctx(), names[2], "op"); n != 1 || err != nil {
			t.Errorf("a device's queue had %d, %v", n, err)
		}
		w.restart()
		w.approve(v, "joe")
		now := w.view(v.Command.ID)
		if now.Tally.Count[command.Sent] != 2 || now.Tally.Count[command.Canceled] != 2 || now.Tally.Pending != 0 {
			t.Errorf("approved, it is %+v", now.Tally)
		}
		for i, want := range []int{1, 0, 0, 1} {
			if list := w.screen.on(handles[names[i]]).List; len(list) != want {
				t.Errorf("%s sees %+v, want %d", names[i], list, want)
			}
		}
	})
}

// When the last one behind a gate is stopped, the command has ended.
func TestACommandEndsWithTheLastDeviceBehindItsGate(t *testing.T) {
	inCouncil(t, func(w *world) {
		v := w.wish("a", "b", "c")
		if _, err := w.Cancel(w.ctx(), v.Command.ID, []string{"a", "b"}, "op"); err != nil {
			t.Fatal(err)
		}
		if n, err := w.CancelDevice(w.ctx(), "c", "op"); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		now := w.view(v.Command.ID)
		if now.State() != "ended" || now.Tally.Outcome() != command.NoneDone || now.Gate != nil {
			t.Errorf("it is %s, %s, behind %+v", now.State(), now.Tally.Outcome(), now.Gate)
		}
		if kinds := w.kinds(v.Command.ID); !slices.Contains(kinds, command.EventEnded) {
			t.Errorf("nobody is told of its end: %q", kinds)
		}
		if _, err := w.Approve(w.ctx(), v.Command.ID, digestOf(v), "", "joe"); command.CodeOf(err) != command.CodeConflict {
			t.Errorf("approved afterwards: %v, want a conflict", err)
		}
		time.Sleep(2 * time.Hour)
		if now := w.view(v.Command.ID); now.Tally.Count[command.Canceled] != 3 {
			t.Errorf("after its clock it is %+v", now.Tally)
		}
	})
}

// A wave that is under way: who waits for the next is stopped by itself.
func TestOneDeviceOfALaterWaveIsCanceledAlone(t *testing.T) {
	inWorld(t, func(w *world) {
		names := fleet(6)
		for _, name := range names {
			w.ready(name)
		}
		in := intent(names...)
		in.Rollout = &command.Rollout{Waves: []command.Wave{{Count: 2}}, RatePerMinute: 6000}
		i, err := w.Issue(w.ctx(), in)
		if err != nil {
			t.Fatal(err)
		}
		w.stands(i, "open", 4)
		if _, err := w.Cancel(w.ctx(), i.Command.ID, names[4:5], "ann"); err != nil {
			t.Fatal(err)
		}
		w.stands(i, "open", 3)
		w.reportAll(i, command.StatusSuccess)
		w.stands(i, "open", 0)
		w.reportAll(i, command.StatusSuccess)
		w.stands(i, "ended", 0)
		v := w.view(i.Command.ID)
		if v.Tally.Count[command.Canceled] != 1 || v.Tally.Count[command.Succeeded] != 5 {
			t.Errorf("in the end it is %+v", v.Tally)
		}
	})
}

// Who may not act on a device where a rollout went already may not stop it,
// though all that still waits is his.
func TestARolloutIsPausedByWhoMayOnAllOfIt(t *testing.T) {
	inTown(t, func(w *world) {
		w.site("a-theirs", "b")
		w.site("b-mine", "a")
		w.site("c-mine", "a")
		w.grant("op", access.Operator, "site=a")
		in := intent("a-theirs", "b-mine", "c-mine")
		in.Rollout = &command.Rollout{Waves: []command.Wave{{Count: 1}}}
		i, err := w.Issue(w.ctx(), in)
		if err != nil {
			t.Fatal(err)
		}
		w.stands(i, "open", 2)
		for what, do := range map[string]func(by string) error{
			"pause":  func(by string) error { _, err := w.Pause(w.ctx(), i.Command.ID, by); return err },
			"cancel": func(by string) error { _, err := w.Cancel(w.ctx(), i.Command.ID, nil, by); return err },
		} {
			wantCode(t, what, do("op"), command.CodeForbidden)
		}
		if _, err := w.Cancel(w.ctx(), i.Command.ID, []string{"b-mine"}, "op"); err != nil {
			t.Errorf("his own device: %v", err)
		}
		w.stands(i, "open", 1)
	})
}

// What was asked for, and approved, by rights that were lost before it left
// never leaves: of one device, and of many behind a gate.
func TestLostRightsWithdrawWhatHasNotLeft(t *testing.T) {
	lost := map[string]func(w *world){
		"disabled": func(w *world) {
			w.put(access.User{ID: "op", Disabled: true, Grants: []access.Grant{{Role: access.Operator}}})
		},
		"demoted": func(w *world) { w.grant("op", access.Viewer, "") },
		"limited": func(w *world) { w.grant("op", access.Operator, "site=b") },
		"removed": func(w *world) {
			if err := w.RemoveUser(w.ctx(), "op", 0, "ann"); err != nil {
				w.t.Error(err)
			}
		},
		"the group goes elsewhere": func(w *world) {
			w.put(access.User{ID: "op", Grants: []access.Grant{{Role: access.Operator, Groups: []string{"north"}}}})
			w.group("north", "site=b")
		},
	}
	for what, lose := range lost {
		inCouncil(t, func(w *world) {
			w.group("north", "site=a")
			w.screen.deaf = true
			h := w.site("a", "a")
			w.site("b", "a")
			one, many := w.wish("a"), w.wish("a", "b")
			w.approve(one, "eve")
			later := w.wish("a", "b")
			w.approve(many, "eve")
			w.view(many.Command.ID) // the gate lets them through; they wait for their devices
			lose(w)
			w.approve(later, "eve") // the requester is not looked at before it leaves
			w.screen.mu.Lock()
			w.screen.deaf = false
			w.screen.mu.Unlock()
			w.observe("a")
			w.observe("b")
			w.view(later.Command.ID)
			if err := w.Pull(w.ctx(), h); err != nil {
				t.Error(err)
			}
			w.check(one.Command.ID, command.Canceled, command.NotEntitled)
			for _, v := range []command.View{many, later} {
				if now := w.view(v.Command.ID); now.Tally.Count[command.Canceled] != 2 || now.Tally.Outcome() != command.NoneDone {
					t.Errorf("%s: of two devices it is %+v", what, now.Tally)
				}
			}
			if list := w.screen.on(h).List; len(list) > 0 {
				t.Errorf("%s: the device sees %+v", what, list)
			}
		})
	}
}

func (w *world) group(name, selector string) {
	w.t.Helper()
	if _, _, err := w.PutGroup(w.ctx(), device.Group{Name: name, Selector: selector}, 0, "ann"); err != nil {
		w.t.Fatal(err)
	}
}

// Who is limited is told of no device that he does not see, also when he may not
// decide because of it.
func TestADecisionThatIsForbiddenNamesNothingUnseen(t *testing.T) {
	inCouncil(t, func(w *world) {
		w.site("mine", "north")
		w.site("seen", "south")
		w.site("theirs", "east")
		u := w.grant("lim", access.Approver, "site=north")
		u.Grants = append(u.Grants, access.Grant{Role: access.Viewer, Selector: "site=south"})
		w.put(u)
		for _, tt := range []struct {
			devices []string
			names   bool
		}{{[]string{"mine", "theirs"}, false}, {[]string{"mine", "seen"}, true}} {
			v := w.wish(tt.devices...)
			for what, decide := range map[string]func() (command.View, error){
				"approve": func() (command.View, error) { return w.Approve(w.ctx(), v.Command.ID, digestOf(v), "", "lim") },
				"deny":    func() (command.View, error) { return w.Deny(w.ctx(), v.Command.ID, digestOf(v), "", "lim") },
			} {
				_, err := decide()
				wantCode(t, what, err, command.CodeForbidden)
				if got := strings.Contains(fmt.Sprint(err), tt.devices[1]); got != tt.names {
					t.Errorf("%s: %v", what, err)
				}
			}
		}
	})
}

// One refusal is final, and a command on many is denied from its commit on: what
// is behind the gate is written out as it comes.
func TestAFleetIsDeniedAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		w.declare(command.Type{Name: "valve.open", Approval: &command.ApprovalRule{Approvers: 1}})
		in := intent(fleet(200)...)
		in.Type = "valve.open"
		i, err := w.Issue(w.ctx(), in)
		if err != nil {
			t.Fatal(err)
		}
		w.stop()
		w.still = true // nothing is written out
		w.start()
		some := fleet(200)[:2]
		if v, err := w.Cancel(w.ctx(), i.Command.ID, some[:1], "ann"); err != nil || v.State() != "awaiting_approval" {
			t.Errorf("less one it is %s, %v", v.State(), err)
		}
		v, err := w.Deny(w.ctx(), i.Command.ID, digestOf(i.View), "", "bob")
		if err != nil || v.Tally.Pending != 199 || v.Tally.Outcome() != command.Open {
			t.Errorf("%d are pending, it came to %q, %v", v.Tally.Pending, v.Tally.Outcome(), err)
		}
		if v.State() != "denied" {
			t.Errorf("denied, it is %s", v.State())
		}
		for state, want := range map[string]int{"denied": 1, "open": 0} {
			if list, _, err := w.store.Commands(w.ctx(), command.Filter{State: state}); err != nil || len(list) != want {
				t.Errorf("%d are listed as %s, %v; want %d", len(list), state, err, want)
			}
		}
		w.stop()
		w.still = false
		w.start()
		time.Sleep(time.Minute)
		if v := w.view(i.Command.ID); v.State() != "denied" || v.Tally.Count[command.Denied] != 199 || v.Tally.Count[command.Canceled] != 1 {
			t.Errorf("written out it is %s %v", v.State(), v.Tally.Count)
		}
	})
}

// A device that is removed while a command on it waits behind a gate gets
// nothing when its turn would come, also if it is there again.
func TestADeviceThatIsRemovedBehindAGateGetsNothing(t *testing.T) {
	inCouncil(t, func(w *world) {
		w.ready("a")
		w.ready("b")
		v := w.wish("a", "b")
		if err := w.RemoveDevice(w.ctx(), "a", 0, "ann"); err != nil {
			t.Fatal(err)
		}
		w.approve(v, "eve")
		w.view(v.Command.ID)
		x, _, err := w.store.Execution(w.ctx(), v.Command.ID, "a")
		if err != nil || x.State != command.Canceled || x.Cause != command.DeviceRemoved {
			t.Errorf("on the removed device it is %s %s, %v", x.State, x.Cause, err)
		}
		if x, _, err = w.store.Execution(w.ctx(), v.Command.ID, "b"); err != nil || x.State != command.Sent {
			t.Errorf("on the other it is %s, %v", x.State, err)
		}
	})
}

// What leaves is what was approved: whatever is changed in the file between the
// approval and the release, nothing is sent.
func TestWhatWasNotApprovedDoesNotLeave(t *testing.T) {
	w0 := func(w *world, name string) string {
		return fmt.Sprintf("(SELECT handle FROM device WHERE name = '%s')", name)
	}
	for what, change := range map[string]func(w *world, n int64){
		"params": func(w *world, n int64) { // {"to": 7} to {"to": 8}
			w.tamper(`UPDATE command SET intent = CAST(replace(hex(intent), '62746F07', '62746F08') AS BLOB) WHERE n = ?`, n)
			w.tamper(`UPDATE command SET intent = unhex(CAST(intent AS TEXT)) WHERE n = ?`, n)
		},
		"the device": func(w *world, n int64) { w.tamper(`UPDATE command SET device = `+w0(w, "b")+` WHERE n = ?`, n) },
		"its name":   func(w *world, n int64) { w.tamper(`UPDATE device SET name = 'z' WHERE name = 'a'`) },
		"a clock": func(w *world, n int64) {
			w.tamper(`UPDATE kind SET terms = (SELECT terms FROM kind WHERE type = 'other') WHERE type = 'valve.set'`)
		},
		"the type":         func(w *world, n int64) { w.tamper(`UPDATE kind SET type = 'valve.get' WHERE type = 'valve.set'`) },
		"its version":      func(w *world, n int64) { w.tamper(`UPDATE kind SET type_version = 2 WHERE type = 'valve.set'`) },
		"the decision":     func(w *world, n int64) { w.tamper(`DELETE FROM decision`) },
		"what was decided": func(w *world, n int64) { w.tamper(`UPDATE decision SET digest = zeroblob(32)`) },
	} {
		inCouncil(t, func(w *world) {
			w.declare(command.Type{Name: "other", Clocks: command.TypeClocks{RunFor: command.Bound{Default: time.Minute}, CancelFor: command.Bound{Default: time.Minute + 1e9}}})
			h := w.register("a") // and does not observe: it cannot leave yet
			w.register("b")
			w.register("c")
			if _, err := w.Issue(w.ctx(), command.Intent{Type: "other", Targets: command.Targets{Devices: []string{"c"}}, RequestedBy: "op"}); err != nil {
				t.Fatal(err)
			}
			v := w.wish("a")
			w.approve(v, "eve")
			w.check(v.Command.ID, command.Queued, command.NoCause)
			change(w, v.Command.N)
			for _, name := range []string{"a", "b", "z"} { // whoever has it now
				if _, _, err := w.Observe(w.ctx(), name, there, device.Observation{Token: []byte{1}}); err != nil && command.CodeOf(err) != command.CodeNotFound {
					t.Error(err)
				}
			}
			now := w.view(v.Command.ID)
			if x := now.Only; x.State != command.Canceled || x.Cause != command.IntegrityFailed || x.Seq != 0 {
				t.Errorf("%s: it is %s %s, number %d", what, x.State, x.Cause, x.Seq)
			}
			if list := w.screen.on(h).List; len(list) > 0 {
				t.Errorf("%s: the device sees %+v", what, list)
			}
			if kinds := w.kinds(v.Command.ID); !slices.Contains(kinds, command.EventOf(command.Canceled)) {
				t.Errorf("%s: nobody is told: %q", what, kinds)
			}
		})
	}
}

// Of many devices the list is what was approved: one that was put into it, or
// in the place of another, gets nothing, and nobody else does any more.
func TestAListThatWasNotApprovedIsNotLetThrough(t *testing.T) {
	for what, change := range map[string]func(w *world, n int64){
		"another in the list": func(w *world, n int64) { w.tamper(`UPDATE pending SET handles = x'0202020204' WHERE command = ?`, n) }, // 1 to 4, and 6
		"another by that name": func(w *world, n int64) {
			w.tamper(`UPDATE device SET name = 'x' || name WHERE handle IN (5, 6)`)
		},
		"params": func(w *world, n int64) {
			w.tamper(`UPDATE command SET intent = CAST(replace(hex(intent), '62746F07', '62746F08') AS BLOB) WHERE n = ?`, n)
			w.tamper(`UPDATE command SET intent = unhex(CAST(intent AS TEXT)) WHERE n = ?`, n)
		},
		"what they come to": func(w *world, n int64) {
			w.tamper(`UPDATE command SET extra = json_set(extra, '$.resolved', 'AAAA') WHERE n = ?`, n)
		},
	} {
		inCouncil(t, func(w *world) {
			names := fleet(6)
			for _, name := range names {
				w.ready(name)
			}
			in := wishFor(names[:5]...)
			in.NotBefore = time.Now().Add(10 * time.Minute)
			i, err := w.Issue(w.ctx(), in)
			if err != nil {
				t.Fatal(err)
			}
			w.approve(i.View, "eve")
			if now := w.view(i.Command.ID); now.State() != "scheduled" || now.Tally.Pending != 5 {
				t.Fatalf("%s: approved it is %s, %+v", what, now.State(), now.Tally)
			}
			change(w, i.Command.N)
			w.restart() // what was found intact before is not trusted any more
			time.Sleep(20 * time.Minute)
			now := w.view(i.Command.ID)
			if now.State() != "ended" || now.Tally.Outcome() != command.NoneDone || now.Tally.Count[command.Canceled] != now.Tally.Total() {
				t.Errorf("%s: it is %s, %+v", what, now.State(), now.Tally)
			}
			xs, _, err := w.store.Executions(w.ctx(), i.Command.ID, "", 0, 10)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range xs {
				if x.Cause != command.IntegrityFailed || x.Seq != 0 {
					t.Errorf("%s: on %s it is %s %s, number %d", what, x.Name, x.State, x.Cause, x.Seq)
				}
			}
			if kinds := w.kinds(i.Command.ID); !slices.Contains(kinds, command.EventOf(command.Canceled)) {
				t.Errorf("%s: nobody is told: %q", what, kinds)
			}
		})
	}
}

// Of many devices all were taken out, one after the other: nobody decides on
// what is left of the command, also before its gate was asked again.
func TestNobodyDecidesOnWhatIsLeftOfNothing(t *testing.T) {
	inCouncil(t, func(w *world) {
		w.still = true
		w.restart()
		v := w.wish("a1", "b1")
		for _, name := range []string{"a1", "b1"} {
			if _, err := w.CancelDevice(w.ctx(), name, "op"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Hour)
		_, err := w.Approve(w.ctx(), v.Command.ID, digestOf(v), "", "eve")
		if wantCode(t, "approved", err, command.CodeConflict); err != nil && !strings.Contains(err.Error(), "it is ended") {
			t.Errorf("it is answered %v", err)
		}
		if kinds := w.kinds(v.Command.ID); slices.Contains(kinds, command.EventApproved) {
			t.Errorf("its events are %v", kinds)
		}
	})
}
