package sqlite

import (
	"context"
	"fmt"
	"strings"
	"time"

	"behest/command/ledger"
)

// budget is what one step may do.
type budget struct {
	rows    int
	bytes   int // of the log
	until   time.Time
	removed ledger.Removed
}

func newBudget() budget {
	return budget{rows: stepRows, bytes: stepLogBytes, until: time.Now().Add(stepTime)}
}

// spend takes rows off, and answers whether something is left.
func (b *budget) spend(rows int64) bool {
	b.rows -= int(rows)
	return b.left()
}

func (b *budget) left() bool { return b.rows > 0 && b.bytes > 0 && time.Now().Before(b.until) }

// part is a table that refers to command.
type part struct {
	table, column string
	key           string // tells the rows about one command apart
	count         func(*ledger.Removed) *int64
}

// parts are those whose rows go with a row of command. A table that refers to
// command is here or in holds, or nothing could be removed any more: a test
// reads the schema for it.
var parts = []part{
	{"report", "execution", "k", func(r *ledger.Removed) *int64 { return &r.Reports }},
	{"refused", "command", "device", nil},
	{"asked", "command", "command", nil},
	{"slot", "execution", "device", nil},
	{"decision", "command", "k", nil},
	{"own_params", "command", "device", nil},
	{"rollback", "original", "command", nil},
	{"going", "command", "command", nil},
}

// holds are those whose rows keep a command from being over.
var holds = []part{{table: "pending", column: "command"}, {table: "gate", column: "command"}}

// link keeps a command that undoes another from going before that one.
var link = part{table: "rollback", column: "command"}

func (p part) delete() string {
	return fmt.Sprintf(`DELETE FROM %[1]s WHERE %[2]s = +?1 AND %[3]s IN (SELECT %[3]s FROM %[1]s WHERE %[2]s = +?1 LIMIT +?2)`, p.table, p.column, p.key)
}

// anyOf is the condition that one of the tables has a row about c.
func anyOf(tables []part) string {
	var some []string
	for _, p := range tables {
		some = append(some, fmt.Sprintf(`EXISTS (SELECT 1 FROM %s WHERE %s = c.n)`, p.table, p.column))
	}
	return `(` + strings.Join(some, ` OR `) + `)`
}

// removeCommand removes the command in row n, which the pass has found may go,
// or a part of it. It answers false when more is left than the budget allows.
// A command that changed its mind stays: nothing but a rollback, which came
// since, can make it.
func (t *tx) removeCommand(n, newest int64, b *budget) (done bool, err error) {
	l, err := t.w.conn.lapse(context.Background(), n)
	if err != nil || l == nil || l.of != 0 || !l.over {
		return true, t.failed(err)
	}
	begun := false
	if l.parts {
		if begun, err = t.begun(n); err != nil {
			return false, err
		}
	}
	if !begun {
		if stays, err := t.linked(n, newest); err != nil || stays {
			return true, err
		}
	}
	if l.many() {
		done, err = t.removeHead(n, b)
	} else if done, err = t.removeRow(l, b); done {
		b.removed.Executions++
	} else if err == nil {
		err = t.markGoing(n)
	}
	if done {
		b.removed.Commands++
	}
	return done, err
}

// begun reports whether the removal of the command in row n was begun.
func (t *tx) begun(n int64) (bool, error) {
	r, err := t.w.conn.one(context.Background(), `SELECT 1 FROM going WHERE command = +?`, n)
	return r != nil, t.failed(err)
}

// linked reports whether the command in row n undoes one that is there, or is
// undone by one that came after row newest.
func (t *tx) linked(n, newest int64) (bool, error) {
	q := `SELECT EXISTS (SELECT 1 FROM ` + link.table + ` WHERE ` + link.column + ` = +?1)
		OR EXISTS (SELECT 1 FROM rollback WHERE original = +?1 AND command > ?2)`
	r, err := t.w.conn.one(context.Background(), q, n, newest)
	return r != nil && r.int(0) != 0, t.failed(err)
}

// removeHead removes the command on many devices in row n, or a part of it: the
// rows of its devices first.
func (t *tx) removeHead(n int64, b *budget) (done bool, err error) {
	if err := t.markGoing(n); err != nil {
		return false, err
	}
	for b.left() {
		list, err := t.w.conn.members(context.Background(), n, 0, b.rows)
		if err != nil {
			return false, t.failed(err)
		}
		if len(list) == 0 {
			return t.removeRow(&lapse{n: n, parts: true}, b)
		}
		for i := 0; i < len(list) && b.left(); i++ {
			if !list[i].over {
				return false, fmt.Errorf("execution %d of a command that goes is open", list[i].n)
			}
			done, err := t.removeRow(&list[i], b)
			if err != nil || !done {
				return false, err
			}
			b.removed.Executions++
		}
	}
	return false, nil
}

// markGoing hides the command in row n from now on.
func (t *tx) markGoing(n int64) error {
	_, _, err := t.write(`INSERT OR IGNORE INTO going (command) VALUES (?)`, n)
	return err
}

// removeRow removes one row of command with its parts. It answers false when
// those were too many.
func (t *tx) removeRow(l *lapse, b *budget) (done bool, err error) {
	for i := 0; i < len(parts) && l.parts; i++ {
		most := int64(max(b.rows, 1))
		changed, _, err := t.write(parts[i].delete(), l.n, most)
		if err != nil {
			return false, fmt.Errorf("remove row %d of command: %s: %w", l.n, parts[i].table, err)
		}
		if parts[i].count != nil {
			*parts[i].count(&b.removed) += changed
		}
		b.spend(changed)
		if changed == most && parts[i].table != "going" {
			return false, nil
		}
	}
	b.spend(1)
	if _, _, err := t.write(`DELETE FROM command WHERE n = +?`, l.n); err != nil {
		return false, fmt.Errorf("remove row %d of command: %w", l.n, err)
	}
	return true, nil
}
