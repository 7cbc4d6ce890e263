package oidc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"behest/access"
)

// Limits of a token.
const (
	TokenBytesMax = 12 << 10         // with two hundred groups in it; all headers of a request may have 16 KiB
	leeway        = 30 * time.Second // between the provider's clock and ours
	lifetimeMax   = 48 * time.Hour   // longer ones are made for machines, and those have tokens of this server
)

// algorithms are those that sign with a key of one and are verified with
// another: with a secret that both have, and with none, anybody here could sign.
var algorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
}

var joseAlgorithms = func() (all []jose.SignatureAlgorithm) {
	for _, a := range algorithms {
		all = append(all, jose.SignatureAlgorithm(a))
	}
	return all
}()

// kinds are the types of tokens that are taken, in small letters [RFC 7515
// 4.1.9, RFC 9068 2.1]. None is said by many.
var kinds = []string{"", "jwt", "at+jwt", "application/at+jwt"}

// Why a token is refused.
const (
	refusedLength    = access.Refusal("it is longer than tokens may be here")
	refusedForm      = access.Refusal("it is no signed JWT")
	refusedAlgorithm = access.Refusal("it is not signed with an algorithm that is taken here")
	refusedKind      = access.Refusal("it is of a type that is not taken here")
	refusedKey       = access.Refusal("it is signed with a key that the identity provider does not publish")
	refusedSignature = access.Refusal("its signature is wrong")
	refusedOthers    = access.Refusal("it is of another issuer, for another audience, or cannot be read")
	refusedClaims    = access.Refusal("its claims cannot be read")
	refusedEarly     = access.Refusal("it has not begun")
	refusedLate      = access.Refusal("it has expired")
	refusedLasting   = access.Refusal("it lasts longer than tokens may here")
	refusedNameless  = access.Refusal("it lacks the claim that names the user")
	refusedEmail     = access.Refusal("its e-mail address is not verified")
	refusedStranger  = access.Refusal("its login is no user's here")
)

// Verify tells whose login a token proves, and until when. An access.Refusal:
// nobody's; access.ErrCannotTell: ask again.
func (p *Provider) Verify(ctx context.Context, text string) (l access.Login, until time.Time, err error) {
	l, until, err = p.verify(ctx, text)
	switch err.(type) {
	case nil:
		p.taken.Add(1)
	case access.Refusal:
		p.refused.Add(1)
	default:
		p.unsure.Add(1)
		err = fmt.Errorf("%w: %w", access.ErrCannotTell, err)
	}
	return l, until, err
}

func (p *Provider) verify(ctx context.Context, text string) (l access.Login, until time.Time, err error) {
	if err := checkHeader(text); err != nil {
		return l, until, err
	}
	t, err := p.proven(ctx, text)
	if err != nil {
		return l, until, err
	}
	claims, err := claimsOf(t)
	if err != nil {
		return l, until, err
	}
	if err := timely(t, claims, p.o.Now()); err != nil {
		return l, until, err
	}
	if l, err = p.login(claims); err != nil {
		return l, until, err
	}
	return l, t.Expiry.Add(leeway), nil
}

// login is how the provider calls who has the token.
func (p *Provider) login(claims map[string]json.RawMessage) (access.Login, error) {
	var subject string
	if json.Unmarshal(claims[p.o.Claim], &subject) != nil || subject == "" {
		return access.Login{}, refusedNameless
	}
	// Some write it as a text.
	if said := strings.Trim(string(claims["email_verified"]), `"`); p.o.Claim == access.ClaimEmail && said != "true" {
		return access.Login{}, refusedEmail
	}
	return access.Login{Issuer: p.o.Issuer, Claim: p.o.Claim, Subject: subject}, nil
}

// checkHeader looks at what can be told for next to nothing. The signature is over
// the header too; before it is verified, a refusal helps nobody.
func checkHeader(text string) error {
	if len(text) > TokenBytesMax {
		return refusedLength
	}
	if strings.Count(text, ".") != 2 || strings.ContainsFunc(text, foreign) { // the library overlooks blanks
		return refusedForm
	}
	header, _, _ := strings.Cut(text, ".")
	var h struct{ Alg, Typ string }
	b, err := base64.RawURLEncoding.DecodeString(header)
	switch {
	case err != nil || json.Unmarshal(b, &h) != nil:
		return refusedForm
	case !slices.Contains(algorithms, h.Alg):
		return refusedAlgorithm
	case !slices.Contains(kinds, strings.ToLower(h.Typ)):
		return refusedKind
	}
	return nil
}

// foreign reports whether a character is in no compact JWS [RFC 7515 7.1].
func foreign(c rune) bool {
	return c != '.' && c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
}

// proven is a token of the provider for this server, whatever its time.
func (p *Provider) proven(ctx context.Context, text string) (*oidc.IDToken, error) {
	h := p.now()
	if h.read.IsZero() || p.o.Now().Sub(h.read) > p.o.Keep {
		var err error
		if h, err = p.renewed(ctx, h); err != nil {
			return nil, err
		}
	}
	t, err := p.signed(ctx, text, h.keys)
	if err == errNoSuchKey {
		if h, err = p.renewed(ctx, h); err != nil {
			return nil, err
		}
		if t, err = p.signed(ctx, text, h.keys); err == errNoSuchKey {
			return nil, refusedKey
		}
	}
	return t, err
}

func (p *Provider) signed(ctx context.Context, text string, k keys) (*oidc.IDToken, error) {
	look := &attempt{keys: k}
	t, err := oidc.NewVerifier(p.o.Issuer, look, p.rules).Verify(ctx, text)
	switch {
	case err == nil:
		return t, nil
	case look.err == errNoSuchKey:
		return nil, errNoSuchKey
	case look.err != nil:
		return nil, refusedSignature
	}
	return nil, refusedOthers
}

// registered are claims that decide here. The library takes SUB for sub.
var registered = []string{"iss", "aud", "exp", "nbf", "sub"}

// claimsOf are the claims of a token, each under its own name alone.
func claimsOf(t *oidc.IDToken) (map[string]json.RawMessage, error) {
	var claims map[string]json.RawMessage
	if err := t.Claims(&claims); err != nil {
		return nil, refusedClaims
	}
	for name := range claims {
		for _, known := range registered {
			if name != known && strings.EqualFold(name, known) {
				return nil, refusedClaims
			}
		}
	}
	if _, ok := claims["events"]; ok { // [RFC 8417 2.2]
		return nil, refusedKind
	}
	return claims, nil
}

// timely holds a token against the time.
func timely(t *oidc.IDToken, claims map[string]json.RawMessage, now time.Time) error {
	var begins float64 // seconds; none: it has begun
	if raw, ok := claims["nbf"]; ok && json.Unmarshal(raw, &begins) != nil {
		return refusedClaims
	}
	switch {
	case !now.Before(t.Expiry.Add(leeway)): // none: long ago
		return refusedLate
	case t.Expiry.Sub(now) > lifetimeMax:
		return refusedLasting
	case begins > float64(now.Add(leeway).Unix()):
		return refusedEarly
	}
	return nil
}
