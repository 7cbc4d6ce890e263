package httpapi

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strconv"

	"behest/command"
)

// pageSizeDefault is a page that a person still looks through.
const pageSizeDefault = 100

// pager makes and reads page tokens. A token is the place to go on from,
// sealed under a key of the server, with the list and its filters as the
// associated data: it says nothing, cannot be made up, and fits nowhere else.
type pager struct{ aead cipher.AEAD }

// newPager seals under key, or under a random one that ends with the process.
func newPager(key []byte) (pager, error) {
	if key == nil {
		key = make([]byte, 32)
		_, _ = rand.Read(key) // never fails
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return pager{}, fmt.Errorf("page key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return pager{}, fmt.Errorf("page key: %w", err)
	}
	return pager{aead}, nil
}

// seal is the token for place in list.
func (p pager) seal(list, place string) string {
	return base64.RawURLEncoding.EncodeToString(p.aead.Seal(nil, nil, []byte(place), []byte(list)))
}

// open is the place that a token names; no token is the beginning.
func (p pager) open(list string, token *string) (place string, err error) {
	if token == nil {
		return "", nil
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(*token)
	if err == nil {
		var plain []byte
		if plain, err = p.aead.Open(nil, nil, sealed, []byte(list)); err == nil {
			return string(plain), nil
		}
	}
	return "", malformed(command.Field{Pointer: "page_token",
		Detail: "is none of this list with these filters, or of an earlier run of the server; begin at the first page"})
}

// asked is what a request says about the page that it wants: of which list,
// with its filters, after which place, and how long.
type asked struct {
	list  string
	token *PageToken
	size  *PageSize
}

// pageOf reads a page of a list and turns its items into shapes. place is what
// read goes on after; it is empty at the beginning.
func pageOf[T, V any](ctx context.Context, p pager, a asked,
	read func(ctx context.Context, after string, limit int) ([]T, bool, error), place func(T) string, view func(T) V,
) (shapes []V, next string, err error) {
	after, err := p.open(a.list, a.token)
	if err != nil {
		return nil, "", err
	}
	items, more, err := read(ctx, after, pageSize(a.size))
	if err != nil {
		return nil, "", err
	}
	shapes = make([]V, len(items))
	for i, item := range items {
		shapes[i] = view(item)
	}
	if more && len(items) > 0 {
		next = p.seal(a.list, place(items[len(items)-1]))
	}
	return shapes, next, nil
}

// rowIn is a place that is the number of a row: sealed by us, or empty at the
// beginning, and then 0.
func rowIn(place string) int64 {
	n, _ := strconv.ParseInt(place, 10, 64)
	return n
}

// rowPlace is the inverse.
func rowPlace(n int64) string { return strconv.FormatInt(n, 10) }

// pageSize is how many items a page has; the contract has checked the bounds.
func pageSize(n *PageSize) int {
	if n == nil {
		return pageSizeDefault
	}
	return *n
}
