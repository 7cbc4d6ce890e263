package httpapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"behest/command"
)

// until looks at a command after each commit, until it is as wanted.
func (h *house) until(what, path string, so func(Command) bool) Command {
	h.t.Helper()
	for range 1000 {
		changed := h.store.Changed()
		if c := h.get(ask{name: what, path: path}, 200); so(c) {
			return c
		}
		<-changed
	}
	h.t.Fatalf("waited in vain for %s", what)
	return Command{}
}

// says lets the devices report on what they were sent of a command.
func (h *house) says(path string, r command.Report, devices ...string) {
	h.t.Helper()
	for _, name := range devices {
		var x ExecutionWithReports
		got := h.do(ask{name: name, path: path + "/executions/" + name})
		if err := json.Unmarshal([]byte(got.body), &x); err != nil || x.Seq == nil {
			h.t.Fatalf("%s: %d %s, %v", name, got.status, got.body, err)
		}
		if err := h.d.Report(h.t.Context(), name, there, uint32(*x.Seq), r); err != nil {
			h.t.Fatal(err)
		}
	}
}

var success, failure = command.Report{Status: command.StatusSuccess}, command.Report{Status: command.StatusFailure}

// set sets what has a way back, on devices that then succeed.
func (h *house) set(p int, devices ...string) string {
	h.t.Helper()
	names := `"` + strings.Join(devices, `","`) + `"`
	c := h.get(ask{name: "set", path: "/v1/commands", body: fmt.Sprintf(`{"type":"valve.set","params":{"p":%d},"targets":{"devices":[%s]}}`, p, names)}, 201)
	path := "/v1/commands/" + c.ID
	h.until("all are sent", path, func(c Command) bool { return c.Counts["sent"] == len(devices) })
	h.says(path, success, devices...)
	return path
}

// A rollout that fails is shown halted, in the command, in lists and in the log;
// somebody resumes it, and it halts again.
func TestRealRolloutsHalt(t *testing.T) {
	h, _ := inHouse(t, t.TempDir())
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		h.arrive(name)
	}
	c := h.get(ask{name: "issue", path: "/v1/commands", body: `{"type":"t","targets":{"devices":["a","b","c","d","e"]},"expect_targets":5,
		"rollout":{"waves":[{"count":2},{"count":2}],"halt":{"percent":50,"minimum":2}}}`}, 201)
	path := "/v1/commands/" + c.ID
	for wave, two := range [][]string{{"a", "b"}, {"c", "d"}} {
		h.until("a wave", path, func(c Command) bool { return c.Counts["sent"] == 2 })
		h.says(path, failure, two...)
		c = h.until("halted", path, func(c Command) bool { return c.State == "halted" })
		if c.RolloutProgress == nil || *c.RolloutProgress != (Progress{Wave: wave + 1, DevicesThrough: 2 * (wave + 1)}) || c.Outcome != nil {
			t.Errorf("halted: %+v, outcome %v", c.RolloutProgress, c.Outcome)
		}
		if p := h.page(ask{name: "halted ones", path: "/v1/commands?state=halted"}); len(p.Items) != 1 || p.Items[0].ID != c.ID {
			t.Errorf("halted ones: %+v", p)
		}
		if wave == 0 {
			h.get(ask{name: "resume", method: "POST", path: path + "/resume"}, 200)
		}
	}
	if r := h.do(ask{name: "told", path: path + "/events?type=command.gate"}); r.status != 200 || strings.Count(r.body, `"state":"halted"`) != 2 {
		t.Errorf("told: %d %s", r.status, r.body)
	}
	if c := h.get(ask{name: "cancel", method: "POST", path: path + "/cancel"}, 200); c.State != "ended" || c.Counts["canceled"] != 1 || *c.Outcome != "some_unknown" {
		t.Errorf("canceled: %s %v %v", c.State, c.Counts, c.Outcome)
	}
	if r := h.do(ask{name: "others", path: "/v1/commands", body: `{"type":"t","targets":{"all":true},"expect_targets":4,"rollout":{"waves":[{"count":1}]}}`}); r.status != 409 || !strings.Contains(r.body, "come to 5 devices") {
		t.Errorf("other targets: %d %s", r.status, r.body)
	}
}

// What was overtaken is undone only by who says why; nothing is undone twice.
func TestRealRollbacksAreForcedWithAReason(t *testing.T) {
	h, _ := inHouse(t, t.TempDir())
	h.arrive("valve-1")
	h.typed(declare("valve.set", `{"rollback":{"kind":"restore"}}`), 201)
	h.set(1, "valve-1")
	old := h.set(2, "valve-1")
	h.set(3, "valve-1")
	for _, tt := range []struct {
		body   string
		status int
		want   string
	}{
		{``, 409, "has set the same"},
		{`{"force":true}`, 422, `"/reason"`},
		{`{"force":true,"reason":"the newer one is wrong too"}`, 201, `"params":{"p":1}`},
		{`{"force":true,"reason":"again"}`, 409, "being undone already"},
	} {
		if r := h.do(ask{name: tt.body, method: "POST", path: old + "/rollback", body: tt.body}); r.status != tt.status || !strings.Contains(r.body, tt.want) {
			t.Errorf("%s: %d %s", tt.body, r.status, r.body)
		}
	}
	back := h.get(ask{name: "by", path: old}, 200).RolledBackBy
	h.says("/v1/commands/"+back, success, "valve-1")
	if r := h.do(ask{name: "twice", method: "POST", path: old + "/rollback"}); r.status != 409 || !strings.Contains(r.body, "undone already") {
		t.Errorf("twice: %d %s", r.status, r.body)
	}
}

// Who approves a restore over many sees what each device gets back; the digest is
// of that.
func TestRealRestoresAreApproved(t *testing.T) {
	h, _ := inHouse(t, t.TempDir())
	h.typed(declare("valve.set", `{"rollback":{"kind":"restore"}}`), 201)
	for p, name := range []string{"a", "b", "c"} {
		h.arrive(name)
		if name != "c" {
			h.set(p+1, name)
		}
	}
	path := h.set(9, "a", "b", "c")
	h.typed(declare("valve.set", `{"rollback":{"kind":"restore"},"approval":{"approvers":1}}`), 200)
	back := h.get(ask{name: "undo", method: "POST", path: path + "/rollback"}, 201)
	at := "/v1/commands/" + back.ID
	shown := h.get(ask{name: "look", as: "approver", path: at}, 200)
	var got []string
	for _, r := range shown.Restores {
		got = append(got, r.Device+string(r.Params))
	}
	if want := `a{"p":1} b{"p":2} c`; shown.State != "awaiting_approval" || strings.Join(got, " ") != want {
		t.Fatalf("%s, restores %q, want %q", shown.State, got, want)
	}
	h.get(ask{name: "approve", as: "approver", path: at + "/approve", body: decideOn(shown)}, 200)
	h.until("it leaves", at, func(c Command) bool { return c.Counts["sent"] == 2 && c.Counts["canceled"] == 1 })
	for name, want := range map[string]string{
		"a": `"params":{"p":1}`, "b": `"params":{"p":2}`, "c": `"cause":"nothing_to_undo"`,
	} {
		if r := h.do(ask{name: name, path: at + "/executions/" + name}); r.status != 200 || !strings.Contains(r.body, want) {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
}

// A success that is heard of after the way back went is told.
func TestRealLateSuccessesContradictARollback(t *testing.T) {
	h, _ := inHouse(t, t.TempDir())
	h.arrive("valve-1")
	h.typed(declare("valve.set", `{"rollback":{"kind":"restore"},"clocks":{"deliver_within_seconds":1,"run_for_seconds":1}}`), 201)
	h.set(1, "valve-1")
	c := h.get(ask{name: "set", path: "/v1/commands?wait_seconds=30", body: `{"type":"valve.set","params":{"p":2},"targets":{"devices":["valve-1"]}}`}, 201)
	path := "/v1/commands/" + c.ID
	if c.State != "timed_out" || *c.Outcome != "some_unknown" {
		t.Fatalf("nobody hears of it: %s", c.State)
	}
	back := h.get(ask{name: "undo", method: "POST", path: path + "/rollback"}, 201)
	h.says(path, success, "valve-1")
	r := h.do(ask{name: "told", path: path + "/events?type=command.rollback_contradicted"})
	if r.status != 200 || strings.Count(r.body, `"id"`) != 1 || !strings.Contains(r.body, back.ID) || !strings.Contains(r.body, `"device":"valve-1"`) {
		t.Errorf("told: %d %s", r.status, r.body)
	}
	if c := h.get(ask{name: "late", path: path}, 200); c.State != "succeeded" || !c.Execution.Late {
		t.Errorf("late: %s %+v", c.State, c.Execution)
	}
}
