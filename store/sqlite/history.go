package sqlite

import (
	"context"
	"database/sql/driver"

	"behest/command"
)

// Commands lists commands, newest first.
//
// What a command on one device can be asked by, SQL answers. What a command
// on many came to is counted, so those are looked at one by one.
func (s *Store) Commands(ctx context.Context, f command.Filter) (views []command.View, more bool, err error) {
	limit := page(f.Limit, command.PageMax)
	if f.Sees != nil {
		views, err = s.commandsSeen(ctx, f, limit)
		return views[:min(len(views), limit)], len(views) > limit, err
	}
	q := newHistory(f)
	err = s.snapshot(ctx, func(c *conn) error {
		for len(views) <= limit {
			got, err := c.viewsOf(ctx, q.text, append(q.args[:len(q.args):len(q.args)], int64(limit)+1)...)
			if err != nil {
				return err
			}
			for _, v := range got {
				if matches(v, f) {
					views = append(views, v)
				}
			}
			if len(got) <= limit {
				return nil
			}
			q.args[0] = got[len(got)-1].Command.N
		}
		return nil
	})
	if len(views) > limit {
		return views[:limit], true, err
	}
	return views, false, err
}

// ofDevice asks for a column of the executions on a device. Their index has a
// span for every 4,096 rows, so that is looked into once for each.
func ofDevice(column, name string) (query string, args []driver.Value) {
	return `WITH RECURSIVE span (k) AS (
			SELECT max(n) >> 12 FROM command
			UNION ALL SELECT k - 1 FROM span WHERE k > (SELECT min(n) >> 12 FROM command))
		SELECT ` + column + ` FROM device d CROSS JOIN span CROSS JOIN command x
		ON x.n >> 12 = span.k AND x.device = d.handle WHERE d.name = +?`, []driver.Value{name}
}

// history is the query behind a filter. Its first argument is the row before
// which it begins.
type history struct {
	text string
	args []driver.Value
}

func newHistory(f command.Filter) history {
	before := f.Before
	if before <= 0 {
		before = 1<<63 - 1
	}
	q := history{text: `WHERE h.n < ? AND h.id IS NOT NULL AND ` + staying, args: []driver.Value{before}}
	and := func(condition string, args ...driver.Value) {
		q.text += ` AND ` + condition
		q.args = append(q.args, args...)
	}
	if f.Device != "" {
		rows, args := ofDevice(`coalesce(x.head, x.n)`, f.Device)
		and(`h.n IN (`+rows+`)`, args...)
	}
	if f.Type != "" {
		and(`h.kind IN (SELECT n FROM kind WHERE type = +?)`, f.Type)
	}
	if f.RequestedBy != "" {
		and(`h.who = (SELECT n FROM who WHERE name = +?)`, f.RequestedBy)
	}
	if !f.CreatedAfter.IsZero() {
		and(`h.created_at > ?`, f.CreatedAfter.UnixMilli())
	}
	if !f.CreatedBefore.IsZero() {
		and(`h.created_at < ?`, f.CreatedBefore.UnixMilli())
	}
	if f.State != "" {
		state, _ := command.ParseState(f.State) // else only a command on many can match
		and(`(h.device IS NULL OR h.state = +?)`, int64(state))
	}
	switch f.State { // few are, and those have an index
	case command.GatePaused.String(), command.GateHalted.String():
		and(`h.n IN (SELECT command FROM gate)`)
	case command.AwaitingApproval.String():
		and(`h.n IN (SELECT n FROM command WHERE state = 1 AND head IS NULL UNION ALL ` + awaitingGates + `)`)
	}
	if f.Outcome != command.Open {
		and(`(h.device IS NULL OR h.state >= 8)`)
	}
	q.text, q.args = withLabels(q.text, q.args, "h.extra", "$.labels", f.Label)
	q.text += ` ORDER BY h.n DESC LIMIT +?`
	return q
}

// matches holds v against what SQL did not ask.
func matches(v command.View, f command.Filter) bool {
	return (f.State == "" || v.State() == f.State) && (f.Outcome == command.Open || v.Tally.Outcome() == f.Outcome)
}

// viewsOf are the commands that viewSelect and the rest of the query find.
func (c *conn) viewsOf(ctx context.Context, rest string, args ...driver.Value) (views []command.View, err error) {
	err = c.each(ctx, viewSelect+rest, func(r row) error {
		v, err := readView(r)
		views = append(views, v)
		return err
	}, args...)
	for i := range views {
		if err == nil {
			err = c.count(ctx, &views[i])
		}
	}
	return views, err
}
