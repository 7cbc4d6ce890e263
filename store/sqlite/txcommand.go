package sqlite

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"fmt"

	"behest/command"
)

// AddCommand stores a command on one device as one row, and one on many as a
// head and a row for each.
func (t *tx) AddCommand(c *command.Command, xs []command.Execution) error {
	for i := range xs {
		xs[i].Command = c
	}
	one := c.Devices == 1 && len(xs) == 1
	intent, err := t.intentValues(c, xs)
	if err != nil {
		return fmt.Errorf("add command %s: %w", c.ID, err)
	}
	var own *command.Execution
	if one {
		own = &xs[0]
	}
	n, err := t.addRow(own, nil, intent)
	if isDuplicate(err) {
		return command.Errorf(command.CodeConflict, "command %s is there already", c.ID)
	}
	if err != nil {
		return fmt.Errorf("add command %s: %w", c.ID, err)
	}
	c.N = n
	if t.first == 0 {
		t.first = n
	}
	t.last = n
	if err := t.addAsked(c, xs); err != nil {
		return fmt.Errorf("add command %s: %w", c.ID, err)
	}
	if err := t.link(c); err != nil {
		return fmt.Errorf("add command %s: %w", c.ID, err)
	}
	if one {
		return nil
	}
	for i := range xs {
		if _, err := t.addRow(&xs[i], n, noIntent); err != nil {
			return fmt.Errorf("add command %s on device %d: %w", c.ID, xs[i].Device, err)
		}
	}
	return nil
}

// addAsked stores the targets as they were asked for, unless they are the name
// of the one device.
func (t *tx) addAsked(c *command.Command, xs []command.Execution) error {
	if len(xs) == 1 && c.Devices == 1 && targetsOne(c, &xs[0]) {
		return nil
	}
	text, err := json.Marshal(c.Targets)
	if err != nil {
		return err
	}
	_, _, err = t.write(`INSERT INTO asked (command, targets) VALUES (?, ?)`, c.N, string(text))
	return err
}

const (
	intentColumns = `id, kind, who, created_at, intent, extra`
	addRow        = `INSERT INTO command (head, device, version, seal, ` + progressColumns + `, ` + intentColumns + `)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
)

var (
	noIntent    = []driver.Value{nil, nil, nil, nil, nil, nil}
	noExecution = []driver.Value{nil, nil, nil, nil, int64(0), int64(0), int64(0), nil, nil, nil}
)

// addRow adds a row with an execution, an intent or both, and gives the
// execution its number.
func (t *tx) addRow(x *command.Execution, head driver.Value, intent []driver.Value) (int64, error) {
	values := append(make([]driver.Value, 0, 17), head)
	if x == nil {
		values = append(values, noExecution...)
	} else {
		values = append(append(values, x.Device, int64(1), x.Seal), progressValues(x)...)
	}
	_, n, err := t.write(addRow, append(values, intent...)...)
	if err == nil && x != nil {
		x.N, x.Version = n, 1
		err = t.addSlot(x)
	}
	return n, err
}

// intentValues are intentColumns for c.
func (t *tx) intentValues(c *command.Command, xs []command.Execution) ([]driver.Value, error) {
	one := len(xs) == 1 && c.Devices == 1 && targetsOne(c, &xs[0])
	kind, err := t.kind(c)
	if err != nil {
		return nil, err
	}
	who, err := t.who(c.RequestedBy)
	if err != nil {
		return nil, err
	}
	text, err := extraOf(c)
	if err != nil {
		return nil, err
	}
	return []driver.Value{
		append([]byte(nil), c.ID[:]...), kind, who, c.CreatedAt.UnixMilli(), appendIntent(nil, c, one), textOrNull(text),
	}, nil
}

// kind is the row of what c has in common with others.
func (t *tx) kind(c *command.Command) (int64, error) {
	k := kindOf(c)
	if n, ok := t.w.kinds[k]; ok {
		return n, nil
	}
	terms := appendTerms(nil, &k)
	n, err := t.intern(`SELECT n FROM kind WHERE type = +? AND type_version = +? AND terms = +?`,
		`INSERT INTO kind (type, type_version, terms) VALUES (?, ?, ?)`, k.Type, int64(k.TypeVersion), terms)
	if err != nil {
		return 0, fmt.Errorf("kind: %w", err)
	}
	if len(t.w.kinds) >= knownMax {
		clear(t.w.kinds)
	}
	t.w.kinds[k] = n
	return n, nil
}

// who is the row of a name; NULL for none.
func (t *tx) who(name string) (driver.Value, error) {
	if name == "" {
		return nil, nil
	}
	if n, ok := t.w.whos[name]; ok {
		return n, nil
	}
	n, err := t.intern(`SELECT n FROM who WHERE name = +?`, `INSERT INTO who (name) VALUES (?)`, name)
	if err != nil {
		return nil, fmt.Errorf("who: %w", err)
	}
	if len(t.w.whos) >= knownMax {
		clear(t.w.whos)
	}
	t.w.whos[name] = n
	return n, nil
}

// intern finds a row, or adds it.
func (t *tx) intern(find, add string, key ...driver.Value) (int64, error) {
	r, err := t.w.conn.one(context.Background(), find, key...)
	if err != nil {
		return 0, t.failed(err)
	}
	if r != nil {
		return r.int(0), nil
	}
	_, n, err := t.write(add, key...)
	return n, err
}

func (t *tx) Command(id command.ID) (*command.Command, error) {
	c, _, err := t.w.conn.command(context.Background(), id)
	return c, t.failed(err)
}

func (t *tx) Execution(n int64) (command.Execution, error) {
	return t.execution(`WHERE x.n = +?`, n)
}

func (t *tx) ExecutionBySeq(device int64, seq uint32) (command.Execution, error) {
	return t.execution(`WHERE x.device = +? AND x.seq = +?`, device, int64(seq))
}

func (t *tx) execution(where string, args ...driver.Value) (command.Execution, error) {
	xs, err := t.w.conn.executions(context.Background(), where, args...)
	if err != nil {
		return command.Execution{}, t.failed(err)
	}
	if len(xs) == 0 {
		return command.Execution{}, command.Errorf(command.CodeNotFound, "no such execution")
	}
	return xs[0], nil
}

func (t *tx) Open(device int64) ([]command.Execution, error) {
	xs, err := t.w.conn.executions(context.Background(), `WHERE x.device = +? AND x.state < 8 ORDER BY x.n`, device)
	return xs, t.failed(err)
}

func (t *tx) OpenOf(commandN int64, limit int) ([]command.Execution, error) {
	xs, err := t.w.conn.executions(context.Background(),
		`WHERE x.n IN (
			SELECT n FROM command WHERE head = +?1 AND state BETWEEN 1 AND 7
			UNION ALL SELECT n FROM command WHERE n = +?1 AND state BETWEEN 1 AND 7 LIMIT +?2)`, commandN, int64(limit))
	return xs, t.failed(err)
}

func (t *tx) Tally(commandN int64) (command.Tally, error) {
	tally, err := t.w.conn.tally(context.Background(), commandN)
	return tally, t.failed(err)
}

// End is kept in the column settled of the head, which has no execution that
// could settle.
func (t *tx) End(commandN int64) (first bool, err error) {
	changed, _, err := t.write(`UPDATE command SET settled = 1 WHERE n = +? AND state = 0 AND settled = 0`, commandN)
	if err != nil {
		return false, fmt.Errorf("end command %d: %w", commandN, err)
	}
	return changed == 1, nil
}

// An execution gets its number when it is sent, and keeps it. To write it again
// with each move would change its page in the index of numbers, too: saveMoved
// leaves it alone, and moves only what has that number.
const (
	saveMoved = `UPDATE command SET (version, ` + movedColumns + `) = (version + 1, ?2, ?3, ?4, ?5, ?6, ?7)
		WHERE n = +?8 AND version = +?9 AND seq IS +?1 AND device IS NOT NULL`
	saveNumbered = `UPDATE command SET (version, ` + progressColumns + `) = (version + 1, ?, ?, ?, ?, ?, ?, ?)
		WHERE n = +? AND version = +? AND device IS NOT NULL`
)

func (t *tx) Save(x *command.Execution) error {
	values := append(progressValues(x), x.N, x.Version)
	changed, err := int64(0), error(nil)
	if x.State != command.Sent { // else it has most likely just got its number
		changed, _, err = t.write(saveMoved, values...)
	}
	if changed == 0 && err == nil {
		changed, _, err = t.write(saveNumbered, values...)
	}
	if isDuplicate(err) {
		return command.Errorf(command.CodeConflict, "number %d of device %q is taken", x.Seq, x.Name)
	}
	if err != nil {
		return fmt.Errorf("save execution %d: %w", x.N, err)
	}
	if changed == 0 {
		return command.Errorf(command.CodeConflict, "execution %d was changed meanwhile", x.N)
	}
	x.Version++
	return nil
}
