package main

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"behest/store/sqlite"
)

// Numbers go by the clock, so a restore does not believe one that contradicts the
// backup, unless somebody vouches for it.
func TestARestoreAsksAboutTheClock(t *testing.T) {
	ctx := context.Background()
	real := synchronised
	t.Cleanup(func() { synchronised = real })
	backup := filepath.Join(t.TempDir(), databaseFile)
	s, err := sqlite.Open(ctx, backup, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	go s.Run(ctx)
	if err := errors.Join(s.RaiseMark(ctx, time.Now().Add(48*time.Hour)), s.Close()); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name   string
		synced bool
		flags  []string
		code   int
		says   string
	}{
		{"nobody vouches", false, nil, 1, "have it synchronised, or say --trust-clock if it is right"},
		{"the system does", true, nil, 0, "epoch 2 begins after event 0-0"},
		{"the operator does", false, []string{"--trust-clock"}, 0, "epoch 2 begins after event 0-0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synchronised = func() (bool, error) { return row.synced, nil }
			var out bytes.Buffer
			code := run(ctx, append([]string{"restore", "--from", backup, "--data", t.TempDir()}, row.flags...), &out, &out)
			if code != row.code || !strings.Contains(out.String(), row.says) {
				t.Errorf("exit code %d, %s; want %d, %q", code, out.String(), row.code, row.says)
			}
		})
	}
}
