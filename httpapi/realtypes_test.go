package httpapi

import (
	"encoding/json"
	"strings"
	"testing"

	"behest/command"
)

// typed asks for a command type.
func (h *house) typed(a ask, status int) CommandType {
	h.t.Helper()
	r := h.do(a)
	if r.status != status {
		h.t.Fatalf("%s: %d %s", a.name, r.status, r.body)
	}
	var typ CommandType
	if err := json.Unmarshal([]byte(r.body), &typ); err != nil {
		h.t.Fatal(err)
	}
	return typ
}

func declare(name, body string) ask {
	return ask{name: "declare " + body, as: "admin", method: "PUT", path: "/v1/types/" + name, body: body}
}

const startRules = `{"params":{"type":"object","properties":{"rpm":{"type":"integer","maximum":3000}},"required":["rpm"],"additionalProperties":false},` +
	`"result":{"type":"object","required":["ok"]},"wire_code":7,"clocks":{"run_for_seconds":{"default":30,"max":60}}}`

// Each change is a version, and a command keeps the one that it was issued
// with, also after a restart.
func TestRealTypesHaveVersions(t *testing.T) {
	dir := t.TempDir()
	h, stop := inHouse(t, dir)
	first := h.do(declare("pump.start", startRules))
	if first.status != 201 || first.header.Get("ETag") != `"1"` || first.header.Get("Location") != "/v1/types/pump.start" {
		t.Fatalf("first: %d %v %s", first.status, first.header, first.body)
	}
	spaced := strings.ReplaceAll(startRules, ":", " : ")
	if again := h.do(declare("pump.start", spaced)); again.status != 200 || again.body != first.body || again.header.Get("ETag") != `"1"` {
		t.Errorf("the same again: %d %s", again.status, again.body)
	}
	const intent = `{"type":"pump.start","params":{"rpm":1200},"targets":{"devices":["pump-7"]}}`
	one := h.get(ask{name: "issue", path: "/v1/commands", body: intent}, 201)
	if one.TypeVersion != 1 || one.RunForSeconds != 30 {
		t.Errorf("issued: version %d, run for %d", one.TypeVersion, one.RunForSeconds)
	}
	second := declare("pump.start", `{"clocks":{"run_for_seconds":90}}`)
	second.header = map[string]string{"If-Match": `"1"`}
	if typ := h.typed(second, 200); typ.Version != 2 || typ.Params != nil || typ.CreatedBy != "admin-1" {
		t.Errorf("second: %+v", typ)
	}
	if r := h.do(second); r.status != 412 {
		t.Errorf("with the version before: %d %s", r.status, r.body)
	}
	stop()

	h, _ = inHouse(t, dir)
	two := h.get(ask{name: "issue", path: "/v1/commands", body: intent}, 201)
	if two.TypeVersion != 2 || two.RunForSeconds != 90 {
		t.Errorf("issued after the change: version %d, run for %d", two.TypeVersion, two.RunForSeconds)
	}
	if c := h.get(ask{name: "look", path: "/v1/commands/" + one.ID}, 200); c.TypeVersion != 1 || c.RunForSeconds != 30 {
		t.Errorf("issued before it: version %d, run for %d", c.TypeVersion, c.RunForSeconds)
	}
	if typ := h.typed(ask{name: "version 1", path: "/v1/types/pump.start/versions/1"}, 200); typ.WireCode != 7 || len(typ.Params) == 0 {
		t.Errorf("version 1: %+v", typ)
	}
	if r := h.do(ask{name: "version 3", path: "/v1/types/pump.start/versions/3"}); r.status != 404 {
		t.Errorf("version 3: %d %s", r.status, r.body)
	}
}

func TestRealParamsAreHeldAgainstTheirType(t *testing.T) {
	h, _ := inHouse(t, t.TempDir())
	h.typed(declare("pump.start", startRules), 201)
	issue := func(members string) reply {
		return h.do(ask{name: members, path: "/v1/commands", body: `{"type":"pump.start","targets":{"devices":["pump-7"]}` + members + `}`})
	}
	for members, want := range map[string]string{
		`,"params":{"rpm":3001,"mode":"eco"}`: `"errors":[{"pointer":"/params/mode","detail":"is not known here"},{"pointer":"/params/rpm","detail":"must be at most 3000"}]`,
		``:                                    `"errors":[{"pointer":"/params","detail":"is missing"}]`,
		`,"params":{"rpm":12e2},"run_for_seconds":61`:        `"errors":[{"pointer":"/run_for_seconds","detail":"is not between 1 and 60"}]`,
		`,"params":{"rpm":18446744073709551616}`:             `"errors":[{"pointer":"/params/rpm","detail":"an integer past 64 bits"},{"pointer":"/params/rpm","detail":"must be at most 3000"}]`,
		`,"params":{"rpm":1},"labels":{"` + long64 + `":""}`: `/labels`,
	} {
		if r := issue(members); r.status != 422 || !strings.Contains(r.body, want) {
			t.Errorf("%s: %d %s", members, r.status, r.body)
		}
	}
	r := h.do(ask{name: "in a batch", path: "/v1/commands/batch",
		body: `{"commands":[` + anIntent + `,{"type":"pump.start","params":{"rpm":"x"},"targets":{"devices":["a"]}}]}`})
	if r.status != 200 || !strings.Contains(r.body, `{"pointer":"/commands/1/params/rpm","detail":"must be an integer"}`) {
		t.Errorf("in a batch: %d %s", r.status, r.body)
	}
	if r := issue(`,"params":{"rpm":3000}`); r.status != 201 {
		t.Errorf("as it should be: %d %s", r.status, r.body)
	}
}

const long64 = "0123456789012345678901234567890123456789012345678901234567890123"

// A device is not judged by a schema: it did act. But whoever reads its result
// is told.
func TestRealResultsAreHeldAgainstTheirType(t *testing.T) {
	h, _ := inHouse(t, t.TempDir())
	h.arrive("pump-7")
	h.typed(declare("pump.start", startRules), 201)
	for name, tt := range map[string]struct {
		result []byte
		shown  string
		valid  bool
	}{
		"as it should be": {[]byte{0xa1, 0x62, 'o', 'k', 0xf5}, `{"ok":true}`, true},
		"another":         {[]byte{0x18, 0x2a}, `42`, false},
	} {
		c := h.get(ask{name: name, path: "/v1/commands", body: `{"type":"pump.start","params":{"rpm":1},"targets":{"devices":["pump-7"]}}`}, 201)
		report := command.Report{Status: command.StatusSuccess, Result: tt.result}
		if err := h.d.Report(t.Context(), "pump-7", there, uint32(*c.Execution.Seq), report); err != nil {
			t.Fatal(err)
		}
		c = h.get(ask{name: name, path: "/v1/commands/" + c.ID}, 200)
		if c.State != "succeeded" || string(c.Execution.Result) != tt.shown || *c.Execution.ResultValid != tt.valid {
			t.Errorf("%s: %s %s, valid %v", name, c.State, c.Execution.Result, *c.Execution.ResultValid)
		}
		r := h.do(ask{name: name, path: "/v1/commands/" + c.ID + "/executions/pump-7"})
		var x ExecutionWithReports
		if err := json.Unmarshal([]byte(r.body), &x); err != nil || len(x.Reports) != 1 || *x.Reports[0].ResultValid != tt.valid {
			t.Errorf("%s: its report: %v %s", name, err, r.body)
		}
	}
}

func TestRealTypesAreRetired(t *testing.T) {
	h, _ := inHouse(t, t.TempDir())
	h.typed(declare("a", `{"wire_code":1}`), 201)
	if r := h.do(declare("b", `{"wire_code":1}`)); r.status != 409 {
		t.Errorf("a wire code twice: %d %s", r.status, r.body)
	}
	h.typed(declare("c", `{}`), 201)
	c := h.get(ask{name: "issue", path: "/v1/commands", body: `{"type":"a","targets":{"devices":["x"]}}`}, 201)
	retire := ask{name: "retire", as: "admin", method: "DELETE", path: "/v1/types/a", header: map[string]string{"If-Match": `"2"`}}
	if r := h.do(retire); r.status != 412 {
		t.Errorf("another version: %d %s", r.status, r.body)
	}
	retire.header["If-Match"] = `"1"`
	if r := h.do(retire); r.status != 204 {
		t.Fatalf("retire: %d %s", r.status, r.body)
	}
	if r := h.do(declare("b", `{"wire_code":1}`)); r.status != 409 || !strings.Contains(r.body, `commands of type \"a\" are open under the wire code 1`) {
		t.Errorf("its wire code while a command is open: %d %s", r.status, r.body)
	}
	if err := h.d.Report(t.Context(), "x", there, uint32(*c.Execution.Seq), command.Report{Status: command.StatusSuccess}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		a      ask
		status int
		want   string
	}{
		{ask{name: "gone", path: "/v1/types/a"}, 404, "retired"},
		{ask{name: "retired again", as: "admin", method: "DELETE", path: "/v1/types/a"}, 404, "not_found"},
		{ask{name: "its version", path: "/v1/types/a/versions/1"}, 200, `"wire_code":1`},
		{ask{name: "the version that retired it", path: "/v1/types/a/versions/2"}, 200, `"retired":true`},
		{ask{name: "not in the list", path: "/v1/types"}, 200, `{"items":[{"name":"c",`},
		{ask{name: "nothing more is issued", path: "/v1/commands", body: `{"type":"a","targets":{"devices":["x"]}}`}, 422, "/type"},
		{ask{name: "what was issued stays", path: "/v1/commands?type=a"}, 200, `"type_version":1`},
		{ask{name: "its wire code is free", as: "admin", method: "PUT", path: "/v1/types/b", body: `{"wire_code":1}`}, 201, `"version":1`},
		{ask{name: "declared again", as: "admin", method: "PUT", path: "/v1/types/a", body: `{}`}, 201, `"version":3`},
		{ask{name: "told", path: "/v1/events?type=type.retired"}, 200, `"actor":"admin-1","data":{"type":"a","version":2}`},
	} {
		if r := h.do(tt.a); r.status != tt.status || !strings.Contains(r.body, tt.want) {
			t.Errorf("%s: %d %s", tt.a.name, r.status, r.body)
		}
	}
}
