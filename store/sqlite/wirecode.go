package sqlite

import (
	"context"
	"errors"
)

// OpenUnder is a type, other than the named one, that has or had a wire code and
// of whose commands under that code one has not ended; empty: there is none. If
// another type ever had the code it goes through all that is open, beside the
// writer.
func (s *Store) OpenUnder(ctx context.Context, code uint16, except string) (name string, err error) {
	err = s.snapshot(ctx, func(c *conn) error {
		kinds, err := c.kindsUnder(ctx, code, except)
		if err != nil || len(kinds) == 0 {
			return err
		}
		look := func(r row) error {
			if name = kinds[r.int(0)]; name != "" {
				return errEnough
			}
			return nil
		}
		if err = c.each(ctx, openKinds, look); err == nil {
			err = c.each(ctx, pendingKinds, look)
		}
		if errors.Is(err, errEnough) {
			return nil
		}
		return err
	})
	return name, err
}

// openKinds are the kinds of what is open, pendingKinds of what is not written
// out. 8 is command.Succeeded, the first state that has ended.
const (
	openKinds = `SELECT h.kind FROM command x INDEXED BY command_open JOIN command h ON h.n = coalesce(x.head, x.n)
		WHERE x.device IS NOT NULL AND x.state < 8`
	pendingKinds = `SELECT h.kind FROM pending JOIN command h ON h.n = pending.command`
)

// kindsUnder are the kinds of commands with a wire code, and the names of their
// types, but for one.
func (c *conn) kindsUnder(ctx context.Context, code uint16, except string) (map[int64]string, error) {
	const q = `SELECT k.n, k.type FROM type t JOIN kind k ON k.type = t.name AND k.type_version = t.version
		WHERE t.wire_code = +? AND t.name <> +?`
	kinds := make(map[int64]string)
	err := c.each(ctx, q, func(r row) error {
		kinds[r.int(0)] = r.text(1)
		return nil
	}, int64(code), except)
	return kinds, err
}
