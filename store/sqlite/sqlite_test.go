package sqlite_test

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"behest/store/sqlite"
	"behest/store/storetest"
)

// quiet is for tests that make the store complain.
func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func file(dir string) string { return filepath.Join(dir, "behest.db") }

func TestContract(t *testing.T) {
	storetest.Exercise(t, storetest.Engine{
		Open: func(t testing.TB, dir string) storetest.Store {
			s, err := sqlite.Open(context.Background(), file(dir), sqlite.Options{Logger: quiet(), RideAlong: 5 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Check: sound,
	})
}

// sound fails the test when the database in dir is not.
func sound(t testing.TB, dir string) {
	t.Helper()
	r, err := sqlite.Check(context.Background(), file(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range r.Faults {
		t.Error(fault)
	}
}
