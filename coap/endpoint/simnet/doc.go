// Package simnet is a datagram network in memory for tests: several
// endpoint.PacketConns, and between them seeded loss, duplication, corruption,
// delay, and the reordering that comes of unequal delays.
//
// It has no goroutine of its own and waits on channels and timers only, so that
// it runs in a testing/synctest bubble, where a lossy minute takes no time. The
// order in which concurrent senders draw from the seed is theirs; with one
// sender at a time a seed tells the whole story.
//
// A Conn may have several addresses. It marks what it receives with the one
// that was asked, and sends from the one that a datagram names.
package simnet
