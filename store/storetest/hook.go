package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"behest/command"
	"behest/command/ledger"
)

// Hooks is what the suite asks of an engine about webhooks.
type Hooks interface {
	Hooks(ctx context.Context) ([]command.Hook, error)
	Hook(ctx context.Context, id string) (command.Hook, error)
	HooksNeed(ctx context.Context) (int64, error)
	PutHook(ctx context.Context, h *command.Hook, e command.Event) error
	RemoveHook(ctx context.Context, h command.Hook, e command.Event) error
	MoveHook(ctx context.Context, n int64, p command.HookProgress, events ...command.Event) error
	DeliveriesDue(ctx context.Context, n int64, now time.Time, limit int) ([]command.HookDelivery, int, time.Time, error)
	Deliveries(ctx context.Context, id string, before int64, limit int) ([]command.HookDelivery, bool, error)
	Event(ctx context.Context, id command.Place) (command.Event, error)
}

func testHooks(t *testing.T, e Engine) {
	each(t, e, []testCase{
		{"EveryFieldComesBack", hookEveryFieldComesBack},
		{"ChangedUnderAVersion", hookChangedUnderAVersion},
		{"AChangeLeavesThePlace", hookAChangeLeavesThePlace},
		{"AnotherOfTheSameName", hookAnotherOfTheSameName},
		{"NoMoreThanThereMayBe", hookNoMoreThanThereMayBe},
		{"DueInTheirOrder", hookDueInTheirOrder},
		{"DeliveriesYoungestFirst", hookDeliveriesYoungestFirst},
		{"TheEldestThatAreOverGo", hookTheEldestThatAreOverGo},
		{"WhatIsNeededOfTheLog", hookWhatIsNeededOfTheLog},
		{"AnEventById", hookAnEventByID},
	})
}

// aHook is a hook that says little.
func aHook(id string) command.Hook {
	h := command.Hook{
		ID: id, URL: "https://example.org/in", Generation: 1, CreatedAt: epoch, CreatedBy: "ann", ChangedAt: epoch, ChangedBy: "ann",
	}
	copy(h.Salt[:], "salt of "+id)
	return h
}

// told is the event that goes with a change.
func told(kind command.EventType) command.Event {
	return command.Event{Type: kind, At: epoch, Actor: "ann"}
}

// put stores each of hooks, which must be allowed.
func put(r *rig, hooks ...*command.Hook) {
	r.t.Helper()
	for _, h := range hooks {
		if err := r.PutHook(context.Background(), h, told(command.EventHookDeclared)); err != nil {
			r.t.Fatalf("put webhook %q: %v", h.ID, err)
		}
	}
}

// aDelivery is one of event n that waits until next, or is over.
func aDelivery(hook string, n int64, next time.Time) command.HookDelivery {
	d := command.HookDelivery{
		Hook: hook, Event: command.Place{Epoch: 1, N: n}, Type: command.EventEnded, State: command.DeliveryPending,
		Attempts: 1, Status: 503, Error: "answered 503", FirstAt: at(1), LastAt: at(2), NextAt: next,
	}
	if next.IsZero() {
		d.State = command.DeliveryGivenUp
	}
	return d
}

// move stores deliveries of h, of events that the log has by then.
func move(r *rig, h command.Hook, list ...command.HookDelivery) {
	r.t.Helper()
	end, last := must(r.End(context.Background()))(r.t), int64(0)
	for _, d := range list {
		last = max(last, d.Event.N)
	}
	if last > end.N {
		r.do(func(tx ledger.Tx) (err error) {
			for range last - end.N {
				err = errors.Join(err, tx.Log(told(command.EventEdited)))
			}
			return err
		})
	}
	if err := r.MoveHook(context.Background(), h.N, command.HookProgress{Deliveries: list}); err != nil {
		r.t.Fatal(err)
	}
}

func hookEveryFieldComesBack(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	r.do(func(tx ledger.Tx) error {
		return errors.Join(tx.Log(told(command.EventEdited)), tx.Log(told(command.EventEdited)))
	})
	var full command.Hook
	fill(&full, "N", "Version", "Cursor", "Disabled")
	full.N, full.Version, full.Disabled, full.Cursor = 0, 0, true, command.Place{Epoch: 1, N: 1}
	full.URL, full.Types, full.Reason = "https://example.org/in?key=1", []command.EventType{"device.*", command.EventEnded}, command.HookFailing
	bare := aHook("bare")
	put(r, &full, &bare)
	if full.N == 0 || bare.N == full.N || full.Version != 1 || bare.Version != 1 {
		t.Errorf("numbers %d and %d, versions %d and %d", full.N, bare.N, full.Version, bare.Version)
	}

	var d command.HookDelivery
	fill(&d, "Event", "State")
	d.Hook, d.Event, d.State = full.ID, command.Place{Epoch: 1, N: 2}, command.DeliveryPending
	p := command.HookProgress{
		Cursor: command.Place{Epoch: 1, N: 2}, Delivered: 3, GivenUp: 4, TakenAt: at(99), Deliveries: []command.HookDelivery{d},
	}
	reset := command.Event{Type: command.EventHookReset, At: at(3), Data: json.RawMessage(`{}`)}
	if err := r.MoveHook(ctx, full.N, p, reset); err != nil {
		t.Fatal(err)
	}
	full.Cursor, full.Delivered, full.GivenUp, full.TakenAt = p.Cursor, full.Delivered+3, full.GivenUp+4, p.TakenAt
	move(r, full) // nothing: it all stays
	r.restart()
	diff(t, must(r.Hook(ctx, full.ID))(t), full)
	diff(t, must(r.Hook(ctx, "bare"))(t), bare)
	diff(t, must(r.Hooks(ctx))(t), []command.Hook{full, bare}) // "ID" is before "bare"
	list, more, err := r.Deliveries(ctx, full.ID, 0, 0)
	diff(t, must(list, err)(t), []command.HookDelivery{d})
	diff(t, more, false)
	events, _, err := r.Events(ctx, command.Place{Epoch: 1, N: 2}, command.EventFilter{}, 10)
	var kinds []command.EventType
	for _, e := range must(events, err)(t) {
		kinds = append(kinds, e.Type)
	}
	diff(t, kinds, []command.EventType{command.EventHookDeclared, command.EventHookDeclared, command.EventHookReset})
}

func hookChangedUnderAVersion(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	h := aHook("erp")
	put(r, &h)
	old := h
	h.URL, h.Types, h.Generation, h.RotatedAt, h.ChangedBy = "https://example.org/2", []command.EventType{"device.*"}, 2, at(7), "bob"
	put(r, &h)
	diff(t, h.Version, int64(2))
	diff(t, must(r.Hook(ctx, "erp"))(t), h)

	end := must(r.End(ctx))(t)
	again := old
	wantCode(t, r.PutHook(ctx, &again, told(command.EventHookDeclared)), command.CodeConflict)
	diff(t, again, old)
	wantCode(t, r.RemoveHook(ctx, old, told(command.EventHookRemoved)), command.CodeConflict)
	twin := aHook("erp")
	wantCode(t, r.PutHook(ctx, &twin, told(command.EventHookDeclared)), command.CodeConflict)
	diff(t, must(r.Hook(ctx, "erp"))(t), h)
	diff(t, must(r.End(ctx))(t), end) // what is refused is not logged

	h.Types, h.Disabled, h.Reason = nil, true, command.HookByHand
	put(r, &h)
	diff(t, must(r.Hook(ctx, "erp"))(t), h)
	_, err := r.Hook(ctx, "ERP")
	wantCode(t, err, command.CodeNotFound)
}

func hookAChangeLeavesThePlace(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	h := aHook("erp")
	put(r, &h)
	before := h
	moved := command.HookProgress{Cursor: command.Place{Epoch: 1, N: 1}, Delivered: 1}
	if err := r.MoveHook(ctx, h.N, moved); err != nil {
		t.Fatal(err)
	}
	before.URL = "https://example.org/2"
	put(r, &before)
	got := must(r.Hook(ctx, "erp"))(t)
	diff(t, got.Cursor, moved.Cursor)
	diff(t, got.Delivered, int64(1))
	diff(t, got.Version, int64(2))
}

func hookAnotherOfTheSameName(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	h, other := aHook("erp"), aHook("mes")
	put(r, &h, &other)
	move(r, h, aDelivery("erp", 1, at(5)))
	move(r, other, aDelivery("mes", 1, at(5)))
	if err := r.RemoveHook(ctx, h, told(command.EventHookRemoved)); err != nil {
		t.Fatal(err)
	}
	_, err := r.Hook(ctx, "erp")
	wantCode(t, err, command.CodeNotFound)
	r.restart()
	again := aHook("erp")
	put(r, &again)
	if again.N == h.N || again.N == other.N {
		t.Errorf("the number %d is given again", again.N)
	}
	// What comes late is the first one's.
	wantCode(t, r.MoveHook(ctx, h.N, command.HookProgress{Delivered: 1}), command.CodeNotFound)
	diff(t, must(r.Hook(ctx, "erp"))(t), again)
	list, _, err := r.Deliveries(ctx, "erp", 0, 0)
	diff(t, len(must(list, err)(t)), 0)
	list, _, err = r.Deliveries(ctx, "mes", 0, 0)
	diff(t, len(must(list, err)(t)), 1)
}

func hookNoMoreThanThereMayBe(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	for n := range command.HooksMax {
		h := aHook(fmt.Sprint(n))
		put(r, &h)
	}
	h := aHook("one more")
	wantCode(t, r.PutHook(ctx, &h, told(command.EventHookDeclared)), command.CodeTooMany)
	diff(t, len(must(r.Hooks(ctx))(t)), command.HooksMax)
	first := must(r.Hook(ctx, "0"))(t)
	put(r, &first) // a change is no addition
	if err := r.RemoveHook(ctx, first, told(command.EventHookRemoved)); err != nil {
		t.Fatal(err)
	}
	put(r, &h)
}

func hookDueInTheirOrder(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	h, other := aHook("erp"), aHook("mes")
	put(r, &h, &other)
	a, b, c, d := aDelivery("erp", 9, at(10)), aDelivery("erp", 2, at(20)), aDelivery("erp", 3, at(20)), aDelivery("erp", 1, at(30))
	move(r, h, d, c, b, a, aDelivery("erp", 4, time.Time{}))
	move(r, other, aDelivery("mes", 5, at(1)))
	for _, row := range []struct {
		now, limit int
		want       []command.HookDelivery
		next       time.Time
	}{
		{9, 10, nil, at(10)},
		{10, 10, []command.HookDelivery{a}, at(20)},
		{20, 10, []command.HookDelivery{a, b, c}, at(30)},
		{20, 2, []command.HookDelivery{a, b}, at(30)},
		{99, 10, []command.HookDelivery{a, b, c, d}, time.Time{}},
	} {
		due, waiting, next, err := r.DeliveriesDue(ctx, h.N, at(row.now), row.limit)
		diff(t, must(due, err)(t), row.want)
		diff(t, waiting, 4)
		diff(t, next, row.next)
	}
	a.State, a.NextAt, a.Attempts, a.Status, a.Error = command.DeliveryDone, time.Time{}, 2, 204, ""
	b.Attempts, b.NextAt = 2, at(40)
	move(r, h, a, b)
	due, waiting, next, err := r.DeliveriesDue(ctx, h.N, at(35), 10)
	diff(t, must(due, err)(t), []command.HookDelivery{c, d})
	diff(t, waiting, 3)
	diff(t, next, at(40))
}

func hookDeliveriesYoungestFirst(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	h := aHook("erp")
	put(r, &h)
	var want []command.HookDelivery
	for n := int64(7); n > 0; n-- {
		want = append(want, aDelivery("erp", n, []time.Time{{}, at(50)}[n%2]))
		move(r, h, want[len(want)-1])
	}
	var got []command.HookDelivery
	for before, more := int64(0), true; more; {
		var page []command.HookDelivery
		var err error
		page, more, err = r.Deliveries(ctx, "erp", before, 3)
		page = must(page, err)(t)
		got, before = append(got, page...), page[len(page)-1].Event.N
	}
	diff(t, got, want)
}

func hookTheEldestThatAreOverGo(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	h := aHook("erp")
	put(r, &h)
	list := []command.HookDelivery{aDelivery("erp", 1, at(50))}
	for n := range int64(command.HookKeptMax + 5) {
		list = append(list, aDelivery("erp", n+2, time.Time{}))
	}
	move(r, h, list...)
	var got []int64
	for before, more := int64(0), true; more; {
		var page []command.HookDelivery
		var err error
		page, more, err = r.Deliveries(ctx, "erp", before, 0)
		for _, d := range must(page, err)(t) {
			got, before = append(got, d.Event.N), d.Event.N
		}
	}
	if n := len(got); n != command.HookKeptMax+1 || got[n-1] != 1 || got[n-2] != 7 || got[0] != command.HookKeptMax+6 {
		t.Errorf("%d are left, from %d to %d", n, got[0], got[n-1])
	}
}

func hookWhatIsNeededOfTheLog(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	need := func(want int64) {
		t.Helper()
		diff(t, must(r.HooksNeed(ctx))(t), want)
	}
	const all = 1<<63 - 1
	need(all)
	a, b := aHook("a"), aHook("b")
	a.Cursor, b.Cursor = command.Place{Epoch: 1, N: 40}, command.Place{Epoch: 1, N: 30}
	r.do(func(tx ledger.Tx) (err error) {
		for range 50 {
			err = errors.Join(err, tx.Log(told(command.EventEdited)))
		}
		return err
	})
	put(r, &a, &b)
	need(30)
	move(r, a, aDelivery("a", 20, at(9)), aDelivery("a", 10, time.Time{}))
	need(19) // event 20 is to be sent again
	a.Disabled, a.Reason = true, command.HookGone
	put(r, &a)
	need(30)
	b.Disabled, b.Reason = true, command.HookGone
	put(r, &b)
	need(all)
}

func hookAnEventByID(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	want := logged(t, r, aCommand(1, "p"), aCommand(2, "p", "q"))
	for _, e := range want {
		diff(t, must(r.Event(ctx, command.Place{Epoch: e.Epoch, N: e.N}))(t), e)
	}
	for _, id := range []command.Place{{}, {Epoch: 1}, {Epoch: 2, N: 1}, {Epoch: 1, N: -1}, {Epoch: 1, N: int64(len(want) + 1)}} {
		_, err := r.Event(ctx, id)
		wantCode(t, err, command.CodeNotFound)
	}
}
