package device

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseSecret(t *testing.T) {
	good := "000102030405060708090a0b0c0d0e0f"
	for _, tt := range []struct{ name, text, want string }{
		{"16 bytes", good, ""},
		{"in capitals", strings.ToUpper(good), ""},
		{"64 bytes", strings.Repeat(good, 4), ""},
		{"15 bytes", good[:30], "is under 16 bytes"},
		{"nothing", "", "is under 16 bytes"},
		{"65 bytes", strings.Repeat(good, 4) + "ff", "is over 64 bytes"},
		{"half a byte", good + "f", "is not hexadecimal, two digits a byte"},
		{"letters", "correct horse battery staple, yes!", "is not hexadecimal, two digits a byte"},
		{"a space", " " + good + "0", "is not hexadecimal, two digits a byte"},
		{"one byte all over", strings.Repeat("42", 16), "is the same byte all over, which is no secret"},
	} {
		s, what := ParseSecret(tt.text)
		if what != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, what, tt.want)
		}
		if what == "" && s.Text() != strings.ToLower(tt.text) {
			t.Errorf("%s: it came back as %s", tt.name, s.Text())
		}
	}
}

// A secret that lands in a log or an answer by mistake is not told.
func TestASecretDoesNotPrintItself(t *testing.T) {
	s := Secret("0123456789abcdef")
	marshalled, err := json.Marshal(map[string]any{"s": s, "p": Proof{Secret: s}})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %s %q %#v", s, Proof{Secret: s}, s, s, Proof{Secret: s}), string(marshalled)} {
		for _, told := range []string{"0123456789abcdef", "MDEyMzQ1", "30313233", "0x30", "48 49 50"} {
			if strings.Contains(text, told) {
				t.Errorf("it says %s in %s", told, text)
			}
		}
	}
}

func TestACredentialCountsUntilItIsRevokedOrExpires(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    Credential
		want bool
	}{
		{"as it is made", Credential{}, true},
		{"revoked", Credential{RevokedAt: epoch.Add(-time.Second)}, false},
		{"before it expires", Credential{ExpiresAt: epoch.Add(time.Millisecond)}, true},
		{"as it expires", Credential{ExpiresAt: epoch}, false},
	} {
		if got := tt.c.Counts(epoch); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// certificate makes a certificate in PEM that signs itself.
func certificate(t *testing.T, name string, curve elliptic.Curve, until time.Time) (text string, der []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: epoch, NotAfter: until}
	if der, err = x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key); err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), der
}

func TestParsePin(t *testing.T) {
	until := epoch.Add(time.Hour)
	good, der := certificate(t, "pump-7", elliptic.P256(), until)
	other, _ := certificate(t, "pump-8", elliptic.P256(), until)
	p384, _ := certificate(t, "pump-7", elliptic.P384(), until)
	for _, tt := range []struct {
		name, text string
		now        time.Time
		want       string
	}{
		{"the device's own", good, epoch, ""},
		{"space behind it", good + "\n\n", epoch, ""},
		{"another device's", other, epoch, `is for the subject CN "pump-8", not for the device`},
		{"another curve", p384, epoch, "has a key that is not on P-256"},
		{"expired", good, until, "has expired"},
		{"two", good + other, epoch, "holds more than one certificate; the device's own is enough"},
		{"a key", strings.ReplaceAll(good, "CERTIFICATE", "EC PRIVATE KEY"), epoch, "is no certificate in PEM"},
		{"text", "certificate", epoch, "is no certificate in PEM"},
		{"nothing", "", epoch, "is no certificate in PEM"},
		{"nothing in it", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der[:40]})), epoch, "holds a certificate that cannot be read"},
		{"too long", good + strings.Repeat(" ", CertificateBytesMax), epoch, "is over 4096 bytes"},
	} {
		got, what := ParsePin(tt.text, "pump-7", tt.now)
		if what != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, what, tt.want)
		}
		if want := (Pin{Fingerprint: sha256.Sum256(der), ExpiresAt: until}); what == "" && !cmp.Equal(got, want) {
			t.Errorf("%s: %+v, want %+v", tt.name, got, want)
		}
	}
}
