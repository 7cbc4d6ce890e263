package oidc

import (
	"context"
	"strings"

	"behest/access"
)

// People are those of a book, who come with tokens of this server and with those
// of a provider.
type People struct {
	*access.Book
	Provider *Provider
}

// Authenticate implements access.Authenticator. The form of a token tells whose
// it is: only the provider's have dots.
func (p People) Authenticate(ctx context.Context, token string) (access.Identity, error) {
	if !strings.Contains(token, ".") {
		return p.Book.Authenticate(ctx, token)
	}
	l, until, err := p.Provider.Verify(ctx, token)
	if err != nil {
		return access.Identity{}, err
	}
	who, err := p.Book.LogIn(l)
	if err != nil {
		return access.Identity{}, refusedStranger
	}
	who.ExpiresAt, who.Via = until, access.ViaOIDC
	return who, nil
}
