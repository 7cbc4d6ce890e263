package sqlite

import (
	"context"
	"fmt"

	"behest/command"
)

// link notes that c undoes another command, which must be there.
func (t *tx) link(c *command.Command) error {
	if c.RollbackOf == (command.ID{}) {
		return nil
	}
	r, err := t.w.conn.one(context.Background(), `SELECT h.n FROM command h WHERE h.id = +? AND `+staying, c.RollbackOf[:])
	if err != nil {
		return t.failed(err)
	}
	if r == nil {
		return command.Errorf(command.CodeNotFound, "no command %s, which is to be undone", c.RollbackOf)
	}
	_, _, err = t.write(`INSERT INTO rollback (original, command) VALUES (?, ?)`, r.int(0), c.N)
	return err
}

func (t *tx) Rollbacks(commandN int64) (rows []int64, err error) {
	err = t.w.conn.each(context.Background(), `SELECT command FROM rollback WHERE original = +? ORDER BY command`, func(r row) error {
		rows = append(rows, r.int(0))
		return nil
	}, commandN)
	return rows, t.failed(err)
}

func (t *tx) Original(commandN int64) (int64, error) {
	r, err := t.w.conn.one(context.Background(), `SELECT original FROM rollback WHERE command = +?`, commandN)
	switch {
	case err != nil:
		return 0, t.failed(err)
	case r == nil:
		return 0, command.Errorf(command.CodeNotFound, "the command in row %d undoes none", commandN)
	}
	return r.int(0), nil
}

// rolledBackBy is the youngest command that undoes the one in row n.
func (c *conn) rolledBackBy(ctx context.Context, n int64) (id command.ID, err error) {
	r, err := c.one(ctx, `SELECT h.id FROM rollback b JOIN command h ON h.n = b.command WHERE b.original = +? ORDER BY b.command DESC LIMIT 1`, n)
	if err == nil && r != nil {
		copy(id[:], r.bytes(0))
	}
	return id, err
}

// addSlot lists x under what it sets.
func (t *tx) addSlot(x *command.Execution) error {
	if x.Command.Slot == 0 {
		return nil
	}
	_, _, err := t.write(`INSERT INTO slot (device, slot, execution) VALUES (?, ?, ?)`, x.Device, x.Command.Slot, x.N)
	if err != nil {
		return fmt.Errorf("list execution %d under its slot: %w", x.N, err)
	}
	return nil
}

// Younger goes by the effect alone, which is none before the wire and unknown on
// it: 0 is command.EffectNone. What was created first may have waited for its
// time and left last, so the order is that of the numbers; a slot is read whole.
func (t *tx) Younger(x command.Execution, limit int) ([]command.Execution, error) {
	xs, err := t.w.conn.executions(context.Background(), `WHERE x.n IN (
		SELECT s.execution FROM slot s JOIN command y ON y.n = s.execution
		WHERE s.device = +? AND s.slot = +? AND y.effect <> 0 AND (y.seq > +? OR y.seq IS NULL AND s.execution > +?)
		ORDER BY y.seq DESC, s.execution DESC LIMIT +?) ORDER BY x.seq DESC, x.n DESC`,
		x.Device, x.Command.Slot, int64(x.Seq), x.N, int64(limit))
	return xs, t.failed(err)
}

// Succeeded: 8 is command.Succeeded.
func (t *tx) Succeeded(x command.Execution) (command.Execution, error) {
	return t.execution(`WHERE x.n = (
		SELECT s.execution FROM slot s JOIN command y ON y.n = s.execution
		WHERE s.device = +? AND s.slot = +? AND y.state = 8 AND y.seq < +?
		ORDER BY y.seq DESC LIMIT 1)`, x.Device, x.Command.Slot, int64(x.Seq))
}

func (t *tx) ExecutionOf(commandN, device int64) (command.Execution, error) {
	return t.execution(`WHERE x.n = (
		SELECT n FROM command WHERE head = +?1 AND device = +?2
		UNION ALL SELECT n FROM command WHERE n = +?1 AND device = +?2)`, commandN, device)
}
