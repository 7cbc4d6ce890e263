package sqlite

import (
	"context"
	"fmt"
	"slices"

	"behest/command"
)

func (t *tx) SealMark() ([]byte, error) {
	r, err := t.w.conn.one(context.Background(), `SELECT value FROM meta WHERE name = 'seal'`)
	if err != nil || r == nil {
		return nil, t.failed(err)
	}
	return r.bytes(0), nil
}

func (t *tx) PutSealMark(mark []byte) error {
	_, _, err := t.write(`INSERT INTO meta (name, value) VALUES ('seal', ?1) ON CONFLICT (name) DO UPDATE SET value = ?1`, slices.Clone(mark))
	if err != nil {
		return fmt.Errorf("keep the mark of seals: %w", err)
	}
	return nil
}

func (t *tx) Unsent(after int64, limit int) ([]command.Execution, error) {
	// 4 is command.Sent, the first state that something left in.
	xs, err := t.w.conn.executions(context.Background(), `WHERE x.n > +? AND x.device IS NOT NULL AND x.state < 4 ORDER BY x.n LIMIT +?`, after, int64(limit))
	return xs, t.failed(err)
}

func (t *tx) SaveSeal(x command.Execution) error {
	_, _, err := t.write(`UPDATE command SET seal = ? WHERE n = +?`, slices.Clone(x.Seal), x.N)
	if err != nil {
		return fmt.Errorf("save the seal of execution %d: %w", x.N, err)
	}
	return nil
}
