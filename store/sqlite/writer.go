package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mattn/go-sqlite3"

	"behest/command"
)

// step names a step of a commit, so that a test can make it fail, before or
// after it has had its effect.
type step string

const (
	stepBegin   step = "begin"
	stepWork    step = "work"
	stepSeal    step = "seal"
	stepCommit  step = "commit"
	stepReopen  step = "reopen"
	stepBarrier step = "barrier"
)

// stepFunc runs a step.
type stepFunc func(step, func() error) error

// writer is the connection that writes and what Run knows without asking. All
// of it is read from the file when the file is opened; after a doubt there is
// a new one.
type writer struct {
	s    *Store
	conn *conn

	epoch   uint32
	base    uint32
	genesis []byte
	log     chain            // the end of the log
	kinds   map[kind]int64   // rows of the table, those that were needed
	whos    map[string]int64 // likewise

	events []command.Event // of the group at hand
	sealed chain           // the end of the log once the group is committed
}

// A writer forgets the rows of small tables that it knows by heart when they
// are more than this: a program that makes up new names for each command must
// not fill the memory.
const knownMax = 10_000

// newWriter connects the writer.
func newWriter(s *Store) (*writer, error) {
	c, err := connect(s.path, writing)
	if err != nil {
		return nil, err
	}
	w := &writer{s: s, conn: c}
	w.forget()
	if err := w.load(); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return w, nil
}

// forget drops what may have been rolled back.
func (w *writer) forget() { w.kinds, w.whos = make(map[kind]int64), make(map[string]int64) }

// load reads the facts of the store and the end of the log.
func (w *writer) load() error {
	m, err := readMeta(context.Background(), w.conn)
	if err != nil {
		return err
	}
	w.epoch, w.base, w.genesis = m.epoch, m.base, m.genesis
	w.log, err = readChain(context.Background(), w.conn, m)
	return err
}

// commit commits what a group's members write. It answers with how many it
// had time for. With nil, each of those knows in err what it came to, and
// that stands on disk. With CodeOutcomeUnknown nobody knows; with any other
// error nothing was done.
func (w *writer) commit(group []*member) (done int, err error) {
	if err := w.s.step(stepBegin, func() error { return w.exec("BEGIN IMMEDIATE") }); err != nil {
		return len(group), w.nothing(err)
	}
	w.events = w.events[:0]
	done, err = w.work(group)
	if err == nil && len(w.events) > 0 {
		err = w.s.step(stepSeal, w.seal)
	}
	if err != nil {
		return done, w.nothing(err)
	}
	// If we crash here, nothing was done, and nobody was told otherwise.
	begun := time.Now()
	if err := w.s.step(stepCommit, func() error { return w.exec("COMMIT") }); err != nil {
		// The group's pages may be on disk, in part or in whole. This
		// connection does not know either, and is not asked again.
		return done, unknown(fmt.Errorf("commit: %w", err))
	}
	// If we crash here, all of it was done. Whoever was not told asks again.
	w.s.stats.committed(done, w.events, time.Since(begun))
	if len(w.events) > 0 {
		w.log = w.sealed
		w.s.changed.raise()
	}
	return done, nil
}

// work runs the members until the time for work is over; the first in any
// case. The error is a fault of the database, not of a member.
func (w *writer) work(group []*member) (done int, err error) {
	begun := time.Now()
	for i, m := range group {
		if i > 0 && time.Since(begun) > w.s.opt.GroupWork {
			return i, nil
		}
		if m.taken.Swap(true) {
			continue // its caller has left
		}
		t := &tx{w: w, from: m.from}
		err := w.s.step(stepWork, func() error {
			m.err = t.do(m.f)
			return t.fault
		})
		if err == nil && w.conn.c.AutoCommit() {
			err = errors.New("the transaction is gone")
		}
		if err != nil {
			return len(group), err
		}
		if m.err != nil {
			w.s.stats.refused.Add(1)
		}
	}
	return len(group), nil
}

// seal adds the group's events to the log, at the time of the youngest: theirs
// is the time that whoever looks for a command's events goes by.
func (w *writer) seal() error {
	var at int64
	for i := range w.events {
		at = max(at, w.events[i].At.UnixMilli())
	}
	r, end := w.log.seal(w.epoch, at, w.events)
	w.sealed = end
	_, _, err := w.conn.exec(addSealed, r.values()...)
	return err
}

// nothing takes back a transaction that could not be finished.
func (w *writer) nothing(err error) error {
	if !w.conn.c.AutoCommit() {
		err = errors.Join(err, w.exec("ROLLBACK"))
	}
	w.forget()
	if errNo(err) == sqlite3.ErrFull {
		return unavailable(fullAfter, err, "the disk is full")
	}
	return unavailable(retryAfter, err, "the store cannot write")
}

func (w *writer) exec(q string) error {
	_, _, err := w.conn.exec(q)
	return err
}

// barrier commits a row that says nothing, to see that a commit succeeds.
func (w *writer) barrier() error {
	if err := w.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	if err := w.exec("UPDATE meta SET value = value + 1 WHERE name = 'barrier'"); err != nil {
		return errors.Join(err, w.exec("ROLLBACK"))
	}
	return w.exec("COMMIT")
}
