// Package httpapi is the operators' side of Behest: JSON over HTTP, as
// openapi.yaml says. That file is the contract; models, routes and the client
// (package client) are generated from it, and every request is held against
// it before a use case sees it.
//
// # What it promises
//
// A 2xx answers a change only after the use case has committed it. A request
// is refused as a whole, with every fault that was found, or it is carried
// out; nothing is guessed, coerced or silently left out. Numbers in params
// travel as text until they are CBOR, never through a float64. A page token
// says nothing, cannot be made up, and works only with the filters it came
// from. An answer that waits for a command's end is given in any case: when
// the time is over, and when the server shuts down, with the state as it is.
//
// # What it does not promise
//
// That a command had any effect: 201 means accepted. That two pages show one
// moment: between them, commands come and go, and what was there from the
// first page to the last is shown once.
//
// # The way of a request
//
// The order is the order of the files' middleware: identify (request id,
// security headers, log), route (404, 405), admit (401, 403, 429), read (415, 413,
// then 400 for JSON that is not strict), validate (400 against the contract),
// and then the handler, which turns shapes into the words of package command
// (422 where a value cannot be) and calls a use case or a read.
//
// # What one may take
//
// A user has a rate of requests, and a quarter of the places for answers that
// wait and for event streams; who is known by no token is known by his address,
// and has a rate by it. Whose address a request shows is its sender's, unless
// that is a proxy that Options.Proxies names. Bodies have a limit by route,
// headers, time and everything in them too.
//
// # How it fails
//
// Every refusal is a problem document (RFC 9457). A *command.Error becomes
// one through statusOf, the one function that maps codes; whatever else a
// handler returns is a 500 that tells the caller no more than the request id,
// under which the log has the rest. A panic costs one request.
package httpapi
