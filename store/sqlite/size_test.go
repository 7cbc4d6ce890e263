package sqlite_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"behest/command/ledger"
	"behest/store/sqlite"
)

// bytesPerCommandMax is what a completed command may take of the disk, all
// told: rows, indexes and log.
const bytesPerCommandMax = 350

// TestACompletedCommandIsSmall measures it: commands of a usual size, rounds
// of several devices sharing commits.
func TestACompletedCommandIsSmall(t *testing.T) {
	const devices, rounds = 40, 50
	s, l, dir := loaded(t, devices)
	size := func() int64 {
		t.Helper()
		if err := s.Update(context.Background(), ledger.Reports, func(tx ledger.Tx) error { return nil }); err != nil {
			t.Fatal(err)
		}
		return pages(t, file(dir))
	}
	before := size()
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
	each := float64(size()-before) / (devices * rounds)
	st := s.Stats()
	t.Logf("%.0f bytes per completed command; %d events in %d commits", each, st.Events, st.Commits)
	if each > bytesPerCommandMax {
		t.Errorf("a completed command takes %.0f bytes, over %d", each, bytesPerCommandMax)
	}
}

// loaded is a running store with devices.
func loaded(t testing.TB, devices int) (*sqlite.Store, load, string) {
	t.Helper()
	dir := t.TempDir()
	s, err := sqlite.Open(context.Background(), file(dir), sqlite.Options{Logger: quiet(), RideAlong: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- s.Run(context.Background()) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ran; err != nil {
			t.Error(err)
		}
		sound(t, dir)
	})
	l := load{s}
	var wg sync.WaitGroup
	for i := range devices {
		wg.Go(func() {
			if err := l.device(i); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	return s, l, dir
}

// pages is the size of the database without what SQLite keeps for later: the
// log of its own, and free pages.
func pages(t testing.TB, path string) int64 {
	t.Helper()
	rows := query(t, path, `SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size`)
	var n int64
	if _, err := fmt.Sscan(rows[0], &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// BenchmarkRounds is a command issued, acknowledged and reported on, by as
// many devices at once as a busy server has.
func BenchmarkRounds(b *testing.B) {
	for _, devices := range []int{1, 64, 512} {
		b.Run(fmt.Sprint(devices), func(b *testing.B) {
			s, l, _ := loaded(b, devices)
			before := s.Stats()
			b.ResetTimer()
			work := make(chan int)
			var wg sync.WaitGroup
			for d := range devices {
				wg.Go(func() {
					for n := range work {
						if err := l.round(n, d); err != nil {
							b.Error(err)
						}
					}
				})
			}
			for n := range b.N {
				work <- n
			}
			close(work)
			wg.Wait()
			took := b.Elapsed()
			st := s.Stats()
			commits := st.Commits - before.Commits
			b.ReportMetric(float64(b.N)/took.Seconds(), "rounds/s")
			b.ReportMetric(float64(st.Members-before.Members)/float64(commits), "members/commit")
			b.ReportMetric((st.InCommit-before.InCommit).Seconds()/took.Seconds(), "incommit")
		})
	}
}

// BenchmarkMember is the cost of units of work alone: a round's three, a few
// hundred to a commit.
func BenchmarkMember(b *testing.B) {
	const devices = 500
	s, l, _ := loaded(b, devices)
	b.ResetTimer()
	for n := 0; n < b.N; {
		batch := min(100, b.N-n)
		err := s.Update(context.Background(), ledger.Issues, func(tx ledger.Tx) error {
			for i := range batch {
				x, err := l.issue(tx, n+i, fmt.Sprint("device-", (n+i)%devices))
				if err != nil {
					return err
				}
				if err := l.ack(tx, x.N); err != nil {
					return err
				}
				if err := l.report(tx, x.Device, x.Seq); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		n += batch
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rounds/s")
}
