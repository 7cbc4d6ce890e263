package oidc

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"behest/access"
)

// How the provider is asked.
const (
	everyDefault = 10 * time.Minute // a key that was withdrawn works for that long
	againDefault = 10 * time.Second // between two askings, whatever tokens say
	retryDefault = 15 * time.Second // until the next, when one failed
	keepDefault  = 12 * time.Hour   // a night without the provider; its tokens end sooner

	fetchWithin      = 10 * time.Second
	documentBytesMax = 256 << 10 // fifty keys with their certificates
	headersBytesMax  = 64 << 10
	keysMax          = 64
	waitersMax       = 64              // requests that wait for keys at once; the others ask again
	waitMax          = 5 * time.Second // for each of them
	errorCharsMax    = 300             // of what the log has of a provider's fault
)

// Options are what is known of a provider.
type Options struct {
	Issuer   string // as the tokens have it
	Audience string // what tokens call this server
	Claim    string // of access.LoginClaims; empty: sub

	Now    func() time.Time                      // nil: time.Now
	Logger *slog.Logger                          // nil: nothing is logged
	Proxy  func(*http.Request) (*url.URL, error) // nil: none

	Every, Again, Retry, Keep time.Duration // 0: as above
}

// Provider takes the tokens of an identity provider. It is safe for use by many
// at once, and of no use before Run.
type Provider struct {
	o      Options
	client *http.Client
	rules  *oidc.Config
	wake   chan struct{} // holds one: a key is missing
	places chan struct{} // one each for who waits for it

	mu   sync.Mutex
	held held

	taken, refused, unsure, fetched, failed atomic.Uint64
}

// held is what is known of the provider's keys.
type held struct {
	keys  keys
	read  time.Time     // when they were; zero: never
	tried time.Time     // when that was last tried
	err   error         // what came of that
	next  chan struct{} // closed when it was tried again
}

// New makes a provider of what is said of one; nothing starts.
func New(o Options) (*Provider, error) {
	o.Claim = cmp.Or(o.Claim, access.ClaimSubject)
	o.Every, o.Again = cmp.Or(o.Every, everyDefault), cmp.Or(o.Again, againDefault)
	o.Retry, o.Keep = cmp.Or(o.Retry, retryDefault), cmp.Or(o.Keep, keepDefault)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if err := access.CheckIssuer(o.Issuer); err != nil {
		return nil, fmt.Errorf("the issuer %w", err)
	}
	if o.Audience == "" {
		return nil, errors.New("the audience is missing")
	}
	if !slices.Contains(access.LoginClaims, o.Claim) {
		return nil, fmt.Errorf("the claim %q is none of %s", o.Claim, strings.Join(access.LoginClaims, ", "))
	}
	return &Provider{
		o: o, wake: make(chan struct{}, 1), places: make(chan struct{}, waitersMax),
		client: &http.Client{Transport: guard{
			plain: strings.HasPrefix(o.Issuer, "http://"),
			next:  &http.Transport{Proxy: o.Proxy, DisableKeepAlives: true, MaxResponseHeaderBytes: headersBytesMax},
		}},
		rules: &oidc.Config{ClientID: o.Audience, SupportedSigningAlgs: algorithms, SkipExpiryCheck: true}, // see timely
		held:  held{err: errors.New("it was not asked yet"), next: make(chan struct{})},
	}, nil
}

// Run keeps the provider's keys until ctx ends.
func (p *Provider) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
			if h := p.now(); p.o.Now().Sub(h.tried) < p.o.Again {
				continue
			}
		case <-timer.C:
		}
		k, err := p.fetch(ctx)
		if ctx.Err() != nil {
			return nil
		}
		p.hold(k, err)
		wait := p.o.Every
		if err != nil {
			wait = p.o.Retry
		}
		timer.Reset(wait)
	}
}

// now is what is known of the keys.
func (p *Provider) now() held {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held
}

// hold takes what came of asking, and wakes who waits for it.
func (p *Provider) hold(k keys, err error) {
	before, now := p.now(), p.o.Now()
	after := held{keys: before.keys, read: before.read, tried: now, err: err, next: make(chan struct{})}
	switch {
	case err == nil:
		p.fetched.Add(1)
		after.keys, after.read = k, now
		if before.read.IsZero() || before.err != nil {
			p.o.Logger.Info("the identity provider gave its keys", "issuer", p.o.Issuer, "keys", len(k))
		}
	default:
		p.failed.Add(1)
		if before.err == nil || before.tried.IsZero() { // each failure after the first would say the same
			p.o.Logger.Warn("the identity provider does not give its keys; tokens of this server work, and it is tried again",
				"issuer", p.o.Issuer, "err", fmt.Sprintf("%.*s", errorCharsMax, err))
		}
	}
	p.mu.Lock()
	p.held = after
	p.mu.Unlock()
	close(before.next)
}

// renewed waits until the provider was asked again after before, if it may be.
func (p *Provider) renewed(ctx context.Context, before held) (held, error) {
	if p.o.Now().Sub(before.tried) < p.o.Again {
		return before, before.err
	}
	select {
	case p.places <- struct{}{}:
		defer func() { <-p.places }()
	default:
		return before, errors.New("too many wait for keys")
	}
	select {
	case p.wake <- struct{}{}:
	default: // it knows
	}
	late := time.NewTimer(waitMax)
	defer late.Stop()
	select {
	case <-before.next:
		after := p.now()
		return after, after.err
	case <-late.C:
		return before, errors.New("the identity provider takes its time")
	case <-ctx.Done():
		return before, ctx.Err()
	}
}

// fetch asks the provider where its keys are, and for them.
func (p *Provider) fetch(ctx context.Context) (keys, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	found, err := oidc.NewProvider(oidc.ClientContext(ctx, p.client), p.o.Issuer)
	if err != nil {
		return nil, fmt.Errorf("ask what it is: %w", err)
	}
	var at struct {
		Keys string `json:"jwks_uri"`
	}
	if err := found.Claims(&at); err != nil {
		return nil, fmt.Errorf("read what it is: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.Keys, nil)
	if err != nil {
		return nil, fmt.Errorf("ask for its keys: %w", err)
	}
	res, err := p.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask for its keys: %w", err)
	}
	defer res.Body.Close()
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	b, err := io.ReadAll(res.Body)
	if err == nil {
		err = json.Unmarshal(b, &set)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("read its keys: %w", err)
	case set.Keys == nil, len(set.Keys) > keysMax:
		return nil, fmt.Errorf("read its keys: there are none, or over %d", keysMax)
	}
	return readKeys(set.Keys), nil
}

// guard lets through what a provider says itself, and no more of it than fits.
type guard struct {
	next  http.RoundTripper
	plain bool // the provider is on loopback, and has no TLS
}

func (g guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !(g.plain && access.Vouched(r.URL)) {
		return nil, fmt.Errorf("%.100s is not https", r.URL.Redacted())
	}
	res, err := g.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK && res.StatusCode/100 != 3 { // those lead here again
		_ = res.Body.Close() // nobody wants it
		return nil, fmt.Errorf("it answers %d", res.StatusCode)
	}
	res.Body = http.MaxBytesReader(nil, res.Body, documentBytesMax)
	return res, nil
}

// Stats are counters since the start.
type Stats struct {
	Taken, Refused, Unsure uint64    // tokens; unsure: it could not be told
	Fetched, Failed        uint64    // askings for keys
	Read                   time.Time // when the keys that are held were; zero: there are none
}

// Stats are the provider's counters as they are now.
func (p *Provider) Stats() Stats {
	return Stats{
		Taken: p.taken.Load(), Refused: p.refused.Load(), Unsure: p.unsure.Load(),
		Fetched: p.fetched.Load(), Failed: p.failed.Load(), Read: p.now().read,
	}
}
