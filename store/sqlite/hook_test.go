package sqlite_test

import (
	"context"
	"errors"
	"time"

	"behest/command"
	"behest/store/sqlite"
)

// askHooks declares two webhooks, and asks everything about them.
func askHooks(s *sqlite.Store) error {
	ctx, now := context.Background(), time.Now()
	said := command.Event{Type: command.EventHookDeclared, At: now}
	var errs []error
	for _, id := range []string{"erp", "mes"} {
		h := command.Hook{ID: id, URL: "https://example.org/", Generation: 1, CreatedAt: now, CreatedBy: "ann@example.org", ChangedAt: now}
		errs = append(errs, s.PutHook(ctx, &h, said), s.PutHook(ctx, &h, said))
		for n := range int64(20) {
			d := command.HookDelivery{Event: command.Place{Epoch: 1, N: n + 1}, Type: said.Type, State: command.DeliveryDone, FirstAt: now, AskedBy: "ann@example.org"}
			if n%2 == 0 {
				d.State, d.NextAt = command.DeliveryPending, now
			}
			errs = append(errs, s.MoveHook(ctx, h.N, command.HookProgress{Cursor: d.Event, Deliveries: []command.HookDelivery{d}}))
		}
		_, _, _, err := s.DeliveriesDue(ctx, h.N, now, 10)
		_, _, other := s.Deliveries(ctx, id, 15, 10)
		errs = append(errs, err, other)
		if id == "erp" {
			errs = append(errs, s.RemoveHook(ctx, h, said))
		}
	}
	_, err := s.Hook(ctx, "mes")
	_, other := s.Hooks(ctx)
	_, third := s.HooksNeed(ctx)
	_, fourth := s.Event(ctx, command.Place{Epoch: 1, N: 3})
	return errors.Join(append(errs, err, other, third, fourth)...)
}
