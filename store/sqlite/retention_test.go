package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"behest/command"
	"behest/command/ledger"
	"behest/store/sqlite"
)

// retain removes everything that is over, as if it were some hours later.
func retain(t testing.TB, s *sqlite.Store, hours int) ledger.Removed {
	t.Helper()
	if err := happen(s, hours); err != nil {
		t.Fatal(err)
	}
	removed, err := s.Retain(context.Background(), everything(hours))
	if err != nil {
		t.Fatal(err)
	}
	return removed
}

// happen logs an event some hours later, so that the last one, which stays, is
// of no command.
func happen(s *sqlite.Store, hours int) error {
	return s.Update(context.Background(), ledger.Issues, func(tx ledger.Tx) error {
		return tx.Log(command.Event{Type: command.EventEdited, At: time.Now().Add(time.Duration(hours) * time.Hour)})
	})
}

// everything keeps what is over for a second, some hours from now.
func everything(hours int) ledger.Keeping {
	return ledger.Keeping{Keep: time.Second, Now: func() time.Time { return time.Now().Add(time.Duration(hours) * time.Hour) }}
}

// TestTablesThatReferToCommandsAreKnown reads the schema: a table that refers to
// command and that removal does not know would keep every command for ever.
func TestTablesThatReferToCommandsAreKnown(t *testing.T) {
	path := made(t)
	got := query(t, path, `SELECT s.name || '.' || f."from" FROM sqlite_schema s, pragma_foreign_key_list(s.name) f
		WHERE s.type = 'table' AND f."table" = 'command' ORDER BY 1`)
	want := append(slices.Clone(sqlite.RefersToCommand), "command.head")
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the schema has %v, removal knows %v", got, want)
	}
}

// cutLog makes a store whose log was cut twice, at events 8 and 16 of some more,
// and answers with its file.
func cutLog(t *testing.T) string {
	t.Helper()
	path := made(t)
	for day := 1; day <= 3; day++ {
		sqlite.Seal(t, path, time.Date(2020, 1, day, 0, 0, 0, 0, time.UTC), 8)
	}
	for day := 2; day <= 3; day++ {
		s := running(t, path)
		k := ledger.Keeping{Keep: time.Hour, Now: func() time.Time { return time.Date(2020, 1, day, 0, 30, 0, 0, time.UTC) }}
		if removed, err := s.Retain(context.Background(), k); err != nil || removed.Events != 8 {
			t.Fatalf("%+v went, %v", removed, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func running(t testing.TB, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(context.Background(), path, sqlite.Options{Logger: quiet(), RideAlong: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	go s.Run(context.Background())
	return s
}

// TestCheckOfACutLog breaks the log and its checkpoint behind the store's back.
func TestCheckOfACutLog(t *testing.T) {
	rows := []struct{ name, damage, says string }{
		{"nothing", `SELECT 1`, ""},
		{"a checkpoint that was moved on", `UPDATE checkpoint SET n = 17; DELETE FROM log WHERE n <= 17`, "signature under the checkpoint of the log at event 17 is wrong"},
		{"one for another chain", `UPDATE checkpoint SET hash = randomblob(32)`, "signature under the checkpoint"},
		{"another time", `UPDATE checkpoint SET at = at + 1`, "signature under the checkpoint"},
		{"another epoch", `UPDATE checkpoint SET epoch = 0`, "signature under the checkpoint"},
		{"another day of signing", `UPDATE checkpoint SET signed_at = signed_at + 1`, "signature under the checkpoint"},
		{"another key", `UPDATE checkpoint SET key = randomblob(32)`, "under another key"},
		{"another signature", `UPDATE checkpoint SET signature = randomblob(64)`, "signature under the checkpoint"},
		{"another store", `UPDATE meta SET value = randomblob(32) WHERE name = 'genesis'`, "signature under the checkpoint"},
		{"no checkpoint", `DELETE FROM checkpoint`, "goes on with event 17 after event 0"},
		{"a second cut", `DELETE FROM log WHERE n <= 20`, "goes on with event 21 after event 16"},
		{"a row taken out", `DELETE FROM log WHERE n = 20`, "goes on with event 21 after event 19"},
		{"an event changed", `UPDATE log SET at = at + 1 WHERE n = 20`, "does not match its hash at event 20"},
		{"the first one changed", `UPDATE log SET at = at + 1 WHERE n = 17`, "does not match its hash at event 17"},
		{"all of it gone", `DELETE FROM log`, "ends where it was cut, at event 16"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			path := cutLog(t)
			alter(t, path, row.damage)
			r, err := sqlite.Check(context.Background(), path)
			if err != nil {
				t.Fatal(err)
			}
			found := strings.Join(r.Faults, "\n")
			if row.says == "" && found != "" || !strings.Contains(found, row.says) {
				t.Errorf("it found %q, want %q", found, row.says)
			}
			if row.says == "" && (r.Cut != 16 || r.Events != 24 || r.Groups != 8) {
				t.Errorf("it counted %+v", r)
			}
		})
	}
	t.Logf("%d cases", len(rows))
}

// TestAChangedLogIsNotCut: a signature must not make good what somebody changed.
func TestAChangedLogIsNotCut(t *testing.T) {
	for name, damage := range map[string]string{
		"an event":       `UPDATE log SET at = at + 1 WHERE n = 18`,
		"one taken out":  `DELETE FROM log WHERE n = 18`,
		"the first ones": `DELETE FROM log WHERE n <= 18`,
	} {
		t.Run(name, func(t *testing.T) {
			path := cutLog(t)
			alter(t, path, damage)
			s := running(t, path)
			defer s.Close()
			for range 2 { // nor the second time, and the store goes on
				if removed, err := s.Retain(context.Background(), everything(1)); err == nil || !strings.Contains(err.Error(), "does not match its hash") {
					t.Errorf("%+v went, %v", removed, err)
				}
				err := s.Update(context.Background(), ledger.Issues, func(tx ledger.Tx) error {
					return tx.Log(command.Event{Type: command.EventEdited, At: time.Now()})
				})
				if err != nil || s.Stats().Doubts > 0 {
					t.Errorf("afterwards: %v, %d doubts", err, s.Stats().Doubts)
				}
			}
		})
	}
}

// TestTheKeyOfTheLog is made once, and never again in silence.
func TestTheKeyOfTheLog(t *testing.T) {
	ctx := context.Background()
	key := func(path string) string { return filepath.Join(filepath.Dir(path), "log-key") }
	refused := func(t *testing.T, path, says string) {
		t.Helper()
		s, err := sqlite.Open(ctx, path, sqlite.Options{})
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "--new-log-key") || strings.Contains(err.Error(), "\n") {
			t.Errorf("it says %v, want a line with %q", err, says)
		}
	}
	sound := func(t *testing.T, path string) {
		t.Helper()
		if r, err := sqlite.Check(ctx, path); err != nil || len(r.Faults) > 0 {
			t.Errorf("check: %v, %v", r.Faults, err)
		}
	}

	t.Run("IsNobodyElses", func(t *testing.T) {
		info, err := os.Stat(key(made(t)))
		if err != nil || info.Mode().Perm() != 0o600 || info.Size() != 32 {
			t.Errorf("%v, %v", info, err)
		}
	})
	t.Run("IsMadeAnewWhileItSignedNothing", func(t *testing.T) {
		path := made(t)
		if err := os.Remove(key(path)); err != nil {
			t.Fatal(err)
		}
		running(t, path).Close()
		if _, err := os.Stat(key(path)); err != nil {
			t.Error(err)
		}
	})
	for name, row := range map[string]struct {
		damage func(string) error
		says   string
	}{
		"missing": {os.Remove, "is not in"},
		"damaged": {func(f string) error { return os.WriteFile(f, []byte("x"), 0o600) }, "is no key of a log"},
		"another": {func(f string) error { return os.WriteFile(f, make([]byte, 32), 0o600) }, "under another key"},
	} {
		t.Run("IsNot "+name, func(t *testing.T) {
			path := cutLog(t)
			if err := row.damage(key(path)); err != nil {
				t.Fatal(err)
			}
			refused(t, path, row.says)
			refused(t, path, row.says)
			s, err := sqlite.Open(ctx, path, sqlite.Options{NewLogKey: true, Logger: quiet()})
			if err != nil {
				t.Fatal(err)
			}
			s.Close()
			sound(t, path)
			s = running(t, path)
			if removed := retain(t, s, 1); removed.Events != 8 {
				t.Errorf("%+v went", removed)
			}
			s.Close()
			sound(t, path)
		})
	}
	t.Run("VouchesForNoForgery", func(t *testing.T) {
		path := cutLog(t)
		alter(t, path, `UPDATE checkpoint SET n = 17; DELETE FROM log WHERE n <= 17`)
		refused(t, path, "signature under the checkpoint")
		if s, err := sqlite.Open(ctx, path, sqlite.Options{NewLogKey: true, Logger: quiet()}); err == nil {
			s.Close()
			t.Error("a new key signed it")
		}
	})
}

// TestWhatIsGoneIsSaidToBe: ids tell when a command was made.
func TestWhatIsGoneIsSaidToBe(t *testing.T) {
	ctx := context.Background()
	s, l, _ := loaded(t, 1)
	for n := range 3 {
		if err := l.round(n, 0); err != nil {
			t.Fatal(err)
		}
	}
	views, _, err := s.Commands(ctx, command.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	old, young := views[2].Command.ID, l.command(1, "x").ID
	never := old
	never[15]++
	young[0]++ // some centuries from now
	retain(t, s, 1)
	for _, row := range []struct {
		id   command.ID
		gone bool
	}{{old, true}, {never, true}, {young, false}, {command.ID{}, false}} {
		_, err := s.Command(ctx, row.id)
		if command.CodeOf(err) != command.CodeNotFound || strings.Contains(err.Error(), "removed") != row.gone {
			t.Errorf("%s: %v", row.id, err)
		}
	}
	_, _, err = s.Events(ctx, command.Place{Epoch: 1, N: 2}, command.EventFilter{}, 1)
	if command.CodeOf(err) != command.CodeNotFound || !strings.Contains(err.Error(), "event 1-2 is not kept any more") {
		t.Errorf("the place: %v", err)
	}
}

// fleet issues a command on some devices, with reports, that is over at once.
func (l load) fleet(devices, reports int) error {
	return l.s.Update(context.Background(), ledger.Issues, func(tx ledger.Tx) error {
		var names []string
		for i := range devices {
			names = append(names, fmt.Sprint("device-", i))
		}
		c := l.command(1, names...)
		xs := make([]command.Execution, devices)
		for i, name := range names {
			d, err := tx.DeviceNamed(name)
			if err != nil {
				return err
			}
			xs[i] = command.Execution{Device: d.Handle, Name: name, State: command.Canceled, QueuedAt: c.CreatedAt, EndedAt: c.CreatedAt}
		}
		if err := tx.AddCommand(c, xs); err != nil {
			return err
		}
		for i := range xs {
			for k := range reports {
				r := command.PastReport{At: c.CreatedAt, Report: command.Report{Text: fmt.Sprint("progress ", k)}}
				if err := tx.AddReport(xs[i].N, r); err != nil {
					return err
				}
			}
		}
		return tx.Log(command.Event{Type: command.EventIssued, At: c.CreatedAt, CommandN: c.N})
	})
}

// TestRemovalFailsAtAnyStep makes each commit of a removal fail in turn, without
// and with its effect. Whatever is left is sound, shows no half of a command,
// and goes in the next pass.
func TestRemovalFailsAtAnyStep(t *testing.T) {
	ctx := context.Background()
	cases := 0
	for _, step := range []sqlite.Step{sqlite.StepBegin, sqlite.StepWork, sqlite.StepCommit} {
		for _, stored := range []bool{false, true} {
			for nth := 0; ; nth++ {
				f := startFailing(t)
				l := load{f.s}
				for i := range 3 {
					if err := l.device(i); err != nil {
						t.Fatal(err)
					}
				}
				if err := errors.Join(l.fleet(1, 2), l.fleet(1, 70), l.fleet(3, 70), l.fleet(1, 0), happen(f.s, 1)); err != nil {
					t.Fatal(err)
				}
				all, _, other := f.s.Commands(ctx, command.Filter{})
				if other != nil {
					t.Fatal(other)
				}
				var ids []command.ID
				for _, v := range all {
					ids = append(ids, v.Command.ID)
				}
				for range nth {
					f.plan <- plan{step, true, nil} // passes
				}
				f.plan <- plan{step, stored, errDisk}
				_, err := f.s.Retain(ctx, everything(1))
				views, _, other := f.s.Commands(ctx, command.Filter{})
				if other != nil {
					t.Fatal(other)
				}
				for _, v := range views { // as a list has them
					if got := v.Tally.Total(); got != v.Command.Devices {
						t.Errorf("%s, the %d. time: a command on %d devices is shown with %d", step, nth, v.Command.Devices, got)
					}
				}
				f.listed(views)
				f.whole(ids)
				for i := 0; err == nil && i <= nth; i++ { // it had fewer steps
					_ = f.add(fmt.Sprint("later-", i))
				}
				retain(t, f.s, 2)
				if views, _, err := f.s.Commands(ctx, command.Filter{}); err != nil || len(views) != 1 {
					t.Errorf("%s, the %d. time: %d commands are left, %v", step, nth, len(views), err)
				}
				if err := f.end(); err != nil {
					t.Error(err)
				}
				cases++
				if err == nil {
					break
				}
			}
		}
	}
	t.Logf("%d cases", cases)
	if cases < 20 {
		t.Errorf("a removal has %d steps at most", cases/6)
	}
}

// listed reports executions in a list of commands that are not shown.
func (f *failing) listed(views []command.View) {
	f.t.Helper()
	shown := make(map[command.ID]bool)
	for _, v := range views {
		shown[v.Command.ID] = true
	}
	xs, _, err := f.s.AllExecutions(context.Background(), command.ExecutionFilter{})
	if err != nil {
		f.t.Fatal(err)
	}
	for _, x := range xs {
		if !shown[x.Command.ID] {
			f.t.Errorf("execution %d is listed, and its command is not", x.N)
			return
		}
	}
}

// whole looks at commands of which some may be gone: each is there with all its
// executions, or it is not there and cannot be undone.
func (f *failing) whole(ids []command.ID) {
	f.t.Helper()
	taken := errors.New("only to look")
	for _, id := range ids {
		v, err := f.s.Command(context.Background(), id)
		switch {
		case err == nil && v.Tally.Total() != v.Command.Devices:
			f.t.Errorf("command %s on %d devices is shown with %d", id, v.Command.Devices, v.Tally.Total())
		case err == nil:
			continue
		case command.CodeOf(err) != command.CodeNotFound:
			f.t.Fatal(err)
		}
		err = f.s.Update(context.Background(), ledger.Issues, func(tx ledger.Tx) error {
			c := load{}.command(1, "device-0")
			c.RollbackOf = id
			if err := tx.AddCommand(c, []command.Execution{{Device: 1, Name: "device-0", State: command.Queued, QueuedAt: c.CreatedAt}}); err != nil {
				return err
			}
			return taken
		})
		if errors.Is(err, taken) {
			f.t.Errorf("command %s is not there and was undone", id)
		}
	}
}

// TestTheFileStopsGrowing takes a store through many lives: what one freed, the
// next uses.
func TestTheFileStopsGrowing(t *testing.T) {
	const devices, rounds, lives = 8, 40, 8
	s, l, dir := loaded(t, devices)
	var sizes []int64
	for life := range lives {
		var wg sync.WaitGroup
		for d := range devices {
			wg.Go(func() {
				for n := range rounds {
					if err := l.round(n, d); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		retain(t, s, life+1)
		rows := query(t, file(dir), `SELECT page_count * page_size FROM pragma_page_count, pragma_page_size`)
		var n int64
		if _, err := fmt.Sscan(rows[0], &n); err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, n)
	}
	ratio := float64(sizes[lives-1]) / float64(sizes[1])
	t.Logf("%d commands a life; the file after each: %v; the last is %.2f times the second", devices*rounds, sizes, ratio)
	if ratio > 1.25 {
		t.Errorf("the file grows: %v", sizes)
	}
}

// askRetention has everything asked that retention asks.
func askRetention(s *sqlite.Store, l load) error {
	ctx := context.Background()
	set := func(undoes command.ID) (id command.ID, err error) {
		err = s.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
			d, err := tx.DeviceNamed("device-0")
			if err != nil {
				return err
			}
			c := l.command(1, "device-0")
			c.Slot, c.RollbackOf, id = 5, undoes, c.ID
			key := [32]byte(append(c.ID[:], c.ID[:]...))
			seq, _ := d.NextSeq(c.CreatedAt, 0)
			if err := tx.SaveDevice(&d); err != nil {
				return err
			}
			x := command.Execution{Device: d.Handle, Name: d.Name, Seq: seq, State: command.Failed, Effect: command.EffectUnknown, QueuedAt: c.CreatedAt, EndedAt: c.CreatedAt}
			return errors.Join(tx.AddCommand(c, []command.Execution{x}), tx.KeepAnswer(key, ledger.Answer{At: c.CreatedAt.Add(-48 * time.Hour), Body: []byte("{}")}))
		})
		return id, err
	}
	for hours := 400; hours < 2000; hours += 400 { // longer than webhooks are waited for
		first, err := set(command.ID{})
		_, other := set(first)
		third := errors.Join(l.fleet(1, 3), l.fleet(2, 3), happen(s, hours))
		_, fourth := s.Retain(ctx, everything(hours))
		_, _, fifth := s.Oldest(ctx)
		_, sixth := s.Command(ctx, command.ID{})
		if err := errors.Join(err, other, third, fourth, fifth); err != nil || command.CodeOf(sixth) != command.CodeNotFound {
			return err
		}
	}
	if r := s.Stats().Removed; r.Commands < 6 || r.Executions < 8 || r.Reports < 9 || r.Events < 3 || r.Answers < 6 {
		return fmt.Errorf("too little was removed: %+v", r)
	}
	return nil
}
