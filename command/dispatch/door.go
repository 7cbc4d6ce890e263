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
// something in the store is sealed with a key that is not among them: the
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
	sealed, err := store.DigestKey(ctx)
	switch {
	case err == nil:
		if _, err := keys.OpenDigestKey(sealed); err != nil {
			return nil, fmt.Errorf("the key of the digests: %w", err)
		}
	case command.CodeOf(err) != command.CodeNotFound:
		return nil, fmt.Errorf("read the key of the digests: %w", err)
	}
	some, err := store.SealedWith(ctx)
	if err != nil {
		return nil, fmt.Errorf("read what credentials are sealed with: %w", err)
	}
	for i := range some {
		_, err := keys.Open(&some[i])
		var unknown vault.UnknownKeyError
		if errors.As(err, &unknown) {
			return nil, fmt.Errorf("credential %d of device %q: %w", some[i].N, some[i].Device, err)
		}
		if err != nil { // a damaged one is no reason to keep all others out
			d.log.Error("a credential does not open", "device", some[i].Device, "n", some[i].N, "err", err)
		}
	}
	return d, nil
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
