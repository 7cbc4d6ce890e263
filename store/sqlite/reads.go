package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"maps"
	"slices"
	"time"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// read runs f on a connection of the pool. What f sees is committed.
func (s *Store) read(ctx context.Context, f func(*conn) error) error {
	if s.doubt.Load() {
		return inDoubt()
	}
	select {
	case c := <-s.readers:
		defer func() { s.readers <- c }()
		return f(c)
	case <-s.shut:
		return shutDown()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// snapshot is read where f asks more than once, and all answers are to be of
// one moment.
func (s *Store) snapshot(ctx context.Context, f func(*conn) error) error {
	return s.read(ctx, func(c *conn) error {
		if _, _, err := c.exec("BEGIN"); err != nil {
			return err
		}
		err := f(c)
		_, _, end := c.exec("COMMIT")
		return errors.Join(err, end)
	})
}

// Due lists executions whose clock has lapsed at now, those first that lapsed
// first, and says when the next clock after now lapses: the zero time if none
// runs.
func (s *Store) Due(ctx context.Context, now time.Time, limit int) (due []ledger.Due, next time.Time, err error) {
	at := now.UnixMilli()
	err = s.snapshot(ctx, func(c *conn) error {
		err := c.each(ctx, `SELECT n, device FROM command WHERE deadline <= ? ORDER BY deadline, n LIMIT +?`, func(r row) error {
			due = append(due, ledger.Due{N: r.int(0), Device: r.int(1)})
			return nil
		}, at, int64(limit))
		if err != nil {
			return err
		}
		r, err := c.one(ctx, `SELECT min(deadline) FROM command WHERE deadline > ?`, at)
		if err == nil {
			next = timeAt(r, 0)
		}
		return err
	})
	return due, next, err
}

// Busy lists the handles above after of devices that have open executions,
// ascending.
func (s *Store) Busy(ctx context.Context, after int64, limit int) (handles []int64, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.each(ctx, `SELECT DISTINCT device FROM command WHERE device > ? AND state < 8 ORDER BY device LIMIT +?`, func(r row) error {
			handles = append(handles, r.int(0))
			return nil
		}, after, int64(limit))
	})
	return handles, err
}

// Quiet lists the handles above after of devices that observe, are not
// suspended, and were last seen before a time, ascending.
func (s *Store) Quiet(ctx context.Context, before time.Time, after int64, limit int) (handles []int64, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.each(ctx, `SELECT handle FROM device
			WHERE handle > ? AND observed_at IS NOT NULL AND suspended IS NULL AND seen_at < ? ORDER BY handle LIMIT ?`, func(r row) error {
			handles = append(handles, r.int(0))
			return nil
		}, after, before.UnixMilli(), int64(limit))
	})
	return handles, err
}

// Sessions lists the handles above after of devices that observe over a session
// and are not suspended, ascending.
func (s *Store) Sessions(ctx context.Context, after int64, limit int) (handles []int64, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.each(ctx, `SELECT handle FROM device
			WHERE handle > ? AND session IS NOT NULL AND suspended IS NULL ORDER BY handle LIMIT ?`, func(r row) error {
			handles = append(handles, r.int(0))
			return nil
		}, after, int64(limit))
	})
	return handles, err
}

// Health answers nil when the store reads, and writes as far as it knows.
func (s *Store) Health(ctx context.Context) error {
	return s.read(ctx, func(c *conn) error {
		_, err := c.one(ctx, `SELECT value FROM meta WHERE name = 'barrier'`)
		return err
	})
}

// command finds a command by its id, and its execution if it is on one
// device.
func (c *conn) command(ctx context.Context, id command.ID) (found *command.Command, only *command.Execution, err error) {
	err = c.each(ctx, viewSelect+`WHERE h.id = +? AND `+staying, func(r row) error {
		v, err := readView(r)
		found, only = v.Command, v.Only
		return err
	}, id[:])
	if err == nil && found == nil {
		err = c.noCommand(ctx, id)
	}
	return found, only, err
}

// staying is the condition that a command is not being removed.
const staying = `NOT EXISTS (SELECT 1 FROM going WHERE command = h.n)`

// viewSelect reads commands, each with its execution if it is on one device.
const viewSelect = `SELECT h.n, h.version, h.device, d.name, h.seq, h.state, h.effect, h.settled, h.course, h.report, h.seal, ` + commandColumns + `, a.targets
	FROM command h
	JOIN kind k ON k.n = h.kind
	LEFT JOIN device d ON d.handle = h.device
	LEFT JOIN who w ON w.n = h.who
	LEFT JOIN asked a ON a.command = h.n `

const askedColumn = executionWidth + 9 // behind commandColumns

// readView reads a row of viewSelect. A command on many devices still lacks
// its tally.
func readView(r row) (command.View, error) {
	c, err := readCommand(r, executionWidth, r.text(3))
	if err == nil {
		err = readAsked(r.text(askedColumn), c)
	}
	if err != nil || r.null(2) {
		return command.View{Command: c}, err
	}
	x, err := readExecution(r, c)
	if err != nil {
		return command.View{}, err
	}
	v := command.View{Command: c, Only: &x}
	v.Tally.Add(x)
	return v, nil
}

// Command is a command as it stands.
func (s *Store) Command(ctx context.Context, id command.ID) (v command.View, err error) {
	err = s.snapshot(ctx, func(c *conn) (err error) {
		v.Command, v.Only, err = c.command(ctx, id)
		if err != nil {
			return err
		}
		return c.count(ctx, &v)
	})
	return v, err
}

// count fills in what v has beside its command and the one execution. What
// few commands can have is only looked up for those.
func (c *conn) count(ctx context.Context, v *command.View) (err error) {
	n := v.Command.N
	if v.Only != nil {
		v.Tally = command.Tally{}
		v.Tally.Add(*v.Only)
	} else if v.Tally, err = c.tally(ctx, n); err == nil {
		v.Refused, err = c.refused(ctx, n)
	}
	if err == nil && v.Command.Gated() {
		v.Gate, err = c.gate(ctx, v.Command)
	}
	if err == nil && v.Command.Approval != nil {
		v.Decisions, err = c.decisions(ctx, n)
	}
	if err == nil && v.Command.Slot != 0 {
		v.RolledBackBy, err = c.rolledBackBy(ctx, n)
	}
	if err == nil && v.Gate != nil && v.Command.Restores {
		v.Own, err = c.ownParams(ctx, n, command.PageMax)
	}
	return err
}

// Execution is the execution of command id on the device of that name, with
// everything that the device said about it, oldest first.
func (s *Store) Execution(ctx context.Context, id command.ID, device string) (x command.Execution, said []command.PastReport, err error) {
	err = s.snapshot(ctx, func(c *conn) error {
		found, only, err := c.command(ctx, id)
		if err != nil {
			return err
		}
		if only == nil {
			xs, err := c.executions(ctx, `WHERE x.head = +? AND d.name = +?`, found.N, device)
			if err != nil {
				return err
			}
			if len(xs) > 0 {
				only = &xs[0]
			}
		}
		if only == nil || only.Name != device {
			return command.Errorf(command.CodeNotFound, "command %s is not for device %q", id, device)
		}
		x = *only
		said, err = c.reports(ctx, x)
		return err
	})
	return x, said, err
}

// reports are what the device said about x: what was replaced, and the last.
func (c *conn) reports(ctx context.Context, x command.Execution) (said []command.PastReport, err error) {
	err = c.each(ctx, `SELECT at, body FROM report WHERE execution = +? ORDER BY k`, func(r row) error {
		report, err := unpackReport(r.bytes(1))
		said = append(said, command.PastReport{At: fromMillis(r.int(0)), Report: report})
		return err
	}, x.N)
	if !x.ReportedAt.IsZero() {
		said = append(said, command.PastReport{At: x.ReportedAt, Report: x.Last})
	}
	return said, err
}

// Executions lists the executions of command id in the order in which they
// were made, only those after row after, and only those in a state if one is
// named.
func (s *Store) Executions(ctx context.Context, id command.ID, state string, after int64, limit int) (xs []command.Execution, more bool, err error) {
	const where = `WHERE (x.head = +?1 OR x.n = +?1) AND x.n > ?2 AND (?3 = 0 OR x.state = +?3) ORDER BY x.n LIMIT +?4`
	var in command.State
	if state != "" {
		if in, err = command.ParseState(state); err != nil {
			return nil, false, err
		}
	}
	limit = page(limit, command.PageMax)
	err = s.snapshot(ctx, func(c *conn) error {
		found, _, err := c.command(ctx, id)
		if err != nil {
			return err
		}
		xs, err = c.executions(ctx, where, found.N, after, int64(in), int64(limit)+1)
		return err
	})
	if len(xs) > limit {
		return xs[:limit], true, err
	}
	return xs, false, err
}

// page is how many a page has when limit is asked for.
func page(limit, most int) int {
	if limit <= 0 {
		return most
	}
	return min(limit, most)
}

// Device is the device of that name. A removed one is none.
func (s *Store) Device(ctx context.Context, name string) (v device.View, err error) {
	err = s.read(ctx, func(c *conn) error {
		views, err := c.devices(ctx, `WHERE name = +? AND removed_at IS NULL`, name)
		if err == nil && len(views) == 0 {
			return command.Errorf(command.CodeNotFound, "no device is called %q", name)
		}
		if err == nil {
			v = views[0]
		}
		return err
	})
	return v, err
}

// Devices lists devices in the order of their names.
func (s *Store) Devices(ctx context.Context, f device.Filter) (views []device.View, more bool, err error) {
	limit := page(f.Limit, device.PageMax)
	if f.Sees != nil {
		views, err = s.devicesSeen(ctx, f, limit)
		return views[:min(len(views), limit)], len(views) > limit, err
	}
	where, args := `WHERE removed_at IS NULL AND name > ?`, []driver.Value{f.After}
	where, args = withLabels(where, args, "labels", "$", f.Label)
	err = s.read(ctx, func(c *conn) error {
		views, err = c.devices(ctx, where+` ORDER BY name LIMIT +?`, append(args, int64(limit)+1)...)
		return err
	})
	if len(views) > limit {
		return views[:limit], true, err
	}
	return views, false, err
}

func (c *conn) devices(ctx context.Context, rest string, args ...driver.Value) (views []device.View, err error) {
	const open = `(SELECT count(*) FROM command x WHERE x.device = handle AND x.state < 8)`
	err = c.each(ctx, `SELECT handle, `+deviceColumns+`, `+open+` FROM device `+rest, func(r row) error {
		d, err := readDevice(r)
		views = append(views, device.View{Device: d, Open: int(r.int(1 + deviceColumnCount))})
		return err
	}, args...)
	return views, err
}

// withLabels adds to a condition that column holds all of labels below path.
func withLabels(where string, args []driver.Value, column, path string, labels map[string]string) (string, []driver.Value) {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		where += ` AND EXISTS (SELECT 1 FROM json_each(` + column + `, '` + path + `') WHERE key = +? AND value = +?)`
		args = append(args, key, labels[key])
	}
	return where, args
}
