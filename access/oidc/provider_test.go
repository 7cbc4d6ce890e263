package oidc

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"behest/access"
)

// until waits for something to become so, for a loaded machine.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for range 2000 {
		if f() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("waited in vain: %s", what)
}

func kid(name string, key *rsa.PrivateKey) func(*draft) {
	return func(d *draft) { d.key, d.header["kid"] = key, name }
}

func TestAKeyThatIsNewIsAskedForAtOnce(t *testing.T) {
	i := newIssuer(t)
	g := enter(t, Options{Issuer: i.url})
	g.is("the first", i.good().sign(t), nil)
	second := i.good(kid("second", otherKey)).sign(t)
	i.publish("second", otherKey.Public(), "RS256")
	g.is("so soon after the last time", second, refusedKey)
	g.pass(againDefault)
	g.is("then", second, nil)
	g.is("the first still", i.good().sign(t), nil)
	if n := i.askings(); n != 2 {
		t.Errorf("it was asked %d times", n)
	}
}

func TestAKeyThatWasWithdrawnIsTakenNoMore(t *testing.T) {
	i := newIssuer(t)
	g := enter(t, Options{Issuer: i.url, Every: 10 * time.Millisecond})
	first := i.good().sign(t)
	g.is("while it is published", first, nil)
	i.withdraw()
	i.publish("second", otherKey.Public(), "RS256")
	until(t, "the second key", func() bool {
		_, _, err := g.Verify(t.Context(), i.good(kid("second", otherKey)).sign(t))
		return err == nil
	})
	g.is("withdrawn", first, refusedKey)
	i.does(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			_, _ = w.Write([]byte(`{"keys":[]}`))
			return
		}
		i.provider.ServeHTTP(w, r)
	})
	until(t, "no key", func() bool {
		_, _, err := g.Verify(t.Context(), i.good(kid("second", otherKey)).sign(t))
		return is(err, refusedKey)
	})
}

// Whoever sends names of keys at random has the provider asked every ten
// seconds, and waits for nobody's sake.
func TestNamesAtRandomDoNotReachTheProvider(t *testing.T) {
	i := newIssuer(t)
	g := enter(t, Options{Issuer: i.url})
	g.is("before", i.good().sign(t), nil)
	var tokens [500]string
	for n := range tokens {
		tokens[n] = i.good(kid(fmt.Sprint("random-", n), otherKey)).sign(t)
	}
	flood := func() {
		t.Helper()
		var all sync.WaitGroup
		var let, unsure atomic.Int64
		for _, token := range tokens {
			all.Go(func() {
				_, _, err := g.Verify(t.Context(), token)
				switch {
				case errors.Is(err, access.ErrCannotTell):
					unsure.Add(1)
				case !errors.Is(err, access.ErrUnknownToken):
					let.Add(1)
				}
			})
		}
		all.Wait()
		if let.Load() > 0 {
			t.Errorf("%d were not refused", let.Load())
		}
		t.Logf("500 at once: it was asked %d times in all, %d were told to ask again", i.askings(), unsure.Load())
	}
	flood()
	if n := i.askings(); n != 1 {
		t.Errorf("within ten seconds it was asked %d times", n)
	}
	g.pass(againDefault)
	flood()
	if n := i.askings(); n != 2 {
		t.Errorf("after ten seconds it was asked %d times", n)
	}
	g.pass(time.Hour)
	bad := i.good(kid("first", otherKey), claim("exp", seconds(2*time.Hour))).sign(t)
	for range 100 {
		g.is("a wrong signature of a key that is there", bad, refusedSignature)
	}
	if n := i.askings(); n != 2 {
		t.Errorf("for wrong signatures it was asked %d times", n)
	}
}

// A provider that hangs holds up a bounded number of requests, and those not
// for long; who goes leaves nothing behind.
func TestAProviderThatHangsHoldsUpFew(t *testing.T) {
	i := newIssuer(t)
	g := enter(t, Options{Issuer: i.url})
	g.is("before", i.good().sign(t), nil)
	over := make(chan struct{})
	i.does(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-over:
		case <-r.Context().Done():
		}
	})
	defer close(over)
	g.pass(againDefault)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	for n := range waitersMax {
		token := i.good(kid(fmt.Sprint(n), otherKey)).sign(t)
		all.Go(func() {
			if _, _, err := g.Verify(ctx, token); !errors.Is(err, access.ErrCannotTell) {
				t.Errorf("one who waits: %v", err)
			}
		})
	}
	until(t, "all places are taken", func() bool { return len(g.places) == waitersMax })
	began := time.Now()
	g.is("one too many", i.good(kid("more", otherKey)).sign(t), access.ErrCannotTell)
	g.is("a key that is there", i.good().sign(t), nil)
	if took := time.Since(began); took > waitMax/2 {
		t.Errorf("they took %s", took)
	}
	cancel()
	all.Wait()
	if len(g.places) != 0 {
		t.Errorf("%d places are lost", len(g.places))
	}
}

func TestTheProviderIsDown(t *testing.T) {
	i := newIssuer(t)
	i.does(down)
	g := enter(t, Options{Issuer: i.url, Retry: 10 * time.Millisecond})
	token := i.good(claim("exp", seconds(36*time.Hour))).sign(t)
	g.is("at the start", token, access.ErrCannotTell)
	i.does(nil)
	until(t, "it is up", func() bool { _, _, err := g.Verify(t.Context(), token); return err == nil })
	g.is("what is wrong", i.good(claim("aud", "others")).sign(t), refusedOthers)

	i.does(down)
	g.pass(keepDefault)
	g.wakeUp()
	until(t, "it was tried in vain", func() bool { return g.now().err != nil })
	g.is("down again, within the time", token, nil)
	g.is("a key that is not there", i.good(kid("second", otherKey)).sign(t), access.ErrCannotTell)
	g.pass(time.Second)
	g.is("down for too long", token, access.ErrCannotTell)
	i.does(nil)
	until(t, "it is up", func() bool { _, _, err := g.Verify(t.Context(), token); return err == nil })

	c := g.Stats()
	if c.Taken < 3 || c.Refused != 1 || c.Unsure < 3 || c.Fetched < 2 || c.Failed < 2 || c.Read.IsZero() {
		t.Errorf("counted: %+v", c)
	}
	log := g.log.String()
	if n := strings.Count(log, "does not give its keys"); n != 2 {
		t.Errorf("it was said %d times that it is down, want 2:\n%s", n, log)
	}
	if n := strings.Count(log, "gave its keys"); n != 2 {
		t.Errorf("it was said %d times that it is up, want 2:\n%s", n, log)
	}
	if strings.Contains(log, "nothing of this is told") || strings.Contains(log, token[:20]) {
		t.Errorf("the log has what the provider or a token says:\n%s", log)
	}
}

// wakeUp has the keys asked for, as a token with another one would.
func (g *gate) wakeUp() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// What a provider says of itself is not taken in parts, from elsewhere, without
// end, or in clear.
func TestAProviderThatIsNotWhatItSays(t *testing.T) {
	i := newIssuer(t)
	elsewhere := "http://login.example.org/keys"
	discovery := func(issuer, keys string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/.well-known/openid-configuration" {
				i.provider.ServeHTTP(w, r)
				return
			}
			_ = json.NewEncoder(w).Encode(map[string]string{"issuer": issuer, "jwks_uri": keys})
		}
	}
	keys := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/keys" {
				_, _ = w.Write([]byte(body))
				return
			}
			i.provider.ServeHTTP(w, r)
		}
	}
	for _, row := range []struct {
		name string
		does http.HandlerFunc
		says string
	}{
		{"it does as it should", nil, ""},
		{"it is another", discovery(i.url+"/other", i.url+"/keys"), "did not match"},
		{"its keys are in clear elsewhere", discovery(i.url, elsewhere), "is not https"},
		{"its keys are in a file", discovery(i.url, "file:///etc/passwd"), "is not https"},
		{"it says nothing of keys", discovery(i.url, ""), "ask for its keys"},
		{"it leads elsewhere in clear", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere, http.StatusFound) }, "is not https"},
		{"it leads around", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) }, "stopped after 10 redirects"},
		{"it has no end", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"issuer":"` + strings.Repeat("x", documentBytesMax)))
		}, "too large"},
		{"its keys have no end", keys(`{"keys":[` + strings.Repeat(" ", documentBytesMax)), "too large"},
		{"its keys are none", keys(`{"error":"x"}`), "there are none, or over 64"},
		{"its keys are too many", keys(`{"keys":[` + strings.Repeat(`{},`, keysMax) + `{}]}`), "there are none, or over 64"},
		{"its keys are no JSON", keys(`<html>`), "invalid character"},
		{"it fails", down, "it answers 500"},
		{"it is not there", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "x", http.StatusNotFound) }, "it answers 404"},
	} {
		i.does(row.does)
		p, err := New(Options{Issuer: i.url, Audience: audience})
		if err != nil {
			t.Fatal(err)
		}
		k, err := p.fetch(t.Context())
		if row.says == "" && (err != nil || len(k) != 1) || row.says != "" && (err == nil || !strings.Contains(err.Error(), row.says)) {
			t.Errorf("%s: %d keys, %v", row.name, len(k), err)
		}
	}
}

// Behind TLS nothing is asked for in clear, not even on this machine.
func TestFromTLSNothingLeadsToClear(t *testing.T) {
	plain := newIssuer(t)
	var front *httptest.Server
	keysAt := plain.url
	front = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			plain.provider.ServeHTTP(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": front.URL, "jwks_uri": keysAt + "/keys"})
	}))
	front.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are to fail
	front.StartTLS()
	defer front.Close()
	p, err := New(Options{Issuer: front.URL, Audience: audience})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of nobody: %v", err)
	}
	p.client.Transport = guard{next: front.Client().Transport}
	if _, err := p.fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "is not https") || plain.askings() != 0 {
		t.Errorf("its keys in clear: %v", err)
	}
	keysAt = front.URL
	if k, err := p.fetch(t.Context()); err != nil || len(k) != 1 {
		t.Errorf("its keys by TLS: %d, %v", len(k), err)
	}
}

func TestKeysThatCannotSignAreLeftOut(t *testing.T) {
	public := func(k jose.JSONWebKey) json.RawMessage {
		b, err := json.Marshal(k)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	got := readKeys([]json.RawMessage{
		public(jose.JSONWebKey{Key: rsaKey.Public(), KeyID: "good"}),
		public(jose.JSONWebKey{Key: rsaKey.Public(), KeyID: "for signatures", Use: "sig", Algorithm: "RS512"}),
		public(jose.JSONWebKey{Key: rsaKey.Public(), KeyID: "for secrets", Use: "enc"}),
		public(jose.JSONWebKey{Key: rsaKey.Public(), KeyID: "for other secrets", Algorithm: "RSA-OAEP"}),
		public(jose.JSONWebKey{Key: rsaKey, KeyID: "a private one"}),
		public(jose.JSONWebKey{Key: []byte("0123456789abcdef0123456789abcdef"), KeyID: "a secret", Algorithm: "HS256"}),
		public(jose.JSONWebKey{Key: []byte("0123456789abcdef0123456789abcdef"), KeyID: "a secret of no algorithm"}),
		public(jose.JSONWebKey{Key: &rsa.PublicKey{N: new(big.Int).Rsh(rsaKey.N, 1), E: 65537}, KeyID: "a weak one"}),
		json.RawMessage(`{"kty":"new","kid":"of a new kind"}`), json.RawMessage(`{"kty":"RSA"}`), json.RawMessage(`7`), json.RawMessage(`null`),
	})
	var names []string
	for _, k := range got {
		names = append(names, k.KeyID)
	}
	if len(names) != 2 || names[0] != "good" || names[1] != "for signatures" {
		t.Errorf("taken: %q", names)
	}
}

func TestSettingsThatCannotBe(t *testing.T) {
	for name, o := range map[string]Options{
		"no issuer":   {Audience: audience},
		"in clear":    {Issuer: "http://login.example.org", Audience: audience},
		"no audience": {Issuer: "https://login.example.org"},
		"no claim":    {Issuer: "https://login.example.org", Audience: audience, Claim: "nick"},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: it can", name)
		}
	}
}

func TestPeopleComeByBothWays(t *testing.T) {
	i := newIssuer(t)
	g := enter(t, Options{Issuer: i.url})
	book := access.NewBook(g.o.Now)
	people := People{book, g.Provider}
	if err := book.PutUser(access.User{ID: "Ann A.", Grants: []access.Grant{{Role: access.Approver}},
		Logins: []access.Login{{Issuer: i.url, Claim: access.ClaimSubject, Subject: "ann"}}}); err != nil {
		t.Fatal(err)
	}
	own := access.NewToken()
	parsed, err := access.ParseToken(own)
	if err != nil {
		t.Fatal(err)
	}
	book.PutToken(access.TokenRecord{User: "Ann A.", N: 1, Token: parsed})
	token := i.good().sign(t)
	want := access.Identity{User: "Ann A.", Roles: access.Approver, Everywhere: access.Approver}
	if who, err := people.Authenticate(t.Context(), own); err != nil || who != want {
		t.Errorf("by her own: %+v %v", who, err)
	}
	want.Via, want.ExpiresAt = access.ViaOIDC, noon.Add(time.Hour+leeway).Local()
	if who, err := people.Authenticate(t.Context(), token); err != nil || who != want {
		t.Errorf("by the provider's: %+v %v, want %+v", who, err, want)
	}
	if _, err := people.Authenticate(t.Context(), i.good(claim("sub", "bob")).sign(t)); !is(err, refusedStranger) {
		t.Errorf("a stranger: %v", err)
	}
	if _, err := people.Authenticate(t.Context(), "bh_nothing"); !errors.Is(err, access.ErrNoToken) {
		t.Errorf("no token: %v", err)
	}
	if err := book.PutUser(access.User{ID: "Ann A.", Disabled: true, Logins: []access.Login{{Issuer: i.url, Claim: access.ClaimSubject, Subject: "ann"}}}); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"own": own, "the provider's": token} {
		if who, err := people.Authenticate(t.Context(), text); !errors.Is(err, access.ErrUnknownToken) || who != (access.Identity{}) {
			t.Errorf("disabled, by %s: %+v %v", name, who, err)
		}
	}
}
