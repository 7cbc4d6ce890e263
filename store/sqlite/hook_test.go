package sqlite_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"behest/command"
	"behest/command/ledger"
	"behest/store/sqlite"
)

// hooked is a database with a webhook, mes, that has deliveries to show.
func hooked(t *testing.T) string {
	t.Helper()
	ctx := context.Background()
	path := made(t)
	s, err := sqlite.Open(ctx, path, sqlite.Options{Logger: quiet(), RideAlong: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	go s.Run(ctx)
	err = s.Update(ctx, ledger.Issues, func(tx ledger.Tx) (err error) {
		for range 20 {
			err = errors.Join(err, tx.Log(command.Event{Type: command.EventEdited, At: time.Now()}))
		}
		return err
	})
	if err := errors.Join(err, askHooks(s), s.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheckLooksAtWebhooks(t *testing.T) {
	const lax = `PRAGMA ignore_check_constraints = 1; `
	whole, err := os.ReadFile(hooked(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ name, damage, says string }{
		{"nothing", `SELECT 1`, ""},
		{"no version", lax + `UPDATE webhook SET version = 0`, `webhook "mes": its version is 0`},
		{"an address that is none", `UPDATE webhook SET url = 'ftp://x/'`, `webhook "mes": /url is neither https nor http`},
		{"a name that is none", `UPDATE webhook SET id = 'a/b'`, `webhook "a/b": /id`},
		{"types that are no JSON", `UPDATE webhook SET types = 'x'`, `webhook "mes": types: invalid character`},
		{"a type that is none", `UPDATE webhook SET types = '["*"]'`, `webhook "mes": /types/0 is neither`},
		{"neither private nor not", lax + `UPDATE webhook SET allow_private = 2`, `webhook "mes": allow_private is 2`},
		{"a reason that is none", `UPDATE webhook SET reason = 'bored'`, `webhook "mes": it is disabled because of "bored"`},
		{"a salt that is cut", lax + `UPDATE webhook SET salt = x'00'`, `webhook "mes": its salt has 1 bytes`},
		{"a secret of no generation", lax + `UPDATE webhook SET generation = 0`, `webhook "mes": its secret is of generation 0`},
		{"a rotation that nobody made", `UPDATE webhook SET rotated_at = 7`, `webhook "mes": its secret is of generation 1, and it was rotated`},
		{"a place past the log", `UPDATE webhook SET place = 99`, `webhook "mes": its place is 1-99, and the log ends at 1-`},
		{"a place in the future", `UPDATE webhook SET epoch = 2`, `webhook "mes": its place is 2-20`},
		{"less than nothing", `UPDATE webhook SET given_up = -1`, `webhook "mes": it took 0 events, and -1 were given up`},
		{"a delivery to nobody", `UPDATE delivery SET hook = 9 WHERE n = 1`, "refers to a row of webhook"},
		{"a state that is none", lax + `UPDATE delivery SET state = 4 WHERE n = 2`, "delivery of event 2 to the webhook in row 2: its state is 4"},
		{"one that is over and due", lax + `UPDATE delivery SET next_at = 7 WHERE n = 2`, "its state is 2, and it is due at 7"},
		{"one that waits for nothing", lax + `UPDATE delivery SET next_at = NULL WHERE n = 1`, "its state is 1, and it is due at <nil>"},
		{"an event past the log", `UPDATE delivery SET n = 99 WHERE n = 1`, "delivery of event 1-99 to the webhook in row 2: the log ends at 1-"},
		{"attempts below none", `UPDATE delivery SET attempts = -1 WHERE n = 1`, "-1 attempts"},
		{"too many that are over", `WITH RECURSIVE c (n) AS (SELECT 21 UNION ALL SELECT n + 1 FROM c WHERE n < 1021)
			INSERT INTO delivery SELECT 2, n, 1, 't', 2, 1, NULL, NULL, 7, NULL, NULL, NULL FROM c`, "webhook in row 2: 1011 deliveries that are over are kept"},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := file(t.TempDir())
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			alter(t, path, row.damage)
			r, err := sqlite.Check(context.Background(), path)
			if err != nil {
				t.Fatal(err)
			}
			found := strings.Join(r.Faults, "\n")
			if row.says == "" && found != "" || !strings.Contains(found, row.says) {
				t.Errorf("it found %q, want %q", found, row.says)
			}
			if row.says == "" && (r.Hooks != 1 || r.Deliveries != 20) {
				t.Errorf("it counted %d webhooks and %d deliveries", r.Hooks, r.Deliveries)
			}
		})
	}
}

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
