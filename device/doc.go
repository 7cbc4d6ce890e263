// Package device holds the nouns and rules of what registers with Behest:
// devices, their registrations, their observations and their credentials.
//
// A device is known by its name (the endpoint name, `ep`, of RFC 9176) and by
// a handle, a small number that stays the same for the same name for ever. A
// registration says that it is there and for how long; it can lapse, and the
// device's queue stays. An observation says where notifications go; it can be
// suspended, and is kept.
//
// The package also gives out the numbers that a device sees: NextSeq only
// ever grows, over restarts and over a restored backup, because it follows
// the clock and a base that each restore raises.
//
// A credential is how a device proves itself: a secret that it shares with the
// server, or a certificate. A device has several at a time while one takes the
// place of another. The package says what can be one; package vault seals what
// is kept of it.
//
// Like package command it does no input or output and reads no clock.
package device
