package sqlite_test

import (
	"context"
	"errors"
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
	nobody := func(device.Device) error { return nil }
	err = errors.Join(err, err2, err3, err4, err5, err6, err7, s.Pick(ctx, nobody), s.Held(ctx, many.N, nobody))
	if err != nil {
		return err
	}
	return s.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
		_, err := tx.Decisions(many.N)
		_, err2 := tx.Rollbacks(many.N)
		_, err3 := tx.ExecutionOf(many.N, x.Device)
		_, err4 := tx.ExecutionOf(x.Command.N, x.Device)
		_, err5 := tx.Latest(x.Device, 77, 0)
		_, err6 := tx.Succeeded(x.Device, 77, x.N)
		_, err7 := tx.Gate(many.N)
		_, err8 := tx.Group("g")
		g := command.NewGate(many, time.Now())
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
