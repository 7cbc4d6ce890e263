package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"math"
	"os"
	"testing"
	"time"

	"behest/command"
	"behest/command/ledger"
	"behest/store/sqlite"
)

// TestOldExecutionsCostATargetNoPage counts the pages that a command on many
// devices changes, each of which has hundreds of old executions: fewer than there
// are devices, in all that becomes of it together. What is old is still found.
func TestOldExecutionsCostATargetNoPage(t *testing.T) {
	const devices, old = 100, 400
	s, l, dir := loaded(t, devices)
	ctx := context.Background()
	names := make([]string, devices)
	ended := func(seq uint32) []command.Execution {
		xs := make([]command.Execution, devices)
		for i := range xs {
			xs[i] = command.Execution{Device: int64(1 + i), Seq: seq, State: command.TimedOut, SentAt: time.UnixMilli(4), EndedAt: time.UnixMilli(5)}
		}
		return xs
	}
	if err := s.Update(ctx, ledger.Issues, func(tx ledger.Tx) (err error) {
		for i := range names {
			d, derr := tx.Device(int64(1 + i))
			names[i], d.LastSeq = d.Name, old+1
			err = errors.Join(err, derr, tx.SaveDevice(&d))
		}
		for k := range old {
			err = errors.Join(err, tx.AddCommand(l.command(1, names...), ended(uint32(1+k))))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}

	c, xs := l.command(2, names...), ended(0)
	for i := range xs {
		xs[i] = command.Execution{Device: int64(1 + i), Name: names[i], State: command.Queued, QueuedAt: c.CreatedAt}
	}
	moved := func(kind command.Kind) func(ledger.Tx) error {
		return func(tx ledger.Tx) (err error) {
			for i := range xs {
				next, verdict := xs[i].Step(command.Trigger{Kind: kind, Seq: old + 1, Attempts: 1, Report: command.Report{Status: command.StatusSuccess}}, c.CreatedAt)
				if verdict != command.Moved {
					t.Fatalf("%s: %s", kind, verdict)
				}
				err, xs[i] = errors.Join(err, tx.Save(&next)), next
			}
			return err
		}
	}
	pages := 0
	for _, step := range []struct {
		name string
		do   func(ledger.Tx) error
	}{
		{"written out", func(tx ledger.Tx) error { return tx.AddCommand(c, xs) }},
		{"sent", moved(command.Release)},
		{"delivered", moved(command.Ack)},
		{"over", moved(command.ReportSuccess)},
	} {
		truncate(t, file(dir))
		if err := s.Update(ctx, ledger.Issues, step.do); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		n := changed(t, file(dir))
		t.Logf("%s: %d pages", step.name, n)
		pages += n
	}
	if pages < 4 || pages >= devices {
		t.Errorf("%d pages changed for %d devices", pages, devices)
	}

	wholeHistory(t, s, names[7], 1+old)
}

// wholeHistory reads the history of a device that has had n commands, numbered
// from 1.
func wholeHistory(t *testing.T, s *sqlite.Store, name string, n int) {
	t.Helper()
	ctx := context.Background()
	views, _, err := s.Commands(ctx, command.Filter{Device: name, Limit: command.PageMax})
	if err != nil || len(views) != n {
		t.Errorf("%s has %d commands, %v; want %d", name, len(views), err, n)
	}
	seq := uint32(n)
	for next := int64(math.MaxInt64); next > 0 && err == nil; {
		var page []command.Execution
		page, next, err = s.AllExecutions(ctx, command.ExecutionFilter{Device: name, Before: next})
		for _, x := range page {
			if x.Seq != seq || x.Name != name {
				t.Fatalf("execution %d of %s, not %d", x.Seq, x.Name, seq)
			}
			seq--
		}
	}
	if err != nil || seq != 0 {
		t.Errorf("%d executions of a device are missing, %v", seq, err)
	}
}

// changed is how many pages the log of the database at path has.
func changed(t *testing.T, path string) int {
	t.Helper()
	const header, frame = 32, 24 + 4096
	info, err := os.Stat(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return int((info.Size() - header) / frame)
}

// truncate copies the log of the database at path into it, and empties the log.
func truncate(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var busy, log, copied int
	if err := db.QueryRow("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &log, &copied); err != nil || busy != 0 {
		t.Fatalf("empty the log: %v, busy %d", err, busy)
	}
}
