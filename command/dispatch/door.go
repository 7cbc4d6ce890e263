package dispatch

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"behest/command"
	"behest/device"
	"behest/device/vault"
)

// lookWithin bounds how long a handshake waits for the store: a device asks
// again sooner than that.
const lookWithin = 5 * time.Second

// evenTime is when a look for keys is answered, counted from the question: some
// thirty times what it takes, so that the few microseconds that a row costs do
// not show.
const evenTime = time.Millisecond

// usedMax bounds what waits to be noted as used. What finds no room is noted
// when it is used again.
const usedMax = 8192

// Doorways are what a door reads.
type Doorways interface {
	// Doorway is what a device may come in with, the newest first. Certificates
	// that were revoked are there too. removed: it was sent away. A device that is
	// not known has nothing, and that takes as long.
	Doorway(ctx context.Context, name string) (all []device.Credential, removed bool, err error)
	// DigestKey is sealed. CodeNotFound: there is none yet.
	DigestKey(ctx context.Context) (device.Seal, error)
	// SealedWith is one credential for each key that any is sealed with.
	SealedWith(ctx context.Context) ([]device.Credential, error)
}

// DoorOptions may be left to their zero values.
type DoorOptions struct {
	Lost   bool             // what keys do not open is given up: ResetCredentials comes before any device
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: nothing is logged
}

// Door is where devices prove who they are. It keeps nothing: each look is at
// what is committed, so that what was revoked is refused from that commit on. It
// is safe for use by many at once.
type Door struct {
	// Set once.
	store   Doorways
	keys    *vault.Keys
	now     func() time.Time
	log     *slog.Logger
	nobody  device.Credential // opened in the place of what is not there
	recheck func(name string)

	mu   sync.Mutex // guards used
	used map[usedCredential]time.Time
}

type usedCredential struct {
	device string
	n      int
}

// NewDoor makes a door that opens what is sealed with keys. It fails when
// something in the store is sealed with keys that are not among them: the
// devices behind it could not come in, and nobody would know why.
func NewDoor(ctx context.Context, store Doorways, keys *vault.Keys, o DoorOptions) (*Door, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Door{
		store: store, keys: keys, now: o.Now, log: o.Logger, recheck: func(string) {},
		nobody: device.Credential{Kind: device.PSK}, used: make(map[usedCredential]time.Time),
	}
	keys.Seal(&d.nobody, make([]byte, device.SecretBytesDefault))
	if err := d.fits(ctx); err != nil && !(o.Lost && errors.As(err, new(*MisfitError))) {
		return nil, err
	}
	return d, nil
}

// MisfitError says that what is sealed in a store does not open with the keys
// at hand.
type MisfitError struct{ Err error }

func (e *MisfitError) Error() string { return e.Err.Error() }

func (e *MisfitError) Unwrap() error { return e.Err }

// fits holds the keys against the store.
func (d *Door) fits(ctx context.Context) error {
	sealed, err := d.store.DigestKey(ctx)
	opened := err == nil
	switch {
	case opened:
		if _, err := d.keys.OpenDigestKey(sealed); err != nil {
			return &MisfitError{fmt.Errorf("the key of the digests: %w", err)}
		}
	case command.CodeOf(err) != command.CodeNotFound:
		return fmt.Errorf("read the key of the digests: %w", err)
	}
	some, err := d.store.SealedWith(ctx)
	if err != nil {
		return fmt.Errorf("read what credentials are sealed with: %w", err)
	}
	for i := range some {
		_, err := d.keys.Open(&some[i])
		last := i == len(some)-1
		opened = opened || err == nil
		var unknown vault.UnknownKeyError
		switch {
		case errors.As(err, &unknown), last && !opened:
			return &MisfitError{fmt.Errorf("credential %d of device %q: %w", some[i].N, some[i].Device, err)}
		case err != nil: // a damaged one is no reason to keep all others out
			d.log.Error("a credential does not open", "device", some[i].Device, "n", some[i].N, "err", err)
		}
	}
	return nil
}

// KeyAfter is a version that no key which sealed something in the store has, and
// none of keys; nil: there are none.
func KeyAfter(ctx context.Context, store Doorways, keys *vault.Keys) (next int, err error) {
	next = 1
	if keys != nil {
		next = keys.Next()
	}
	some, err := store.SealedWith(ctx)
	for _, c := range some {
		next = max(next, c.Seal.Key+1)
	}
	if err != nil {
		return 0, err
	}
	sealed, err := store.DigestKey(ctx)
	if command.CodeOf(err) == command.CodeNotFound {
		return next, nil
	}
	return max(next, sealed.Key+1), err
}

// Bind says whom to tell that something of a device's was revoked, before
// anything runs. It is told after the commit.
func (d *Door) Bind(recheck func(name string)) { d.recheck = recheck }

// revoked tells that something of a device's may count no longer.
func (d *Door) revoked(name string) {
	if d != nil {
		d.recheck(name)
	}
}

// PSKs are the keys with which a device may come in now, the newest first. For
// a stranger, and for a device with fewer than it could have, as many seals are
// opened, and all are answered a millisecond after they asked: how long it takes
// tells nothing. While the store cannot be read, everybody is a stranger.
func (d *Door) PSKs(identity string) (keys [][]byte) {
	even := time.NewTimer(evenTime)
	defer func() { <-even.C }()
	all, _, err := d.look(identity)
	if err != nil {
		all = nil
	}
	now := d.now()
	for i := range device.CredentialsPerDevice {
		c, there := &d.nobody, i < len(all) && all[i].RevokedAt.IsZero()
		if there {
			c = &all[i]
		}
		key, err := d.keys.Open(c)
		if err != nil {
			d.log.Error("a credential does not open", "device", c.Device, "n", c.N, "err", err)
			continue
		}
		if there && c.Kind == device.PSK && c.Counts(now) {
			keys = append(keys, key)
		}
	}
	return keys
}

// look reads what a device may come in with.
func (d *Door) look(identity string) (all []device.Credential, removed bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), lookWithin)
	defer cancel()
	if all, removed, err = d.store.Doorway(ctx, identity); err != nil {
		d.log.Warn("looking for a device's credentials", "err", err)
	}
	return all, removed, err
}

// Revoked reports whether what a device came in with counts no longer.
// fingerprint is the SHA-256 of the key, or of the certificate in DER. A device
// that has, or had, a certificate of its own comes in with no other; one that
// never had any, with whatever the authorities signed. While the store cannot be
// read, whoever is in stays: he is asked after again.
func (d *Door) Revoked(identity string, kind device.CredentialKind, fingerprint [sha256.Size]byte) bool {
	all, removed, err := d.look(identity)
	if err != nil || removed {
		return removed
	}
	now, own := d.now(), false
	for i := range all {
		c := &all[i]
		if c.Kind != kind {
			continue
		}
		own = true
		if c.Counts(now) && d.is(c, fingerprint) {
			d.note(c, now)
			return false
		}
	}
	return own || kind != device.Certificate
}

// is reports whether a credential has that fingerprint. What is sealed of a
// certificate is just that.
func (d *Door) is(c *device.Credential, fingerprint [sha256.Size]byte) bool {
	sealed, err := d.keys.Open(c)
	if err != nil {
		d.log.Error("a credential does not open", "device", c.Device, "n", c.N, "err", err)
		return false
	}
	if c.Kind == device.PSK {
		sum := sha256.Sum256(sealed)
		sealed = sum[:]
	}
	return subtle.ConstantTimeCompare(sealed, fingerprint[:]) == 1
}

// note remembers that a credential was used, if that is not known yet.
func (d *Door) note(c *device.Credential, now time.Time) {
	if now.Sub(c.UsedAt) <= usedEvery {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	key := usedCredential{c.Device, c.N}
	if _, known := d.used[key]; known || len(d.used) < usedMax {
		d.used[key] = now
	}
}

// takeUsed hands over what was used since.
func (d *Door) takeUsed() map[usedCredential]time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	used := d.used
	d.used = make(map[usedCredential]time.Time)
	return used
}

// errNoDoor says that nobody keeps credentials here.
var errNoDoor = errors.New("this server keeps no credentials")
