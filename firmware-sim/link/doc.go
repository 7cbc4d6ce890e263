// Package link carries datagrams between a simulated device and its server.
//
// Conn is all that a device asks of a network: whole datagrams in, whole
// datagrams out, and Close that ends a blocked read. UDP gives one over a real
// socket, Network one in memory, where everything also runs under
// testing/synctest; any other packet conn fits that has the three methods.
//
// Impair stands between a device and its Conn and does to datagrams what bad
// networks do: it loses, doubles, delays and reorders them, in both directions,
// by a seeded generator. The same seed and the same row of datagrams in one
// direction give the same fates. It promises nothing else: like UDP, it may
// drop what its reader does not take in time.
//
// Close of an impaired conn ends what it started: no goroutine and no timer is
// left when it returns.
package link
