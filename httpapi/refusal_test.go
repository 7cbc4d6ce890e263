package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"behest/command"
	"behest/device"
)

const anIntent = `{"type":"t","targets":{"devices":["pump-7"]}}`

func with(members string) string {
	return `{"type":"t","targets":{"devices":["pump-7"]},` + members + `}`
}

func params(value string) string { return with(`"params":` + value) }

// Bad input, and the exact answer. No use case may see any of it.
var badInput = []ask{
	// Bodies that are no JSON, or not strictly.
	{name: "no body", method: "POST", path: "/v1/commands", header: map[string]string{"Content-Type": "application/json"}},
	{name: "blank body", path: "/v1/commands", body: " \n"},
	{name: "cut JSON", path: "/v1/commands", body: `{"type":"t","tar`},
	{name: "not JSON", path: "/v1/commands", body: `type: t`},
	{name: "something behind it", path: "/v1/commands", body: anIntent + `{}`},
	{name: "not UTF-8", path: "/v1/commands", body: "{\"type\":\"t\xff\"}"},
	{name: "half a surrogate", path: "/v1/commands", body: with(`"reason":"\ud83d"`)},
	{name: "a key twice", path: "/v1/commands", body: with(`"type":"u"`)},
	{name: "a key twice in params", path: "/v1/commands", body: params(`{"a":[{"b":1,"b":2}]}`)},
	{name: "too deep", path: "/v1/commands", body: params(strings.Repeat("[", 40) + strings.Repeat("]", 40))},
	{name: "a list", path: "/v1/commands", body: `[]`},
	{name: "null", path: "/v1/commands", body: `null`},
	{name: "a comment", path: "/v1/commands", body: `{"type":"t" /* why */}`},
	{name: "NaN", path: "/v1/commands", body: params(`NaN`)},

	// Bodies of another shape.
	{name: "nothing in it", path: "/v1/commands", body: `{}`},
	{name: "unknown members, all named", path: "/v1/commands", body: `{"typ":"t","targets":{"device":["a"]},"Type":"t","type":"t"}`},
	{name: "wrong types, all named", path: "/v1/commands",
		body: `{"type":7,"targets":{"devices":"pump-7","all":"yes"},"reason":{},"labels":["a"],"deliver_within_seconds":"1h",` +
			`"run_for_seconds":1.5,"expect_targets":"2","allow_unregistered":1,"not_before":"tomorrow"}`},
	{name: "nulls", path: "/v1/commands", body: `{"type":null,"targets":null,"labels":null}`},
	{name: "no targets", path: "/v1/commands", body: `{"type":"t","targets":{}}`},
	{name: "no devices", path: "/v1/commands", body: `{"type":"t","targets":{"devices":[]}}`},
	{name: "all: false", path: "/v1/commands", body: `{"type":"t","targets":{"all":false}}`},
	{name: "a device twice", path: "/v1/commands", body: `{"type":"t","targets":{"devices":["a","b","a"]}}`},
	{name: "names that are none", path: "/v1/commands",
		body: `{"type":"","targets":{"devices":["","a/b","a\u0000b","` + strings.Repeat("n", 64) + `"]}}`},
	{name: "100,001 devices", path: "/v1/commands", body: `{"type":"t","targets":{"devices":[` + names(100_001) + `]}}`},
	{name: "durations out of range", path: "/v1/commands", body: with(`"deliver_within_seconds":0,"run_for_seconds":31536001,"expect_targets":0`)},
	{name: "an integer that is written as a float", path: "/v1/commands", body: with(`"run_for_seconds":1e2`)},
	{name: "integers that are written as floats, all named", path: "/v1/commands/batch",
		body: `{"commands":[` + anIntent + `,` + with(`"run_for_seconds":1e2,"deliver_within_seconds":60.0,"rollout":{"waves":[{"count":1E0}]},"who":1`) + `]}`},
	{name: "a day that no calendar has, and something unknown", path: "/v1/commands", body: with(`"not_before":"2027-02-29T00:00:00Z","parms":1`)},
	{name: "an integer that no machine holds", path: "/v1/commands", body: with(`"run_for_seconds":1e999`)},
	{name: "a reason that is too long", path: "/v1/commands", body: with(`"reason":"` + strings.Repeat("x", 1025) + `"`)},
	{name: "33 labels", path: "/v1/commands", body: with(`"labels":{` + labels(33) + `}`)},
	{name: "a label that is too long", path: "/v1/commands", body: with(`"labels":{"k":"` + strings.Repeat("v", 64) + `"}`)},
	{name: "a key that needs escaping", path: "/v1/commands", body: with(`"a/b~c":1`)},

	// Values that the mapping to CBOR would change.
	{name: "numbers that do not fit", path: "/v1/commands", body: params(`{"a":18446744073709551616,"b":[1e400,0.1234567890123456789]}`)},
	{name: "bytes that are none", path: "/v1/commands", body: params(`{"b":{"$bytes":"@"}}`)},
	{name: "params that are too deep", path: "/v1/commands", body: params(strings.Repeat("[", 9) + strings.Repeat("]", 9))},
	{name: "params that are too large", path: "/v1/commands", body: params(`"` + strings.Repeat("x", 70_000) + `"`)},
	{name: "a label that no filter could name", path: "/v1/commands", body: with(`"labels":{"a=b":"c"}`)},

	// Bodies that are too large, or of another kind.
	{name: "10 MiB", path: "/v1/commands", body: with(`"reason":"` + strings.Repeat("x", 10<<20) + `"`)},
	{name: "one byte too many", path: "/v1/commands", body: anIntent + strings.Repeat(" ", commandBodyMax+1-len(anIntent))},
	{name: "a form", path: "/v1/commands", body: "type=t", header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}},
	{name: "no content type", path: "/v1/commands", body: anIntent, header: map[string]string{"Content-Type": ""}},
	{name: "another charset", path: "/v1/commands", body: anIntent, header: map[string]string{"Content-Type": "application/json; charset=utf-16"}},
	{name: "a body where none is taken", path: "/v1/devices/pump-7/cancel", body: `{}`},
	{name: "a body with GET", method: "GET", path: "/v1/me", body: `{}`},

	// Ids, pages and queries.
	{name: "an id that is none", path: "/v1/commands/42"},
	{name: "an id in capitals", path: "/v1/commands/019AB3C4-5D6E-7F80-9A1B-2C3D4E5F6071"},
	{name: "an id that is none, and a wait", path: "/v1/commands/x/executions?page_size=0"},
	{name: "labels of a device that no filter could name", method: "PUT", path: "/v1/devices/pump-7", body: `{"labels":{"a=b":"c","d=":"","e":"f"}}`},
	{name: "labels that no filter could name, later", method: "PATCH", path: "/v1/devices/pump-7", body: `{"labels":{"a=b":"c"}}`},
	{name: "a device name with a slash", path: "/v1/devices/a%2Fb"},
	{name: "a device name that is too long in bytes", path: "/v1/devices/" + strings.Repeat("%C3%A9", 32)},
	{name: "a device name that is not UTF-8", path: "/v1/devices/%ff"},
	{name: "page sizes out of range", path: "/v1/commands?page_size=501"},
	{name: "a page size that is no number", path: "/v1/devices?page_size=ten"},
	{name: "an empty page size", path: "/v1/devices?page_size="},
	{name: "a page that is none", path: "/v1/commands?page_token=AAAA"},
	{name: "a page that is no token", path: "/v1/commands?page_token=%3Cscript%3E"},
	{name: "a wait that is too long", path: commandPath + "?wait_seconds=61"},
	{name: "a negative wait", path: commandPath + "?wait_seconds=-1"},
	{name: "a parameter twice", path: commandPath + "?wait_seconds=1&wait_seconds=2"},
	{name: "unknown parameters", path: "/v1/commands?sate=queued&limit=7"},
	{name: "a state that is none", path: "/v1/commands?state=done&outcome=good"},
	{name: "a label without a value", path: "/v1/commands?label=site"},
	{name: "a label with two values", path: "/v1/commands?label=site%3Da&label=site%3Db"},
	{name: "moments that are none", path: "/v1/commands?created_after=yesterday&created_before=2026-11-24"},
	{name: "days that no calendar has", path: "/v1/commands?created_after=2026-02-30T00:00:00Z&created_before=2026-11-31T00:00:00Z"},
	{name: "a query that is not well-formed", path: "/v1/commands?state=%zz"},
	{name: "a query that is not UTF-8", path: "/v1/commands?type=%ff"},

	// Commands that are held back, and ways back.
	{name: "a decision without a digest", as: "approver", path: commandPath + "/approve", body: `{"comment":"yes"}`},
	{name: "a decision on a digest that is none", as: "approver", path: commandPath + "/deny", body: `{"digest":"SHA256:00","coment":"no"}`},
	{name: "no decision", as: "approver", method: "POST", path: commandPath + "/approve"},
	{name: "an operator who approves", path: commandPath + "/approve", body: decideBody("")},
	{name: "an approver who pauses", as: "approver", method: "POST", path: commandPath + "/pause"},
	{name: "a viewer who rolls back", as: "viewer", method: "POST", path: commandPath + "/rollback"},
	{name: "a pause with a body", path: commandPath + "/pause", body: `{}`},
	{name: "a rollback of nothing known", path: commandPath + "/rollback", body: `{"devices":[],"forced":true,"reason":7}`},
	{name: "a rollback of no command", method: "POST", path: "/v1/commands/42/rollback"},
	{name: "rollouts of another shape", path: "/v1/commands",
		body: with(`"rollout":{"waves":[{},{"count":1,"percent":2},{"count":0},7],"rate_per_minute":0,"halt":{"percent":5},"window":{"cron":"often"},"speed":1}`)},
	{name: "a rollout that says nothing", path: "/v1/commands", body: with(`"rollout":{}`)},
	{name: "a preview of nothing", path: "/v1/commands/preview", body: `{}`},
	{name: "a group without a selector", method: "PUT", path: "/v1/groups/north", body: `{"devices":["a"]}`},
	{name: "a group that no path can hold", method: "PUT", path: "/v1/groups/%2e%2e", body: `{"selector":"a=b"}`},
	{name: "a type that no path can hold", as: "admin", method: "PUT", path: "/v1/types/..", body: `{}`},
	{name: "a webhook that no path can hold", as: "admin", method: "PUT", path: "/v1/webhooks/.", body: `{"url":"https://example.org"}`},
	{name: "a group with a slash", method: "PUT", path: "/v1/groups/a%2Fb", body: `{"selector":"a=b"}`},
	{name: "a group's name that is too long in bytes", path: "/v1/groups/" + strings.Repeat("%C3%A9", 32)},
	{name: "a group that is not there", path: "/v1/groups/south"},

	// People.
	{name: "an operator who looks at users", path: "/v1/users"},
	{name: "an operator who makes a token", path: "/v1/users/ann/tokens", body: `{}`},
	{name: "a user of another shape", as: "admin", method: "PUT", path: "/v1/users/ben",
		body: `{"id":"ben","name":7,"roles":[{"role":"root"},{"groups":[],"selector":""}],"disabled":"no"}`},
	{name: "a user who may do nothing", as: "admin", method: "PUT", path: "/v1/users/ben", body: `{"roles":[]}`},
	{name: "a user with a slash", as: "admin", method: "PUT", path: "/v1/users/a%2Fb", body: `{"roles":[{"role":"viewer"}]}`},
	{name: "a user who is not there", as: "admin", path: "/v1/users/eve"},
	{name: "a version of a user who is not there", as: "admin", method: "PUT", path: "/v1/users/eve", body: `{"roles":[{"role":"viewer"}]}`, header: map[string]string{"If-Match": "*"}},
	{name: "an operator who gives a credential", path: "/v1/devices/pump-7/credentials", body: `{"kind":"psk"}`},
	{name: "an operator who looks at credentials", path: "/v1/devices/pump-7/credentials"},
	{name: "an operator who revokes a credential", method: "DELETE", path: "/v1/devices/pump-7/credentials/1"},
	{name: "an operator who imports", path: "/v1/credentials/import", body: "device,secret\n"},
	{name: "a credential of no kind", as: "admin", path: "/v1/devices/pump-7/credentials", body: `{"secret":1,"key":"x"}`},
	{name: "a credential of another kind", as: "admin", path: "/v1/devices/pump-7/credentials", body: `{"kind":"password","secret":"hunter2"}`},
	{name: "a secret that is not hexadecimal", as: "admin", path: "/v1/devices/pump-7/credentials", body: `{"kind":"psk","secret":"correct horse battery"}`},
	{name: "a secret that is far too long", as: "admin", path: "/v1/devices/pump-7/credentials", body: `{"kind":"psk","secret":"` + strings.Repeat("ab", 200) + `"}`},
	{name: "an import as JSON", as: "admin", path: "/v1/credentials/import", body: `{"device":"a"}`},
	{name: "an import with another query", as: "admin", path: "/v1/credentials/import?force=true", body: "x", header: map[string]string{"Content-Type": "text/csv"}},
	{name: "an import of nothing", as: "admin", method: "POST", path: "/v1/credentials/import", header: map[string]string{"Content-Type": "text/csv"}},
	{name: "a token of another shape", as: "admin", path: "/v1/users/ann/tokens", body: `{"token":"secret","expires_at":"never","note":1}`},
	{name: "a token that has no number", as: "admin", method: "DELETE", path: "/v1/users/ann/tokens/last"},

	// Webhooks.
	{name: "a webhook of another shape", as: "admin", method: "PUT", path: "/v1/webhooks/mes",
		body: `{"url":7,"types":"all","allow_private":"yes","secret":"whsec_mine","id":"mes"}`},
	{name: "a webhook to nowhere", as: "admin", method: "PUT", path: "/v1/webhooks/mes", body: `{}`},
	{name: "a webhook without TLS, for what are no events", as: "admin", method: "PUT", path: "/v1/webhooks/mes",
		body: `{"url":"http://example.org/","types":["execution.*","Execution","*"]}`},
	{name: "a URL that is too long", as: "admin", method: "PUT", path: "/v1/webhooks/mes", body: `{"url":"https://example.org/` + strings.Repeat("a", command.HookURLBytesMax) + `"}`},
	{name: "a webhook with a slash", as: "admin", method: "PUT", path: "/v1/webhooks/a%2Fb", body: `{"url":"https://example.org/"}`},
	{name: "a webhook's name that is too long in bytes", as: "admin", method: "PUT", path: "/v1/webhooks/" + strings.Repeat("%C3%A9", 32), body: `{"url":"https://example.org/"}`},
	{name: "a webhook that is not there", as: "admin", path: "/v1/webhooks/mes"},
	{name: "a version of a webhook that is not there", as: "admin", method: "PUT", path: "/v1/webhooks/mes", body: `{"url":"https://example.org/"}`, header: map[string]string{"If-Match": `"1"`}},
	{name: "a secret of one's own", as: "admin", path: "/v1/webhooks/erp/secret", body: `{"secret":"whsec_mine"}`},
	{name: "an event that is none", as: "admin", method: "POST", path: "/v1/webhooks/erp/deliveries/latest/redeliver"},
	{name: "an operator who looks at webhooks", path: "/v1/webhooks"},
	{name: "an operator who makes a webhook", method: "PUT", path: "/v1/webhooks/mes", body: `{"url":"https://example.org/"}`},

	// Devices.
	{name: "edits out of range", method: "PATCH", path: "/v1/devices/pump-7", body: `{"ack_timeout_seconds":-1,"awake_seconds":86401}`},
	{name: "an edit of what nobody may edit", method: "PATCH", path: "/v1/devices/pump-7", body: `{"id":"x","last_seq":1}`},
	{name: "a version that is none", method: "PATCH", path: "/v1/devices/pump-7", body: `{}`, header: map[string]string{"If-Match": "12"}},
	{name: "a version that no device has", method: "PATCH", path: "/v1/devices/pump-7", body: `{}`, header: map[string]string{"If-Match": `"0"`}},
	{name: "another version", as: "admin", method: "DELETE", path: "/v1/devices/pump-7", header: map[string]string{"If-Match": `"11"`}},
	{name: "a version of what is not there", method: "PUT", path: "/v1/devices/pump-8", body: `{}`, header: map[string]string{"If-Match": `*`}},

	// Command types.
	{name: "a schema that is none, with every fault", as: "admin", method: "PUT", path: "/v1/types/t",
		body: `{"params":{"type":"object","properties":{"rpm":{"type":"integr","minimum":"1"}},"required":"rpm"},"result":{"pattern":"("}}`},
	{name: "a schema of another shape", as: "admin", method: "PUT", path: "/v1/types/t", body: `{"params":7,"result":"string"}`},
	{name: "a schema that fetches", as: "admin", method: "PUT", path: "/v1/types/t", body: `{"params":{"$ref":"https://example.com/pump.json"}}`},
	{name: "a schema of another draft", as: "admin", method: "PUT", path: "/v1/types/t", body: `{"params":{"$schema":"http://json-schema.org/draft-07/schema#"}}`},
	{name: "a schema that takes for ever", as: "admin", method: "PUT", path: "/v1/types/t", body: `{"params":{"items":{"allOf":[{"$ref":"#"},{"$ref":"#"},{"$ref":"#"}]}}}`},
	{name: "a schema that is too large", as: "admin", method: "PUT", path: "/v1/types/t", body: `{"params":{"$comment":"` + strings.Repeat("x", command.SchemaBytesMax) + `"}}`},
	{name: "rules of another shape", as: "admin", method: "PUT", path: "/v1/types/t",
		body: `{"wire_code":0,"large":"yes","redelivery":"twice","slot":"/rpm","significance":"high","clocks":{"run_for_seconds":0,"patience_seconds":1},"urgnt":true}`},
	{name: "clocks of another shape", as: "admin", method: "PUT", path: "/v1/types/t",
		body: `{"clocks":{"run_for_seconds":{"defualt":1},"use_within_seconds":"1h","hold_within_seconds":{},"deliver_within_seconds":{"max":31536001}}}`},
	{name: "clocks that are written as floats", as: "admin", method: "PUT", path: "/v1/types/t",
		body: `{"clocks":{"run_for_seconds":1e2,"use_within_seconds":{"min":1.0}}}`},
	{name: "rules that contradict each other", as: "admin", method: "PUT", path: "/v1/types/t",
		body: `{"slot":["rpm"],"parallel":true,"urgent":true,"clocks":{"run_for_seconds":{"min":9,"max":1}}}`},
	{name: "approval and rollback of another shape", as: "admin", method: "PUT", path: "/v1/types/t",
		body: `{"approval":{"approvers":0,"role":"operator","when":[{"pointer":"/rpm"},{"pointer":"/a","above":1,"below":2}],"who":"ann"},` +
			`"rollback":{"kind":"undo","automatic":{"percent":101}}}`},
	{name: "approval and rollback that contradict themselves", as: "admin", method: "PUT", path: "/v1/types/t",
		body: `{"approval":{"approvers":1,"when":[{"pointer":"rpm","above":1}]},"rollback":{"kind":"restore","type":"u","params":{"a":"/a"}}}`},
	{name: "approvers that are written as a float", as: "admin", method: "PUT", path: "/v1/types/t", body: `{"approval":{"approvers":1e0}}`},
	{name: "a type's name in its body", as: "admin", method: "PUT", path: "/v1/types/t", body: `{"name":"t","version":4}`},
	{name: "a type with a slash", as: "admin", method: "PUT", path: "/v1/types/a%2Fb", body: `{}`},
	{name: "a type's name that is too long in bytes", path: "/v1/types/" + strings.Repeat("%C3%A9", 32)},
	{name: "a type that is not declared", path: "/v1/types/pump.stop"},
	{name: "another version of a type", as: "admin", method: "PUT", path: "/v1/types/pump.start", body: `{}`, header: map[string]string{"If-Match": `"2"`}},
	{name: "a version of a type that is not there", as: "admin", method: "PUT", path: "/v1/types/pump.stop", body: `{}`, header: map[string]string{"If-Match": `*`}},
	{name: "a version of a type that is none", as: "admin", method: "DELETE", path: "/v1/types/pump.start", header: map[string]string{"If-Match": "latest"}},
	{name: "version 0", path: "/v1/types/pump.start/versions/0"},
	{name: "a version that is no number", path: "/v1/types/pump.start/versions/latest"},
	{name: "an operator who declares a type", method: "PUT", path: "/v1/types/t", body: `{}`},
	{name: "an operator who retires a type", method: "DELETE", path: "/v1/types/pump.start"},

	// Paths and methods.
	{name: "a path that is not there", path: "/v1/command"},
	{name: "the root", path: "/"},
	{name: "a slash too many", path: "/v1/commands/"},
	{name: "a method that is not served", method: "DELETE", path: "/v1/commands"},
	{name: "a method that is not served by one that is read", method: "POST", path: "/v1/me"},
	{name: "a method that nobody knows", method: "BREW", path: commandPath},

	// Who asks.
	{name: "no token", as: "nobody", path: "/v1/me"},
	{name: "another scheme", as: "nobody", path: "/v1/me", header: map[string]string{"Authorization": "Basic YW5uOmFubg=="}},
	{name: "no token after the scheme", as: "nobody", path: "/v1/me", header: map[string]string{"Authorization": "Bearer"}},
	{name: "a token of another kind", as: "nobody", path: "/v1/me", header: map[string]string{"Authorization": "Bearer secret"}},
	{name: "a token that nobody has", as: "nobody", path: "/v1/me", header: map[string]string{"Authorization": "Bearer bh_0a1b2c3d00112233445566778899aabbccddeeff3jpspsg"}},
	{name: "a viewer who issues", as: "viewer", path: "/v1/commands", body: anIntent},
	{name: "an approver who issues", as: "approver", path: "/v1/commands", body: anIntent},
	{name: "an operator who removes a device", method: "DELETE", path: "/v1/devices/pump-7"},
	{name: "no token is told before a bad body", as: "nobody", path: "/v1/commands", body: `{`},
}

func TestBadInputIsAnsweredExactly(t *testing.T) {
	d := &desk{
		issue: func(_ context.Context, in command.Intent) (command.Issued, error) {
			_, faults, err := schemas.Params(command.Type{Policy: command.Policy{Large: true}}, in.Params)
			if err != nil || len(faults) == 0 {
				t.Errorf("Issue was called: %v", err)
			}
			return command.Issued{}, &command.Error{Code: command.CodeInvalid, Msg: "the command cannot be accepted as it is", Fields: faults}
		},
		put: func(string, device.Edit, string) (device.View, bool, error) {
			t.Error("PutDevice was called")
			return pump(), false, nil
		},
		edit: func(string, device.Edit, string) (device.View, error) {
			t.Error("EditDevice was called")
			return pump(), nil
		},
		remove: func(_ string, ifVersion int64, _ string) error {
			if ifVersion != 11 {
				t.Error("RemoveDevice was called")
			}
			return command.Errorf(command.CodePrecondition, "the device was changed meanwhile")
		},
		putType: func(typ command.Type, ifVersion int, _ string) (command.Type, bool, error) {
			faults := typ.Check()
			if len(faults) == 0 {
				faults = schemas.Compile(typ)
			}
			switch {
			case ifVersion == 2:
				return typ, false, command.Errorf(command.CodePrecondition, "the type is not of version 2")
			case len(faults) == 0:
				t.Error("PutType was called")
			}
			return typ, false, &command.Error{Code: command.CodeInvalid, Msg: "the type cannot be declared like that", Fields: faults}
		},
		retire:       func(string, int, string) error { t.Error("RetireType was called"); return nil },
		cancelDevice: func(string, string) (int, error) { t.Error("CancelDevice was called"); return 0, nil },
	}
	d.desked = desked{
		decide: func(command.ID, command.Decision) (command.View, error) {
			t.Error("Approve or Deny was called")
			return command.View{}, nil
		},
		gate: func(command.ID, command.Kind, string) (command.View, error) {
			t.Error("Pause or Resume was called")
			return command.View{}, nil
		},
		rollback: func(command.ID, command.RollbackIntent) (command.Issued, error) {
			t.Error("Rollback was called")
			return command.Issued{}, nil
		},
		preview: func(command.Intent) (command.Preview, error) {
			t.Error("Preview was called")
			return command.Preview{}, nil
		},
		putGroup: func(g device.Group, _ int64, _ string) (device.Group, bool, error) {
			t.Error("PutGroup was called")
			return g, false, nil
		},
	}
	s := serve(t, d, d, Options{})
	var b strings.Builder
	b.WriteString("# Bad input, and the exact answer. Written by TestBadInputIsAnsweredExactly -update.\n\n")
	for _, a := range badInput {
		r := s.do(a)
		if r.status < 400 || r.status > 499 {
			t.Errorf("%s: answered %d", a.name, r.status)
		}
		b.WriteString(r.text(a))
	}
	golden(t, "refusals.txt", b.String())
}

func names(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%q", fmt.Sprint("d", i))
	}
	return strings.Join(list, ",")
}

func labels(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`"k%d":"v"`, i)
	}
	return strings.Join(list, ",")
}

// A header that may be there once is named when it is there twice, with all
// other faults.
func TestAHeaderThatIsThereTwiceIsNamed(t *testing.T) {
	d := &desk{}
	s := serve(t, d, d, Options{})
	for header, path := range map[string]string{"If-Match": "/v1/devices/pump-7", "Idempotency-Key": "/v1/commands/batch"} {
		method := map[string]string{"If-Match": "PUT", "Idempotency-Key": "POST"}[header]
		req, err := http.NewRequest(method, s.url+path, strings.NewReader(`{"who":1}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+s.tokens["operator"])
		req.Header.Set("Content-Type", "application/json")
		req.Header[header] = []string{`"1"`, `"2"`}
		resp, err := s.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var p Problem
		err = json.NewDecoder(resp.Body).Decode(&p)
		resp.Body.Close()
		twice := Fault{Pointer: header, Detail: "is there more than once"}
		unknown := Fault{Pointer: "/who", Detail: "is not known here"}
		if err != nil || p.Status != 400 || !slices.Contains(p.Errors, twice) || !slices.Contains(p.Errors, unknown) {
			t.Errorf("%s: %+v, %v", header, p, err)
		}
	}
}
