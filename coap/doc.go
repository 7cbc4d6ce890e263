// Package coap is the device's side of Behest: registration as in RFC 9176, the
// open list that a device observes (RFC 7641), and the reports that it posts.
//
//	GET    /.well-known/core    what is here, RFC 6690
//	POST   /rd?ep=NAME          register; 2.01 with the registration's own path
//	POST   /rd/HANDLE           refresh
//	DELETE /rd/HANDLE           leave
//	GET    /c/NAME              the open list; with Observe 0, each change of it
//	POST   /c/NAME/SEQ          a report
//
// Messages, repeats and blocks are package endpoint's; what a request means is
// the use cases'. This room says which bytes are which, and presents: it knows
// of each device that has something open the list that it should see, carries
// that to it, and says what became of the carrying.
//
// # Two lines
//
// Plain CoAP and CoAP over DTLS have a message layer each, with bounds of its
// own, and share all else. Who asks over a session is the device that the
// session has shown to be: the use cases are told, and decide what it may say.
// A registration need not name it. Over plain CoAP nobody has shown anything.
//
// An observation of a session goes with the session, wherever the device moves
// to, and ends with it: what a session's number was in another life of the
// server names nobody now. An observer whose session is over is found out
// before anything is released for it.
//
// # Pace
//
// A device that registers, reports or asks faster than Options.DeviceRate is
// answered 4.29, before anything is read or written for it. A device is the
// identity of a session; over plain CoAP it is the name that is given, or the
// registration, and whoever gives another's name uses up its pace.
//
// The same requests are served over plain CoAP only for an address that has
// proven that it receives; package endpoint asks it to. Discovery is open.
//
// # Presenting
//
// A device's list is state, not a queue: a lost or merged notification costs
// time, never a command. So there is one list per device, the youngest that was
// committed, and at most one exchange that carries it. Each transmission of
// that exchange is built afresh, from the list and the seconds as they are
// then, and remembered by what it carried: an ACK is worth that, and no more.
//
//	Acked    the list is there; it is shown again with back-off until each
//	         command of it was reported on or may no longer start
//	Reset    the observation is over
//	Silent   the observation is suspended until the device is heard of
//
// The answer to a GET that does not observe is such an exchange too, beside the
// observer's. It carries the youngest list; a report on what it carried ends
// it; and while it is in the air to the address that observes, no notification
// starts. If its ACK never comes, the observer is notified.
//
// A device is not shown again what it reported on as running. An observation
// that was given up and is revived gets, until it acknowledges, no more than
// package endpoint gives an address that has not proven itself.
//
// Nothing is kept of a device that has nothing open: an idle observer costs no
// memory here. After a crash nothing is remembered; the use cases present anew
// what is open, and an observer at worst sees a list twice.
package coap
