package dtls

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"reflect"
	"time"

	"github.com/pion/dtls/v3"

	"behest/coap/endpoint"
)

const (
	cookieBytes  = 20 // as pion's
	cookiePeriod = time.Minute
)

// cookies prove addresses without remembering any [RFC 6347 4.2.1]: a cookie is
// what a ClientHello says, and where it came from, under a secret. It counts for
// one to two periods. The reader owns it.
type cookies struct {
	now     func() time.Duration
	mac     hash.Hash
	scratch []byte
}

func newCookies(now func() time.Duration) *cookies {
	secret := make([]byte, sha256.Size)
	rand.Read(secret) // never fails [crypto/rand]
	return &cookies{now: now, mac: hmac.New(sha256.New, secret)}
}

// of is the cookie of a hello so many periods ago, good until the next call.
func (c *cookies) of(from endpoint.Peer, h *hello, ago int64) []byte {
	remote, local := from.Remote.Addr().As16(), from.Local.As16()
	b := binary.BigEndian.AppendUint64(c.scratch[:0], uint64(int64(c.now()/cookiePeriod)-ago))
	b = append(append(b, remote[:]...), local[:]...)
	b = binary.BigEndian.AppendUint16(b, from.Remote.Port())
	c.mac.Reset()
	c.mac.Write(b)
	c.mac.Write(h.before)
	c.mac.Write(h.after)
	c.scratch = c.mac.Sum(b[:0])
	return c.scratch[:cookieBytes]
}

// prove reports whether a hello bears the cookie that it was given.
func (c *cookies) prove(from endpoint.Peer, h *hello) bool {
	return hmac.Equal(h.cookie, c.of(from, h, 0)) || hmac.Equal(h.cookie, c.of(from, h, 1))
}

// ask answers a hello with a HelloVerifyRequest, in fewer bytes, and forgets it.
func (c *Conn) ask(from endpoint.Peer, sequence uint64, h *hello) {
	const body = 2 + 1 + cookieBytes
	b := append(c.asking[0].Data[:0], typeHandshake, 0xfe, 0xfd)
	b = binary.BigEndian.AppendUint64(b, sequence) // the hello's, of epoch 0
	b = append(b, 0, handshakeHeaderBytes+body)
	b = append(b, typeHelloVerifyRequest, 0, 0, body, 0, 0, 0, 0, 0, 0, 0, body, 0xfe, 0xfd, cookieBytes)
	c.asking[0] = endpoint.Datagram{Peer: from, Data: append(b, c.cookies.of(from, h, 0)...)}
	c.stats.Asked.Add(1)
	c.sendAll(c.asking[:])
}

// Pion gives cookies of its own, at random, and remembers them. A handshake
// begins here with a hello whose address is proven; pion is shown that hello
// without its cookie, asks for one in vain, and takes ours for its own.

// without is the datagram of a hello as it was before it bore a cookie.
func (h *hello) without(sequence uint64) []byte {
	length := len(h.before) + 1 + len(h.after) + len(h.extensions)
	b := append(make([]byte, 0, recordHeaderBytes+handshakeHeaderBytes+length), typeHandshake, 0xfe, 0xfd)
	b = binary.BigEndian.AppendUint64(b, sequence)
	b = binary.BigEndian.AppendUint16(b, uint16(handshakeHeaderBytes+length))
	b = append(b, typeClientHello, byte(length>>16), byte(length>>8), byte(length), 0, 0, 0, 0, 0, byte(length>>16), byte(length>>8), byte(length))
	b = append(append(b, h.before...), 0)
	return append(append(b, h.after...), h.extensions...)
}

// agree makes pion's cookie ours. Pion calls it in the goroutine that made its
// cookie and will compare it.
func (h *handshake) agree() {
	pions := pionsCookie(h.conn)
	if len(pions) != len(h.cookie) {
		h.shut()
		return
	}
	copy(pions, h.cookie)
}

// pionsCookie is the cookie itself, not a copy: reflection hands out the bytes
// of a field that is not exported.
func pionsCookie(c *dtls.Conn) []byte {
	return reflect.ValueOf(c).Elem().FieldByName("state").FieldByName("cookie").Bytes()
}

// checkPion reports whether pion's cookie is where we take it to be.
func checkPion() error {
	state, ok := reflect.TypeFor[dtls.Conn]().FieldByName("state")
	if ok && state.Type == reflect.TypeFor[dtls.State]() {
		if cookie, ok := state.Type.FieldByName("cookie"); ok && cookie.Type == reflect.TypeFor[[]byte]() {
			return nil
		}
	}
	return errors.New("dtls: this version of pion keeps its cookie elsewhere")
}
