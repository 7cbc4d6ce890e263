package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	_ "github.com/mattn/go-sqlite3"

	"behest/store/sqlite"
)

// made makes an empty store and answers with its file.
func made(t testing.TB) string {
	t.Helper()
	path := file(t.TempDir())
	s, err := sqlite.Open(context.Background(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// alter runs SQL on a file that nobody has open.
func alter(t testing.TB, path, q string) {
	t.Helper()
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(q)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatalf("%s: %v", q, err)
	}
}

// query reads the first column of what q finds in the file.
func query(t testing.TB, path, q string, args ...any) (column []string) {
	t.Helper()
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(q, args...)
	if err != nil {
		t.Fatalf("%s: %v", q, err)
	}
	defer rows.Close()
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			t.Fatal(err)
		}
		column = append(column, v)
	}
	return column
}

// TestWhatCannotBeOpenedSaysWhy wants one line for a person.
func TestWhatCannotBeOpenedSaysWhy(t *testing.T) {
	write := func(t *testing.T, path string, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rows := []struct {
		name    string
		prepare func(t *testing.T) (path string)
		says    string
	}{
		{"a directory", func(t *testing.T) string { return t.TempDir() }, "it is a directory"},
		{"below a file", func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "file")
			write(t, path, nil)
			return file(path)
		}, "not a directory"},
		{"no database", func(t *testing.T) string {
			path := file(t.TempDir())
			write(t, path, []byte(strings.Repeat("hello, I am a text file\n", 200)))
			return path
		}, "no database"},
		{"cut short", func(t *testing.T) string {
			path := made(t)
			if err := os.Truncate(path, 3*4096); err != nil {
				t.Fatal(err)
			}
			return path
		}, "damaged"},
		{"pages overwritten", func(t *testing.T) string {
			path := made(t)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for i := 4096; i < len(b); i += 4096 {
				copy(b[i:i+64], strings.Repeat("\xa5", 64))
			}
			write(t, path, b)
			return path
		}, "damaged"},
		{"another program's", func(t *testing.T) string {
			path := file(t.TempDir())
			alter(t, path, `CREATE TABLE bookmarks (url TEXT)`)
			return path
		}, "another program"},
		{"another program's by its mark", func(t *testing.T) string {
			path := file(t.TempDir())
			alter(t, path, `PRAGMA application_id = 7`)
			return path
		}, "another program"},
		{"from a newer version", func(t *testing.T) string {
			path := made(t)
			alter(t, path, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)`)
			return path
		}, "newer version of this program made it"},
		{"with a step left out", func(t *testing.T) string {
			path := made(t)
			alter(t, path, `DELETE FROM goose_db_version WHERE version_id = 6`)
			return path
		}, "lack version 6"},
		{"with a step that is not ours", func(t *testing.T) string {
			path := made(t)
			alter(t, path, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (7, 1)`)
			return path
		}, "version 7 that this program does not know"},
		{"a log whose end was changed", func(t *testing.T) string {
			path := made(t)
			alter(t, path, `INSERT INTO log VALUES (1, 1, 1, 1, x'00', randomblob(32))`)
			return path
		}, "does not match its hash"},
		{"without its facts", func(t *testing.T) string {
			path := made(t)
			alter(t, path, `DELETE FROM meta WHERE name = 'genesis'`)
			return path
		}, "meta is damaged"},
		{"read-only", readOnly, "cannot be written"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			path := row.prepare(t)
			for range 2 { // the second time too: nothing was left open or locked
				s, err := sqlite.Open(context.Background(), path, sqlite.Options{})
				if err == nil {
					s.Close()
					t.Fatal("it was opened")
				}
				if text := err.Error(); !strings.Contains(text, row.says) || !strings.Contains(text, path) || strings.Contains(text, "\n") {
					t.Errorf("it says %q, want a line with %q and the path", text, row.says)
				}
			}
		})
	}
}

// readOnly is a store on a filesystem, or in a directory, that takes no write.
func readOnly(t *testing.T) string {
	path := made(t)
	if os.Geteuid() == 0 {
		remount(t, filepath.Dir(path))
		return path
	}
	for name, mode := range map[string]os.FileMode{path: 0o400, filepath.Dir(path): 0o500} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Chmod(name, 0o700) })
	}
	return path
}

// TestANewStoreIsNobodyElses looks at the rights of what is made, below
// directories that were not there.
func TestANewStoreIsNobodyElses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b%20 ?#&", "behest.db")
	s, err := sqlite.Open(context.Background(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for name, want := range map[string]os.FileMode{
		filepath.Dir(path): 0o700, path: 0o600, path + "-wal": 0o600, path + "-shm": 0o600, path + ".lock": 0o600,
	} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has the mode %o, want %o", name, got, want)
		}
	}
}

// TestMigrationsAreNumberedWithoutAGap keeps the version a count. The seventh was
// never made, and never will be: a database that is past a number and lacks it is
// refused, so all that there are would be.
func TestMigrationsAreNumberedWithoutAGap(t *testing.T) {
	if err := fstest.TestFS(sqlite.Migrations, "migrations/0001_base.sql"); err != nil {
		t.Error(err)
	}
	files, err := sqlite.Migrations.ReadDir("migrations")
	if err != nil {
		t.Fatal(err)
	}
	missing := map[int]bool{7: true}
	n := 0
	for _, f := range files {
		for n++; missing[n]; n++ {
		}
		if want := fmt.Sprintf("%04d_", n); !strings.HasPrefix(f.Name(), want) {
			t.Errorf("%s: want %s first", f.Name(), want)
		}
	}
}
