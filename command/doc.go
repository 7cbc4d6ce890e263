// Package command holds the nouns and the rules of Behest: commands,
// executions, reports, the clocks that bound them and the one table of moves.
//
// It keeps one law: no execution succeeds unless its device says so. Step is
// the only way from one state to the next, it follows the table in moves.go,
// and only the triggers that carry a device's own report lead to Succeeded,
// Failed or Rejected.
//
// The package does no input or output. It reads no clock, opens no file and
// starts no goroutine: the present is an argument, the next deadline is
// asked for, and what Step returns is written to disk by the caller before
// anybody is told.
//
// The words follow docs/lifecycle.md. An execution is a command on one
// device. A report is what the device says about it. A trigger is what makes
// an execution move: a report, a clock that lapsed, an operator's wish, a
// fact of the transport. An event is a line in the log that says what moved.
package command
