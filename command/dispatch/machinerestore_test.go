package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"behest/command"
	"behest/command/dispatch"
	"behest/store/sqlite"
)

// backup is a copy of the store, and what was known when it was made.
type backup struct {
	path   string
	model  *model
	keys   []keyed
	types  map[string]command.Type
	things []thing
}

// backUp copies the store while it runs.
func (m *machine) backUp() {
	m.n++
	b := &backup{path: filepath.Join(m.root, fmt.Sprint("backup-", m.n), "db"), model: m.model.clone(), types: maps.Clone(m.types)}
	for _, k := range m.keys {
		b.keys = append(b.keys, *k)
	}
	for _, d := range m.things {
		b.things = append(b.things, *d)
	}
	m.p.disk.backUp(filepath.Dir(b.path))
	m.backup = b
	m.note("a backup")
}

// restore has the process die, and puts the backup in the place of what it left,
// by a clock that is right. People and devices remember what the store does not.
func (m *machine) restore() {
	m.sum.restores++
	dead := m.p
	dead.disk.kill()
	m.bury(dead)
	m.ahead.Store(max(m.ahead.Load(), int64(time.Until(m.latest))))
	var lost dispatch.Lost
	done, err := sqlite.Restore(background, filepath.Join(dead.disk.left, "db"), sqlite.Restoring{
		From: m.backup.path, Replace: true, Logger: slog.New(slog.DiscardHandler),
		Now: func(context.Context, *sqlite.Store) (time.Time, error) { return m.wall(), nil },
		End: func(ctx context.Context, s *sqlite.Store) error {
			mark, err := s.Mark(ctx)
			clock := dispatch.NewClock(dispatch.ClockOptions{Mark: mark, Trust: true, Wall: m.wall})
			ended, also := dispatch.EndRestored(ctx, s, clock, nil)
			lost = ended
			return errors.Join(err, also)
		},
	})
	m.ok(err)
	was := m.model
	m.model = m.backup.model.clone()
	m.model.goOn(was, done.Epoch)
	m.forget()
	m.boot(dead.disk.left, true, false)
	m.model.renewed = m.p.begun.N
	m.note("the backup is restored: %+v, %+v", done.Epoch, lost)
	open := m.model.open()
	m.model.look()
	for _, p := range open {
		m.model.must(p.state == timedOut && p.cause == "restored", "%s on %s was open in the backup, and is %s", p.life.label(), p.device, p.state)
	}
	m.model.must(len(open) == 0 || lost.Executions == len(open), "%d executions were open, %d ended", len(open), lost.Executions)
	for _, l := range m.model.lives {
		m.model.must(l.ended || len(l.parts) == 0, "%s has not ended, in a restored store", l.label())
	}
	if !m.seldom(4, "loops later") {
		m.p.loops()
	}
}

// forget leaves of the machine's own what the backup had.
func (m *machine) forget() {
	b := m.backup
	m.types = maps.Clone(b.types)
	m.keys = nil
	for _, k := range b.keys {
		m.keys = append(m.keys, &k)
	}
	for i, d := range m.things {
		d.handle, d.awake = b.things[i].handle, b.things[i].awake
	}
	for _, t := range m.tries {
		if !slices.ContainsFunc(m.model.lives, func(l *life) bool { return l.try == t }) {
			t.answer, t.id = no, command.ID{}
		}
	}
}

// clone is a model that goes its own way. What was said and what arrived is
// nobody's to forget.
func (k *model) clone() *model {
	c := *k
	c.lives, c.byID, c.numbers, c.forgot = nil, map[command.ID]*life{}, map[string]map[uint32]*part{}, nil
	c.reported, c.handles = maps.Clone(k.reported), maps.Clone(k.handles)
	c.site = maps.Clone(k.site)
	c.may, c.might, c.lacked = maps.Clone(k.may), maps.Clone(k.might), maps.Clone(k.lacked)
	for _, l := range k.lives {
		x := *l
		x.said, x.yes, x.no = maps.Clone(l.said), maps.Clone(l.yes), maps.Clone(l.no)
		x.parts, x.xs = nil, map[string]*part{}
		for _, p := range l.parts {
			y := *p
			y.life = &x
			x.parts, x.xs[y.device] = append(x.parts, &y), &y
			if y.seq != 0 {
				if c.numbers[y.device] == nil {
					c.numbers[y.device] = map[uint32]*part{}
				}
				c.numbers[y.device][y.seq] = &y
			}
		}
		c.lives, c.byID[x.id] = append(c.lives, &x), &x
	}
	return &c
}

// goOn takes over from was, whose store is lost, what devices know of it: their
// numbers, and what they said.
func (k *model) goOn(was *model, e sqlite.Epoch) {
	k.must(e.N == was.epoch+1, "epoch %d comes after epoch %d", e.N, was.epoch)
	k.must(e.After == k.place, "the backup's log ended at %v, and goes on after %v", k.place, e.After)
	k.epoch, k.greatest = e.N, was.greatest
	k.said, k.arrived, k.lost, k.removed, k.emptied = was.said, was.arrived, was.lost, was.removed, was.emptied
	k.shows, k.left, k.looked, k.held = nil, nil, time.Now(), false
	for _, l := range k.lives {
		l.late = time.Now()
		for _, p := range l.parts {
			p.ready, p.overdue, p.queuedIn = time.Time{}, time.Time{}, nil
		}
	}
}

// open are the parts that have not ended.
func (k *model) open() (some []*part) {
	for _, l := range k.lives {
		for _, p := range l.parts {
			if !p.state.Ended() {
				some = append(some, p)
			}
		}
	}
	return some
}
