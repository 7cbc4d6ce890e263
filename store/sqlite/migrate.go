package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/mattn/go-sqlite3"
	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// applicationID marks a file as ours: "BHST". The first migration sets it.
const applicationID = 0x42485354

// connector opens connections for the migrations with the settings of all
// others.
type connector string

func (path connector) Connect(context.Context) (driver.Conn, error) {
	d := sqlite3.SQLiteDriver{ConnectHook: tune}
	return d.Open(dsn(string(path), writing))
}

func (connector) Driver() driver.Driver { return &sqlite3.SQLiteDriver{} }

// migrate brings the tables up to date, each step in a transaction of its
// own: a crash between two of them goes on with the second. It refuses files
// that are another program's, or a newer version's.
func migrate(ctx context.Context, path string) (err error) {
	db := sql.OpenDB(connector(path))
	db.SetMaxOpenConns(1)
	defer func() { err = errors.Join(err, db.Close()) }()

	if err := ours(ctx, db); err != nil {
		return err
	}
	steps, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, steps,
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return err
	}
	if have > want {
		return fmt.Errorf("a newer version of this program made it: its tables are of version %d, this program knows %d", have, want)
	}
	if err := inStep(ctx, db, p, have); err != nil {
		return err
	}
	if have == want {
		return nil
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bring the tables from version %d to %d: %w", have, want, err)
	}
	return nil
}

// inStep refuses a file whose tables took another way to their version than
// this program's: a step below it that was left out would never be made up
// for, and what another program made in its place is not known here.
func inStep(ctx context.Context, db *sql.DB, p *goose.Provider, have int64) error {
	made := make(map[int64]bool)
	rows, err := db.QueryContext(ctx, "SELECT version_id FROM goose_db_version WHERE is_applied AND version_id > 0")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var version int64
		if err := rows.Scan(&version); err != nil {
			return err
		}
		made[version] = true
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, s := range p.ListSources() {
		if s.Version <= have && !made[s.Version] {
			return fmt.Errorf("its tables are of version %d and lack version %d: it was made by a program of another line, and cannot be brought up to date", have, s.Version)
		}
		delete(made, s.Version)
	}
	if unknown := slices.Sorted(maps.Keys(made)); len(unknown) > 0 {
		return fmt.Errorf("its tables have a version %d that this program does not know: it was made by a program of another line", unknown[0])
	}
	return nil
}

// ours tells our database, and an empty file, from those of other programs.
func ours(ctx context.Context, db *sql.DB) error {
	var id, tables int
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return err
	}
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE name NOT GLOB 'goose_*' AND name NOT GLOB 'sqlite_*'").Scan(&tables); err != nil {
		return err
	}
	if id != applicationID && (id != 0 || tables > 0) {
		return errors.New("it is the database of another program")
	}
	return nil
}
