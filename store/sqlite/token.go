package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"

	"behest/access"
	"behest/command"
)

const tokenSelect = `SELECT u.id, t.k, t.id, t.hash, t.note, t.created_at, w.name, t.expires_at, t.used_at, t.revoked_at
	FROM user u JOIN token t ON t.user = u.n LEFT JOIN who w ON w.n = t.who `

// tokens answers with what tokenSelect and the rest of the query find.
func (c *conn) tokens(ctx context.Context, rest string, args ...driver.Value) (tokens []access.TokenRecord, err error) {
	err = c.each(ctx, tokenSelect+rest, func(r row) error {
		t := access.TokenRecord{
			User: r.text(0), N: int(r.int(1)), Token: access.Token{ID: r.text(2)}, Note: r.text(4),
			CreatedAt: fromMillis(r.int(5)), CreatedBy: r.text(6),
			ExpiresAt: timeAt(r, 7), LastUsedAt: timeAt(r, 8), RevokedAt: timeAt(r, 9),
		}
		if n := copy(t.Hash[:], r.bytes(3)); n != len(t.Hash) {
			return fmt.Errorf("token %d of user %q: its hash has %d bytes", t.N, t.User, n)
		}
		tokens = append(tokens, t)
		return nil
	}, args...)
	return tokens, err
}

// tokensOf lists a user's tokens, the oldest first.
func (c *conn) tokensOf(ctx context.Context, user string) ([]access.TokenRecord, error) {
	return c.tokens(ctx, `WHERE u.id = +? ORDER BY t.k`, user)
}

func (t *tx) Tokens(user string) ([]access.TokenRecord, error) {
	tokens, err := t.w.conn.tokensOf(context.Background(), user)
	return tokens, t.failed(err)
}

// AddToken numbers on from the user's last: the numbers of tokens that were
// revoked stay theirs.
func (t *tx) AddToken(r *access.TokenRecord) error {
	last, err := t.w.conn.one(context.Background(), `SELECT u.n, (SELECT max(k) FROM token WHERE user = u.n) FROM user u WHERE u.id = +?`, r.User)
	if err != nil {
		return t.failed(err)
	}
	if last == nil {
		return noUser(r.User)
	}
	user, k := last.int(0), last.int(1)+1
	who, err := t.who(r.CreatedBy)
	if err == nil {
		_, _, err = t.write(`INSERT INTO token (user, k, id, hash, note, created_at, who, expires_at, used_at, revoked_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			user, k, r.ID, append([]byte(nil), r.Hash[:]...), textOrNull(r.Note), r.CreatedAt.UnixMilli(), who,
			timeOrNull(r.ExpiresAt), timeOrNull(r.LastUsedAt), timeOrNull(r.RevokedAt))
	}
	if isDuplicate(err) {
		return command.Errorf(command.CodeConflict, "a token of the id %s is there already", r.ID)
	}
	if err != nil {
		return fmt.Errorf("add a token of user %q: %w", r.User, err)
	}
	r.N = int(k)
	return nil
}

// SaveToken changes nothing but when it was used and revoked.
func (t *tx) SaveToken(r access.TokenRecord) error {
	changed, _, err := t.write(`UPDATE token SET used_at = ?, revoked_at = ? WHERE user = (SELECT n FROM user WHERE id = +?) AND k = +?`,
		timeOrNull(r.LastUsedAt), timeOrNull(r.RevokedAt), r.User, int64(r.N))
	if err != nil {
		return fmt.Errorf("save token %d of user %q: %w", r.N, r.User, err)
	}
	if changed == 0 {
		return command.Errorf(command.CodeNotFound, "user %.64q has no token %d", r.User, r.N)
	}
	return nil
}

// UserTokens lists a user's tokens, the oldest first, also those that do not
// work any more.
func (s *Store) UserTokens(ctx context.Context, user string) (tokens []access.TokenRecord, err error) {
	err = s.snapshot(ctx, func(c *conn) error {
		if _, err := c.user(ctx, user); err != nil {
			return err
		}
		tokens, err = c.tokensOf(ctx, user)
		return err
	})
	return tokens, err
}

// AllTokens lists the tokens of all users, less those that were revoked, in no
// order.
func (s *Store) AllTokens(ctx context.Context) (tokens []access.TokenRecord, err error) {
	err = s.read(ctx, func(c *conn) error {
		tokens, err = c.tokens(ctx, `WHERE u.id > '' AND t.revoked_at IS NULL`)
		return err
	})
	return tokens, err
}
