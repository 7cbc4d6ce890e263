package access

import (
	"context"
	"strings"
)

// ViaOIDC is the way of who came with an identity provider's token.
const ViaOIDC = "oidc"

type originKey struct{}

// WithOrigin says where a request came from, an address, and by which way its
// user did; empty: with a token of this server. Every event of the units of
// work done under ctx that has an actor bears both.
func WithOrigin(ctx context.Context, from, via string) context.Context {
	if via != "" {
		from += " " + via
	}
	return context.WithValue(ctx, originKey{}, from)
}

// Origin is what WithOrigin said as one text, or empty.
func Origin(ctx context.Context) string {
	origin, _ := ctx.Value(originKey{}).(string)
	return origin
}

// CutOrigin takes that text apart.
func CutOrigin(origin string) (from, via string) {
	from, via, _ = strings.Cut(origin, " ")
	return from, via
}
