package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"behest/command"
	"behest/store/sqlite"
)

// restoring is a restore that ends nothing, at now.
func restoring(from string, now time.Time) sqlite.Restoring {
	return sqlite.Restoring{
		From: from, Logger: quiet(),
		Now: func(context.Context, *sqlite.Store) (time.Time, error) { return now, nil },
		End: func(context.Context, *sqlite.Store) error { return nil },
	}
}

// taken copies a database with its write-ahead log, as a killed server leaves
// them, or a copy of the directory has them.
func taken(t testing.TB, path string) string {
	t.Helper()
	to := file(t.TempDir())
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(path + suffix)
		if err == nil {
			err = os.WriteFile(to+suffix, b, 0o600)
		} else if suffix != "" && errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// names are the files beside a database.
func names(t testing.TB, path string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A restored store is a new epoch: what numbers begin from is above all that can
// have been given, and nobody is registered or observes. Who came over DTLS still
// has to.
func TestARestoreOpensAnEpoch(t *testing.T) {
	backup := lived(t)
	alter(t, backup, `UPDATE device SET secured = 1, remote = x'7f0000019c40', observed_at = 1, token = x'01' WHERE name = 'device-1';
		UPDATE device SET last_seq = 4000000000 WHERE name = 'device-2'`)
	events := query(t, backup, `SELECT max(n + count - 1) FROM log`)[0]
	path, now := file(t.TempDir()), time.Now()
	r, err := sqlite.Restore(context.Background(), path, restoring(backup, now))
	if err != nil {
		t.Fatal(err)
	}
	after := command.Place{Epoch: 1, N: r.Epoch.After.N}
	if diff := cmp.Diff(r.Epoch, sqlite.Epoch{N: 2, Base: 3600, After: after}); diff != "" || fmt.Sprint(after.N) != events {
		t.Errorf("%s; the log ended at %s", diff, events)
	}
	last := fmt.Sprint(now.Unix() + 3600 - 1)
	got := query(t, path, `SELECT concat_ws(' ', name, last_seq, secured, registered_at, lifetime, observed_at, hex(remote), hex(token), version) FROM device ORDER BY name`)
	was := query(t, backup, `SELECT version + 1 FROM device ORDER BY name`)
	want := []string{"device-0 " + last, "device-1 " + last + " 1", "device-2 4000000000", "device-3 " + last}
	for k := range want {
		want[k] += "   " + was[k]
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(names(t, path), []string{"behest.db", "behest.db.lock", "log-key", "log-key.pub"}); diff != "" {
		t.Error(diff)
	}
	s := running(t, path)
	defer s.Close()
	events2, _, err := s.Events(context.Background(), after, command.EventFilter{}, 10)
	if err != nil || len(events2) != 1 || events2[0].Type != command.EventRestored || events2[0].Epoch != 2 || events2[0].N != after.N+1 {
		t.Errorf("after the backup there is %+v, %v", events2, err)
	}
	for p, code := range map[command.Place]command.Code{{Epoch: 1, N: after.N + 1}: command.CodeNotFound, {Epoch: 1, N: after.N - 1}: ""} {
		if _, _, err := s.Events(context.Background(), p, command.EventFilter{}, 10); err != nil && command.CodeOf(err) != code || err == nil && code != "" {
			t.Errorf("whoever was at %s is told %v", p, err)
		}
	}
	for p, want := range map[command.Place]command.Place{
		{Epoch: 1, N: after.N + 9}: after, {Epoch: 1, N: 1}: after, {Epoch: 2, N: after.N + 1}: {Epoch: 2, N: after.N + 1}, {Epoch: 3, N: 1}: {Epoch: 3, N: 1},
	} {
		if got, err := s.RestoredAfter(context.Background(), p); err != nil || got != want {
			t.Errorf("a log that had %s was restored after %s, %v; want %s", p, got, err, want)
		}
	}
}

// What a restore refuses leaves everything as it was, and nothing behind.
func TestARestoreThatFailsTouchesNothing(t *testing.T) {
	ctx, backup := context.Background(), lived(t)
	boom := errors.New("boom")
	rows := []struct {
		name string
		with func(t *testing.T, path string, r *sqlite.Restoring)
		says string
	}{
		{"a database is there", func(_ *testing.T, _ string, r *sqlite.Restoring) { r.Replace = false }, "behest.db is there already: say --replace"},
		{"somebody has it", func(t *testing.T, path string, _ *sqlite.Restoring) {
			s := running(t, path)
			t.Cleanup(func() { s.Close() })
		}, "it is in use by process"},
		{"the backup breaks a rule", func(t *testing.T, _ string, r *sqlite.Restoring) {
			r.From = taken(t, backup)
			alter(t, r.From, `UPDATE device SET reported_seq = last_seq + 1 WHERE name = 'device-0'`)
		}, "it has 1 faults, the first: device 1 reported on the number"},
		{"the backup is another program's", func(t *testing.T, _ string, r *sqlite.Restoring) {
			r.From = file(t.TempDir())
			alter(t, r.From, `CREATE TABLE cake (n)`)
		}, "the first: it is the database of another program"},
		{"there is no backup", func(t *testing.T, _ string, r *sqlite.Restoring) { r.From = file(t.TempDir()) }, "no such file"},
		{"it is what a restore left", func(t *testing.T, path string, r *sqlite.Restoring) {
			r.From = path + ".restoring"
			if err := os.WriteFile(r.From, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.Remove(r.From) })
		}, "is what an earlier restore left, and no backup"},
		{"an earlier one was kept", func(t *testing.T, path string, _ *sqlite.Restoring) {
			if err := os.WriteFile(path+".replaced", nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "behest.db.replaced is there from an earlier restore"},
		{"epochs are out", func(_ *testing.T, _ string, r *sqlite.Restoring) { r.Lost = math.MaxUint32 }, "numbers would run out"},
		{"numbers are out", func(_ *testing.T, _ string, r *sqlite.Restoring) { r.Lost = 1 << 20 }, "numbers would run out"},
		{"nobody knows the time", func(_ *testing.T, _ string, r *sqlite.Restoring) {
			r.Now = func(context.Context, *sqlite.Store) (time.Time, error) { return time.Time{}, boom }
		}, "boom"},
		{"what is open does not end", func(_ *testing.T, _ string, r *sqlite.Restoring) {
			r.End = func(context.Context, *sqlite.Store) error { return boom }
		}, "boom"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			path := taken(t, lived(t))
			r := restoring(backup, time.Now())
			r.Replace = true
			row.with(t, path, &r)
			before, there := query(t, path, `SELECT hex(hash) FROM log`), strings.Join(names(t, path), " ")
			if _, err := sqlite.Restore(ctx, path, r); err == nil || !strings.Contains(err.Error(), row.says) {
				t.Fatalf("it says %v, want %q", err, row.says)
			}
			if diff := cmp.Diff(query(t, path, `SELECT hex(hash) FROM log`), before); diff != "" {
				t.Error(diff)
			}
			for _, name := range names(t, path) {
				if !strings.Contains(there, name) && name != "behest.db.lock" && !strings.HasPrefix(name, "log-key") {
					t.Errorf("it left %s", name)
				}
			}
		})
	}
}

// Pages that are in the write-ahead log alone count, in the backup and in what is
// replaced; and what is kept of that is whole.
func TestARestoreLosesNoLog(t *testing.T) {
	path := lived(t)
	s := running(t, path)
	if err := (load{s}).device(7); err != nil {
		t.Fatal(err)
	}
	backup := taken(t, path)
	if err := (load{s}).device(8); err != nil {
		t.Fatal(err)
	}
	killed := taken(t, path)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// A restore crashed after it had kept the replaced one, another in the middle.
	if err := errors.Join(os.Link(killed, killed+".replaced"),
		os.WriteFile(killed+".restoring", []byte("half"), 0o600), os.WriteFile(killed+".restoring-wal", []byte("half"), 0o600)); err != nil {
		t.Fatal(err)
	}
	r := restoring(backup, time.Now())
	r.Replace = true
	done, err := sqlite.Restore(context.Background(), killed, r)
	if err != nil {
		t.Fatal(err)
	}
	const devices = `SELECT group_concat(name, ' ' ORDER BY name) FROM device`
	if got := query(t, killed, devices)[0]; got != "device-0 device-1 device-2 device-3 device-7" {
		t.Errorf("it has %s", got)
	}
	if got := query(t, done.Kept, devices)[0]; got != "device-0 device-1 device-2 device-3 device-7 device-8" {
		t.Errorf("what was kept has %s", got)
	}
	sound(t, filepath.Dir(killed))
	if _, err := sqlite.Restore(context.Background(), killed, restoring(backup, time.Now())); err == nil {
		t.Error("a second time it says nothing of the database that is there")
	}
}

// No two restores open the same epoch, whichever of them is looked at.
func TestEpochsArePastAllThatAreKnown(t *testing.T) {
	backup, path := lived(t), file(t.TempDir())
	for want := uint32(2); want < 5; want++ {
		r := restoring(backup, time.Now())
		r.Replace = true
		done, err := sqlite.Restore(context.Background(), path, r)
		if err != nil || done.Epoch.N != want || done.Epoch.Base != (want-1)*3600 {
			t.Fatalf("it is %+v, %v; want epoch %d", done.Epoch, err, want)
		}
		_ = os.Remove(done.Kept)
	}
	// The head of the file is gone, and its write-ahead log is not.
	s := running(t, path)
	if err := (load{s}).device(7); err != nil {
		t.Fatal(err)
	}
	path = taken(t, path)
	if err := errors.Join(s.Close(), os.WriteFile(path, []byte("not a database any more, by far"), 0o600)); err != nil {
		t.Fatal(err)
	}
	r := restoring(backup, time.Now())
	r.Replace = true
	if _, err := sqlite.Restore(context.Background(), path, r); err == nil || !strings.Contains(err.Error(), "--lost-epoch") {
		t.Fatalf("of a database that cannot be read it says %v", err)
	}
	r.Lost = 4
	if done, err := sqlite.Restore(context.Background(), path, r); err != nil || done.Epoch.N != 5 {
		t.Errorf("it is %+v, %v", done.Epoch, err)
	}
	if diff := cmp.Diff(names(t, path), []string{"behest.db", "behest.db.lock", "behest.db.replaced", "behest.db.replaced-wal", "log-key", "log-key.pub"}); diff != "" {
		t.Error(diff)
	}
	sound(t, filepath.Dir(path))
}

// restoringChild puts a backup in the place of what is there, in one thread, since
// strace counts the calls of each by itself.
func restoringChild(dir string) error {
	runtime.LockOSThread()
	r := restoring(os.Getenv(childRestores), time.Now())
	r.Replace = true
	_, err := sqlite.Restore(context.Background(), file(dir), r)
	return err
}

// TestARestoreIsKilledAtEachStep kills a restore as it enters its first call that
// changes a name or syncs, then one at its second, and so on until one gets
// through. At each there is a database, the old one or the restored one, and it is
// whole; what was replaced is lost at none; and who says it again, gets there.
func TestARestoreIsKilledAtEachStep(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("skipped: strace is not installed")
	}
	const calls = "rename,renameat,renameat2,link,linkat,unlink,unlinkat,fsync,fdatasync"
	const devices = `SELECT count(*) FROM device`
	backup, path := lived(t), lived(t)
	s := running(t, path)
	if err := (load{s}).device(7); err != nil {
		t.Fatal(err)
	}
	server := taken(t, path) // killed, with a write-ahead log
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	old, restored, through := 0, 0, false
	for step := 1; step < 200 && !through; step++ {
		path := taken(t, server)
		cmd := exec.Command(strace, "-f", "-qq", "-o", os.DevNull, "-e", "trace="+calls, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", calls, step), os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+filepath.Dir(path), childRestores+"="+backup)
		out, err := cmd.CombinedOutput()
		if through = err == nil; !through && (step == 1 || len(out) > 0) && strings.Contains(string(out), "ptrace") {
			t.Skip("skipped: strace cannot trace here")
		}
		if len(out) > 0 {
			t.Fatalf("step %d: the child says %s", step, out)
		}
		sound(t, filepath.Dir(path))
		r, err := sqlite.Check(context.Background(), path)
		if err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		if r.Epoch == 1 {
			old++
			o := restoring(backup, time.Now())
			o.Replace = true
			done, err := sqlite.Restore(context.Background(), path, o)
			if err != nil || done.Epoch.N != 2 {
				t.Fatalf("step %d: said again: epoch %d, %v", step, done.Epoch.N, err)
			}
		} else {
			restored++
		}
		if got := query(t, path+".replaced", devices)[0]; got != "5" {
			t.Errorf("step %d: what was replaced has %s devices", step, got)
		}
		if got := query(t, path, devices)[0]; got != "4" {
			t.Errorf("step %d: what was restored has %s devices", step, got)
		}
	}
	t.Logf("killed at %d steps: %d times the old one was there, %d times the restored one", old+restored-1, old, restored-1)
	if !through || old < 10 || restored < 2 {
		t.Errorf("got through: %v; %d, %d", through, old, restored)
	}
}
