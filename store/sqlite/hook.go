package sqlite

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"behest/command"
	"behest/command/ledger"
)

// hookColumns are what an operator changes, and what is set once. Behind them
// are those that move with the log.
const hookColumns = `id, version, url, types, allow_private, reason, salt, generation, rotated_at, created_at, created_by, changed_at, changed_by`

const hookSelect = `SELECT h.n, h.id, h.version, h.url, h.types, h.allow_private, h.reason, h.salt, h.generation, h.rotated_at,
	h.created_at, c.name, h.changed_at, w.name, h.epoch, h.place, h.delivered, h.given_up, h.taken_at
	FROM webhook h LEFT JOIN who c ON c.n = h.created_by LEFT JOIN who w ON w.n = h.changed_by `

// readHook reads a row of hookSelect.
func readHook(r row) (command.Hook, error) {
	h := command.Hook{
		N: r.int(0), ID: r.text(1), Version: r.int(2), URL: r.text(3),
		AllowPrivate: r.int(5) != 0, Disabled: !r.null(6), Reason: r.text(6),
		Generation: int(r.int(8)), RotatedAt: timeAt(r, 9),
		CreatedAt: timeAt(r, 10), CreatedBy: r.text(11), ChangedAt: timeAt(r, 12), ChangedBy: r.text(13),
		Cursor:    command.Place{Epoch: uint32(r.int(14)), N: r.int(15)},
		Delivered: r.int(16), GivenUp: r.int(17), TakenAt: timeAt(r, 18),
	}
	if n := copy(h.Salt[:], r.bytes(7)); n != len(h.Salt) {
		return h, fmt.Errorf("webhook %q: its salt has %d bytes", h.ID, n)
	}
	if text := r.text(4); text != "" {
		if err := json.Unmarshal([]byte(text), &h.Types); err != nil {
			return h, fmt.Errorf("webhook %q: types: %w", h.ID, err)
		}
	}
	return h, nil
}

// hooks answers with what hookSelect and the rest of the query find.
func (c *conn) hooks(ctx context.Context, rest string, args ...driver.Value) (list []command.Hook, err error) {
	err = c.each(ctx, hookSelect+rest, func(r row) error {
		h, err := readHook(r)
		list = append(list, h)
		return err
	}, args...)
	return list, err
}

// Hooks lists all webhooks by name.
func (s *Store) Hooks(ctx context.Context) (list []command.Hook, err error) {
	err = s.read(ctx, func(c *conn) error {
		list, err = c.hooks(ctx, `WHERE h.id > '' ORDER BY h.id`) // along the key: there is no shorter way to all
		return err
	})
	return list, err
}

// Hook is the webhook of that name.
func (s *Store) Hook(ctx context.Context, id string) (h command.Hook, err error) {
	err = s.read(ctx, func(c *conn) error {
		list, err := c.hooks(ctx, `WHERE h.id = +?`, id)
		if err == nil && len(list) == 0 {
			return command.Errorf(command.CodeNotFound, "no webhook is called %q", id)
		}
		if err == nil {
			h = list[0]
		}
		return err
	})
	return h, err
}

// HooksNeed is the last event up to which no webhook that is enabled needs the
// log any more.
func (s *Store) HooksNeed(ctx context.Context) (n int64, err error) {
	n = math.MaxInt64
	err = s.read(ctx, func(c *conn) error {
		const q = `SELECT min(h.place, coalesce((SELECT min(d.n) - 1 FROM delivery d WHERE d.hook = h.n AND d.next_at IS NOT NULL), h.place))
			FROM webhook h WHERE h.id > '' AND h.reason IS NULL`
		return c.each(ctx, q, func(r row) error {
			n = min(n, r.int(0))
			return nil
		})
	})
	return n, err
}

// PutHook stores what an operator can change of a webhook, by N and Version,
// or adds it if it has none.
func (s *Store) PutHook(ctx context.Context, h *command.Hook, e command.Event) error {
	stored := *h
	err := s.Update(ctx, ledger.Issues, func(lt ledger.Tx) (err error) {
		t := lt.(*tx)
		stored = *h
		if stored.N == 0 {
			err = t.addHook(&stored)
		} else {
			err = t.saveHook(&stored)
		}
		if err != nil {
			return err
		}
		return t.Log(e)
	})
	if err == nil {
		*h = stored
	}
	return err
}

// hookValues are what hookColumns hold of h.
func (t *tx) hookValues(h *command.Hook) ([]driver.Value, error) {
	var types []byte
	if len(h.Types) > 0 {
		var err error
		if types, err = json.Marshal(h.Types); err != nil {
			return nil, fmt.Errorf("types: %w", err)
		}
	}
	created, err := t.who(h.CreatedBy)
	if err != nil {
		return nil, err
	}
	changed, err := t.who(h.ChangedBy)
	if err != nil {
		return nil, err
	}
	if h.Disabled != (h.Reason != "") {
		return nil, fmt.Errorf("webhook %q is disabled: %t, and why: %q", h.ID, h.Disabled, h.Reason)
	}
	return []driver.Value{
		h.ID, h.Version, h.URL, textOrNull(string(types)), number(h.AllowPrivate), textOrNull(h.Reason), h.Salt[:], int64(h.Generation),
		timeOrNull(h.RotatedAt), h.CreatedAt.UnixMilli(), created, h.ChangedAt.UnixMilli(), changed,
	}, nil
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

const addHook = `INSERT INTO webhook (` + hookColumns + `, epoch, place, delivered, given_up, taken_at)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

func (t *tx) addHook(h *command.Hook) error {
	r, err := t.w.conn.one(context.Background(), `SELECT count(*) FROM webhook WHERE id > ''`)
	if err != nil {
		return t.failed(err)
	}
	if r.int(0) >= command.HooksMax {
		return command.Errorf(command.CodeTooMany, "there are %d webhooks, and no more are allowed", command.HooksMax)
	}
	h.Version = 1
	values, err := t.hookValues(h)
	if err == nil {
		_, h.N, err = t.write(addHook, append(values, int64(h.Cursor.Epoch), h.Cursor.N, h.Delivered, h.GivenUp, timeOrNull(h.TakenAt))...)
	}
	if isDuplicate(err) {
		return command.Errorf(command.CodeConflict, "a webhook is called %q already", h.ID)
	}
	if err != nil {
		return fmt.Errorf("add webhook %q: %w", h.ID, err)
	}
	return nil
}

const saveHook = `UPDATE webhook SET (` + hookColumns + `) = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE n = +? AND version = +?`

func (t *tx) saveHook(h *command.Hook) error {
	h.Version++
	values, err := t.hookValues(h)
	if err != nil {
		return fmt.Errorf("save webhook %q: %w", h.ID, err)
	}
	changed, _, err := t.write(saveHook, append(values, h.N, h.Version-1)...)
	if err != nil {
		return fmt.Errorf("save webhook %q: %w", h.ID, err)
	}
	if changed == 0 {
		return command.Errorf(command.CodeConflict, "webhook %q was changed meanwhile", h.ID)
	}
	return nil
}

// RemoveHook removes a webhook, by N and Version, with its deliveries.
func (s *Store) RemoveHook(ctx context.Context, h command.Hook, e command.Event) error {
	return s.Update(ctx, ledger.Issues, func(lt ledger.Tx) error {
		t := lt.(*tx)
		if _, _, err := t.write(`DELETE FROM delivery WHERE hook = +?`, h.N); err != nil {
			return fmt.Errorf("remove the deliveries of webhook %q: %w", h.ID, err)
		}
		changed, _, err := t.write(`DELETE FROM webhook WHERE n = +? AND version = +?`, h.N, h.Version)
		if err != nil {
			return fmt.Errorf("remove webhook %q: %w", h.ID, err)
		}
		if changed == 0 {
			return command.Errorf(command.CodeConflict, "webhook %q was changed meanwhile", h.ID)
		}
		return t.Log(e)
	})
}

const moveHook = `UPDATE webhook SET epoch = coalesce(?2, epoch), place = coalesce(?3, place), delivered = delivered + ?4,
	given_up = given_up + ?5, taken_at = coalesce(?6, taken_at) WHERE n = +?1`

// MoveHook stores what came of deliveries. It waits for company: when nothing
// else is written, nobody waits for it.
func (s *Store) MoveHook(ctx context.Context, n int64, p command.HookProgress, events ...command.Event) error {
	return s.Update(ctx, ledger.Deliveries, func(lt ledger.Tx) error {
		t := lt.(*tx)
		var epoch, place driver.Value
		if p.Cursor != (command.Place{}) {
			epoch, place = int64(p.Cursor.Epoch), p.Cursor.N
		}
		changed, _, err := t.write(moveHook, n, epoch, place, p.Delivered, p.GivenUp, timeOrNull(p.TakenAt))
		if err != nil {
			return fmt.Errorf("move webhook %d: %w", n, err)
		}
		if changed == 0 {
			return command.Errorf(command.CodeNotFound, "no webhook has the number %d", n)
		}
		for i := range p.Deliveries {
			if err := t.putDelivery(n, &p.Deliveries[i]); err != nil {
				return fmt.Errorf("put a delivery of webhook %d: %w", n, err)
			}
		}
		if err := t.trimDeliveries(n, len(p.Deliveries)); err != nil {
			return fmt.Errorf("trim the deliveries of webhook %d: %w", n, err)
		}
		for _, e := range events {
			if err := t.Log(e); err != nil {
				return err
			}
		}
		return nil
	})
}

const putDelivery = `INSERT OR REPLACE INTO delivery (hook, n, epoch, type, state, attempts, status, error, first_at, last_at, next_at, asked_by)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

func (t *tx) putDelivery(hook int64, d *command.HookDelivery) error {
	who, err := t.who(d.AskedBy)
	if err != nil {
		return err
	}
	_, _, err = t.write(putDelivery, hook, d.Event.N, int64(d.Event.Epoch), string(d.Type), int64(d.State), int64(d.Attempts),
		orNull(int64(d.Status)), textOrNull(d.Error), d.FirstAt.UnixMilli(), timeOrNull(d.LastAt), timeOrNull(d.NextAt), who)
	return err
}

// trimDeliveries removes the eldest of those that are over. Before put were
// put, there were not too many.
func (t *tx) trimDeliveries(hook int64, put int) error {
	if put == 0 {
		return nil
	}
	_, _, err := t.write(`DELETE FROM delivery WHERE hook = +?1 AND next_at IS NULL AND n <= (
		SELECT n FROM delivery WHERE hook = +?1 AND next_at IS NULL ORDER BY n DESC LIMIT 1 OFFSET +?2)`, hook, int64(command.HookKeptMax))
	return err
}

const deliverySelect = `SELECT h.id, d.n, d.epoch, d.type, d.state, d.attempts, d.status, d.error, d.first_at, d.last_at, d.next_at, w.name
	FROM delivery d JOIN webhook h ON h.n = d.hook LEFT JOIN who w ON w.n = d.asked_by `

// deliveries answers with what deliverySelect and the rest of the query find.
func (c *conn) deliveries(ctx context.Context, rest string, args ...driver.Value) (list []command.HookDelivery, err error) {
	err = c.each(ctx, deliverySelect+rest, func(r row) error {
		list = append(list, command.HookDelivery{
			Hook: r.text(0), Event: command.Place{Epoch: uint32(r.int(2)), N: r.int(1)}, Type: command.EventType(r.text(3)),
			State: command.DeliveryState(r.int(4)), Attempts: int(r.int(5)), Status: int(r.int(6)), Error: r.text(7),
			FirstAt: timeAt(r, 8), LastAt: timeAt(r, 9), NextAt: timeAt(r, 10), AskedBy: r.text(11),
		})
		return nil
	}, args...)
	return list, err
}

// DeliveriesDue lists the deliveries of webhook n whose time has come at now,
// those first that waited longest; how many wait in all; and when the next is
// due after now, the zero time if none is.
func (s *Store) DeliveriesDue(ctx context.Context, n int64, now time.Time, limit int) (due []command.HookDelivery, waiting int, next time.Time, err error) {
	at := now.UnixMilli()
	err = s.snapshot(ctx, func(c *conn) error {
		due, err = c.deliveries(ctx, `WHERE d.hook = +? AND d.next_at <= ? ORDER BY d.next_at, d.n LIMIT +?`, n, at, int64(page(limit, command.PageMax)))
		if err != nil {
			return err
		}
		r, err := c.one(ctx, `SELECT count(*), min(next_at) FILTER (WHERE next_at > ?2) FROM delivery WHERE hook = +?1 AND next_at IS NOT NULL`, n, at)
		if err == nil {
			waiting, next = int(r.int(0)), timeAt(r, 1)
		}
		return err
	})
	return due, waiting, next, err
}

// Deliveries lists those of a webhook, the youngest event first, only of
// events before a number if that is not 0.
func (s *Store) Deliveries(ctx context.Context, id string, before int64, limit int) (list []command.HookDelivery, more bool, err error) {
	if before <= 0 {
		before = math.MaxInt64
	}
	limit = page(limit, command.PageMax)
	err = s.read(ctx, func(c *conn) error {
		list, err = c.deliveries(ctx, `WHERE d.hook = (SELECT n FROM webhook WHERE id = +?) AND d.n < ? ORDER BY d.n DESC LIMIT +?`, id, before, int64(limit)+1)
		return err
	})
	if len(list) > limit {
		return list[:limit], true, err
	}
	return list, false, err
}

// Event is the event with that id.
func (s *Store) Event(ctx context.Context, id command.Place) (e command.Event, err error) {
	err = s.snapshot(ctx, func(c *conn) error {
		l := listing{c: c, limit: 1, next: new(command.Place)}
		if err := l.scan(ctx, id.N-1); err != nil {
			return err
		}
		if id.N < 1 || len(l.events) == 0 || l.events[0].N != id.N || l.events[0].Epoch != id.Epoch {
			return command.Errorf(command.CodeNotFound, "the log has no event %s", id)
		}
		if err := l.name(ctx); err != nil {
			return err
		}
		e = l.events[0]
		return nil
	})
	return e, err
}
