package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/mattn/go-sqlite3"
)

// The settings of every connection. Each is read back, see verify.
const (
	busyTimeout       = 5000     // milliseconds; only a person with a shell competes for the write lock
	walAutocheckpoint = 1000     // pages: 4 MiB, some ten milliseconds of copying
	journalSizeLimit  = 64 << 20 // bytes: what a burst made of the log is given back
	writerCache       = 64 << 10 // KiB: the indexes of some million commands
	readerCache       = 8 << 10  // KiB
)

// versionMin is the first SQLite without a fault that could corrupt a log
// which two connections check-point at once.
const versionMin = 3_051_003

// mode is what a connection may do.
type mode int

const (
	writing mode = iota
	reading
	checking // reads beside a server, or what a crash left
	alone    // reads a file that was closed, that nobody has open, and leaves it at that
)

// dsn is the address of the database at path.
func dsn(path string, m mode) string {
	q := url.Values{
		"_busy_timeout": {strconv.Itoa(busyTimeout)},
		"_foreign_keys": {"1"},
		"_synchronous":  {"FULL"},
		"_txlock":       {"immediate"},
		"_cache_size":   {strconv.Itoa(-readerCache)},
	}
	switch m {
	case writing:
		q.Set("mode", "rwc")
		q.Set("_journal_mode", "WAL")
		q.Set("_cache_size", strconv.Itoa(-writerCache))
	case reading:
		q.Set("mode", "rw")
		q.Set("_query_only", "1")
	case checking:
		q.Set("mode", "ro")
	case alone:
		q.Set("mode", "ro")
		q.Set("immutable", "1")
	}
	return "file:" + uriPath(path) + "?" + q.Encode()
}

// uriPath escapes a path, which alone needs it, in SQLite's terms of a URI.
func uriPath(path string) string { return (&url.URL{Path: path}).EscapedPath() }

// tune sets what the driver's address cannot.
func tune(c *sqlite3.SQLiteConn) error {
	for _, pragma := range []string{
		"mmap_size = 0", // a fault of a mapped disk is a signal, not an error
		"temp_store = MEMORY",
		"wal_autocheckpoint = " + strconv.Itoa(walAutocheckpoint),
		"journal_size_limit = " + strconv.Itoa(journalSizeLimit),
		"trusted_schema = 0",
	} {
		if _, err := c.Exec("PRAGMA "+pragma, nil); err != nil {
			return fmt.Errorf("set %s: %w", pragma, err)
		}
	}
	return nil
}

// settings is what must read back from a connection, or it is not used.
func settings(m mode) map[string]string {
	want := map[string]string{
		"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": strconv.Itoa(busyTimeout),
		"mmap_size": "0", "wal_autocheckpoint": strconv.Itoa(walAutocheckpoint),
		"journal_size_limit": strconv.Itoa(journalSizeLimit), "query_only": "0",
	}
	switch m {
	case reading:
		want["query_only"] = "1"
	case alone:
		delete(want, "journal_mode") // it has none while nothing can change
	}
	return want
}

// conn is one connection with its prepared statements. One goroutine uses it
// at a time.
type conn struct {
	c     *sqlite3.SQLiteConn
	stmts map[string]*stmt
}

// stmt is a prepared statement with room for its arguments and one row.
type stmt struct {
	s    *sqlite3.SQLiteStmt
	args []driver.NamedValue
	row  row
}

// connect opens a connection and reads its settings back.
func connect(path string, m mode) (*conn, error) {
	opened, err := (&sqlite3.SQLiteDriver{}).Open(dsn(path, m))
	if err != nil {
		return nil, err
	}
	c := &conn{c: opened.(*sqlite3.SQLiteConn), stmts: make(map[string]*stmt)}
	if err = tune(c.c); err == nil {
		err = c.verify(settings(m))
	}
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// verify asserts that the connection is set as it must be.
func (c *conn) verify(want map[string]string) error {
	if name, number, _ := sqlite3.Version(); number < versionMin {
		return fmt.Errorf("SQLite %s can corrupt its log: 3.51.3 or newer is needed", name)
	}
	for name, value := range want {
		r, err := c.one(context.Background(), "PRAGMA "+name)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if got := strings.ToLower(fmt.Sprint(r[0])); got != value {
			return fmt.Errorf("%s reads back as %s, not as %s", name, got, value)
		}
	}
	return nil
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.stmts {
		errs = append(errs, s.s.Close())
	}
	return errors.Join(append(errs, c.c.Close())...)
}

// prepared answers with the statement of text q, and binds args to it.
//
// In a comparison a parameter is written with a plus, as in n = +?. Without
// it SQLite looks at the parameter's value when it plans a join, and prepares
// the statement anew, at ten times the cost of running it, each time the
// driver binds another.
func (c *conn) prepared(q string, args []driver.Value) (*stmt, error) {
	s := c.stmts[q]
	if s == nil {
		p, err := c.c.Prepare(q)
		if err != nil {
			return nil, fmt.Errorf("prepare %.60q: %w", q, err)
		}
		s = &stmt{s: p.(*sqlite3.SQLiteStmt), args: make([]driver.NamedValue, len(args))}
		for i := range s.args {
			s.args[i].Ordinal = i + 1
		}
		c.stmts[q] = s
	}
	for i, a := range args {
		s.args[i].Value = a
	}
	return s, nil
}

// exec runs q, and answers with how many rows it changed and the row that it
// added. It cannot be canceled: a goroutine for each statement would be the
// price.
func (c *conn) exec(q string, args ...driver.Value) (changed, added int64, err error) {
	s, err := c.prepared(q, args)
	if err != nil {
		return 0, 0, err
	}
	res, err := s.s.ExecContext(context.Background(), s.args)
	if err != nil {
		return 0, 0, err
	}
	changed, _ = res.RowsAffected() // neither fails in this driver
	added, _ = res.LastInsertId()
	return changed, added, nil
}

// each calls f with every row of q. The row is f's until it returns; the
// bytes in it are f's for ever. f runs no statement of the same text.
func (c *conn) each(ctx context.Context, q string, f func(row) error, args ...driver.Value) (err error) {
	s, err := c.prepared(q, args)
	if err != nil {
		return err
	}
	rows, err := s.s.QueryContext(ctx, s.args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if s.row == nil {
		s.row = make(row, len(rows.Columns()))
	}
	for {
		switch err := rows.Next(s.row); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := f(s.row); err != nil {
			return err
		}
	}
}

// one answers with the first row of q, or nil. It is the caller's until q
// runs again.
func (c *conn) one(ctx context.Context, q string, args ...driver.Value) (first row, err error) {
	err = c.each(ctx, q, func(r row) error {
		if first == nil {
			first = r
		}
		return nil
	}, args...)
	return first, err
}

// row is one row of a result. Columns that are NULL read as zero.
type row []driver.Value

func (r row) int(i int) int64 {
	v, _ := r[i].(int64)
	return v
}

func (r row) bytes(i int) []byte {
	v, _ := r[i].([]byte)
	return v
}

func (r row) text(i int) string {
	v, _ := r[i].(string)
	return v
}

func (r row) null(i int) bool { return r[i] == nil }
