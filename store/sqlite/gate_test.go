package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
	"behest/store/sqlite"
)

// askGates asks what can be asked about gates, decisions, rollbacks, slots and
// groups. many has something pending.
func askGates(s *sqlite.Store, many *command.Command, x command.Execution) error {
	ctx := context.Background()
	many.Restores = true // what devices have for themselves goes with its gate
	_, _, err := s.GatesDue(ctx, time.Now(), 10)
	_, err2 := s.Gates(ctx, 0, 10)
	_, _, err3 := s.GateTally(ctx, many.N)
	if command.CodeOf(err3) == command.CodeNotFound {
		err3 = nil
	}
	_, _, err4 := s.Awaiting(ctx, 0, 10)
	_, _, err5 := s.GroupPage(ctx, "a", 10)
	_, err6 := s.Groups(ctx)
	_, _, err7 := s.Commands(ctx, command.Filter{State: "paused"})
	_, _, errAwaits := s.Commands(ctx, command.Filter{State: "awaiting_approval"})
	_, errHolds := s.Holding(ctx, 1)
	nobody := func(device.Device) error { return nil }
	_, errOwn := s.OwnParams(ctx, many.N, 10)
	err = errors.Join(errOwn, errAwaits, errHolds, err, err2, err3, err4, err5, err6, err7, s.Pick(ctx, nobody), s.Held(ctx, many.N, nobody))
	if err != nil {
		return err
	}
	return s.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
		_, err := tx.Decisions(many.N)
		_, err2 := tx.Rollbacks(many.N)
		_, errNone := tx.Original(many.N)
		if command.CodeOf(errNone) != command.CodeNotFound {
			return errNone
		}
		if err := tx.AddOwnParams(many.N, 1, nil); err != nil {
			return err
		}
		if _, err := tx.OwnParams(many.N, 1); err != nil {
			return err
		}
		if _, err := tx.DropPending(many.N, []int64{99}); err != nil {
			return err
		}
		if _, err := tx.AnyPending(many.N); err != nil {
			return err
		}
		_, err3 := tx.ExecutionOf(many.N, x.Device)
		_, err4 := tx.ExecutionOf(x.Command.N, x.Device)
		_, err5 := tx.Younger(x, 10)
		_, err6 := tx.Succeeded(x)
		_, err7 := tx.Gate(many.N)
		_, err8 := tx.Group("g")
		restoring := *many // so that the params go with its gate
		restoring.Restores = true
		g := command.NewGate(&restoring, time.Now())
		for _, missing := range []*error{&err3, &err5, &err6, &err7, &err8} {
			if command.CodeOf(*missing) == command.CodeNotFound {
				*missing = nil
			}
		}
		err = errors.Join(err, err2, err3, err4, err5, err6, err7, err8, tx.AddGate(&g, time.Now()), tx.SaveGate(&g, time.Now()))
		g.State = command.GateDone
		return errors.Join(err, tx.SaveGate(&g, time.Now()))
	})
}

// BenchmarkYounger asks for those that may have had an effect in a slot of a
// device, among as many executions on that device that set something else.
func BenchmarkYounger(b *testing.B) {
	for _, others := range []int{0, 1_000_000} {
		b.Run(fmt.Sprint(others), func(b *testing.B) {
			path := decided(b)
			alter(b, path, fmt.Sprintf(`
				UPDATE command SET state = 4, effect = 3, seq = 1 WHERE n = 5; UPDATE device SET last_seq = 1000000;
				WITH RECURSIVE i(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < %d)
				INSERT INTO command (device, version, state, effect, settled, course, id, kind, who, created_at, intent)
					SELECT 1, 1, 8, 2, 0, c.course, randomblob(16), c.kind, c.who, c.created_at, c.intent FROM i JOIN command c ON c.n = 2;
				INSERT INTO slot SELECT 1, n * 7919, n FROM command WHERE n > 6`, others))
			s, err := sqlite.Open(context.Background(), path, sqlite.Options{Logger: quiet()})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			go s.Run(context.Background())
			err = s.Update(context.Background(), ledger.Issues, func(tx ledger.Tx) error {
				b.ResetTimer()
				x, err := tx.Execution(1)
				if err != nil {
					return err
				}
				x.Seq = 0
				for range b.N {
					if xs, err := tx.Younger(x, 10); err != nil || len(xs) != 1 || xs[0].N != 5 {
						return fmt.Errorf("%d rows, %w", len(xs), err)
					}
				}
				b.StopTimer()
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		})
	}
}
