package vault

import (
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"

	"behest/device"
)

// Limits of the key file.
const (
	KeysMax     = 16 // versions at a time; two are enough, but for who forgets
	VersionMax  = 1 << 30
	fileMax     = KeysMax * 256 // with comments
	masterBytes = 32
)

// label keeps what is made of a master key here apart from what is made of it
// elsewhere.
const label = "behest device credentials"

// Keys is a ring of master keys. It does not change.
type Keys struct {
	newest int
	ring   map[int]cipher.AEAD // by version
}

// Parse reads the text of a key file. Empty lines and lines that begin with #
// mean nothing.
func Parse(text []byte) (*Keys, error) {
	if len(text) > fileMax {
		return nil, fmt.Errorf("it is over %d bytes", fileMax)
	}
	k := &Keys{ring: make(map[int]cipher.AEAD)}
	at := 0
	for line := range bytes.Lines(text) {
		at++
		trimmed := strings.TrimSpace(string(line))
		if trimmed == "" || strings.HasPrefix(trimmed, "#") {
			continue
		}
		if err := k.add(trimmed); err != nil {
			return nil, fmt.Errorf("line %d: %w", at, err)
		}
	}
	if k.newest == 0 {
		return nil, errors.New("it holds no key")
	}
	return k, nil
}

// add reads a line. Its errors say nothing of the key.
func (k *Keys) add(line string) error {
	number, digits, _ := strings.Cut(line, " ")
	version, err := strconv.Atoi(number)
	if err != nil || version < 1 || version > VersionMax {
		return fmt.Errorf("a line is VERSION KEY, and a version is a number from 1 to %d", VersionMax)
	}
	master, err := hex.DecodeString(strings.TrimSpace(digits))
	switch {
	case err != nil || len(master) != masterBytes:
		return fmt.Errorf("key %d is not %d hexadecimal digits", version, 2*masterBytes)
	case k.ring[version] != nil:
		return fmt.Errorf("there are two keys %d", version)
	case len(k.ring) == KeysMax:
		return fmt.Errorf("there are over %d keys", KeysMax)
	}
	key, err := hkdf.Key(sha256.New, master, nil, label, chacha20poly1305.KeySize)
	if err != nil {
		return err
	}
	if k.ring[version], err = chacha20poly1305.NewX(key); err != nil {
		return err
	}
	if k.newest == 0 {
		k.newest = version
	}
	return nil
}

// Line makes a key, as a line of the file.
func Line(version int) string {
	var master [masterBytes]byte
	_, _ = rand.Read(master[:]) // it never fails
	return fmt.Sprintf("%d %x\n", version, master)
}

// Next is a version that no key of the ring has, and that is above all of them.
func (k *Keys) Next() int {
	next := 1
	for version := range k.ring {
		next = max(next, version+1)
	}
	return next
}

// Newest is the version of the key that seals.
func (k *Keys) Newest() int { return k.newest }

// UnknownKeyError says that something was sealed with a key that the ring does not
// hold.
type UnknownKeyError struct{ Version int }

func (e UnknownKeyError) Error() string {
	return fmt.Sprintf("it was sealed with key %d, which is not in the key file", e.Version)
}

// ErrWrongKey says that something does not open: it is not what was sealed, not
// where it was, or the key is another one under the same version.
var ErrWrongKey = errors.New("it does not open: the key of that version is another one, or it was changed or moved")

// Seal closes a secret for the place that c is: set its device, number and kind
// first.
func (k *Keys) Seal(c *device.Credential, secret []byte) {
	c.Seal = k.seal(secret, func(version int) []byte { return placeOf(c, version) })
}

// Open is the inverse of Seal.
func (k *Keys) Open(c *device.Credential) (device.Secret, error) {
	return k.open(c.Seal, placeOf(c, c.Seal.Key))
}

// placeOf is what a credential's seal is bound to. The name goes last, so that
// no two places read alike.
func placeOf(c *device.Credential, version int) []byte {
	b := append([]byte("credential\x00"), byte(c.Kind))
	b = binary.AppendUvarint(b, uint64(version))
	b = binary.AppendUvarint(b, uint64(c.N))
	return append(b, c.Device...)
}

func (k *Keys) seal(text []byte, place func(version int) []byte) device.Seal {
	nonce := make([]byte, chacha20poly1305.NonceSizeX, chacha20poly1305.NonceSizeX+len(text)+chacha20poly1305.Overhead)
	_, _ = rand.Read(nonce) // it never fails
	return device.Seal{Key: k.newest, Bytes: k.ring[k.newest].Seal(nonce, nonce, text, place(k.newest))}
}

func (k *Keys) open(s device.Seal, place []byte) ([]byte, error) {
	aead := k.ring[s.Key]
	if aead == nil {
		return nil, UnknownKeyError{s.Key}
	}
	if len(s.Bytes) < chacha20poly1305.NonceSizeX {
		return nil, ErrWrongKey
	}
	text, err := aead.Open(nil, s.Bytes[:chacha20poly1305.NonceSizeX], s.Bytes[chacha20poly1305.NonceSizeX:], place)
	if err != nil {
		return nil, ErrWrongKey
	}
	return text, nil
}

// DigestKey is what recognises secrets without telling them.
type DigestKey []byte

// NewDigestKey makes a key, and seals it.
func (k *Keys) NewDigestKey() (DigestKey, device.Seal) {
	key := make(DigestKey, sha256.Size)
	_, _ = rand.Read(key) // it never fails
	return key, k.SealDigestKey(key)
}

// SealDigestKey seals a key anew.
func (k *Keys) SealDigestKey(key DigestKey) device.Seal { return k.seal(key, digestPlace) }

// OpenDigestKey is the inverse.
func (k *Keys) OpenDigestKey(s device.Seal) (DigestKey, error) {
	return k.open(s, digestPlace(s.Key))
}

func digestPlace(version int) []byte {
	return binary.AppendUvarint([]byte("digest key\x00"), uint64(version))
}

// Digest is that of a secret.
func (key DigestKey) Digest(s device.Secret) (d [sha256.Size]byte) {
	mac := hmac.New(sha256.New, key)
	mac.Write(s)
	copy(d[:], mac.Sum(nil))
	return d
}
