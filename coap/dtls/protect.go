package dtls

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"math"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/ccm"
	"github.com/pion/dtls/v3/pkg/crypto/prf"
	"golang.org/x/crypto/chacha20poly1305"
)

// suite is how the records of a cipher suite are protected.
type suite struct {
	keyBytes, ivBytes int
	explicit          int // bytes of the nonce that each record carries
	aead              func(key []byte) (cipher.AEAD, error)
}

const (
	nonceBytes    = 12
	saltBytes     = 4 // of a nonce whose other bytes are in the record [RFC 5288 3, RFC 6655 3]
	explicitBytes = 8
	epochOfData   = 1 // there is no renegotiation
	sequenceMax   = 1<<48 - 1
)

func aesCCM(tagBytes int) *suite {
	return &suite{keyBytes: 16, ivBytes: saltBytes, explicit: explicitBytes, aead: func(key []byte) (cipher.AEAD, error) {
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		return ccm.NewCCM(block, tagBytes, nonceBytes)
	}}
}

var (
	aesGCM = &suite{keyBytes: 16, ivBytes: saltBytes, explicit: explicitBytes, aead: func(key []byte) (cipher.AEAD, error) {
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		return cipher.NewGCM(block)
	}}
	aesCCM8, aesCCM16 = aesCCM(8), aesCCM(16)
	chaCha20          = &suite{keyBytes: chacha20poly1305.KeySize, ivBytes: nonceBytes, aead: chacha20poly1305.New} // [RFC 7905 2]
)

var suites = map[dtls.CipherSuiteID]*suite{
	dtls.TLS_PSK_WITH_AES_128_CCM_8:                  aesCCM8,
	dtls.TLS_PSK_WITH_AES_128_CCM:                    aesCCM16,
	dtls.TLS_PSK_WITH_AES_128_GCM_SHA256:             aesGCM,
	dtls.TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256: chaCha20,
	dtls.TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8:          aesCCM8,
	dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:     aesGCM,
}

// half protects one direction.
type half struct {
	key [chacha20poly1305.KeySize]byte
	iv  [nonceBytes]byte
}

// keys protect a session's records. The cipher is made anew for each record,
// which takes less time than the record does, since most sessions say nothing
// for hours and a cipher is larger than all the rest.
type keys struct {
	suite    *suite
	from, to half   // the device
	label    []byte // connection id that the device asked for in what it is sent; none: no type 25
}

var errExport = errors.New("dtls: pion's state is not what it was")

// exported is what we need of pion's state, by the names of its own encoding.
type exported struct {
	LocalEpoch, RemoteEpoch   uint16
	LocalRandom, RemoteRandom [randomBytes]byte
	CipherSuiteID             uint16
	MasterSecret              []byte
	SequenceNumber            uint64 // of our next record
	RemoteSequenceNumber      uint64 // of the device's, if none gets lost
	RemoteConnectionID        []byte
}

// export takes a session over from a handshake that is over, which must send
// nothing after.
func (s *session) export(c *dtls.Conn) error {
	state, ok := c.ConnectionState()
	if !ok {
		return errExport
	}
	b, err := state.MarshalBinary()
	if err != nil {
		return fmt.Errorf("dtls: export: %w", err)
	}
	var e exported
	if err := gob.NewDecoder(bytes.NewReader(b)).Decode(&e); err != nil {
		return fmt.Errorf("dtls: export: %w", err)
	}
	if e.LocalEpoch != epochOfData || e.RemoteEpoch != epochOfData || e.SequenceNumber == 0 || e.RemoteSequenceNumber == 0 {
		return errExport
	}
	if s.keys, err = e.keys(); err != nil {
		return err
	}
	s.sent.Store(e.SequenceNumber)
	s.window = window{newest: e.RemoteSequenceNumber - 1, seen: math.MaxUint64}
	return nil
}

func (e *exported) keys() (k keys, err error) {
	s := suites[dtls.CipherSuiteID(e.CipherSuiteID)]
	if s == nil || len(e.MasterSecret) == 0 {
		return keys{}, errExport
	}
	made, err := prf.GenerateEncryptionKeys(e.MasterSecret, e.RemoteRandom[:], e.LocalRandom[:], 0, s.keyBytes, s.ivBytes, sha256.New)
	if err != nil {
		return keys{}, fmt.Errorf("dtls: export: %w", err)
	}
	k = keys{suite: s, label: e.RemoteConnectionID}
	copy(k.from.key[:], made.ClientWriteKey)
	copy(k.from.iv[:], made.ClientWriteIV)
	copy(k.to.key[:], made.ServerWriteKey)
	copy(k.to.iv[:], made.ServerWriteIV)
	return k, nil
}

// nonce is that of a record; explicit are the bytes that the record carries of
// it, or its epoch and number.
func (s *suite) nonce(h *half, explicit []byte) (n [nonceBytes]byte) {
	copy(n[:], h.iv[:s.ivBytes])
	for i, b := range explicit {
		n[saltBytes+i] ^= b
	}
	return n
}

// additional is the data that is authenticated beside the text. With a
// connection id it is longer [RFC 9146 5.3].
func additional(typ byte, version, numbers, id []byte, length int) []byte {
	b := make([]byte, 0, 64)
	if typ == typeCID {
		b = append(b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, typ, byte(len(id)), typ)
		b = append(append(b, version...), numbers...)
		b = append(b, id...)
	} else {
		b = append(append(b, numbers...), typ)
		b = append(b, version...)
	}
	return binary.BigEndian.AppendUint16(b, uint16(length))
}

// seal appends the record with a number to b.
func (k *keys) seal(b []byte, number uint64, typ byte, text []byte) ([]byte, error) {
	aead, err := k.suite.aead(k.to.key[:k.suite.keyBytes])
	if err != nil {
		return b, err
	}
	outer, inner := typ, text
	if len(k.label) > 0 {
		outer, inner = typeCID, append(append(make([]byte, 0, len(text)+1), text...), typ)
	}
	at := len(b)
	b = append(b, outer, 0xfe, 0xfd)
	b = binary.BigEndian.AppendUint64(b, epochOfData<<48|number)
	version, numbers := b[at+1:at+3], b[at+3:at+11]
	if outer == typeCID {
		b = append(b, k.label...)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(k.suite.explicit+len(inner)+aead.Overhead()))
	b = append(b, numbers[:k.suite.explicit]...)
	nonce := k.suite.nonce(&k.to, numbers)
	return aead.Seal(b, nonce[:], inner, additional(outer, version, numbers, k.label, len(inner))), nil
}

// open returns what the device said in a record, in the record's own bytes. It
// has no false friends: what does not open is nobody's.
func (k *keys) open(r *record) (typ byte, text []byte, ok bool) {
	aead, err := k.suite.aead(k.from.key[:k.suite.keyBytes])
	length := len(r.body) - k.suite.explicit
	if err != nil || length < aead.Overhead() {
		return 0, nil, false
	}
	version, numbers := r.raw[1:3], r.raw[3:11]
	explicit := numbers
	if k.suite.explicit > 0 {
		explicit = r.body[:k.suite.explicit]
	}
	nonce := k.suite.nonce(&k.from, explicit)
	sealed := r.body[k.suite.explicit:]
	text, err = aead.Open(sealed[:0], nonce[:], sealed, additional(r.typ, version, numbers, r.cid, length-aead.Overhead()))
	if err != nil {
		return 0, nil, false
	}
	if r.typ != typeCID {
		return r.typ, text, true
	}
	text = bytes.TrimRight(text, "\x00") // padding [RFC 9146 4]
	if len(text) == 0 {
		return 0, nil, false
	}
	return text[len(text)-1], text[:len(text)-1], true
}

// window tells which records came already [RFC 6347 4.1.2.6].
type window struct {
	newest uint64
	seen   uint64 // bit i: newest-i came
}

// mark reports whether a record is the first with its number, and whether it is
// the newest of all. It is asked about authentic records alone.
func (w *window) mark(number uint64) (first, newest bool) {
	switch {
	case number > w.newest:
		w.seen, w.newest = w.seen<<(number-w.newest)|1, number
		return true, true
	case w.newest-number >= replayWindow:
		return false, false
	}
	bit := uint64(1) << (w.newest - number)
	first = w.seen&bit == 0
	w.seen |= bit
	return first, false
}
