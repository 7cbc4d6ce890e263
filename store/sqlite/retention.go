package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"behest/command"
	"behest/command/ledger"
)

// How retention goes about it. A step is a unit of work among others: it goes
// last into a group, ends in time, and leaves the writer alone for several
// times as long as it took, waiting included.
const (
	stepRows     = 64                     // rows that a step removes
	stepLogBytes = 256 << 10              // bytes of the log that a step hashes and removes
	stepTime     = 500 * time.Microsecond // after which a step begins no further row
	stepPause    = 5 * time.Millisecond   // after a step, at least
	stepShare    = 3                      // and this many times what the step took

	lookRows  = 512 // rows that are looked at in one read
	passShare = 20  // a pass is followed by this many times its length,
	passLeast = time.Minute
	passMost  = time.Hour // or this
)

// hooksWait is how much longer than anybody else webhooks have for an event. A
// hook that takes nothing is disabled before; one that is slower than the
// events come must not fill the disk.
const hooksWait = 7 * 24 * time.Hour

// RunRetention removes what is too old, again and again, until ctx ends. What
// goes wrong is logged and tried again later.
func (s *Store) RunRetention(ctx context.Context, r ledger.Keeping) error {
	if r.Keep <= 0 {
		<-ctx.Done()
		return nil
	}
	for {
		begun := time.Now()
		removed, err := s.Retain(ctx, r)
		took := time.Since(begun)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			s.log.Error("retention stopped, and will go on later", "err", err)
		case removed != (ledger.Removed{}):
			s.log.Info("what was too old is gone", "commands", removed.Commands, "executions", removed.Executions,
				"events", removed.Events, "answers", removed.Answers, "took", took.Round(time.Millisecond))
		}
		least := min(passLeast, max(stepPause, r.Keep/10))
		if !s.pause(ctx, min(max(passShare*took, least), passMost)) {
			<-ctx.Done() // the store is closed; who runs this ends it
			return nil
		}
	}
}

// Retain removes once what is too old: first of the log, whole groups from its
// beginning; then commands that were wholly over before what is left of the
// log, so that an event always names its command; then answers about them. The
// newest row of commands and of the log stay: numbers go on from them.
//
// If we crash anywhere, what went is gone whole, step by step, and a command of
// which a part is gone is hidden and goes on going in the next pass.
func (s *Store) Retain(ctx context.Context, r ledger.Keeping) (ledger.Removed, error) {
	if r.Keep <= 0 || r.Held != nil && r.Held() {
		return ledger.Removed{}, nil
	}
	now := r.Now().UnixMilli()
	p := &pass{s: s, now: now, keep: r.Keep.Milliseconds()}
	p.before, p.heads = now-p.keep, make(map[int64]bool)
	for _, part := range []func(context.Context) error{p.cutLog, p.begin, p.finish, p.commands, p.answers} {
		if err := part(ctx); err != nil {
			return p.removed, fmt.Errorf("retention: %w", err)
		}
	}
	return p.removed, nil
}

// pass is one walk over everything.
type pass struct {
	verdicts
	s       *Store
	now     int64
	keep    int64
	going   []int64 // commands whose removal was begun
	removed ledger.Removed
}

// step commits f, and leaves the writer to the others for a while. f is given
// a budget, and sets what it finds out afresh: it may run more than once.
func (p *pass) step(ctx context.Context, f func(*tx, *budget) error) error {
	begun := time.Now()
	var b budget
	err := p.s.Update(ctx, ledger.Retention, func(lt ledger.Tx) error {
		t := lt.(*tx)
		b = newBudget()
		err := f(t, &b)
		if err == nil && b.removed.Commands > 0 {
			_, _, err = t.write(`UPDATE meta SET value = max(value, ?) WHERE name = 'removed'`, p.before)
		}
		return err
	})
	if err != nil {
		return err
	}
	p.removed.Add(b.removed)
	p.s.stats.removed(b.removed)
	if !p.s.pause(ctx, max(stepPause, stepShare*time.Since(begun))) {
		return errors.Join(context.Cause(ctx), shutDown())
	}
	return nil
}

func (p *pass) cutLog(ctx context.Context) error {
	needed, err := p.s.HooksNeed(ctx)
	if err != nil {
		return fmt.Errorf("ask what webhooks need of the log: %w", err)
	}
	c := cutting{now: p.now, before: p.before, needed: needed, last: p.before - hooksWait.Milliseconds()}
	for more := true; more && err == nil; {
		err = p.step(ctx, func(t *tx, b *budget) (err error) {
			more, err = t.cut(c, b)
			return err
		})
	}
	return err
}

// begin finds out what the log still tells of, and what must not go.
func (p *pass) begin(ctx context.Context) error {
	return p.s.snapshot(ctx, func(c *conn) error {
		first, _, err := c.oldest(ctx)
		if err != nil {
			return err
		}
		if first > 0 { // an event may be sealed a little after what it tells of
			p.before = min(p.before, first-min(clockStep.Milliseconds(), p.keep))
		}
		r, err := c.one(ctx, `SELECT max(n) FROM command`)
		if err != nil {
			return err
		}
		p.newest = r.int(0)
		return c.each(ctx, `SELECT command FROM going WHERE command > 0 ORDER BY command`, func(r row) error {
			p.going = append(p.going, r.int(0))
			return nil
		})
	})
}

// finish goes on with what a pass before this one began.
func (p *pass) finish(ctx context.Context) error { return p.remove(ctx, p.going) }

// commands walks over the commands, the oldest first, up to those that are
// too young to be over long enough.
func (p *pass) commands(ctx context.Context) error {
	for at, ended := int64(0), false; !ended; {
		var old []lapse
		err := p.s.read(ctx, func(c *conn) error {
			ended = true // unless it sees a row
			return c.lapses(ctx, `WHERE c.n > ? AND c.id IS NOT NULL ORDER BY c.n LIMIT +?`, func(l *lapse) error {
				at, ended = l.n, l.created >= p.before || l.n >= p.newest
				if ended {
					return errEnough
				}
				if l.before(p.before) {
					old = append(old, *l)
				}
				return nil
			}, at, int64(lookRows))
		})
		if err != nil {
			return err
		}
		rows, err := p.choose(ctx, old)
		if err != nil {
			return err
		}
		if err := p.remove(ctx, rows); err != nil {
			return err
		}
	}
	return nil
}

// choose picks the rows of those that may go. Between two, it lends the
// connection to others.
func (p *pass) choose(ctx context.Context, old []lapse) (rows []int64, err error) {
	for i := range old {
		err := p.s.read(ctx, func(c *conn) error {
			goes, err := p.goes(ctx, c, &old[i])
			if goes {
				rows = append(rows, old[i].n)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// remove removes commands, in the order of their rows: what is undone goes
// before what undid it.
func (p *pass) remove(ctx context.Context, rows []int64) error {
	for len(rows) > 0 {
		var left []int64
		err := p.step(ctx, func(t *tx, b *budget) error {
			for left = rows; len(left) > 0 && b.left(); left = left[1:] {
				if done, err := t.removeCommand(left[0], p.newest, b); err != nil || !done {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		rows = left
	}
	return nil
}

// answers removes what was answered about commands that are gone.
func (p *pass) answers(ctx context.Context) error {
	const q = `SELECT key, at, EXISTS (SELECT 1 FROM command WHERE n BETWEEN a.first AND a.last AND id IS NOT NULL)
		FROM answer a WHERE (at, key) > (?, ?) AND at < ? ORDER BY at, key LIMIT +?`
	before := p.now - max(p.keep, ledger.AnswersMin.Milliseconds())
	at, key := int64(math.MinInt64), []byte{}
	for seen := lookRows; seen == lookRows; {
		var keys [][]byte
		seen = 0
		err := p.s.read(ctx, func(c *conn) error {
			return c.each(ctx, q, func(r row) error {
				key, at = r.bytes(0), r.int(1)
				if seen++; r.int(2) == 0 {
					keys = append(keys, key)
				}
				return nil
			}, at, key, before, int64(lookRows))
		})
		if err != nil {
			return err
		}
		if err := p.removeAnswers(ctx, keys); err != nil {
			return err
		}
	}
	return nil
}

func (p *pass) removeAnswers(ctx context.Context, keys [][]byte) error {
	for len(keys) > 0 {
		var left [][]byte
		err := p.step(ctx, func(t *tx, b *budget) error {
			for left = keys; len(left) > 0 && b.left(); left = left[1:] {
				changed, _, err := t.write(`DELETE FROM answer WHERE key = +?`, left[0])
				if err != nil {
					return fmt.Errorf("remove an answer: %w", err)
				}
				b.removed.Answers += changed
				b.spend(1)
			}
			return nil
		})
		if err != nil {
			return err
		}
		keys = left
	}
	return nil
}

// Oldest says when the oldest event that is kept was sealed, and when the oldest
// command was made; the zero time if there is none.
func (s *Store) Oldest(ctx context.Context) (event, made time.Time, err error) {
	err = s.snapshot(ctx, func(c *conn) error {
		e, m, err := c.oldest(ctx)
		if e > 0 {
			event = fromMillis(e)
		}
		if m > 0 {
			made = fromMillis(m)
		}
		return err
	})
	return event, made, err
}

func (c *conn) oldest(ctx context.Context) (event, made int64, err error) {
	r, err := c.one(ctx, `SELECT (SELECT at FROM log WHERE n > 0 ORDER BY n LIMIT 1),
		(SELECT created_at FROM command WHERE n > 0 AND id IS NOT NULL ORDER BY n LIMIT 1)`)
	if err != nil {
		return 0, 0, err
	}
	return r.int(0), r.int(1), nil
}

// noCommand is what is said of a command that is not there. Ids of version 7
// tell when they were made [RFC 9562 5.7], and so whether it can have been here.
func (c *conn) noCommand(ctx context.Context, id command.ID) error {
	r, err := c.one(ctx, `SELECT value FROM meta WHERE name = 'removed'`)
	if err != nil {
		return err
	}
	if made, known := madeAt(id); known && r != nil && made < r.int(0) {
		return command.Errorf(command.CodeNotFound, "no command %s; it was removed if it was ever here: what was over before %s is not kept (--keep)",
			id, fromMillis(r.int(0)).Format(time.RFC3339))
	}
	return command.Errorf(command.CodeNotFound, "no command %s", id)
}

// madeAt reads the milliseconds of an id of version 7.
func madeAt(id command.ID) (ms int64, known bool) {
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return ms, id[6]>>4 == 7
}
