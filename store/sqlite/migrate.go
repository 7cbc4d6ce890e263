package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io/fs"

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
	if have == want {
		return nil
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bring the tables from version %d to %d: %w", have, want, err)
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
