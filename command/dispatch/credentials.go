package dispatch

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
	"behest/device/vault"
)

// AddCredential lets a device come in with a credential, from the answer on. A
// secret that was made here is answered once, and kept sealed.
func (d *Dispatcher) AddCredential(ctx context.Context, p device.Proof, by string) (c device.Credential, made device.Secret, err error) {
	if p.Kind == device.PSK && p.Secret == nil {
		made = make(device.Secret, device.SecretBytesDefault)
		_, _ = rand.Read(made) // it never fails
		p.Secret = made
	}
	k, err := d.examine(p, d.now(), by)
	if err != nil {
		return device.Credential{}, nil, err
	}
	err = d.store.Update(context.WithoutCancel(ctx), ledger.Issues, func(tx ledger.Tx) error {
		dev, err := present(p.Device)(tx)
		if err != nil {
			return err
		}
		c, _, err = d.admitBy(tx, dev, k)
		return err
	})
	if err != nil {
		return device.Credential{}, nil, d.failed(err)
	}
	return c, made, nil
}

// RevokeCredential ends a device's credential for good, and the sessions that
// were made with it. It is said again in vain.
func (d *Dispatcher) RevokeCredential(ctx context.Context, name string, n int, by string) error {
	err := d.store.Update(context.WithoutCancel(ctx), ledger.Issues, func(tx ledger.Tx) error {
		dev, err := present(name)(tx)
		if err != nil {
			return err
		}
		if err := d.mayTo(by, dev, admin); err != nil {
			return err
		}
		all, err := tx.Credentials(name)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(all, func(c device.Credential) bool { return c.N == n })
		if at < 0 {
			return command.Errorf(command.CodeNotFound, "device %.64q has no credential %d", name, n)
		}
		return revokeCredential(tx, dev, all[at], d.now(), by)
	})
	if err == nil || command.CodeOf(err) == command.CodeOutcomeUnknown {
		d.door.revoked(name)
	}
	return d.failed(err)
}

// revokeCredential ends a credential, unless that is done. Its secret goes.
func revokeCredential(tx ledger.Tx, dev device.Device, c device.Credential, now time.Time, by string) error {
	if !c.RevokedAt.IsZero() {
		return nil
	}
	c.Seal, c.RevokedAt, c.RevokedBy = device.Seal{}, now, by
	if err := tx.SaveCredential(c); err != nil {
		return err
	}
	return logCredential(tx, command.EventUncredited, dev, c, now, by)
}

// revokeCredentials ends all of a device's.
func revokeCredentials(tx ledger.Tx, dev device.Device, now time.Time, by string) error {
	all, err := tx.Credentials(dev.Name)
	if err != nil {
		return err
	}
	for _, c := range all {
		if err := revokeCredential(tx, dev, c, now, by); err != nil {
			return err
		}
	}
	return nil
}

// logCredential adds an event about a credential. It says which one, never what
// it is.
func logCredential(tx ledger.Tx, kind command.EventType, dev device.Device, c device.Credential, now time.Time, by string) error {
	return tx.Log(command.Event{Type: kind, At: now, Actor: by, Device: dev.Handle, Data: fmt.Appendf(nil, `{"n":%d,"kind":%q}`, c.N, c.Kind)})
}

// ImportCredentials adds many in one commit, and makes the devices known that
// are not, if that is asked for. Each has its answer at its own place; what is
// there already is no fault, so that an import that broke off can be done again.
func (d *Dispatcher) ImportCredentials(ctx context.Context, proofs []device.Proof, makeDevices bool, by string) ([]device.Imported, error) {
	now := d.now()
	all, out := make([]candidate, len(proofs)), make([]device.Imported, len(proofs))
	for i, p := range proofs {
		if p.Kind == device.PSK && p.Secret == nil {
			out[i].Err = command.Errorf(command.CodeInvalid, "it has no secret")
		} else {
			all[i], out[i].Err = d.examine(p, now, by)
		}
	}
	refused := slices.Clone(out)
	err := d.store.Update(context.WithoutCancel(ctx), ledger.Retention, func(tx ledger.Tx) error {
		copy(out, refused) // it may run again
		for i, k := range all {
			if out[i].Err != nil {
				continue
			}
			var err error
			out[i].N, out[i].Already, err = d.importOne(tx, k, makeDevices)
			switch command.CodeOf(err) {
			case command.CodeNotFound, command.CodeConflict, command.CodeInvalid, command.CodeForbidden:
				out[i].Err = err // nothing of it was written
			default:
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	return out, d.failed(err)
}

func (d *Dispatcher) importOne(tx ledger.Tx, k candidate, makeDevice bool) (n int, already bool, err error) {
	dev, err := present(k.Device)(tx)
	if makeDevice && err != nil && command.CodeOf(err) == command.CodeNotFound {
		if dev, err = d.comeToKnow(tx, k); err != nil {
			return 0, false, err
		}
	}
	if err != nil {
		return 0, false, err
	}
	c, already, err := d.admitBy(tx, dev, k)
	if already {
		err = nil
	}
	return c.N, already, err
}

// comeToKnow makes a device known, unless it could not have the credential:
// then nothing is to be left of the line.
func (d *Dispatcher) comeToKnow(tx ledger.Tx, k candidate) (device.Device, error) {
	dev := device.New(k.Device, k.now, tx.Base())
	if err := d.mayTo(k.by, dev, admin); err != nil {
		return dev, err
	}
	if _, _, err := d.digest(tx, k); err != nil {
		return dev, err
	}
	before, err := tx.DeviceNamed(k.Device)
	switch {
	case err == nil: // it was removed
		dev = before
		dev.RemovedAt = time.Time{}
		err = tx.SaveDevice(&dev)
	case command.CodeOf(err) == command.CodeNotFound:
		err = tx.AddDevice(&dev)
	}
	if err != nil {
		return dev, err
	}
	return dev, tx.Log(command.Event{Type: command.EventEdited, At: k.now, Actor: k.by, Device: dev.Handle})
}

// candidate is a proof that was looked at, and who gives it to the device.
type candidate struct {
	device.Proof
	pin device.Pin // of a certificate
	now time.Time
	by  string
}

// has reports whether c is what the candidate is for.
func (k candidate) has(c device.Credential) bool {
	return c.N > 0 && c.Device == k.Device && c.RevokedAt.IsZero()
}

// examine checks a proof as far as that can be done without the store.
func (d *Dispatcher) examine(p device.Proof, now time.Time, by string) (candidate, error) {
	k := candidate{Proof: p, now: now, by: by}
	var faults []command.Field
	fault := func(pointer, what string) {
		if what != "" {
			faults = append(faults, command.Field{Pointer: pointer, Detail: what})
		}
	}
	fault("/device", device.CheckName(p.Device))
	switch {
	case p.Kind == device.PSK:
		fault("/secret", device.CheckSecret(p.Secret))
		if p.Certificate != "" {
			fault("/pem", "is for a certificate, and this is a psk")
		}
	case p.Kind == device.Certificate:
		var what string
		k.pin, what = device.ParsePin(p.Certificate, p.Device, now)
		fault("/pem", what)
		if p.Secret != nil {
			fault("/secret", "is for a psk, and this is a certificate")
		}
	default:
		fault("/kind", "is no kind of credential")
	}
	switch {
	case len(faults) > 0:
		return k, &command.Error{Code: command.CodeInvalid, Msg: "the credential cannot be as it is", Fields: faults}
	case d.door == nil:
		return k, &command.Error{Code: command.CodeUnavailable, Msg: errNoDoor.Error(), Err: errNoDoor}
	}
	return k, nil
}

// digest is that of what k is for, and the credential that has it.
func (d *Dispatcher) digest(tx ledger.Tx, k candidate) (digest [32]byte, has device.Credential, err error) {
	digest = k.pin.Fingerprint
	if k.Kind == device.PSK {
		key, err := d.digestKey(tx)
		if err != nil {
			return digest, has, err
		}
		digest = key.Digest(k.Secret)
	}
	has, err = tx.CredentialWith(digest)
	switch {
	case err != nil && command.CodeOf(err) == command.CodeNotFound:
		return digest, device.Credential{}, nil
	case err != nil:
		return digest, has, err
	case k.has(has):
		return digest, has, command.Errorf(command.CodeConflict, "it is credential %d of the device already", has.N)
	case has.Device == k.Device:
		return digest, has, command.Errorf(command.CodeConflict, "it was credential %d of the device, and was revoked; what was revoked does not come back", has.N)
	}
	// Which one is not told: who asks may administer only some devices.
	return digest, has, command.Errorf(command.CodeConflict, "another device has it, or had it; each needs a secret of its own")
}

// digestKey is the key of the digests. The first who needs it makes it.
func (d *Dispatcher) digestKey(tx ledger.Tx) (vault.DigestKey, error) {
	sealed, err := tx.DigestKey()
	switch {
	case err == nil:
		return d.door.keys.OpenDigestKey(sealed)
	case command.CodeOf(err) != command.CodeNotFound:
		return nil, err
	}
	key, sealed := d.door.keys.NewDigestKey()
	return key, tx.PutDigestKey(sealed)
}

// admitBy gives a device what it comes in with. already, beside an error: it
// has that.
func (d *Dispatcher) admitBy(tx ledger.Tx, dev device.Device, k candidate) (c device.Credential, already bool, err error) {
	if err := d.mayTo(k.by, dev, admin); err != nil {
		return c, false, err
	}
	digest, has, err := d.digest(tx, k)
	if err != nil {
		return has, k.has(has), err
	}
	all, err := tx.Credentials(k.Device)
	if err != nil {
		return c, false, err
	}
	c = device.Credential{Device: k.Device, N: 1, Kind: k.Kind, Digest: digest, CreatedAt: k.now, CreatedBy: k.by, ExpiresAt: k.pin.ExpiresAt}
	counting := 0
	for _, other := range all {
		c.N = other.N + 1
		if other.RevokedAt.IsZero() {
			counting++
		}
	}
	if counting >= device.CredentialsPerDevice {
		return c, false, command.Errorf(command.CodeConflict, "the device has %d credentials that were not revoked; revoke one of them first", counting)
	}
	sealed := []byte(k.Secret)
	if k.Kind == device.Certificate {
		sealed = k.pin.Fingerprint[:]
	}
	d.door.keys.Seal(&c, sealed)
	if err := tx.AddCredential(&c); err != nil {
		return c, false, err
	}
	return c, false, logCredential(tx, command.EventCredential, dev, c, k.now, k.by)
}
