package sqlite_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"behest/command"
	"behest/command/ledger"
	"behest/store/sqlite"
)

// decided makes a store with a gate, decisions, slots and a rollback, and
// answers with its file. The commands are in the rows 1 (on one device,
// approved, in a slot), 2 (undoes it), 3 (on two devices, behind a gate) and
// 4 (on two, in the same slot), whose executions are 5 and 6.
func decided(t testing.TB) string {
	t.Helper()
	ctx := context.Background()
	path := made(t)
	s, err := sqlite.Open(ctx, path, sqlite.Options{RideAlong: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	go s.Run(ctx)
	l := load{s: s}
	for i := range 2 {
		if err := l.device(i); err != nil {
			t.Fatal(err)
		}
	}
	err = s.Update(ctx, ledger.Issues, func(tx ledger.Tx) error { return decide(tx, l) })
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// decide adds what decided says.
func decide(tx ledger.Tx, l load) error {
	queued := func(c *command.Command) (xs []command.Execution, err error) {
		for _, name := range c.Targets.Devices {
			d, err := tx.DeviceNamed(name)
			if err != nil {
				return nil, err
			}
			xs = append(xs, command.Execution{Device: d.Handle, Name: name, State: command.Queued, QueuedAt: c.CreatedAt})
		}
		return xs, tx.AddCommand(c, xs)
	}
	one := l.command(1, "device-0")
	one.Slot, one.Approval = 77, &command.Demand{Approvers: 2, Role: command.ApproverRole}
	if _, err := queued(one); err != nil {
		return err
	}
	for _, user := range []string{"bob@example.org", "eve@example.org"} {
		if err := tx.AddDecision(one.N, command.Decision{User: user, Approve: true, At: one.CreatedAt}); err != nil {
			return err
		}
	}
	undo := l.command(2, "device-0")
	undo.RollbackOf = one.ID
	if _, err := queued(undo); err != nil {
		return err
	}
	many := l.command(3, "device-0", "device-1")
	many.Rollout = &command.Rollout{Waves: []command.Wave{{Count: 1}}}
	if err := tx.AddCommand(many, nil); err != nil {
		return err
	}
	if err := tx.AddPending(many.N, [][]int64{{1, 2}}); err != nil {
		return err
	}
	g := command.NewGate(many, many.CreatedAt)
	if err := tx.AddGate(&g, many.CreatedAt); err != nil {
		return err
	}
	set := l.command(4, "device-0", "device-1")
	set.Slot = 77
	_, err := queued(set)
	return err
}

// TestCheckFindsWhatIsWrongWithGates breaks one rule at a time behind the
// store's back.
func TestCheckFindsWhatIsWrongWithGates(t *testing.T) {
	rows := []struct{ name, damage, says string }{
		{"nothing", `SELECT 1`, ""},
		{"a gate of nothing", `UPDATE gate SET command = 99`, "row 99 has a gate and is no command"},
		{"a gate of an execution", `UPDATE gate SET command = 5`, "row 5 has a gate and is no command"},
		{"a gate that nobody needs", `UPDATE gate SET command = 4`, "command 4 has a gate and needs none"},
		{"a gate in no state", `UPDATE gate SET body = json_set(body, '$.state', 0)`, "its state is 0"},
		{"a gate that is done", `UPDATE gate SET body = json_set(body, '$.state', 7)`, "its state is 7"},
		{"a gate that waits for nobody", `UPDATE gate SET body = json_set(body, '$.state', 1)`, "an approval that nobody asked for"},
		{"a gate that let too many through", `UPDATE gate SET body = json_set(body, '$.through', 3)`, "it let 3 of 2 devices through"},
		{"a gate that nobody wrote", `UPDATE gate SET body = '[]'`, "gate of command 3"},
		{"a gate without a version", `PRAGMA ignore_check_constraints = 1; UPDATE gate SET version = 0`, "gate of command 3: its version is 0"},
		{"a decision nobody asked for", `UPDATE decision SET command = 2`, "command 2 needs no approval, and somebody decided on it"},
		{"a decision on nothing", `UPDATE decision SET command = 99`, "decision 1 on command 99 is none"},
		{"a decision neither way", `PRAGMA ignore_check_constraints = 1; UPDATE decision SET approve = 2 WHERE k = 2`, "decision 2 on command 1 is none"},
		{"a decision of nobody", `UPDATE decision SET who = 99 WHERE k = 1`, "refers to a row of who"},
		{"a rollback that is not linked", `DELETE FROM rollback`, "is not linked to it"},
		{"a link to another command", `UPDATE rollback SET original = 4`, "command 2 is linked to command 4, which it does not undo"},
		{"a link to nothing", `UPDATE rollback SET original = 99`, "refers to a row of command"},
		{"a link of another command", `INSERT INTO rollback VALUES (1, 3)`, "command 3 is linked to command 1, which it does not undo"},
		{"an execution that its slot lacks", `DELETE FROM slot WHERE execution = 6`, "command 4 sets the slot 77; 1 of its executions are not listed there"},
		{"a slot that nobody sets", `INSERT INTO slot VALUES (1, 78, 2)`, "execution 2 is listed under the slot 78 of device 1, which it does not set"},
		{"a slot of another device", `INSERT INTO slot VALUES (2, 77, 5)`, "execution 5 is listed under the slot 77 of device 2, which it does not set"},
		{"params for nobody", `INSERT INTO own_params VALUES (4, 1, NULL)`, "command 4 has no gate"},
		{"pending for one", `INSERT INTO pending VALUES (1, 0, x'02')`, "row 1 has devices pending and is no command on many"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			path := decided(t)
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
