package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/mattn/go-sqlite3"
)

// Names beside the database.
const (
	restoringSuffix = ".restoring" // the copy until it is whole; a restore that crashed leaves it
	replacedSuffix  = ".replaced"  // what was there before
)

// copyPages is how many pages are copied between two looks at the context: 4 MiB.
const copyPages = 1024

// Restoring is what to restore.
type Restoring struct {
	From    string // the backup
	Replace bool   // a database that is there, which is kept under another name
	Lost    uint32 // an epoch that is known to have been; 0: none but those in the files
	Logger  *slog.Logger
	// Now says what time it is, by what the backup knows of time.
	Now func(context.Context, *Store) (time.Time, error)
	// End ends all that is open, in a store that runs and that nobody else has.
	End func(context.Context, *Store) error
	// Progress hears how far copying is; nil: nobody asks.
	Progress func(done, pages int)
}

// Restored is what came of it.
type Restored struct {
	Epoch  Epoch
	Report Report // the check of the database as it is now
	Kept   string // where the database is that was replaced; empty: there was none
}

// UnsoundError says that a database has faults.
type UnsoundError struct{ Report Report }

func (e *UnsoundError) Error() string {
	return fmt.Sprintf("it has %d faults, the first: %s", len(e.Report.Faults)+e.Report.Left, e.Report.Faults[0])
}

// Restore puts a backup in the place of the database at path, as a new epoch in
// which nothing is open. Until the last step what is there stays as it is:
// docs/decisions/0019-restore.md.
func Restore(ctx context.Context, path string, o Restoring) (r Restored, err error) {
	if path, err = filepath.Abs(path); err == nil {
		r, err = restore(ctx, path, o)
	}
	if err != nil {
		return r, fmt.Errorf("restore %s: %w", path, err)
	}
	return r, nil
}

func restore(ctx context.Context, path string, o Restoring) (r Restored, err error) {
	if err := place(path); err != nil {
		return r, err
	}
	held, err := lock(path)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	if r.Kept, err = replaced(path, o.Replace); err != nil {
		return r, err
	}
	if r.Kept != "" {
		// One that cannot be read is what people restore for: then they say.
		if was, err := epochOf(ctx, path); err == nil {
			o.Lost = max(o.Lost, was)
		} else if o.Lost == 0 {
			return r, fmt.Errorf("the epoch of the database that is there cannot be read (%w): say the greatest that it may have had with --lost-epoch, as event ids and checkpoints have it", err)
		}
	}
	copied := path + restoringSuffix
	if same(o.From, copied) {
		return r, fmt.Errorf("%s is what an earlier restore left, and no backup", o.From)
	}
	if err := errors.Join(removeDatabase(copied), touch(copied)); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, removeDatabase(copied)) }() // nothing is there if all went well
	if err := copyDatabase(ctx, o.From, copied, o.Progress); err != nil {
		return r, fmt.Errorf("copy the backup: %w", err)
	}
	if _, err := sound(ctx, copied); err != nil {
		return r, fmt.Errorf("the backup %s: %w", o.From, err)
	}
	if r.Epoch, err = renew(ctx, copied, o); err != nil {
		return r, err
	}
	if r.Report, err = sound(ctx, copied); err != nil {
		return r, fmt.Errorf("what was made of the backup: %w", err)
	}
	return r, install(copied, path, r.Kept)
}

// replaced is where the database at path is kept, if one is there and may be
// replaced.
func replaced(path string, may bool) (string, error) {
	for _, suffix := range []string{"", "-wal"} {
		_, err := os.Lstat(path + suffix)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		if !may {
			return "", fmt.Errorf("%s is there already: say --replace, or move it elsewhere with the files beside it", filepath.Base(path+suffix))
		}
		kept := path + replacedSuffix
		if same(path, kept) { // a restore crashed before it put the copy in its place
			return kept, os.Remove(kept)
		}
		for _, suffix := range []string{"", "-wal"} {
			if _, err := os.Lstat(kept + suffix); !errors.Is(err, fs.ErrNotExist) {
				return "", errors.Join(fmt.Errorf("%s is there from an earlier restore: move it elsewhere", kept+suffix), err)
			}
		}
		return kept, nil
	}
	return "", nil
}

// same reports whether two names are of one file.
func same(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// removeDatabase removes a copy, and what was beside it.
func removeDatabase(path string) error {
	var errs []error
	for _, suffix := range []string{"", "-wal", "-shm", "-journal", ".lock"} {
		if err := os.Remove(path + suffix); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// copyDatabase copies pages, those of a write-ahead log included. It is for a
// file that is thrown away if anything fails, so it needs no journal.
func copyDatabase(ctx context.Context, from, to string, progress func(done, pages int)) (err error) {
	src, leave, err := onlook(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leave()) }()
	opened, err := (&sqlite3.SQLiteDriver{}).Open("file:" + uriPath(to) + "?mode=rw&_journal_mode=OFF&_synchronous=OFF")
	if err != nil {
		return err
	}
	dst := opened.(*sqlite3.SQLiteConn)
	defer func() { err = errors.Join(err, dst.Close()) }()
	b, err := dst.Backup("main", src.c, "main")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	for done := false; !done; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if done, err = b.Step(copyPages); err != nil {
			return err
		}
		if progress != nil {
			progress(b.PageCount()-b.Remaining(), b.PageCount())
		}
	}
	return nil
}

// sound checks a database, and answers with an error if anything is wrong.
func sound(ctx context.Context, path string) (Report, error) {
	report, err := Check(ctx, path)
	if err == nil && len(report.Faults) > 0 {
		err = &UnsoundError{report}
	}
	return report, err
}

// renew makes a new epoch of a copy, and ends what is open in it.
func renew(ctx context.Context, path string, o Restoring) (e Epoch, err error) {
	s, err := Open(ctx, path, Options{Logger: o.Logger, RideAlong: time.Millisecond})
	if err != nil {
		return e, err
	}
	ran := make(chan error, 1)
	go func() { ran <- s.Run(context.WithoutCancel(ctx)) }() // Close ends it
	defer func() {
		err = errors.Join(err, s.Close(), <-ran)
	}()
	now, err := o.Now(ctx, s)
	if err != nil {
		return e, err
	}
	if e, err = s.openEpoch(ctx, now, o.Lost); err != nil {
		return e, err
	}
	return e, o.End(ctx, s)
}

// install puts the copy in its place. There is a database at path at any moment
// if there was one: a server that finds none would make an empty one.
func install(copied, path, kept string) error {
	if _, err := os.Stat(copied + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(errors.New("the copy was not closed in good order"), err)
	}
	f, err := os.OpenFile(copied, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if kept != "" {
		if err := keep(path, kept); err != nil {
			return err
		}
	}
	// If we crash here, all is as it was, but for a name.
	if err := os.Rename(copied, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// keep gives the database at path another name beside its own, and takes its
// write-ahead log from it: SQLite would take that for the restored one's. What is
// in that goes into the file before, unless the file is damaged.
func keep(path, kept string) error {
	if _, err := os.Stat(path); err == nil {
		if c, err := connect(path, writing); err == nil {
			_ = c.close() // writes the log back, or the log stays and is kept as it is
		}
	}
	if err := os.Link(path, kept); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(path+"-wal", kept+"-wal"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Remove(path + "-shm"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(filepath.Dir(path))
}
