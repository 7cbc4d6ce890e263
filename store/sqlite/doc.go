// Package sqlite keeps everything in one SQLite file.
//
// # What it promises
//
// When Update answers nil, what its function wrote survives the loss of
// power: the commit was written with synchronous=FULL, a setting that is read
// back on every connection and without which nothing opens. When it answers
// with any error but CodeOutcomeUnknown, nothing of it was kept. What a read
// shows is committed.
//
// Times and durations are kept to the millisecond, times in UTC. Empty maps
// and lists come back as nil.
//
// # The writer
//
// Run is one goroutine with one connection. It takes what is waiting, at
// most 512 units of work or two milliseconds of it, runs them one after the
// other inside one transaction, commits once, and then answers all. While it
// commits, the next group gathers by itself; when nothing waits, nothing is
// waited for. The lanes go in the order of ledger.Lane, and each group has
// room for some of every lane, so none starves. Deliveries alone wait up to
// a second for company.
//
// A unit of work that fails takes back its own writes by a savepoint, and
// costs nobody else anything; one that panics likewise.
//
// # How it fails
//
//	refused in the queue       full, shutting down, or in doubt: CodeUnavailable, nothing was done
//	a unit of work fails       its own error, its writes taken back
//	the disk is full           CodeUnavailable for the group, nothing was done
//	any other fault of a
//	statement, before COMMIT   CodeUnavailable for the group, nothing was done; then as below
//	COMMIT itself fails        CodeOutcomeUnknown for the group: it may be on disk or not
//
// After a fault of the disk the store is in doubt. Reads and new writes are
// refused, every connection is closed (an operating system may forget a
// failed write and report the next one as good), the file is opened anew,
// its settings are read back, a barrier row is committed and the state that
// Run keeps in memory is read from disk. If that fails too, Run ends with an
// error and the store stays shut; unless the disk is merely full, which Run
// waits out.
//
// # The file
//
// migrations/ holds the tables; their comments say what a row is. What SQL
// does not ask for is packed: a flags number, then the fields that it names
// (course.go, report.go, intent.go, event.go, type.go). A new field takes a
// new flag; a flag that is not known is corruption. The numbers of states,
// effects, causes and event types in the file are those of package command
// and of event.go; a test holds them.
//
// What few rows have is JSON that a person can read: the column extra of a
// command (extra.go), a gate (gate.go), the rules of a type on approval and on
// the way back (typerule.go). Gates keep their times whole, not to the
// millisecond: a rate of a million a minute needs that.
//
// What comes changes the pages that came last, whatever is old: numbers, which
// follow the clock, are found by number and then by device, and a device's history
// lies in spans of 4,096 rows, each of which is looked into (history.go).
//
// What is secret of a credential is sealed before it comes here, and what is
// sealed is bytes (package device/vault). Of what was revoked only a digest stays,
// for as long as the device has not had CredentialsKept others since.
//
// The seal of an execution, which package dispatch makes and looks at, is a column
// of its own; here it is bytes.
//
// What a command sets, its slot, is in its intent, and its executions are
// listed in a table by device and slot, so that the last one in a slot is found
// by its key and commands without a way back pay nothing.
//
// The log has a row per commit that had events. Its hash covers the hash
// before it and everything in the row, so that a change anywhere shows in
// every row after it. Events are numbered without a gap.
//
// # What goes
//
// Retain removes what ledger.Keeping says (lapse.go has the rules), in steps
// that are units of work like any other: see the constants in retention.go. A
// command that takes more than one step is hidden from the first one on, in
// the table going. Pages that are freed are used again.
//
// The log is cut at whole rows, and never all of it. The table checkpoint says
// where, signed with the key in the file log-key beside the database; its public
// half is in log-key.pub, for Check. Without the key that signed, or with
// another, nothing opens.
//
// Whoever can write the file can compute its hashes anew, and Check then calls
// the log sound. A Checkpoint that was kept elsewhere shows it (CheckAgainst),
// but for what came after. Export tells the log for others to verify.
//
// A lock on a file beside the database keeps a second server out. Check
// reads with the lock held by somebody else.
package sqlite
