// Command crash kills the real server again and again, and holds what is left
// against what the server had said.
//
//	crash [-kills N] [-seed N] [-tree DIR] [-data DIR]
//	crash -patch FILE -expect-losses
//
// It builds cmd/server and runs it in development mode on one database. Eight
// operators issue commands over HTTP (to one device, to several, in batches,
// under an idempotency key) and cancel some of them; two dozen simulated
// devices obey over UDP, and lose power themselves now and then; newcomers
// register and leave. N times the server is killed with SIGKILL, at a random
// moment up to half a second after it became ready, one time in five while it
// starts, and is started again on the same database. Nobody else is restarted:
// clients and devices live through it, as they would.
//
// # What is written down
//
// Every client notes what it was told (record.go). A 2xx or a 2.xx is
// acknowledged; an answer that nothing was done is refused; a request without
// an answer is unknown, and may be there or not. Each command has a mark in its
// params, so that it is recognised wherever it turns up.
//
// # What must hold
//
//	lost     an acknowledged command, registration, report or cancel is not there;
//	         or a device was given a number that the server does not know
//	wrong    something is there, but not as it was acknowledged; a refused command
//	         is there; success without the device's effect; an effect that the
//	         server says there was not; a number that does not grow
//	double   one effect twice, one request under a key accepted twice, or one
//	         number for two commands
//
// All of them must be 0, after every restart on a sample, with what was
// acknowledged just before the kill in it, and at the end on everything. Then
// `server check` must find the database sound.
//
// The exit code is 0 only if, besides, enough happened for it to mean anything
// (verdict.go), some requests were unknown, and some of these had happened: else
// the kills never hit a commit.
//
// With -patch the server is built from a copy of the last commit that has the
// patch; with -expect-losses the exit code is 0 only if losses were found. That
// is the control: a harness that cannot find a loss proves nothing.
//
// # What it does not show
//
// SIGKILL leaves the operating system's cache alone, so nothing is said here
// about the loss of power.
package main
