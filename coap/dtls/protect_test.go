package dtls_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	pion "github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/ciphersuite"
	"github.com/pion/dtls/v3/pkg/protocol"
	"github.com/pion/dtls/v3/pkg/protocol/recordlayer"

	"behest/coap/dtls"
)

// theirs is pion's protection of the same records.
type theirs interface {
	Encrypt(*recordlayer.RecordLayer, []byte) ([]byte, error)
	Decrypt(recordlayer.Header, []byte) ([]byte, error)
}

// ends are both implementations of a suite: what the one seals the other opens.
func ends(t testing.TB, id pion.CipherSuiteID, label []byte) (*dtls.Guard, theirs) {
	t.Helper()
	fill := func(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }
	keyBytes, ivBytes := 16, 4
	if id == pion.TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256 {
		keyBytes, ivBytes = 32, 12
	}
	fromKey, fromIV, toKey, toIV := fill(1, keyBytes), fill(2, ivBytes), fill(3, keyBytes), fill(4, ivBytes)
	var other theirs
	var err error
	switch id {
	case pion.TLS_PSK_WITH_AES_128_CCM_8:
		other, err = ciphersuite.NewCCM(ciphersuite.CCMTagLength8, fromKey, fromIV, toKey, toIV)
	case pion.TLS_PSK_WITH_AES_128_CCM:
		other, err = ciphersuite.NewCCM(ciphersuite.CCMTagLength, fromKey, fromIV, toKey, toIV)
	case pion.TLS_PSK_WITH_AES_128_GCM_SHA256:
		other, err = ciphersuite.NewGCM(fromKey, fromIV, toKey, toIV)
	default:
		other, err = ciphersuite.NewChaCha20Poly1305(fromKey, fromIV, toKey, toIV)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dtls.NewGuard(id, fromKey, fromIV, toKey, toIV, label), other
}

var protections = []pion.CipherSuiteID{
	pion.TLS_PSK_WITH_AES_128_CCM_8, pion.TLS_PSK_WITH_AES_128_CCM, pion.TLS_PSK_WITH_AES_128_GCM_SHA256,
	pion.TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256,
}

// clearRecord is one of pion's before it is sealed, with a connection id or without.
func clearRecord(t testing.TB, number uint64, label, text []byte) (*recordlayer.RecordLayer, []byte) {
	t.Helper()
	r := &recordlayer.RecordLayer{
		Header:  recordlayer.Header{ContentType: protocol.ContentTypeApplicationData, Version: protocol.Version1_2, Epoch: 1, SequenceNumber: number},
		Content: &protocol.ApplicationData{Data: text},
	}
	if len(label) > 0 {
		inner, err := (&recordlayer.InnerPlaintext{Content: text, RealType: protocol.ContentTypeApplicationData, Zeros: 3}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		r.Header.ContentType, r.Header.ConnectionID = protocol.ContentTypeConnectionID, label
		r.Header.ContentLen = uint16(len(inner))
		header, err := r.Header.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return r, append(header, inner...)
	}
	raw, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return r, raw
}

// FuzzProtection holds our records against pion's: each opens what the other
// seals, and neither opens what was changed by one bit.
func FuzzProtection(f *testing.F) {
	f.Add(uint8(0), uint64(1), []byte("hello"), true, uint16(0))
	f.Add(uint8(1), uint64(1<<48-1), []byte(""), false, uint16(100))
	f.Add(uint8(2), uint64(0), []byte{0, 0, 0}, true, uint16(2000))
	f.Add(uint8(3), uint64(1<<32), bytes.Repeat([]byte("x"), 1500), false, uint16(9))
	f.Fuzz(func(t *testing.T, which uint8, number uint64, text []byte, labeled bool, bit uint16) {
		if len(text) > 1<<14 {
			return
		}
		number &= 1<<48 - 1
		var label []byte
		if labeled {
			label = []byte("12345678")
		}
		us, them := ends(t, protections[int(which)%len(protections)], label)
		r, raw := clearRecord(t, number, label, text)
		sealed, err := them.Encrypt(r, raw)
		if err != nil {
			t.Fatal(err)
		}
		damaged := append([]byte(nil), sealed...)
		typ, got, ok := us.Open(sealed)
		if !ok || typ != 23 || !bytes.Equal(got, text) {
			t.Fatalf("of pion's we opened %d, % x, %v", typ, got, ok)
		}
		at := int(bit) % (8 * len(damaged))
		damaged[at/8] ^= 1 << (at % 8)
		if typ, got, ok := us.Open(damaged); ok {
			t.Fatalf("with bit %d changed we opened %d, % x", at, typ, got)
		}

		ours, err := us.Seal(number, 23, text)
		if err != nil {
			t.Fatal(err)
		}
		opened, err := them.Decrypt(recordlayer.Header{ConnectionID: label}, append([]byte(nil), ours...))
		want := append([]byte(nil), text...)
		if labeled {
			want = append(want, 23)
		}
		if err != nil || !bytes.HasSuffix(opened, want) || len(opened) != len(want)+13+len(label) {
			t.Fatalf("of ours pion opened % x, %v", opened, err)
		}
	})
}

// TestTheWindowOfRecords against a set that forgets nothing.
func TestTheWindowOfRecords(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var w dtls.Window
		came, newest := map[uint64]bool{0: true}, uint64(0)
		w.Mark(0)
		for range 300 {
			n := uint64(max(0, int64(newest)+rng.Int64N(150)-100))
			if rng.IntN(20) == 0 {
				n = newest + rng.Uint64N(1<<40)
			}
			first, latest := w.Mark(n)
			if want := !came[n] && n+64 > newest; first != want || latest != (n > newest) {
				t.Fatalf("%d after %d: first %v, want %v; newest %v", n, newest, first, want, latest)
			}
			if first {
				came[n] = true
			}
			newest = max(newest, n)
		}
	}
}

// TestAnIdleSessionIsSmall: no goroutine, and less than two thousand bytes.
func TestAnIdleSessionIsSmall(t *testing.T) {
	const sessions, most = 200, 2000
	s := serve(t, &book{}, dtls.Options{SessionsPerDevice: sessions + 1, HandshakesPerAddress: sessions + 1})
	round(t, client(t, s, with("pump-1", key1)), "all that serves runs")
	pcs := make([]*plug, sessions)
	for i := range pcs {
		pcs[i] = &plug{UDPConn: socket(t, fmt.Sprintf("127.8.0.%d:0", i))}
	}
	before, goroutines := inUse(), runtime.NumGoroutine()
	for _, p := range pcs {
		c, err := dial(p, s.addr(), with("pump-1", key1, pion.WithConnectionIDGenerator(pion.OnlySendCIDGenerator())))
		if err != nil {
			t.Fatal(err)
		}
		p.unplug()
		c.Close()
	}
	wait(t, "the end of the handshakes", func() bool { return runtime.NumGoroutine() <= goroutines+2 })
	each := (inUse() - before) / sessions
	if n := s.Stats(); n.Sessions != sessions+1 || each > most {
		t.Errorf("%d bytes each, at most %d; %+v", each, most, n)
	}
	t.Logf("%d bytes each", each)
}
