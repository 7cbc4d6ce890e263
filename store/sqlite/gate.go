package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"behest/command"
)

// gateBody is the column `body`: the gate as package command writes it. Its
// times keep what is below a millisecond, which a rate may need.
func gateBody(g *command.Gate) (string, error) {
	kept := *g
	for _, t := range []*time.Time{&kept.ApprovedAt, &kept.WaveAt, &kept.PacedAt} {
		*t = t.UTC()
	}
	b, err := json.Marshal(kept)
	return string(b), err
}

// lookAt is the column `look`: not before the time that it stands for.
func lookAt(look time.Time) time.Time {
	if look.IsZero() {
		return look
	}
	return look.Add(time.Millisecond - 1)
}

// gate is the gate of a command, if it has one. The command lacks its targets
// unless they are given.
func (c *conn) gate(ctx context.Context, of *command.Command) (*command.Gate, error) {
	r, err := c.one(ctx, `SELECT version, body FROM gate WHERE command = +?`, of.N)
	if err != nil || r == nil {
		return nil, err
	}
	g := &command.Gate{Command: of, Version: r.int(0)}
	if err := json.Unmarshal([]byte(r.text(1)), g); err != nil {
		return nil, fmt.Errorf("gate of command %d: %w", of.N, err)
	}
	return g, nil
}

// gateOf is the gate of the command in row n.
func (c *conn) gateOf(ctx context.Context, n int64) (command.Gate, error) {
	of, err := c.commandN(ctx, n)
	if err != nil {
		return command.Gate{}, err
	}
	g, err := c.gate(ctx, of)
	if err != nil {
		return command.Gate{}, err
	}
	if g == nil {
		return command.Gate{}, command.Errorf(command.CodeNotFound, "command %s has no gate", of.ID)
	}
	return *g, nil
}

func (t *tx) Gate(commandN int64) (command.Gate, error) {
	g, err := t.w.conn.gateOf(context.Background(), commandN)
	return g, t.failed(err)
}

func (t *tx) AddGate(g *command.Gate, look time.Time) error {
	body, err := gateBody(g)
	if err == nil {
		_, _, err = t.write(`INSERT INTO gate (command, version, look, body) VALUES (?, 1, ?, ?)`, g.Command.N, timeOrNull(lookAt(look)), body)
	}
	if isDuplicate(err) {
		return command.Errorf(command.CodeConflict, "command %s has a gate already", g.Command.ID)
	}
	if err != nil {
		return fmt.Errorf("add the gate of command row %d: %w", g.Command.N, err)
	}
	g.Version = 1
	return nil
}

// SaveGate deletes a gate that is done.
func (t *tx) SaveGate(g *command.Gate, look time.Time) error {
	body, err := gateBody(g)
	if err != nil {
		return fmt.Errorf("save the gate of command row %d: %w", g.Command.N, err)
	}
	var changed int64
	if g.State == command.GateDone {
		changed, _, err = t.write(`DELETE FROM gate WHERE command = +? AND version = +?`, g.Command.N, g.Version)
		if err == nil && g.Command.Restores {
			_, _, err = t.write(`DELETE FROM own_params WHERE command = +?`, g.Command.N)
		}
	} else {
		changed, _, err = t.write(`UPDATE gate SET version = version + 1, look = ?, body = ? WHERE command = +? AND version = +?`,
			timeOrNull(lookAt(look)), body, g.Command.N, g.Version)
	}
	if err != nil {
		return fmt.Errorf("save the gate of command row %d: %w", g.Command.N, err)
	}
	if changed == 0 {
		return command.Errorf(command.CodeConflict, "the gate of command %s was changed meanwhile", g.Command.ID)
	}
	g.Version++
	return nil
}

// GatesDue lists the rows of commands whose gates are to be asked at now,
// those first whose time came first, and says when the next is after now.
func (s *Store) GatesDue(ctx context.Context, now time.Time, limit int) (rows []int64, next time.Time, err error) {
	at := now.UnixMilli()
	err = s.snapshot(ctx, func(c *conn) error {
		err := c.each(ctx, `SELECT command FROM gate WHERE look <= ? ORDER BY look, command LIMIT +?`, func(r row) error {
			rows = append(rows, r.int(0))
			return nil
		}, at, int64(limit))
		if err != nil {
			return err
		}
		r, err := c.one(ctx, `SELECT min(look) FROM gate WHERE look > ?`, at)
		if err == nil {
			next = timeAt(r, 0)
		}
		return err
	})
	return rows, next, err
}

// Gates lists the rows of commands after a row that have gates, ascending.
func (s *Store) Gates(ctx context.Context, after int64, limit int) (rows []int64, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.each(ctx, `SELECT command FROM gate WHERE command > ? ORDER BY command LIMIT +?`, func(r row) error {
			rows = append(rows, r.int(0))
			return nil
		}, after, int64(limit))
	})
	return rows, err
}

// GateTally is the gate of the command in a row, and how those stand that it
// let through.
func (s *Store) GateTally(ctx context.Context, commandN int64) (g command.Gate, t command.Tally, err error) {
	err = s.snapshot(ctx, func(c *conn) error {
		if g, err = c.gateOf(ctx, commandN); err != nil {
			return err
		}
		t, err = c.tally(ctx, commandN)
		return err
	})
	return g, t, err
}
