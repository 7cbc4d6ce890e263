package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"behest/command"
)

// Beginning is where an export begins: what the first commit is chained to.
type Beginning struct {
	Log   []byte // the log's own
	After int64  // the number of the event before; 0: none
	Hash  []byte
}

// Commit is one row of the log. Its hash is SHA-256 of the hash before, the
// numbers of the first event, the count, the epoch and the time in
// milliseconds as eight bytes each, and the packed events.
type Commit struct {
	First    int64
	Epoch    uint32
	SealedAt time.Time
	Packed   []byte
	Hash     []byte
	Events   []command.Event
}

// Exporter is told the log in order.
type Exporter interface {
	Begin(Beginning) error
	Commit(Commit) error
}

// Exporting is what is told to whom.
type Exporting struct {
	After command.Place // from the commit on that holds the next event; zero: from the oldest
	To    Exporter
}

// exportRows are the rows of one look: a longer one would keep a server beside
// it from reusing its journal.
const exportRows = 512

// Export tells the log of the database at path. It changes nothing and may run
// beside a server; then it tells what is there when it comes to the end. A row
// that does not match its hash ends it.
func Export(ctx context.Context, path string, what Exporting) (err error) {
	c, leave, err := onlook(path)
	if err != nil {
		return fmt.Errorf("export the log: %w", err)
	}
	defer func() { err = errors.Join(err, leave()) }()
	e := export{c: c, to: what.To}
	if err := e.begin(ctx, what.After); err != nil {
		return fmt.Errorf("export the log: %w", err)
	}
	for {
		rows, err := e.page(ctx)
		if err != nil {
			return fmt.Errorf("export the log: %w", err)
		}
		if rows < exportRows {
			return nil
		}
	}
}

type export struct {
	c   *conn
	to  Exporter
	end chain
}

// begin finds what the first row is chained to.
func (e *export) begin(ctx context.Context, after command.Place) error {
	m, err := readMeta(ctx, e.c)
	if err != nil {
		return err
	}
	if err := e.c.has(ctx, after); err != nil {
		return err
	}
	p, err := e.c.checkpoint(ctx)
	if err != nil {
		return err
	}
	e.end = p.start(m.genesis)
	err = e.c.each(ctx, `SELECT `+logColumns+` FROM log WHERE n + count - 1 <= +? ORDER BY n DESC LIMIT 1`, func(r row) error {
		s := readSealed(r)
		e.end = chain{n: s.n + s.count - 1, at: s.at, hash: s.hash}
		return nil
	}, after.N)
	if err != nil {
		return err
	}
	return e.to.Begin(Beginning{Log: m.genesis, After: e.end.n, Hash: e.end.hash})
}

// page tells some rows, as they are at one moment.
func (e *export) page(ctx context.Context) (rows int, err error) {
	if _, _, err := e.c.exec("BEGIN"); err != nil {
		return 0, err
	}
	defer func() {
		_, _, end := e.c.exec("COMMIT")
		err = errors.Join(err, end)
	}()
	err = e.c.each(ctx, `SELECT `+logColumns+` FROM log WHERE n > ? ORDER BY n LIMIT +?`, func(r row) error {
		rows++
		s := readSealed(r)
		if s.n != e.end.n+1 || !bytes.Equal(s.chained(e.end.hash), s.hash) {
			return fmt.Errorf("the log does not match its hash at event %d: server check says more, or it was cut meanwhile", s.n)
		}
		events, err := unpackEvents(&s)
		if err != nil {
			return err
		}
		named := listing{c: e.c, events: events}
		if err := named.name(ctx); err != nil {
			return err
		}
		e.end = chain{n: s.n + s.count - 1, at: s.at, hash: s.hash}
		return e.to.Commit(Commit{First: s.n, Epoch: s.epoch, SealedAt: fromMillis(s.at), Packed: s.events, Hash: s.hash, Events: events})
	}, e.end.n, int64(exportRows))
	return rows, err
}
