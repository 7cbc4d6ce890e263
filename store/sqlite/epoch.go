package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// Epoch is one life of a store: from its beginning, or from a restore, to the
// next restore.
type Epoch struct {
	N     uint32        // from 1
	Base  uint32        // what the numbers of devices start from, beside the clock
	After command.Place // the end of the log that was restored
}

// startOver is what a restore leaves of a device: nobody is registered, and
// nobody observes. Whatever the lost part of the history may have given counts as
// given. Who came over DTLS is still asked for a session.
const startOver = `UPDATE device SET version = version + 1, last_seq = max(last_seq, ?),
	registered_at = NULL, lifetime = NULL, win = NULL, params = NULL, links = NULL,
	observed_at = NULL, remote = NULL, local = NULL, token = NULL, block_size = NULL, suspended = NULL, session = NULL,
	was_remote = NULL, was_session = NULL, was_token = NULL`

// errNumbersOut is the end of 2^32 numbers.
var errNumbersOut = errors.New("the devices' numbers would run out: the clock and the epochs leave no room")

// openEpoch opens an epoch past all that are known, lost among them, in one
// commit. If that fails the store is of no use any more.
func (s *Store) openEpoch(ctx context.Context, now time.Time, lost uint32) (e Epoch, err error) {
	if e.After, err = s.End(ctx); err != nil {
		return e, err
	}
	err = s.Update(ctx, ledger.Expiries, func(u ledger.Tx) error {
		w := u.(*tx).w
		known := max(w.epoch, lost)
		// Each epoch adds as much as numbers can run ahead of the clock, so that the
		// first one that this clock gives is above the last one that the lost ones did.
		base := uint64(w.base) + device.SeqAhead*uint64(known-w.epoch+1)
		floor := uint64(max(0, now.Unix())) + base
		if known == math.MaxUint32 || floor > math.MaxUint32 {
			return errNumbersOut
		}
		e.N, e.Base = known+1, uint32(base)
		if _, _, err := u.(*tx).write(`UPDATE meta SET value = CASE name WHEN 'epoch' THEN ? ELSE ? END WHERE name IN ('epoch', 'base')`, int64(e.N), int64(e.Base)); err != nil {
			return err
		}
		if _, _, err := u.(*tx).write(startOver, int64(floor-1)); err != nil {
			return err
		}
		data, err := json.Marshal(map[string]any{"epoch": e.N, "after": e.After.String()})
		if err != nil {
			return err
		}
		w.epoch, w.base = e.N, e.Base // what seals this commit
		return u.Log(command.Event{Type: command.EventRestored, At: now, Data: data})
	})
	if err != nil {
		err = fmt.Errorf("open an epoch: %w", err)
	}
	return e, err
}

// epochOf is the epoch of the database at path, if that can be read at all.
func epochOf(ctx context.Context, path string) (uint32, error) {
	c, leave, err := onlook(path)
	if err != nil {
		return 0, err
	}
	m, err := readMeta(ctx, c)
	return m.epoch, errors.Join(err, leave())
}

// RestoredAfter is the last event of the log that is of the epoch of p or an
// older one. When that is before p, the log was restored without p.
func (s *Store) RestoredAfter(ctx context.Context, p command.Place) (after command.Place, err error) {
	err = s.snapshot(ctx, func(c *conn) error {
		end, err := c.end(ctx)
		if err != nil || end.Epoch <= p.Epoch {
			after = p // nothing younger is there
			return err
		}
		cut, err := c.checkpoint(ctx)
		if err != nil {
			return err
		}
		if cut != nil {
			after = command.Place{Epoch: cut.epoch, N: cut.n}
			if cut.n >= p.N || cut.epoch > p.Epoch {
				after = p // what p is of is gone, and cannot be held against it
				return nil
			}
		}
		low, high := after.N, end.N
		for low < high { // epochs only grow, so the place is found by halving
			r, err := c.one(ctx, `SELECT n, n + count - 1, epoch FROM log WHERE n <= ? ORDER BY n DESC LIMIT 1`, low+(high-low+1)/2)
			if err != nil {
				return err
			}
			if uint32(r.int(2)) > p.Epoch {
				high = r.int(0) - 1
				continue
			}
			low = r.int(1)
			after = command.Place{Epoch: uint32(r.int(2)), N: low}
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("look where the log was restored: %w", err)
	}
	return after, err
}
