package sqlite

import (
	"context"
	"fmt"

	"behest/device"
)

// credentialsSince is the version of the tables that began to have credentials.
const credentialsSince = 10

// checkCredentials reads every credential, and opens it if that can be tried.
func checkCredentials(opens func(*device.Credential) error) func(context.Context, *conn, *Report) error {
	return func(ctx context.Context, c *conn, report *Report) error {
		if report.Schema < credentialsSince {
			return nil
		}
		counting := map[string]int{}
		err := c.each(ctx, credentialSelect+`WHERE d.handle > 0`, func(r row) error {
			report.Credentials++
			one, err := readCredential(r)
			if err == nil {
				if one.RevokedAt.IsZero() {
					counting[one.Device]++
				}
				err = credentialFault(&one, counting[one.Device], opens)
			}
			if err != nil {
				report.fault("%v", err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		r, err := c.one(ctx, `SELECT (SELECT count(*) FROM digest_key), (SELECT count(*) FROM credential WHERE kind = 1)`) // certificates need none
		if err == nil && r.int(0) == 0 && r.int(1) > 0 {
			report.fault("there are %d secrets, and no key of digests", r.int(1))
		}
		return err
	}
}

// credentialFault says what is wrong with a credential, which is the nth of
// its device that counts.
func credentialFault(c *device.Credential, nth int, opens func(*device.Credential) error) error {
	switch {
	case c.N < 1:
		return fmt.Errorf("device %q has a credential %d", c.Device, c.N)
	case c.RevokedAt.IsZero() != (c.Seal.Key > 0):
		return fmt.Errorf("credential %d of device %q is revoked and sealed, or neither", c.N, c.Device)
	case c.RevokedAt.IsZero() && nth == device.CredentialsPerDevice+1:
		return fmt.Errorf("device %q has over %d credentials that count", c.Device, device.CredentialsPerDevice)
	case opens == nil || c.Seal.Key == 0:
		return nil
	}
	if err := opens(c); err != nil {
		return fmt.Errorf("credential %d of device %q: %w", c.N, c.Device, err)
	}
	return nil
}
