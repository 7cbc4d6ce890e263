package sqlite

import (
	"context"
	"database/sql/driver"
	"strings"

	"behest/command"
)

// No index leads to executions by their state, since each would cost every move
// of every execution. So a list looks from the newest on, in windows of rows
// between which nobody keeps a connection, and a page ends, however short, when
// enough was looked at. What is open is found by the index that is there for the
// turns of devices, what is a device's by that of histories.
const (
	lookWindow = 2_000   // rows at once: some milliseconds
	lookMax    = 500_000 // for a page: some 50 ms
)

// AllExecutions lists executions of all commands, the newest first. next is the
// row before which the next page begins; 0: there is none.
func (s *Store) AllExecutions(ctx context.Context, f command.ExecutionFilter) (xs []command.Execution, next int64, err error) {
	limit := page(f.Limit, command.PageMax)
	q, look := newPick(f), newSight(f.Sees)
	if next = f.Before; next <= 0 {
		next = 1<<63 - 1
	}
	for looked := 0; next > 0 && looked < lookMax && len(xs) <= limit; {
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		err := s.snapshot(ctx, func(c *conn) error {
			got, below, cost, err := q.window(ctx, c, next, limit+1-len(xs))
			next, looked = below, looked+cost
			for i := 0; i < len(got) && err == nil; i++ {
				seen := f.Sees == nil
				if !seen {
					seen, err = look.device(ctx, c, got[i].Device)
				}
				if seen {
					xs = append(xs, got[i])
				}
			}
			return err
		})
		if err != nil {
			return nil, 0, err
		}
	}
	if len(xs) > limit {
		return xs[:limit], xs[limit-1].N, nil
	}
	return xs, next, nil
}

// pick is what a filter asks of executions.
type pick struct {
	narrow string // a query for the rows, if an index has few; else they are looked for among all
	where  string
	args   []driver.Value // of narrow and where, in this order
}

func newPick(f command.ExecutionFilter) pick {
	var q pick
	switch {
	case f.Device != "":
		q.narrow, q.args = ofDevice(`x.n`, f.Device)
	case onlyOpen(f.States):
		q.narrow = `SELECT n FROM command WHERE device IS NOT NULL AND state < 8`
	}
	and := func(condition string, args ...driver.Value) {
		q.where += ` AND ` + condition
		q.args = append(q.args, args...)
	}
	if len(f.States) > 0 {
		var states []driver.Value
		for _, s := range f.States {
			states = append(states, int64(s))
		}
		and(`+x.state IN (`+marks(len(states))+`)`, states...)
	}
	if len(f.Effects) > 0 {
		var effects []driver.Value
		for _, e := range f.Effects {
			effects = append(effects, int64(e))
		}
		and(`+x.effect IN (`+marks(len(effects))+`)`, effects...)
	}
	if f.Type != "" {
		and(`h.kind IN (SELECT n FROM kind WHERE type = +?)`, f.Type)
	}
	if !f.CreatedAfter.IsZero() {
		and(`h.created_at > ?`, f.CreatedAfter.UnixMilli())
	}
	if !f.CreatedBefore.IsZero() {
		and(`h.created_at < ?`, f.CreatedBefore.UnixMilli())
	}
	return q
}

func marks(n int) string { return strings.TrimPrefix(strings.Repeat(`, ?`, n), `, `) }

func onlyOpen(states []command.State) bool {
	for _, s := range states {
		if s.Ended() {
			return false
		}
	}
	return len(states) > 0
}

// window reads up to limit of the executions that are picked among the next rows
// before one. It answers where the next window begins, 0 at the end, and how many
// rows were looked at.
func (q *pick) window(ctx context.Context, c *conn, before int64, limit int) (xs []command.Execution, below int64, cost int, err error) {
	const order = ` ORDER BY x.n DESC LIMIT +?`
	if q.narrow != "" {
		rest := `WHERE x.n IN (` + q.narrow + `) AND x.n < ? AND ` + staying
		n := strings.Count(q.narrow, `?`)
		args := append(append(append([]driver.Value{}, q.args[:n]...), before), q.args[n:]...)
		xs, err = c.executions(ctx, rest+q.where+order, append(args, int64(limit))...)
		if len(xs) == limit {
			below = xs[limit-1].N
		}
		return xs, below, limit, err
	}
	r, err := c.one(ctx, `SELECT (SELECT max(n) FROM command), (SELECT min(n) FROM command WHERE n > 0)`)
	if err != nil {
		return nil, 0, 0, err
	}
	before = min(before, r.int(0)+1)
	from := before - lookWindow
	args := append(append([]driver.Value{before, from}, q.args...), int64(limit))
	xs, err = c.executions(ctx, `WHERE x.n < ? AND x.n >= ? AND x.device IS NOT NULL AND `+staying+q.where+order, args...)
	switch {
	case len(xs) == limit:
		below = xs[limit-1].N
	case from > r.int(1):
		below = from
	}
	return xs, below, int(before - max(from, below)), err
}
