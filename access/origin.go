package access

import "context"

type originKey struct{}

// WithOrigin says where a request came from, an address. Every event of the
// units of work done under ctx that has an actor bears it.
func WithOrigin(ctx context.Context, from string) context.Context {
	return context.WithValue(ctx, originKey{}, from)
}

// Origin is what WithOrigin said, or empty.
func Origin(ctx context.Context) string {
	from, _ := ctx.Value(originKey{}).(string)
	return from
}
