package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"behest/command"
	"behest/command/ledger"
)

// The steps of a commit that a test can make fail.
type Step = step

const (
	StepBegin   = stepBegin
	StepWork    = stepWork
	StepSeal    = stepSeal
	StepCommit  = stepCommit
	StepReopen  = stepReopen
	StepBarrier = stepBarrier
)

// Steps are all of them, in order.
var Steps = []Step{StepBegin, StepWork, StepSeal, StepCommit, StepReopen, StepBarrier}

// Intercept has f run the steps from now on. It is called before Run.
func (s *Store) Intercept(f func(Step, func() error) error) { s.step = f }

// Migrations are the embedded ones.
var Migrations = migrations

// Exec runs SQL on the writer's connection, inside a commit.
func Exec(t ledger.Tx, q string) error { return t.(*tx).w.exec(q) }

// Reprepared is how often each statement of the writer and of the readers was
// prepared again, on the connection where that was most often. It waits for
// nobody: the store must be idle.
func Reprepared(s *Store) map[string]int {
	again := make(map[string]int)
	all := []*conn{s.w.conn}
	for range cap(s.readers) {
		r := <-s.readers
		defer func() { s.readers <- r }()
		all = append(all, r)
	}
	for _, c := range all {
		for text, stmt := range c.stmts {
			// The driver keeps the count, and does not tell.
			again[text] = max(again[text], int(reflect.ValueOf(stmt.s).Elem().FieldByName("repreps").Int()))
		}
	}
	return again
}

// Plan is how SQLite answers a query.
func Plan(s *Store, text string) (lines []string, err error) {
	r := <-s.readers
	defer func() { s.readers <- r }()
	err = r.each(context.Background(), "EXPLAIN QUERY PLAN "+text, func(r row) error {
		lines = append(lines, r.text(3))
		return nil
	})
	return lines, err
}

// Seal adds rows of one event each to the log of a file that nobody has open.
func Seal(t testing.TB, path string, at time.Time, rows int) {
	t.Helper()
	c, err := connect(path, writing)
	if err != nil {
		t.Fatal(err)
	}
	w := &writer{conn: c}
	err = errors.Join(w.load(), w.exec("BEGIN"))
	for range rows {
		r, end := w.log.seal(1, at.UnixMilli(), []command.Event{{Type: command.EventEdited, At: at}})
		w.log = end
		if err == nil {
			_, _, err = c.exec(addSealed, r.values()...)
		}
	}
	if err := errors.Join(err, w.exec("COMMIT"), c.close()); err != nil {
		t.Fatal(err)
	}
}

// RefersToCommand are the columns that removal knows to refer to command.
var RefersToCommand = func() (names []string) {
	for _, p := range append(append(slices.Clone(parts), holds...), link) {
		if p.table != "" {
			names = append(names, p.table+"."+p.column)
		}
	}
	return names
}()

// Rewrite has somebody edit the log in the file who can compute hashes, and
// answers with what a check of the log alone finds then, and what it finds
// against checkpoints that were kept. The file stays as it was.
func Rewrite(t testing.TB, path string, kept Kept, edit string, args ...driver.Value) (alone, against []string) {
	t.Helper()
	ctx := context.Background()
	c, err := connect(path, writing)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = c.exec("BEGIN")
	if err == nil {
		_, _, err = c.exec(edit, args...)
	}
	err = errors.Join(err, rechain(ctx, c))
	look := func(a *anchors) []string {
		report := Report{Schema: retentionSchema, Groups: 1}
		err = errors.Join(err, checkLog(filepath.Dir(path), a)(ctx, c, &report))
		return report.Faults
	}
	alone, against = look(nil), look(&anchors{kept: kept})
	_, _, end := c.exec("ROLLBACK")
	if err := errors.Join(err, end, c.close()); err != nil {
		t.Fatal(err)
	}
	return alone, against
}

// rechain numbers the rows of the log anew, and chains them.
func rechain(ctx context.Context, c *conn) error {
	m, err := readMeta(ctx, c)
	if err != nil {
		return err
	}
	p, err := c.checkpoint(ctx)
	if err != nil {
		return err
	}
	var rows []sealed
	err = c.each(ctx, `SELECT `+logColumns+` FROM log ORDER BY n`, func(r row) error {
		rows = append(rows, readSealed(r))
		return nil
	})
	if _, _, del := c.exec(`DELETE FROM log`); err != nil || del != nil {
		return errors.Join(err, del)
	}
	end := p.start(m.genesis)
	for _, s := range rows {
		s.n = end.n + 1
		s.hash = s.chained(end.hash)
		end = chain{n: s.n + s.count - 1, at: s.at, hash: s.hash}
		if _, _, err := c.exec(addSealed, s.values()...); err != nil {
			return err
		}
	}
	return nil
}

// Newest is the version of the tables after all migrations.
func Newest(t testing.TB) (version int64) {
	t.Helper()
	files, err := migrations.ReadDir("migrations")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(files[len(files)-1].Name(), "%d_", &version); err != nil {
		t.Fatal(err)
	}
	return version
}
