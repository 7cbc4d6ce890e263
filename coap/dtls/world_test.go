package dtls_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	pion "github.com/pion/dtls/v3"

	"behest/coap/dtls"
	"behest/coap/endpoint"
	"behest/coap/udp"
)

// book is credentials in memory.
type book struct {
	mu      sync.Mutex
	psks    map[string][][]byte
	roots   *x509.CertPool
	revoked map[string]bool
}

func (b *book) PSKs(identity string) [][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.revoked[identity] {
		return nil
	}
	return b.psks[identity]
}

func (b *book) Roots() *x509.CertPool { return b.roots }

func (b *book) Revoked(c dtls.Credential) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.revoked[c.Identity]
}

func (b *book) revoke(identity string) {
	b.mu.Lock()
	b.revoked[identity] = true
	b.mu.Unlock()
}

// renew gives a device another key, in place of all that it had.
func (b *book) renew(identity string, key []byte) {
	b.mu.Lock()
	b.psks[identity], b.revoked[identity] = [][]byte{key}, false
	b.mu.Unlock()
}

// authority signs certificates of the tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{}
	pair := issue(t, a, "authority", nil)
	a.key = pair.PrivateKey.(*ecdsa.PrivateKey)
	a.cert = pair.Leaf
	return a
}

func issue(t testing.TB, a *authority, cn string, edit func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	return issueOn(t, a, cn, elliptic.P256(), edit)
}

// issueOn makes a certificate; the authority's own when it has none yet.
func issueOn(t testing.TB, a *authority, cn string, curve elliptic.Curve, edit func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: cn},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, DNSNames: []string{"server"},
	}
	if edit != nil {
		edit(tmpl)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		tmpl.IsCA, tmpl.KeyUsage, tmpl.ExtKeyUsage = true, x509.KeyUsageCertSign, nil
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// server is a Conn over a real socket that echoes each message.
type server struct {
	*dtls.Conn
	book *book
	ends chan ended
	got  chan endpoint.Datagram
}

type ended struct {
	session dtls.Session
	why     dtls.Reason
}

func serve(t testing.TB, b *book, o dtls.Options) *server {
	t.Helper()
	if b.psks == nil {
		b.psks = map[string][][]byte{"pump-1": {key1}, "pump-2": {key2}}
	}
	b.revoked = map[string]bool{}
	inner, err := udp.Listen("127.0.0.1:0", udp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{book: b, ends: make(chan ended, 4096), got: make(chan endpoint.Datagram, 4096)}
	o.Ended = func(session dtls.Session, why dtls.Reason) { s.ends <- ended{session, why} }
	if s.Conn, err = dtls.New(inner, b, o); err != nil {
		t.Fatal(err)
	}
	var over sync.WaitGroup
	over.Go(func() {
		if err := s.Run(); err != nil {
			t.Error("run:", err)
		}
	})
	over.Go(s.echo)
	t.Cleanup(func() {
		s.Close()
		over.Wait()
	})
	return s
}

func (s *server) echo() {
	batch := make([]endpoint.Datagram, 8)
	for i := range batch {
		batch[i].Data = make([]byte, 0, 1500)
	}
	for {
		n, err := s.ReadBatch(batch)
		if err != nil {
			return
		}
		for _, d := range batch[:n] {
			select {
			case s.got <- endpoint.Datagram{Peer: d.Peer, Data: append([]byte(nil), d.Data...)}:
			default:
			}
		}
		s.WriteBatch(batch[:n])
	}
}

func (s *server) addr() *net.UDPAddr { return net.UDPAddrFromAddrPort(s.LocalAddr()) }

var (
	key1 = []byte("0123456789abcdef")
	key2 = []byte("fedcba9876543210")
)

// with is the client's side of a PSK handshake.
func with(identity string, key []byte, more ...pion.ClientOption) []pion.ClientOption {
	return append([]pion.ClientOption{
		pion.WithPSK(func([]byte) ([]byte, error) { return key, nil }), pion.WithPSKIdentityHint([]byte(identity)),
		pion.WithCipherSuites(pion.TLS_PSK_WITH_AES_128_CCM_8),
	}, more...)
}

// socket opens a client's socket, closed with the test.
func socket(t testing.TB, at string) *net.UDPConn {
	t.Helper()
	pc, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	return pc
}

// dial shakes hands from pc.
func dial(pc net.PacketConn, to net.Addr, o []pion.ClientOption) (*pion.Conn, error) {
	c, err := pion.ClientWithOptions(pc, to, o...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// client is a device that is in.
func client(t testing.TB, s *server, o []pion.ClientOption) *pion.Conn {
	t.Helper()
	c, err := dial(socket(t, "127.0.0.1:0"), s.addr(), o)
	if err != nil {
		t.Fatal("handshake:", err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// round sends a message and waits for its echo. A datagram may be lost.
func round(t testing.TB, c *pion.Conn, text string) {
	t.Helper()
	if err := tryRound(c, text); err != nil {
		t.Fatal(err)
	}
}

func tryRound(c *pion.Conn, text string) error {
	buf := make([]byte, 2000)
	for range 5 {
		if _, err := c.Write([]byte(text)); err != nil {
			return err
		}
		c.SetReadDeadline(time.Now().Add(2 * time.Second))
		for {
			n, err := c.Read(buf)
			var late net.Error
			if errors.As(err, &late) && late.Timeout() {
				break
			}
			if err != nil {
				return err
			}
			if n == 4 && buf[0] == 0x40 { // a ping: reset it [RFC 7252 4.3]
				c.Write([]byte{0x70, 0, buf[2], buf[3]})
				continue
			}
			if string(buf[:n]) == text {
				return nil
			}
		}
	}
	return errors.New("no echo of " + text)
}

// wait polls for what is true soon.
func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("never came:", what)
}

// endOf waits for the end of a session.
func (s *server) endOf(t testing.TB) ended {
	t.Helper()
	select {
	case e := <-s.ends:
		return e
	case <-time.After(20 * time.Second):
		t.Fatal("no session ended")
		return ended{}
	}
}
