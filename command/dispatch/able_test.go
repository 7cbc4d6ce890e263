package dispatch_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"behest/access"
	"behest/command"
	"behest/device"
)

// asks puts a type with an approval rule, and answers with what is wrong.
func (w *world) asks(approvers int, role string, groups ...string) error {
	_, _, err := w.PutType(w.ctx(), command.Type{Name: "valve.set", Approval: &command.ApprovalRule{Approvers: approvers, Role: role, Groups: groups}}, 0, "ann")
	return err
}

// A rule must be one that known users can meet, besides who asks. ann, the
// administrator, may ask and may approve, and counts once.
func TestARuleThatNobodyCanMeetIsRefused(t *testing.T) {
	inTown(t, func(w *world) {
		w.group("north", "site=n")
		w.group("south", "site=s")
		is := func(when string, err error, pointer, says string) {
			t.Helper()
			var e *command.Error
			switch {
			case pointer == "" && err != nil:
				t.Errorf("%s: %v", when, err)
			case pointer != "" && (!errors.As(err, &e) || e.Code != command.CodeInvalid || e.Fields[0].Pointer != pointer || !strings.Contains(e.Fields[0].Detail, says)):
				t.Errorf("%s: %v, want %s at %s", when, err, says, pointer)
			}
		}
		const at = "/approval/approvers"
		is("nobody but who asks", w.asks(1, ""), at, "asks for 1 to agree besides who asks, and 1 of the known users could")
		w.grant("op", access.Operator, "site=n")
		is("an operator may ask, and she approves", w.asks(1, ""), "", "")
		is("or as administrator", w.asks(1, "admin"), "", "")
		is("two of one", w.asks(2, ""), at, "asks for 2 to agree besides who asks, and 1 of the known users could")
		w.grant("eve", access.Approver, "site=s")
		is("two, anywhere", w.asks(2, ""), "", "")
		is("two administrators", w.asks(2, "admin"), at, "1 of the known users could")
		is("two, in the north", w.asks(2, "", "north"), at, `and 1 of the known users could on devices of the group "north"`)
		is("two, in the south, where no operator asks", w.asks(2, "", "south"), at, `2 of the known users could on devices of the group "south"`)
		is("in both", w.asks(1, "", "south", "north"), "", "")
		is("in a group that is not there", w.asks(1, "", "north", "west"), "/approval/groups/1", `no group is called "west"`)
		w.put(access.User{ID: "joe", Grants: []access.Grant{{Role: access.Approver, Groups: []string{"north"}}}})
		is("two, in the north, with another", w.asks(2, "", "north"), "", "")
		w.put(access.User{ID: "joe", Disabled: true, Grants: []access.Grant{{Role: access.Approver, Groups: []string{"north"}}}})
		is("who is disabled", w.asks(2, "", "north"), at, "1 of the known users could")
		w.grant("joe", access.Approver, "kind=pump") // perhaps of the north
		is("by another label", w.asks(2, "", "north"), "", "")
		w.grant("joe", access.Approver, "site notin (n)")
		is("by another value of the same", w.asks(2, "", "north"), at, "1 of the known users could")
	})
}

// Who may approve no more is locked out at once, whatever that does to types:
// it is told, once.
func TestRulesThatCannotBeMetAnyMoreAreTold(t *testing.T) {
	for what, lose := range map[string]func(w *world) error{
		"disabled": func(w *world) error {
			w.put(access.User{ID: "eve", Disabled: true, Grants: []access.Grant{{Role: access.Approver, Groups: []string{"north"}}}})
			return nil
		},
		"demoted": func(w *world) error { w.grant("eve", access.Viewer, ""); return nil },
		"removed": func(w *world) error { return w.RemoveUser(w.ctx(), "eve", 0, "ann") },
		"moved": func(w *world) error {
			w.group("south", "site=s")
			w.grant("eve", access.Approver, "site=s")
			return nil
		},
	} {
		inTown(t, func(w *world) {
			w.group("north", "site=n")
			w.grant("op", access.Operator, "")
			w.put(access.User{ID: "eve", Grants: []access.Grant{{Role: access.Approver, Groups: []string{"north"}}}})
			if err := w.asks(2, "", "north"); err != nil {
				t.Fatal(err)
			}
			w.declare(command.Type{Name: "other", Approval: &command.ApprovalRule{Approvers: 1}})
			if err := lose(w); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			w.grant("bob", access.Viewer, "") // and is told once
			events, _, err := w.store.Events(w.ctx(), command.Place{}, command.EventFilter{Types: []command.EventType{command.EventTypeUnmet}}, 10)
			var told []string
			for _, e := range events {
				told = append(told, fmt.Sprintf("%s %s", e.Actor, e.Data))
			}
			if diff := cmp.Diff(told, []string{`ann {"able":1,"approvers":2,"type":"valve.set"}`}); diff != "" || err != nil {
				t.Errorf("%s: told (-got +want), %v:\n%s", what, err, diff)
			}
			w.register("a")
			if _, err := w.EditDevice(w.ctx(), "a", device.Edit{Labels: map[string]string{"site": "n"}}, "ann"); err != nil {
				t.Fatal(err)
			}
			i, err := w.Issue(w.ctx(), wishFor("a"))
			if err != nil {
				t.Fatal(err)
			}
			w.check(i.Command.ID, command.AwaitingApproval, command.NoCause) // an approver may be found until it lapses
		})
	}
}

// A group by which a type asks for approval stays: without it nobody would be
// asked any more.
func TestAGroupThatARuleNamesStays(t *testing.T) {
	inTown(t, func(w *world) {
		w.group("north", "site=n")
		w.grant("op", access.Operator, "")
		if err := w.asks(1, "", "north"); err != nil {
			t.Fatal(err)
		}
		err := w.RemoveGroup(w.ctx(), "north", 0, "ann")
		wantCode(t, "while the type asks", err, command.CodeConflict)
		if !strings.Contains(fmt.Sprint(err), `"valve.set"`) {
			t.Errorf("it does not say which: %v", err)
		}
		if err := w.RetireType(w.ctx(), "valve.set", 0, "ann"); err != nil {
			t.Fatal(err)
		}
		wantCode(t, "when it is retired", w.RemoveGroup(w.ctx(), "north", 0, "ann"), "")
	})
}

func TestGroupsAreBounded(t *testing.T) {
	inTown(t, func(w *world) {
		w.group("north", "site=n")
		for n := range device.GroupsMax - 1 { // as if they were in the store
			if err := w.book.PutGroup(device.Group{Name: fmt.Sprint(n), Selector: "a=b"}); err != nil {
				t.Fatal(err)
			}
		}
		_, _, err := w.PutGroup(w.ctx(), device.Group{Name: "one more", Selector: "a=b"}, 0, "ann")
		wantCode(t, "one more", err, command.CodeConflict)
		w.group("north", "site=m")
	})
}

// Where one person runs the server, who asks may be among those who approve:
// in the role that is needed, if that was so when he asked, and is so still.
func TestSoloLetsWhoAsksApprove(t *testing.T) {
	inTown(t, func(w *world) {
		again := func(solo bool) { w.stop(); w.solo = solo; w.start() }
		again(true)
		w.grant("op", access.Operator, "")
		if err := w.asks(1, ""); err != nil {
			t.Errorf("the one who asks is enough: %v", err)
		}
		wantCode(t, "two are not there", w.asks(2, ""), command.CodeInvalid)
		w.ready("a")
		by := func(user string) command.View {
			t.Helper()
			in := wishFor("a")
			in.RequestedBy = user
			i, err := w.Issue(w.ctx(), in)
			if err != nil {
				t.Fatal(err)
			}
			return i.View
		}
		mine, his, left := by("ann"), by("op"), by("ann")
		if !mine.Command.Approval.Solo {
			t.Error("the command does not say so")
		}
		_, err := w.Approve(w.ctx(), his.Command.ID, digestOf(his), "", "op")
		wantCode(t, "who is no approver", err, command.CodeForbidden)
		w.approve(mine, "ann")
		w.check(mine.Command.ID, command.Sent, command.NoCause)
		events, _, err := w.store.Events(w.ctx(), command.Place{}, command.EventFilter{Command: mine.Command.ID, Types: []command.EventType{command.EventApproved}}, 10)
		if err != nil || len(events) != 1 || string(events[0].Data) != `{"enough":true,"solo":true}` {
			t.Errorf("told as %+v, %v", events, err)
		}
		again(false)
		_, err = w.Approve(w.ctx(), left.Command.ID, digestOf(left), "", "ann")
		wantCode(t, "when it is over", err, command.CodeForbidden)
		before := by("ann")
		again(true)
		_, err = w.Approve(w.ctx(), before.Command.ID, digestOf(before), "", "ann")
		wantCode(t, "asked for before", err, command.CodeForbidden)
		if kinds := w.kinds(before.Command.ID); len(kinds) != 2 {
			t.Errorf("told: %q", kinds)
		}
	})
}
