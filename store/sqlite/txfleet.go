package sqlite

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"behest/command"
	"behest/command/ledger"
)

// commandN is the command in row n, without its targets: they are many, and
// written out already.
func (c *conn) commandN(ctx context.Context, n int64) (found *command.Command, err error) {
	err = c.each(ctx, commandSelect+`WHERE h.n = +? AND h.id IS NOT NULL`, func(r row) (err error) {
		found, err = readCommand(r, 0, "")
		return err
	}, n)
	if err == nil && found == nil {
		err = command.Errorf(command.CodeNotFound, "no command in row %d", n)
	}
	return found, err
}

func (t *tx) CommandN(n int64) (*command.Command, error) {
	c, err := t.w.conn.commandN(context.Background(), n)
	return c, t.failed(err)
}

func (t *tx) AddExecutions(c *command.Command, xs []command.Execution) error {
	for i := range xs {
		xs[i].Command = c
		if _, err := t.addRow(&xs[i], c.N, noIntent); err != nil {
			return fmt.Errorf("add command %s on device %d: %w", c.ID, xs[i].Device, err)
		}
	}
	return nil
}

func (t *tx) AddPending(commandN int64, groups [][]int64) error {
	for k, group := range groups {
		if _, _, err := t.write(`INSERT INTO pending (command, k, handles) VALUES (?, ?, ?)`, commandN, int64(k), packHandles(group)); err != nil {
			return fmt.Errorf("add what is pending of command row %d: %w", commandN, err)
		}
	}
	return nil
}

func (t *tx) TakePending(commandN int64, limit int) ([]int64, error) {
	r, err := t.w.conn.one(context.Background(), `SELECT k, handles FROM pending WHERE command = +? ORDER BY k LIMIT 1`, commandN)
	if err != nil || r == nil {
		return nil, t.failed(err)
	}
	k := r.int(0)
	group, err := unpackHandles(r.bytes(1))
	if err != nil {
		return nil, fmt.Errorf("pending group %d of command row %d: %w", k, commandN, err)
	}
	if limit < len(group) {
		_, _, err = t.write(`UPDATE pending SET handles = ? WHERE command = +? AND k = +?`, packHandles(group[limit:]), commandN, k)
		group = group[:limit]
	} else {
		_, _, err = t.write(`DELETE FROM pending WHERE command = +? AND k = +?`, commandN, k)
	}
	if err != nil {
		return nil, fmt.Errorf("take what is pending of command row %d: %w", commandN, err)
	}
	return group, nil
}

func (t *tx) AnyPending(commandN int64) (bool, error) {
	r, err := t.w.conn.one(context.Background(), `SELECT 1 FROM pending WHERE command = +? LIMIT 1`, commandN)
	return r != nil, t.failed(err)
}

func (t *tx) DropPending(commandN int64, devices []int64) (dropped []int64, err error) {
	left := make(map[int64][]int64) // of the groups that lose some
	err = t.w.conn.each(context.Background(), `SELECT k, handles FROM pending WHERE command = +?`, func(r row) error {
		group, err := unpackHandles(r.bytes(1))
		if err != nil {
			return fmt.Errorf("pending group %d of command row %d: %w", r.int(0), commandN, err)
		}
		rest := slices.DeleteFunc(group, func(h int64) bool {
			gone := slices.Contains(devices, h)
			if gone {
				dropped = append(dropped, h)
			}
			return gone
		})
		if len(rest) < len(group) {
			left[r.int(0)] = rest
		}
		return nil
	}, commandN)
	if err != nil {
		return nil, t.failed(err)
	}
	for k, rest := range left {
		if len(rest) > 0 {
			_, _, err = t.write(`UPDATE pending SET handles = ? WHERE command = +? AND k = +?`, packHandles(rest), commandN, k)
		} else {
			_, _, err = t.write(`DELETE FROM pending WHERE command = +? AND k = +?`, commandN, k)
		}
		if err != nil {
			return nil, fmt.Errorf("drop what is pending of command row %d: %w", commandN, err)
		}
	}
	return dropped, nil
}

func (t *tx) AddOwnParams(commandN, device int64, params []byte) error {
	_, _, err := t.write(`INSERT INTO own_params (command, device, params) VALUES (?, ?, ?)`, commandN, device, params)
	if err != nil {
		return fmt.Errorf("keep the params of device %d alone: %w", device, err)
	}
	return nil
}

func (t *tx) OwnParams(commandN, device int64) ([]byte, error) {
	r, err := t.w.conn.one(context.Background(), `SELECT params FROM own_params WHERE command = +? AND device = +?`, commandN, device)
	if err != nil || r == nil || r.bytes(0) == nil {
		return nil, t.failed(err)
	}
	return append([]byte{}, r.bytes(0)...), nil
}

// OwnParams lists the devices of the command in a row that have params of their
// own, or nothing where the command has, as long as it has a gate: at most so
// many, in the order in which they became known.
func (s *Store) OwnParams(ctx context.Context, commandN int64, limit int) (list []command.Target, err error) {
	err = s.read(ctx, func(c *conn) error {
		list, err = c.ownParams(ctx, commandN, limit)
		return err
	})
	return list, err
}

func (c *conn) ownParams(ctx context.Context, n int64, limit int) (list []command.Target, err error) {
	err = c.each(ctx, `SELECT d.name, o.params FROM own_params o JOIN device d ON d.handle = o.device
		WHERE o.command = +? ORDER BY o.device LIMIT +?`, func(r row) error {
		t := command.Target{Device: r.text(0)}
		if b := r.bytes(1); b != nil {
			t.Params = append([]byte{}, b...)
		}
		list = append(list, t)
		return nil
	}, n, int64(limit))
	return list, err
}

func (t *tx) AddRefused(commandN, device int64, code command.Code) error {
	_, _, err := t.write(`INSERT INTO refused (command, device, code) VALUES (?, ?, ?)`, commandN, device, string(code))
	if err != nil {
		return fmt.Errorf("note that device %d was refused: %w", device, err)
	}
	return nil
}

// Pending lists the rows of commands that are not written out whole, and that
// no gate holds back. It steps from command to command: what one holds back is
// not read.
func (s *Store) Pending(ctx context.Context, limit int) (rows []int64, err error) {
	err = s.snapshot(ctx, func(c *conn) error {
		for after := int64(0); len(rows) < limit; {
			r, err := c.one(ctx, `SELECT p.command, EXISTS (SELECT 1 FROM gate g WHERE g.command = p.command)
				FROM pending p WHERE p.command > ? ORDER BY p.command LIMIT 1`, after)
			if err != nil || r == nil {
				return err
			}
			if after = r.int(0); r.int(1) == 0 {
				rows = append(rows, after)
			}
		}
		return nil
	})
	return rows, err
}

// holdingMax is how many groups of what is pending are looked through at a
// time.
const holdingMax = 1000

// Holding lists the rows of commands that have the device of a handle pending,
// ascending. It looks through all that is pending: who empties one device's
// queue can wait some milliseconds for that.
func (s *Store) Holding(ctx context.Context, device int64) (rows []int64, err error) {
	for n, k, more := int64(0), int64(-1), true; more; {
		looked := 0
		err := s.read(ctx, func(c *conn) error {
			return c.each(ctx, `SELECT command, k, handles FROM pending WHERE (command, k) > (?, ?) ORDER BY command, k LIMIT +?`, func(r row) error {
				looked++
				n, k = r.int(0), r.int(1)
				group, err := unpackHandles(r.bytes(2))
				if err == nil && slices.Contains(group, device) {
					rows = append(rows, n)
				}
				return err
			}, n, k, int64(holdingMax))
		})
		if err != nil {
			return nil, err
		}
		more = looked == holdingMax
	}
	return slices.Compact(rows), nil
}

// pending is how many devices of the command in row n wait to be written out.
func (c *conn) pending(ctx context.Context, n int64) (count int, err error) {
	err = c.each(ctx, `SELECT handles FROM pending WHERE command = +?`, func(r row) error {
		group, err := unpackHandles(r.bytes(0))
		count += len(group)
		return err
	}, n)
	return count, err
}

// refused lists the devices that had no room for the command in row n.
func (c *conn) refused(ctx context.Context, n int64) (refused []command.Refusal, err error) {
	err = c.each(ctx, `SELECT d.name, f.code FROM refused f JOIN device d ON d.handle = f.device WHERE f.command = +? ORDER BY d.name`, func(r row) error {
		refused = append(refused, command.Refusal{Device: r.text(0), Code: command.Code(r.text(1))})
		return nil
	}, n)
	return refused, err
}

// packHandles writes handles as differences: those of a fleet that registered
// one after the other take a byte each.
func packHandles(handles []int64) []byte {
	b := make([]byte, 0, 2*len(handles))
	before := int64(0)
	for _, h := range handles {
		b = binary.AppendVarint(b, h-before)
		before = h
	}
	return b
}

func unpackHandles(b []byte) (handles []int64, err error) {
	at := int64(0)
	for len(b) > 0 {
		d, n := binary.Varint(b)
		if n <= 0 {
			return nil, errPacked
		}
		at += d
		handles, b = append(handles, at), b[n:]
	}
	return handles, nil
}

func (t *tx) Answer(key [32]byte) (a ledger.Answer, err error) {
	r, err := t.w.conn.one(context.Background(), `SELECT request, at, body FROM answer WHERE key = +?`, key[:])
	if err != nil {
		return a, t.failed(err)
	}
	if r == nil {
		return a, command.Errorf(command.CodeNotFound, "no answer was given under that key")
	}
	copy(a.Request[:], r.bytes(0))
	a.At = fromMillis(r.int(1))
	a.Body = append([]byte(nil), r.bytes(2)...)
	return a, nil
}

func (t *tx) KeepAnswer(key [32]byte, a ledger.Answer) error {
	_, _, err := t.write(`INSERT INTO answer (key, request, at, body, first, last) VALUES (?, ?, ?, ?, ?, ?)`,
		key[:], a.Request[:], a.At.UnixMilli(), a.Body, orNull(t.first), orNull(t.last))
	if isDuplicate(err) {
		return command.Errorf(command.CodeConflict, "an answer was given under that key")
	}
	if err != nil {
		return fmt.Errorf("keep an answer: %w", err)
	}
	return nil
}
