package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// selfSigned makes a certificate for 127.0.0.1 and its key, as PEM.
func selfSigned(name string, until time.Time) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(until.Unix()), Subject: pkix.Name{CommonName: name},
		NotBefore: until.Add(-48 * time.Hour), NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}

// certify NAME writes NAME.crt and NAME.key, good for a day.
func certify(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: certify NAME")
	}
	cert, key, err := selfSigned(args[0], time.Now().Add(24*time.Hour))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".crt"), cert, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".key"), key, 0o600))
}

// A certificate's files are renewed by somebody else, one after the other, and
// sometimes wrongly: there is always one to show.
func TestCertificateIsReadAgain(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	certFile, keyFile := filepath.Join(dir, "a.crt"), filepath.Join(dir, "a.key")
	write := func(path string, content []byte) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair := func(name string, until time.Time) (cert, key []byte) {
		t.Helper()
		cert, key, err := selfSigned(name, until)
		if err != nil {
			t.Fatal(err)
		}
		return cert, key
	}
	first, firstKey := pair("first", now.Add(time.Hour))
	second, secondKey := pair("the second", now.Add(2*time.Hour))
	write(certFile, first)
	write(keyFile, firstKey)

	var log bytes.Buffer
	c, err := readCertificate(certFile, keyFile, slog.New(slog.NewTextHandler(&log, nil)), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	shown := func() string {
		t.Helper()
		pair, err := c.present(nil)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.Subject.CommonName
	}
	look := func(what, want string) {
		t.Helper()
		now = now.Add(lookAgainAfter)
		if got := shown(); got != want {
			t.Errorf("%s: %s is shown, want %s", what, got, want)
		}
	}
	look("unchanged", "first")
	write(certFile, second)
	look("the key is not there yet", "first")
	write(keyFile, secondKey)
	if got := shown(); got != "first" {
		t.Errorf("%s is shown before it was time to look", got)
	}
	look("both are there", "the second")
	write(certFile, []byte("no PEM"))
	look("it is none", "the second")
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	look("a file is gone", "the second")
	if n := strings.Count(log.String(), "level=WARN"); n != 3 {
		t.Errorf("got %d warnings, want 3:\n%s", n, log.String())
	}

	ended, endedKey := pair("ended", now.Add(-time.Hour))
	write(certFile, ended)
	write(keyFile, endedKey)
	if _, err := readCertificate(certFile, keyFile, slog.Default(), func() time.Time { return now }); err == nil || !strings.Contains(err.Error(), "ended at") {
		t.Errorf("one that has ended was taken: %v", err)
	}
}
