package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"behest/command"
)

func TestEveryCodeHasItsStatus(t *testing.T) {
	want := map[command.Code]int{
		command.CodeMalformed: 400, command.CodeInvalid: 422, command.CodeUnknownDevice: 422,
		command.CodeUnauthenticated: 401, command.CodeForbidden: 403, command.CodeNotFound: 404,
		command.CodeConflict: 409, command.CodeContradiction: 409, command.CodePrecondition: 412,
		command.CodeDeviceFull: 429, command.CodeTooLarge: 413, command.CodeMediaType: 415,
		command.CodeTooMany: 429, command.CodeUnavailable: 503, command.CodeOutcomeUnknown: 503,
		command.CodeInternal: 500,
	}
	got := make(map[command.Code]int)
	for _, c := range command.Codes {
		if _, ok := kinds[c]; !ok {
			t.Errorf("%s has no kind: it would be answered as our fault", c)
		}
		got[c] = statusOf(c)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("status by code (-got +want):\n%s", diff)
	}
	if got := statusOf("made_up"); got != 500 {
		t.Errorf("a code that does not exist is answered with %d", got)
	}
}

func TestEveryRefusalOfAUseCaseIsAProblem(t *testing.T) {
	d := &desk{}
	s := serve(t, d, d, Options{})
	for _, code := range append(slices.Clone(command.Codes), "made_up") {
		d.command = func(command.ID) (command.View, error) {
			return command.View{}, fmt.Errorf("on the way: %w", &command.Error{Code: code, Msg: "for a test", RetryAfter: 1500 * time.Millisecond,
				Fields: []command.Field{{Pointer: "/x", Detail: "is off"}}, Err: errors.New("inner secret")})
		}
		r := s.do(ask{name: string(code), path: commandPath})
		wantStatus, wantCode := statusOf(code), string(code)
		if code == "made_up" {
			wantCode = "internal"
		}
		if r.status != wantStatus || !strings.Contains(r.body, `"code":"`+wantCode+`"`) || !strings.Contains(r.body, `"detail":"for a test"`) {
			t.Errorf("%s: %d %s", code, r.status, r.body)
		}
		if strings.Contains(r.body, "secret") {
			t.Errorf("%s: the answer tells what the log is for: %s", code, r.body)
		}
		wantRetry := ""
		if wantStatus == 429 || wantStatus == 503 {
			wantRetry = "2"
		}
		if got := r.header.Get("Retry-After"); got != wantRetry {
			t.Errorf("%s: Retry-After %q, want %q", code, got, wantRetry)
		}
		if got := r.header.Get("WWW-Authenticate"); (got != "") != (wantStatus == 401) {
			t.Errorf("%s: WWW-Authenticate %q", code, got)
		}
	}
}

func TestRetryAfterIsNeverZero(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "1", -time.Hour: "1", time.Millisecond: "1", 2 * time.Second: "2", 2001 * time.Millisecond: "3"} {
		if got := retryAfter(d); got != want {
			t.Errorf("retryAfter(%s) = %s, want %s", d, got, want)
		}
	}
}

// What nobody classified is the server's fault, and its text stays inside.
func TestUnknownErrorsAreOursAndStayInside(t *testing.T) {
	d := &desk{health: func(context.Context) error { return errors.New("disk on fire at /var/lib") }}
	d.command = func(command.ID) (command.View, error) { return command.View{}, errors.New("no such table: secrets") }
	s := serve(t, d, d, Options{})
	r := s.do(ask{name: "unknown error", path: commandPath})
	if r.status != 500 || strings.Contains(r.body, "table") {
		t.Errorf("got %d %s", r.status, r.body)
	}
	id := r.header.Get("X-Request-Id")
	if log := s.log.String(); !strings.Contains(log, "no such table: secrets") || !strings.Contains(log, "request_id="+id) {
		t.Errorf("the log does not have the rest under %s:\n%s", id, log)
	}
	if r = s.do(ask{name: "not ready", as: "nobody", path: "/readyz"}); r.status != 503 || strings.Contains(r.body, "fire") {
		t.Errorf("got %d %s", r.status, r.body)
	}
	if r = s.do(ask{name: "alive all the same", as: "nobody", path: "/livez"}); r.status != 200 {
		t.Errorf("got %d %s", r.status, r.body)
	}
}

func TestAPanicCostsOneRequest(t *testing.T) {
	d := &desk{}
	d.command = func(command.ID) (command.View, error) { panic("boom") }
	s := serve(t, d, d, Options{})
	if r := s.do(ask{name: "panic", path: commandPath}); r.status != 500 || strings.Contains(r.body, "boom") {
		t.Errorf("got %d %s", r.status, r.body)
	}
	if log := s.log.String(); !strings.Contains(log, "panic: boom") || !strings.Contains(log, "handle_commands.go") {
		t.Errorf("the log does not say where:\n%s", log)
	}
	if r := s.do(ask{name: "after it", path: "/v1/me"}); r.status != 200 {
		t.Errorf("after a panic: %d", r.status)
	}
}

func TestFaultsAreBounded(t *testing.T) {
	d := &desk{}
	s := serve(t, d, d, Options{})
	r := s.do(ask{name: "many faults", path: "/v1/commands", body: `{"type":"t","targets":{"devices":["pump-7"]},` +
		strings.ReplaceAll(labels(60), `"k`, `"x`) + `}`})
	if r.status != 400 || strings.Count(r.body, "is not known here") != faultsMax {
		t.Errorf("got %d with %d faults", r.status, strings.Count(r.body, "is not known here"))
	}
	for name, body := range map[string]string{
		"has 67 members":   `{"type":"t","targets":{"devices":["pump-7"]},` + strings.ReplaceAll(labels(65), `"k`, `"x`) + `}`,
		"has 100001 items": `{"type":"t","targets":{"devices":[` + names(100_001) + `]}}`,
	} {
		if r := s.do(ask{name: name, path: "/v1/commands", body: body}); r.status != 400 || !strings.Contains(r.body, name) || strings.Count(r.body, "pointer") != 1 {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	if r := s.do(ask{name: "params may be crowded", path: "/v1/commands", body: params(`[` + names(1001) + `]`)}); r.status != 201 {
		t.Errorf("crowded params: %d %s", r.status, r.body)
	}
	long := strings.Repeat("k", 100_000)
	r = s.do(ask{name: "a long name", path: "/v1/commands", body: `{"` + long + `":1,"` + long + `":2}`})
	if r.status != 400 || len(r.body) > 2000 {
		t.Errorf("got %d with %d bytes", r.status, len(r.body))
	}
	r = s.do(ask{name: "a long parameter", path: "/v1/me?" + long[:8000] + "=1"})
	if r.status != 400 || len(r.body) > 2000 {
		t.Errorf("got %d with %d bytes", r.status, len(r.body))
	}
}

func TestUnreadBodiesSayWhy(t *testing.T) {
	for name, tt := range map[string]struct {
		err    error
		status int
		detail string
	}{
		"too long": {&http.MaxBytesError{Limit: 7}, 413, "the body is over 7 bytes"},
		"too slow": {fmt.Errorf("read: %w", errTimeout), 400, "did not arrive within 30s"},
		"cut off":  {errors.New("connection reset"), 400, "ended before it was whole"},
	} {
		var e *command.Error
		if err := unread(tt.err, 7); !errors.As(err, &e) || statusOf(e.Code) != tt.status || !strings.Contains(fmt.Sprint(e.Msg, e.Fields), tt.detail) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
