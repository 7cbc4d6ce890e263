package webhook

import (
	"context"
	"crypto/rand"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"behest/command"
)

// busyAfter is when somebody may try again whose redelivery has no room.
const busyAfter = time.Minute

// Put declares a webhook, or changes it: what it says from now on, and nothing
// of its past. A new one is told of what happens from now on, its own
// declaration included; one that was disabled goes on from its place. A version
// to hold the webhook against may be given; 0 is whatever it has. What would
// change nothing changes nothing.
func (s *Service) Put(ctx context.Context, id string, spec command.HookSpec, ifVersion int64, by string) (h command.Hook, secret string, created bool, err error) {
	if faults := check(id, spec); len(faults) > 0 {
		return h, "", false, &command.Error{Code: command.CodeInvalid, Msg: "the webhook cannot be declared like that", Fields: faults}
	}
	now := time.Now()
	h, err = s.current(ctx, id, ifVersion)
	created = ifVersion == 0 && command.CodeOf(err) == command.CodeNotFound
	if created {
		h, err = s.made(ctx, id, by, now)
	}
	if err != nil || !created && same(h.Spec(), spec) {
		return h, "", false, err
	}
	h.URL, h.Types, h.AllowPrivate = spec.URL, slices.Clone(spec.Types), spec.AllowPrivate
	if h.Disabled != spec.Disabled || created {
		h.Disabled, h.Reason = spec.Disabled, ""
	}
	if h.Disabled && h.Reason == "" {
		h.Reason = command.HookByHand
	}
	if err := s.put(ctx, &h, command.EventHookDeclared, by, now); err != nil {
		return command.Hook{}, "", false, err
	}
	if created {
		secret = s.key.secret(&h, h.Generation)
	}
	return h, secret, created, nil
}

// check names every fault, and that of an address which no connection would be
// made to. What a name leads to is seen when it is connected to.
func check(id string, spec command.HookSpec) []command.Field {
	if faults := spec.Check(id); len(faults) > 0 {
		return faults
	}
	u, err := url.Parse(spec.URL)
	if err != nil {
		return []command.Field{{Pointer: "/url", Detail: "is no URL"}}
	}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil {
		if err := guardOf(spec.URL, spec.AllowPrivate).allows(a); err != nil {
			return []command.Field{{Pointer: "/url", Detail: err.Error()}}
		}
	}
	return nil
}

func same(a, b command.HookSpec) bool {
	return a.URL == b.URL && slices.Equal(a.Types, b.Types) && a.AllowPrivate == b.AllowPrivate && a.Disabled == b.Disabled
}

// current is a webhook of the version that is wished for.
func (s *Service) current(ctx context.Context, id string, version int64) (command.Hook, error) {
	h, err := s.store.Hook(ctx, id)
	if version != 0 && (err == nil && h.Version != version || command.CodeOf(err) == command.CodeNotFound) {
		err = command.Errorf(command.CodePrecondition, "the webhook is not of version %d", version)
	}
	return h, err
}

// made is a webhook that is not stored yet.
func (s *Service) made(ctx context.Context, id, by string, now time.Time) (command.Hook, error) {
	h := command.Hook{ID: id, Generation: 1, CreatedAt: now, CreatedBy: by}
	_, _ = rand.Read(h.Salt[:]) // it never fails
	var err error
	h.Cursor, err = s.log.End(ctx)
	return h, err
}

// put stores h, logs that, and has its loop begin anew.
func (s *Service) put(ctx context.Context, h *command.Hook, kind command.EventType, by string, now time.Time) error {
	h.ChangedAt, h.ChangedBy = now, by
	err := s.store.PutHook(context.WithoutCancel(ctx), h, told(kind, *h, by, now))
	nudge(s.wake)
	return err
}

// told is the event of a change. Of the URL it has the host alone: a path may be
// as good as a secret, and others read the log.
func told(kind command.EventType, h command.Hook, by string, now time.Time) command.Event {
	data := map[string]any{"webhook": h.ID}
	if u, err := url.Parse(h.URL); err == nil && kind == command.EventHookDeclared {
		data["host"], data["allow_private"], data["disabled"] = u.Host, h.AllowPrivate, h.Disabled
		if len(h.Types) > 0 {
			data["types"] = h.Types
		}
	}
	return command.Event{Type: kind, At: now, Actor: by, Data: mustJSON(data)}
}

// Delete removes a webhook with its deliveries. Another one of its name will
// have other secrets.
func (s *Service) Delete(ctx context.Context, id string, ifVersion int64, by string) error {
	h, err := s.current(ctx, id, ifVersion)
	if err != nil {
		return err
	}
	err = s.store.RemoveHook(context.WithoutCancel(ctx), h, told(command.EventHookRemoved, h, by, time.Now()))
	nudge(s.wake)
	return err
}

// Hook is one webhook, Hooks are all, by name.
func (s *Service) Hook(ctx context.Context, id string) (command.Hook, error) {
	return s.store.Hook(ctx, id)
}

// Hooks are all webhooks, by name: at most command.HooksMax.
func (s *Service) Hooks(ctx context.Context) ([]command.Hook, error) { return s.store.Hooks(ctx) }

// Rotate gives a webhook a new secret, and tells it. The former one signs too
// until Options.Overlap is over, so that a receiver can be told in time.
func (s *Service) Rotate(ctx context.Context, id string, ifVersion int64, by string) (h command.Hook, secret string, err error) {
	if h, err = s.current(ctx, id, ifVersion); err != nil {
		return h, "", err
	}
	now := time.Now()
	h.Generation, h.RotatedAt = h.Generation+1, now
	if err := s.put(ctx, &h, command.EventHookRotated, by, now); err != nil {
		return command.Hook{}, "", err
	}
	return h, s.key.secret(&h, h.Generation), nil
}

// Deliveries lists what has a row, the youngest event first: before is the
// number of the last event that was seen, 0 for the first page.
func (s *Service) Deliveries(ctx context.Context, id string, before int64, limit int) ([]command.HookDelivery, bool, error) {
	if _, err := s.store.Hook(ctx, id); err != nil { // or it would be empty for ever
		return nil, false, err
	}
	return s.store.Deliveries(ctx, id, before, limit)
}

// Redeliver has an event delivered, be it for the first time or again, and
// whatever types the webhook wants. It has all its attempts before it.
func (s *Service) Redeliver(ctx context.Context, id string, event command.Place, by string) (d command.HookDelivery, err error) {
	h, err := s.store.Hook(ctx, id)
	if err != nil {
		return d, err
	}
	if h.Disabled {
		return d, command.Errorf(command.CodeConflict, "the webhook is disabled")
	}
	e, err := s.log.Event(ctx, event)
	if err != nil {
		return d, err
	}
	now := time.Now()
	_, waiting, _, err := s.store.DeliveriesDue(ctx, h.N, now, 1)
	if err != nil {
		return d, err
	}
	if waiting >= command.HookFailuresMax {
		return d, &command.Error{Code: command.CodeTooMany, Msg: "too many deliveries wait for this webhook", RetryAfter: busyAfter}
	}
	d = command.HookDelivery{
		Hook: h.ID, Event: event, Type: e.Type, State: command.DeliveryPending, FirstAt: now, NextAt: now, AskedBy: by,
	}
	err = s.store.MoveHook(context.WithoutCancel(ctx), h.N, command.HookProgress{Deliveries: []command.HookDelivery{d}})
	if err != nil {
		return command.HookDelivery{}, err
	}
	s.look(h.N)
	return d, nil
}
