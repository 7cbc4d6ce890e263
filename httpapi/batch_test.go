package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"behest/command"
)

// outcome is a result in short: the device, or the code and first pointer.
func outcome(t *testing.T, r reply) []string {
	t.Helper()
	var got BatchResults
	if err := json.Unmarshal([]byte(r.body), &got); err != nil || r.status != 200 {
		t.Fatalf("%d %v %s", r.status, err, r.body)
	}
	var list []string
	for i, x := range got.Results {
		switch {
		case x.Index != i || (x.Command == nil) == (x.Problem == nil):
			t.Errorf("result %d: %+v", i, x)
		case x.Command != nil:
			list = append(list, x.Command.Type)
		default:
			s := string(x.Problem.Code)
			if len(x.Problem.Errors) > 0 {
				s += " " + x.Problem.Errors[0].Pointer
			}
			list = append(list, s)
		}
	}
	return list
}

const aBatch = `{"commands":[{"type":"a","targets":{"devices":["x"]}},{"type":"b","params":{"n":1e999},"targets":{"devices":["x"]}},` +
	`{"type":"full","targets":{"devices":["x"]}},{"type":"odd","targets":{"devices":["x"]}},{"type":"c","params":null,"targets":{"devices":["x"]}}]}`

var wantOfBatch = []string{"a", "invalid /commands/1/params/n", "device_full /commands/2/targets", "internal", "c"}

func answerOne(in command.Intent) (command.Issued, error) {
	switch in.Type {
	case "full":
		return command.Issued{}, &command.Error{Code: command.CodeDeviceFull, Msg: "full", Fields: []command.Field{{Pointer: "/targets"}}}
	case "odd":
		return command.Issued{}, fmt.Errorf("a secret of the store")
	}
	if _, faults, err := schemas.Params(command.Type{}, in.Params); err != nil || len(faults) > 0 {
		return command.Issued{}, &command.Error{Code: command.CodeInvalid, Msg: "not like that", Fields: faults, Err: err}
	}
	v := pumpCommand(command.Queued)
	v.Command.Type = in.Type
	return command.Issued{View: v}, nil
}

func TestEachOfABatchIsItsOwn(t *testing.T) {
	d := &desk{issue: func(_ context.Context, in command.Intent) (command.Issued, error) { return answerOne(in) }}
	s := serve(t, d, d, Options{})
	r := s.do(ask{name: "batch", path: "/v1/commands/batch", body: aBatch})
	if diff := cmp.Diff(outcome(t, r), wantOfBatch); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	if strings.Contains(r.body, "secret") || !strings.Contains(s.log.String(), "a secret of the store") {
		t.Errorf("the answer tells what the log is for: %s", r.body)
	}
}

func TestAThousandAreABatchAndOneMoreIsNot(t *testing.T) {
	n := 0
	d := &desk{issue: func(_ context.Context, in command.Intent) (command.Issued, error) { n++; return answerOne(in) }}
	s := serve(t, d, d, Options{})
	batch := func(n int) string {
		return `{"commands":[` + strings.TrimSuffix(strings.Repeat(anIntent+",", n), ",") + `]}`
	}
	got := outcome(t, s.do(ask{name: "1,000", path: "/v1/commands/batch", body: batch(1000)}))
	if len(got) != 1000 || n != 1000 {
		t.Errorf("%d results of %d intents; want 1000", len(got), n)
	}
	for name, body := range map[string]string{
		"1,001": batch(1001), "none": batch(0), "no list": `{}`, "a fault in one": `{"commands":[` + anIntent + `,{"type":"t"}]}`,
		"a key twice": `{"commands":[{"type":"a","type":"b","targets":{"devices":["x"]}}]}`,
	} {
		n = 100
		if r := s.do(ask{name: name, path: "/v1/commands/batch", body: body}); r.status != 400 || n != 100 {
			t.Errorf("%s: %d, %d were issued: %s", name, r.status, n-100, r.body)
		}
	}
	r := s.do(ask{name: "over 8 MiB", path: "/v1/commands/batch", body: strings.Repeat(" ", batchBodyMax+1)})
	if r.status != 413 {
		t.Errorf("over 8 MiB: %d", r.status)
	}
}

// The same request under the same key is done once, and answered alike.
func TestAKeyIsGoodForOneRequest(t *testing.T) {
	n := 0
	d := &desk{issue: func(_ context.Context, in command.Intent) (command.Issued, error) {
		n++
		if in.Type == "refused" {
			return command.Issued{}, command.Errorf(command.CodeDeviceFull, "full")
		}
		v := pumpCommand(command.Queued)
		v.Command.Type, v.Command.Reason = in.Type, fmt.Sprint("number ", n)
		return command.Issued{View: v, Refused: []command.Refusal{{Device: "x", Code: command.CodeDeviceFull}}}, nil
	}}
	s := serve(t, d, d, Options{})
	key := func(k string) map[string]string { return map[string]string{"Idempotency-Key": k} }
	ask1 := ask{name: "first", path: "/v1/commands", body: anIntent, header: key("k")}
	first := s.do(ask1)
	if first.status != 201 || !strings.Contains(first.body, `"reason":"number 1"`) || !strings.Contains(first.body, `"refused"`) {
		t.Fatalf("first: %d %s", first.status, first.body)
	}
	again := s.do(ask1)
	if diff := cmp.Diff(again.body, first.body); diff != "" || again.status != 201 || again.header.Get("Location") != first.header.Get("Location") {
		t.Errorf("again: %d %v %s", again.status, again.header, diff)
	}
	for _, tt := range []struct {
		a      ask
		status int
		n      int
	}{
		{ask{name: "other order and space", path: "/v1/commands", body: `{ "targets":{"devices":["pump-7"]}, "type":"t" }`, header: key("k")}, 201, 1},
		{ask{name: "another body", path: "/v1/commands", body: params("1"), header: key("k")}, 409, 1},
		{ask{name: "params that differ by a digit", path: "/v1/commands", body: params("1.0"), header: key("k2")}, 201, 2},
		{ask{name: "and by no more", path: "/v1/commands", body: params("1"), header: key("k2")}, 409, 2},
		{ask{name: "another key", path: "/v1/commands", body: anIntent, header: key("K")}, 201, 3},
		{ask{name: "another user", as: "admin", path: "/v1/commands", body: anIntent, header: key("k")}, 201, 4},
		{ask{name: "another route", path: "/v1/commands/batch", body: `{"commands":[` + anIntent + `]}`, header: key("k")}, 200, 5},
		{ask{name: "the batch again", path: "/v1/commands/batch", body: `{"commands":[` + anIntent + `]}`, header: key("k")}, 200, 5},
		{ask{name: "refused", path: "/v1/commands", body: `{"type":"refused","targets":{"devices":["x"]}}`, header: key("r")}, 429, 6},
		{ask{name: "mended under the same key", path: "/v1/commands", body: anIntent, header: key("r")}, 201, 7},
		{ask{name: "with a wait", path: "/v1/commands?wait_seconds=1", body: anIntent, header: key("k")}, 201, 7},
		{ask{name: "an empty key", path: "/v1/commands", body: anIntent, header: key("")}, 400, 7},
		{ask{name: "a key that is too long", path: "/v1/commands", body: anIntent, header: key(strings.Repeat("k", 256))}, 400, 7},
		{ask{name: "a key that does not print", path: "/v1/commands", body: anIntent, header: key("\u00e9")}, 400, 7},
	} {
		if r := s.do(tt.a); r.status != tt.status || n != tt.n {
			t.Errorf("%s: %d and %d issued, want %d and %d: %s", tt.a.name, r.status, n, tt.status, tt.n, r.body)
		}
	}
}
