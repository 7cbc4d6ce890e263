package dtls_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
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
	"behest/command"
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

// inC builds the device in C. It is opened here, so that the test cache sees it
// change.
func inC(t *testing.T, stack string) (bin string) {
	t.Helper()
	source, err := os.Open("../../firmware-sim/libcoap/device.c")
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	bin = filepath.Join(t.TempDir(), "device")
	gcc := exec.CommandContext(t.Context(), "gcc", "-Wall", "-Wextra", "-Werror", "-o", bin, "-x", "c", "-", "-lcoap-3-"+stack)
	gcc.Stdin = source
	out, err := gcc.CombinedOutput()
	if strings.Contains(string(out), "coap3/coap.h: No such file") {
		t.Skip("libcoap's headers are not installed (Debian: libcoap3-dev)")
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return bin
}

// TestADeviceInCGoesARound: the device in firmware-sim/libcoap, on both stacks,
// across a restart of its own and one in which it lost what it was about to say.
func TestADeviceInCGoesARound(t *testing.T) {
	for _, stack := range []string{"openssl", "gnutls"} {
		t.Run(stack, func(t *testing.T) {
			bin := inC(t, stack)
			s := inSystem(t, &book{}, dtls.Options{})
			file := filepath.Join(t.TempDir(), "last")
			run := func(count int) string {
				addr := s.conn.LocalAddr()
				out, err := exec.CommandContext(t.Context(), bin, addr.Addr().String(), fmt.Sprint(addr.Port()), "pump-1", hex.EncodeToString(key1),
					file, fmt.Sprint(count)).CombinedOutput()
				if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				return string(out)
			}
			stored := func() string {
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				return strings.TrimSpace(string(b))
			}
			acts := func(seq uint32) string { return fmt.Sprintf("act %d act\n", seq) }

			first, second := s.ask("pump-1"), s.ask("pump-1")
			out := run(2)
			s.reaches(second, command.Succeeded)
			x, y := s.execution(first), s.execution(second)
			if out != acts(x.Seq)+acts(y.Seq) || x.State != command.Succeeded || stored() != fmt.Sprint(y.Seq) {
				t.Errorf("it said %q of %d and %d, stored %s, and the first %s", out, x.Seq, y.Seq, stored(), x.State)
			}

			third := s.ask("pump-1")
			if out = run(1); out != acts(s.execution(third).Seq) {
				t.Errorf("after a restart it said %q", out)
			}
			s.reaches(third, command.Succeeded)

			// Power goes when the number is stored and the report is not sent.
			g := s.in(with("pump-1", key1))
			g.watches("pump-1")
			fourth := s.ask("pump-1")
			seq := g.shown(1)[0].Seq
			if err := os.WriteFile(file, fmt.Appendln(nil, seq), 0o600); err != nil {
				t.Fatal(err)
			}
			out = run(1)
			s.reaches(fourth, command.Failed)
			if x := s.execution(fourth); out != "" || x.Effect != command.EffectUnknown {
				t.Errorf("after a cut it said %q, and the effect is %s", out, x.Effect)
			}
		})
	}
}
