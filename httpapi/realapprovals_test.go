package httpapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"behest/command"
)

// page asks for a list of commands.
func (h *house) page(a ask) CommandPage {
	h.t.Helper()
	r := h.do(a)
	var p CommandPage
	if err := json.Unmarshal([]byte(r.body), &p); err != nil || r.status != 200 {
		h.t.Fatalf("%s: %d %v %s", a.name, r.status, err, r.body)
	}
	return p
}

func decideOn(c Command) string { return fmt.Sprintf(`{"digest":%q,"comment":"seen"}`, c.Digest) }

const heldRules = `{"approval":{"approvers":2,"when":[{"pointer":"/rpm","above":1000}]}}`

// Two people who are not the requester let a command go; before, nothing of
// it leaves. It holds over a restart.
func TestRealApprovalTakesTwoPeople(t *testing.T) {
	dir := t.TempDir()
	h, stop := inHouse(t, dir)
	h.arrive("pump-7")
	h.typed(declare("pump.start", heldRules), 201)
	const fast = `{"type":"pump.start","params":{"rpm":1200},"targets":{"devices":["pump-7"]}}`
	if c := h.get(ask{name: "slow", path: "/v1/commands", body: strings.Replace(fast, "1200", "900", 1)}, 201); c.Approvals != nil || c.State != "sent" {
		t.Errorf("slow enough: %s %+v", c.State, c.Approvals)
	}
	c := h.get(ask{name: "fast", path: "/v1/commands", body: fast}, 201)
	if c.State != "awaiting_approval" || c.Approvals == nil || c.Approvals.ApproversRequired != 2 || len(c.Approvals.Decisions) != 0 {
		t.Fatalf("issued: %s %+v", c.State, c.Approvals)
	}
	path := "/v1/commands/" + c.ID
	if p := h.page(ask{name: "what waits", as: "approver", path: "/v1/approvals"}); len(p.Items) != 1 || p.Items[0].ID != c.ID || p.Items[0].Digest != c.Digest {
		t.Errorf("what waits: %+v", p)
	}
	if r := h.do(ask{name: "another digest", as: "approver", path: path + "/approve", body: decideBody("")}); r.status != 409 || !strings.Contains(r.body, `"state":"awaiting_approval"`) {
		t.Errorf("another digest: %d %s", r.status, r.body)
	}
	for range 2 { // the second time changes nothing
		got := h.get(ask{name: "one", as: "approver", path: path + "/approve", body: decideOn(c)}, 200)
		if got.State != "awaiting_approval" || len(got.Approvals.Decisions) != 1 || got.Approvals.Decisions[0].User != "approver-1" {
			t.Errorf("one of two: %s %+v", got.State, got.Approvals)
		}
	}
	if p := h.page(ask{name: "nothing more for me", as: "approver", path: "/v1/approvals"}); len(p.Items) != 0 {
		t.Errorf("nothing more for the one who has decided: %+v", p)
	}
	stop()

	h, _ = inHouse(t, dir)
	got := h.get(ask{name: "two", as: "admin", path: path + "/approve", body: decideOn(c)}, 200)
	if got.State == "awaiting_approval" || len(got.Approvals.Decisions) != 2 || got.Approvals.Decisions[0].Comment != "seen" {
		t.Errorf("two of two: %s %+v", got.State, got.Approvals)
	}
	if r := h.do(ask{name: "too late", as: "approver", path: path + "/deny", body: decideOn(c)}); r.status != 409 || !strings.Contains(r.body, `"command":{`) {
		t.Errorf("too late: %d %s", r.status, r.body)
	}
	own := h.get(ask{name: "an admin's own", as: "admin", path: "/v1/commands", body: fast}, 201)
	if r := h.do(ask{name: "approved by himself", as: "admin", path: "/v1/commands/" + own.ID + "/approve", body: decideOn(own)}); r.status != 403 {
		t.Errorf("approved by himself: %d %s", r.status, r.body)
	}
	denied := h.get(ask{name: "denied", as: "approver", path: "/v1/commands/" + own.ID + "/deny", body: decideOn(own)}, 200)
	if denied.State != "denied" || denied.Effect != "none" || denied.Approvals.Decisions[0].Decision != "deny" {
		t.Errorf("denied: %s %s %+v", denied.State, denied.Effect, denied.Approvals)
	}
	if r := h.do(ask{name: "told", path: "/v1/events?type=approval.denied"}); r.status != 200 || !strings.Contains(r.body, `"actor":"approver-1"`) {
		t.Errorf("told: %d %s", r.status, r.body)
	}
}

// Only what a rule says of approvals changes: that is a version too.
func TestRealTypePartsMakeVersions(t *testing.T) {
	dir := t.TempDir()
	h, stop := inHouse(t, dir)
	h.typed(declare("t", `{}`), 201)
	const rules = `{"approval":{"approvers":1,"role":"admin","groups":["north"]},"rollback":{"kind":"inverse","type":"u","params":{"n":"/n","why":"undone"},"automatic":{"percent":20,"minimum":5}}}`
	if typ := h.typed(declare("t", rules), 200); typ.Version != 2 {
		t.Errorf("with both: version %d", typ.Version)
	}
	if typ := h.typed(declare("t", rules), 200); typ.Version != 2 {
		t.Errorf("the same again: version %d", typ.Version)
	}
	stop()

	h, _ = inHouse(t, dir)
	typ := h.typed(ask{name: "after a restart", path: "/v1/types/t"}, 200)
	if string(typ.Approval) != `{"approvers":1,"role":"admin","groups":["north"]}` ||
		string(typ.Rollback) != `{"kind":"inverse","type":"u","params":{"n":"/n","why":"undone"},"automatic":{"percent":20,"minimum":5}}` {
		t.Errorf("after a restart: %s %s", typ.Approval, typ.Rollback)
	}
	if typ := h.typed(declare("t", `{}`), 200); typ.Version != 3 || typ.Approval != nil || typ.Rollback != nil {
		t.Errorf("without: %+v", typ)
	}
}

// A group stands for the devices that it picks when a command is issued.
func TestRealGroupsAreTargets(t *testing.T) {
	h, _ := inHouse(t, t.TempDir())
	for name, site := range map[string]string{"a": "north", "b": "north", "c": "south"} {
		if r := h.do(ask{name: name, method: "PUT", path: "/v1/devices/" + name, body: `{"labels":{"site":"` + site + `"}}`}); r.status != 201 {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
	group := ask{name: "group", method: "PUT", path: "/v1/groups/north", body: `{"selector":"site=north"}`}
	made := h.do(group)
	if made.status != 201 || made.header.Get("ETag") != `"1"` {
		t.Fatalf("made: %d %v %s", made.status, made.header, made.body)
	}
	if r := h.do(group); r.status != 200 || r.body != made.body || r.header.Get("ETag") != `"1"` {
		t.Errorf("the same again: %d %s", r.status, r.body)
	}
	var p Preview
	r := h.do(ask{name: "preview", path: "/v1/commands/preview", body: `{"type":"t","targets":{"groups":["north"]}}`})
	if err := json.Unmarshal([]byte(r.body), &p); err != nil || p.DeviceCount != 2 || p.OfflineCount != 2 || len(p.Offline) != 2 {
		t.Errorf("preview: %v %d %s", err, r.status, r.body)
	}
	for targets, want := range map[string]int{
		`{"groups":["north"]}`: 2, `{"selector":"site in (south)"}`: 1, `{"all":true}`: 3, `{"groups":["north"],"devices":["c","a"]}`: 3,
	} {
		c := h.get(ask{name: targets, path: "/v1/commands", body: `{"type":"t","targets":` + targets + `}`}, 201)
		if c.DeviceCount != want {
			t.Errorf("%s: %d devices, want %d", targets, c.DeviceCount, want)
		}
	}
	if commands := h.page(ask{name: "all of them", path: "/v1/commands"}); len(commands.Items) != 4 {
		t.Errorf("%d commands were made, want 4: a preview is none", len(commands.Items))
	}
	for _, tt := range []struct {
		a      ask
		status int
		want   string
	}{
		{ask{name: "a group that is not there", path: "/v1/commands", body: `{"type":"t","targets":{"groups":["south"]}}`}, 422, `"/targets/groups/0"`},
		{ask{name: "a selector that is none", path: "/v1/commands", body: `{"type":"t","targets":{"selector":"site in"}}`}, 422, `"/targets/selector"`},
		{ask{name: "a group of nonsense", method: "PUT", path: "/v1/groups/x", body: `{"selector":"=,="}`}, 422, `"/selector"`},
		{ask{name: "nobody is meant", path: "/v1/commands", body: `{"type":"t","targets":{"selector":"site=west"}}`}, 409, `no device`},
		{ask{name: "another version", method: "DELETE", path: "/v1/groups/north", header: map[string]string{"If-Match": `"7"`}}, 412, "precondition"},
		{ask{name: "listed", path: "/v1/groups"}, 200, `{"items":[{"name":"north",`},
		{ask{name: "removed", method: "DELETE", path: "/v1/groups/north", header: map[string]string{"If-Match": `"1"`}}, 204, ""},
		{ask{name: "removed again", method: "DELETE", path: "/v1/groups/north"}, 404, "not_found"},
		{ask{name: "gone", path: "/v1/groups/north"}, 404, "not_found"},
		{ask{name: "told", path: "/v1/events?type=group.removed"}, 200, `"data":{"group":"north"}`},
	} {
		if r := h.do(tt.a); r.status != tt.status || !strings.Contains(r.body, tt.want) {
			t.Errorf("%s: %d %s", tt.a.name, r.status, r.body)
		}
	}
}

// A rollout goes wave by wave, and stops when somebody says so.
func TestRealRolloutsArePaused(t *testing.T) {
	h, _ := inHouse(t, t.TempDir())
	c := h.get(ask{name: "issue", path: "/v1/commands",
		body: `{"type":"t","targets":{"devices":["a","b","c"]},"rollout":{"waves":[{"count":1}],"rate_per_minute":60}}`}, 201)
	if c.Rollout == nil || c.Rollout.RatePerMinute != 60 || len(c.Rollout.Waves) != 1 {
		t.Fatalf("issued: %+v", c.Rollout)
	}
	path := "/v1/commands/" + c.ID
	for range 1000 { // the first wave goes in a commit of its own
		changed := h.store.Changed()
		if c = h.get(ask{name: "look", path: path}, 200); c.RolloutProgress == nil || c.RolloutProgress.DevicesThrough > 0 {
			break
		}
		<-changed
	}
	if c.State != "open" || c.Pending == nil || *c.Pending != 2 || c.RolloutProgress == nil || *c.RolloutProgress != (Progress{Wave: 1, DevicesThrough: 1}) {
		t.Fatalf("under way: %s %v %v %+v", c.State, c.Counts, c.Pending, c.RolloutProgress)
	}
	if c := h.get(ask{name: "pause", method: "POST", path: path + "/pause"}, 200); c.State != "paused" {
		t.Errorf("paused: %s", c.State)
	}
	if r := h.do(ask{name: "pause again", method: "POST", path: path + "/pause"}); r.status != 409 || !strings.Contains(r.body, `"state":"paused"`) {
		t.Errorf("paused again: %d %s", r.status, r.body)
	}
	if p := h.page(ask{name: "paused ones", path: "/v1/commands?state=paused"}); len(p.Items) != 1 || p.Items[0].ID != c.ID {
		t.Errorf("paused ones: %+v", p)
	}
	if c := h.get(ask{name: "resume", method: "POST", path: path + "/resume"}, 200); c.State != "open" {
		t.Errorf("resumed: %s", c.State)
	}
	c = h.get(ask{name: "cancel", method: "POST", path: path + "/cancel"}, 200)
	if c.Pending != nil || c.Counts["canceled"] != 2 || c.Counts["canceling"] != 1 {
		t.Errorf("canceled: %s %v, %v pending", c.State, c.Counts, c.Pending)
	}
	one := h.get(ask{name: "one", path: "/v1/commands", body: anIntent}, 201)
	if r := h.do(ask{name: "pause one", method: "POST", path: "/v1/commands/" + one.ID + "/pause"}); r.status != 409 {
		t.Errorf("a command without a rollout: %d %s", r.status, r.body)
	}
}

// What a device did can be undone, by an ordinary command that is linked both
// ways.
func TestRealCommandsAreRolledBack(t *testing.T) {
	h, _ := inHouse(t, t.TempDir())
	h.arrive("valve-1")
	h.typed(declare("valve.open", `{"rollback":{"kind":"inverse","type":"valve.close","params":{"valve":"/valve","why":"//undone"}}}`), 201)
	h.typed(declare("valve.close", `{}`), 201)
	c := h.get(ask{name: "open", path: "/v1/commands", body: `{"type":"valve.open","params":{"valve":3},"targets":{"devices":["valve-1"]}}`}, 201)
	if err := h.d.Report(t.Context(), "valve-1", there, uint32(*c.Execution.Seq), command.Report{Status: command.StatusSuccess}); err != nil {
		t.Fatal(err)
	}
	path := "/v1/commands/" + c.ID
	r := h.do(ask{name: "undo", path: path + "/rollback", body: `{"reason":"wrong valve"}`})
	var back Command
	if err := json.Unmarshal([]byte(r.body), &back); err != nil || r.status != 201 || r.header.Get("Location") != "/v1/commands/"+back.ID {
		t.Fatalf("undo: %d %v %s", r.status, err, r.body)
	}
	if back.Type != "valve.close" || string(back.Params) != `{"valve":3,"why":"/undone"}` || back.RollbackOf != c.ID || back.Reason != "wrong valve" {
		t.Errorf("undo: %s %s of %s", back.Type, back.Params, back.RollbackOf)
	}
	if got := h.get(ask{name: "look", path: path}, 200); got.RolledBackBy != back.ID || got.State != "succeeded" {
		t.Errorf("what is undone: %s, by %q", got.State, got.RolledBackBy)
	}
	if r := h.do(ask{name: "undo again", method: "POST", path: path + "/rollback"}); r.status != 409 {
		t.Errorf("undone again: %d %s", r.status, r.body)
	}
	if r := h.do(ask{name: "undo what has no way back", method: "POST", path: "/v1/commands/" + back.ID + "/rollback"}); r.status != 409 || !strings.Contains(r.body, "irreversible") {
		t.Errorf("no way back: %d %s", r.status, r.body)
	}
	if r := h.do(ask{name: "undo nothing", method: "POST", path: commandPath + "/rollback"}); r.status != 404 {
		t.Errorf("no command: %d %s", r.status, r.body)
	}
}

// What undoes a command is made once under a key, also when there is no way back
// any more; a refusal comes with the command as it stands.
func TestRealRollbacksUnderAKeyAreMadeOnce(t *testing.T) {
	dir := t.TempDir()
	h, stop := inHouse(t, dir)
	h.arrive("valve-1")
	h.typed(declare("valve.set", `{"rollback":{"kind":"restore"}}`), 201)
	set := func(v string) Command {
		c := h.get(ask{name: "set", path: "/v1/commands", body: `{"type":"valve.set","params":` + v + `,"targets":{"devices":["valve-1"]}}`}, 201)
		if err := h.d.Report(t.Context(), "valve-1", there, uint32(*c.Execution.Seq), command.Report{Status: command.StatusSuccess}); err != nil {
			t.Fatal(err)
		}
		return c
	}
	set("1")
	first, second := set("2"), set("3")
	undo := func(c Command, key, body string) reply {
		return h.do(ask{name: "undo", method: "POST", path: "/v1/commands/" + c.ID + "/rollback", body: body, header: map[string]string{"Idempotency-Key": key}})
	}
	refused := func(what string, r reply, of Command) {
		t.Helper()
		var p Problem
		if err := json.Unmarshal([]byte(r.body), &p); err != nil || r.status != 409 || p.Command == nil || p.Command.ID != of.ID || p.Command.State != "succeeded" {
			t.Errorf("%s: %d, %v, without the command as it stands: %s", what, r.status, err, r.body)
		}
	}
	refused("a newer one set the same", undo(first, "a", ""), first)
	made := undo(second, "a", "") // its key is free: nothing was accepted under it
	if made.status != 201 {
		t.Fatalf("undo: %d %s", made.status, made.body)
	}
	if again := undo(second, "a", ""); again.status != 201 || again.body != made.body || again.header.Get("Location") != made.header.Get("Location") {
		t.Errorf("undo again under the key: %d %s, was %s", again.status, again.body, made.body)
	}
	refused("again without the key", h.do(ask{name: "undo", method: "POST", path: "/v1/commands/" + second.ID + "/rollback"}), second)
	refused("under another key", undo(second, "b", ""), second)
	refused("another body under the key", undo(second, "a", `{"reason":"why"}`), second)
	refused("another command under the key", undo(first, "a", ""), first)
	stop()
	h, _ = inHouse(t, dir)
	if r := undo(second, "a", ""); r.status != 201 || r.body != made.body {
		t.Errorf("after a restart: %d %s, was %s", r.status, r.body, made.body)
	}
	if list := h.do(ask{name: "what undid it", path: "/v1/commands?type=valve.set"}); strings.Count(list.body, `"rollback_of"`) != 1 {
		t.Errorf("what undid it is not one command: %s", list.body)
	}
}
