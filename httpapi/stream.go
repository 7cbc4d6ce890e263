package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"behest/command"
)

// How a stream behaves.
const (
	streamBeat   = 15 * time.Second       // proxies and NATs forget connections that are silent for a minute
	streamWrite  = 10 * time.Second       // a client that takes longer to read comes back for the rest
	streamRetry  = 2 * time.Second        // and waits this long first
	streamEvents = 200                    // events between two looks at who is asking
	streamPause  = 100 * time.Millisecond // between two looks into a busy log: a thousand streams are 10,000 looks a second
)

// stream answers with server-sent events until the client goes, the server
// shuts down, or the token is no longer good.
//
// It is a loop that looks, writes and waits, and holds nothing but its place:
// what is told was read from the log after its commit, so a stream that is
// broken off anywhere goes on from the last id that the client saw.
type stream struct {
	h     handlers
	ctx   context.Context
	query eventQuery
	at    Place
	reset *Place // the place that the log does not have, if that was asked for
	told  Place  // the last id that was written

	paused time.Time // when it last looked after a change
}

func (h handlers) stream(ctx context.Context, q eventQuery) (eventAnswer, error) {
	s := &stream{h: h, ctx: ctx, query: q}
	if q.after == nil {
		end, err := h.events.End(ctx)
		s.at = end
		return s, err
	}
	s.at = *q.after
	if _, _, err := h.events.Events(ctx, s.at, EventFilter{}, 1); err != nil {
		if command.CodeOf(err) != command.CodeNotFound {
			return nil, err
		}
		s.reset = q.after
		if s.at, err = h.events.End(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *stream) VisitListEventsResponse(w http.ResponseWriter) error        { return s.serve(w) }
func (s *stream) VisitListCommandEventsResponse(w http.ResponseWriter) error { return s.serve(w) }

// serve writes the stream. Its end is no error: the client comes back.
func (s *stream) serve(w http.ResponseWriter) error {
	user := userOf(s.ctx)
	if !s.h.streams.take(user) {
		return &command.Error{Code: command.CodeTooMany, Msg: "too many event streams are open", RetryAfter: retryWait}
	}
	defer s.h.streams.leave(user)
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	out := &sse{w: w, rc: http.NewResponseController(w)}
	out.block("retry: %d", streamRetry.Milliseconds())
	if s.reset != nil {
		out.event(s.at, "reset", map[string]string{"unknown": s.reset.String()})
		s.told = s.at
	}
	out.flush()
	beat := time.NewTicker(streamBeat)
	defer beat.Stop()
	for out.err == nil {
		changed, people := s.h.events.Changed(), s.h.people.Changed() // before looking, so that nothing is missed
		ends, may := s.mayGoOn()
		if !may {
			return nil
		}
		more, err := s.tell(out)
		switch {
		case err != nil:
			s.h.log.InfoContext(s.ctx, "event stream broken off", "request_id", requestID(s.ctx), "err", err)
			return nil
		case more:
			continue
		}
		select {
		case <-changed:
			s.pause() // what follows closely is told together
		case <-beat.C:
			s.beat(out)
		case <-people:
		case <-ends:
		case <-s.ctx.Done():
		case <-s.h.closing.Done():
		}
	}
	return nil
}

// pause lets a busy log grow for a moment.
func (s *stream) pause() {
	if s.paused.IsZero() || time.Since(s.paused) > streamPause { // it was not busy
		s.paused = time.Now()
		return
	}
	select {
	case <-time.After(streamPause):
	case <-s.ctx.Done():
	case <-s.h.closing.Done():
	}
	s.paused = time.Now()
}

// tell writes what the log has after the stream's place, up to a bound, and
// answers whether there may be more.
func (s *stream) tell(out *sse) (more bool, err error) {
	events, next, err := s.h.events.Events(s.ctx, s.at, s.query.filter, streamEvents)
	if err != nil {
		return false, err
	}
	for _, e := range events {
		s.told = Place{Epoch: e.Epoch, N: e.N}
		out.event(s.told, string(e.Type), viewEvent(s.ctx, e))
	}
	if len(events) > 0 {
		out.flush()
	}
	more = next != s.at
	s.at = next
	return more, nil
}

// beat keeps the connection alive, and the client's place near the log's end,
// also when the filter lets nothing through for days.
func (s *stream) beat(out *sse) {
	if s.at != s.told {
		out.block("id: %s", s.at)
		s.told = s.at
	} else {
		out.block(":")
	}
	out.flush()
}

// mayGoOn asks again who is asking, and what he sees: a token that was revoked
// sees no event more. ends is when the token expires.
func (s *stream) mayGoOn() (ends <-chan time.Time, may bool) {
	who, err := s.h.identity(aboutOf(s.ctx).echo.Request())
	if err != nil || s.h.closing.Err() != nil || s.ctx.Err() != nil {
		return nil, false
	}
	aboutOf(s.ctx).who = who // he may be less than he was
	s.query.filter.Sees = s.h.people.Sees(who.User)
	if !who.ExpiresAt.IsZero() {
		ends = time.After(max(streamPause, who.ExpiresAt.Sub(s.h.now())))
	}
	return ends, true
}

// sse writes server-sent events. After its first error it writes no more.
type sse struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	writing bool // since the last flush; the write deadline stands
	err     error
}

func (o *sse) block(format string, args ...any) {
	if o.err == nil && !o.writing {
		// Before the first byte: a buffer that runs full is written at once, and
		// the deadline of the last time is over by now.
		o.err = o.rc.SetWriteDeadline(time.Now().Add(streamWrite))
		o.writing = true
	}
	if o.err == nil {
		_, o.err = fmt.Fprintf(o.w, format+"\n\n", args...)
	}
}

// event writes one event. JSON holds no line break, so data is one line.
func (o *sse) event(id Place, kind string, data any) {
	b, err := json.Marshal(data)
	if err != nil {
		o.err = err
		return
	}
	o.block("id: %s\nevent: %s\ndata: %s", id, kind, b)
}

// flush sends what was written.
func (o *sse) flush() {
	if o.err == nil {
		o.err = o.rc.Flush()
	}
	o.writing = false
}
