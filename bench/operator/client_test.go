package operator

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestAFateIsNeverGuessed answers one request in every way that there is.
func TestAFateIsNeverGuessed(t *testing.T) {
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	for name, row := range map[string]struct {
		handler http.HandlerFunc
		want    Fate
	}{
		"201":                 {answer(201, `{"id":"x"}`), Done},
		"422":                 {answer(422, `{"code":"invalid"}`), Refused},
		"503 before anything": {answer(503, `{"code":"unavailable"}`), Refused},
		"503 in doubt":        {answer(503, `{"code":"outcome_unknown"}`), Unknown},
		"500":                 {answer(500, `{"code":"internal"}`), Unknown},
		"502 of a proxy":      {answer(502, `<html>`), Unknown},
		"no answer":           {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, Unknown},
		"half an answer": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(201)
			fmt.Fprint(w, `{"id":`)
		}, Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(row.handler)
			defer s.Close()
			c := New(s.Listener.Addr().String(), "token", 1)
			defer c.Close()
			got, fate, err := c.Issue(t.Context(), Intent{Type: "t"}, "", 0)
			if fate != row.want || (err == nil) != (row.want == Done) {
				t.Errorf("%v, want %v: %+v, %v", fate, row.want, got, err)
			}
		})
	}
}

func TestNobodyThereIsNotUnknown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	c := New(addr, "token", 1)
	if _, fate, err := c.Issue(t.Context(), Intent{Type: "t"}, "", 0); fate != Unreached || err == nil {
		t.Errorf("%v, %v", fate, err)
	}
}

func TestACallThatIsGivenUpIsUnknown(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else it would not see the client leave
		<-r.Context().Done()
	}))
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c := New(s.Listener.Addr().String(), "token", 1)
	defer c.Close()
	if _, fate, _ := c.Issue(ctx, Intent{Type: "t"}, "", 0); fate != Unknown {
		t.Errorf("%v, want %v", fate, Unknown)
	}
}

// TestWhatIsSent looks at a request from the other end.
func TestWhatIsSent(t *testing.T) {
	var got []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.URL.String()+" key="+r.Header.Get("Idempotency-Key")+" "+r.Header.Get("Authorization"))
		fmt.Fprint(w, `{}`)
	}))
	defer s.Close()
	c := New(s.Listener.Addr().String(), "secret", 1)
	defer c.Close()
	c.Issue(t.Context(), Intent{Type: "t"}, "k", 2*time.Second)
	c.Cancel(t.Context(), "id")
	c.Execution(t.Context(), "id", "a b")
	want := []string{
		"POST /v1/commands?wait_seconds=2 key=k Bearer secret",
		"POST /v1/commands/id/cancel key= Bearer secret",
		"GET /v1/commands/id/executions/a%20b key= Bearer secret",
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("requests (-got +want):\n%s", diff)
	}
}

func TestAllPagesAreRead(t *testing.T) {
	pages := map[string]string{
		"":  `{"items":[{"id":"a"},{"id":"b"}],"next_page_token":"2"}`,
		"2": `{"items":[{"id":"c"}],"next_page_token":"3"}`,
		"3": `{"items":[]}`,
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, pages[r.URL.Query().Get("page_token")])
	}))
	defer s.Close()
	c := New(s.Listener.Addr().String(), "token", 1)
	defer c.Close()
	var got []string
	if err := c.Commands(t.Context(), func(cmd Command) error { got = append(got, cmd.ID); return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, []string{"a", "b", "c"}); diff != "" {
		t.Errorf("ids (-got +want):\n%s", diff)
	}
}
