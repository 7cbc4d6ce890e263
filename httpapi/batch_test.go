package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
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

// batcher takes intents together.
type batcher struct {
	*desk
	calls int
}

func (b *batcher) IssueBatch(_ context.Context, in []command.Intent) ([]command.Issued, []error) {
	b.calls++
	issued, errs := make([]command.Issued, len(in)), make([]error, len(in))
	for i := range in {
		issued[i], errs[i] = answerOne(in[i])
	}
	return issued, errs
}

func TestABatchGoesToTheStoreAtOnce(t *testing.T) {
	b := &batcher{desk: &desk{}}
	s := serve(t, b, b, Options{})
	if diff := cmp.Diff(outcome(t, s.do(ask{name: "batch", path: "/v1/commands/batch", body: aBatch})), wantOfBatch); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	if b.calls != 1 {
		t.Errorf("%d calls", b.calls)
	}
}

func TestAThousandAreABatchAndOneMoreIsNot(t *testing.T) {
	var mu sync.Mutex
	n := 0
	d := &desk{issue: func(_ context.Context, in command.Intent) (command.Issued, error) {
		mu.Lock()
		defer mu.Unlock()
		n++
		if n == 7 {
			panic("boom")
		}
		return answerOne(in)
	}}
	s := serve(t, d, d, Options{})
	batch := func(n int) string {
		return `{"commands":[` + strings.TrimSuffix(strings.Repeat(anIntent+",", n), ",") + `]}`
	}
	got := outcome(t, s.do(ask{name: "1,000", path: "/v1/commands/batch", body: batch(1000)}))
	odd := 0
	for _, o := range got {
		if o != "t" {
			odd++
		}
	}
	if len(got) != 1000 || odd != 1 {
		t.Errorf("%d results, %d of them refused; want 1000 and the one that panicked", len(got), odd)
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
	r := s.do(ask{name: "over 4 MiB", path: "/v1/commands/batch", body: strings.Repeat(" ", batchBodyMax+1)})
	if r.status != 413 {
		t.Errorf("over 4 MiB: %d", r.status)
	}
}
