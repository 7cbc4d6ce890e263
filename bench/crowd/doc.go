// Package crowd is a great many devices behind one socket: enough of a device
// to load a server, at a fraction of its cost.
//
// Linux takes every address of 127.0.0.0/8 for its own. The socket is bound to
// all of them; device i sends from 127.1.0.0 + i (IP_PKTINFO), and what comes
// in for that address is for device i. Sixteen million fit. The server sees
// peers like any others.
//
// A device of the crowd registers, observes, acknowledges every confirmable,
// and answers each command with a report of success as soon as it is listed. It
// forgets numbers when the process ends and has no effect to count: what it is
// for is speed, and firmware-sim is for truth.
//
// # The exchange
//
//	token = device (3 bytes) kind (1) [seq (4), of a report]
//
// so that an answer says what it is for, and nothing is looked up. What is not
// answered within two seconds is sent again, as a new message.
//
// One goroutine reads and answers, one sends again; the hooks are called from
// the first and must not block.
package crowd
