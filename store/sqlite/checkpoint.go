package sqlite

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"

	"behest/command"
)

// checkpoint is where the log was cut: it says that the chain was whole up to
// event n, and what the rest is chained to.
type checkpoint struct {
	n         int64 // of the last event that is gone
	epoch     uint32
	at        int64 // when that was sealed
	hash      []byte
	signedAt  int64
	key       ed25519.PublicKey
	signature []byte
}

// checkpointMark begins what is signed, so that a signature of something else
// is never one of a checkpoint.
const checkpointMark = "behest log checkpoint 1\n"

// message is what is signed: the mark, the store's genesis, the numbers as
// eight bytes each, and the hash. The genesis ties it to its store.
func (c *checkpoint) message(genesis []byte) []byte {
	b := append([]byte(checkpointMark), genesis...)
	for _, v := range []uint64{uint64(c.n), uint64(c.epoch), uint64(c.at), uint64(c.signedAt)} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return append(b, c.hash...)
}

// sign signs c with k.
func (c *checkpoint) sign(genesis []byte, k logKey) {
	c.key = k.public()
	c.signature = ed25519.Sign(k.private, c.message(genesis))
}

// verify answers nil when the key signed c as it is.
func (c *checkpoint) verify(genesis []byte, key ed25519.PublicKey) error {
	if !bytes.Equal(c.key, key) {
		return fmt.Errorf("the log was cut at event %d under another key", c.n)
	}
	if !ed25519.Verify(key, c.message(genesis), c.signature) {
		return fmt.Errorf("the signature under the checkpoint of the log at event %d is wrong", c.n)
	}
	return nil
}

// checkpoint reads where the log was cut; nil: it is whole.
func (c *conn) checkpoint(ctx context.Context) (p *checkpoint, err error) {
	const q = `SELECT n, epoch, at, hash, signed_at, key, signature FROM checkpoint WHERE one = 1`
	err = c.each(ctx, q, func(r row) error {
		p = &checkpoint{
			n: r.int(0), epoch: uint32(r.int(1)), at: r.int(2), hash: r.bytes(3),
			signedAt: r.int(4), key: r.bytes(5), signature: r.bytes(6),
		}
		return nil
	})
	return p, err
}

// start is the chain before the first row of the log.
func (p *checkpoint) start(genesis []byte) chain {
	if p == nil {
		return chain{hash: genesis}
	}
	return chain{n: p.n, at: p.at, hash: p.hash}
}

// cutting says how far the log may go.
type cutting struct {
	now    int64
	before int64 // rows that were sealed before this may go, up to event needed
	needed int64
	last   int64 // those that were sealed before this go also if somebody needs them
}

// keeps reports whether the row stays.
func (c *cutting) keeps(s *sealed) bool {
	return s.at >= c.before || s.n+s.count-1 > c.needed && s.at >= c.last
}

// cut takes whole rows off the beginning of the log. The last row stays: the
// chain goes on from it. It answers whether there may be more.
//
// What is signed was verified on the way, from one checkpoint to the next, so
// that a signature never makes good what somebody changed.
func (t *tx) cut(c cutting, b *budget) (more bool, err error) {
	ctx := context.Background()
	from, err := t.w.conn.checkpoint(ctx)
	if err != nil {
		return false, t.failed(err)
	}
	if from != nil {
		if err := from.verify(t.w.genesis, t.w.s.key.public()); err != nil {
			return false, err
		}
	}
	end, next := from.start(t.w.genesis), checkpoint{signedAt: c.now}
	err = t.w.conn.each(ctx, `SELECT `+logColumns+` FROM log WHERE n > ? ORDER BY n LIMIT +?`, func(r row) error {
		s := readSealed(r)
		last := s.n + s.count - 1
		if c.keeps(&s) || last >= t.w.log.n {
			return errEnough
		}
		if s.n != end.n+1 || !bytes.Equal(s.chained(end.hash), s.hash) {
			return fmt.Errorf("the log does not match its hash at event %d, and is not cut there: server check says more", s.n)
		}
		end = chain{n: last, at: s.at, hash: s.hash}
		next.n, next.epoch, next.at, next.hash = end.n, s.epoch, end.at, end.hash
		b.removed.Events += s.count
		if b.bytes -= len(s.events); !b.spend(1) {
			more = true
			return errEnough
		}
		return nil
	}, end.n, int64(stepRows))
	if err != nil && !errors.Is(err, errEnough) {
		return false, t.failed(err)
	}
	if next.n == 0 {
		return false, nil
	}
	next.sign(t.w.genesis, t.w.s.key)
	return more, t.writeCheckpoint(&next)
}

// writeCheckpoint deletes what is before p, and says so in the same commit.
func (t *tx) writeCheckpoint(p *checkpoint) error {
	if _, _, err := t.write(`DELETE FROM log WHERE n <= ?`, p.n); err != nil {
		return fmt.Errorf("cut the log: %w", err)
	}
	_, _, err := t.write(`INSERT OR REPLACE INTO checkpoint (one, n, epoch, at, hash, signed_at, key, signature) VALUES (1, ?, ?, ?, ?, ?, ?, ?)`,
		p.n, int64(p.epoch), p.at, p.hash, p.signedAt, []byte(p.key), p.signature)
	if err != nil {
		return fmt.Errorf("write a checkpoint of the log: %w", err)
	}
	return nil
}

// noEvent is what is said of a place that the log does not have.
func (c *conn) noEvent(ctx context.Context, at command.Place) error {
	p, err := c.checkpoint(ctx)
	if err != nil {
		return err
	}
	if p != nil && at.N > 0 && at.N <= p.n && at.Epoch <= p.epoch {
		return command.Errorf(command.CodeNotFound, "event %s is not kept any more: the log goes on after event %s", at, command.Place{Epoch: p.epoch, N: p.n})
	}
	return command.Errorf(command.CodeNotFound, "the log has no event %s", at)
}
