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

// refusal answers a request that a use case refused.
func refusal(r *endpoint.Request, err error) endpoint.Response {
	code := command.CodeOf(err)
	text := "internal error"
	var wait time.Duration
	var e *command.Error
	if errors.As(err, &e) {
		text, wait = e.Msg, e.RetryAfter
	}
	a := refuse(r, responseCode(code), string(code), text)
	switch a.Code {
	case codes.TooManyRequests, codes.ServiceUnavailable:
		if wait <= 0 {
			wait = waitDefault
		}
		a.MaxAge = endpoint.Some(uint32(max(1, wait/time.Second))) // when to try again [RFC 8516]
	case codes.RequestEntityTooLarge:
		a.Size1 = endpoint.Some(command.ResultBytesMax) // what is never too large [RFC 7959 2.9.3]
	}
	return a
}

// wrongMethod answers a request with a method that its resource has not.
func wrongMethod(r *endpoint.Request) endpoint.Response {
	return refuse(r, codes.MethodNotAllowed, "method", "the resource has no such method")
}

// refuse answers a request that was refused: with a short diagnostic text
// [RFC 7252 5.5.2], or with problem details where a device that posts or
// deletes asked for them [RFC 9290].
func refuse(r *endpoint.Request, code codes.Code, title, detail string) endpoint.Response {
	if f, asked := r.Accept.Get(); asked && f == formatProblem && (r.Code == codes.POST || r.Code == codes.DELETE) {
		return endpoint.Response{
			Code: code, Format: endpoint.Some(formatProblem), Payload: cbor.AppendProblem(nil, title, detail),
		}
	}
	return endpoint.Response{Code: code, Payload: []byte(clip(detail, diagnosticBytesMax))}
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
