package sqlite

import (
	"context"
	"fmt"

	"behest/command"
)

// decisions are what people said of the command in row n, in the order in
// which they said it.
func (c *conn) decisions(ctx context.Context, n int64) (said []command.Decision, err error) {
	const q = `SELECT w.name, s.approve, s.comment, s.at, s.digest FROM decision s JOIN who w ON w.n = s.who WHERE s.command = +? ORDER BY s.k`
	err = c.each(ctx, q, func(r row) error {
		d := command.Decision{User: r.text(0), Approve: r.int(1) != 0, Comment: r.text(2), At: fromMillis(r.int(3))}
		copy(d.Digest[:], r.bytes(4))
		said = append(said, d)
		return nil
	}, n)
	return said, err
}

func (t *tx) Decisions(commandN int64) ([]command.Decision, error) {
	said, err := t.w.conn.decisions(context.Background(), commandN)
	return said, t.failed(err)
}

func (t *tx) AddDecision(commandN int64, d command.Decision) error {
	who, err := t.who(d.User)
	if err == nil {
		approve := int64(0)
		if d.Approve {
			approve = 1
		}
		_, _, err = t.write(`INSERT INTO decision (command, k, who, approve, comment, at, digest)
			SELECT ?1, coalesce(max(k), 0) + 1, ?2, ?3, ?4, ?5, ?6 FROM decision WHERE command = +?1`,
			commandN, who, approve, textOrNull(d.Comment), d.At.UnixMilli(), d.Digest[:])
	}
	if isDuplicate(err) {
		return command.Errorf(command.CodeConflict, "%q has decided already", d.User)
	}
	if err != nil {
		return fmt.Errorf("add a decision on command row %d: %w", commandN, err)
	}
	return nil
}

// awaitingGates are the gates that wait for approvals, in the words of their
// index; 1 is command.GateAwaiting.
const awaitingGates = `SELECT command FROM gate WHERE json_extract(body, '$.state') = 1`

// Awaiting lists commands after a row that wait for approvals, the oldest
// first: those on one device whose execution does, and those whose gate does.
func (s *Store) Awaiting(ctx context.Context, after int64, limit int) (views []command.View, more bool, err error) {
	const where = `WHERE h.n IN (
		SELECT n FROM command WHERE state = 1 AND head IS NULL AND n > ?1
		UNION ALL ` + awaitingGates + ` AND command > ?1
		ORDER BY 1 LIMIT +?2) ORDER BY h.n`
	limit = page(limit, command.PageMax)
	err = s.snapshot(ctx, func(c *conn) error {
		views, err = c.viewsOf(ctx, where, after, int64(limit)+1)
		return err
	})
	if len(views) > limit {
		return views[:limit], true, err
	}
	return views, false, err
}
