package sqlite_test

import (
	"context"
	"crypto/ed25519"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"behest/command"
	"behest/command/ledger"
	"behest/store/sqlite"
)

// anchoredLog makes a store of 30 commits with the checkpoint of event 20.
func anchoredLog(t *testing.T) (path string, kept sqlite.Kept) {
	t.Helper()
	path = made(t)
	s := running(t, path)
	defer s.Close()
	for i := 1; i <= 30; i++ {
		err := s.Update(context.Background(), ledger.Issues, func(tx ledger.Tx) error {
			return tx.Log(command.Event{Type: command.EventEdited, At: time.Now(), Data: json.RawMessage(fmt.Sprintf(`{"n":%d}`, i))})
		})
		if err != nil {
			t.Fatal(err)
		}
		if i == 20 {
			kept.Lines = line(t, s)
		}
	}
	return path, kept
}

// line is the log as it stands, signed.
func line(t testing.TB, s *sqlite.Store) []byte {
	t.Helper()
	c, err := s.Checkpoint(context.Background(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

// TestARewrittenLogIsFoundByWhatWasKept: who can write the file can compute its
// hashes anew, and then the log alone tells nothing.
func TestARewrittenLogIsFoundByWhatWasKept(t *testing.T) {
	path, kept := anchoredLog(t)
	for _, row := range []struct{ name, edit, alone, against string }{
		{"nothing", `SELECT 1`, "", ""},
		{"an event edited", `UPDATE log SET events = CAST(replace(events, '"n":7}', '"n":8}') AS BLOB) WHERE n = 7`, "", "line 1: event 1-20 is sealed by"},
		{"an event deleted", `DELETE FROM log WHERE n = 7`, "", "line 1: event 1-20 is sealed by"},
		{"two in another order", `UPDATE log SET events = (SELECT o.events FROM log o WHERE o.n = 17 - log.n) WHERE n IN (8, 9)`, "", "line 1: event 1-20 is sealed by"},
		{"all before the checkpoint deleted", `DELETE FROM log WHERE n <= 20`, "", "line 1: event 1-20 is not in the log, which ends with event 10: it was cut short"},
		{"its end cut off, the checkpoint's event with it", `DELETE FROM log WHERE n >= 20`, "", "line 1: event 1-20 is not in the log, which ends with event 19: it was cut short"},
		{"all of it gone", `DELETE FROM log`, "", "which ends with event 0: it was cut short"},
		{"two commits in one", `UPDATE log SET count = 2, events = CAST(events || (SELECT o.events FROM log o WHERE o.n = 21) AS BLOB) WHERE n = 20`, "", "line 1: no commit ends with event 1-20"},
		{"what came after the checkpoint cut off", `DELETE FROM log WHERE n > 20`, "", ""},
		{"what came after the checkpoint edited", `UPDATE log SET at = at + 1 WHERE n >= 25`, "", ""},
		{"another log", `UPDATE meta SET value = randomblob(32) WHERE name = 'genesis'`, "", "line 1 is of another log"},
	} {
		t.Run(row.name, func(t *testing.T) {
			alone, against := sqlite.Rewrite(t, path, kept, row.edit)
			if got := strings.Join(alone, "\n"); got != row.alone {
				t.Errorf("the log alone tells %q, want %q", got, row.alone)
			}
			if got := strings.Join(against, "\n"); row.against == "" && got != "" || !strings.Contains(got, row.against) {
				t.Errorf("against what was kept it tells %q, want %q", got, row.against)
			}
		})
	}
}

// TestEveryEditBeforeACheckpointIsFound makes 1,000 of them, each chained anew.
func TestEveryEditBeforeACheckpointIsFound(t *testing.T) {
	path, kept := anchoredLog(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	aloneFound := 0
	const edits = 1000
	for range edits {
		a := int64(r.IntN(20)) + 1
		b := (a+int64(r.IntN(19)))%20 + 1 // another one
		args := []driver.Value{a}
		var q string
		switch r.IntN(5) {
		case 0:
			q = `UPDATE log SET events = CAST(substr(events, 1, length(events) - 2) || ? || '}' AS BLOB) WHERE n = +?`
			args = []driver.Value{string(rune('a' + r.IntN(26))), a}
		case 1:
			q = `UPDATE log SET at = at + ? WHERE n = +?`
			args = []driver.Value{int64(r.IntN(1000)) + 1, a}
		case 2:
			q = `DELETE FROM log WHERE n = +?`
		case 3:
			q = `UPDATE log SET events = (SELECT o.events FROM log o WHERE o.n = ?1 + ?2 - log.n) WHERE n IN (?1, ?2)`
			args = []driver.Value{a, b}
		case 4:
			q = `UPDATE log SET count = count + 1, events = CAST(events || events AS BLOB) WHERE n = +?` // it happened twice
		}
		alone, against := sqlite.Rewrite(t, path, kept, q, args...)
		if len(against) == 0 {
			t.Fatalf("not found: %s %v", q, args)
		}
		if len(alone) > 0 {
			aloneFound++
		}
	}
	t.Logf("%d edits, all found; %d of them by the log alone", edits, aloneFound)
}

// TestLinesThatWereKept are looked at one by one.
func TestLinesThatWereKept(t *testing.T) {
	ctx := context.Background()
	path, kept := anchoredLog(t)
	good := string(kept.Lines)
	other, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile(filepath.Join(filepath.Dir(path), "log-key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, lines, says string
		keys              []ed25519.PublicKey
		held              int
	}{
		{"one", good, "", nil, 1},
		{"one twice", good + good, "", nil, 2},
		{"two keys", good, "", []ed25519.PublicKey{other, own}, 1},
		{"another key", good, "line 1: the checkpoint of event 1-20 was signed with a key that is not trusted", []ed25519.PublicKey{other}, 0},
		{"none", "", "no checkpoint to hold the log against", nil, 0},
		{"a part of one", good[:100], "no checkpoint to hold the log against", nil, 0},
		{"one and a part", good + good[:100], "", nil, 1},
		{"one and a damaged one", good + good[:100] + "\n", "line 2 is no checkpoint", nil, 1},
		{"an empty line", "\n" + good, "line 1 is no checkpoint", nil, 1},
		{"another event", strings.Replace(good, `"1-20"`, `"1-21"`, 1), "line 1: the signature under the checkpoint of event 1-21 is wrong", nil, 0},
	} {
		r, err := sqlite.CheckAgainst(ctx, path, sqlite.Kept{Lines: []byte(row.lines), Keys: row.keys})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(r.Faults, "\n"); row.says == "" && got != "" || !strings.Contains(got, row.says) {
			t.Errorf("%s: it tells %q, want %q", row.name, got, row.says)
		}
		if r.Against.Held != row.held || r.Against.Partial != strings.HasSuffix(row.lines, good[:100]) {
			t.Errorf("%s: %+v", row.name, r.Against)
		}
	}
}

// TestACheckpointBeforeTheCutIsVouchedForByTheCut: retention may take what a
// checkpoint is of; nobody else may, with a checkpoint in his hand.
func TestACheckpointBeforeTheCutIsVouchedForByTheCut(t *testing.T) {
	ctx := context.Background()
	path, kept := anchoredLog(t)
	s := running(t, path)
	kept.Lines = append(kept.Lines, line(t, s)...)
	if removed := retainLog(t, s); removed != 30 {
		t.Fatalf("%d events went", removed)
	}
	kept.Lines = append(kept.Lines, line(t, s)...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := sqlite.CheckAgainst(ctx, path, kept)
	if err != nil || len(r.Faults) > 0 || r.Against.Held != 3 || r.Against.Gone != 1 || r.Against.Last.N != 31 {
		t.Errorf("%+v, %v", r, err)
	}

	path, kept = anchoredLog(t)
	c, err := command.ParseCheckpoint([]byte(strings.TrimSuffix(string(kept.Lines), "\n")))
	if err != nil {
		t.Fatal(err)
	}
	alter(t, path, fmt.Sprintf(`DELETE FROM log WHERE n <= 20; INSERT INTO checkpoint (one, n, epoch, at, hash, signed_at, key, signature)
		VALUES (1, 20, 1, %d, x'%x', %d, x'%x', x'%x')`, c.SealedAt.UnixMilli(), c.Hash, c.SignedAt.UnixMilli(), c.Key, c.Signature))
	if r, err := sqlite.Check(ctx, path); err != nil || !strings.Contains(strings.Join(r.Faults, "\n"), "nothing vouches for it") {
		t.Errorf("cut with a checkpoint in hand: %v, %v", r.Faults, err)
	}
}

// retainLog removes all of the log but a last event, and answers how many went.
func retainLog(t *testing.T, s *sqlite.Store) int64 {
	t.Helper()
	if err := happen(s, 48); err != nil {
		t.Fatal(err)
	}
	removed, err := s.Retain(context.Background(), everything(48))
	if err != nil {
		t.Fatal(err)
	}
	return removed.Events
}

// TestACheckpointIsLoggedOnceForAllThatCame: a log that stands still does not
// grow by its own checkpoints.
func TestACheckpointIsLoggedOnceForAllThatCame(t *testing.T) {
	ctx := context.Background()
	s := running(t, made(t))
	defer s.Close()
	if _, err := s.LogCheckpoint(ctx, time.Now()); command.CodeOf(err) != command.CodeNotFound {
		t.Errorf("of an empty log: %v", err)
	}
	for n := int64(1); n < 6; n += 2 {
		if err := happen(s, 0); err != nil {
			t.Fatal(err)
		}
		first, err := s.LogCheckpoint(ctx, time.Now())
		if err != nil || first.At.N != n {
			t.Errorf("it is of event %s, want %d: %v", first.At, n, err)
		}
		again, err := s.LogCheckpoint(ctx, time.Now().Add(time.Hour))
		if err != nil || again != first {
			t.Errorf("again: %+v, %v", again, err)
		}
		events, _, err := s.Events(ctx, command.Place{Epoch: 1, N: n}, command.EventFilter{}, 10)
		if err != nil || len(events) != 1 || events[0].Type != command.EventCheckpoint {
			t.Fatalf("%+v, %v", events, err)
		}
		if told, err := command.ParseCheckpoint(events[0].Data); err != nil || told != first {
			t.Errorf("the log has %s, %v", events[0].Data, err)
		}
	}
}
