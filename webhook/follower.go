package webhook

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"behest/command"
)

// retriesMax is how many deliveries that are due go with the new events of a
// round: neither keeps the other waiting.
const retriesMax = 32

// follower is one hook's way along the log, from where its place was stored.
// One goroutine owns it.
//
// It holds nothing that is not in the store or in the log: what it has in
// unstored are deliveries that were made and would be made again.
type follower struct {
	r      *runner
	hook   command.Hook
	sender *sender
	log    *slog.Logger
	kill   context.Context // ends what is under way

	cursor   command.Place        // up to here all was delivered, or has a row
	unstored command.HookProgress // since the last commit
	events   []command.Event      // to be logged with it
	stored   time.Time            // when that was
	looked   time.Time            // when it last looked into the log
	next     time.Time            // when a delivery is due; zero: none
}

// follow follows the log until ctx ends, with nil, or something is wrong.
func follow(ctx context.Context, r *runner, h command.Hook, log *slog.Logger) (err error) {
	kill, killed := context.WithCancel(context.WithoutCancel(ctx))
	defer killed()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(r.s.o.Grace, killed) })()
	f := &follower{r: r, hook: h, sender: newSender(h, r.s.key, &r.s.o), log: log, kill: kill, cursor: h.Cursor, stored: time.Now()}
	defer f.sender.close()
	defer func() {
		if err == nil || ctx.Err() != nil { // else what it knows is in doubt
			err = f.store()
		}
	}()
	for ctx.Err() == nil {
		changed := r.s.log.Changed() // before looking, so that nothing is missed
		more, err := f.round(ctx)
		if err != nil {
			return err
		}
		if !more {
			f.idle(ctx, changed)
		}
	}
	return nil
}

// idle waits until there is something to do: the log has grown, a delivery is
// due, or what is unstored has waited long enough.
func (f *follower) idle(ctx context.Context, changed <-chan struct{}) {
	var due, store <-chan time.Time
	if !f.next.IsZero() {
		t := time.NewTimer(time.Until(f.next))
		defer t.Stop()
		due = t.C
	}
	if f.anythingUnstored() {
		t := time.NewTimer(time.Until(f.stored.Add(f.r.s.o.Settle)))
		defer t.Stop()
		store = t.C
	}
	select {
	case <-changed:
		if pace := time.Until(f.looked.Add(f.r.s.o.Pace)); pace > 0 {
			f.r.wait(ctx, pace)
		}
	case <-due:
	case <-store:
	case <-f.r.wake:
	case <-ctx.Done():
	}
}

// job is one delivery of a round.
type job struct {
	event command.Event
	row   *command.HookDelivery // nil: it is new
	lost  bool                  // the log does not have it any more
	answer
}

// round delivers what is due and some of what is new, and answers whether
// there may be more at once.
func (f *follower) round(ctx context.Context) (more bool, err error) {
	jobs, waiting, err := f.due(ctx)
	if err != nil {
		return false, err
	}
	retries := len(jobs)
	from, to := f.cursor, f.cursor
	room := command.HookFailuresMax - waiting
	if room > 0 {
		var fresh []job
		if fresh, to, err = f.fresh(ctx, min(room, f.r.s.o.Batch)); err != nil {
			return false, err
		}
		jobs = append(jobs, fresh...)
	}
	if len(jobs) > 0 {
		if err := f.unchanged(ctx); err != nil {
			return false, err
		}
	}
	f.deliver(ctx, jobs)
	gone := f.settle(jobs, retries, to)
	if gone != "" || len(f.unstored.Deliveries) > 0 || time.Since(f.stored) > f.r.s.o.Settle {
		if err := f.store(); err != nil {
			return false, err
		}
	}
	if gone != "" {
		return false, f.disable(gone)
	}
	madeRoom := room <= 0 && retries > 0 // perhaps: then what is new was not looked at
	return retries == retriesMax || madeRoom || f.cursor != from, nil
}

// unchanged answers with errOver if the hook is not what this loop began with.
// It is asked after the events were read: what was logged with a rotation, or
// after it, is never told under the former secret alone.
func (f *follower) unchanged(ctx context.Context) error {
	h, err := f.r.s.store.Hook(ctx, f.hook.ID)
	switch {
	case command.CodeOf(err) == command.CodeNotFound:
		return errOver // what it has taken is nobody's any more
	case err != nil:
		return err
	case h.N == f.hook.N && h.Version == f.hook.Version:
		return nil
	}
	if err := f.store(); err != nil {
		return err
	}
	return errOver
}

// due are the deliveries whose time has come, with their events.
func (f *follower) due(ctx context.Context) (jobs []job, waiting int, err error) {
	list, waiting, next, err := f.r.s.store.DeliveriesDue(ctx, f.hook.N, time.Now(), retriesMax)
	if err != nil {
		return nil, 0, err
	}
	f.next = next
	for i := range list {
		e, err := f.r.s.log.Event(ctx, list[i].Event)
		switch {
		case command.CodeOf(err) == command.CodeNotFound:
			jobs = append(jobs, job{row: &list[i], lost: true, answer: answer{made: true, fault: "the event was cut from the log"}})
		case err != nil:
			return nil, 0, err
		default:
			jobs = append(jobs, job{row: &list[i], event: e})
		}
	}
	return jobs, waiting, nil
}

// fresh are the next events after the cursor that the hook wants. to is where
// the cursor is once they are settled.
func (f *follower) fresh(ctx context.Context, limit int) (jobs []job, to command.Place, err error) {
	f.looked = time.Now()
	events, to, err := f.r.s.log.Events(ctx, f.cursor, f.filter(), limit)
	if command.CodeOf(err) == command.CodeNotFound && f.cursor != (command.Place{}) {
		f.reset()
		events, to, err = f.r.s.log.Events(ctx, f.cursor, f.filter(), limit)
	}
	for _, e := range events {
		if f.hook.Wants(e.Type) {
			jobs = append(jobs, job{event: e})
		}
	}
	return jobs, to, err
}

// filter lets the store leave out what the hook does not want, as far as it
// can: it knows no families.
func (f *follower) filter() command.EventFilter {
	for _, t := range f.hook.Types {
		if strings.HasSuffix(string(t), "*") {
			return command.EventFilter{}
		}
	}
	return command.EventFilter{Types: f.hook.Types}
}

// reset goes on with the first event that the log has, and has it say so.
func (f *follower) reset() {
	f.log.Warn("the events after a webhook's place were cut from the log", "place", f.cursor)
	f.events = append(f.events, f.about(command.EventHookReset, map[string]any{"webhook": f.hook.ID, "after": f.cursor.String()}))
	f.cursor = command.Place{}
}

func (f *follower) about(kind command.EventType, data map[string]any) command.Event {
	return command.Event{Type: kind, At: time.Now(), Data: mustJSON(data)}
}

// mustJSON writes what is known to be JSON.
func mustJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// deliver makes one attempt for each job, some at a time, begun in their
// order. Once ctx ends, or the hook says that it is gone, no more are begun.
func (f *follower) deliver(ctx context.Context, jobs []job) {
	var begun atomic.Int64
	var gone atomic.Bool
	var workers sync.WaitGroup
	for range min(f.r.s.o.InFlight, len(jobs)) {
		workers.Go(func() {
			for ctx.Err() == nil && !gone.Load() {
				i := int(begun.Add(1)) - 1
				if i >= len(jobs) {
					return
				}
				if j := &jobs[i]; !j.lost {
					j.answer = f.sender.send(f.kill, j.event)
				}
				if jobs[i].status == http.StatusGone {
					gone.Store(true)
				}
			}
		})
	}
	workers.Wait()
}

// settle notes what came of the jobs of a round, of which so many were
// retries, and moves the cursor: to the end of the round, or to the last
// before the first that was not attempted. It answers why the hook is to be
// disabled, if it is.
func (f *follower) settle(jobs []job, retries int, to command.Place) (reason string) {
	now := time.Now()
	for i := range jobs {
		j := &jobs[i]
		if !j.made {
			if i >= retries {
				to = command.Place{} // those after it come again
				break
			}
			continue // its row says that it is due
		}
		if j.status == http.StatusGone {
			reason = command.HookGone
		}
		if f.note(j, now) && reason == "" {
			reason = command.HookFailing
		}
		if i >= retries {
			f.move(idOf(j.event))
		}
	}
	if to != (command.Place{}) {
		f.move(to)
	}
	return reason
}

func (f *follower) move(to command.Place) {
	if to != f.cursor {
		f.cursor, f.unstored.Cursor = to, to
		f.r.place.Store(to.N)
	}
}

// note notes what came of one job. It answers whether the hook has taken
// nothing for as long as an event is tried.
func (f *follower) note(j *job, now time.Time) (failing bool) {
	switch {
	case j.fault == "":
		f.r.s.delivered.Add(1)
		f.unstored.Delivered++
		f.unstored.TakenAt, f.hook.TakenAt = now, now
		if j.row == nil {
			return false
		}
	case !j.lost:
		f.r.s.failed.Add(1)
	}
	d := f.rowOf(j, now)
	if j.fault == "" {
		d.State = command.DeliveryDone
	} else if at, again := f.r.s.o.next(d.Attempts, j.after, now); again && !j.lost {
		d.State, d.NextAt = command.DeliveryPending, at
		if f.next.IsZero() || at.Before(f.next) {
			f.next = at // it was not yet known when this round looked
		}
	} else {
		d.State = command.DeliveryGivenUp
		f.r.s.givenUp.Add(1)
		f.unstored.GivenUp++
		f.log.Warn("an event was given up", "event", d.Event, "attempts", d.Attempts, "err", j.fault)
		failing = !j.lost && f.hook.TakenAt.Before(d.FirstAt)
	}
	f.unstored.Deliveries = append(f.unstored.Deliveries, d)
	return failing
}

// rowOf is the row of a job after its attempt, but for the state.
func (f *follower) rowOf(j *job, now time.Time) command.HookDelivery {
	d := command.HookDelivery{Hook: f.hook.ID, Event: idOf(j.event), Type: j.event.Type, FirstAt: now}
	if j.row != nil {
		d = *j.row
	}
	d.Status, d.Error, d.NextAt = j.status, j.fault, time.Time{}
	if !j.lost {
		d.Attempts++
		d.LastAt = now
	}
	return d
}

func (f *follower) anythingUnstored() bool {
	u := &f.unstored
	return u.Cursor != (command.Place{}) || u.Delivered > 0 || len(u.Deliveries) > 0
}

// store commits what is unstored. If we crash before, those events come again.
func (f *follower) store() error {
	if !f.anythingUnstored() {
		f.stored = time.Now()
		return nil
	}
	// Not with the loop's context: at the end of it, this is what is left to do.
	err := f.r.s.store.MoveHook(context.WithoutCancel(f.kill), f.hook.N, f.unstored, f.events...)
	if err != nil {
		return err
	}
	f.unstored, f.events, f.stored = command.HookProgress{}, nil, time.Now()
	return nil
}

// disable disables the hook, unless it was changed meanwhile: then what it
// answered was about another.
func (f *follower) disable(reason string) error {
	h := f.hook
	h.Disabled, h.Reason, h.ChangedAt, h.ChangedBy = true, reason, time.Now(), ""
	e := f.about(command.EventHookDisabled, map[string]any{"webhook": h.ID, "reason": reason})
	err := f.r.s.store.PutHook(context.WithoutCancel(f.kill), &h, e)
	if err != nil && command.CodeOf(err) != command.CodeConflict {
		return err
	}
	f.log.Warn("a webhook is disabled", "reason", reason)
	return errOver
}
