// Command run measures the server, and prints a table.
//
//	run [-parts message,dtls,memory,rounds,latency,ages,fleet] [-for 15s] [-devices 100000] [-targets 100000] [-old 1000000] [-idle 0] [-tree DIR]
//
//	message   requests/s of a confirmable POST answered 2.04 by coap/endpoint with
//	          a handler that does nothing, beside an echo of the same datagrams
//	          by the same batched socket; in turns, each in a process of its own
//	dtls      PSK handshakes by the server's CPU time and resident bytes per idle
//	          session, beside pion's own listener; requests/s over DTLS beside
//	          the same over UDP
//	memory    resident bytes per device that is registered and observes, by the
//	          real server with its real store: from a line through five points
//	          between 0 and -devices, and again after a restart
//	rounds    full durable rounds per second: issued in batches, notified,
//	          acknowledged, reported, committed; and from the same run the bytes on
//	          disk of a completed command
//	latency   500 commands/s, one request each, on a schedule that waits for
//	          nobody: to the datagram at the device, to the 2.04, to the operator
//	ages      the cost of a target in a store with -old executions beside one with
//	          none, in turns: commands to a tenth of -targets devices, which are not
//	          there at first
//	fleet     commands to 1, 1,000 and -targets devices that are there: until all
//	          are released, and what that is per target; how long single commands
//	          take meanwhile, beside alone
//
// The generator (bench/crowd, bench/operator) runs on the same machine and takes
// its part of it: hence the server's own CPU time per operation, which the
// figures carry beside what was reached. The load average stands beside each: a
// figure from a machine that does something else is a lower bound.
//
// What commits costs depends on the disk: the first line is what fdatasync takes
// here. Loopback has no network card and no loss.
//
// It reads /proc and needs Linux.
package main
