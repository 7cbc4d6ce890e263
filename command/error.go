package command

import (
	"errors"
	"fmt"
	"time"
)

// Code says what kind of refusal an error is. The edges map it: httpapi to a
// status, coap to a response code. Its text is part of the API: it is the
// `code` of a problem document.
type Code string

const (
	CodeMalformed       Code = "malformed"       // the bytes or the shape are wrong
	CodeInvalid         Code = "invalid"         // the shape is right, a value is not
	CodeUnknownDevice   Code = "unknown_device"  // a target that never registered
	CodeUnauthenticated Code = "unauthenticated" // nobody we know
	CodeForbidden       Code = "forbidden"       // somebody we know, who may not
	CodeNotFound        Code = "not_found"       // no such thing
	CodeConflict        Code = "conflict"        // the state that stands does not allow it
	CodeContradiction   Code = "contradiction"   // a report against an outcome that is settled
	CodePrecondition    Code = "precondition"    // it was changed meanwhile
	CodeDeviceFull      Code = "device_full"     // the device's queue has no room
	CodeTooLarge        Code = "too_large"       // past a named limit of size
	CodeMediaType       Code = "media_type"      // a content type that is not spoken here
	CodeTooMany         Code = "too_many"        // slow down
	CodeUnavailable     Code = "unavailable"     // not now; nothing was done
	CodeOutcomeUnknown  Code = "outcome_unknown" // it may or may not have been done
	CodeInternal        Code = "internal"        // our fault
)

// Codes lists every code, so that an edge's mapping can be tested whole.
var Codes = []Code{
	CodeMalformed, CodeInvalid, CodeUnknownDevice, CodeUnauthenticated, CodeForbidden,
	CodeNotFound, CodeConflict, CodeContradiction, CodePrecondition, CodeDeviceFull, CodeTooLarge,
	CodeMediaType, CodeTooMany, CodeUnavailable, CodeOutcomeUnknown, CodeInternal,
}

// Error is a refusal with an answer for the caller's program. Msg is what the
// caller reads; Err, if any, is what the log keeps.
type Error struct {
	Code       Code
	Msg        string
	Fields     []Field       // what is wrong and where, if that can be said
	RetryAfter time.Duration // with CodeTooMany, CodeDeviceFull and CodeUnavailable
	Err        error
}

// Field is one fault in a request: a JSON pointer into the body (or the name
// of a query parameter) and what is wrong there.
type Field struct {
	Pointer string
	Detail  string
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Msg, e.Err)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Msg)
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf is a refusal with a code and a formatted message.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Msg: fmt.Sprintf(format, args...)}
}

// CodeOf is the code of err. What nobody classified is CodeInternal.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}
