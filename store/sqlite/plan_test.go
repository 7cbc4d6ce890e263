package sqlite_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
	"behest/store/sqlite"
)

// askAll asks a store everything that it can be asked, some of it often.
func askAll(t *testing.T, s *sqlite.Store, l load) {
	t.Helper()
	ctx := context.Background()
	try := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for n := range 6 {
		try(l.round(n, n%3))
	}
	many := l.command(9, "device-0", "device-1")
	try(s.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
		if err := tx.AddCommand(many, nil); err != nil {
			return err
		}
		return tx.AddPending(many.N, [][]int64{{1}, {2}})
	}))
	views, _, err := s.Commands(ctx, command.Filter{})
	try(err)
	for range 5 {
		_, err = s.Command(ctx, many.ID)
		try(err)
		_, _, err = s.Execution(ctx, many.ID, "device-0")
		if command.CodeOf(err) != command.CodeNotFound {
			try(err)
		}
		_, err = s.Pending(ctx, 10)
		try(err)
		try(s.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
			if _, err := tx.Answer([32]byte{}); command.CodeOf(err) != command.CodeNotFound {
				return err
			}
			_, err := tx.CommandN(many.N)
			return err
		}))
		for _, v := range views {
			if v.Only == nil {
				continue
			}
			_, err = s.Command(ctx, v.Command.ID)
			try(err)
			_, _, err = s.Execution(ctx, v.Command.ID, v.Only.Name)
			try(err)
			_, _, err = s.Executions(ctx, v.Command.ID, "", v.Only.N-1, 10)
			try(err)
			_, err = s.Device(ctx, v.Only.Name)
			try(err)
			try(askInside(s, v))
			_, _, err = s.Events(ctx, command.Place{}, command.EventFilter{Command: v.Command.ID, Device: v.Only.Name}, 10)
			try(err)
		}
		_, _, err = s.Commands(ctx, command.Filter{Device: "device-1", Type: "pump.start", RequestedBy: "ann@example.org", Outcome: command.AllSucceeded, State: "succeeded"})
		try(err)
		for _, f := range []command.ExecutionFilter{
			{}, {Device: "device-1", Type: "pump.start"}, {States: []command.State{command.Sent, command.Running}, CreatedAfter: time.Now()},
			{States: []command.State{command.Failed}, Effects: []command.Effect{command.EffectUnknown}},
		} {
			_, _, err = s.AllExecutions(ctx, f)
			try(err)
		}
		_, _, err = s.Due(ctx, time.Now(), 10)
		try(err)
		_, err = s.Busy(ctx, 0, 10)
		try(err)
		_, _, err = s.Devices(ctx, device.Filter{})
		try(err)
		try(s.Health(ctx))
		_, err = s.End(ctx)
		try(err)
		try(askTypes(s))
		for _, v := range views {
			if v.Only != nil {
				try(askGates(s, many, *v.Only))
			}
		}
	}
	try(askHooks(s))
	try(askRetention(s, l))
}

// askTypes declares two types and reads them in every way.
func askTypes(s *sqlite.Store) error {
	ctx := context.Background()
	err := s.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
		for i, name := range []string{"pump.start", "fan.set"} {
			v := command.Type{Name: name, Policy: command.Policy{WireCode: uint16(i + 1)}, CreatedAt: time.Now(), CreatedBy: "ann@example.org"}
			if err := tx.AddType(&v); err != nil {
				return err
			}
		}
		_, err := tx.Type("fan.set")
		return err
	})
	if err != nil {
		return err
	}
	if _, err := s.Type(ctx, "pump.start"); err != nil {
		return err
	}
	if _, err := s.TypeVersion(ctx, "pump.start", 1); err != nil {
		return err
	}
	if _, err := s.OpenUnder(ctx, 1, "fan.set"); err != nil {
		return err
	}
	_, _, err = s.Types(ctx, "a", 10)
	return err
}

// askInside asks what is asked inside a commit about v.
func askInside(s *sqlite.Store, v command.View) error {
	return s.Update(context.Background(), ledger.Reports, func(tx ledger.Tx) error {
		if _, err := tx.Command(v.Command.ID); err != nil {
			return err
		}
		if _, err := tx.OpenOf(v.Command.N, 10); err != nil {
			return err
		}
		if err := tx.AddReport(v.Only.N, command.PastReport{At: time.UnixMilli(5)}); err != nil {
			return err
		}
		_, err := tx.Tally(v.Command.N)
		return err
	})
}

// TestStatementsArePreparedOnce guards against a trap: SQLite prepares a join
// again, which costs ten times its work, when it once looked at the value of
// a parameter and the driver binds it anew. A plus before the parameter keeps
// SQLite from looking.
func TestStatementsArePreparedOnce(t *testing.T) {
	s, l, _ := loaded(t, 3)
	askAll(t, s, l)
	all := sqlite.Reprepared(s)
	for text, n := range all {
		if n > 1 {
			t.Errorf("prepared again %d times: %s", n, text)
		}
	}
	t.Logf("%d statements", len(all))
}

// TestNoQueryReadsAWholeTable looks at the plan of every statement.
func TestNoQueryReadsAWholeTable(t *testing.T) {
	s, l, _ := loaded(t, 3)
	askAll(t, s, l)
	for text := range sqlite.Reprepared(s) {
		if strings.HasPrefix(text, "PRAGMA") || !strings.Contains(text, " ") {
			continue
		}
		plan, err := sqlite.Plan(s, text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if strings.Contains(text, "json_extract(body, '$.state')") && !strings.Contains(strings.Join(plan, "\n"), "gate_awaiting") {
			t.Errorf("gates that wait for approvals are looked for among all: %s: %q", text, plan)
		}
		if strings.Contains(text, "WITH RECURSIVE span") && !strings.Contains(strings.Join(plan, "\n"), "INDEX command_history (<expr>=? AND device=?)") {
			t.Errorf("a device's history is looked for among all: %s: %q", text, plan)
		}
		for _, line := range plan {
			// Lists go along a key from where they begin, meta is five rows, a span
			// stands for thousands, and what is pending will not be for long. Who takes over a wire code looks
			// at all that is open.
			if strings.HasPrefix(line, "SCAN x USING INDEX command_open") && strings.HasPrefix(text, "SELECT h.kind FROM command x ") {
				continue
			}
			if strings.HasPrefix(line, "SCAN") && !strings.HasPrefix(line, "SCAN meta") && line != "SCAN span" && !strings.HasPrefix(line, "SCAN pending") && !strings.HasPrefix(line, "SCAN gate") && !strings.Contains(line, "json_each") && !strings.Contains(line, "CONSTANT ROW") &&
				!(strings.HasPrefix(line, "SCAN log") && strings.Contains(text, "ORDER BY n DESC LIMIT")) {
				t.Errorf("%s: %s", line, text)
			}
		}
	}
}

// TestEventsOfACommandAreFoundWithoutReadingTheLog asks for a young command's
// events in a long log: one call has to do, though it looks at far fewer rows
// than there are.
func TestEventsOfACommandAreFoundWithoutReadingTheLog(t *testing.T) {
	ctx := context.Background()
	path := made(t)
	for i := range 3 { // before the clocks of this test: sealed long ago
		sqlite.Seal(t, path, time.Date(2020, 1, 1+i, 0, 0, 0, 0, time.UTC), 2500)
	}
	s, err := sqlite.Open(ctx, path, sqlite.Options{RideAlong: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	go s.Run(ctx)
	l := load{s}
	for i := range 3 {
		if err := l.device(i); err != nil {
			t.Fatal(err)
		}
		if err := l.round(i, i); err != nil {
			t.Fatal(err)
		}
	}
	views, _, err := s.Commands(ctx, command.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range views {
		events, next, err := s.Events(ctx, command.Place{}, command.EventFilter{Command: v.Command.ID}, 100)
		if err != nil || len(events) < 4 || events[0].Type != command.EventIssued || next.N < 7500 {
			t.Errorf("command %d: %d events up to %d, %v", v.Command.N, len(events), next.N, err)
		}
	}
}
