package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"behest/command/ledger"
)

var errNoMark = errors.New("the table meta is damaged: it has no mark")

// Mark is the latest time that the server is known to have reached; the zero
// time if none is. What the log says last has happened, however old the mark is
// that was kept.
func (s *Store) Mark(ctx context.Context) (at time.Time, err error) {
	err = s.read(ctx, func(c *conn) error {
		r, err := c.one(ctx, `SELECT value FROM meta WHERE name = 'mark'`)
		if err == nil && r == nil {
			err = errNoMark
		}
		if err == nil && r.int(0) > 0 {
			at = fromMillis(r.int(0))
		}
		if err != nil {
			return err
		}
		return c.each(ctx, `SELECT `+logColumns+` FROM log ORDER BY n DESC LIMIT 1`, func(r row) error {
			last := readSealed(r)
			events, err := unpackEvents(&last)
			for _, e := range events {
				if e.At.After(at) {
					at = e.At
				}
			}
			return err
		})
	})
	if err != nil {
		err = fmt.Errorf("read the mark of the clock: %w", err)
	}
	return at, err
}

// RaiseMark keeps that the server has reached a time, unless a later one is
// kept. It shares the commit of whatever else there is to write.
func (s *Store) RaiseMark(ctx context.Context, at time.Time) error {
	err := s.Update(ctx, ledger.Expiries, func(u ledger.Tx) error {
		changed, _, err := u.(*tx).write(`UPDATE meta SET value = max(value, ?) WHERE name = 'mark'`, at.UnixMilli())
		if err == nil && changed == 0 {
			err = errNoMark
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("raise the mark of the clock: %w", err)
	}
	return nil
}
