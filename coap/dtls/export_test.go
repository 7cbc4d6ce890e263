package dtls

import (
	"time"

	"github.com/pion/dtls/v3"

	"behest/coap/endpoint"
)

// Receive takes a datagram as the reader does.
func (c *Conn) Receive(d *endpoint.Datagram) { c.receive(d) }

// NextRecord and ParseHello are the parsers.
func NextRecord(b []byte) (body, rest []byte, ok bool) {
	r, rest, ok := nextRecord(b)
	return r.body, rest, ok
}

func ParseHello(b []byte) (cookie []byte, ok bool) {
	h, ok := parseHello(b)
	return h.cookie, ok
}

// Sealed returns those records of b that can be a session's.
func Sealed(b, id []byte) (kept []byte) {
	for len(b) > 0 {
		r, rest, ok := nextRecord(b)
		if !ok {
			break
		}
		if ours(&r, id) {
			kept = append(kept, r.raw...)
		}
		b = rest
	}
	return kept
}

// Window is which records came.
type Window struct{ window }

func (w *Window) Mark(number uint64) (first, newest bool) { return w.mark(number) }

// Guard protects the records of a session as it does.
type Guard struct{ keys }

// NewGuard takes keys as pion does: those of the one end and of the other.
func NewGuard(id dtls.CipherSuiteID, fromKey, fromIV, toKey, toIV, label []byte) *Guard {
	k := keys{suite: suites[id], label: label}
	copy(k.from.key[:], fromKey)
	copy(k.from.iv[:], fromIV)
	copy(k.to.key[:], toKey)
	copy(k.to.iv[:], toIV)
	return &Guard{k}
}

func (g *Guard) Seal(number uint64, typ byte, text []byte) ([]byte, error) {
	return g.seal(nil, number, typ, text)
}

// Open opens the first record of b.
func (g *Guard) Open(b []byte) (typ byte, text []byte, ok bool) {
	r, _, ok := nextRecord(b)
	if !ok {
		return 0, nil, false
	}
	return g.open(&r)
}

// Cookies are those of a Conn, with a clock of the test's.
type Cookies struct{ c *cookies }

func NewCookies(now func() time.Duration) Cookies { return Cookies{newCookies(now)} }

// Of and Prove take a datagram with a hello.
func (c Cookies) Of(from endpoint.Peer, datagram []byte) []byte {
	r, _, _ := nextRecord(datagram)
	return append([]byte(nil), c.c.of(from, helloIn(r.body), 0)...)
}

func (c Cookies) Prove(from endpoint.Peer, datagram []byte) bool {
	r, _, _ := nextRecord(datagram)
	return c.c.prove(from, helloIn(r.body))
}

func helloIn(body []byte) *hello {
	h, ok := parseHello(body)
	if !ok {
		panic("no hello")
	}
	return &h
}

// Without is the datagram of a hello without its cookie.
func Without(body []byte) []byte { return helloIn(body).without(0) }
