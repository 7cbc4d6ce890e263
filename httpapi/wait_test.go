package httpapi

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"behest/command"
)

// Shutting down is no reason to leave somebody without an answer.
func TestWaitsAreAnsweredAtShutdown(t *testing.T) {
	waiting := make(chan struct{}, 2)
	d := &desk{wait: func(ctx context.Context, _ command.ID) (command.View, error) {
		waiting <- struct{}{}
		<-ctx.Done()
		return pumpCommand(command.Delivered), nil
	}}
	s := serve(t, d, d, Options{})
	var wg sync.WaitGroup
	wg.Go(func() {
		r := s.do(ask{name: "look", path: commandPath + "?wait_seconds=60"})
		if r.status != 200 || !strings.Contains(r.body, `"state":"delivered"`) {
			t.Errorf("got %d %s", r.status, r.body)
		}
	})
	wg.Go(func() {
		r := s.do(ask{name: "issue", path: "/v1/commands?wait_seconds=60", body: anIntent})
		if r.status != 201 || !strings.Contains(r.body, `"state":"delivered"`) {
			t.Errorf("got %d %s", r.status, r.body)
		}
	})
	<-waiting
	<-waiting
	s.stop() // fails the test if it does not drain
	wg.Wait()
}

func TestWaitsEndWithTheirTime(t *testing.T) {
	var limit time.Duration
	d := &desk{wait: func(ctx context.Context, _ command.ID) (command.View, error) {
		deadline, _ := ctx.Deadline()
		limit = time.Until(deadline)
		<-ctx.Done()
		return pumpCommand(command.Sent), nil
	}}
	s := serve(t, d, d, Options{})
	r := s.do(ask{name: "look", path: commandPath + "?wait_seconds=1"})
	if r.status != 200 || !strings.Contains(r.body, `"state":"sent"`) || limit > time.Second {
		t.Errorf("got %d %s, within %s", r.status, r.body, limit)
	}
}

func TestWaitsEndWhenTheClientGoes(t *testing.T) {
	waiting, gone := make(chan struct{}), make(chan struct{})
	d := &desk{wait: func(ctx context.Context, _ command.ID) (command.View, error) {
		close(waiting)
		<-ctx.Done()
		close(gone)
		return pumpCommand(command.Sent), nil
	}}
	s := serve(t, d, d, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-waiting; cancel() }()
	req, err := http.NewRequestWithContext(ctx, "GET", s.url+commandPath+"?wait_seconds=60", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.tokens["viewer"])
	if resp, err := s.client.Do(req); err == nil {
		resp.Body.Close()
		t.Error("an answer came to who had gone")
	}
	<-gone
}

// A command that was accepted is answered with 201, whatever becomes of the
// wait: the client must not believe that nothing happened.
func TestAFailedWaitHidesNoAcceptedCommand(t *testing.T) {
	d := &desk{wait: func(context.Context, command.ID) (command.View, error) {
		return command.View{}, command.Errorf(command.CodeUnavailable, "the store is down")
	}}
	s := serve(t, d, d, Options{})
	r := s.do(ask{name: "issue", path: "/v1/commands?wait_seconds=60", body: anIntent})
	if r.status != 201 || !strings.Contains(r.body, `"state":"queued"`) {
		t.Errorf("got %d %s", r.status, r.body)
	}
}

// Who cannot wait is told before the command is accepted, not after.
func TestWaitersAreBounded(t *testing.T) {
	waiting, end := make(chan struct{}), make(chan struct{})
	issued := 0
	d := &desk{
		wait: func(context.Context, command.ID) (command.View, error) {
			close(waiting)
			<-end
			return pumpCommand(command.Succeeded), nil
		},
		issue: func(context.Context, command.Intent) (command.Issued, error) {
			issued++
			return command.Issued{View: pumpCommand(command.Queued)}, nil
		},
	}
	s := serve(t, d, d, Options{WaitersMax: 1})
	var wg sync.WaitGroup
	wg.Go(func() { s.do(ask{name: "the one", path: commandPath + "?wait_seconds=60"}) })
	<-waiting
	for _, a := range []ask{
		{name: "look", path: commandPath + "?wait_seconds=1"},
		{name: "issue", path: "/v1/commands?wait_seconds=1", body: anIntent},
	} {
		if r := s.do(a); r.status != 429 || r.header.Get("Retry-After") != "5" || !strings.Contains(r.body, "too_many") {
			t.Errorf("%s: %d %s", a.name, r.status, r.body)
		}
	}
	if issued != 0 {
		t.Error("a command was accepted whose issuer was told no")
	}
	if r := s.do(ask{name: "without a wait", path: "/v1/commands?wait_seconds=0", body: anIntent}); r.status != 201 {
		t.Errorf("without a wait: %d", r.status)
	}
	close(end)
	wg.Wait()
}

// A load balancer hears of it while the last answers are still being written.
func TestNotReadyWhileShuttingDown(t *testing.T) {
	srv := bare(t, &desk{})
	srv.close()
	if _, err := (handlers{srv}).GetReady(t.Context(), GetReadyRequestObject{}); command.CodeOf(err) != command.CodeUnavailable {
		t.Errorf("got %v", err)
	}
}
