package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
)

// checkGoing counts what is being removed, of which nothing may be open.
func checkGoing(ctx context.Context, c *conn, report *Report) error {
	if report.Schema < retentionSchema {
		return nil
	}
	r, err := c.one(ctx, `SELECT count(*) FROM going`)
	if err != nil {
		return err
	}
	report.Going = r.int(0)
	return c.each(ctx, `SELECT n FROM command WHERE coalesce(head, n) IN (SELECT command FROM going) AND state BETWEEN 1 AND 7`, func(r row) error {
		report.fault("execution %d is open, and its command is being removed", r.int(0))
		return nil
	})
}

// checkCut verifies the signature under which the log was cut, if it was, with
// the key beside the database.
func checkCut(ctx context.Context, c *conn, report *Report, genesis []byte, dir string) (*checkpoint, error) {
	if report.Schema < retentionSchema {
		return nil, nil
	}
	p, err := c.checkpoint(ctx)
	if err != nil || p == nil {
		return nil, err
	}
	report.Cut = p.n
	key, err := readLogKeyPublic(dir)
	if err == nil {
		err = p.verify(genesis, key)
	}
	if err != nil {
		report.fault("the log was cut at event %d, and nothing vouches for it: %v", p.n, err)
	}
	return p, nil
}

// checkLog walks the whole chain. The key that signs where it was cut is in dir;
// a is what it is held against, or nil.
func checkLog(dir string, a *anchors) func(context.Context, *conn, *Report) error {
	return func(ctx context.Context, c *conn, report *Report) error {
		return checkChain(ctx, c, report, dir, a)
	}
}

func checkChain(ctx context.Context, c *conn, report *Report, dir string, a *anchors) error {
	m, err := readMeta(ctx, c)
	if err != nil {
		return err
	}
	report.Epoch = m.epoch
	p, err := checkCut(ctx, c, report, m.genesis, dir)
	if err != nil {
		return err
	}
	end, epoch := p.start(m.genesis), uint32(0)
	a.read(report, m.genesis, dir)
	if p != nil {
		epoch = p.epoch
		a.meet(report, p.n, p.epoch, p.hash)
	}
	err = c.each(ctx, `SELECT `+logColumns+` FROM log ORDER BY n`, func(r row) error {
		s := readSealed(r)
		if s.n != end.n+1 {
			report.fault("the log goes on with event %d after event %d", s.n, end.n)
		}
		if s.at < end.at || s.epoch < epoch || s.epoch > m.epoch {
			report.fault("the log goes back in time or epoch at event %d", s.n)
		}
		if string(s.chained(end.hash)) != string(s.hash) {
			report.fault("the log does not match its hash at event %d", s.n)
		}
		events, err := unpackEvents(&s)
		if err != nil {
			report.fault("the log cannot be read at event %d: %v", s.n, err)
		}
		for _, e := range events {
			if len(e.Data) > 0 && !json.Valid(e.Data) {
				report.fault("event %d: its data is no JSON", e.N)
			}
		}
		epoch, end = s.epoch, chain{n: s.n + s.count - 1, at: s.at, hash: s.hash}
		a.meet(report, end.n, epoch, end.hash)
		return nil
	})
	if p != nil && report.Groups == 0 {
		report.fault("the log ends where it was cut, at event %d; its last row never goes", p.n)
	}
	if err == nil {
		a.rest(report, report.Cut, end.n)
	}
	report.Events, report.Hash = end.n, fmt.Sprintf("%x", end.hash)
	return err
}
