package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"behest/command"
	"behest/command/ledger"
)

// LogNumber is what tells the log from all others: its chain begins with it.
func (s *Store) LogNumber(ctx context.Context) (log [32]byte, err error) {
	err = s.read(ctx, func(c *conn) error {
		m, err := readMeta(ctx, c)
		copy(log[:], m.genesis)
		return err
	})
	return log, err
}

// Checkpoint is the log as it stands, signed.
func (s *Store) Checkpoint(ctx context.Context, now time.Time) (c command.Checkpoint, err error) {
	err = s.snapshot(ctx, func(conn *conn) error {
		c, err = s.anchor(ctx, conn, now)
		return err
	})
	return c, err
}

// LogCheckpoint signs the log as it stands and says so in the log itself, so
// that whoever follows it has the checkpoint. When nothing but checkpoints came
// since the last one, it answers with that.
func (s *Store) LogCheckpoint(ctx context.Context, now time.Time) (c command.Checkpoint, err error) {
	grown := true
	err = s.snapshot(ctx, func(conn *conn) error {
		last, err := lastCheckpoint(ctx, conn)
		if err == nil && last != nil && string(last.Key[:]) == string(s.key.public()) {
			c, grown = *last, false
			return nil
		}
		if err == nil {
			c, err = s.anchor(ctx, conn, now)
		}
		return err
	})
	if err != nil || !grown {
		return c, err
	}
	data, err := json.Marshal(c)
	if err != nil {
		return c, fmt.Errorf("log a checkpoint: %w", err)
	}
	return c, s.Update(ctx, ledger.Expiries, func(t ledger.Tx) error {
		return t.Log(command.Event{Type: command.EventCheckpoint, At: now, Data: data})
	})
}

func (s *Store) anchor(ctx context.Context, conn *conn, now time.Time) (c command.Checkpoint, err error) {
	m, err := readMeta(ctx, conn)
	if err != nil {
		return c, err
	}
	end, err := lastSealed(ctx, conn)
	if err != nil {
		return c, err
	}
	if end == nil {
		return c, command.Errorf(command.CodeNotFound, "the log is empty: there is nothing to sign")
	}
	c = command.Checkpoint{
		Log: [32]byte(m.genesis), At: command.Place{Epoch: end.epoch, N: end.n + end.count - 1}, Hash: [32]byte(end.hash),
		SealedAt: fromMillis(end.at), SignedAt: fromMillis(now.UnixMilli()),
	}
	c.Sign(s.key.private)
	return c, nil
}

func lastSealed(ctx context.Context, c *conn) (end *sealed, err error) {
	err = c.each(ctx, `SELECT `+logColumns+` FROM log ORDER BY n DESC LIMIT 1`, func(r row) error {
		s := readSealed(r)
		end = &s
		return nil
	})
	return end, err
}

// lastCheckpoint is the one that the log ends with; nil: something else came
// after it.
func lastCheckpoint(ctx context.Context, c *conn) (*command.Checkpoint, error) {
	end, err := lastSealed(ctx, c)
	if err != nil || end == nil {
		return nil, err
	}
	events, err := unpackEvents(end)
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		if e.Type != command.EventCheckpoint {
			return nil, nil
		}
	}
	p, err := command.ParseCheckpoint(events[len(events)-1].Data)
	return &p, err
}
