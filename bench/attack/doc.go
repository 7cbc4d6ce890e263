// Command attack does to the server what nobody should, counts, and fails when
// a bound is broken.
//
//	attack [-parts flood,hellos,garbage,replay,secrets] [-datagrams 1000000] [-rate 10000] [-for 30s] [-hellos 20000] [-tree DIR]
//
//	flood    malformed and mutated datagrams at the plain socket of the real server,
//	         from many addresses, while 50 devices do one command after the other:
//	         each that was asked for succeeds, memory grows by little, the database
//	         is sound afterwards
//	hellos   ClientHellos from addresses that nobody has, at coap/dtls, while
//	         devices handshake: how many get in, and how much memory it takes
//	garbage  records that nobody with a key made, at live sessions and in their
//	         name: none is torn down, nothing is let through
//	replay   all that devices sent, three times over and shuffled: nothing is
//	         accepted twice
//	secrets  tokens, secrets of webhooks, keys of devices and marked params go
//	         through the real server, which logs all it can and is then killed; its
//	         files, log and metrics are searched for them
//
// Everything stays on loopback. Devices and attackers share the machine with the
// server: what devices wait under attack is beside what they wait without, and
// no bound; the load average stands beside each figure.
//
// It reads /proc and needs Linux.
package main
