// Package child builds the real server and runs it as a child process, for
// programs that measure it or take its life.
//
// Build makes the binary from a source tree, Start runs it in development mode
// on a data directory, Ready waits until /readyz says that it takes work. Kill
// is SIGKILL: the process gets no chance to do anything more. Stop is SIGTERM
// and expects exit code 0. Each of them returns after the process is gone, and
// a process that ended by itself is an error with the end of its log.
//
// A program that uses it owes its children their end: after Start, one of Kill
// and Stop is called on every path.
package child
