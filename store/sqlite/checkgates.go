package sqlite

import (
	"context"

	"behest/command"
)

// gatesSince is the version of the tables that began to have gates, decisions,
// rollbacks and slots.
const gatesSince = 9

// ownSince is the version that began to keep params for devices behind a gate.
const ownSince = 12

// checkGates holds gates, decisions, rollbacks and slots against the commands
// that they belong to.
func checkGates(ctx context.Context, c *conn, report *Report) error {
	if report.Schema < gatesSince {
		return nil
	}
	for _, look := range []func(context.Context, *conn, *Report) error{
		checkLinks, checkEachGate, checkDecisions, checkRollbacks, checkSlots, checkPending,
	} {
		if err := look(ctx, c, report); err != nil {
			return err
		}
	}
	return nil
}

// checkLinks looks at every command that undoes another or can be undone.
func checkLinks(ctx context.Context, c *conn, report *Report) error {
	return c.each(ctx, commandSelect+`WHERE h.id IS NOT NULL`+report.staying()+` ORDER BY h.n`, func(r row) error {
		h, err := readCommand(r, 0, "")
		if err != nil {
			return nil // said elsewhere
		}
		if err := checkLink(ctx, c, report, h); err != nil {
			return err
		}
		if h.Slot == 0 {
			return nil
		}
		missing, err := c.one(ctx, `SELECT count(*) FROM (
				SELECT n, device FROM command WHERE head = +?1
				UNION ALL SELECT n, device FROM command WHERE n = +?1 AND device IS NOT NULL) x
			WHERE NOT EXISTS (SELECT 1 FROM slot s WHERE s.device = x.device AND s.slot = ?2 AND s.execution = x.n)`, h.N, h.Slot)
		if err != nil {
			return err
		}
		if n := missing.int(0); n > 0 {
			report.fault("command %d sets the slot %d; %d of its executions are not listed there", h.N, h.Slot, n)
		}
		return nil
	})
}

// checkLink looks for the link of h, if it undoes another. What it undoes may
// have been removed before it.
func checkLink(ctx context.Context, c *conn, report *Report, h *command.Command) error {
	if h.RollbackOf == (command.ID{}) {
		return nil
	}
	const q = `SELECT (SELECT count(*) FROM rollback b JOIN command o ON o.n = b.original WHERE b.command = +?1 AND o.id = +?2),
		EXISTS (SELECT 1 FROM command WHERE id = +?2), (SELECT value FROM meta WHERE name = 'removed')`
	r, err := c.one(ctx, q, h.N, h.RollbackOf[:])
	if err != nil {
		return err
	}
	gone := r.int(1) == 0 && r.int(2) > 0
	if r.int(0) != 1 && !gone {
		report.fault("command %d undoes %s and is not linked to it", h.N, h.RollbackOf)
	}
	return nil
}

func checkEachGate(ctx context.Context, c *conn, report *Report) error {
	return c.each(ctx, `SELECT command, version FROM gate ORDER BY command`, func(r row) error {
		n := r.int(0)
		if r.int(1) < 1 {
			report.fault("gate of command %d: its version is %d", n, r.int(1))
		}
		g, err := c.gateOf(ctx, n)
		switch {
		case err != nil && command.CodeOf(err) == command.CodeNotFound:
			report.fault("row %d has a gate and is no command", n)
		case err != nil && !isOurs(err):
			return err
		case err != nil:
			report.fault("%v", err)
		case !g.Command.Watched():
			report.fault("command %d has a gate and needs none", n)
		case g.State < command.GateAwaiting || g.State >= command.GateDone:
			report.fault("gate of command %d: its state is %d", n, g.State)
		case g.State == command.GateAwaiting && g.Command.Approval == nil:
			report.fault("gate of command %d: it waits for an approval that nobody asked for", n)
		case g.Through < 0 || g.Through > g.Command.Devices:
			report.fault("gate of command %d: it let %d of %d devices through", n, g.Through, g.Command.Devices)
		}
		return nil
	})
}

// checkDecisions also holds the constraints of the table: SQLite leaves them
// out when it checks what it may not write to.
func checkDecisions(ctx context.Context, c *conn, report *Report) error {
	err := c.each(ctx, commandSelect+`WHERE h.n IN (SELECT command FROM decision) ORDER BY h.n`, func(r row) error {
		if h, err := readCommand(r, 0, ""); err == nil && h.Approval == nil {
			report.fault("command %d needs no approval, and somebody decided on it", h.N)
		}
		return nil
	})
	if err != nil {
		return err
	}
	const q = `SELECT s.command, s.k, s.approve, length(s.digest), h.id IS NULL FROM decision s LEFT JOIN command h ON h.n = s.command ORDER BY s.command, s.k`
	return c.each(ctx, q, func(r row) error {
		if r.int(2) != 0 && r.int(2) != 1 || r.int(3) != 32 || r.int(4) != 0 {
			report.fault("decision %d on command %d is none", r.int(1), r.int(0))
		}
		return nil
	})
}

func checkRollbacks(ctx context.Context, c *conn, report *Report) error {
	const q = `SELECT b.original, b.command, o.id, h.extra FROM rollback b
		LEFT JOIN command o ON o.n = b.original LEFT JOIN command h ON h.n = b.command ORDER BY b.command`
	return c.each(ctx, q, func(r row) error {
		var undoes command.Command
		if err := readExtra(r.text(3), &undoes); err != nil || string(undoes.RollbackOf[:]) != string(r.bytes(2)) {
			report.fault("command %d is linked to command %d, which it does not undo", r.int(1), r.int(0))
		}
		return nil
	})
}

func checkSlots(ctx context.Context, c *conn, report *Report) error {
	const q = `SELECT ` + commandColumns + `, s.device, s.slot, s.execution, x.device FROM slot s
		JOIN command x ON x.n = s.execution
		JOIN command h ON h.n = coalesce(x.head, x.n)
		JOIN kind k ON k.n = h.kind
		LEFT JOIN who w ON w.n = h.who ORDER BY s.execution`
	const at = 9 // behind commandColumns
	return c.each(ctx, q, func(r row) error {
		h, err := readCommand(r, 0, "")
		if err == nil && (h.Slot != r.int(at+1) || r.int(at) != r.int(at+3)) {
			report.fault("execution %d is listed under the slot %d of device %d, which it does not set", r.int(at+2), r.int(at+1), r.int(at))
		}
		return nil
	})
}

func checkPending(ctx context.Context, c *conn, report *Report) error {
	const q = `SELECT DISTINCT p.command FROM pending p JOIN command h ON h.n = p.command WHERE h.id IS NULL OR h.device IS NOT NULL ORDER BY p.command`
	err := c.each(ctx, q, func(r row) error {
		report.fault("row %d has devices pending and is no command on many", r.int(0))
		return nil
	})
	if err != nil || report.Schema < ownSince {
		return err
	}
	const own = `SELECT DISTINCT o.command FROM own_params o WHERE NOT EXISTS (SELECT 1 FROM gate g WHERE g.command = o.command) ORDER BY o.command`
	return c.each(ctx, own, func(r row) error {
		report.fault("command %d has no gate, and params for devices behind it", r.int(0))
		return nil
	})
}
