// Package device is a simulated device: it registers, observes its open list,
// acts on commands at most once, and reports until it is heard.
//
// A Device is one life, from boot to power loss. New takes a network and
// options, Run lives until its context ends, Crash takes the power away at once;
// what survives is the storage.Store, and a new Device on the same store is the
// old one rebooted. Run has one loop, which owns everything, and one goroutine
// that reads; both are over when it returns.
//
// Decide is the contract's rule book (a list, what is remembered, the time; what
// to do with each entry) and touches nothing. In ascending seq:
//
//  1. seq <= last   at work on it: go on; a cancel: stop if possible.
//     Outcome stored: report it again.
//     Else: failure, code 7, effect unknown.
//  2. a cancel      store last, do not start, report canceled.
//  3. out of time   seconds since the list was received: store last, report
//     rejected, code 1.
//  4. cannot start  leave this and all higher ones alone.
//  5. start         store last; check the seconds again; fresh: report running
//     and wait for its 2.04; act; store the outcome; report it.
//
// The order of 5 is the promise: `last` is on the medium before the act and the
// outcome before its report, so that a device which loses power anywhere acts
// at most once and never reports a success that it does not remember.
//
// The act is one entry in the store's journal, written when work begins; the
// time that it takes, what it reports and how it fails are the Plan's.
//
// Beyond the letter of the contract: a fresh command whose seconds ran out
// while its 2.04 was under way is not started. It is reported as failure, code
// 1, effect none, since `running` may already stand and nothing rejected can
// follow it.
//
// What it does not do: DTLS, and being a CoAP server.
package device
