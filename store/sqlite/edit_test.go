package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"behest/store/sqlite"
)

var edits = flag.Int("edits", 100, "how often TestNoEditOfTheLogIsOverlooked and its neighbour edit a database")

// anchor is what somebody keeps outside: where the log ended, and its hash there.
type anchor struct {
	events int64
	hash   string
}

// TestNoEditOfTheLogIsOverlooked edits the log at random behind the store's
// back. Whoever kept the last hash finds every edit; without it a log that was
// cut at its end looks like one that never went on, and nothing else does.
func TestNoEditOfTheLogIsOverlooked(t *testing.T) {
	e := newEditor(t)
	made, anchored := map[string]int{}, map[string]int{}
	for i := range *edits {
		kind, q := e.ofLog()
		faults, end := e.after(q)
		made[kind]++
		switch {
		case len(faults) > 0:
		case end == e.end:
			t.Fatalf("edit %d, %s, is overlooked: %s", i, kind, q)
		default:
			anchored[kind]++
			if kind != "cut at the end" {
				t.Errorf("edit %d, %s, is found by the last hash alone: %s", i, kind, q)
			}
		}
	}
	t.Logf("%d edits %v, all found; by who kept the last hash alone: %v", *edits, made, anchored)
}

// TestEditsOfOtherTables says how many edits of what is under no chain are found
// by the rules that hold among rows. It fails only when the check itself falls
// over, or when a row that the rules cover whole goes unnoticed.
func TestEditsOfOtherTables(t *testing.T) {
	e := newEditor(t)
	made, found := map[string]int{}, map[string]int{}
	for range *edits {
		table, q := e.ofRow()
		faults, _ := e.after(q)
		made[table]++
		if len(faults) > 0 {
			found[table]++
		}
	}
	for _, table := range slices.Sorted(maps.Keys(made)) {
		t.Logf("%s: %d of %d edits of a value found", table, found[table], made[table])
	}
	if faults, _ := e.after(`DELETE FROM device WHERE handle = 1`); len(faults) == 0 {
		t.Error("a device that has executions is deleted, and nothing is said")
	}
}

// editor edits copies of one database.
type editor struct {
	t     *testing.T
	whole []byte
	path  string
	dice  *rand.Rand
	rows  []int64 // of the log
	cells []cell
	end   anchor
}

// cell is a column of a table.
type cell struct{ table, column string }

func newEditor(t *testing.T) *editor {
	t.Helper()
	path := lived(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	e := &editor{t: t, whole: whole, path: path, dice: rand.New(rand.NewPCG(1, 5))}
	for _, n := range query(t, path, `SELECT n FROM log ORDER BY n`) {
		var v int64
		if _, err := fmt.Sscan(n, &v); err != nil {
			t.Fatal(err)
		}
		e.rows = append(e.rows, v)
	}
	for _, c := range query(t, path, `SELECT m.name || ' ' || c.name FROM sqlite_schema m, pragma_table_info(m.name) c
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' AND m.name NOT LIKE 'goose%' AND m.name <> 'log'`) {
		table, column, _ := strings.Cut(c, " ")
		if query(t, path, `SELECT count(*) FROM "`+table+`"`)[0] != "0" {
			e.cells = append(e.cells, cell{table, column})
		}
	}
	faults, end := e.after(`SELECT 1`)
	if len(faults) > 0 || len(e.rows) < 5 || len(e.cells) < 20 {
		t.Fatalf("%d rows of the log, %d columns, faults %q", len(e.rows), len(e.cells), faults)
	}
	e.end = end
	return e
}

// after answers with what a check says of the database after one edit, which is
// then undone. An edit that the database itself refuses counts as found.
func (e *editor) after(q string) ([]string, anchor) {
	e.t.Helper()
	if err := os.WriteFile(e.path, e.whole, 0o600); err != nil {
		e.t.Fatal(err)
	}
	db, err := sql.Open("sqlite3", e.path)
	if err != nil {
		e.t.Fatal(err)
	}
	_, refused := db.Exec(q)
	if err := db.Close(); err != nil {
		e.t.Fatal(err)
	}
	if refused != nil {
		return []string{refused.Error()}, anchor{}
	}
	r, err := sqlite.Check(context.Background(), e.path)
	if err != nil && !errors.Is(err, context.Canceled) {
		return []string{err.Error()}, anchor{}
	}
	return r.Faults, anchor{r.Events, r.Hash}
}

// row is one of the log's.
func (e *editor) row() int64 { return e.rows[e.dice.IntN(len(e.rows))] }

// ofLog is one edit of the log that changes it.
func (e *editor) ofLog() (kind, q string) {
	n := e.row()
	switch e.dice.IntN(7) {
	case 0:
		column := []string{"events", "hash"}[e.dice.IntN(2)]
		return "a bit flipped", e.flip("log", column, fmt.Sprint("n = ", n))
	case 1:
		column := []string{"n", "count", "epoch", "at"}[e.dice.IntN(4)]
		return "a number changed", fmt.Sprintf(`UPDATE log SET %s = %s + %d WHERE n = %d`, column, column, 1+e.dice.IntN(1000), n)
	case 2:
		if n == e.rows[len(e.rows)-1] {
			n = e.rows[0]
		}
		return "a row deleted", fmt.Sprintf(`DELETE FROM log WHERE n = %d`, n)
	case 3:
		other := e.row()
		for other == n {
			other = e.row()
		}
		return "two rows swapped", fmt.Sprintf(`UPDATE log SET (count, epoch, at, events, hash) = (SELECT count, epoch, at, events, hash FROM log o WHERE o.n = %d + %d - log.n) WHERE n IN (%d, %d)`, n, other, n, other)
	case 4:
		return "cut at the end", fmt.Sprintf(`DELETE FROM log WHERE n >= %d`, n)
	case 5:
		if n == e.rows[len(e.rows)-1] {
			n = e.rows[0]
		}
		return "cut at the beginning", fmt.Sprintf(`DELETE FROM log WHERE n <= %d`, n)
	}
	return "an event cut off", fmt.Sprintf(`UPDATE log SET events = substr(events, 1, %d) WHERE n = %d`, e.dice.IntN(3), n)
}

// flip is an edit that flips one bit of a blob in a row.
func (e *editor) flip(table, column, where string) string {
	old := query(e.t, e.pristine(), fmt.Sprintf(`SELECT hex(%s) FROM %s WHERE %s`, column, table, where))[0]
	at := e.dice.IntN(len(old))
	digit := strings.IndexByte("0123456789ABCDEF", old[at]) ^ 1<<e.dice.IntN(4)
	return fmt.Sprintf(`UPDATE %s SET %s = x'%s%X%s' WHERE %s`, table, column, old[:at], digit, old[at+1:], where)
}

// pristine is the path of the database as nobody edited it.
func (e *editor) pristine() string {
	if err := os.WriteFile(e.path, e.whole, 0o600); err != nil {
		e.t.Fatal(err)
	}
	return e.path
}

// ofRow is one edit of a value anywhere else: a number that is another, bytes
// with a bit flipped, text with a letter changed, nothing where something was.
func (e *editor) ofRow() (table, q string) {
	c := e.cells[e.dice.IntN(len(e.cells))]
	nth := fmt.Sprintf(`(SELECT %s FROM "%s" LIMIT 1 OFFSET (SELECT abs(%d) %% count(*) FROM "%s"))`, c.column, c.table, e.dice.Int32(), c.table)
	change := fmt.Sprintf(`CASE typeof(%[1]s) WHEN 'integer' THEN %[1]s + %[2]d WHEN 'blob' THEN CAST(substr(%[1]s, 1, length(%[1]s) - 1) || x'%02[3]x' AS BLOB)
		WHEN 'text' THEN 'x' || substr(%[1]s, 2) ELSE 1 END`, `"`+c.column+`"`, 1+e.dice.IntN(9), 0xff)
	return c.table, fmt.Sprintf(`UPDATE "%s" SET "%s" = %s WHERE "%s" IS %s`, c.table, c.column, change, c.column, nth)
}
