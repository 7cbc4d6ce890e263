package store_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"behest/store"
	"behest/store/sqlite"
)

func TestTheNameChoosesTheEngine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "behest.db")
	for _, dsn := range []string{path, "sqlite://" + path} {
		s, err := store.Open(context.Background(), dsn, sqlite.Options{})
		if err != nil {
			t.Fatalf("%s: %v", dsn, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		r, err := store.Check(context.Background(), dsn)
		if err != nil || len(r.Faults) > 0 {
			t.Errorf("%s: %v, %v", dsn, r.Faults, err)
		}
	}
}

func TestANameThatIsNoneIsRefused(t *testing.T) {
	for dsn, says := range map[string]string{
		"": "names no file", "sqlite://": "names no file",
		"postgres://db/behest": `of the kind "postgres"`, "mysql://x": `of the kind "mysql"`,
	} {
		if _, err := store.Open(context.Background(), dsn, sqlite.Options{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v, want %q", dsn, err, says)
		}
		if _, err := store.Check(context.Background(), dsn); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v, want %q", dsn, err, says)
		}
	}
}
