package dtls_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/plgd-dev/go-coap/v3/message/codes"

	"behest/coap/dtls"
	"behest/coap/endpoint"
	"behest/coap/udp"
)

// answerer answers with the identity of who asks.
type answerer struct{ conn *dtls.Conn }

func (a answerer) Serve(_ context.Context, r *endpoint.Request) endpoint.Response {
	s, ok := a.conn.Session(r.Peer.Session)
	if !ok {
		return endpoint.Response{Code: codes.Forbidden}
	}
	if len(r.Path) == 1 && r.Path[0] == "long" {
		return endpoint.Response{Code: codes.Content, Payload: []byte(strings.Repeat(s.Credential.Identity+" ", 500))}
	}
	return endpoint.Response{Code: codes.Content, Payload: fmt.Appendf(nil, "you are %s, and sent %d bytes", s.Credential.Identity, len(r.Payload))}
}

func (answerer) Idle(endpoint.Peer) {}

// TestLibcoapsClientsComeIn: independent stacks, on OpenSSL and on GnuTLS, over
// the endpoint.
func TestLibcoapsClientsComeIn(t *testing.T) {
	a := newAuthority(t)
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	own := issue(t, a, "server", nil)
	inner, err := udp.Listen("127.0.0.1:0", udp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := dtls.New(inner, &book{psks: map[string][][]byte{"pump-1": {key1}}, roots: roots},
		dtls.Options{Certificate: func() *tls.Certificate { return &own }})
	if err != nil {
		t.Fatal(err)
	}
	e, err := endpoint.New(conn, answerer{conn}, endpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var over sync.WaitGroup
	over.Go(func() {
		if err := e.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	over.Go(func() {
		if err := conn.Run(); err != nil {
			t.Error(err)
		}
	})
	defer over.Wait()
	defer cancel()

	dir := t.TempDir()
	file := func(name, kind string, der ...[]byte) string {
		var text []byte
		for _, b := range der {
			text = append(text, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b})...)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	device := issue(t, a, "pump-3", nil)
	der, err := x509.MarshalECPrivateKey(device.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	ca, cert, key := file("ca.pem", "CERTIFICATE", a.cert.Raw), file("device.pem", "CERTIFICATE", device.Certificate...), file("device.key", "EC PRIVATE KEY", der)
	body := filepath.Join(dir, "body")
	if err := os.WriteFile(body, []byte(strings.Repeat("x", 3000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, stack := range []string{"coap-client-openssl", "coap-client-gnutls"} {
		client, err := exec.LookPath(stack)
		if err != nil {
			t.Run(stack, func(t *testing.T) { t.Skip("not installed (Debian: libcoap3-bin)") })
			continue
		}
		for _, row := range []struct {
			name, path, want string
			args             []string
		}{
			{"with a key", "", "you are pump-1, and sent 0 bytes", []string{"-u", "pump-1", "-k", string(key1)}},
			{"a body up", "", "you are pump-1, and sent 3000 bytes", []string{"-u", "pump-1", "-k", string(key1), "-m", "post", "-f", body}},
			{"a body down", "long", strings.Repeat("pump-1 ", 500), []string{"-u", "pump-1", "-k", string(key1)}},
			{"with a certificate", "", "you are pump-3, and sent 0 bytes", []string{"-c", cert, "-j", key, "-C", ca, "-n"}},
			{"with an unknown identity", "", "ecrypt error", []string{"-u", "pump-9", "-k", string(key1)}},
			{"with a wrong key", "", "ecrypt error", []string{"-u", "pump-1", "-k", string(key2)}},
		} {
			t.Run(stack+" "+row.name, func(t *testing.T) {
				args := append(row.args, "-B", "10", fmt.Sprintf("coaps://127.0.0.1:%d/%s", conn.LocalAddr().Port(), row.path))
				out, err := exec.CommandContext(ctx, client, args...).CombinedOutput() // exits 0 whatever comes
				if err != nil || !strings.Contains(strings.ReplaceAll(string(out), "\n", ""), row.want) {
					t.Errorf("%v: %.200s", err, out)
				}
			})
		}
	}
	t.Logf("%+v", conn.Stats())
}

// TestGnuTLSComesInWithEachSuite: the client offers them all, and the system's
// policy leaves it one.
func TestGnuTLSComesInWithEachSuite(t *testing.T) {
	client, err := exec.LookPath("coap-client-gnutls")
	if err != nil {
		t.Skip("not installed (Debian: libcoap3-bin)")
	}
	s := inSystem(t, &book{}, dtls.Options{})
	ciphers := []string{"AES-128-CCM-8", "AES-128-CCM", "AES-128-GCM", "CHACHA20-POLY1305"}
	others := []string{"AES-256-CCM-8", "AES-256-CCM", "AES-256-GCM", "AES-128-CBC", "AES-256-CBC", "CAMELLIA-128-GCM", "CAMELLIA-256-GCM",
		"CAMELLIA-128-CBC", "CAMELLIA-256-CBC"}
	for i, only := range append(ciphers, "none of them") {
		t.Run(only, func(t *testing.T) {
			policy := "[overrides]\n"
			for _, c := range append(ciphers, others...) {
				if c != only {
					policy += "tls-disabled-cipher = " + c + "\n"
				}
			}
			path := filepath.Join(t.TempDir(), "policy")
			if err := os.WriteFile(path, []byte(policy), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), client, "-v", "6", "-B", "5", "-u", "pump-1", "-k", string(key1), "-m", "post",
				fmt.Sprintf("coaps://%s/rd?lt=60", s.conn.LocalAddr()))
			cmd.Env = append(os.Environ(), "GNUTLS_SYSTEM_PRIORITY_FILE="+path)
			out, err := cmd.CombinedOutput() // what it prints decides
			if in := strings.Contains(string(out), "2.01"); in != (i < len(ciphers)) {
				t.Errorf("in: %v, %v: %.300s", in, err, out)
			}
		})
	}
}
