package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"behest/command"
	"behest/device"
)

// faultsMax bounds how many faults a report lists. A damaged file has
// thousands, and the first ones tell.
const faultsMax = 100

// Report is what Check found.
type Report struct {
	Schema      int64 // version of the tables
	Epoch       uint32
	Devices     int64
	Commands    int64
	Executions  int64
	Open        int64 // executions that have not ended
	Reports     int64 // that a younger one replaced
	Types       int64 // versions of command types
	Users       int64
	Tokens      int64    // also those that do not work any more
	Credentials int64    // likewise
	Hooks       int64    // webhooks
	Deliveries  int64    // to them that failed, or that somebody wished
	Events      int64    // ever, those included that are no longer there
	Cut         int64    // events that are no longer there: the log goes on after a signed checkpoint
	Going       int64    // commands that are being removed
	Groups      int64    // commits that had events
	Hash        string   // of the last of them
	Against     Against  // what was kept elsewhere
	Faults      []string // nothing: the store is sound
	Left        int      // faults that are not listed
}

// retentionSchema is the first version of the tables that knows of removal.
const retentionSchema = 14

// staying leaves out of a query what is being removed, of which a part may be
// gone.
func (r *Report) staying() string {
	if r.Schema < retentionSchema {
		return ""
	}
	return ` AND ` + staying
}

func (r *Report) fault(format string, args ...any) {
	if len(r.Faults) >= faultsMax {
		r.Left++
		return
	}
	r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
}

// Check examines the database at path: its pages, its references, the rules
// that hold among its rows, and the chain of hashes over its log, from the
// signed checkpoint on if it was cut. It reads
// one moment of it, changes nothing, and may run beside a server. The error
// says that it could not look; what it found wrong is in the report.
func Check(ctx context.Context, path string) (Report, error) {
	return CheckSeals(ctx, path, nil)
}

// CheckSeals is Check by somebody who can try whether the seal of a credential
// opens; nil: nobody can.
func CheckSeals(ctx context.Context, path string, opens func(*device.Credential) error) (Report, error) {
	return examine(ctx, path, opens, nil)
}

// onlook opens the database at path to look at it, also beside a server. leave
// closes it.
func onlook(path string) (c *conn, leave func() error, err error) {
	if _, err := os.Stat(path); err != nil {
		return nil, nil, err
	}
	m := checking
	held, free := share(path)
	if _, err := os.Stat(path + "-wal"); free && errors.Is(err, os.ErrNotExist) {
		m = alone
	}
	let := func() error {
		if held == nil {
			return nil
		}
		return held.Close()
	}
	if c, err = connect(path, m); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", path, plain(err)), let())
	}
	return c, func() error { return errors.Join(c.close(), let()) }, nil
}

func examine(ctx context.Context, path string, opens func(*device.Credential) error, a *anchors) (report Report, err error) {
	c, leave, err := onlook(path)
	if err != nil {
		return report, fmt.Errorf("check the store: %w", err)
	}
	defer func() { err = errors.Join(err, leave()) }()
	if _, _, err := c.exec("BEGIN"); err != nil {
		return report, fmt.Errorf("check the store %s: %w", path, plain(err))
	}
	for _, look := range []func(context.Context, *conn, *Report) error{
		checkPages, checkVersion, checkCounts, checkGoing, checkExecutions, checkHeads, checkDevices, checkReports, checkTypes, checkPeople, checkCredentials(opens), checkGates,
		checkLog(filepath.Dir(path), a), checkHooks,
	} {
		if err := look(ctx, c, &report); err != nil {
			if ctx.Err() != nil {
				return report, err
			}
			report.fault("cannot be read: %v", err)
			if isOurs(err) {
				continue
			}
			return report, nil
		}
	}
	return report, nil
}

func checkPages(ctx context.Context, c *conn, report *Report) error {
	err := c.each(ctx, `PRAGMA integrity_check(100)`, func(r row) error {
		if text := r.text(0); text != "ok" {
			for line := range strings.Lines(text) {
				report.fault("page: %s", strings.TrimSpace(line))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.each(ctx, `PRAGMA foreign_key_check`, func(r row) error {
		report.fault("row %v of table %s refers to a row of %s that is not there", r[1], r.text(0), r.text(2))
		return nil
	})
}

func checkVersion(ctx context.Context, c *conn, report *Report) error {
	r, err := c.one(ctx, `PRAGMA application_id`)
	if err != nil {
		return err
	}
	if r.int(0) != applicationID {
		report.fault("it is the database of another program: application id %#x", r.int(0))
	}
	r, err = c.one(ctx, `SELECT max(version_id) FROM goose_db_version WHERE is_applied`)
	if err == nil {
		report.Schema = r.int(0)
	}
	return err
}

func checkCounts(ctx context.Context, c *conn, report *Report) error {
	r, err := c.one(ctx, `SELECT (SELECT count(*) FROM device), (SELECT count(*) FROM command WHERE id IS NOT NULL),
		(SELECT count(*) FROM command WHERE device IS NOT NULL), (SELECT count(*) FROM command WHERE device IS NOT NULL AND state < 8),
		(SELECT count(*) FROM report), (SELECT count(*) FROM log)`)
	if err == nil {
		report.Devices, report.Commands, report.Executions = r.int(0), r.int(1), r.int(2)
		report.Open, report.Reports, report.Groups = r.int(3), r.int(4), r.int(5)
	}
	return err
}

// checkExecutions holds every execution against the rules that no column can
// state.
func checkExecutions(ctx context.Context, c *conn, report *Report) error {
	const q = `SELECT x.n, x.version, x.device, d.name, x.seq, x.state, x.effect, x.settled, x.course, x.report, NULL, ` +
		commandColumns + `, x.deadline, d.last_seq` + executionFrom + `ORDER BY x.n`
	return c.each(ctx, q, func(r row) error {
		x, err := readBoth(r)
		if err != nil {
			report.fault("%v", err)
			return nil
		}
		for _, what := range faultsOf(&x, r) {
			report.fault("execution %d: %s", x.N, what)
		}
		return nil
	})
}

// faultsOf are the rules that x, read from r, breaks.
func faultsOf(x *command.Execution, r row) (broken []string) {
	deadline, lastSeq := r[executionWidth+9], r.int(executionWidth+10)
	rule := func(holds bool, format string, args ...any) {
		if !holds {
			broken = append(broken, fmt.Sprintf(format, args...))
		}
	}
	rule(x.State > command.NoState && int(x.State) <= len(command.States), "its state is %d", x.State)
	rule(x.Effect.Valid(), "its effect is %d", x.Effect)
	rule(x.Version >= 1, "its version is %d", x.Version)
	rule(!x.State.Unsent() || x.Seq == 0, "it is %s and has the number %d", x.State, x.Seq)
	rule(!x.State.OnWire() || x.Seq != 0, "it is %s without a number", x.State)
	rule(int64(x.Seq) <= lastSeq, "its number %d is above its device's last, %d", x.Seq, lastSeq)
	rule(!x.Settled || x.State == command.TimedOut, "it is settled and %s", x.State)
	rule(!x.State.OnWire() || x.Effect == command.EffectUnknown, "it is %s and its effect is known", x.State)
	rule(x.State != command.Succeeded || !x.ReportedAt.IsZero() && x.Last.Status == command.StatusSuccess, "it succeeded and its device did not say so")
	rule(x.State.Ended() == !x.EndedAt.IsZero(), "it is %s and ended at %s", x.State, x.EndedAt)
	var want any
	if when, _ := x.Deadline(); !when.IsZero() {
		want = when.UnixMilli()
	}
	rule(deadline == want, "its deadline is stored as %v and is %v", deadline, want)
	return broken
}

// checkHeads holds commands on many devices against their executions.
func checkHeads(ctx context.Context, c *conn, report *Report) error {
	err := c.each(ctx, commandSelect+`WHERE h.id IS NOT NULL AND h.device IS NULL`+report.staying()+` ORDER BY h.n`, func(r row) error {
		h, err := readCommand(r, 0, "")
		if err != nil {
			report.fault("%v", err)
			return nil
		}
		n := h.N
		rows, err := c.one(ctx, `SELECT count(*) FROM command WHERE head = +?`, n) // not by the index that a tally takes
		if err != nil {
			return err
		}
		pending, err := c.pending(ctx, n)
		if err != nil {
			return err
		}
		refused, err := c.refused(ctx, n)
		if got := int(rows.int(0)) + pending + len(refused); got != h.Devices {
			report.fault("command %d is for %d devices; %d have an execution, are pending or were refused", n, h.Devices, got)
		}
		return err
	})
	if err != nil {
		return err
	}
	return c.each(ctx, `SELECT x.n FROM command x JOIN command h ON h.n = x.head WHERE h.device IS NOT NULL OR h.head IS NOT NULL`, func(r row) error {
		report.fault("execution %d belongs to a row that is no head", r.int(0))
		return nil
	})
}

func checkDevices(ctx context.Context, c *conn, report *Report) error {
	columns := deviceColumns
	switch {
	case report.Schema < sessionsSchema:
		columns = olderDeviceColumns + `, NULL, NULL, NULL, NULL, NULL`
	case report.Schema < wasTokenSchema:
		columns = olderDeviceColumns + `, ` + sessionColumns + `, NULL`
	}
	return c.each(ctx, `SELECT handle, `+columns+` FROM device ORDER BY handle`, func(r row) error {
		d, err := readDevice(r)
		switch {
		case err != nil:
			report.fault("%v", err)
		case d.ReportedSeq > d.LastSeq:
			report.fault("device %d reported on the number %d, above its last, %d", d.Handle, d.ReportedSeq, d.LastSeq)
		case d.Version < 1:
			report.fault("device %d: its version is %d", d.Handle, d.Version)
		}
		return nil
	})
}

func checkReports(ctx context.Context, c *conn, report *Report) error {
	return c.each(ctx, `SELECT execution, k, body FROM report ORDER BY execution, k`, func(r row) error {
		if _, err := unpackReport(r.bytes(2)); err != nil {
			report.fault("report %d of execution %d: %v", r.int(1), r.int(0), err)
		}
		return nil
	})
}
