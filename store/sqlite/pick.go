package sqlite

import (
	"context"

	"behest/command"
	"behest/device"
)

// pickMax is how many devices are read at a time. Nobody keeps a connection
// while they are visited.
const pickMax = 1000

// pickColumns are deviceColumns without what may be long and is not asked for:
// the parameters and links of a registration.
const pickColumns = `name, version, last_seq, reported_seq, seen_at, registered_at, lifetime, win,
	observed_at, remote, local, token, block_size, suspended, ack_timeout, awake, created_at, removed_at, labels, NULL, NULL,
	` + sessionColumns + `, was_token`

// Pick visits the devices that are there in the order of their handles,
// without their registrations' parameters and links.
func (s *Store) Pick(ctx context.Context, visit func(device.Device) error) error {
	var some []device.Device
	for after := int64(0); ; {
		some = some[:0]
		err := s.read(ctx, func(c *conn) error {
			return c.each(ctx, `SELECT handle, `+pickColumns+` FROM device WHERE handle > ? AND removed_at IS NULL ORDER BY handle LIMIT +?`, func(r row) error {
				d, err := readDevice(r)
				some = append(some, d)
				return err
			}, after, int64(pickMax))
		})
		if err != nil || len(some) == 0 {
			return err
		}
		for _, d := range some {
			after = d.Handle
			if err := visit(d); err != nil {
				return err
			}
		}
	}
}

// Held visits the devices of the command in a row that are not written out,
// as Pick does, in no order.
func (s *Store) Held(ctx context.Context, commandN int64, visit func(device.Device) error) error {
	for k, found := int64(-1), true; found; {
		var some []device.Device
		err := s.snapshot(ctx, func(c *conn) error {
			r, err := c.one(ctx, `SELECT k, handles FROM pending WHERE command = +? AND k > ? ORDER BY k LIMIT 1`, commandN, k)
			if found = r != nil; err != nil || !found {
				return err
			}
			k = r.int(0)
			some, err = c.held(ctx, r.bytes(1))
			return err
		})
		if err != nil {
			return err
		}
		for _, d := range some {
			if err := visit(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// held are the devices of a group that is pending.
func (c *conn) held(ctx context.Context, packed []byte) ([]device.Device, error) {
	handles, err := unpackHandles(packed)
	if err != nil {
		return nil, err
	}
	some := make([]device.Device, 0, len(handles))
	for _, h := range handles {
		r, err := c.one(ctx, `SELECT handle, `+pickColumns+` FROM device WHERE handle = +?`, h)
		if err != nil {
			return nil, err
		}
		if r == nil {
			return nil, command.Errorf(command.CodeNotFound, "a device that is pending is not there")
		}
		d, err := readDevice(r)
		if err != nil {
			return nil, err
		}
		some = append(some, d)
	}
	return some, nil
}
