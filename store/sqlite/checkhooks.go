package sqlite

import (
	"context"
	"fmt"

	"behest/command"
)

// hooksSince is the version of the tables that began to have webhooks.
const hooksSince = 6

// checkHooks reads every webhook and every delivery, and holds them against the
// log, which was walked before.
func checkHooks(ctx context.Context, c *conn, report *Report) error {
	if report.Schema < hooksSince {
		return nil
	}
	err := c.each(ctx, hookSelect+`WHERE h.id > '' ORDER BY h.id`, func(r row) error {
		report.Hooks++
		if p := r.int(5); p != 0 && p != 1 {
			report.fault("webhook %q: allow_private is %d", r.text(1), p)
		}
		h, err := readHook(r)
		if err != nil {
			report.fault("%v", err)
			return nil
		}
		for _, what := range hookFaults(&h, report) {
			report.fault("webhook %q: %s", h.ID, what)
		}
		return nil
	})
	if err != nil {
		return err
	}
	const q = `SELECT hook, count(*) FROM delivery WHERE next_at IS NULL GROUP BY hook HAVING count(*) > +?`
	err = c.each(ctx, q, func(r row) error {
		report.fault("webhook in row %d: %d deliveries that are over are kept, at most %d should be", r.int(0), r.int(1), command.HookKeptMax)
		return nil
	}, int64(command.HookKeptMax))
	if err != nil {
		return err
	}
	return checkDeliveries(ctx, c, report)
}

// hookFaults are the rules that h breaks.
func hookFaults(h *command.Hook, report *Report) (broken []string) {
	rule := func(holds bool, format string, args ...any) {
		if !holds {
			broken = append(broken, fmt.Sprintf(format, args...))
		}
	}
	rule(h.Version >= 1, "its version is %d", h.Version)
	spec := h.Spec()
	for _, f := range spec.Check(h.ID) {
		rule(false, "%s %s", f.Pointer, f.Detail)
	}
	rule(!h.Disabled || h.Reason == command.HookByHand || h.Reason == command.HookGone || h.Reason == command.HookFailing, "it is disabled because of %q", h.Reason)
	rule(h.Generation >= 1, "its secret is of generation %d", h.Generation)
	rule((h.Generation > 1) == !h.RotatedAt.IsZero(), "its secret is of generation %d, and it was rotated at %s", h.Generation, h.RotatedAt)
	rule(h.Cursor.N >= 0 && h.Cursor.N <= report.Events && h.Cursor.Epoch <= report.Epoch, "its place is %s, and the log ends at %d-%d", h.Cursor, report.Epoch, report.Events)
	rule(h.Delivered >= 0 && h.GivenUp >= 0, "it took %d events, and %d were given up", h.Delivered, h.GivenUp)
	return broken
}

// checkDeliveries also holds the constraints of the table: SQLite leaves them
// out when it checks what it may not write to.
func checkDeliveries(ctx context.Context, c *conn, report *Report) error {
	return c.each(ctx, `SELECT hook, n, epoch, state, attempts, next_at FROM delivery ORDER BY hook, n`, func(r row) error {
		report.Deliveries++
		state := command.DeliveryState(r.int(3))
		switch {
		case state < command.DeliveryPending || state > command.DeliveryGivenUp || (state == command.DeliveryPending) == r.null(5):
			report.fault("delivery of event %d to the webhook in row %d: its state is %d, and it is due at %v", r.int(1), r.int(0), r.int(3), r[5])
		case r.int(1) < 1 || r.int(1) > report.Events || r.int(2) > int64(report.Epoch):
			report.fault("delivery of event %d-%d to the webhook in row %d: the log ends at %d-%d", r.int(2), r.int(1), r.int(0), report.Epoch, report.Events)
		case r.int(4) < 0:
			report.fault("delivery of event %d to the webhook in row %d: %d attempts", r.int(1), r.int(0), r.int(4))
		}
		return nil
	})
}
