package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"

	"behest/command"
)

// meta is what the table of that name says.
type meta struct {
	epoch   uint32
	base    uint32
	genesis []byte
}

func readMeta(ctx context.Context, c *conn) (m meta, err error) {
	err = c.each(ctx, `SELECT name, value FROM meta`, func(r row) error {
		switch r.text(0) {
		case "epoch":
			m.epoch = uint32(r.int(1))
		case "base":
			m.base = uint32(r.int(1))
		case "genesis":
			m.genesis = r.bytes(1)
		}
		return nil
	})
	if err == nil && (m.epoch == 0 || len(m.genesis) != sha256.Size) {
		err = errors.New("the table meta is damaged")
	}
	return m, err
}

// chain is the end of the log.
type chain struct {
	n    int64 // the number of the last event
	at   int64 // when it was sealed: never before the one before it
	hash []byte
}

// sealed is a row of the log.
type sealed struct {
	n      int64 // of its first event
	count  int64
	epoch  uint32
	at     int64
	events []byte
	hash   []byte
}

// seal makes the row that continues the log with events, and the new end.
func (c chain) seal(epoch uint32, now int64, events []command.Event) (sealed, chain) {
	r := sealed{n: c.n + 1, count: int64(len(events)), epoch: epoch, at: max(now, c.at)}
	r.events = appendEvents(nil, r.at, events)
	r.hash = r.chained(c.hash)
	return r, chain{n: c.n + r.count, at: r.at, hash: r.hash}
}

// chained is the hash of the row when before is the hash of the row before:
// of that, the numbers as eight bytes each, and the events.
func (r *sealed) chained(before []byte) []byte {
	b := make([]byte, 0, len(before)+4*8+len(r.events))
	b = append(b, before...)
	for _, v := range []uint64{uint64(r.n), uint64(r.count), uint64(r.epoch), uint64(r.at)} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	h := sha256.Sum256(append(b, r.events...))
	return h[:]
}

const logColumns = `n, count, epoch, at, events, hash`

const addSealed = `INSERT INTO log (` + logColumns + `) VALUES (?, ?, ?, ?, ?, ?)`

func (r *sealed) values() []driver.Value {
	return []driver.Value{r.n, r.count, int64(r.epoch), r.at, r.events, r.hash}
}

func readSealed(r row) sealed {
	return sealed{n: r.int(0), count: r.int(1), epoch: uint32(r.int(2)), at: r.int(3), events: r.bytes(4), hash: r.bytes(5)}
}

// readChain reads the end of the log, and holds its last row against the hash
// of the one before, which may be gone.
func readChain(ctx context.Context, c *conn, m meta) (chain, error) {
	var last []sealed
	err := c.each(ctx, `SELECT `+logColumns+` FROM log ORDER BY n DESC LIMIT 2`, func(r row) error {
		last = append(last, readSealed(r))
		return nil
	})
	if err != nil {
		return chain{}, err
	}
	p, err := c.checkpoint(ctx)
	if err != nil || len(last) == 0 {
		return p.start(m.genesis), err
	}
	before := p.start(m.genesis).hash
	if len(last) > 1 {
		before = last[1].hash
	}
	end := last[0]
	if string(end.chained(before)) != string(end.hash) {
		return chain{}, fmt.Errorf("the last row of the log, from event %d on, does not match its hash", end.n)
	}
	return chain{n: end.n + end.count - 1, at: end.at, hash: end.hash}, nil
}
