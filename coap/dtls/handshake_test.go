package dtls_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"

	pion "github.com/pion/dtls/v3"

	"behest/coap/dtls"
)

func TestEachSuiteGoesARound(t *testing.T) {
	a := newAuthority(t)
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	own := issue(t, a, "server", nil)
	s := serve(t, &book{roots: roots}, dtls.Options{Certificate: func() *tls.Certificate { return &own }})
	device := issue(t, a, "pump-1", nil)
	cases := []struct {
		name  string
		suite pion.CipherSuiteID
		kind  dtls.Kind
	}{
		{"PSK CCM_8", pion.TLS_PSK_WITH_AES_128_CCM_8, dtls.PSK},
		{"PSK CCM", pion.TLS_PSK_WITH_AES_128_CCM, dtls.PSK},
		{"PSK GCM", pion.TLS_PSK_WITH_AES_128_GCM_SHA256, dtls.PSK},
		{"ECDHE PSK ChaCha20", pion.TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256, dtls.PSK},
		{"ECDSA CCM_8", pion.TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8, dtls.Certificate},
		{"ECDSA GCM", pion.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, dtls.Certificate},
	}
	for _, withCID := range []bool{false, true} {
		for _, c := range cases {
			name := c.name
			if withCID {
				name += " with connection id"
			}
			t.Run(name, func(t *testing.T) {
				var o []pion.ClientOption
				if c.kind == dtls.PSK {
					o = with("pump-1", key1)
				} else {
					o = []pion.ClientOption{pion.WithCertificates(device), pion.WithRootCAs(roots), pion.WithServerName("server")}
				}
				o = append(o, pion.WithCipherSuites(c.suite))
				if withCID {
					o = append(o, pion.WithConnectionIDGenerator(pion.OnlySendCIDGenerator()))
				}
				conn := client(t, s, o)
				round(t, conn, name)
				d := <-s.got
				told, ok := s.Session(d.Peer.Session)
				if !ok || told.Credential.Identity != "pump-1" || told.Credential.Kind != c.kind || told.Peer != d.Peer || !told.Proven {
					t.Errorf("session %+v, %v", told, ok)
				}
				conn.Close()
				if e := s.endOf(t); e.why != dtls.Closed || e.session.Peer != d.Peer {
					t.Errorf("ended %+v", e)
				}
			})
		}
	}
	if n := s.Stats(); n.Sessions != 0 || n.Handshakes != uint64(2*len(cases)) || n.Failed != 0 {
		t.Errorf("stats %+v", n)
	}
}
