package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Fate is how a call ended.
type Fate uint8

// The fates.
const (
	Unknown   Fate = iota // it may have been done
	Done                  // it was done, and is on disk
	Refused               // it was not done: the server said so
	Unreached             // it was not done: the request never left
)

func (f Fate) String() string {
	return [...]string{"unknown", "done", "refused", "unreached"}[f]
}

// Refusal is the server's word on why nothing was done.
type Refusal struct {
	Status int
	Code   string
	Detail string
}

func (r *Refusal) Error() string { return fmt.Sprintf("%d %s: %s", r.Status, r.Code, r.Detail) }

// Is reports whether err is a refusal with this status.
func Is(err error, status int) bool {
	var r *Refusal
	return errors.As(err, &r) && r.Status == status
}

// outcomeUnknown is the code of a 503 after which it may have been done.
const outcomeUnknown = "outcome_unknown"

// answerWithin bounds a call that does not wait for anything: far more than a
// loaded machine takes, and not for ever.
const answerWithin = 30 * time.Second

// Client calls one server. Its methods may be called from any goroutine.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// New makes a client that keeps up to connections open.
func New(addr, token string, connections int) *Client {
	return &Client{
		base: "http://" + addr, token: token,
		http: &http.Client{Transport: &http.Transport{
			MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections, DisableCompression: true,
		}},
	}
}

// Close drops the connections that are idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// call is one request, and into is where its answer goes. The error of a fate
// other than Done says more.
func (c *Client) call(ctx context.Context, method, path string, header http.Header, body, into any) (Fate, error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return Unreached, err
		}
		content = bytes.NewReader(b)
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin+time.Minute) // what waits, waits a minute at most
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return Unreached, err
	}
	for name, values := range header {
		r.Header[name] = values
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return fateOf(err), err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		return Unknown, err // cut short: what it would have said is not known
	}
	if answer.StatusCode/100 != 2 {
		return refused(answer.StatusCode, b)
	}
	if into == nil {
		return Done, nil
	}
	if err := json.Unmarshal(b, into); err != nil {
		return Done, fmt.Errorf("%s %s: %w in %.200s", method, path, err, b)
	}
	return Done, nil
}

// fateOf tells a connection that was never made from one that broke.
func fateOf(err error) Fate {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return Unreached
	}
	return Unknown
}

func refused(status int, body []byte) (Fate, error) {
	p := &Refusal{Status: status}
	if err := json.Unmarshal(body, p); err != nil {
		return Unknown, fmt.Errorf("%d without a problem: %.200s", status, body)
	}
	if p.Code == outcomeUnknown || status == http.StatusInternalServerError {
		return Unknown, p
	}
	return Refused, p
}

// Issue asks for a command. With a key the same request may be sent again. With
// wait, the answer comes when the command has ended, or after so long.
func (c *Client) Issue(ctx context.Context, in Intent, key string, wait time.Duration) (Command, Fate, error) {
	path, header := "/v1/commands", http.Header{}
	if key != "" {
		header.Set("Idempotency-Key", key)
	}
	if wait > 0 {
		path += "?wait_seconds=" + strconv.Itoa(int(wait/time.Second))
	}
	var out Command
	fate, err := c.call(ctx, http.MethodPost, path, header, in, &out)
	return out, fate, err
}

// Batch asks for many commands at once.
func (c *Client) Batch(ctx context.Context, ins []Intent) ([]Result, Fate, error) {
	var out struct{ Results []Result }
	fate, err := c.call(ctx, http.MethodPost, "/v1/commands/batch", nil, map[string]any{"commands": ins}, &out)
	return out.Results, fate, err
}

// Cancel asks to stop a command.
func (c *Client) Cancel(ctx context.Context, id string) (Command, Fate, error) {
	var out Command
	fate, err := c.call(ctx, http.MethodPost, "/v1/commands/"+id+"/cancel", nil, nil, &out)
	return out, fate, err
}

// Command reads a command.
func (c *Client) Command(ctx context.Context, id string) (Command, error) {
	var out Command
	_, err := c.call(ctx, http.MethodGet, "/v1/commands/"+id, nil, nil, &out)
	return out, err
}

// Execution reads a command on one device, with all its reports.
func (c *Client) Execution(ctx context.Context, id, device string) (Execution, error) {
	var out Execution
	_, err := c.call(ctx, http.MethodGet, "/v1/commands/"+id+"/executions/"+url.PathEscape(device), nil, nil, &out)
	return out, err
}

// Device reads a device.
func (c *Client) Device(ctx context.Context, name string) (Device, error) {
	var out Device
	_, err := c.call(ctx, http.MethodGet, "/v1/devices/"+url.PathEscape(name), nil, nil, &out)
	return out, err
}

// Commands reads every command, the newest first.
func (c *Client) Commands(ctx context.Context, each func(Command) error) error {
	return pages(ctx, c, "/v1/commands", each)
}

// Executions reads every execution of a command.
func (c *Client) Executions(ctx context.Context, id string, each func(Execution) error) error {
	return pages(ctx, c, "/v1/commands/"+id+"/executions", each)
}

// Devices reads every device.
func (c *Client) Devices(ctx context.Context, each func(Device) error) error {
	return pages(ctx, c, "/v1/devices", each)
}

// pageSize is the most that the server gives at once.
const pageSize = "500"

// pages reads a list to its end.
func pages[T any](ctx context.Context, c *Client, path string, each func(T) error) error {
	for query := (url.Values{"page_size": {pageSize}}); ; {
		var page struct {
			Items []T
			Next  string `json:"next_page_token"`
		}
		if _, err := c.call(ctx, http.MethodGet, path+"?"+query.Encode(), nil, nil, &page); err != nil {
			return err
		}
		for _, item := range page.Items {
			if err := each(item); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		query.Set("page_token", page.Next)
	}
}
