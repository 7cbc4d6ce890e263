package sqlite

import (
	"context"
	"math/bits"

	"behest/access"
	"behest/device"
)

// peopleSince is the version of the tables that began to have people.
const peopleSince = 8

// loginsSince is the one that began to have logins.
const loginsSince = 16

// checkPeople reads every user and every token.
func checkPeople(ctx context.Context, c *conn, report *Report) error {
	if report.Schema < peopleSince {
		return nil
	}
	look := userSelect
	if report.Schema < loginsSince {
		look = userColumns + `'[]'` + userTables
	}
	err := c.each(ctx, look+`WHERE u.id > '' ORDER BY u.id`, func(r row) error {
		report.Users++
		if d := r.int(2); d != 0 && d != 1 {
			report.fault("user %q: disabled is %d", r.text(0), d)
		}
		u, err := readUser(r)
		if err != nil {
			report.fault("%v", err)
			return nil
		}
		if u.Version < 1 {
			report.fault("user %q: its version is %d", u.ID, u.Version)
		}
		for i, g := range u.Grants {
			if bits.OnesCount8(uint8(g.Role)) != 1 {
				report.fault("user %q: grant %d is of %d roles", u.ID, i, bits.OnesCount8(uint8(g.Role)))
			}
			if _, err := device.ParseSelector(g.Selector); g.Selector != "" && err != nil {
				report.fault("user %q: grant %d: %v", u.ID, i, err)
			}
		}
		for i, l := range u.Logins {
			if part, err := l.Fault(); err != nil {
				report.fault("user %q: login %d: its %s %v", u.ID, i, part, err)
			}
		}
		if len(u.Logins) > access.LoginsMax {
			report.fault("user %q has %d logins", u.ID, len(u.Logins))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.each(ctx, `SELECT user, k, id, length(hash) FROM token ORDER BY user, k`, func(r row) error {
		report.Tokens++
		if r.int(1) < 1 || len(r.text(2)) != 8 || r.int(3) != 32 {
			report.fault("token %d of the user in row %d has an id of %d characters, and a hash of %d bytes", r.int(1), r.int(0), len(r.text(2)), r.int(3))
		}
		return nil
	})
}
