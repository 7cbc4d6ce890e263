package coap

import (
	"errors"
	"time"
	"unicode/utf8"

	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/cbor"
	"behest/coap/endpoint"
	"behest/command"
)

// diagnosticBytesMax keeps an error within a constrained device's buffer.
const diagnosticBytesMax = 64

// waitDefault is how long a device waits before it tries again, where nobody
// knows better.
const waitDefault = 5 * time.Second

// conflict is 4.09 [RFC 8132 2.3.2], which the codec does not name.
const conflict = codes.Code(4<<5 | 9)

// responseCode is the one place where a refusal becomes a response code.
func responseCode(c command.Code) codes.Code {
	switch c {
	case command.CodeMalformed, command.CodeInvalid:
		return codes.BadRequest
	case command.CodeUnauthenticated:
		return codes.Unauthorized
	case command.CodeForbidden:
		return codes.Forbidden
	case command.CodeNotFound, command.CodeUnknownDevice:
		return codes.NotFound
	case command.CodeConflict, command.CodeContradiction:
		return conflict
	case command.CodePrecondition:
		return codes.PreconditionFailed
	case command.CodeTooLarge:
		return codes.RequestEntityTooLarge
	case command.CodeMediaType:
		return codes.UnsupportedMediaType
	case command.CodeTooMany, command.CodeDeviceFull:
		return codes.TooManyRequests
	case command.CodeUnavailable, command.CodeOutcomeUnknown:
		return codes.ServiceUnavailable
	}
	return codes.InternalServerError
}

// refusal answers a request that was refused: with a short diagnostic text
// [RFC 7252 5.5.2], or with problem details where a device that posts or
// deletes asked for them [RFC 9290].
func refusal(r *endpoint.Request, err error) endpoint.Response {
	code := command.CodeOf(err)
	a := endpoint.Response{Code: responseCode(code)}
	var e *command.Error
	text := "internal error"
	if errors.As(err, &e) {
		text = e.Msg
	}
	if a.Code == codes.TooManyRequests || a.Code == codes.ServiceUnavailable {
		wait := waitDefault
		if e != nil && e.RetryAfter > 0 {
			wait = e.RetryAfter
		}
		a.MaxAge = endpoint.Some(uint32(max(1, wait/time.Second))) // when to try again [RFC 8516]
	}
	if f, asked := r.Accept.Get(); asked && f == formatProblem && r.Code != codes.GET {
		a.Format = endpoint.Some(formatProblem)
		a.Payload = cbor.AppendProblem(nil, string(code), text)
		return a
	}
	a.Payload = []byte(clip(text, diagnosticBytesMax))
	return a
}

// clip cuts text to at most most bytes, between characters.
func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}
