package vault

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"behest/device"
)

const (
	one   = "1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
	two   = "2 202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f\n"
	wrong = "1 202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f\n"
)

func ring(t *testing.T, text string) *Keys {
	t.Helper()
	k, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestParse(t *testing.T) {
	many := ""
	for v := range KeysMax + 1 {
		many += Line(v + 1)
	}
	for _, tt := range []struct {
		name, text string
		newest     int
		err        string
	}{
		{"one", one, 1, ""},
		{"the first seals", two + one, 2, ""},
		{"also if it is the older", one + two, 1, ""},
		{"comments, empty lines, line ends", "# keys\r\n\r\n" + strings.ReplaceAll(two, "\n", "\r\n"), 2, ""},
		{"a last line without an end", strings.TrimSpace(one), 1, ""},
		{"none", "# nothing\n", 0, "it holds no key"},
		{"two of a version", one + wrong, 0, "line 2: there are two keys 1"},
		{"no version", one[2:], 0, "line 1: a line is VERSION KEY"},
		{"version 0", "0" + one[1:], 0, "line 1: a line is VERSION KEY"},
		{"too short", one[:40] + "\n", 0, "line 1: key 1 is not 64 hexadecimal digits"},
		{"not hexadecimal", strings.Replace(one, "1f", "xx", 1), 0, "line 1: key 1 is not 64 hexadecimal digits"},
		{"too many", many, 0, "line 17: there are over 16 keys"},
		{"too long", strings.Repeat("#", fileMax+1), 0, "it is over 4096 bytes"},
	} {
		k, err := Parse([]byte(tt.text))
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "1011") {
				t.Errorf("%s: %v, want %s, and nothing of the key", tt.name, err, tt.err)
			}
			continue
		}
		if err != nil || k.Newest() != tt.newest {
			t.Errorf("%s: %v, %+v", tt.name, err, k)
		}
	}
}

func TestNextIsAboveAll(t *testing.T) {
	if next := ring(t, one+two).Next(); next != 3 {
		t.Errorf("after 1 and 2 comes %d", next)
	}
	if k := ring(t, Line(7)+Line(3)); k.Newest() != 7 || k.Next() != 8 {
		t.Errorf("newest %d, next %d", k.Newest(), k.Next())
	}
}

// What is sealed opens in its own place, with any ring that has its key, and
// nowhere else.
func TestASealOpensInItsPlaceAlone(t *testing.T) {
	secret := device.Secret("0123456789abcdef")
	c := device.Credential{Device: "pump-7", N: 3, Kind: device.PSK}
	ring(t, one).Seal(&c, secret)
	if c.Seal.Key != 1 || bytes.Contains(c.Seal.Bytes, secret) {
		t.Fatalf("sealed with key %d", c.Seal.Key)
	}
	for _, tt := range []struct {
		name string
		keys string
		move func(*device.Credential)
		want error
	}{
		{"as it is", one, func(*device.Credential) {}, nil},
		{"after a rotation", two + one, func(*device.Credential) {}, nil},
		{"another device", one, func(c *device.Credential) { c.Device = "pump-8" }, ErrWrongKey},
		{"another number", one, func(c *device.Credential) { c.N = 4 }, ErrWrongKey},
		{"number and name run together", one, func(c *device.Credential) { c.Device = "\x03pump-7"; c.N = 0 }, ErrWrongKey},
		{"another kind", one, func(c *device.Credential) { c.Kind = device.Certificate }, ErrWrongKey},
		{"another version, which is there", two + one, func(c *device.Credential) { c.Seal.Key = 2 }, ErrWrongKey},
		{"a version that is not there", one, func(c *device.Credential) { c.Seal.Key = 2 }, UnknownKeyError{2}},
		{"another key under its version", wrong, func(*device.Credential) {}, ErrWrongKey},
		{"its key is gone", two, func(*device.Credential) {}, UnknownKeyError{1}},
		{"a bit of the nonce", one, func(c *device.Credential) { c.Seal.Bytes[0] ^= 1 }, ErrWrongKey},
		{"a bit of the text", one, func(c *device.Credential) { c.Seal.Bytes[30] ^= 1 }, ErrWrongKey},
		{"cut", one, func(c *device.Credential) { c.Seal.Bytes = c.Seal.Bytes[:20] }, ErrWrongKey},
		{"revoked", one, func(c *device.Credential) { c.Seal = device.Seal{} }, UnknownKeyError{0}},
	} {
		moved := c
		moved.Seal.Bytes = bytes.Clone(c.Seal.Bytes)
		tt.move(&moved)
		got, err := ring(t, tt.keys).Open(&moved)
		if !errors.Is(err, tt.want) || err == nil && !bytes.Equal(got, secret) || err != nil && got != nil {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestTwoSealsOfOneSecretDiffer(t *testing.T) {
	k := ring(t, one)
	a, b := device.Credential{Device: "pump-7", N: 1, Kind: device.PSK}, device.Credential{Device: "pump-7", N: 1, Kind: device.PSK}
	k.Seal(&a, []byte("0123456789abcdef"))
	k.Seal(&b, []byte("0123456789abcdef"))
	if bytes.Equal(a.Seal.Bytes, b.Seal.Bytes) {
		t.Error("who reads the database sees which secrets are the same")
	}
}

// A digest knows a secret again after a rotation, and is worth nothing without
// its key.
func TestDigestsOutliveARotation(t *testing.T) {
	secret := device.Secret("0123456789abcdef")
	key, sealed := ring(t, one).NewDigestKey()
	rotated := ring(t, two+one)
	again, err := rotated.OpenDigestKey(sealed)
	if err != nil || again.Digest(secret) != key.Digest(secret) {
		t.Fatalf("after a rotation: %v", err)
	}
	if again, err = ring(t, two).OpenDigestKey(rotated.SealDigestKey(again)); err != nil || again.Digest(secret) != key.Digest(secret) {
		t.Fatalf("with the new key alone: %v", err)
	}
	if _, err := ring(t, wrong).OpenDigestKey(sealed); !errors.Is(err, ErrWrongKey) {
		t.Errorf("with a wrong key: %v", err)
	}
	if other, _ := ring(t, one).NewDigestKey(); other.Digest(secret) == key.Digest(secret) {
		t.Error("two databases have the same digests")
	}
	if key.Digest(secret) == key.Digest(device.Secret("0123456789abcdee")) {
		t.Error("two secrets have one digest")
	}
}
