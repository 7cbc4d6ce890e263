package sqlite_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/mattn/go-sqlite3"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
	"behest/store/sqlite"
)

var (
	errDisk = sqlite3.Error{Code: sqlite3.ErrIoErr, ExtendedCode: sqlite3.ErrIoErrFsync}
	errFull = sqlite3.Error{Code: sqlite3.ErrFull}
	errBusy = sqlite3.Error{Code: sqlite3.ErrBusy}
)

// failing makes steps fail that a test plans.
type failing struct {
	t    *testing.T
	s    *sqlite.Store
	dir  string
	ran  chan error
	stop context.CancelFunc
	plan chan plan
}

// plan is the next step that fails.
type plan struct {
	step   sqlite.Step
	stored bool // it has its effect nevertheless
	err    error
}

func (p plan) String() string {
	how := "failed"
	if p.stored {
		how = "failed but stored"
	}
	return fmt.Sprint(p.step, " ", how)
}

func startFailing(t *testing.T) *failing {
	f := &failing{t: t, dir: t.TempDir(), ran: make(chan error, 1), plan: make(chan plan, 100)}
	s, err := sqlite.Open(context.Background(), file(f.dir), sqlite.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	f.s = s
	var next *plan
	s.Intercept(func(step sqlite.Step, do func() error) error {
		if next == nil {
			select {
			case p := <-f.plan:
				next = &p
			default:
			}
		}
		if next == nil || next.step != step {
			return do()
		}
		p := *next
		next = nil
		if p.stored {
			if err := do(); err != nil {
				t.Errorf("%s: the step itself failed: %v", p, err)
			}
		}
		return p.err
	})
	ctx, stop := context.WithCancel(context.Background())
	f.stop = stop
	go func() { f.ran <- s.Run(ctx) }()
	return f
}

// add adds a device and an event.
func (f *failing) add(name string) error {
	return f.s.Update(context.Background(), ledger.Registrations, func(tx ledger.Tx) error {
		d := device.Device{Name: name, CreatedAt: time.UnixMilli(1)}
		if err := tx.AddDevice(&d); err != nil {
			return err
		}
		return tx.Log(command.Event{Type: command.EventRegistered, At: time.UnixMilli(1), Device: d.Handle})
	})
}

// names lists the devices.
func (f *failing) names() (names []string) {
	f.t.Helper()
	views, _, err := f.s.Devices(context.Background(), device.Filter{})
	if err != nil {
		f.t.Fatal(err)
	}
	for _, v := range views {
		names = append(names, v.Name)
	}
	return names
}

// end stops the store and looks at what it leaves.
func (f *failing) end() error {
	f.t.Helper()
	f.stop()
	err := <-f.ran
	if err := f.s.Close(); err != nil {
		f.t.Error(err)
	}
	sound(f.t, f.dir)
	return err
}

// TestEachStepOfACommitFails makes each step of a commit fail, once without
// and once with its effect. Whatever is answered has to be true.
func TestEachStepOfACommitFails(t *testing.T) {
	cases := 0
	for _, step := range []sqlite.Step{sqlite.StepBegin, sqlite.StepWork, sqlite.StepSeal, sqlite.StepCommit} {
		for _, fault := range []error{errDisk, errFull, errBusy, errors.New("not SQLite's")} {
			for _, stored := range []bool{false, true} {
				p := plan{step, stored, fault}
				cases++
				t.Run(fmt.Sprint(p, " with ", fault), func(t *testing.T) {
					f := startFailing(t)
					want := []string{"before", "later"}
					if err := f.add("before"); err != nil {
						t.Fatal(err)
					}
					f.plan <- p
					err := f.add("during")
					switch code := command.CodeOf(err); {
					case err == nil:
						t.Error("a failed commit was answered as good")
					case step == sqlite.StepCommit && code != command.CodeOutcomeUnknown:
						t.Errorf("got %v, want outcome_unknown", err)
					case step != sqlite.StepCommit && code != command.CodeUnavailable:
						t.Errorf("got %v, want unavailable", err)
					}
					if step == sqlite.StepCommit && stored {
						want = slices.Insert(want, 1, "during")
					}
					if err := f.add("later"); err != nil {
						t.Errorf("it did not recover: %v", err)
					}
					if d := gocmp.Diff(f.names(), want); d != "" {
						t.Errorf("got (-) and want (+) differ:\n%s", d)
					}
					if err := f.end(); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
	t.Logf("%d cases", cases)
}

// TestASecondFailureEndsTheStore makes the recovery fail too.
func TestASecondFailureEndsTheStore(t *testing.T) {
	for _, first := range []bool{false, true} {
		for _, second := range []plan{
			{sqlite.StepReopen, false, errDisk}, {sqlite.StepReopen, true, errDisk},
			{sqlite.StepBarrier, false, errDisk}, {sqlite.StepBarrier, true, errDisk},
		} {
			t.Run(fmt.Sprint(plan{sqlite.StepCommit, first, nil}, ", ", second), func(t *testing.T) {
				ctx := context.Background()
				f := startFailing(t)
				f.plan <- plan{sqlite.StepCommit, first, errDisk}
				f.plan <- second
				err := f.add("during")
				if command.CodeOf(err) != command.CodeOutcomeUnknown {
					t.Errorf("got %v, want outcome_unknown", err)
				}
				err = <-f.ran
				f.ran <- err
				if !errors.Is(err, errDisk) {
					t.Errorf("Run ended with %v, want the disk's error", err)
				}
				if err := f.add("later"); command.CodeOf(err) != command.CodeUnavailable {
					t.Errorf("got %v, want unavailable", err)
				}
				if _, _, err := f.s.Devices(ctx, device.Filter{}); command.CodeOf(err) != command.CodeUnavailable {
					t.Errorf("got %v, want unavailable", err)
				}
				if err := f.s.Health(ctx); err == nil {
					t.Error("a failed store is healthy")
				}
				f.end()
			})
		}
	}
}

// TestNobodyReadsWhileInDoubt looks at the store in the middle of its
// recovery.
func TestNobodyReadsWhileInDoubt(t *testing.T) {
	ctx := context.Background()
	s, err := sqlite.Open(ctx, file(t.TempDir()), sqlite.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	reached, goOn := make(chan struct{}), make(chan struct{})
	failed := false
	s.Intercept(func(step sqlite.Step, do func() error) error {
		switch {
		case step == sqlite.StepCommit && !failed:
			failed = true
			return errDisk
		case step == sqlite.StepReopen:
			close(reached)
			<-goOn
		}
		return do()
	})
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	f := &failing{t: t, s: s}
	told := make(chan error, 1)
	go func() { told <- f.add("during") }()
	<-reached
	if _, err := s.Command(ctx, command.ID{}); command.CodeOf(err) != command.CodeUnavailable {
		t.Errorf("a read: got %v, want unavailable", err)
	}
	if err := f.add("meanwhile"); command.CodeOf(err) != command.CodeUnavailable {
		t.Errorf("a write: got %v, want unavailable", err)
	}
	if err := s.Health(ctx); err == nil {
		t.Error("it is healthy")
	}
	close(goOn)
	if err := <-told; command.CodeOf(err) != command.CodeOutcomeUnknown {
		t.Errorf("got %v, want outcome_unknown", err)
	}
	if err := f.add("later"); err != nil {
		t.Error(err)
	}
	if err := errors.Join(s.Close(), <-ran); err != nil {
		t.Error(err)
	}
	if got := s.Stats(); got.Doubts != 1 || got.Commits != 1 {
		t.Errorf("counted %+v", got)
	}
}

// TestAFullDiskIsWaitedOut has a real SQLITE_FULL: the file may not grow.
func TestAFullDiskIsWaitedOut(t *testing.T) {
	ctx := context.Background()
	f := startFailing(t)
	limit := func(pages int) {
		t.Helper()
		err := f.s.Update(ctx, ledger.Reports, func(tx ledger.Tx) error {
			return sqlite.Exec(tx, fmt.Sprint("PRAGMA max_page_count = ", pages))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	limit(1) // means: as many as it has
	kept := 0
	var err error
	for ; kept < 10_000 && err == nil; kept++ {
		err = f.add(fmt.Sprintf("p%04d", kept))
	}
	kept--
	var e *command.Error
	if !errors.As(err, &e) || e.Code != command.CodeUnavailable || e.RetryAfter == 0 || !strings.Contains(e.Msg, "full") {
		t.Errorf("got %v, want unavailable, since the disk is full", err)
	}
	if got := len(f.names()); got != min(kept, 500) {
		t.Errorf("%d devices are read, want %d", got, min(kept, 500))
	}
	limit(1 << 30)
	if err := f.add("later"); err != nil {
		t.Error(err)
	}
	if err := f.end(); err != nil {
		t.Error(err)
	}
	t.Logf("%d writes until it was full", kept)
}

// TestAFullFilesystem fills a real one: COMMIT itself fails, the barrier too,
// and the store waits until there is room.
func TestAFullFilesystem(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=3m"); err != nil {
		t.Skipf("skipped: mounting a small filesystem takes root: %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	s, err := sqlite.Open(ctx, file(dir), sqlite.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	f := &failing{t: t, s: s, dir: dir}

	ballast := filepath.Join(dir, "ballast")
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ballast, make([]byte, (int64(fs.Bfree)-20)*fs.Bsize), 0o600); err != nil {
		t.Fatal(err)
	}
	kept, unknown := 0, 0
	var first error
	for i, failed := 0, 0; failed < 20 && i < 100_000; i++ {
		switch err = f.add(fmt.Sprintf("p%05d", i)); command.CodeOf(err) {
		case command.CodeOutcomeUnknown:
			unknown++
			fallthrough
		case command.CodeUnavailable:
			failed++ // closing the file makes some room again, for a while
			first = cmp.Or(first, err)
		default:
			if err != nil {
				t.Fatal(err)
			}
			kept, failed = kept+1, 0
		}
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for err = f.add("later"); err != nil && time.Now().Before(deadline); err = f.add("later") {
		<-time.After(10 * time.Millisecond)
	}
	if err != nil {
		t.Errorf("it did not recover: %v", err)
	}
	stop()
	if err := errors.Join(<-ran, s.Close()); err != nil {
		t.Error(err)
	}
	sound(t, dir)
	r, err := sqlite.Check(context.Background(), file(dir))
	if n := int(r.Devices); err != nil || n < kept+1 || n > kept+1+unknown {
		t.Errorf("%d devices are there, %v; want %d, and perhaps some of %d unknown ones", n, err, kept+1, unknown)
	}
	t.Logf("%d writes until it was full for good, %d unknown, the first: %v", kept, unknown, first)
}

// TestManyUnknownsAreEachTrue fails commits at random under load, and holds
// what callers were told against what is there.
func TestManyUnknownsAreEachTrue(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s, err := sqlite.Open(ctx, file(dir), sqlite.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	s.Intercept(func(step sqlite.Step, do func() error) error {
		if step != sqlite.StepCommit {
			return do()
		}
		switch n++; n % 10 {
		case 3:
			return errDisk
		case 7:
			return errors.Join(do(), errDisk)
		}
		return do()
	})
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	f := &failing{t: t, s: s, dir: dir}
	const writers, each = 20, 15
	var told [writers * each]error
	var unknown atomic.Int64
	done := make(chan struct{})
	for w := range writers {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range each {
				at := w*each + i
				for told[at] = f.add(fmt.Sprint("p", at)); command.CodeOf(told[at]) == command.CodeUnavailable; {
					<-time.After(time.Millisecond)
					told[at] = f.add(fmt.Sprint("p", at))
				}
				if told[at] != nil {
					unknown.Add(1)
				}
			}
		}()
	}
	for range writers {
		<-done
	}
	there := make(map[string]bool)
	for _, name := range f.names() {
		there[name] = true
	}
	happened := 0
	for at, err := range told {
		name := fmt.Sprint("p", at)
		switch {
		case err == nil && !there[name]:
			t.Errorf("%s was acknowledged and is lost", name)
		case err != nil && command.CodeOf(err) != command.CodeOutcomeUnknown:
			t.Errorf("%s: %v", name, err)
		case err != nil && there[name]:
			happened++
		}
	}
	if err := errors.Join(s.Close(), <-ran); err != nil {
		t.Error(err)
	}
	sound(t, dir)
	t.Logf("%d writes, %d unknown, of which %d had happened", len(told), unknown.Load(), happened)
	if unknown.Load() == 0 || happened == 0 || int64(happened) == unknown.Load() {
		t.Error("both kinds of unknown must occur, or this shows nothing")
	}
}

// TestAFullDiskAtTheBarrierIsWaitedOut has the recovery fail for lack of room,
// which is no second failure.
func TestAFullDiskAtTheBarrierIsWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startFailing(t)
		f.plan <- plan{sqlite.StepCommit, false, errFull}
		f.plan <- plan{sqlite.StepBarrier, false, errFull}
		f.plan <- plan{sqlite.StepBarrier, false, errFull}
		begun := time.Now()
		if err := f.add("during"); command.CodeOf(err) != command.CodeOutcomeUnknown {
			t.Errorf("got %v, want outcome_unknown", err)
		}
		if err := f.add("meanwhile"); command.CodeOf(err) != command.CodeUnavailable {
			t.Errorf("got %v, want unavailable", err)
		}
		tries := 0
		for ; f.add("later") != nil && tries < 100; tries++ {
			<-time.After(100 * time.Millisecond)
		}
		if waited := time.Since(begun); tries == 100 || waited < 2*time.Second {
			t.Errorf("it took %s and %d tries", waited, tries)
		}
		if err := f.end(); err != nil {
			t.Error(err)
		}

		// And a shutdown does not wait for a person to make room.
		f = startFailing(t)
		f.plan <- plan{sqlite.StepCommit, false, errFull}
		for range 50 {
			f.plan <- plan{sqlite.StepBarrier, false, errFull}
		}
		_ = f.add("during")
		if err := f.end(); !errors.Is(err, errFull) {
			t.Errorf("Run ended with %v, want the disk's error", err)
		}
	})
}

// TestADeliveryAloneWaitsForCompany is about the lane that rides along.
func TestADeliveryAloneWaitsForCompany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		f := startFailing(t)
		nothing := func(ledger.Tx) error { return nil }
		begun := time.Now()
		if err := f.s.Update(ctx, ledger.Deliveries, nothing); err != nil || time.Since(begun) != time.Second {
			t.Errorf("alone: %v after %s, want a second", err, time.Since(begun))
		}
		begun = time.Now()
		told := make(chan time.Duration, 2)
		go func() {
			_ = f.s.Update(ctx, ledger.Deliveries, nothing)
			told <- time.Since(begun)
		}()
		<-time.After(300 * time.Millisecond)
		if err := f.s.Update(ctx, ledger.Expiries, nothing); err != nil {
			t.Error(err)
		}
		if took := <-told; took != 300*time.Millisecond {
			t.Errorf("in company it took %s", took)
		}
		before := f.s.Stats().Commits
		if err := f.s.Update(ctx, ledger.Issues, nothing); err != nil || f.s.Stats().Commits != before+1 {
			t.Errorf("idle, a write waits for nothing: %v", err)
		}
		if err := f.end(); err != nil {
			t.Error(err)
		}
	})
}

// TestAFullQueueRefuses bounds each lane, and no lane takes another's place.
func TestAFullQueueRefuses(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s, err := sqlite.Open(ctx, file(dir), sqlite.Options{Logger: quiet(), LaneMax: 3})
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan error, 4)
	for range 3 { // nobody runs yet
		go func() { told <- s.Update(ctx, ledger.Issues, func(ledger.Tx) error { return nil }) }()
	}
	for s.Stats().Waiting[ledger.Issues] < 3 {
		<-time.After(time.Millisecond)
	}
	var e *command.Error
	if err := s.Update(ctx, ledger.Issues, nil); !errors.As(err, &e) || e.Code != command.CodeUnavailable || e.RetryAfter == 0 {
		t.Errorf("got %v, want unavailable with a time to retry after", err)
	}
	go func() { told <- s.Update(ctx, ledger.Reports, func(ledger.Tx) error { return nil }) }()
	for s.Stats().Waiting[ledger.Reports] < 1 {
		<-time.After(time.Millisecond)
	}
	ran := make(chan error)
	go func() { ran <- s.Run(ctx) }()
	for range 4 {
		if err := <-told; err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(s.Close(), <-ran); err != nil {
		t.Error(err)
	}
}

// TestNoLaneStarves keeps the first lane full and watches the last.
func TestNoLaneStarves(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s, err := sqlite.Open(ctx, file(dir), sqlite.Options{Logger: quiet(), GroupMax: 60})
	if err != nil {
		t.Fatal(err)
	}
	var order []ledger.Lane
	put := func(lane ledger.Lane, n int, done *sync.WaitGroup) {
		for range n {
			done.Go(func() {
				err := s.Update(ctx, lane, func(ledger.Tx) error {
					order = append(order, lane) // the writer's goroutine
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	var done sync.WaitGroup
	put(ledger.Reports, 1000, &done)
	put(ledger.Retention, 20, &done)
	for w := s.Stats().Waiting; w[ledger.Reports] < 1000 || w[ledger.Retention] < 20; w = s.Stats().Waiting {
		<-time.After(time.Millisecond)
	}
	ran := make(chan error)
	go func() { ran <- s.Run(ctx) }()
	done.Wait()
	if err := errors.Join(s.Close(), <-ran); err != nil {
		t.Error(err)
	}
	last := slices.Index(order, ledger.Retention)
	for n := 0; n < 20; n++ {
		last = slices.Index(order[last:], ledger.Retention) + last + 1
	}
	if order[0] != ledger.Reports || last > 240 {
		t.Errorf("the last lane's twentieth came after %d of the first", last)
	}
}
