package sqlite_test

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"sync"
	"syscall"
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
			before, cpu := s.Stats(), cpuTime()
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
			reportCPU(b, cpu)
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
	cpu := cpuTime()
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
	reportCPU(b, cpu)
}

// BenchmarkBare is what the driver alone needs for the writes of a round: a
// row with as many bytes and indexes, moved twice more, and its device thrice.
func BenchmarkBare(b *testing.B) {
	db, err := sql.Open("sqlite3", file(b.TempDir())+"?_journal_mode=WAL&_synchronous=FULL")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, q := range []string{
		`CREATE TABLE d (n INTEGER PRIMARY KEY, seq INTEGER, rest BLOB)`,
		`CREATE TABLE c (n INTEGER PRIMARY KEY, id BLOB UNIQUE, d INTEGER, seq INTEGER, state INTEGER, deadline INTEGER, rest BLOB, UNIQUE (d, seq))`,
		`CREATE INDEX o ON c (d) WHERE state < 8`,
		`CREATE INDEX l ON c (deadline) WHERE deadline IS NOT NULL`,
		`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) INSERT INTO d SELECT i, 0, zeroblob(60) FROM n`,
	} {
		if _, err := db.Exec(q); err != nil {
			b.Fatal(err)
		}
	}
	cpu := cpuTime()
	b.ResetTimer()
	for n := 0; n < b.N; {
		tx, err := db.Begin()
		if err != nil {
			b.Fatal(err)
		}
		add, _ := tx.Prepare(`INSERT INTO c (id, d, seq, state, deadline, rest) VALUES (?, ?, ?, 3, ?, ?)`)
		move, _ := tx.Prepare(`UPDATE c SET state = ?, deadline = ?, rest = ? WHERE n = ?`)
		dev, _ := tx.Prepare(`UPDATE d SET seq = ?, rest = ? WHERE n = ?`)
		for range min(100, b.N-n) {
			n++
			var id [16]byte
			binary.BigEndian.PutUint64(id[:], uint64(n))
			if _, err := add.Exec(id[:], n%500+1, n, n, make([]byte, 80)); err != nil {
				b.Fatal(err)
			}
			for state := 4; state < 7; state++ {
				if _, err := move.Exec(state*2-3, n+state, make([]byte, 90), n); err != nil {
					b.Fatal(err)
				}
			}
			for range 2 {
				if _, err := dev.Exec(n, make([]byte, 60), n%500+1); err != nil {
					b.Fatal(err)
				}
			}
		}
		if err := tx.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	reportCPU(b, cpu)
}

// cpuTime is what the process has used so far. Other programs' load does not
// count in it.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func reportCPU(b *testing.B, before time.Duration) {
	b.ReportMetric(float64((cpuTime()-before).Nanoseconds())/float64(b.N)/1000, "cpu-us/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
}
