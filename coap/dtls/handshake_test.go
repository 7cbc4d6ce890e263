package dtls_test

import (
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	pion "github.com/pion/dtls/v3"

	"behest/coap/dtls"
	"behest/coap/endpoint"
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
	for _, ids := range []struct {
		name      string
		generator func() []byte
	}{
		{"", nil},
		{" with our connection id", pion.OnlySendCIDGenerator()},
		{" with one each way", pion.RandomCIDGenerator(3)},
	} {
		for _, c := range cases {
			name := c.name + ids.name
			t.Run(name, func(t *testing.T) {
				var o []pion.ClientOption
				if c.kind == dtls.PSK {
					o = with("pump-1", key1)
				} else {
					o = []pion.ClientOption{pion.WithCertificates(device), pion.WithRootCAs(roots), pion.WithServerName("server")}
				}
				o = append(o, pion.WithCipherSuites(c.suite))
				if ids.generator != nil {
					o = append(o, pion.WithConnectionIDGenerator(ids.generator))
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
	if n := s.Stats(); n.Sessions != 0 || n.Handshakes != uint64(3*len(cases)) || n.Failed != 0 {
		t.Errorf("stats %+v", n)
	}
}

// TestALostFinishedIsSentAgain: the device is in, and does not know it yet.
// Its repeats come to a session, in a datagram that begins in clear; pion's
// client with a connection id repeats the very record.
func TestALostFinishedIsSentAgain(t *testing.T) {
	for _, o := range [][]pion.ClientOption{
		with("pump-1", key1),
		with("pump-1", key1, pion.WithConnectionIDGenerator(pion.OnlySendCIDGenerator())),
		with("pump-1", key1, pion.WithConnectionIDGenerator(pion.RandomCIDGenerator(4))),
	} {
		s := serve(t, &book{}, dtls.Options{})
		p := newProxy(t, s.addr())
		lost := 0 // guarded by p.mu
		p.mu.Lock()
		p.loses = func(down []byte) bool {
			const changeCipherSpec = 20
			if down[0] != changeCipherSpec || lost == 2 {
				return false
			}
			lost++
			return true
		}
		p.mu.Unlock()
		c, err := dial(socket(t, "127.0.0.1:0"), p.front.LocalAddr(), o)
		if err != nil {
			t.Fatal(err)
		}
		round(t, c, "in")
		p.mu.Lock()
		if n := s.Stats(); lost != 2 || n.Handshakes != 1 || n.Sessions != 1 {
			t.Errorf("lost %d, stats %+v", lost, n)
		}
		p.mu.Unlock()
		c.Close()
	}
}

// TestAStrangerLooksLikeAWrongKey: same alert, same bytes on the wire, and no
// telling by the time.
func TestAStrangerLooksLikeAWrongKey(t *testing.T) {
	s := serve(t, &book{}, dtls.Options{})
	cases := []struct {
		name, identity string
		key            []byte
	}{
		{"wrong key", "pump-1", key2},
		{"unknown identity", "pump-9", key1},
		{"no device name", "a/b", key1},
		{"a long one", strings.Repeat("x", 200), key1},
	}
	const rounds = 15
	took := make([][]time.Duration, len(cases))
	var first string
	for range rounds {
		for i, c := range cases {
			began := time.Now()
			_, err := dial(socket(t, "127.0.0.1:0"), s.addr(), with(c.identity, c.key))
			took[i] = append(took[i], time.Since(began))
			if err == nil {
				t.Fatalf("%s: came in", c.name)
			}
			if first == "" {
				first = err.Error()
			}
			if err.Error() != first {
				t.Fatalf("%s: %q, want %q", c.name, err, first)
			}
		}
	}
	if !strings.Contains(first, "DecryptError") {
		t.Errorf("%q, want a DecryptError", first)
	}
	for i, c := range cases {
		slices.Sort(took[i])
		if m, m0 := took[i][rounds/2], took[0][rounds/2]; m > 4*m0 || m0 > 4*m {
			t.Errorf("%s takes %v, a wrong key %v", c.name, m, m0)
		}
	}
	if n := s.Stats(); n.WrongKeys != uint64(rounds*len(cases)) || n.Handshakes != 0 || n.Sessions != 0 {
		t.Errorf("stats %+v", n)
	}
	round(t, client(t, s, with("pump-1", key1)), "a good one after all")
	wait(t, "an empty table", func() bool { n := s.Stats(); return n.Handshaking == 0 })
}

func TestEachOfSeveralKeysComesIn(t *testing.T) {
	stale := []byte("a key of last year")
	s := serve(t, &book{psks: map[string][][]byte{"pump-1": {key1, key2, nil}}}, dtls.Options{})
	try := func(key []byte) int {
		for n := 1; n <= 4; n++ {
			if c, err := dial(socket(t, "127.0.0.1:0"), s.addr(), with("pump-1", key)); err == nil {
				round(t, c, "in")
				c.Close()
				return n
			}
		}
		return 0
	}
	for _, step := range []struct {
		name string
		key  []byte
		want int
	}{
		{"the newer one", key1, 1},
		{"the older one", key2, 2},
		{"the older one again", key2, 1},
		{"the newer one, after the change", key1, 2},
		{"the newer one again", key1, 1},
		{"one that is none", stale, 0},
		{"an empty one", []byte{}, 0},
	} {
		if got := try(step.key); got != step.want {
			t.Errorf("%s: in at attempt %d, want %d", step.name, got, step.want)
		}
	}
}

func TestCertificatesThatDoNotCount(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	own := issue(t, a, "server", nil)
	s := serve(t, &book{roots: roots}, dtls.Options{Certificate: func() *tls.Certificate { return &own }})
	s.book.revoke("pump-7")
	for _, c := range []struct {
		name string
		cert tls.Certificate
	}{
		{"of another authority", issue(t, other, "pump-1", nil)},
		{"expired", issue(t, a, "pump-1", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })},
		{"not yet good", issue(t, a, "pump-1", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })},
		{"for servers alone", issue(t, a, "pump-1", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })},
		{"without a name", issue(t, a, "", nil)},
		{"with a name that is none", issue(t, a, "a/b", nil)},
		{"with two names", issue(t, a, "", func(c *x509.Certificate) {
			cn := asn1.ObjectIdentifier{2, 5, 4, 3}
			c.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: cn, Value: "pump-1"}, {Type: cn, Value: "pump-2"}}
		})},
		{"on P-384", issueOn(t, a, "pump-1", elliptic.P384(), nil)},
		{"revoked", issue(t, a, "pump-7", nil)},
		{"none", tls.Certificate{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := []pion.ClientOption{pion.WithRootCAs(roots), pion.WithServerName("server"),
				pion.WithCipherSuites(pion.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)}
			if c.cert.Certificate != nil {
				o = append(o, pion.WithCertificates(c.cert))
			}
			if _, err := dial(socket(t, "127.0.0.1:0"), s.addr(), o); err == nil {
				t.Error("came in")
			}
		})
	}
	good := issue(t, a, "pump-1", nil)
	stolen := tls.Certificate{Certificate: good.Certificate, PrivateKey: issue(t, a, "x", nil).PrivateKey}
	if _, err := dial(socket(t, "127.0.0.1:0"), s.addr(), []pion.ClientOption{pion.WithCertificates(stolen), pion.WithRootCAs(roots),
		pion.WithServerName("server"), pion.WithCipherSuites(pion.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)}); err == nil {
		t.Error("came in with a certificate whose key it has not")
	}
	if n := s.Stats(); n.Handshakes != 0 || n.Sessions != 0 {
		t.Errorf("stats %+v", n)
	}
}

func TestWithoutRootsNoCertificateComesIn(t *testing.T) {
	a := newAuthority(t)
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	s := serve(t, &book{}, dtls.Options{})
	if _, err := dial(socket(t, "127.0.0.1:0"), s.addr(), []pion.ClientOption{pion.WithCertificates(issue(t, a, "pump-1", nil)),
		pion.WithRootCAs(roots), pion.WithServerName("server")}); err == nil {
		t.Error("came in")
	}
	if _, err := dial(socket(t, "127.0.0.1:0"), s.addr(), with("pump-1", key1, pion.WithCipherSuites(pion.TLS_PSK_WITH_AES_128_CBC_SHA256))); err == nil {
		t.Error("came in with CBC")
	}
}

func TestHowSessionsEnd(t *testing.T) {
	a := newAuthority(t)
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	own := issue(t, a, "server", nil)
	often := dtls.Options{CheckEvery: 10 * time.Millisecond, Certificate: func() *tls.Certificate { return &own }}
	eof := func(t *testing.T, c *pion.Conn) {
		t.Helper()
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := c.Read(make([]byte, 100)); !errors.Is(err, io.EOF) {
			t.Errorf("the device reads %v, want EOF", err)
		}
	}
	t.Run("revoked at once", func(t *testing.T) {
		s := serve(t, &book{}, dtls.Options{})
		c, stays := client(t, s, with("pump-1", key1)), client(t, s, with("pump-2", key2))
		round(t, c, "in")
		s.Recheck("pump-1")
		round(t, c, "still in")
		s.book.revoke("pump-1")
		s.Recheck("pump-1")
		if e := s.endOf(t); e.why != dtls.Revoked || e.session.Credential.Identity != "pump-1" {
			t.Errorf("ended %+v", e)
		}
		eof(t, c)
		round(t, stays, "not meant")
		if _, err := dial(socket(t, "127.0.0.1:0"), s.addr(), with("pump-1", key1)); err == nil {
			t.Error("came in again")
		}
	})
	t.Run("revoked, found by the sweep", func(t *testing.T) {
		s := serve(t, &book{}, often)
		c := client(t, s, with("pump-1", key1))
		s.book.revoke("pump-1")
		if e := s.endOf(t); e.why != dtls.Revoked {
			t.Errorf("ended %+v", e)
		}
		eof(t, c)
	})
	t.Run("its certificate expired", func(t *testing.T) {
		s := serve(t, &book{roots: roots}, often)
		soon := issue(t, a, "pump-1", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(3 * time.Second) })
		c := client(t, s, []pion.ClientOption{pion.WithCertificates(soon), pion.WithRootCAs(roots), pion.WithServerName("server"),
			pion.WithCipherSuites(pion.TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8)})
		if e := s.endOf(t); e.why != dtls.Expired {
			t.Errorf("ended %+v", e)
		}
		eof(t, c)
	})
	t.Run("idle", func(t *testing.T) {
		o := often
		o.IdleTimeout = 100 * time.Millisecond
		s := serve(t, &book{}, o)
		eof(t, client(t, s, with("pump-1", key1)))
		if e := s.endOf(t); e.why != dtls.Idle {
			t.Errorf("ended %+v", e)
		}
	})
	t.Run("too many of one device", func(t *testing.T) {
		s := serve(t, &book{}, dtls.Options{})
		first := client(t, s, with("pump-1", key1))
		round(t, first, "first")
		second := client(t, s, with("pump-1", key1))
		round(t, second, "second")
		round(t, first, "first again") // the second is the quietest now
		third := client(t, s, with("pump-1", key1))
		if e := s.endOf(t); e.why != dtls.Replaced || e.session.Remote.Port() != uint16(second.LocalAddr().(*net.UDPAddr).Port) {
			t.Errorf("ended %+v", e)
		}
		round(t, first, "first")
		round(t, third, "third")
	})
	t.Run("too many of one device, whose newest takes another's address", func(t *testing.T) {
		s := serve(t, &book{}, dtls.Options{})
		pc := socket(t, "127.0.0.1:0")
		p := &plug{UDPConn: pc}
		if _, err := dial(p, s.addr(), with("pump-2", key2)); err != nil {
			t.Fatal(err)
		}
		client(t, s, with("pump-1", key1))
		client(t, s, with("pump-1", key1))
		p.unplug()
		if _, err := dial(&plug{UDPConn: pc}, s.addr(), with("pump-1", key1)); err != nil {
			t.Fatal(err)
		}
		ends := map[string]int{}
		for range 2 {
			ends[s.endOf(t).session.Credential.Identity]++
		}
		if ends["pump-1"] != 1 || ends["pump-2"] != 1 || s.Stats().Sessions != 2 {
			t.Errorf("ended %v, %d stay", ends, s.Stats().Sessions)
		}
	})
	t.Run("too many of all", func(t *testing.T) {
		s := serve(t, &book{}, dtls.Options{SessionsMax: 1})
		client(t, s, with("pump-1", key1))
		round(t, client(t, s, with("pump-2", key2)), "in")
		if e := s.endOf(t); e.why != dtls.Evicted || e.session.Credential.Identity != "pump-1" {
			t.Errorf("ended %+v", e)
		}
	})
	t.Run("the server's end", func(t *testing.T) {
		s := serve(t, &book{}, dtls.Options{})
		c := client(t, s, with("pump-1", key1))
		round(t, c, "in")
		peer := (<-s.got).Peer
		if n, err := s.WriteBatch([]endpoint.Datagram{{Peer: endpoint.Peer{Remote: peer.Remote}, Data: []byte("in clear")},
			{Peer: endpoint.Peer{Remote: peer.Remote, Session: peer.Session + 1}, Data: []byte("nobody's")}}); n != 2 || err != nil {
			t.Errorf("wrote %d, %v", n, err)
		}
		if n := s.Stats(); n.Unsent != 2 {
			t.Errorf("%d unsent, want 2", n.Unsent)
		}
		s.Close()
		eof(t, c)
		if e := s.endOf(t); e.why != dtls.Closed {
			t.Errorf("ended %+v", e)
		}
		if _, err := s.WriteBatch([]endpoint.Datagram{{Peer: peer}}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("writes after the end: %v", err)
		}
		if err := s.Run(); err == nil {
			t.Error("ran twice")
		}
	})
}

// TestTheFirstMessageIsNotLost: a device speaks as soon as it has our Finished,
// which may be before we have a session.
func TestTheFirstMessageIsNotLost(t *testing.T) {
	const times = 500
	s := serve(t, &book{}, dtls.Options{SessionsPerDevice: times})
	for i := range times {
		pc := socket(t, "127.0.0.1:0")
		c, err := dial(pc, s.addr(), with("pump-1", key1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("first")); err != nil {
			t.Fatal(err)
		}
		select {
		case <-s.got:
		case <-time.After(20 * time.Second):
			t.Fatalf("device %d was not heard; %+v", i, s.Stats())
		}
		pc.Close()
	}
}
