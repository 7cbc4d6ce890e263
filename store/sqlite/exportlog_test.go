package sqlite_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"testing"

	"behest/command"
	"behest/store/sqlite"
)

// stranger verifies an export as docs/log.md says, with nothing of the store's.
type stranger struct {
	t      *testing.T
	began  sqlite.Beginning
	hash   []byte
	events []int64
}

func (s *stranger) Begin(b sqlite.Beginning) error {
	s.began, s.hash = b, b.Hash
	return nil
}

func (s *stranger) Commit(c sqlite.Commit) error {
	b := bytes.Clone(s.hash)
	for _, v := range []int64{c.First, int64(len(c.Events)), int64(c.Epoch), c.SealedAt.UnixMilli()} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	h := sha256.Sum256(append(b, c.Packed...))
	if !bytes.Equal(h[:], c.Hash) {
		s.t.Errorf("the commit of event %d does not verify", c.First)
	}
	s.hash = c.Hash
	for _, e := range c.Events {
		s.events = append(s.events, e.N)
	}
	return nil
}

// TestAnExportVerifiesWithoutTheStore: whole, from a place on, and from where
// the log was cut; beside a running server; and up to what was changed.
func TestAnExportVerifiesWithoutTheStore(t *testing.T) {
	ctx := context.Background()
	whole, _ := anchoredLog(t)
	s := running(t, whole)
	defer s.Close()
	cut := cutLog(t)
	changed, _ := anchoredLog(t)
	alter(t, changed, `UPDATE log SET at = at + 1 WHERE n = 12`)
	for _, row := range []struct {
		name, path  string
		after       command.Place
		first, last int64
		says        string
	}{
		{"whole", whole, command.Place{}, 1, 30, ""},
		{"from a place on", whole, command.Place{Epoch: 1, N: 20}, 21, 30, ""},
		{"cut", cut, command.Place{}, 17, 24, ""},
		{"from where it was cut", cut, command.Place{Epoch: 1, N: 16}, 17, 24, ""},
		{"before the cut", cut, command.Place{Epoch: 1, N: 15}, 0, 0, "is not kept any more"},
		{"past the end", whole, command.Place{Epoch: 1, N: 31}, 0, 0, "the log has no event 1-31"},
		{"changed", changed, command.Place{}, 1, 11, "does not match its hash at event 12"},
	} {
		to := &stranger{t: t}
		err := sqlite.Export(ctx, row.path, sqlite.Exporting{After: row.after, To: to})
		if row.says == "" && err != nil || row.says != "" && (err == nil || !strings.Contains(err.Error(), row.says)) {
			t.Errorf("%s: %v, want %q", row.name, err, row.says)
		}
		if row.last == 0 {
			continue
		}
		if n := len(to.events); n == 0 || to.events[0] != row.first || to.events[n-1] != row.last || to.began.After != row.first-1 || int64(n) != row.last-row.first+1 {
			t.Errorf("%s: it has %v after %d", row.name, to.events, to.began.After)
		}
	}
}
