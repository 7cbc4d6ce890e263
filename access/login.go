package access

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of logins.
const (
	LoginsMax       = 4   // of a user: one, and another while providers change
	IssuerBytesMax  = 256 // there is no other bound, and this is long for a URL that people type
	SubjectBytesMax = 255 // [OpenID Connect Core 1.0, 2]
)

// Claims that may name who logged in. What each is worth is in package oidc.
const (
	ClaimSubject  = "sub"                // the provider gives it to one person, once
	ClaimObject   = "oid"                // likewise, over all that one provider serves
	ClaimEmail    = "email"              // only where the token says that it was verified
	ClaimUserName = "preferred_username" // whoever the provider lets choose it
)

// LoginClaims are all of them, the best first.
var LoginClaims = []string{ClaimSubject, ClaimObject, ClaimEmail, ClaimUserName}

// Login is how an identity provider calls somebody: what a claim of its tokens
// says. It stands for one user at most.
type Login struct {
	Issuer  string
	Claim   string
	Subject string // byte for byte
}

// Fault says what is wrong with a login, and in which of its parts; nil: it can
// stand for somebody.
func (l Login) Fault() (part string, err error) {
	if err := CheckIssuer(l.Issuer); err != nil {
		return "issuer", err
	}
	switch {
	case !slices.Contains(LoginClaims, l.Claim):
		return "claim", fmt.Errorf("is none of %s", strings.Join(LoginClaims, ", "))
	case l.Subject == "":
		return "subject", errors.New("is missing")
	case len(l.Subject) > SubjectBytesMax:
		return "subject", fmt.Errorf("is over %d bytes", SubjectBytesMax)
	case !utf8.ValidString(l.Subject) || strings.ContainsFunc(l.Subject, unicode.IsControl):
		return "subject", errors.New("is not UTF-8, or holds a control character")
	}
	return "", nil
}

// CheckIssuer says why a text cannot be an issuer's name [OpenID Connect
// Discovery 1.0, 3].
func CheckIssuer(text string) error {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return errors.New("is missing")
	case len(text) > IssuerBytesMax:
		return fmt.Errorf("is over %d bytes", IssuerBytesMax)
	case err != nil || u.Host == "" || u.User != nil || u.Opaque != "" || strings.ContainsAny(text, "?#"):
		return errors.New("is no URL of the form https://HOST/PATH")
	case !Vouched(u):
		return errors.New("does not begin with https://, which only an issuer on loopback may do without")
	}
	return nil
}

// Vouched reports whether what is fetched from u comes from there: over TLS, or
// from this machine.
func Vouched(u *url.URL) bool {
	if u.Scheme == "http" {
		a, err := netip.ParseAddr(u.Hostname())
		return err == nil && a.IsLoopback() || u.Hostname() == "localhost" // [RFC 6761 6.3]
	}
	return u.Scheme == "https"
}

// Refusal is why a token is refused, in words that its bearer may hear: nothing
// of the token is in them. It is an ErrUnknownToken.
type Refusal string

func (r Refusal) Error() string { return string(r) }

// Is makes every refusal an ErrUnknownToken.
func (r Refusal) Is(target error) bool { return target == ErrUnknownToken }

// ErrCannotTell says that it cannot be told now whom a token stands for, and
// may be in a moment.
var ErrCannotTell = errors.New("it cannot be told now whom the token stands for")
