package store

import (
	"context"
	"fmt"
	"strings"

	"behest/device"
	"behest/store/sqlite"
)

// Open opens the store that dsn names; see the package comment.
func Open(ctx context.Context, dsn string, o sqlite.Options) (*sqlite.Store, error) {
	path, err := sqlitePath(dsn)
	if err != nil {
		return nil, err
	}
	return sqlite.Open(ctx, path, o)
}

// Check examines the store that dsn names without changing it, also while a
// server uses it.
func Check(ctx context.Context, dsn string) (sqlite.Report, error) {
	return CheckSeals(ctx, dsn, nil)
}

// CheckSeals is Check by somebody who can try whether the seal of a credential
// opens; nil: nobody can.
func CheckSeals(ctx context.Context, dsn string, opens func(*device.Credential) error) (sqlite.Report, error) {
	path, err := sqlitePath(dsn)
	if err != nil {
		return sqlite.Report{}, err
	}
	return sqlite.CheckSeals(ctx, path, opens)
}

// CheckAgainst is Check, which also holds the log against checkpoints that were
// kept elsewhere.
func CheckAgainst(ctx context.Context, dsn string, kept sqlite.Kept) (sqlite.Report, error) {
	path, err := sqlitePath(dsn)
	if err != nil {
		return sqlite.Report{}, err
	}
	return sqlite.CheckAgainst(ctx, path, kept)
}

// Export tells the log of the store that dsn names, also while a server uses it.
func Export(ctx context.Context, dsn string, e sqlite.Exporting) error {
	path, err := sqlitePath(dsn)
	if err != nil {
		return err
	}
	return sqlite.Export(ctx, path, e)
}

// Restore puts a backup in the place of the store that dsn names.
func Restore(ctx context.Context, dsn string, o sqlite.Restoring) (sqlite.Restored, error) {
	path, err := sqlitePath(dsn)
	if err != nil {
		return sqlite.Restored{}, err
	}
	return sqlite.Restore(ctx, path, o)
}

// sqlitePath is the file that dsn names.
func sqlitePath(dsn string) (string, error) {
	scheme, rest, found := strings.Cut(dsn, "://")
	switch {
	case dsn == "" || found && rest == "":
		return "", fmt.Errorf("the store %q names no file", dsn)
	case !found:
		return dsn, nil
	case scheme == "sqlite":
		return rest, nil
	}
	return "", fmt.Errorf("no store is of the kind %q: name a file, or sqlite://FILE", scheme)
}
