package command

import (
	"crypto/ed25519"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func signedCheckpoint() (Checkpoint, ed25519.PublicKey) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	at := time.UnixMilli(1_790_000_000_123).UTC()
	c := Checkpoint{Log: [32]byte{1}, At: Place{Epoch: 2, N: 41}, Hash: [32]byte{3}, SealedAt: at, SignedAt: at.Add(time.Hour)}
	c.Sign(key)
	return c, key.Public().(ed25519.PublicKey)
}

// The line and what is signed are a format: other programs read them.
func TestCheckpointIsALine(t *testing.T) {
	c, key := signedCheckpoint()
	zeros := strings.Repeat("00", 31)
	const signature = "73b3bb618d95c41c04d10d4ddd75143f3d485bda8da6b3db026185f22096db7cf1e4ef364b16f43bbd5b442f3db4c8317fef6726b2faa422d14ccc1ae77c600a"
	want := `{"log":"01` + zeros + `","event":"2-41","hash":"03` + zeros + `","sealed_at":"2026-09-21T14:13:20.123Z","signed_at":"2026-09-21T15:13:20.123Z",` +
		`"key":"3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29","signature":"` + signature + `"}`
	line, err := c.MarshalJSON()
	if diff := cmp.Diff(string(line), want); diff != "" || err != nil {
		t.Errorf("the line (-got +want): %v\n%s", err, diff)
	}
	signed := "626568657374206578706f7274656420636865636b706f696e7420310a" + "01" + zeros +
		"0000000000000029" + "0000000000000002" + "000001a0c4506c7b" + "000001a0c4875afb" + "03" + zeros
	if got := hex.EncodeToString(c.message()); got != signed {
		t.Errorf("what is signed is\n%s, want\n%s", got, signed)
	}
	back, err := ParseCheckpoint(line)
	if diff := cmp.Diff(back, c); diff != "" || err != nil {
		t.Errorf("read back (-got +want): %v\n%s", err, diff)
	}
	if err := back.Verify(make(ed25519.PublicKey, ed25519.PublicKeySize), key); err != nil {
		t.Error(err)
	}
}

// Every part of a line counts: no prefix passes, and no other byte.
func TestDamagedCheckpointIsRefused(t *testing.T) {
	c, key := signedCheckpoint()
	line, err := c.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for n := range line {
		if _, err := ParseCheckpoint(line[:n]); err == nil {
			t.Errorf("the first %d bytes pass", n)
		}
		for _, other := range []byte{'0', '7', 'a', 'F', ' ', '"', line[n] ^ 1} {
			if line[n] == other {
				continue
			}
			damaged := append([]byte(nil), line...)
			damaged[n] = other
			if c, err := ParseCheckpoint(damaged); err == nil && c.Verify(key) == nil {
				t.Errorf("%q for %q at byte %d passes", other, line[n], n)
			}
		}
	}
	for name, line := range map[string]string{
		"more of it": string(line) + " ", "a field more": strings.Replace(string(line), "{", `{"more":"1",`, 1),
		"a field twice": strings.Replace(string(line), "{", `{"event":"2-40",`, 1), "event 0": strings.Replace(string(line), "2-41", "2-0", 1),
		"too long": strings.Repeat(" ", CheckpointLineMax) + string(line),
	} {
		if _, err := ParseCheckpoint([]byte(line)); err == nil {
			t.Errorf("%s passes", name)
		}
	}
	if err := c.Verify(make(ed25519.PublicKey, ed25519.PublicKeySize)); err == nil || !strings.Contains(err.Error(), "not trusted") {
		t.Errorf("signed with another key: %v", err)
	}
}
