package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"

	"behest/command"
)

// How an execution x is read with the command h that it belongs to, which is
// the same row when the command is on one device.
const (
	executionColumns = `x.n, x.version, x.device, d.name, x.seq, x.state, x.effect, x.settled, x.course, x.report, x.seal`
	commandColumns   = `h.n, h.id, h.created_at, w.name, k.type, k.type_version, k.terms, h.intent, h.extra`

	// A command alone, without its targets and its execution.
	commandSelect = `SELECT ` + commandColumns + ` FROM command h
	JOIN kind k ON k.n = h.kind
	LEFT JOIN who w ON w.n = h.who `

	executionFrom = ` FROM command x
	JOIN command h ON h.n = coalesce(x.head, x.n)
	JOIN device d ON d.handle = x.device
	JOIN kind k ON k.n = h.kind
	LEFT JOIN who w ON w.n = h.who `
	executionSelect = `SELECT ` + executionColumns + `, ` + commandColumns + executionFrom

	executionWidth = 11 // columns of executionColumns
)

// readCommand reads commandColumns from column at on. The name is that of the
// one device, if there is one.
func readCommand(r row, at int, name string) (*command.Command, error) {
	r = r[at:]
	c := &command.Command{
		N: r.int(0), CreatedAt: fromMillis(r.int(2)), RequestedBy: r.text(3),
		Type: r.text(4), TypeVersion: int(r.int(5)),
	}
	copy(c.ID[:], r.bytes(1))
	err := unpackTerms(r.bytes(6), c)
	var one bool
	if err == nil {
		one, err = unpackIntent(r.bytes(7), c)
	}
	if err == nil {
		err = readExtra(r.text(8), c)
	}
	if one {
		c.Targets = command.Targets{Devices: []string{name}}
	}
	if err != nil {
		return nil, fmt.Errorf("command %d: %w", c.N, err)
	}
	return c, nil
}

// readExecution reads executionColumns, of an execution of c.
func readExecution(r row, c *command.Command) (command.Execution, error) {
	x := command.Execution{
		Command: c,
		N:       r.int(0), Version: r.int(1), Device: r.int(2), Name: r.text(3), Seq: uint32(r.int(4)),
		State: command.State(r.int(5)), Effect: command.Effect(r.int(6)), Settled: r.int(7) != 0,
	}
	err := unpackCourse(r.bytes(8), &x)
	if err == nil && !r.null(9) {
		x.Last, err = unpackReport(r.bytes(9))
	}
	x.Seal = r.bytes(10)
	if err != nil {
		return command.Execution{}, fmt.Errorf("execution %d: %w", x.N, err)
	}
	return x, nil
}

// readBoth reads a row of executionSelect.
func readBoth(r row) (command.Execution, error) {
	c, err := readCommand(r, executionWidth, r.text(3))
	if err != nil {
		return command.Execution{}, err
	}
	return readExecution(r, c)
}

// executions answers with what executionSelect and the rest of the query
// find.
func (c *conn) executions(ctx context.Context, rest string, args ...driver.Value) (xs []command.Execution, err error) {
	err = c.each(ctx, executionSelect+rest, func(r row) error {
		x, err := readBoth(r)
		xs = append(xs, x)
		return err
	}, args...)
	return xs, err
}

// tally counts the executions of the command in row n.
func (c *conn) tally(ctx context.Context, n int64) (t command.Tally, err error) {
	// A command on one device is its own execution; a head has state 0.
	const q = `SELECT state, effect, settled, count(*) FROM command WHERE head = +?1 GROUP BY state, effect, settled
	UNION ALL SELECT state, effect, settled, 1 FROM command WHERE n = +?1 AND device IS NOT NULL`
	err = c.each(ctx, q, func(r row) error {
		if s := r.int(0); s < 0 || s >= int64(len(t.Count)) || r.int(1) < 0 || r.int(1) >= int64(len(t.Effects)) {
			return fmt.Errorf("an execution of command %d is in state %d, effect %d", n, s, r.int(1))
		}
		t.AddN(command.State(r.int(0)), command.Effect(r.int(1)), r.int(2) != 0, int(r.int(3)))
		return nil
	}, n)
	if err == nil {
		t.Pending, err = c.pending(ctx, n)
	}
	return t, err
}

// progress are the columns that change, in the order of progressColumns.
const (
	progressColumns = `seq, ` + movedColumns
	movedColumns    = `state, effect, settled, deadline, course, report`
)

func progressValues(x *command.Execution) []driver.Value {
	kept := stored(*x)
	var deadline driver.Value
	if when, _ := kept.Deadline(); !when.IsZero() {
		deadline = when.UnixMilli()
	}
	var report driver.Value
	if !x.ReportedAt.IsZero() {
		report = appendReport(nil, &x.Last)
	}
	settled := int64(0)
	if x.Settled {
		settled = 1
	}
	return []driver.Value{
		orNull(int64(x.Seq)), int64(x.State), int64(x.Effect), settled, deadline, appendCourse(nil, &kept), report,
	}
}
