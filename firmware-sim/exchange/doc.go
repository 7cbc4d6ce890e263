// Package exchange is the simulated device's message layer: a CoAP client (RFC
// 7252) that observes (RFC 7641) and moves large bodies in blocks (RFC 7959).
//
// Endpoint is a state machine without I/O, goroutine or clock. Its user hands
// it datagrams and the time, gives it a function that sends, asks it for the
// next Deadline, and gets at most one Event from each call. It holds one
// request at a time (NSTART 1, RFC 7252 4.7):
//
//	idle --Start--> sent --empty ACK--> waiting --response--> idle
//	                 | ^                   '--ResponseWait--> idle (Lost)
//	                 | |- 2.31: next block of the body
//	                 | '- 4.01 with Echo: the same with that Echo, at most twice [RFC 9175]
//	                 |--response--> idle (Answered)
//	                 |--RST--> idle (Reset)
//	                 '--five transmissions, then silence--> idle (Lost)
//
// What comes in and is no part of that is treated as RFC 7252 wants: a
// notification of the watched token is acknowledged and handed up; a response
// to a request that is over is acknowledged, so that its sender stops; a ping,
// a broken confirmable, a request, or a response that nobody waits for gets a
// Reset. A confirmable that comes again with the same message id gets the same
// reply and is not handed up twice. Datagrams from another address than the
// server's are ignored.
//
// It keeps nothing across a reboot: message ids and tokens start at random.
package exchange
