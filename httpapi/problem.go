package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"behest/command"
)

const (
	problemType   = "urn:behest:problem:" // and the code
	faultsMax     = 32                    // who reads 32 has enough to do
	retryAfterMin = time.Second           // the header counts in seconds, and 0 invites a storm
)

// codeMethod is the one refusal that only HTTP knows.
const codeMethod command.Code = "method_not_allowed"

// kind is how a code looks from outside.
type kind struct {
	status int
	title  string
}

var kinds = map[command.Code]kind{
	command.CodeMalformed:       {http.StatusBadRequest, "The request is malformed"},
	command.CodeInvalid:         {http.StatusUnprocessableEntity, "A value cannot be accepted"},
	command.CodeUnknownDevice:   {http.StatusUnprocessableEntity, "A device is not known"},
	command.CodeUnauthenticated: {http.StatusUnauthorized, "A valid token is needed"},
	command.CodeForbidden:       {http.StatusForbidden, "The user may not do this"},
	command.CodeNotFound:        {http.StatusNotFound, "There is no such thing"},
	codeMethod:                  {http.StatusMethodNotAllowed, "The method is not served here"},
	command.CodeConflict:        {http.StatusConflict, "The present state does not allow it"},
	command.CodeContradiction:   {http.StatusConflict, "It contradicts a settled outcome"},
	command.CodePrecondition:    {http.StatusPreconditionFailed, "It was changed meanwhile"},
	command.CodeDeviceFull:      {http.StatusTooManyRequests, "The device takes no more"},
	command.CodeTooLarge:        {http.StatusRequestEntityTooLarge, "The request is too large"},
	command.CodeMediaType:       {http.StatusUnsupportedMediaType, "The content type is not spoken here"},
	command.CodeTooMany:         {http.StatusTooManyRequests, "Too many requests"},
	command.CodeUnavailable:     {http.StatusServiceUnavailable, "Not now; nothing was done"},
	command.CodeOutcomeUnknown:  {http.StatusServiceUnavailable, "It may or may not have been done"},
	command.CodeInternal:        {http.StatusInternalServerError, "A fault of the server"},
}

// statusOf is the status that a code is answered with.
func statusOf(c command.Code) int {
	if k, ok := kinds[c]; ok {
		return k.status
	}
	return http.StatusInternalServerError
}

// standing is a refusal that comes with the command as it stands.
type standing struct {
	error
	view command.View
}

func (s standing) Unwrap() error { return s.error }

// malformed is the refusal of a request for its shape.
func malformed(faults ...command.Field) *command.Error {
	n := "a fault"
	if len(faults) > 1 {
		n = fmt.Sprintf("%d faults", len(faults))
	}
	return &command.Error{Code: command.CodeMalformed, Msg: n + " in the request", Fields: faults}
}

// refuse answers a request with the problem that err is. It is the only place
// where an error becomes an answer.
func (s *Server) refuse(err error, c echo.Context) {
	w, r := c.Response(), c.Request()
	e := s.refusal(err, c)
	id := requestID(r.Context())
	status := statusOf(e.Code)
	if status == http.StatusInternalServerError {
		s.log.LogAttrs(r.Context(), slog.LevelError, "request failed", slog.String("request_id", id), slog.Any("err", err))
	}
	if w.Committed {
		return // the answer has begun; the log is all that is left
	}
	p := problemOf(e, r.URL.Path, id)
	if st := (standing{}); errors.As(err, &st) && st.view.Command != nil {
		p.Command = new(viewCommand(st.view))
	}
	h := w.Header()
	switch status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", challenge(r, e.Msg))
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", retryAfter(e.RetryAfter))
	}
	h.Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(p); err != nil {
		s.log.LogAttrs(r.Context(), slog.LevelDebug, "answer not written", slog.String("request_id", id), slog.Any("err", err))
	}
}

// challenge asks for a token, and tells who sent one why that did not do. why
// is ours, and a quoted string as it is [RFC 6750 3].
func challenge(r *http.Request, why string) string {
	const realm = `Bearer realm="behest"`
	if _, ok := bearer(r); !ok {
		return realm
	}
	return realm + `, error="invalid_token", error_description="` + why + `"`
}

// refusal is err as an error with a code.
func (s *Server) refusal(err error, c echo.Context) *command.Error {
	var known *command.Error
	var http405or404 *echo.HTTPError
	var wrongType *json.UnmarshalTypeError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &wrongType):
		pointer := "/" + strings.ReplaceAll(wrongType.Field, ".", "/")
		return malformed(command.Field{Pointer: pointer, Detail: "a " + wrongType.Value + " does not fit here"})
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &command.Error{Code: command.CodeUnavailable, Msg: "the answer did not come in time", Err: err}
	case !errors.As(err, &http405or404):
	case http405or404.Code == http.StatusNotFound:
		return command.Errorf(command.CodeNotFound, "nothing is served at this path")
	case http405or404.Code == http.StatusMethodNotAllowed:
		allow := allowed(c.Response().Header().Get("Allow"))
		c.Response().Header().Set("Allow", allow)
		return command.Errorf(codeMethod, "%s is not served here; %s is", c.Request().Method, allow)
	case http405or404.Code == http.StatusBadRequest:
		return &command.Error{Code: command.CodeMalformed, Msg: fmt.Sprint(http405or404.Message), Err: err}
	}
	return &command.Error{Code: command.CodeInternal, Msg: "the log has the rest under the request id", Err: err}
}

// allowed turns the router's list of methods into what is served: no OPTIONS,
// and HEAD wherever there is GET.
func allowed(list string) string {
	var methods []string
	for m := range strings.SplitSeq(list, ",") {
		switch m = strings.TrimSpace(m); m {
		case "", http.MethodOptions:
		case http.MethodGet:
			methods = append(methods, m, http.MethodHead)
		default:
			methods = append(methods, m)
		}
	}
	slices.Sort(methods)
	return strings.Join(methods, ", ")
}

func problemOf(e *command.Error, path, id string) Problem {
	k, ok := kinds[e.Code]
	if !ok {
		e.Code, k = command.CodeInternal, kinds[command.CodeInternal]
	}
	p := Problem{
		Type: problemType + string(e.Code), Title: k.title, Status: k.status, Code: ErrorCode(e.Code),
		Detail: e.Msg, Instance: path, RequestID: id,
	}
	for _, f := range e.Fields[:min(len(e.Fields), faultsMax)] {
		p.Errors = append(p.Errors, Fault{Pointer: f.Pointer, Detail: f.Detail})
	}
	return p
}

func retryAfter(d time.Duration) string {
	return strconv.Itoa(int(math.Ceil(max(d, retryAfterMin).Seconds())))
}
