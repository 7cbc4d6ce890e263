package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mattn/go-sqlite3"
)

// Options of a store. The zero value is the default.
type Options struct {
	Logger    *slog.Logger  // nil: slog.Default
	GroupMax  int           // units of work in a commit; 0: 512, past which little is gained
	GroupWork time.Duration // work before a commit; 0: 2 ms, about what a commit takes
	LaneMax   int           // units of work that wait in a lane; 0: 8,192, some seconds of work
	RideAlong time.Duration // how long a delivery waits for company; 0: 1 s
	Readers   int           // connections that read; 0: 4
	NewLogKey bool          // a new key signs where the log was cut: the old one was lost
}

func (o *Options) fill() {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.GroupMax = positive(o.GroupMax, 512)
	o.GroupWork = positive(o.GroupWork, 2*time.Millisecond)
	o.LaneMax = positive(o.LaneMax, 8192)
	o.RideAlong = positive(o.RideAlong, time.Second)
	o.Readers = positive(o.Readers, 4)
}

func positive[T int | time.Duration](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}

// Store is one database file. Run writes; any number of goroutines update
// and read.
type Store struct {
	// Set once.
	path    string
	opt     Options
	log     *slog.Logger
	lock    *os.File
	key     logKey // signs where the log is cut
	queue   *queue
	readers chan *conn // the pool: those that nobody uses
	changed signal     // the log has grown
	stats   stats
	step    stepFunc // runs each step of a commit; tests put theirs in its place

	// Shared.
	doubt   atomic.Bool // a write failed, and the file has not been opened anew
	running atomic.Bool
	ended   chan struct{} // closed when Run has returned
	closed  atomic.Bool
	shut    chan struct{} // closed when nothing can be read any more

	shutOnce sync.Once

	// Run's own.
	w *writer
}

// Open locks and opens the database at path, makes it if it is not there,
// and brings its tables up to date. Nothing runs yet: see Run. The error is
// one line for a person.
func Open(ctx context.Context, path string, o Options) (*Store, error) {
	o.fill()
	s, err := open(ctx, path, o)
	if err != nil {
		return nil, fmt.Errorf("open the store %s: %w", path, plain(err))
	}
	return s, nil
}

func open(ctx context.Context, path string, o Options) (_ *Store, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	if err := place(path); err != nil {
		return nil, err
	}
	locked, err := lock(path)
	if err != nil {
		return nil, err
	}
	s := &Store{
		path: path, opt: o, log: o.Logger, lock: locked,
		queue: newQueue(o), readers: make(chan *conn, o.Readers), ended: make(chan struct{}),
		shut: make(chan struct{}), step: func(_ step, do func() error) error { return do() },
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.disconnect(), locked.Close())
		}
	}()
	if err := touch(path); err != nil {
		return nil, err
	}
	if err := migrate(ctx, path); err != nil {
		return nil, err
	}
	if err := s.connect(); err != nil {
		return nil, err
	}
	if err := s.w.inspect(); err != nil {
		return nil, err
	}
	if err := s.loadLogKey(); err != nil {
		return nil, err
	}
	return s, syncDir(filepath.Dir(path))
}

// place sees to the directory, and refuses what cannot hold a database.
func place(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return errors.New("it is a directory")
	}
	name, err := networked(dir)
	if err != nil {
		return err
	}
	if name != "" {
		return fmt.Errorf("it is on %s, where a database would be damaged; use a local disk", name)
	}
	return nil
}

// touch makes the file with nobody else's rights, which SQLite then copies
// for the files beside it, and finds out whether it can be written.
func touch(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// syncDir makes the names of new files durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// plain says in a few words what most often keeps a store from opening.
func plain(err error) error {
	switch errNo(err) {
	case sqlite3.ErrNotADB:
		return fmt.Errorf("it is no database, or it is encrypted or damaged: %w", err)
	case sqlite3.ErrCorrupt:
		return fmt.Errorf("it is damaged; restore a backup: %w", err)
	case sqlite3.ErrReadonly:
		return fmt.Errorf("it cannot be written: %w", err)
	case sqlite3.ErrFull:
		return fmt.Errorf("the disk is full: %w", err)
	}
	var e *fs.PathError
	switch {
	case errors.As(err, &e) && (errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)):
		return fmt.Errorf("it cannot be written: %w", err)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("the disk is full: %w", err)
	}
	return err
}

// connect opens the writer and the readers, and reads what Run keeps in
// memory. After an error none is open.
func (s *Store) connect() error {
	w, err := newWriter(s)
	if err != nil {
		return err
	}
	var opened []*conn
	for range cap(s.readers) {
		c, err := connect(s.path, reading)
		if err != nil {
			errs := []error{err, w.conn.close()}
			for _, c := range opened {
				errs = append(errs, c.close())
			}
			return errors.Join(errs...)
		}
		opened = append(opened, c)
	}
	s.w = w
	for _, c := range opened {
		s.readers <- c
	}
	return nil
}

// disconnect waits for the reads that are going on, and closes every
// connection.
func (s *Store) disconnect() error {
	if s.w == nil {
		return nil
	}
	errs := []error{s.w.conn.close()}
	s.w = nil
	for range cap(s.readers) {
		errs = append(errs, (<-s.readers).close())
	}
	return errors.Join(errs...)
}

// Close shuts the intake, waits for Run to commit what was accepted, and
// closes the file.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.queue.close(shutDown())
	if s.running.Load() {
		<-s.ended
	}
	s.queue.refuse()
	s.shutOnce.Do(func() { close(s.shut) })
	return errors.Join(s.disconnect(), s.lock.Close())
}
