package device

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
	"time"
)

// Limits of credentials.
const (
	CredentialsPerDevice = 8   // that count at a time: old and new, and room for a mistake
	CredentialsKept      = 256 // numbers back, of those that were revoked

	SecretBytesMin     = 16 // 128 bits: AES-128, and no search ends
	SecretBytesMax     = 64 // what DTLS stacks commonly take
	SecretBytesDefault = 16 // of one that is made here: the most that tinydtls takes as it is shipped

	CertificateBytesMax = 4 << 10 // as PEM: a chain of one, with room for extensions
)

// CredentialKind is how a device proves itself.
type CredentialKind uint8

const (
	PSK         CredentialKind = iota + 1 // a secret that only it and the server know
	Certificate                           // a certificate with the device's id as its subject's CN
)

var credentialKinds = [...]string{PSK: "psk", Certificate: "certificate"}

func (k CredentialKind) String() string {
	if k.Valid() {
		return credentialKinds[k]
	}
	return "unknown"
}

// Valid reports whether k is a kind.
func (k CredentialKind) Valid() bool { return k == PSK || k == Certificate }

// Secret is a key that nobody but its device should read. Whatever prints or
// marshals it says only that.
type Secret []byte

const hidden = "(secret)"

func (Secret) String() string               { return hidden }
func (Secret) GoString() string             { return hidden }
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Text is the secret as operators read and write it: hexadecimal.
func (s Secret) Text() string { return hex.EncodeToString(s) }

// ParseSecret reads a secret from its text, or says what is wrong with it,
// never what it is.
func ParseSecret(text string) (s Secret, what string) {
	if len(text) > 2*SecretBytesMax {
		return nil, fmt.Sprintf("is over %d bytes", SecretBytesMax)
	}
	s, err := hex.DecodeString(text)
	if err != nil {
		return nil, "is not hexadecimal, two digits a byte"
	}
	return s, CheckSecret(s)
}

// CheckSecret says what is wrong with a secret, or nothing.
func CheckSecret(s Secret) string {
	switch {
	case len(s) < SecretBytesMin:
		return fmt.Sprintf("is under %d bytes", SecretBytesMin)
	case len(s) > SecretBytesMax:
		return fmt.Sprintf("is over %d bytes", SecretBytesMax)
	case strings.Count(string(s), string(s[:1])) == len(s):
		return "is the same byte all over, which is no secret"
	}
	return ""
}

// Credential is what is kept of one of a device's credentials. Its secret is
// sealed: see package vault.
type Credential struct {
	Device    string // its name
	N         int    // counts a device's from 1
	Kind      CredentialKind
	Digest    [sha256.Size]byte // of a PSK, keyed; of a certificate its fingerprint
	Seal      Seal              // zero: it was revoked
	CreatedAt time.Time
	CreatedBy string
	ExpiresAt time.Time // of a certificate. Zero: never
	UsedAt    time.Time // to the hour or so; zero: never
	RevokedAt time.Time // zero: it counts
	RevokedBy string
}

// Seal is what was closed with a key of the vault.
type Seal struct {
	Key   int // its version, from 1
	Bytes []byte
}

// Counts reports whether a device may come in with it at now.
func (c *Credential) Counts(now time.Time) bool {
	return c.RevokedAt.IsZero() && (c.ExpiresAt.IsZero() || now.Before(c.ExpiresAt))
}

// Proof is a credential that is to be a device's.
type Proof struct {
	Device      string
	Kind        CredentialKind
	Secret      Secret // of a PSK; nil: one is to be made
	Certificate string // PEM
}

// Imported is what became of a proof among many.
type Imported struct {
	N       int  // its number; 0: it was refused
	Already bool // the device had it
	Err     error
}

// Pin is what is kept of a certificate.
type Pin struct {
	Fingerprint [sha256.Size]byte // of its DER
	ExpiresAt   time.Time
}

// ParsePin reads the certificate of the device of that name, or says why it
// cannot be one.
func ParsePin(text, name string, now time.Time) (Pin, string) {
	if len(text) > CertificateBytesMax {
		return Pin{}, fmt.Sprintf("is over %d bytes", CertificateBytesMax)
	}
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil || block.Type != "CERTIFICATE":
		return Pin{}, "is no certificate in PEM"
	case strings.TrimSpace(string(rest)) != "":
		return Pin{}, "holds more than one certificate; the device's own is enough"
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return Pin{}, "holds a certificate that cannot be read"
	}
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	switch {
	case !ok || key.Curve != elliptic.P256():
		return Pin{}, "has a key that is not on P-256"
	case cert.Subject.CommonName != name:
		return Pin{}, fmt.Sprintf("is for the subject CN %.64q, not for the device", cert.Subject.CommonName)
	case !now.Before(cert.NotAfter):
		return Pin{}, "has expired"
	}
	return Pin{Fingerprint: sha256.Sum256(cert.Raw), ExpiresAt: cert.NotAfter.UTC()}, ""
}
