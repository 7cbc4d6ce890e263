package oidc

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc/oidctest"
	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// audience is what the issuer's tokens call this server.
const audience = "behest"

// issuer is a provider on a real socket.
type issuer struct {
	t   *testing.T
	url string

	mu       sync.Mutex
	provider oidctest.Server
	instead  http.HandlerFunc // nil: it does as it should
	asked    int              // for its keys
}

// newIssuer starts an issuer with a key that is called first.
func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{t: t}
	front := httptest.NewServer(i)
	t.Cleanup(front.Close)
	i.url = front.URL
	i.provider.SetIssuer(front.URL)
	i.publish("first", rsaKey.Public(), "RS256")
	return i
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	instead, provider := i.instead, i.provider
	if r.URL.Path == "/keys" {
		i.asked++
	}
	i.mu.Unlock()
	if instead != nil {
		instead(w, r)
		return
	}
	provider.ServeHTTP(w, r)
}

// publish adds a key.
func (i *issuer) publish(kid string, key crypto.PublicKey, alg string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.provider.PublicKeys = append(i.provider.PublicKeys[:len(i.provider.PublicKeys):len(i.provider.PublicKeys)],
		oidctest.PublicKey{PublicKey: key, KeyID: kid, Algorithm: alg})
}

// withdraw takes all keys back.
func (i *issuer) withdraw() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.provider.PublicKeys = nil
}

// does lets it do something else from now on; nil: what it should.
func (i *issuer) does(instead http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.instead = instead
}

func (i *issuer) askings() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked
}

func down(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "nothing of this is told", http.StatusInternalServerError)
}

// The keys of the tests; nobody else has them.
var (
	rsaKey   = made(rsa.GenerateKey(rand.Reader, 2048))
	otherKey = made(rsa.GenerateKey(rand.Reader, 2048))
	ecKeys   = map[string]*ecdsa.PrivateKey{
		"ES256": made(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), "ES384": made(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)),
		"ES512": made(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)),
	}
	edKey = made2(ed25519.GenerateKey(rand.Reader))
)

func made[K any](k K, err error) K {
	if err != nil {
		panic(err)
	}
	return k
}

func made2(_ ed25519.PublicKey, k ed25519.PrivateKey, err error) ed25519.PrivateKey {
	return made(k, err)
}

// draft is a token before it is signed.
type draft struct {
	key    any
	alg    string
	header map[jose.HeaderKey]any
	claims map[string]any
}

// good is a token of ann that ends in an hour.
func (i *issuer) good(change ...func(*draft)) draft {
	d := draft{
		key: rsaKey, alg: "RS256", header: map[jose.HeaderKey]any{"kid": "first"},
		claims: map[string]any{"iss": i.url, "aud": audience, "sub": "ann", "iat": noon.Unix(), "exp": noon.Add(time.Hour).Unix()},
	}
	for _, f := range change {
		f(&d)
	}
	return d
}

func (d draft) sign(t testing.TB) string {
	t.Helper()
	payload, err := json.Marshal(d.claims)
	if err != nil {
		t.Fatal(err)
	}
	return d.signs(t, payload)
}

func (d draft) signs(t testing.TB, payload []byte) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(d.alg), Key: d.key}, &jose.SignerOptions{ExtraHeaders: maps.Clone(d.header)})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func claim(name string, v any) func(*draft) {
	return func(d *draft) {
		d.claims[name] = v
		if v == nil {
			delete(d.claims, name)
		}
	}
}

func header(name string, v any) func(*draft) {
	return func(d *draft) {
		d.header[jose.HeaderKey(name)] = v
		if v == nil {
			delete(d.header, jose.HeaderKey(name))
		}
	}
}

// noon is the present of every test, until it moves on.
var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// gate is a provider of the package that runs, and its clock.
type gate struct {
	*Provider
	t   *testing.T
	log *lines

	mu sync.Mutex
	at time.Time
}

// enter runs a provider for an issuer until the test ends.
func enter(t *testing.T, o Options) *gate {
	t.Helper()
	g := &gate{t: t, at: noon, log: new(lines)}
	if o.Audience == "" {
		o.Audience = audience
	}
	o.Now = func() time.Time {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.at
	}
	o.Logger = slog.New(slog.NewTextHandler(g.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	g.Provider = p
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return g
}

func (g *gate) pass(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.at = g.at.Add(d)
}

// is holds what comes of a token against an error; nil: it is ann's.
func (g *gate) is(when, token string, want error) {
	g.t.Helper()
	l, until, err := g.Verify(g.t.Context(), token)
	switch {
	case want == nil && (err != nil || l.Issuer != g.o.Issuer || l.Claim != g.o.Claim || l.Subject != "ann"):
		g.t.Errorf("%s: %+v, %v", when, l, err)
	case want == nil && until.IsZero():
		g.t.Errorf("%s: it never ends", when)
	case want != nil && !is(err, want):
		g.t.Errorf("%s: %v, want %v", when, err, want)
	}
}

// lines is what the log has.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
