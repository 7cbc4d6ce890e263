package sqlite

import (
	"context"
	"errors"
	"slices"
	"time"

	"behest/command"
)

// Limits of one look into the log.
const (
	eventPageMax = 1000 // events in an answer
	eventScanMax = 4096 // rows looked at: some milliseconds, so that a rare event costs several calls, not a long one
)

// Changed is closed when the log has grown, or the store has recovered from a
// failed write. Take it first, then look with Events, then wait: so nothing
// is missed.
func (s *Store) Changed() <-chan struct{} { return s.changed.wait() }

// Events lists at most limit events after a place in the log that f picks, in
// order, with ids and names filled in. next is where to go on: everything up
// to there has been looked at, be it picked or not; it is after itself when
// the log ends there. A place that this log does not have is CodeNotFound:
// whoever kept it followed a store that was replaced by a backup, and has to
// begin anew.
func (s *Store) Events(ctx context.Context, after command.Place, f command.EventFilter, limit int) (events []command.Event, next command.Place, err error) {
	limit = page(limit, eventPageMax)
	next = after
	err = s.snapshot(ctx, func(c *conn) error {
		if err := c.has(ctx, after); err != nil {
			return err
		}
		l := listing{c: c, f: f, limit: limit, next: &next}
		if f.Sees != nil {
			l.sight = newSight(f.Sees)
		}
		if known, err := l.resolve(ctx); err != nil {
			return err
		} else if !known {
			next, err = c.end(ctx)
			return err
		}
		if err := l.scan(ctx, next.N); err != nil {
			return err
		}
		events = l.events
		return l.name(ctx)
	})
	return events, next, err
}

// End is the place after the last event.
func (s *Store) End(ctx context.Context) (p command.Place, err error) {
	err = s.read(ctx, func(c *conn) error {
		p, err = c.end(ctx)
		return err
	})
	return p, err
}

func (c *conn) end(ctx context.Context) (p command.Place, err error) {
	err = c.each(ctx, `SELECT epoch, n + count - 1 FROM log ORDER BY n DESC LIMIT 1`, func(r row) error {
		p = command.Place{Epoch: uint32(r.int(0)), N: r.int(1)}
		return nil
	})
	return p, err
}

// has answers nil when p is a place in the log. The place where it was cut is
// one: who read up to there missed nothing.
func (c *conn) has(ctx context.Context, p command.Place) error {
	if p.N == 0 {
		return nil
	}
	r, err := c.one(ctx, `SELECT epoch, n + count - 1 FROM log WHERE n <= ? ORDER BY n DESC LIMIT 1`, p.N)
	if err == nil && r == nil {
		r, err = c.one(ctx, `SELECT epoch, n FROM checkpoint WHERE n = +?`, p.N)
	}
	if err == nil && (r == nil || r.int(0) != int64(p.Epoch) || r.int(1) < p.N) {
		err = c.noEvent(ctx, p)
	}
	return err
}

// listing is one look into the log.
type listing struct {
	c       *conn
	f       command.EventFilter
	limit   int
	command int64  // the row of the command that is asked for
	device  int64  // the handle of the device that is asked for
	sight   *sight // of a reader who does not see everything; nil: he does
	events  []command.Event
	next    *command.Place
}

// resolve finds the rows that the filter names. It answers false when one of
// them does not exist, and so no event can be about it.
func (l *listing) resolve(ctx context.Context) (known bool, err error) {
	if l.f.Device != "" {
		r, err := l.c.one(ctx, `SELECT handle FROM device WHERE name = +?`, l.f.Device)
		if err != nil || r == nil {
			return false, err
		}
		l.device = r.int(0)
	}
	if l.f.Command != (command.ID{}) {
		r, err := l.c.one(ctx, `SELECT n, created_at FROM command WHERE id = +?`, l.f.Command[:])
		if err != nil || r == nil {
			return false, err
		}
		l.command = r.int(0)
		return true, l.skip(ctx, r.int(1)-clockStep.Milliseconds())
	}
	return true, nil
}

// clockStep is how far the clock may have been set back between a command's
// creation and the commit that has its first event.
const clockStep = time.Minute

// skip moves the look to what was sealed at at or later, by halving what is
// left: nothing about a command is older than the command.
func (l *listing) skip(ctx context.Context, at int64) error {
	const q = `SELECT n, n + count - 1, at, epoch FROM log WHERE n <= ? ORDER BY n DESC LIMIT 1`
	end, err := l.c.end(ctx)
	if err != nil {
		return err
	}
	for low, high := l.next.N, end.N; low < high; {
		middle := low + (high-low+1)/2
		r, err := l.c.one(ctx, q, middle)
		if err != nil {
			return err
		}
		if r == nil { // the log was cut after it
			low = middle
			continue
		}
		if r.int(2) >= at {
			high = r.int(0) - 1
			continue
		}
		low = r.int(1)
		*l.next = command.Place{Epoch: uint32(r.int(3)), N: low}
	}
	return nil
}

// errEnough ends a scan whose page is full.
var errEnough = errors.New("the page is full")

// scan collects what the filter picks from the rows that hold events after n.
func (l *listing) scan(ctx context.Context, n int64) error {
	const q = `SELECT ` + logColumns + ` FROM log
		WHERE n >= coalesce((SELECT n FROM log WHERE n <= ? ORDER BY n DESC LIMIT 1), 0) ORDER BY n LIMIT +?`
	rows := eventScanMax
	if l.command == 0 && l.device == 0 && len(l.f.Types) == 0 && l.sight == nil {
		rows = min(rows, l.limit+1)
	}
	err := l.c.each(ctx, q, func(r row) error {
		sealed := readSealed(r)
		events, err := unpackEvents(&sealed)
		if err != nil {
			return err
		}
		for _, e := range events {
			if e.N <= n {
				continue
			}
			picked, err := l.picks(ctx, &e)
			if err != nil {
				return err
			}
			if picked {
				if len(l.events) == l.limit {
					return errEnough
				}
				l.events = append(l.events, e)
			}
			*l.next = command.Place{Epoch: e.Epoch, N: e.N}
		}
		return nil
	}, n+1, int64(rows))
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

func (l *listing) picks(ctx context.Context, e *command.Event) (bool, error) {
	asked := (l.command == 0 || e.CommandN == l.command) && (l.device == 0 || e.Device == l.device) &&
		(len(l.f.Types) == 0 || slices.Contains(l.f.Types, e.Type))
	if !asked || l.sight == nil {
		return asked, nil
	}
	return l.sight.event(ctx, l.c, e)
}

// name fills in the ids of commands and the names of devices.
func (l *listing) name(ctx context.Context) error {
	ids, names := make(map[int64]command.ID), make(map[int64]string)
	for i := range l.events {
		e := &l.events[i]
		if _, ok := ids[e.CommandN]; !ok && e.CommandN != 0 {
			r, err := l.c.one(ctx, `SELECT id FROM command WHERE n = (SELECT coalesce(head, n) FROM command WHERE n = +?)`, e.CommandN)
			if err != nil {
				return err
			}
			var id command.ID
			if r != nil {
				copy(id[:], r.bytes(0))
			}
			ids[e.CommandN] = id
		}
		if _, ok := names[e.Device]; !ok && e.Device != 0 {
			r, err := l.c.one(ctx, `SELECT name FROM device WHERE handle = +?`, e.Device)
			if err != nil {
				return err
			}
			if r != nil {
				names[e.Device] = r.text(0)
			}
		}
		e.Command, e.Name = ids[e.CommandN], names[e.Device]
	}
	return nil
}
