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
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/elliptic"

	"behest/coap/endpoint"
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
	// feedMax is how many datagrams wait for one handshake: a flight in small
	// fragments.
	feedMax        = 16
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

// handshake is one that is under way, by pion, whose network it is (see
// pion.go). What it makes is the session.
type handshake struct {
	*session

	// Set once.
	conn   *dtls.Conn
	random [randomBytes]byte
	cookie []byte // that the device has
	ahead  uint64 // of pion's record numbers in epoch 0
	since  time.Duration
	feed   chan []byte
	nudge  chan struct{} // one token: the read deadline is past
	done   chan struct{}
	once   sync.Once // closes done
	timer  *time.Timer

	// keyed and proved are set in pion's callbacks; those from answered to last are
	// owned by pion's goroutines.
	keyed, proved atomic.Bool
	trial         trial // before keyed is set
	answered      bool  // the device's Finished was fed, or what looks like it
	fedBytes      int
	last          []byte        // our last flight
	sequence      atomic.Uint64 // the next of pion's in epoch 0
	finished      atomic.Bool   // our Finished has left: what comes now is for the session
	settled       atomic.Bool   // the session takes it
}

// newHandshake is one that a hello with a good cookie begins; nothing starts.
func newHandshake(c *Conn, from endpoint.Peer, sequence uint64, hi *hello) (*handshake, error) {
	s := &session{c: c, from: from, routes: routesAt(from), born: [8]byte(hi.random[:8])}
	h := &handshake{
		session: s, random: hi.random, cookie: append([]byte(nil), hi.cookie...), ahead: sequence - 1, since: c.now(),
		feed: make(chan []byte, feedMax), nudge: make(chan struct{}, 1), done: make(chan struct{}),
	}
	s.coming = h
	if err := h.prepare(); err != nil {
		return nil, err
	}
	h.put(hi.without(sequence - 1))
	return h, nil
}

// put hands a handshake a datagram, or loses it when pion is slow: the reader of
// the network waits for nobody. What comes as the handshake ends is the
// session's.
func (h *handshake) put(data []byte) {
	select {
	case h.feed <- data:
	default:
		h.c.stats.Overflowed.Add(1)
	}
	if h.settled.Load() {
		h.drain()
	}
}

// drain gives the session what came for it early.
func (h *handshake) drain() {
	for {
		select {
		case data := <-h.feed:
			h.take(h.from, data)
		default:
			return
		}
	}
}

// shut ends the handshake in silence: pion can neither read nor write any more.
func (h *handshake) shut() { h.once.Do(func() { close(h.done) }) }

func (h *handshake) isShut() bool {
	select {
	case <-h.done:
		return true
	default:
		return false
	}
}

// prepare makes pion's side of a handshake.
func (h *handshake) prepare() (err error) {
	o := []dtls.ServerOption{
		dtls.WithPSK(h.psk),
		dtls.WithConnectionIDGenerator(h.newCID),
		dtls.WithVerifyConnection(h.verify),
		dtls.WithExtendedMasterSecret(dtls.RequestExtendedMasterSecret),
		dtls.WithEllipticCurves(elliptic.P256, elliptic.X25519),
		dtls.WithMTU(flightBytesMax),
		dtls.WithReplayProtectionWindow(replayWindow),
		dtls.WithFlightInterval(flightInterval),
		dtls.WithLoggerFactory(silence{}),
	}
	suites := pskSuites
	roots, own := h.c.keys.credentials.Roots(), h.c.own()
	if roots != nil && own != nil {
		suites = slices.Concat(pskSuites, certificateSuites)
		o = append(o, dtls.WithCertificates(*own), dtls.WithClientCAs(roots),
			dtls.WithClientAuth(dtls.RequireAndVerifyClientCert), dtls.WithSignatureSchemes(tls.ECDSAWithP256AndSHA256))
	}
	h.conn, err = dtls.ServerWithOptions(h, address{h.from}, append(o, dtls.WithCipherSuites(suites...))...)
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
func (h *handshake) begin() {
	h.timer = time.AfterFunc(h.c.o.HandshakeTimeout, h.shut)
	h.c.running.Go(h.run)
}

// run is the life of a handshake. When it is over, pion goes and the session
// stays.
func (h *handshake) run() {
	err := h.conn.HandshakeContext(context.Background()) // shut ends it
	h.timer.Stop()
	if err == nil {
		err = h.export(h.conn)
	}
	done := err == nil && h.c.finish(h)
	if !done {
		h.c.fail(h)
	}
	h.shut() // before pion says that it closes
	_ = h.conn.Close()
	if done {
		h.settled.Store(true)
		h.drain()
	}
}

// psk is pion's question for the key of an identity.
func (h *handshake) psk(identity []byte) ([]byte, error) {
	h.trial = h.c.keys.try(string(identity), h.from.Remote.Addr())
	h.credential = Credential{Identity: string(identity), Kind: PSK, Fingerprint: sha256.Sum256(h.trial.key)}
	h.keyed.Store(true)
	return h.trial.key, nil
}

// newCID names the session in the device's records from now on.
func (h *handshake) newCID() []byte {
	var id cid
	rand.Read(id[:]) // never fails [crypto/rand]
	h.c.mu.Lock()
	h.id = id[:]
	h.c.byCID[id] = h.session
	h.c.mu.Unlock()
	return id[:]
}

// verify is called once the device has shown, by its Finished, that it has the
// key.
func (h *handshake) verify(state *dtls.State) error {
	h.proved.Store(true)
	if len(state.PeerCertificates) > 0 {
		cert, err := x509.ParseCertificate(state.PeerCertificates[0])
		if err != nil {
			return err
		}
		if key, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != stdelliptic.P256() {
			return errCurve
		}
		h.credential = Credential{Identity: nameIn(cert), Kind: Certificate, Fingerprint: sha256.Sum256(cert.Raw)}
		h.expires = cert.NotAfter
	}
	if device.CheckName(h.credential.Identity) != "" {
		return errNobody
	}
	if h.c.keys.credentials.Revoked(h.credential) {
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
func (h *handshake) refuted() bool {
	return h.keyed.Load() && h.answered && !h.proved.Load() && !h.finished.Load()
}

// refuse ends the handshake of a device with a wrong key, and that of a
// stranger, with the same alert [RFC 4279 2].
func (h *handshake) refuse() {
	h.c.stats.WrongKeys.Add(1)
	h.c.keys.settle(h.trial, false)
	h.c.send(h.from, alertRecord(h.sequence.Load()+h.ahead, decryptError))
	h.shut()
}

// fail takes a handshake that came to nothing off the tables.
func (c *Conn) fail(h *handshake) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Failed.Add(1)
	c.unlistLocked(h)
	c.forgetCIDLocked(h.session)
}

func (c *Conn) forgetCIDLocked(s *session) {
	if len(s.id) == cidBytes && c.byCID[cid(s.id)] == s {
		delete(c.byCID, cid(s.id))
	}
}

// finish makes a session of a handshake. Only now, when the device has shown
// that it is itself, does its former session at this address end.
func (c *Conn) finish(h *handshake) bool {
	s := h.session
	if h.keyed.Load() {
		c.keys.settle(h.trial, true)
	}
	s.heard.Store(int64(c.now()))
	s.mu.Lock()
	s.last = h.last
	s.mu.Unlock()
	c.mu.Lock()
	if c.stopping || h.isShut() {
		c.mu.Unlock()
		return false
	}
	c.unlistLocked(h)
	for s.number == 0 || c.sessions[s.number] != nil {
		c.last++
		s.number = c.last
	}
	c.sessions[s.number] = s
	s.coming = nil
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
	told := s.told()
	if why != Replaced {
		s.say(typeAlert, []byte{alertWarning, closeNotify})
	}
	s.over.Store(true)
	c.o.Ended(told, why)
}

func (c *Conn) dropLocked(s *session) {
	delete(c.sessions, s.number)
	c.forgetCIDLocked(s)
	if at := s.address(); c.byAddress[at] == s {
		delete(c.byAddress, at)
	}
	identity := s.credential.Identity
	own := slices.DeleteFunc(c.byIdentity[identity], func(other *session) bool { return other == s })
	if c.byIdentity[identity] = own; len(own) == 0 {
		delete(c.byIdentity, identity)
	}
}
