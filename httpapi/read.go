package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"behest/command"
)

// Limits of a body, by route. What has none here takes no body.
const (
	commandBodyMax = 8 << 20   // 100,000 targets with names of 63 bytes, and params of 64 KiB
	batchBodyMax   = 8 << 20   // 1,000 commands of 8 KiB
	cancelBodyMax  = 256 << 10 // 500 names, each character escaped
	decideBodyMax  = 16 << 10  // a comment, or a selector
	userBodyMax    = 256 << 10 // 16 grants with 16 groups and a selector each
	editBodyMax    = 64 << 10  // 32 labels, each character escaped
	hookBodyMax    = 32 << 10  // a URL of 2 KiB and 64 types, each character escaped
	typeBodyMax    = 512 << 10 // two schemas of 64 KiB, indented or escaped
	importBodyMax  = 512 << 20 // a million lines of 512 bytes; nobody keeps more than one of them
)

var bodyMax = map[string]int64{
	"POST /v1/credentials/import":           importBodyMax,
	"POST /v1/devices/{device}/credentials": decideBodyMax,
	"POST /v1/commands":                     commandBodyMax,
	"POST /v1/commands/batch":               batchBodyMax,
	"POST /v1/commands/preview":             commandBodyMax,
	"POST /v1/commands/{id}/cancel":         cancelBodyMax,
	"POST /v1/commands/{id}/approve":        decideBodyMax,
	"POST /v1/commands/{id}/deny":           decideBodyMax,
	"POST /v1/commands/{id}/rollback":       cancelBodyMax,
	"PUT /v1/groups/{name}":                 decideBodyMax,
	"PUT /v1/users/{id}":                    userBodyMax,
	"POST /v1/users/{id}/tokens":            decideBodyMax,
	"PUT /v1/devices/{device}":              editBodyMax,
	"PATCH /v1/devices/{device}":            editBodyMax,
	"PUT /v1/types/{name}":                  typeBodyMax,
	"PUT /v1/webhooks/{id}":                 hookBodyMax,
}

// bodyWithin is how long a body may take to arrive: 8 MiB at 2 Mbit/s.
const bodyWithin = 30 * time.Second

// readBody reads the body of a request whole, and refuses early what is too long
// or of another kind. Nil: there is none.
func (rt *route) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength == 0 {
		return nil, rt.missing()
	}
	limit := bodyMax[rt.pattern]
	if limit == 0 {
		w.Header().Set("Connection", "close") // rather than to read it
		return nil, malformed(command.Field{Detail: "this request takes no body"})
	}
	if err := jsonOnly(r.Header.Values("Content-Type")); err != nil {
		return nil, err
	}
	if r.ContentLength > limit {
		w.Header().Set("Connection", "close")
		return nil, tooLarge(limit)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		return nil, unread(err, limit)
	}
	// From now on the connection only waits for the client to go away, and
	// that has no deadline.
	if err := setReadDeadline(http.NewResponseController(w), time.Time{}); err != nil {
		return nil, err
	}
	if len(body) == 0 { // a chunked body of nothing
		return nil, rt.missing()
	}
	return body, nil
}

// streamed reports whether the body is lines, which the handler reads as they
// come.
func (rt *route) streamed() bool {
	return rt.op.RequestBody != nil && rt.op.RequestBody.Value.Content["*/*"] != nil
}

// readOn leaves the body to the handler, and only sees to its bounds.
func (s *Server) readOn(next echo.HandlerFunc, rt *route, c echo.Context) error {
	r, limit := c.Request(), bodyMax[rt.pattern]
	if r.ContentLength == 0 {
		return malformed(command.Field{Detail: "is empty; lines are expected"})
	}
	if r.ContentLength > limit {
		c.Response().Header().Set("Connection", "close")
		return tooLarge(limit)
	}
	if faults := rt.faults(c, false, nil); len(faults) > 0 {
		return malformed(faults...)
	}
	r.Body = http.MaxBytesReader(c.Response(), r.Body, limit)
	return next(c)
}

// setReadDeadline bounds reading, where there is a connection to bound.
func setReadDeadline(rc *http.ResponseController, when time.Time) error {
	if err := rc.SetReadDeadline(when); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("set the deadline of a body: %w", err)
	}
	return nil
}

func (rt *route) missing() error {
	if rt.op.RequestBody == nil || !rt.op.RequestBody.Value.Required {
		return nil
	}
	return malformed(command.Field{Detail: "is empty; a JSON object is expected"})
}

func tooLarge(limit int64) error {
	return command.Errorf(command.CodeTooLarge, "the body is over %d bytes", limit)
}

// unread says why a body could not be read.
func unread(err error, limit int64) error {
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return tooLarge(limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return malformed(command.Field{Detail: fmt.Sprintf("did not arrive within %s", bodyWithin)})
	}
	return malformed(command.Field{Detail: "ended before it was whole"})
}

// jsonOnly refuses every content type but JSON in UTF-8.
func jsonOnly(types []string) error {
	if kind := mediaOf(types); kind == "application/json" {
		return nil
	}
	return command.Errorf(command.CodeMediaType, "send Content-Type: application/json, in UTF-8")
}

// mediaOf is the content type of a body in UTF-8; empty: it has none that can
// be read, or another charset.
func mediaOf(types []string) string {
	if len(types) != 1 {
		return ""
	}
	kind, params, err := mime.ParseMediaType(types[0])
	charset, said := params["charset"]
	if err != nil || said && !strings.EqualFold(charset, "utf-8") {
		return ""
	}
	return kind
}

// read takes in the body, strictly, and leaves it to the handlers as it came.
func (s *Server) read(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		rt, ok := s.routes[routeKey(c)]
		if !ok {
			return next(c)
		}
		if rt.streamed() {
			return s.readOn(next, rt, c)
		}
		r := c.Request()
		body, err := rt.readBody(c.Response(), r)
		if err != nil {
			return err
		}
		var value any
		var faults []command.Field
		if body != nil {
			value, faults = strict(body)
		}
		if value == nil && len(faults) > 0 {
			return malformed(faults...)
		}
		faults = append(faults, rt.faults(c, body != nil, value)...)
		if len(faults) > 0 {
			return malformed(faults...)
		}
		if r.Header.Get(idempotencyKey) != "" {
			aboutOf(r.Context()).asked = digestOfRequest(value)
		}
		if body != nil { // as the generated code looks for it
			r.Header.Set("Content-Type", "application/json")
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		return next(c)
	}
}
