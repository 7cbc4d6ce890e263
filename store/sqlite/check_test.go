package sqlite_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
	"behest/store/sqlite"
)

// lived makes a store with a little of everything and answers with its file.
func lived(t *testing.T) string {
	t.Helper()
	ctx := context.Background()
	dir := t.TempDir()
	s, err := sqlite.Open(ctx, file(dir), sqlite.Options{RideAlong: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	go s.Run(ctx)
	l := load{s: s}
	for i := range 4 {
		if err := l.device(i); err != nil {
			t.Fatal(err)
		}
		if err := l.round(i, i); err != nil {
			t.Fatal(err)
		}
	}
	err = s.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
		c := l.command(9, "device-0", "device-1")
		var xs []command.Execution
		for _, name := range c.Targets.Devices {
			d, err := tx.DeviceNamed(name)
			if err != nil {
				return err
			}
			xs = append(xs, command.Execution{Device: d.Handle, Name: name, State: command.Queued, QueuedAt: c.CreatedAt})
		}
		if err := tx.AddCommand(c, xs); err != nil {
			return err
		}
		if err := tx.AddReport(xs[0].N, command.PastReport{At: c.CreatedAt}); err != nil {
			return err
		}
		return tx.Log(command.Event{Type: command.EventIssued, At: c.CreatedAt, CommandN: c.N})
	})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
		for _, v := range []command.Type{ // pump.start ends up live, fan.set retired
			{Name: "pump.start", Policy: command.Policy{WireCode: 7}},
			{Name: "pump.start", Policy: command.Policy{WireCode: 8}, Params: json.RawMessage(`{"type":"object"}`)},
			{Name: "fan.set", Policy: command.Policy{WireCode: 7}},
			{Name: "fan.set", Policy: command.Policy{WireCode: 7}, Retired: true},
			{Name: "zone.open", Policy: command.Policy{WireCode: 7}},
		} {
			v.CreatedAt, v.CreatedBy = time.Now(), "ann@example.org"
			if err := tx.AddType(&v); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	return file(dir)
}

// TestCheckFindsWhatIsWrong breaks one rule at a time behind the store's back.
func TestCheckFindsWhatIsWrong(t *testing.T) {
	const third = `(SELECT n FROM log ORDER BY n LIMIT 1 OFFSET 2)`
	rows := []struct{ name, damage, says string }{
		{"nothing", `SELECT 1`, ""},
		{"a state that is none", `UPDATE command SET state = 99 WHERE n = 1`, "state is 99"},
		{"an effect that is none", `UPDATE command SET effect = 9 WHERE n = 1`, "effect is 9"},
		{"a queued one with a number", `UPDATE command SET seq = 5 WHERE n = 6`, "queued and has the number 5"},
		{"a number above the device's", `UPDATE command SET seq = seq + 1000000 WHERE n = 1`, "above its device's last"},
		{"success that nobody reported", `UPDATE command SET report = NULL WHERE n = 1`, "succeeded and its device did not say so"},
		{"an end that is undone", `UPDATE command SET state = 7, effect = 3 WHERE n = 1`, "canceling and ended at"},
		{"settled and not timed out", `UPDATE command SET settled = 1 WHERE n = 1`, "settled and succeeded"},
		{"a clock that is not the right one", `UPDATE command SET deadline = deadline + 1 WHERE n = 6`, "deadline is stored as"},
		{"a clock that does not run", `UPDATE command SET deadline = NULL WHERE n = 6`, "deadline is stored as"},
		{"bytes that nobody wrote", `UPDATE command SET course = x'ffff' WHERE n = 1`, "not what was written"},
		{"bytes too many", `UPDATE command SET intent = CAST(intent || x'00' AS BLOB) WHERE n = 1`, "not what was written"},
		{"extra that is no JSON", `UPDATE command SET extra = 'x' WHERE n = 5`, "column extra"},
		{"an execution too few", `DELETE FROM report; DELETE FROM command WHERE n = 7`, "is for 2 devices"},
		{"a pending one too many", `INSERT INTO pending VALUES (5, 0, x'02')`, "is for 2 devices"},
		{"a refused one too many", `INSERT INTO refused VALUES (5, 1, 'device_full')`, "is for 2 devices"},
		{"pending ones that nobody wrote", `INSERT INTO pending VALUES (5, 0, x'ff')`, "not what was written"},
		{"an execution of no head", `UPDATE command SET head = 1 WHERE n = 7`, "no head"},
		{"a device that is gone", `DELETE FROM device WHERE handle = 4`, "refers to a row of device"},
		{"a report of nothing", `UPDATE report SET execution = 99`, "refers to a row of command"},
		{"a report that nobody wrote", `UPDATE report SET body = x''`, "report 1 of execution 6"},
		{"a device ahead of itself", `UPDATE device SET reported_seq = last_seq + 1 WHERE handle = 1`, "reported on the number"},
		{"a device's address", `UPDATE device SET remote = x'01' WHERE handle = 1`, "device 1"},
		{"a type's version that is missing", `DELETE FROM type WHERE n = 1`, `type "pump.start" goes on with version 2 after version 0`},
		{"a type's version that was skipped", `UPDATE type SET version = 3 WHERE n = 2`, `type "pump.start" goes on with version 3 after version 1`},
		{"two live versions", `DROP INDEX type_live; UPDATE type SET live = 1, wire_code = NULL WHERE n = 1`, `type "pump.start": version 1 is live, and version 2 came after it`},
		{"a youngest version that does not live", `UPDATE type SET live = 0 WHERE n = 2`, `type "pump.start": its youngest version, 2, has live = false and retired = false`},
		{"a retired type that lives", `DROP INDEX type_wire_code; UPDATE type SET live = 1 WHERE n = 4`, `type "fan.set": its youngest version, 2, has live = true and retired = true`},
		{"one wire code for two", `DROP INDEX type_wire_code; UPDATE type SET wire_code = 8 WHERE n = 5`, `the types "pump.start" and "zone.open" have the wire code 8`},
		{"a wire code past the last", `PRAGMA ignore_check_constraints = 1; UPDATE type SET wire_code = 65536 WHERE n = 2`, `type "pump.start", version 2: its wire code is 65536`},
		{"a version neither live nor not", `PRAGMA ignore_check_constraints = 1; UPDATE type SET live = 2 WHERE n = 2`, `type "pump.start", version 2: live is 2`},
		{"a type that nobody wrote", `UPDATE type SET rules = x'ff' WHERE n = 2`, `type "pump.start", version 2: packed column`},
		{"a redelivery that is none", `UPDATE type SET rules = x'0209' WHERE n = 2`, "its redelivery is 9"},
		{"a significance that is none", `UPDATE type SET rules = x'800109' WHERE n = 2`, "its significance is 9"},
		{"a schema that is no JSON", `UPDATE type SET rules = x'8002017b' WHERE n = 2`, `type "pump.start", version 2: a schema is no JSON`},
		{"a type of nobody", `UPDATE type SET who = 99 WHERE n = 2`, "refers to a row of who"},
		{"an event that was changed", `UPDATE log SET events = CAST(substr(events, 1, length(events) - 1) || x'01' AS BLOB) WHERE n = ` + third, "does not match its hash at event"},
		{"an event's data that is no JSON", `UPDATE log SET events = unhex(replace(hex(events), hex('{"seq"'), hex('x"seq"')))`, "its data is no JSON"},
		{"a time that was changed", `UPDATE log SET at = at + 1 WHERE n = ` + third, "does not match its hash at event"},
		{"a hash that was changed", `UPDATE log SET hash = randomblob(32) WHERE n = ` + third, "does not match its hash at event"},
		{"an event that was taken out", `DELETE FROM log WHERE n = ` + third, "goes on with event"},
		{"the beginning of the chain", `UPDATE meta SET value = randomblob(32) WHERE name = 'genesis'`, "does not match its hash at event 1"},
		{"whose file it is", `PRAGMA application_id = 0`, "another program"},
		{"an index that was lost", `PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql = replace(sql, 'state < 8', 'state < 9') WHERE name = 'command_open'`, "page: "},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			path := lived(t)
			alter(t, path, row.damage)
			r, err := sqlite.Check(context.Background(), path)
			if err != nil {
				t.Fatal(err)
			}
			found := strings.Join(r.Faults, "\n")
			if row.says == "" && found != "" || !strings.Contains(found, row.says) {
				t.Errorf("it found %q, want %q", found, row.says)
			}
		})
	}
	t.Logf("%d cases", len(rows))
}

func TestCheckCounts(t *testing.T) {
	r, err := sqlite.Check(context.Background(), lived(t))
	if err != nil {
		t.Fatal(err)
	}
	if r.Groups < 9 || len(r.Hash) != 64 {
		t.Errorf("%d groups, the hash %q", r.Groups, r.Hash)
	}
	r.Groups, r.Hash = 0, ""
	want := sqlite.Report{Schema: sqlite.Newest(t), Epoch: 1, Devices: 4, Commands: 5, Executions: 6, Open: 2, Reports: 1, Types: 5, Events: r.Events}
	if d := cmp.Diff(r, want); d != "" || r.Events < 17 {
		t.Errorf("got (-) and want (+) differ, with %d events:\n%s", r.Events, d)
	}
}

// TestCheckOfFlippedBits flips single bits all over the file. Not every flip
// can be found (a device's label has no check sum), but none may make the
// check itself fall over.
func TestCheckOfFlippedBits(t *testing.T) {
	path := lived(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flips, found := 0, 0
	for at := 17; at < len(whole); at += 1361 {
		b := append([]byte(nil), whole...)
		b[at] ^= 1 << (at % 8)
		flipped := file(t.TempDir())
		if err := os.WriteFile(flipped, b, 0o600); err != nil {
			t.Fatal(err)
		}
		flips++
		if r, err := sqlite.Check(context.Background(), flipped); err != nil || len(r.Faults) > 0 {
			found++
		}
	}
	t.Logf("%d bits flipped in %d bytes, %d found", flips, len(whole), found)
}

func TestCheckOfNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.db")
	if _, err := sqlite.Check(context.Background(), path); err == nil {
		t.Error("what is not there was checked")
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the check made a file")
	}
}

// TestAHandleIsNeverGivenTwice is what a device's Location-Path rests on.
func TestAHandleIsNeverGivenTwice(t *testing.T) {
	path := made(t)
	ctx := context.Background()
	add := func(name string) (handle int64) {
		s, err := sqlite.Open(ctx, path, sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		go s.Run(ctx)
		err = s.Update(ctx, ledger.Registrations, func(tx ledger.Tx) error {
			d := device.Device{Name: name}
			err := tx.AddDevice(&d)
			handle = d.Handle
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return handle
	}
	first := add("p")
	alter(t, path, `DELETE FROM device`)
	if again := add("q"); again <= first {
		t.Errorf("handle %d came after %d", again, first)
	}
}

// TestCheckLeavesNothingBehind looks at the directory around a check: files
// that it made would belong to whoever checked, and keep the server out.
func TestCheckLeavesNothingBehind(t *testing.T) {
	path := lived(t)
	list := func() (names []string) {
		entries, err := os.ReadDir(filepath.Dir(path))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	before := list()
	if _, err := sqlite.Check(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(list(), before); d != "" {
		t.Errorf("got (-) and want (+) differ:\n%s", d)
	}
}

// TestCheckOfWhatCannotBeWritten is the check of a backup on a read-only disk.
func TestCheckOfWhatCannotBeWritten(t *testing.T) {
	path := lived(t)
	if os.Geteuid() != 0 {
		t.Skip("skipped: a read-only mount takes root")
	}
	remount(t, filepath.Dir(path))
	r, err := sqlite.Check(context.Background(), path)
	if err != nil || len(r.Faults) > 0 || r.Commands != 5 {
		t.Errorf("got %+v, %v", r, err)
	}
}
