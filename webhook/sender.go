package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"behest/command"
)

// timeLayout is the API's: RFC 3339, UTC, milliseconds.
const timeLayout = "2006-01-02T15:04:05.000Z"

// message is what a receiver reads.
type message struct {
	Type      command.EventType `json:"type"`
	Timestamp string            `json:"timestamp"` // of the event, not of the attempt
	Data      fact              `json:"data"`
}

// fact is an event as the API shows it, except for what is beside it.
type fact struct {
	ID      string          `json:"id"`
	Actor   string          `json:"actor,omitempty"`
	Command string          `json:"command,omitempty"`
	Device  string          `json:"device,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
}

func messageOf(e command.Event) message {
	m := message{
		Type: e.Type, Timestamp: e.At.UTC().Format(timeLayout),
		Data: fact{ID: idOf(e).String(), Actor: e.Actor, Device: e.Name, Data: e.Data},
	}
	if e.Command != (command.ID{}) {
		m.Data.Command = e.Command.String()
	}
	return m
}

func idOf(e command.Event) command.Place { return command.Place{Epoch: e.Epoch, N: e.N} }

// answer is what came of an attempt.
type answer struct {
	made   bool          // the attempt was, and to its end
	status int           // 0: there was no answer
	fault  string        // empty: the hook took it
	after  time.Duration // it wishes not to be asked again before
}

// sender sends to one hook, as it was when the sender was made: connections
// outlive no change of what a hook may connect to.
type sender struct {
	hook    command.Hook
	key     Key
	timeout time.Duration
	overlap time.Duration
	client  http.Client
}

func newSender(h command.Hook, k Key, o *Options) *sender {
	dialer := &net.Dialer{Timeout: o.Timeout, Resolver: o.Resolver, Control: guardOf(h.URL, h.AllowPrivate).control}
	return &sender{hook: h, key: k, timeout: o.Timeout, overlap: o.Overlap, client: http.Client{
		Transport: &http.Transport{
			Proxy:                  nil, // one from the environment would connect where the dialer may not
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:      true,
			DisableCompression:     true,
			MaxConnsPerHost:        o.InFlight,
			MaxIdleConnsPerHost:    o.InFlight,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: answerHeadBytesMax,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (s *sender) close() { s.client.CloseIdleConnections() }

// send makes one attempt to deliver e. When ctx ends first, it was none.
func (s *sender) send(ctx context.Context, e command.Event) answer {
	within, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	req, err := s.request(within, e)
	if err != nil {
		return answer{made: true, fault: clip(err.Error())}
	}
	res, err := s.client.Do(req)
	switch {
	case err != nil && ctx.Err() != nil:
		return answer{}
	case err != nil:
		return answer{made: true, fault: faultOf(err)}
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, answerBytesMax)) // its status was the answer
	a := answer{made: true, status: res.StatusCode}
	if a.status < 200 || a.status > 299 {
		a.fault = fmt.Sprintf("answered %d", a.status)
		a.after = retryAfter(res.Header.Get("Retry-After"), time.Now())
	}
	return a
}

func (s *sender) request(ctx context.Context, e command.Event) (*http.Request, error) {
	body, err := json.Marshal(messageOf(e))
	if err != nil {
		return nil, fmt.Errorf("write the message: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.hook.URL, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	req.Header, err = s.key.headers(&s.hook, idOf(e).String(), body, time.Now(), s.overlap)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Behest")
	return req, nil
}

// faultOf says why there was no answer, without the URL, whose query may be
// as good as a password.
func faultOf(err error) string {
	var refused refusal
	var timeout net.Error
	var outer *url.Error
	switch {
	case errors.As(err, &refused):
		return clip(refused.Error())
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.As(err, &outer):
		err = outer.Err
	}
	return clip("no answer: " + err.Error())
}

// clip cuts a text for the delivery log.
func clip(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), command.HookErrorBytesMax)], "")
}

// retryAfter reads what RFC 9110 10.2.3 allows: seconds or a date.
func retryAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(text); err == nil {
		return time.Duration(min(max(n, 0), int(retryAfterMax/time.Second))) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), retryAfterMax)
}
