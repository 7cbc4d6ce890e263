package dtls

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"net/netip"
	"sync"

	"behest/device"
)

const (
	pskBytesMax = 64 // longer ones are hashed by nobody; 16 random bytes are enough
	// turnsMax bounds who is remembered to need another key than the newest.
	turnsMax = 4096
)

// keyring chooses the key of a PSK handshake. A handshake tries one key: the
// key is needed before the device shows which it has. While several are good,
// a device that fails with one is met with the next when it comes again, and
// with the one that worked from then on.
type keyring struct {
	credentials Credentials
	secret      [sha256.Size]byte // of the keys that nobody has

	mu    sync.Mutex // guards turns
	turns map[turn]int
}

// turn is who tries: the host is in it, so that strangers elsewhere do not turn
// a device's key away from it.
type turn struct {
	identity string
	host     netip.Addr
}

func newKeyring(credentials Credentials) *keyring {
	k := &keyring{credentials: credentials, turns: map[turn]int{}}
	rand.Read(k.secret[:]) // never fails [crypto/rand]
	return k
}

// trial is one key that a handshake goes on with.
type trial struct {
	turn turn
	key  []byte
	nth  int // of so many
	of   int // 0: nobody has this key
}

// try returns the key to go on with. A stranger gets one that nobody has: his
// handshake then ends like that of a device with a wrong key [RFC 4279 2].
func (k *keyring) try(identity string, host netip.Addr) trial {
	mac := hmac.New(sha256.New, k.secret[:])
	mac.Write([]byte(identity))
	t := trial{turn: turn{identity: identity, host: host}, key: mac.Sum(nil)}
	if device.CheckName(identity) != "" {
		return t
	}
	var keys [][]byte
	for _, key := range k.credentials.PSKs(identity) {
		if len(key) > 0 && len(key) <= pskBytesMax {
			keys = append(keys, key)
		}
	}
	if t.of = len(keys); t.of == 0 {
		return t
	}
	k.mu.Lock()
	t.nth = k.turns[t.turn] % t.of
	k.mu.Unlock()
	t.key = keys[t.nth]
	return t
}

// settle remembers what came of a trial.
func (k *keyring) settle(t trial, worked bool) {
	if !worked && t.of > 1 {
		t.nth = (t.nth + 1) % t.of
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if t.nth == 0 {
		delete(k.turns, t.turn)
		return
	}
	if _, known := k.turns[t.turn]; !known && len(k.turns) >= turnsMax {
		for other := range k.turns { // any: it costs that device one attempt
			delete(k.turns, other)
			break
		}
	}
	k.turns[t.turn] = t.nth
}
