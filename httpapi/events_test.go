package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"behest/access"
	"behest/command"
)

// logbook is a log in memory: what the real store promises, in thirty lines.
type logbook struct {
	mu      sync.Mutex
	epoch   uint32
	cut     int64 // events up to here are gone
	events  []command.Event
	changed chan struct{}
	broken  error
	page    int // events in an answer at most; 0: as asked
}

func newLogbook() *logbook { return &logbook{epoch: 1, changed: make(chan struct{})} }

func (l *logbook) add(kinds ...command.EventType) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range kinds {
		n := int64(len(l.events)) + 1
		l.events = append(l.events, command.Event{Type: k, At: noon, Epoch: l.epoch, N: n, Command: id, Name: "pump-7",
			Actor: "ann", From: "192.0.2.7", Data: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n))})
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *logbook) Events(_ context.Context, after Place, f EventFilter, limit int) (events []command.Event, next Place, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return nil, after, l.broken
	}
	if after.N != 0 && (after.Epoch != l.epoch || after.N > int64(len(l.events)) || after.N < l.cut) {
		return nil, after, command.Errorf(command.CodeNotFound, "the log has no event %s", after)
	}
	if l.page > 0 {
		limit = min(limit, l.page)
	}
	next = after
	for _, e := range l.events[max(after.N, l.cut):] {
		if len(events) == limit {
			break
		}
		next = Place{Epoch: e.Epoch, N: e.N}
		if len(f.Types) == 0 || slices.Contains(f.Types, e.Type) {
			events = append(events, e)
		}
	}
	return events, next, nil
}

func (l *logbook) End(context.Context) (Place, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Place{Epoch: l.epoch, N: int64(len(l.events))}, nil
}

func (l *logbook) Checkpoint(_ context.Context, now time.Time) (command.Checkpoint, error) {
	if len(l.events) == 0 {
		return command.Checkpoint{}, command.Errorf(command.CodeNotFound, "the log is empty")
	}
	return command.Checkpoint{At: Place{Epoch: l.epoch, N: int64(len(l.events))}, SealedAt: noon, SignedAt: now}, nil
}

func (l *logbook) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

func TestEventPagesGoOnWithoutGapOrRepeat(t *testing.T) {
	l := newLogbook()
	for range 10 {
		l.add("command.created", "execution.sent", "execution.succeeded")
	}
	l.page = 4
	d := &desk{}
	s := serve(t, d, d, Options{Log: l})
	var ids []string
	after := ""
	for range 20 {
		path := "/v1/events?page_size=7&type=command.created&type=execution.succeeded"
		if after != "" {
			path += "&after=" + after
		}
		r := s.do(ask{name: "page", path: path})
		var page EventPage
		if err := json.Unmarshal([]byte(r.body), &page); err != nil || r.status != 200 {
			t.Fatalf("%d %v %s", r.status, err, r.body)
		}
		if len(page.Items) > 7 {
			t.Errorf("a page of %d", len(page.Items))
		}
		for _, e := range page.Items {
			ids = append(ids, e.ID)
		}
		if page.NextAfter == after {
			break
		}
		after = page.NextAfter
	}
	var want []string
	for n := 1; n <= 30; n++ {
		if n%3 != 2 {
			want = append(want, fmt.Sprintf("1-%d", n))
		}
	}
	if diff := cmp.Diff(ids, want); diff != "" {
		t.Errorf("ids (-got +want):\n%s", diff)
	}
	r := s.do(ask{name: "of one command", path: commandPath + "/events?after=1-29"})
	if r.status != 200 || !strings.Contains(r.body, `{"items":[{"id":"1-30","type":"execution.succeeded","time":"2026-11-24T12:00:00.000Z","actor":"ann",`+
		`"command":"019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6071","device":"pump-7","data":{"n":30}}],"next_after":"1-30"}`) {
		t.Errorf("of one command: %d %s", r.status, r.body)
	}
}

func TestEventsThatAreAskedForWrongly(t *testing.T) {
	l := newLogbook()
	l.add("command.created")
	d := &desk{}
	s := serve(t, d, d, Options{Log: l})
	for path, want := range map[string]int{
		"/v1/events?after=1-1": 200, "/v1/events?after=7-0": 200, "/v1/events?after=1-2": 404, "/v1/events?after=2-1": 404,
		"/v1/events?after=x": 400, "/v1/events?after=1-": 400, "/v1/events?after=-1": 400, "/v1/events?after=9999999999-1": 400,
		"/v1/events?device=a%2Fb": 400, "/v1/events?command=x": 400, "/v1/events?page_size=0": 400, "/v1/events?type=": 400,
		"/v1/commands/019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6072/events": 404, commandPath + "/events?device=a": 400,
	} {
		if r := s.do(ask{name: path, path: path}); r.status != want {
			t.Errorf("%s: %d, want %d: %s", path, r.status, want, r.body)
		}
	}
	none := serve(t, d, d, Options{})
	if r := none.do(ask{name: "no log", path: "/v1/events"}); r.status != 404 {
		t.Errorf("without a log: %d", r.status)
	}
}

// A checkpoint is a line as it is kept, whatever writes the other answers.
func TestACheckpointIsAnsweredAsALine(t *testing.T) {
	l := newLogbook()
	s := serve(t, &desk{}, &desk{}, Options{Log: l})
	if r := s.do(ask{name: "of nothing", path: "/v1/checkpoint"}); r.status != 404 {
		t.Errorf("of nothing: %d %s", r.status, r.body)
	}
	l.add("command.created")
	r := s.do(ask{name: "of one event", path: "/v1/checkpoint"})
	line, ended := strings.CutSuffix(r.body, "\n")
	if c, err := command.ParseCheckpoint([]byte(line)); err != nil || !ended || r.status != 200 || c.At.N != 1 {
		t.Errorf("%d %q: %v", r.status, r.body, err)
	}
}

// reader reads a stream of server-sent events.
type reader struct {
	t      *testing.T
	body   io.Closer
	lines  *bufio.Scanner
	cancel func()
}

// follow opens a stream.
func (s *service) follow(path string, header map[string]string) *reader {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, "GET", s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.tokens["viewer"])
	req.Header.Set("Accept", "text/event-stream")
	for k, v := range header {
		req.Header[k] = []string{v}
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Cache-Control") != "no-store" {
		s.t.Fatalf("%s: %d %v", path, resp.StatusCode, resp.Header)
	}
	r := &reader{s.t, resp.Body, bufio.NewScanner(resp.Body), cancel}
	s.t.Cleanup(r.close)
	return r
}

func (r *reader) close() { r.cancel(); r.body.Close() }

// next is the next block that holds an event, as "id type".
func (r *reader) next() string {
	r.t.Helper()
	var id, kind, data string
	for r.lines.Scan() {
		name, value, _ := strings.Cut(r.lines.Text(), ": ")
		switch name {
		case "id":
			id = value
		case "event":
			kind = value
		case "data":
			data = value
		case "":
			if data != "" {
				var e Event
				if err := json.Unmarshal([]byte(data), &e); err != nil {
					r.t.Fatalf("%v: %s", err, data)
				}
				if kind != "reset" && (e.ID != id || e.Type != kind) {
					r.t.Errorf("event %s %s says it is %s %s", id, kind, e.ID, e.Type)
				}
				return id + " " + kind
			}
		}
	}
	return "end"
}

func TestAStreamTellsWhatHappensFromNowOn(t *testing.T) {
	l := newLogbook()
	l.add("command.created")
	d := &desk{}
	s := serve(t, d, d, Options{Log: l})
	r := s.follow("/v1/events", nil)
	l.add("execution.sent")
	l.add("execution.delivered", "execution.succeeded")
	for _, want := range []string{"1-2 execution.sent", "1-3 execution.delivered", "1-4 execution.succeeded"} {
		if got := r.next(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// However often a stream is broken off, its reader has each event once.
func TestAStreamGoesOnWhereItWasBrokenOff(t *testing.T) {
	l := newLogbook()
	d := &desk{}
	s := serve(t, d, d, Options{Log: l})
	const many = 1000
	go func() {
		for range many / 5 {
			l.add("a", "b", "c", "d", "e")
		}
	}()
	last, seen := "", 0
	header := map[string]string{}
	for seen < many {
		path := "/v1/events?after=1-0"
		if last != "" {
			header["Last-Event-Id"] = last
		}
		r := s.follow(path, header)
		for range min(37, many-seen) {
			got, _, _ := strings.Cut(r.next(), " ")
			seen++
			if want := fmt.Sprintf("1-%d", seen); got != want {
				t.Fatalf("got %s, want %s", got, want)
			}
			last = got
		}
		r.close()
	}
}

func TestAStreamSaysWhenItsPlaceIsGone(t *testing.T) {
	l := newLogbook()
	l.add("a", "b", "c")
	l.cut = 2
	d := &desk{}
	s := serve(t, d, d, Options{Log: l})
	for name, lastID := range map[string]string{"another epoch": "2-1", "cut": "1-1", "not yet": "1-9"} {
		l.mu.Lock()
		end := len(l.events)
		l.mu.Unlock()
		r := s.follow("/v1/events", map[string]string{"Last-Event-Id": lastID})
		if got, want := r.next(), fmt.Sprintf("1-%d reset", end); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
		l.add("d")
		if got, want := r.next(), fmt.Sprintf("1-%d d", end+1); got != want {
			t.Errorf("%s: then got %s, want %s", name, got, want)
		}
		r.close()
	}
}

func TestAStreamEnds(t *testing.T) {
	for name, end := range map[string]func(*service, *logbook){
		"when its token is revoked": func(s *service, l *logbook) {
			token, _ := access.ParseToken(s.tokens["viewer"])
			s.keeper.Revoke(token.ID)
			l.add("secret")
		},
		"when the server shuts down": func(s *service, _ *logbook) { s.stop() },
		"when the log fails": func(_ *service, l *logbook) {
			l.mu.Lock()
			l.broken = command.Errorf(command.CodeUnavailable, "the store is down")
			l.mu.Unlock()
			l.add("lost")
		},
	} {
		l := newLogbook()
		d := &desk{}
		s := serve(t, d, d, Options{Log: l})
		r := s.follow("/v1/events", nil)
		l.add("first")
		if got := r.next(); got != "1-1 first" {
			t.Errorf("%s: got %s", name, got)
		}
		end(s, l)
		if got := r.next(); got != "end" {
			t.Errorf("%s: it went on with %s", name, got)
		}
	}
}

// Where people were is for who answers for all of them.
func TestOnlyAnAdministratorSeesWhereAnActorWas(t *testing.T) {
	l := newLogbook()
	l.add("device.edited")
	s := serve(t, &desk{}, &desk{}, Options{Log: l})
	for as, want := range map[string]bool{"viewer": false, "operator": false, "approver": false, "admin": true} {
		if r := s.do(ask{name: as, as: as, path: "/v1/events"}); r.status != 200 || strings.Contains(r.body, `"from":"192.0.2.7"`) != want {
			t.Errorf("%s: %d %s", as, r.status, r.body)
		}
		r := s.follow("/v1/events", map[string]string{"Last-Event-ID": "1-0", "Authorization": "Bearer " + s.tokens[as]})
		for r.lines.Scan() && !strings.HasPrefix(r.lines.Text(), "data:") {
		}
		if got := r.lines.Text(); got == "" || strings.Contains(got, "192.0.2.7") != want {
			t.Errorf("%s's stream: %q", as, got)
		}
		r.close()
	}
}

func TestStreamsAreBounded(t *testing.T) {
	l := newLogbook()
	d := &desk{}
	s := serve(t, d, d, Options{Log: l, StreamsMax: 1})
	r := s.follow("/v1/events", nil)
	stream := map[string]string{"Accept": "text/event-stream"}
	if r := s.do(ask{name: "one too many", path: "/v1/events", header: stream}); r.status != 429 || r.header.Get("Retry-After") != "5" {
		t.Errorf("one too many: %d %s", r.status, r.body)
	}
	if r := s.do(ask{name: "a page", path: "/v1/events"}); r.status != 200 {
		t.Errorf("pages need no place: %d", r.status)
	}
	r.close()
	for deadline := time.Now().Add(10 * time.Second); !s.srv.streams.take("nobody"); { // free when the server notices
		if time.Now().After(deadline) {
			t.Fatal("the place of a stream that ended did not come free")
		}
		runtime.Gosched()
	}
	s.srv.streams.leave("nobody")
	s.follow("/v1/events", nil)
}

func TestWhoAcceptsAStream(t *testing.T) {
	for accept, want := range map[string]bool{
		"text/event-stream": true, "application/json, text/event-stream;q=0.5": true, "": false, "*/*": false,
		"application/json": false, "text/event-stream;q=0": false, "text/*": false, ",;": false,
	} {
		if got := acceptsStream([]string{accept}); got != want {
			t.Errorf("Accept: %s is %v, want %v", accept, got, want)
		}
	}
}

// deadlined is a connection whose writes fail past their deadline.
type deadlined struct {
	header   http.Header
	deadline time.Time
	written  int
}

func (d *deadlined) Header() http.Header                   { return d.header }
func (d *deadlined) WriteHeader(int)                       {}
func (d *deadlined) Flush()                                {}
func (d *deadlined) SetWriteDeadline(when time.Time) error { d.deadline = when; return nil }
func (d *deadlined) Write(b []byte) (int, error) {
	if time.Now().After(d.deadline) {
		return 0, os.ErrDeadlineExceeded
	}
	d.written++
	return len(b), nil
}

// A stream that was silent for long writes under a new deadline, from the
// first byte on; one whose reader does not read ends.
func TestEachWriteOfAStreamHasItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &deadlined{header: make(http.Header)}
		out := &sse{w: w, rc: http.NewResponseController(w)}
		for range 3 {
			out.event(Place{Epoch: 1, N: 1}, "a", nil)
			out.event(Place{Epoch: 1, N: 2}, "b", nil)
			out.flush()
			time.Sleep(time.Hour)
		}
		if out.err != nil || w.written != 6 {
			t.Errorf("%d blocks were written: %v", w.written, out.err)
		}
		out.block("id: 1-3")
		time.Sleep(streamWrite + time.Second) // the buffer did not empty
		out.block("id: 1-4")
		out.block("id: 1-5")
		if !errors.Is(out.err, os.ErrDeadlineExceeded) || w.written != 7 {
			t.Errorf("%d blocks were written: %v", w.written, out.err)
		}
	})
}

// A busy log is looked at ten times a second by each stream, a quiet one at
// once.
func TestABusyLogIsNotLookedAtForEachCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := bare(t, &desk{})
		s := &stream{h: handlers{srv}, ctx: t.Context()}
		began := time.Now()
		s.pause()
		if took := time.Since(began); took != 0 {
			t.Errorf("the first look waits %s", took)
		}
		for range 10 {
			s.pause()
		}
		if took := time.Since(began); took != 10*streamPause {
			t.Errorf("eleven looks took %s", took)
		}
		time.Sleep(time.Minute)
		began = time.Now()
		s.pause()
		if took := time.Since(began); took != 0 {
			t.Errorf("after a quiet minute it waits %s", took)
		}
	})
}
