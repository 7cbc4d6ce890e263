package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"

	"behest/command"
	"behest/device"
)

const credentialSelect = `SELECT d.name, c.n, c.kind, c.digest, c.key, c.seal, c.created_at, w.name, c.expires_at, c.used_at, c.revoked_at, v.name
	FROM device d JOIN credential c ON c.device = d.handle LEFT JOIN who w ON w.n = c.who LEFT JOIN who v ON v.n = c.revoked_by `

// readCredential reads a row of credentialSelect.
func readCredential(r row) (device.Credential, error) {
	c := device.Credential{
		Device: r.text(0), N: int(r.int(1)), Kind: device.CredentialKind(r.int(2)), Seal: sealAt(r, 4),
		CreatedAt: fromMillis(r.int(6)), CreatedBy: r.text(7), ExpiresAt: timeAt(r, 8), UsedAt: timeAt(r, 9),
		RevokedAt: timeAt(r, 10), RevokedBy: r.text(11),
	}
	if n := copy(c.Digest[:], r.bytes(3)); n != len(c.Digest) || !c.Kind.Valid() {
		return c, fmt.Errorf("credential %d of device %q: it is of kind %d, with a digest of %d bytes", c.N, c.Device, c.Kind, n)
	}
	return c, nil
}

// sealAt reads the columns key and seal.
func sealAt(r row, i int) device.Seal {
	if r.null(i + 1) {
		return device.Seal{}
	}
	return device.Seal{Key: int(r.int(i)), Bytes: r.bytes(i + 1)}
}

// credentials answers with what credentialSelect and the rest of the query find.
func (c *conn) credentials(ctx context.Context, rest string, args ...driver.Value) (all []device.Credential, err error) {
	err = c.each(ctx, credentialSelect+rest, func(r row) error {
		one, err := readCredential(r)
		all = append(all, one)
		return err
	}, args...)
	return all, err
}

const credentialsOf = `WHERE d.name = +? ORDER BY c.n`

func (t *tx) Credentials(name string) ([]device.Credential, error) {
	all, err := t.w.conn.credentials(context.Background(), credentialsOf, name)
	return all, t.failed(err)
}

func (t *tx) CredentialWith(digest [32]byte) (device.Credential, error) {
	all, err := t.w.conn.credentials(context.Background(), `WHERE c.digest = +?`, digest[:])
	if err == nil && len(all) == 0 {
		err = command.Errorf(command.CodeNotFound, "no credential has that digest")
	}
	if err != nil {
		return device.Credential{}, t.failed(err)
	}
	return all[0], nil
}

// forgetCredentials leaves the youngest certificate: that there was one says
// that no other counts.
const forgetCredentials = `DELETE FROM credential AS c WHERE c.device = +?1 AND c.n <= ?2 AND c.revoked_at IS NOT NULL
	AND (c.kind = 1 OR EXISTS (SELECT 1 FROM credential y WHERE y.device = +?1 AND y.n > c.n AND y.kind = 2))`

// AddCredential keeps a credential under the number that it was sealed for, and
// forgets those of the device that were revoked and are far behind it.
func (t *tx) AddCredential(c *device.Credential) error {
	d, err := t.DeviceNamed(c.Device)
	if err != nil {
		return err
	}
	who, err := t.who(c.CreatedBy)
	if err == nil {
		_, _, err = t.write(`INSERT INTO credential (device, n, kind, digest, key, seal, created_at, who, expires_at, used_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			d.Handle, int64(c.N), int64(c.Kind), slices.Clone(c.Digest[:]), int64(c.Seal.Key), c.Seal.Bytes,
			c.CreatedAt.UnixMilli(), who, timeOrNull(c.ExpiresAt), timeOrNull(c.UsedAt))
	}
	if isDuplicate(err) {
		return command.Errorf(command.CodeConflict, "the credential is there already")
	}
	if err == nil {
		_, _, err = t.write(forgetCredentials, d.Handle, int64(c.N-device.CredentialsKept))
	}
	if err != nil {
		return fmt.Errorf("add credential %d of device %q: %w", c.N, c.Device, err)
	}
	return nil
}

// SaveCredential changes nothing but its seal, and when it was used and revoked.
func (t *tx) SaveCredential(c device.Credential) error {
	who, err := t.who(c.RevokedBy)
	var changed int64
	if err == nil {
		changed, _, err = t.write(`UPDATE credential SET (key, seal, used_at, revoked_at, revoked_by) = (?, ?, ?, ?, ?)
			WHERE device = (SELECT handle FROM device WHERE name = +?) AND n = +?`,
			orNull(int64(c.Seal.Key)), bytesOrNull(c.Seal.Bytes, c.Seal.Bytes == nil), timeOrNull(c.UsedAt), timeOrNull(c.RevokedAt), who, c.Device, int64(c.N))
	}
	if err != nil {
		return fmt.Errorf("save credential %d of device %q: %w", c.N, c.Device, err)
	}
	if changed == 0 {
		return command.Errorf(command.CodeNotFound, "device %.64q has no credential %d", c.Device, c.N)
	}
	return nil
}

func (c *conn) digestKey(ctx context.Context) (device.Seal, error) {
	r, err := c.one(ctx, `SELECT key, seal FROM digest_key WHERE one = 1`)
	if err == nil && r == nil {
		err = command.Errorf(command.CodeNotFound, "there is no key of digests yet")
	}
	if err != nil {
		return device.Seal{}, err
	}
	return sealAt(r, 0), nil
}

func (t *tx) DigestKey() (device.Seal, error) {
	s, err := t.w.conn.digestKey(context.Background())
	return s, t.failed(err)
}

func (t *tx) PutDigestKey(s device.Seal) error {
	_, _, err := t.write(`INSERT INTO digest_key (one, key, seal) VALUES (1, ?1, ?2) ON CONFLICT (one) DO UPDATE SET (key, seal) = (?1, ?2)`, int64(s.Key), s.Bytes)
	return err
}

// DigestKey is the sealed key of the digests. CodeNotFound: nothing needed one
// yet.
func (s *Store) DigestKey(ctx context.Context) (key device.Seal, err error) {
	err = s.read(ctx, func(c *conn) error {
		key, err = c.digestKey(ctx)
		return err
	})
	return key, err
}

// Credentials lists a device's, the oldest first, also those that were revoked.
// CodeNotFound: no device of that name is there.
func (s *Store) Credentials(ctx context.Context, name string) (all []device.Credential, err error) {
	err = s.snapshot(ctx, func(c *conn) error {
		r, err := c.one(ctx, `SELECT 1 FROM device WHERE name = +? AND removed_at IS NULL`, name)
		if err == nil && r == nil {
			err = command.Errorf(command.CodeNotFound, "no device is called %.64q", name)
		}
		if err != nil {
			return err
		}
		all, err = c.credentials(ctx, credentialsOf, name)
		return err
	})
	return all, err
}

// Doorway is what a device may come in with: its credentials that were not
// revoked, the newest first, and behind them a certificate that was, if there is
// one. It asks the same, whether the device is known or not. removed: an
// operator has sent it away.
func (s *Store) Doorway(ctx context.Context, name string) (all []device.Credential, removed bool, err error) {
	err = s.snapshot(ctx, func(c *conn) error {
		r, err := c.one(ctx, `SELECT removed_at FROM device WHERE name = +?`, name)
		if err != nil {
			return err
		}
		removed = r != nil && !r.null(0)
		all, err = c.credentials(ctx, `WHERE d.name = +? AND (c.revoked_at IS NULL OR c.kind = 2)
			ORDER BY c.revoked_at IS NOT NULL, c.n DESC LIMIT +?`, name, int64(device.CredentialsPerDevice+1))
		return err
	})
	return all, removed, err
}

// SealedWith is one credential for each key that any is sealed with.
func (s *Store) SealedWith(ctx context.Context) (some []device.Credential, err error) {
	err = s.snapshot(ctx, func(c *conn) error {
		for key := 0; ; { // from key to key: there are few, and many credentials
			next, err := c.credentials(ctx, `WHERE c.key > ? ORDER BY c.key LIMIT 1`, int64(key))
			if err != nil || len(next) == 0 {
				return err
			}
			some, key = append(some, next[0]), next[0].Seal.Key
		}
	})
	return some, err
}

// SealedBefore lists credentials that are sealed with another key than that
// one, in no order.
func (s *Store) SealedBefore(ctx context.Context, key, limit int) (some []device.Credential, err error) {
	err = s.read(ctx, func(c *conn) error {
		for _, side := range []string{`c.key < ?`, `c.key > ?`} { // two ranges of an index, where "not" is none
			if left := limit - len(some); left > 0 {
				more, err := c.credentials(ctx, `WHERE `+side+` LIMIT +?`, int64(key), int64(left))
				if err != nil {
					return err
				}
				some = append(some, more...)
			}
		}
		return nil
	})
	return some, err
}
