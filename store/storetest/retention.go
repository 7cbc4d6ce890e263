package storetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"behest/command"
	"behest/command/ledger"
)

func testRetention(t *testing.T, e Engine) {
	each(t, e, []testCase{
		{"ForEver", retainForEver},
		{"WhatIsOpenStays", retainOpen},
		{"WhatIsUnknownForGoodStays", retainSettled},
		{"TheWayBackStays", retainRollbacks},
		{"TheLastOfASlotStays", retainSlots},
		{"TheLogIsCutAsAPrefix", retainLog},
		{"WebhooksAreWaitedForAWhile", retainHooks},
		{"AnswersStandForADay", retainAnswers},
		{"NumbersGoOn", retainNumbers},
		{"TheNewestIsOverLikeOthers", retainNewest},
		{"AgainstAModel", retainModel},
	})
}

// retain removes what was over for an hour at a time.
func (r *rig) retain(now time.Time) ledger.Removed {
	r.t.Helper()
	removed, err := r.Retain(context.Background(), ledger.Keeping{Keep: time.Hour, Now: func() time.Time { return now }})
	if err != nil {
		r.t.Fatalf("retain: %v", err)
	}
	return removed
}

// left are the commands that are there, by the number of their test.
func (r *rig) left() (ns []int) {
	r.t.Helper()
	views, _, err := r.Commands(context.Background(), command.Filter{})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, v := range slices.Backward(views) {
		ns = append(ns, int(v.Command.ID[14])<<8|int(v.Command.ID[15]))
	}
	return ns
}

// ended issues c and ends it in its first minute: on each device as Succeeded
// or, in a slot, as one of the others.
func (r *rig) ended(c *command.Command, status command.Status) {
	r.t.Helper()
	r.do(func(tx ledger.Tx) error {
		xs, err := issue(tx, c)
		for i := 0; i < len(xs) && err == nil; i++ {
			if err = release(tx, &xs[i], c.CreatedAt.Add(time.Second)); err == nil {
				err = step(tx, &xs[i], command.Reported(command.Report{Status: status}, xs[i].State), c.CreatedAt.Add(time.Minute))
			}
		}
		return err
	})
}

// later is a time at which everything of a test's first minutes is too old.
func later() time.Time { return epoch.Add(3 * time.Hour) }

// young adds a command that is made now, so that the others are not the newest.
func (r *rig) young(n int, now time.Time) {
	r.t.Helper()
	c := aCommand(n, "a")
	c.CreatedAt = now
	r.do(func(tx ledger.Tx) error { _, err := issue(tx, c); return err })
}

func retainForEver(t *testing.T, e Engine) {
	r := start(t, e)
	withDevices(r, "a")
	r.ended(aCommand(1, "a"), command.StatusSuccess)
	r.young(2, later())
	for name, k := range map[string]ledger.Keeping{
		"for ever":               {},
		"while no clock is good": {Keep: time.Hour, Held: func() bool { return true }},
	} {
		k.Now = later
		if removed, err := r.Retain(context.Background(), k); err != nil || removed != (ledger.Removed{}) {
			t.Errorf("%s: %+v went, %v", name, removed, err)
		}
	}
	diff(t, r.left(), []int{1, 2})
}

func retainOpen(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	withDevices(r, "a", "b")
	gone, half, lost := aCommand(1, "a"), aCommand(2, "a", "b"), aCommand(3, "b")
	r.ended(gone, command.StatusSuccess)
	r.do(func(tx ledger.Tx) error {
		xs, err := issue(tx, half)
		if err == nil {
			err = release(tx, &xs[0], at(3))
		}
		if err == nil {
			err = succeed(tx, &xs[0], at(4))
		}
		return err
	})
	r.do(func(tx ledger.Tx) error { // timed out, and its truth may still come
		xs, err := issue(tx, lost)
		if err == nil {
			err = release(tx, &xs[0], at(3))
		}
		if err == nil {
			err = step(tx, &xs[0], command.Trigger{Kind: command.Withdraw, Cause: command.NotEntitled}, at(5))
		}
		return err
	})
	r.do(func(tx ledger.Tx) error { _, err := hold(tx, staged(4, "a", "b"), time.Time{}); return err })
	watched := staged(5, "a", "b")
	r.do(func(tx ledger.Tx) error { // nothing is pending any more, and its gate looks on
		_, err := hold(tx, watched, time.Time{})
		if err != nil {
			return err
		}
		handles, err := tx.TakePending(watched.N, 2)
		for _, h := range handles {
			err = errors.Join(err, tx.AddRefused(watched.N, h, command.CodeDeviceFull))
		}
		return err
	})
	r.young(6, later())
	diff(t, r.retain(later()), ledger.Removed{Commands: 1, Executions: 1})
	diff(t, r.left(), []int{2, 3, 4, 5, 6})
	_, err := r.Command(ctx, gone.ID)
	wantCode(t, err, command.CodeNotFound)
	_, _, err = r.Execution(ctx, gone.ID, "a")
	wantCode(t, err, command.CodeNotFound)
	r.refused(command.CodeNotFound, func(tx ledger.Tx) error { // nor can it be undone any more
		c := aCommand(7, "a")
		c.RollbackOf = gone.ID
		_, err := issue(tx, c)
		return err
	})
	diff(t, r.retain(later()), ledger.Removed{})
	r.restart()
	diff(t, r.left(), []int{2, 3, 4, 5, 6})
}

// retainSettled: that nobody will ever know is news, too, and is kept as long.
func retainSettled(t *testing.T, e Engine) {
	r := start(t, e)
	withDevices(r, "a")
	c := aCommand(1, "a")
	c.Clocks.SettleFor = 24 * time.Hour
	settled := at(2).Add(c.Clocks.SettleFor)
	r.do(func(tx ledger.Tx) error {
		xs, err := issue(tx, c)
		if err == nil {
			err = release(tx, &xs[0], at(1))
		}
		if err == nil {
			err = step(tx, &xs[0], command.Trigger{Kind: command.Withdraw, Cause: command.NotEntitled}, at(2))
		}
		if err == nil {
			err = step(tx, &xs[0], command.Trigger{Kind: command.SettleLapse}, settled)
		}
		return err
	})
	r.young(2, settled)
	diff(t, r.retain(settled.Add(30*time.Minute)), ledger.Removed{})
	diff(t, r.retain(settled.Add(2*time.Hour)), ledger.Removed{Commands: 1, Executions: 1})
}

// retainRollbacks: what is undone stays until what undoes it may go, and both go
// in that order.
func retainRollbacks(t *testing.T, e Engine) {
	r := start(t, e)
	withDevices(r, "a", "b")
	r.ended(aCommand(1, "a", "b"), command.StatusSuccess)
	undo := aCommand(2, "a", "b")
	undo.RollbackOf = idOf(1)
	var xs []command.Execution
	r.do(func(tx ledger.Tx) (err error) { xs, err = issue(tx, undo); return err })
	again := aCommand(3, "a")
	again.RollbackOf = undo.ID
	r.ended(again, command.StatusSuccess)
	r.young(4, later())
	diff(t, r.retain(later()), ledger.Removed{})
	diff(t, r.left(), []int{1, 2, 3, 4})
	r.do(func(tx ledger.Tx) (err error) {
		for i := range xs {
			if err == nil {
				err = step(tx, &xs[i], command.Trigger{Kind: command.Cancel}, later().Add(-time.Minute))
			}
		}
		return err
	})
	diff(t, r.retain(later()), ledger.Removed{}) // it ended a minute ago
	diff(t, r.retain(later().Add(time.Hour)), ledger.Removed{Commands: 3, Executions: 5})
	diff(t, r.left(), []int{4})
}

// retainSlots: what a device is set to stays, and so does what undoing a young
// command brings back.
func retainSlots(t *testing.T, e Engine) {
	r := start(t, e)
	withDevices(r, "a", "b")
	set := func(n int, slot int64, status command.Status, names ...string) {
		c := aCommand(n, names...)
		c.Slot = slot
		r.ended(c, status)
	}
	set(1, 7, command.StatusSuccess, "a", "b") // the last that succeeded on b
	set(2, 7, command.StatusSuccess, "a")
	set(3, 7, command.StatusSuccess, "a")
	set(4, 7, command.StatusFailure, "a") // nobody knows what it did
	set(5, 7, command.StatusFailure, "a")
	set(6, 7, command.StatusRejected, "a")
	set(7, 8, command.StatusSuccess, "a")
	r.young(8, later())
	diff(t, r.retain(later()), ledger.Removed{Commands: 3, Executions: 3})
	diff(t, r.left(), []int{1, 3, 5, 7, 8})

	// What is set anew keeps the one before while it can be undone itself.
	next := aCommand(9, "a")
	next.Slot, next.CreatedAt = 8, later()
	r.ended(next, command.StatusSuccess)
	r.young(10, later())
	diff(t, r.retain(later().Add(30*time.Minute)), ledger.Removed{})
	diff(t, r.left(), []int{1, 3, 5, 7, 8, 9, 10})
	diff(t, r.retain(later().Add(2*time.Hour)), ledger.Removed{Commands: 1, Executions: 1})
	diff(t, r.left(), []int{1, 3, 5, 8, 9, 10})

	// What was set on a device that is no more goes.
	r.do(func(tx ledger.Tx) error {
		d, err := tx.DeviceNamed("b")
		if err != nil {
			return err
		}
		d.RemovedAt = later()
		return tx.SaveDevice(&d)
	})
	diff(t, r.retain(later().Add(2*time.Hour)), ledger.Removed{Commands: 1, Executions: 2})
	diff(t, r.left(), []int{3, 5, 8, 9, 10})
}

func retainLog(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	logOld(r, 100)
	r.do(func(tx ledger.Tx) error { return tx.Log(command.Event{Type: command.EventEdited, At: later()}) })
	diff(t, r.retain(epoch), ledger.Removed{})
	diff(t, r.retain(later()), ledger.Removed{Events: 100})
	for _, restarted := range []bool{false, true} {
		if restarted {
			r.restart()
		}
		diff(t, len(follow(t, r, command.Place{}, command.EventFilter{}, 10)), 1)
		diff(t, len(follow(t, r, command.Place{Epoch: 1, N: 100}, command.EventFilter{}, 10)), 1) // who was here missed nothing
		for n := int64(1); n < 100; n += 7 {
			_, _, err := r.Events(ctx, command.Place{Epoch: 1, N: n}, command.EventFilter{}, 10)
			wantCode(t, err, command.CodeNotFound)
			_, err = r.Event(ctx, command.Place{Epoch: 1, N: n})
			wantCode(t, err, command.CodeNotFound)
		}
		_, _, err := r.Events(ctx, command.Place{Epoch: 2, N: 100}, command.EventFilter{}, 10)
		wantCode(t, err, command.CodeNotFound)
		diff(t, must(r.End(ctx))(t), command.Place{Epoch: 1, N: 101})
	}
	diff(t, r.retain(later().Add(24*time.Hour)), ledger.Removed{}) // the last one stays
	logOld(r, 3)
	diff(t, must(r.End(ctx))(t), command.Place{Epoch: 1, N: 104})
}

// logOld adds events of the first minutes, each in a commit of its own.
func logOld(r *rig, count int) {
	r.t.Helper()
	for i := range count {
		r.do(func(tx ledger.Tx) error { return tx.Log(command.Event{Type: command.EventEdited, At: at(i)}) })
	}
}

// retainHooks: an event that a webhook has not been told of stays a week longer.
func retainHooks(t *testing.T, e Engine) {
	r := start(t, e)
	logOld(r, 20)
	h := aHook("erp")
	h.Cursor = command.Place{Epoch: 1, N: 10}
	put(r, &h)
	cut := func(now time.Time, want int64) {
		t.Helper()
		diff(t, r.retain(now).Events, want)
	}
	r.do(func(tx ledger.Tx) error {
		return tx.Log(command.Event{Type: command.EventEdited, At: later().Add(30 * 24 * time.Hour)})
	})
	cut(later(), 10)
	diff(t, len(follow(t, r, h.Cursor, command.EventFilter{}, 0)), 12)
	cut(later().Add(6*24*time.Hour), 0)
	cut(later().Add(8*24*time.Hour), 11) // and the one about the hook itself
	_, _, err := r.Events(context.Background(), h.Cursor, command.EventFilter{}, 10)
	wantCode(t, err, command.CodeNotFound) // so it begins anew
}

// retainAnswers: an answer stands as long as what it made, and for a day.
func retainAnswers(t *testing.T, e Engine) {
	r := start(t, e)
	withDevices(r, "a")
	keys := [][32]byte{{1}, {2}, {3}}
	there := func(want ...bool) {
		t.Helper()
		r.do(func(tx ledger.Tx) error {
			for i, key := range keys {
				_, err := tx.Answer(key)
				if err != nil && command.CodeOf(err) != command.CodeNotFound {
					return err
				}
				if got := err == nil; got != want[i] {
					t.Errorf("the answer under key %d is there: %t, want %t", i+1, got, want[i])
				}
			}
			return nil
		})
	}
	answer := func(tx ledger.Tx, i int) error {
		return tx.KeepAnswer(keys[i], ledger.Answer{At: at(i), Body: []byte("{}")})
	}
	gone, open := aCommand(1, "a"), aCommand(2, "a")
	r.do(func(tx ledger.Tx) error {
		xs, err := issue(tx, gone)
		if err == nil {
			err = step(tx, &xs[0], command.Trigger{Kind: command.Cancel}, at(2))
		}
		if err == nil {
			err = answer(tx, 0)
		}
		return err
	})
	r.do(func(tx ledger.Tx) error {
		_, err := issue(tx, open)
		if err == nil {
			err = answer(tx, 1)
		}
		return err
	})
	r.do(func(tx ledger.Tx) error { return answer(tx, 2) }) // about nothing that is kept
	r.young(3, later())
	diff(t, r.retain(later()), ledger.Removed{Commands: 1, Executions: 1})
	there(true, true, true)
	diff(t, r.retain(epoch.Add(25*time.Hour)), ledger.Removed{Answers: 2})
	there(false, true, false)
	r.restart()
	there(false, true, false)
}

// retainNumbers: rows are numbered on after everything went.
func retainNumbers(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	withDevices(r, "a", "b")
	for n := 1; n <= 3; n++ {
		r.ended(aCommand(n, "a", "b"), command.StatusSuccess)
	}
	before := must(r.Command(ctx, idOf(3)))(t).Command.N
	diff(t, r.retain(later()), ledger.Removed{Commands: 2, Executions: 4})
	r.restart()
	c := aCommand(4, "a")
	r.ended(c, command.StatusSuccess)
	if c.N <= before+2 {
		t.Errorf("row %d was given after row %d and its two executions", c.N, before)
	}
	diff(t, r.retain(later()), ledger.Removed{Commands: 1, Executions: 2})
	diff(t, r.left(), []int{4})
}

// retainNewest: the newest command stays for its number alone, on one device or
// many. What it stands in the way of goes as behind any other.
func retainNewest(t *testing.T, e Engine) {
	for _, names := range [][]string{{"a"}, {"a", "b"}} {
		r := start(t, e)
		withDevices(r, "a", "b")
		for n := 1; n <= 2; n++ {
			c := aCommand(n, names...)
			c.Slot = 7
			r.ended(c, command.StatusSuccess)
		}
		diff(t, r.retain(later()), ledger.Removed{Commands: 1, Executions: int64(len(names))})
		diff(t, r.left(), []int{2})
	}
}
