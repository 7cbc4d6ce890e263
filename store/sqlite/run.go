package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mattn/go-sqlite3"

	"behest/access"
	"behest/command"
	"behest/command/ledger"
)

// Update runs f inside the next commit and answers when that is on disk. f
// runs in Run's goroutine; what it sets outside is to be looked at only after
// nil.
//
// When ctx ends first, Update stops waiting: with CodeUnavailable if f was
// not begun, and now never will be; with CodeOutcomeUnknown if it was, and
// may yet be committed.
func (s *Store) Update(ctx context.Context, lane ledger.Lane, f func(ledger.Tx) error) error {
	if s.doubt.Load() {
		return inDoubt()
	}
	m := &member{f: f, lane: lane, from: access.Origin(ctx), at: time.Now(), done: make(chan error, 1)}
	if err := s.queue.put(m); err != nil {
		return err
	}
	select {
	case err := <-m.done:
		return err
	case <-ctx.Done():
		if !m.taken.Swap(true) {
			return unavailable(0, context.Cause(ctx), "the caller left before it was begun")
		}
		return unknown(context.Cause(ctx))
	}
}

// Run is the writer. It returns nil when ctx has ended, or Close was called,
// and what was accepted is committed; and an error when a write failed and
// the file could not be used anew. It is called once.
func (s *Store) Run(ctx context.Context) error {
	if s.closed.Load() || s.running.Swap(true) {
		return errors.New("store: Run a second time, or after Close")
	}
	defer close(s.ended)
	var group []*member
	for {
		group = s.queue.take(ctx, group)
		if len(group) == 0 {
			return nil
		}
		if err := s.commit(ctx, group); err != nil {
			s.queue.close(unavailable(0, err, "the store has failed"))
			s.queue.refuse()
			s.shutOnce.Do(func() { close(s.shut) })
			return fmt.Errorf("store: %w", err)
		}
		clear(group)
	}
}

// commit commits a group and answers its members. An error of its own is the
// end: the file cannot be used any more.
func (s *Store) commit(ctx context.Context, group []*member) error {
	done, err := s.w.commit(group)
	s.queue.putBack(group[done:])
	group = group[:done]
	if err == nil {
		for _, m := range group {
			m.done <- m.err
		}
		return nil
	}
	s.log.Error("a group of writes failed", "err", err, "members", len(group))
	var end error
	if leavesDoubt(err) {
		s.doubt.Store(true)
		s.stats.doubts.Add(1)
		end = s.reopen()
		s.doubt.Store(end != nil)
	}
	for _, m := range group {
		m.done <- err // after the recovery: they will look at once
	}
	for errNo(end) == sqlite3.ErrFull {
		if !s.pause(ctx, fullPause) {
			break
		}
		end = s.reopen()
		s.doubt.Store(end != nil)
	}
	return end
}

// leavesDoubt reports whether, after err, nobody can say what is in the file
// or whether the next write to it would be kept.
func leavesDoubt(err error) bool {
	if command.CodeOf(err) == command.CodeOutcomeUnknown {
		return true
	}
	switch errNo(err) {
	case sqlite3.ErrFull, sqlite3.ErrBusy:
		return false // it was refused, whole and in good order
	}
	return !isOurs(err)
}

// reopen closes every connection, opens the file anew, sees that a commit
// succeeds there, and reads the truth.
func (s *Store) reopen() error {
	if err := s.step(stepReopen, func() error {
		if err := s.disconnect(); err != nil {
			s.log.Warn("closing after a failed write", "err", err)
		}
		return s.connect()
	}); err != nil {
		return fmt.Errorf("open it anew after a failed write: %w", err)
	}
	if err := s.step(stepBarrier, s.w.barrier); err != nil {
		return fmt.Errorf("commit after a failed write: %w", err)
	}
	if err := s.w.load(); err != nil {
		return fmt.Errorf("read it anew after a failed write: %w", err)
	}
	s.log.Info("the store has recovered", "events", s.w.log.n)
	s.changed.raise()
	return nil
}

// fullPause is how often a full disk is tried again.
const fullPause = time.Second

// pause waits, and answers false when the store is shutting down.
func (s *Store) pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return !s.closed.Load()
	}
}
