package dtls

import (
	"crypto/sha256"
	"crypto/x509"
	"net/netip"

	"behest/coap/endpoint"
)

// Credentials is what devices prove themselves against. Its methods are called
// from many goroutines. A handshake waits for PSKs and Revoked, which may ask a
// store; how long they take must not tell a known identity from an unknown one.
// For Roots the reader of the network waits: it answers from memory.
type Credentials interface {
	// PSKs returns the keys with which a device may come in now, the newest
	// first: several while a key is being rotated, none for a stranger.
	PSKs(identity string) [][]byte
	// Roots returns the authorities of client certificates; nil: none is taken.
	Roots() *x509.CertPool
	// Revoked reports whether a credential that was good counts no longer.
	Revoked(Credential) bool
}

// Kind is how a device proved itself.
type Kind uint8

const (
	PSK Kind = iota + 1
	Certificate
)

// Credential is what one session was made with.
type Credential struct {
	Identity    string // the device id: PSK identity, or subject CN, byte for byte
	Kind        Kind
	Fingerprint [sha256.Size]byte // SHA-256 of the key, or of the certificate in DER
}

// Session is one device's security association. Peer is how the endpoint knows
// it; it stays the same wherever the device moves to.
type Session struct {
	Peer       endpoint.Peer
	Credential Credential
	Remote     netip.AddrPort // where its newest record came from
	Proven     bool           // it is known to receive there
}

// Reason is why a session ended.
type Reason string

const (
	Closed   Reason = "closed"   // by the device, or by the server's end
	Replaced Reason = "replaced" // the device handshook anew
	Revoked  Reason = "revoked"  // its credential counts no longer
	Expired  Reason = "expired"  // its certificate did
	Idle     Reason = "idle"
	Evicted  Reason = "evicted" // another needed the place
)
