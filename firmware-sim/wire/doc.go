// Package wire is the simulated device's own reading and writing of what
// travels inside CoAP: the open list and the report, in CBOR (RFC 8949). It
// shares only the hex vectors in cbor/testdata/vectors with the server.
//
//	open-list = [* entry]            ascending seq
//	entry     = { 1: seq, 2: type, ? 3: params, 4: seconds left,
//	              ? 5: run_for, ? 6: report_every, ? 8: true }
//	          / { 1: seq, 7: true }  a cancel
//	report    = { 1: status, ? 2: progress, ? 3: code, ? 4: text, ? 5: result,
//	              ? 6: effect, ? 7: next, ? 8: prev, ? 9: n }
//
// What comes in must be one well-formed item of definite lengths, unique keys,
// valid UTF-8 and at most eight levels, with nothing behind it; longer heads
// than needed and unsorted keys are accepted, unknown unsigned keys are walked
// over. What goes out is core deterministic encoding. Params and results stay
// as the bytes that they were: only FromJSON and ToJSON look into them.
//
// A decoder returns the whole value or an error that wraps ErrMalformed, never
// a part. Nothing here reads a clock, and decoded values alias their input.
package wire
