package httpapi

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"behest/command"
)

const aDigest = "sha256:5d0ab8ffb1a6b5a9cbf3d1a53a4f0a3e1e0d7b2e6b3b0f8d1a7c4c92f9d2a1be"

func decideBody(comment string) string {
	return fmt.Sprintf(`{"digest":%q,"comment":%q}`, aDigest, comment)
}

// What was decided on is what the use case gets, to the bit.
func TestADecisionArrivesAsItWasSaid(t *testing.T) {
	var got command.Decision
	d := &desk{}
	d.decide = func(of command.ID, said command.Decision) (command.View, error) {
		if of != id {
			t.Errorf("decided on %s", of)
		}
		got = said
		return heldCommand(command.AwaitingApproval), nil
	}
	s := serve(t, d, d, Options{})
	sum, err := hex.DecodeString(strings.TrimPrefix(aDigest, "sha256:"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		verb, body string
		want       command.Decision
	}{
		{"approve", decideBody("seen"), command.Decision{User: "approver-1", Approve: true, Comment: "seen", Digest: [32]byte(sum)}},
		{"deny", `{"digest":"` + aDigest + `"}`, command.Decision{User: "approver-1", Digest: [32]byte(sum)}},
	} {
		got = command.Decision{}
		r := s.do(ask{name: tt.verb, as: "approver", path: commandPath + "/" + tt.verb, body: tt.body})
		if r.status != 200 {
			t.Errorf("%s: %d %s", tt.verb, r.status, r.body)
		}
		if diff := cmp.Diff(got, tt.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", tt.verb, diff)
		}
	}
}

// An action that cannot be is answered with the command as it stands; who may
// not learns nothing but that.
func TestRefusedMovesShowWhatStands(t *testing.T) {
	code := command.CodeConflict
	stands := func(command.ID) (command.View, error) {
		return heldCommand(command.Succeeded), command.Errorf(code, "not any more")
	}
	d := &desk{}
	d.decide = func(id command.ID, _ command.Decision) (command.View, error) { return stands(id) }
	d.gate = func(id command.ID, _ command.Kind, _ string) (command.View, error) { return stands(id) }
	s := serve(t, d, d, Options{})
	for _, a := range []ask{
		{name: "approve", path: commandPath + "/approve", body: decideBody("")},
		{name: "deny", path: commandPath + "/deny", body: decideBody("")},
		{name: "pause", method: "POST", path: commandPath + "/pause"},
		{name: "resume", method: "POST", path: commandPath + "/resume"},
	} {
		a.as = "admin"
		if r := s.do(a); r.status != 409 || !strings.Contains(r.body, `"command":{"id":"`+id.String()) || !strings.Contains(r.body, `"state":"succeeded"`) {
			t.Errorf("%s: %d %s", a.name, r.status, r.body)
		}
	}
	d.rollback = func(command.ID, command.RollbackIntent) (command.Issued, error) {
		return command.Issued{}, command.Errorf(code, "it is irreversible")
	}
	if r := s.do(ask{name: "rollback", method: "POST", path: commandPath + "/rollback"}); r.status != 409 || !strings.Contains(r.body, "irreversible") {
		t.Errorf("rollback: %d %s", r.status, r.body)
	}
}

func TestApprovalsPageByWhatWasLookedAt(t *testing.T) {
	var asked []string
	d := &desk{}
	d.approvals = func(user string, after int64, limit int) ([]command.View, int64, bool, error) {
		asked = append(asked, fmt.Sprint(user, " ", after, " ", limit))
		if after == 0 { // nothing for this one among the first, and still there is more
			return nil, 7, true, nil
		}
		return []command.View{heldCommand(command.AwaitingApproval)}, 9, false, nil
	}
	s := serve(t, d, d, Options{})
	var page CommandPage
	r := s.do(ask{name: "first", as: "approver", path: "/v1/approvals?page_size=1"})
	if err := json.Unmarshal([]byte(r.body), &page); err != nil || !strings.Contains(r.body, `"items":[]`) || page.NextPageToken == "" {
		t.Fatalf("%v %s", err, r.body)
	}
	r = s.do(ask{name: "second", as: "approver", path: "/v1/approvals?page_token=" + page.NextPageToken})
	if r.status != 200 || strings.Contains(r.body, "next_page_token") || !strings.Contains(r.body, `"approvers_required":2`) {
		t.Errorf("second: %d %s", r.status, r.body)
	}
	if r := s.do(ask{name: "somebody else's page", as: "admin", path: "/v1/approvals?page_token=" + page.NextPageToken}); r.status != 400 {
		t.Errorf("somebody else's page: %d", r.status)
	}
	if diff := cmp.Diff(asked, []string{"approver-1 0 1", "approver-1 7 100"}); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

// A rollout is shown as it was asked for, and arrives as it was written.
func TestARolloutGoesRound(t *testing.T) {
	want := rolloutCommand(command.GateOpen).Command.Rollout
	raw, err := json.Marshal(viewRollout(want))
	if err != nil {
		t.Fatal(err)
	}
	var got command.Intent
	d := &desk{}
	d.preview = func(in command.Intent) (command.Preview, error) {
		got = in
		return command.Preview{Command: pumpCommand(command.Queued).Command, Digest: make([]byte, 32)}, nil
	}
	s := serve(t, d, d, Options{})
	r := s.do(ask{name: "preview", path: "/v1/commands/preview", body: `{"type":"t","targets":{"groups":["north"],"all":true},"rollout":` + string(raw) + `}`})
	if r.status != 200 || strings.Contains(r.body, "approvals") {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if diff := cmp.Diff(got.Rollout, want); diff != "" {
		t.Errorf("rollout (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(got.Targets, command.Targets{Groups: []string{"north"}, All: true}); diff != "" || got.RequestedBy != "operator-1" {
		t.Errorf("targets of %q (-got +want):\n%s", got.RequestedBy, diff)
	}
	if viewRollout(nil) != nil || rolloutOf(nil) != nil {
		t.Error("no rollout is shown as one")
	}
}

func TestHowFarARolloutIs(t *testing.T) {
	for state, want := range map[command.GateState]string{
		command.GateAwaiting: "awaiting_approval", command.GateScheduled: "scheduled", command.GateOpen: "open",
		command.GatePaused: "paused", command.GateHalted: "halted",
	} {
		c := viewCommand(rolloutCommand(state))
		if diff := cmp.Diff(c.RolloutProgress, &Progress{Wave: 1, DevicesThrough: 1}); diff != "" || string(c.State) != want {
			t.Errorf("%s: state %s, (-got +want):\n%s", want, c.State, diff)
		}
	}
	if c := viewCommand(rolloutCommand(command.GateClosed)); c.RolloutProgress != nil {
		t.Errorf("closed: %+v", c.RolloutProgress)
	}
	watched := rolloutCommand(command.GateOpen)
	watched.Command.Rollout = nil // a gate that only waits for approvals, or watches
	if c := viewCommand(watched); c.RolloutProgress != nil || c.Rollout != nil {
		t.Errorf("without a rollout: %+v", c)
	}
}

// Whoever reads a command sees who said what of it, and what undoes what.
func TestWhatFewCommandsHaveIsShown(t *testing.T) {
	v := heldCommand(command.Denied)
	v.Command.Approval.Solo = true
	v.Command.Clocks.ApproveWithin = time.Hour
	v.Command.RollbackOf, v.RolledBackBy = command.ID{1}, command.ID{2}
	v.Decisions = []command.Decision{
		{User: "ben", Approve: true, Comment: "seen", At: noon.Add(time.Second)}, {User: "eve", At: noon.Add(2 * time.Second)},
	}
	got := viewCommand(v)
	want := &Approvals{
		ApproversRequired: 2, Role: "approver", Solo: true, Deadline: new(Time(noon.Add(time.Hour))),
		Decisions: []Decision{
			{User: "ben", Decision: "approve", Comment: "seen", At: Time(noon.Add(time.Second))},
			{User: "eve", Decision: "deny", At: Time(noon.Add(2 * time.Second))},
		},
	}
	if diff := cmp.Diff(got.Approvals, want, cmp.Comparer(func(a, b Time) bool { return time.Time(a).Equal(time.Time(b)) })); diff != "" {
		t.Errorf("approvals (-got +want):\n%s", diff)
	}
	if got.RollbackOf != (command.ID{1}).String() || got.RolledBackBy != (command.ID{2}).String() {
		t.Errorf("links: %q and %q", got.RollbackOf, got.RolledBackBy)
	}
	plain := viewCommand(pumpCommand(command.Queued))
	if plain.Approvals != nil || plain.RollbackOf != "" || plain.RolledBackBy != "" || plain.Rollout != nil {
		t.Errorf("most commands: %+v", plain)
	}
}

func TestARollbackArrivesAsItWasAskedFor(t *testing.T) {
	var got command.RollbackIntent
	d := &desk{}
	d.rollback = func(_ command.ID, in command.RollbackIntent) (command.Issued, error) {
		got = in
		v := pumpCommand(command.Queued)
		v.Command.RollbackOf = id
		v.Command.ID[15]++
		return command.Issued{View: v}, nil
	}
	s := serve(t, d, d, Options{})
	for body, want := range map[string]command.RollbackIntent{
		``:   {By: "operator-1"},
		`{}`: {By: "operator-1"},
		`{"devices":["b","a"],"force":true,"reason":"wrong site"}`: {Devices: []string{"b", "a"}, Force: true, Reason: "wrong site", By: "operator-1"},
	} {
		r := s.do(ask{name: body, method: "POST", path: commandPath + "/rollback", body: body})
		where := strings.TrimSuffix(commandPath, "1") + "2"
		if r.status != 201 || r.header.Get("Location") != where || !strings.Contains(r.body, `"rollback_of":"`+id.String()+`"`) {
			t.Errorf("%s: %d %v %s", body, r.status, r.header, r.body)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", body, diff)
		}
	}
}

// The parts of a type that say who must agree and what the way back is arrive
// as they were written, literals and pointers alike, and are shown like that.
func TestTypePartsGoRound(t *testing.T) {
	var got command.Type
	d := &desk{putType: func(typ command.Type, _ int, _ string) (command.Type, bool, error) {
		got = typ
		typ.Version = 1
		return typ, true, nil
	}}
	s := serve(t, d, d, Options{})
	const approval = `{"approvers":2,"role":"admin","when":[{"pointer":"/rpm","above":1000.5},{"pointer":"/mode","equals":{"a":[1,null]}}],"groups":["north"]}`
	const rollback = `{"kind":"inverse","type":"pump.set","params":{"rpm":"/before","mode":"//eco","n":9007199254740993,"x":null},"automatic":{"percent":20,"minimum":5}}`
	r := s.do(ask{name: "whole", as: "admin", method: "PUT", path: "/v1/types/t", body: `{"approval":` + approval + `,"rollback":` + rollback + `}`})
	if r.status != 201 || !strings.Contains(r.body, `"approval":`+approval) || !strings.Contains(r.body, `"automatic":{"percent":20,"minimum":5}`) {
		t.Fatalf("%d %s", r.status, r.body)
	}
	want := command.Type{Name: "t",
		Approval: &command.ApprovalRule{Approvers: 2, Role: "admin", Groups: []string{"north"}, When: []command.Condition{
			{Pointer: "/rpm", Above: new(1000.5)}, {Pointer: "/mode", Equals: json.RawMessage(`{"a":[1,null]}`)},
		}},
		Rollback: &command.RollbackRule{Kind: command.Inverse, Type: "pump.set", Automatic: &command.Threshold{Percent: 20, Minimum: 5},
			Params: map[string]json.RawMessage{
				"rpm": json.RawMessage(`"/before"`), "mode": json.RawMessage(`"//eco"`), "n": json.RawMessage(`9007199254740993`), "x": json.RawMessage(`null`),
			}},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	if r := s.do(ask{name: "nulls", as: "admin", method: "PUT", path: "/v1/types/t", body: `{"approval":null,"rollback":null}`}); r.status != 201 || got.Approval != nil || got.Rollback != nil {
		t.Errorf("nulls: %d %s", r.status, r.body)
	}
}
