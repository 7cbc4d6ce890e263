package dtls

import (
	"context"
	"crypto/ecdsa"
	stdelliptic "crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"slices"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/elliptic"

	"behest/device"
)

// Suites with authenticated encryption alone: CBC does not go with connection
// ids in practice (MAC over which bytes), and has its own history.
var (
	pskSuites = []dtls.CipherSuiteID{
		dtls.TLS_PSK_WITH_AES_128_CCM_8, dtls.TLS_PSK_WITH_AES_128_CCM, dtls.TLS_PSK_WITH_AES_128_GCM_SHA256,
		dtls.TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256,
	}
	certificateSuites = []dtls.CipherSuiteID{
		dtls.TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8, dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	}
)

const (
	flightBytesMax = 1200 // of a handshake datagram of ours
	replayWindow   = 64   // [RFC 6347 4.1.2.6]
	flightInterval = time.Second

	handshakeFailure = 40 // [RFC 5246 7.2.2]
	decryptError     = 51
)

var commonName = asn1.ObjectIdentifier{2, 5, 4, 3} // [RFC 5280 A.1]

var (
	errNobody  = errors.New("dtls: the certificate names no device")
	errCurve   = errors.New("dtls: the certificate's key is not on P-256")
	errRevoked = errors.New("dtls: the credential is revoked")
)

// prepare makes pion's side of a handshake; nothing starts.
func (s *session) prepare() (err error) {
	o := []dtls.ServerOption{
		dtls.WithPSK(s.psk),
		dtls.WithConnectionIDGenerator(s.newCID),
		dtls.WithVerifyConnection(s.verify),
		dtls.WithExtendedMasterSecret(dtls.RequestExtendedMasterSecret),
		dtls.WithEllipticCurves(elliptic.P256, elliptic.X25519),
		dtls.WithMTU(flightBytesMax),
		dtls.WithReplayProtectionWindow(replayWindow),
		dtls.WithFlightInterval(flightInterval),
		dtls.WithLoggerFactory(silence{}),
	}
	suites := pskSuites
	roots, own := s.c.keys.credentials.Roots(), s.c.own()
	if roots != nil && own != nil {
		suites = slices.Concat(pskSuites, certificateSuites)
		o = append(o, dtls.WithCertificates(*own), dtls.WithClientCAs(roots),
			dtls.WithClientAuth(dtls.RequireAndVerifyClientCert), dtls.WithSignatureSchemes(tls.ECDSAWithP256AndSHA256))
	}
	s.conn, err = dtls.ServerWithOptions(s, s.home, append(o, dtls.WithCipherSuites(suites...))...)
	return err
}

// own is the server's certificate; nil: there is none, and devices come with
// keys alone.
func (c *Conn) own() *tls.Certificate {
	if c.o.Certificate == nil {
		return nil
	}
	return c.o.Certificate()
}

// begin lets the handshake run. The caller holds c.mu.
func (s *session) begin() {
	s.timer = time.AfterFunc(s.c.o.HalfOpenTimeout, s.shut)
	s.c.running.Go(s.run)
}

// run is the life of a session.
func (s *session) run() {
	err := s.conn.HandshakeContext(context.Background()) // shut ends it
	s.timer.Stop()
	if err != nil || !s.c.finish(s) {
		s.c.fail(s)
		_ = s.conn.Close()
		return
	}
	s.read()
	s.c.end(s, Closed)
}

// psk is pion's question for the key of an identity.
func (s *session) psk(identity []byte) ([]byte, error) {
	s.trial = s.c.keys.try(string(identity), s.from.Remote.Addr())
	s.credential = Credential{Identity: string(identity), Kind: PSK, Fingerprint: sha256.Sum256(s.trial.key)}
	s.keyed.Store(true)
	return s.trial.key, nil
}

// newCID names the session in the device's records from now on.
func (s *session) newCID() []byte {
	var id cid
	rand.Read(id[:]) // never fails [crypto/rand]
	s.c.mu.Lock()
	s.id = id[:]
	s.c.byCID[id] = s
	s.c.mu.Unlock()
	return id[:]
}

// verify is called once the device has shown, by its Finished, that it has the
// key.
func (s *session) verify(state *dtls.State) error {
	s.proved.Store(true)
	if len(state.PeerCertificates) > 0 {
		cert, err := x509.ParseCertificate(state.PeerCertificates[0])
		if err != nil {
			return err
		}
		if key, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != stdelliptic.P256() {
			return errCurve
		}
		s.credential = Credential{Identity: nameIn(cert), Kind: Certificate, Fingerprint: sha256.Sum256(cert.Raw)}
		s.expires = cert.NotAfter
	}
	if device.CheckName(s.credential.Identity) != "" {
		return errNobody
	}
	if s.c.keys.credentials.Revoked(s.credential) {
		return errRevoked
	}
	return nil
}

// nameIn is the subject CN of a certificate. Of several, nobody can say which
// the authority meant.
func nameIn(cert *x509.Certificate) string {
	names := 0
	for _, attribute := range cert.Subject.Names {
		if attribute.Type.Equal(commonName) {
			names++
		}
	}
	if names != 1 {
		return ""
	}
	return cert.Subject.CommonName
}

// refuted reports whether the device's Finished did not open with the key that
// was tried. Pion would wait for another one in silence.
func (s *session) refuted() bool {
	return s.keyed.Load() && s.finished && !s.proved.Load() && !s.established.Load()
}

// refuse ends the handshake of a device with a wrong key, and that of a
// stranger, with the same alert [RFC 4279 2].
func (s *session) refuse() {
	s.c.stats.WrongKeys.Add(1)
	s.c.keys.settle(s.trial, false)
	s.c.send(s.from, alertRecord(s.sequence.Load(), decryptError))
	s.shut()
}

// fail takes a handshake that came to nothing off the tables.
func (c *Conn) fail(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.admitted {
		c.stats.Failed.Add(1)
	}
	c.unlistLocked(s)
	c.forgetCIDLocked(s)
}

func (c *Conn) forgetCIDLocked(s *session) {
	if len(s.id) == cidBytes && c.byCID[cid(s.id)] == s {
		delete(c.byCID, cid(s.id))
	}
}

// finish makes a session of a handshake. Only now, when the device has shown
// that it is itself, does its former session at this address end.
func (c *Conn) finish(s *session) bool {
	if s.keyed.Load() {
		c.keys.settle(s.trial, true)
		s.trial = trial{} // the key is not needed any more
	}
	s.heard.Store(int64(c.now()))
	c.mu.Lock()
	if c.stopping || s.isShut() {
		c.mu.Unlock()
		return false
	}
	c.unlistLocked(s)
	for s.number == 0 || c.sessions[s.number] != nil {
		c.last++
		s.number = c.last
	}
	c.sessions[s.number] = s
	s.established.Store(true)
	lost := c.settleLocked(s, s.from)
	c.byIdentity[s.credential.Identity] = append(c.byIdentity[s.credential.Identity], s)
	if old := c.surplusLocked(s, lost); old != nil {
		lost = append(lost, old)
	}
	var pushed []*session
	if len(c.sessions) > c.o.SessionsMax {
		pushed = append(pushed, c.stalestLocked(s))
	}
	c.mu.Unlock()
	c.stats.Handshakes.Add(1)
	c.endAll(lost, Replaced)
	c.endAll(pushed, Evicted)
	c.check(s, c.now()) // it may have been revoked since it was verified
	return true
}

// surplusLocked returns the session to end when a device has too many: the
// quietest that is neither s nor among those that end already.
func (c *Conn) surplusLocked(s *session, lost []*session) (quietest *session) {
	staying := 0
	for _, other := range c.byIdentity[s.credential.Identity] {
		if slices.Contains(lost, other) {
			continue
		}
		staying++
		if other != s && (quietest == nil || other.heard.Load() < quietest.heard.Load()) {
			quietest = other
		}
	}
	if staying <= c.o.SessionsPerDevice {
		return nil
	}
	return quietest
}

// stalestLocked returns a session that was quiet for long, other than s: the
// quietest of a few.
func (c *Conn) stalestLocked(s *session) *session {
	const few = 16
	var stalest *session
	seen := 0
	for _, other := range c.sessions {
		if other != s && (stalest == nil || other.heard.Load() < stalest.heard.Load()) {
			stalest = other
		}
		if seen++; seen > few {
			break
		}
	}
	return stalest
}

func (c *Conn) endAll(sessions []*session, why Reason) {
	for _, s := range sessions {
		c.end(s, why)
	}
}

// end takes a session off the tables and tells the device, except one that was
// replaced: it would be told in a key that it no longer has.
func (c *Conn) end(s *session, why Reason) {
	if s == nil {
		return
	}
	c.mu.Lock()
	if s.ended { // who ends it first has the last word to the device
		c.mu.Unlock()
		return
	}
	s.ended = true
	c.dropLocked(s)
	c.mu.Unlock()
	if why == Replaced {
		s.shut()
	}
	told := s.told()
	_ = s.conn.Close() // all that it could say is that the network is closed
	s.shut()
	c.o.Ended(told, why)
}

func (c *Conn) dropLocked(s *session) {
	delete(c.sessions, s.number)
	c.forgetCIDLocked(s)
	for _, at := range s.addresses() {
		if c.byAddress[at] == s {
			delete(c.byAddress, at)
		}
	}
	identity := s.credential.Identity
	own := slices.DeleteFunc(c.byIdentity[identity], func(other *session) bool { return other == s })
	if c.byIdentity[identity] = own; len(own) == 0 {
		delete(c.byIdentity, identity)
	}
}
