package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// resealMax is how many credentials are sealed anew in a commit: a millisecond
// or two of the writer.
const resealMax = 32

// runDoor seals anew what an older key sealed, and notes what was used.
func (d *Dispatcher) runDoor(ctx context.Context) error {
	if d.door == nil {
		return nil
	}
	for err := d.reseal(ctx); err != nil && ctx.Err() == nil; err = d.reseal(ctx) {
		d.log.Warn("sealing credentials anew", "err", err)
		sleep(ctx, pause)
	}
	tick := time.NewTicker(noteUsedEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := d.noteCame(ctx); err != nil && ctx.Err() == nil {
				d.log.Warn("noting which credentials were used", "err", err)
			}
		}
	}
}

// reseal seals with the newest key what was sealed with another, a little at a
// time. What does not open is left as it is, and told.
func (d *Dispatcher) reseal(ctx context.Context) error {
	newest, done := d.door.keys.Newest(), 0
	for {
		some, err := d.store.SealedBefore(ctx, newest, resealMax)
		if err != nil {
			return err
		}
		moved := 0
		err = d.store.Update(ctx, ledger.Retention, func(tx ledger.Tx) (err error) {
			if moved, err = d.resealSome(tx, some); err == nil && len(some) == 0 {
				err = d.resealDigestKey(tx)
			}
			return err
		})
		if err != nil {
			return err
		}
		if done += moved; moved > 0 {
			continue
		}
		if len(some) > 0 {
			d.log.Error("credentials do not open, and keep the older key needed", "device", some[0].Device, "n", some[0].N)
		}
		if done > 0 {
			d.log.Info("credentials were sealed anew", "key", newest, "credentials", done)
		}
		return nil
	}
}

// resealSome seals credentials anew as they are now.
func (d *Dispatcher) resealSome(tx ledger.Tx, some []device.Credential) (moved int, err error) {
	for _, was := range some {
		c, err := credentialNow(tx, was.Device, was.N)
		if err != nil {
			return 0, err
		}
		secret, err := d.door.keys.Open(&c)
		if err != nil || c.Seal.Key == d.door.keys.Newest() {
			continue
		}
		d.door.keys.Seal(&c, secret)
		if err := tx.SaveCredential(c); err != nil {
			return 0, err
		}
		moved++
	}
	return moved, nil
}

// credentialNow is a credential as it is now; one that is gone is as if it was
// revoked.
func credentialNow(tx ledger.Tx, name string, n int) (device.Credential, error) {
	all, err := tx.Credentials(name)
	if at := slices.IndexFunc(all, func(c device.Credential) bool { return c.N == n }); at >= 0 {
		return all[at], err
	}
	return device.Credential{}, err
}

func (d *Dispatcher) resealDigestKey(tx ledger.Tx) error {
	sealed, err := tx.DigestKey()
	switch {
	case err != nil && command.CodeOf(err) == command.CodeNotFound:
		return nil
	case err != nil || sealed.Key == d.door.keys.Newest():
		return err
	}
	key, err := d.door.keys.OpenDigestKey(sealed)
	if err != nil {
		return fmt.Errorf("the key of the digests: %w", err)
	}
	return tx.PutDigestKey(d.door.keys.SealDigestKey(key))
}

// ResetCredentials gives up what the door's keys do not open: secrets are
// revoked. Of a certificate the row has all that its seal had, and it is taken
// as it stands. It is for the start, before devices come in. The key of the
// digests goes last: until then a door without Lost does not open.
func (d *Dispatcher) ResetCredentials(ctx context.Context) error {
	var done, some resetCount
	for more := true; more; {
		list, err := d.store.SealedBefore(ctx, d.door.keys.Newest(), groupTargets)
		if err != nil {
			return err
		}
		more = len(list) > 0
		err = d.store.Update(ctx, ledger.Issues, func(tx ledger.Tx) (err error) {
			if some, err = d.resetSome(tx, list); err == nil && !more {
				err = d.resetDigestKey(tx, done)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("reset credentials: %w", err)
		}
		done = resetCount{done.Revoked + some.Revoked, done.Taken + some.Taken}
	}
	d.log.Warn("credentials whose keys were lost do not count any more: those devices need others", "revoked", done.Revoked, "certificates taken as they stand", done.Taken)
	return nil
}

// resetCount is what the event tells.
type resetCount struct {
	Revoked int `json:"revoked"` // secrets that are lost
	Taken   int `json:"taken"`   // certificates whose rows were believed
}

func (d *Dispatcher) resetSome(tx ledger.Tx, list []device.Credential) (n resetCount, err error) {
	for _, was := range list {
		c, err := credentialNow(tx, was.Device, was.N)
		if err != nil {
			return n, err
		}
		sealed, err := d.door.keys.Open(&c)
		switch {
		case err == nil: // with an older key of the file
		case c.Kind == device.Certificate:
			sealed = c.Digest[:]
			n.Taken++
		default:
			dev, err := tx.DeviceNamed(c.Device)
			if err == nil {
				err = revokeCredential(tx, dev, c, d.now(), "")
			}
			if err != nil {
				return n, err
			}
			n.Revoked++
			continue
		}
		d.door.keys.Seal(&c, sealed)
		if err := tx.SaveCredential(c); err != nil {
			return n, err
		}
	}
	return n, nil
}

// resetDigestKey makes another key of the digests in the place of one that does
// not open. What was revoked before is not known again by the new one.
func (d *Dispatcher) resetDigestKey(tx ledger.Tx, done resetCount) error {
	sealed, err := tx.DigestKey()
	if err == nil {
		if _, err := d.door.keys.OpenDigestKey(sealed); err != nil {
			_, anew := d.door.keys.NewDigestKey()
			if err := tx.PutDigestKey(anew); err != nil {
				return err
			}
		}
	} else if command.CodeOf(err) != command.CodeNotFound {
		return err
	}
	data, _ := json.Marshal(done) // of plain values
	return tx.Log(command.Event{Type: command.EventKeysLost, At: d.now(), Data: data})
}

// noteCame keeps when credentials were last used. What is not kept now is the
// next time.
func (d *Dispatcher) noteCame(ctx context.Context) error {
	used := d.door.takeUsed()
	for some := range slices.Chunk(slices.Collect(maps.Keys(used)), resealMax) {
		err := d.store.Update(ctx, ledger.Retention, func(tx ledger.Tx) error {
			for _, u := range some {
				c, err := credentialNow(tx, u.device, u.n)
				if err != nil {
					return err
				}
				if c.N == 0 || !c.RevokedAt.IsZero() || used[u].Sub(c.UsedAt) <= usedEvery {
					continue // it is gone, or was noted between the look and now
				}
				c.UsedAt = used[u].Truncate(time.Millisecond)
				if err := tx.SaveCredential(c); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
