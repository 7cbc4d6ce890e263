package sqlite_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"behest/command/ledger"
	"behest/device"
	"behest/store/sqlite"
)

// credentialed is a database in which device pump-7 has two credentials, and
// had a third.
func credentialed(t *testing.T) string {
	t.Helper()
	ctx := context.Background()
	path := made(t)
	s, err := sqlite.Open(ctx, path, sqlite.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	go s.Run(ctx)
	err = askCredentials(s)
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// askCredentials adds credentials, and asks all that there is to ask.
func askCredentials(s *sqlite.Store) error {
	ctx := context.Background()
	err := s.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
		d := device.Device{Name: "pump-7", CreatedAt: time.Now()}
		errs := []error{tx.AddDevice(&d), tx.PutDigestKey(device.Seal{Key: 1, Bytes: []byte{1}})}
		for n := 1; n <= 3; n++ {
			c := device.Credential{Device: "pump-7", N: n, Kind: device.PSK, Digest: [32]byte{byte(n)}, Seal: device.Seal{Key: n, Bytes: []byte{byte(n)}}, CreatedAt: time.Now(), CreatedBy: "ann"}
			errs = append(errs, tx.AddCredential(&c))
			if n == 3 {
				c.Seal, c.RevokedAt, c.RevokedBy = device.Seal{}, time.Now(), "bob"
			}
			_, found := tx.CredentialWith(c.Digest)
			errs = append(errs, tx.SaveCredential(c), found)
		}
		_, all := tx.Credentials("pump-7")
		_, key := tx.DigestKey()
		return errors.Join(append(errs, all, key)...)
	})
	if err != nil {
		return err
	}
	for range 3 {
		_, all := s.Credentials(ctx, "pump-7")
		_, _, door := s.Doorway(ctx, "pump-7")
		_, with := s.SealedWith(ctx)
		_, before := s.SealedBefore(ctx, 2, 10)
		_, key := s.DigestKey(ctx)
		if err := errors.Join(all, door, with, before, key); err != nil {
			return err
		}
	}
	return nil
}

func TestCheckLooksAtCredentials(t *testing.T) {
	const lax = `PRAGMA ignore_check_constraints = 1; `
	for _, row := range []struct{ name, damage, says string }{
		{"nothing", `SELECT 1`, ""},
		{"of no device", `UPDATE credential SET device = 9 WHERE n = 2`, "refers to a row of device"},
		{"of no kind", lax + `UPDATE credential SET kind = 3 WHERE n = 2`, `credential 2 of device "pump-7": it is of kind 3`},
		{"a digest that is none", lax + `UPDATE credential SET digest = x'00' WHERE n = 2`, "with a digest of 1 bytes"},
		{"a number that is none", lax + `UPDATE credential SET n = 0 WHERE n = 2`, `device "pump-7" has a credential 0`},
		{"revoked and sealed", lax + `UPDATE credential SET seal = x'00', key = 1 WHERE n = 3`, "credential 3 of device \"pump-7\" is revoked and sealed, or neither"},
		{"neither revoked nor sealed", lax + `UPDATE credential SET seal = NULL, key = NULL WHERE n = 2`, "is revoked and sealed, or neither"},
		{"too many", `WITH RECURSIVE i (n) AS (SELECT 4 UNION ALL SELECT n + 1 FROM i WHERE n < 10)
			INSERT INTO credential SELECT 1, n, 1, randomblob(32), 1, x'01', 0, NULL, NULL, NULL, NULL, NULL FROM i`, "over 8 credentials that count"},
		{"no key of digests", `DELETE FROM digest_key`, "there are 3 secrets, and no key of digests"},
		{"a seal that does not open", `UPDATE credential SET seal = x'02' WHERE n = 1`, `credential 1 of device "pump-7": not mine`},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := credentialed(t)
			alter(t, path, row.damage)
			r, err := sqlite.CheckSeals(context.Background(), path, func(c *device.Credential) error {
				if c.N == 1 && c.Seal.Bytes[0] != 1 {
					return errors.New("not mine")
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			found := strings.Join(r.Faults, "\n")
			if row.says == "" && found != "" || !strings.Contains(found, row.says) {
				t.Errorf("it found %q, want %q", found, row.says)
			}
			if row.says == "" && r.Credentials != 3 {
				t.Errorf("it counted %d credentials", r.Credentials)
			}
		})
	}
}

func TestCredentialsAreLookedUpByKeys(t *testing.T) {
	ctx := context.Background()
	s, err := sqlite.Open(ctx, made(t), sqlite.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	go s.Run(ctx)
	if err := askCredentials(s); err != nil {
		t.Fatal(err)
	}
	looked := 0
	for text, n := range sqlite.Reprepared(s) {
		if n > 1 {
			t.Errorf("prepared again %d times: %s", n, text)
		}
		if !strings.Contains(text, "credential") {
			continue
		}
		looked++
		plan, err := sqlite.Plan(s, text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		for _, line := range plan {
			if strings.HasPrefix(line, "SCAN") {
				t.Errorf("%s: %s", line, text)
			}
		}
	}
	if looked < 8 {
		t.Errorf("only %d statements were looked at", looked)
	}
}
