package httpapi

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"fmt"

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

// pageSize is how many items a page has; the contract has checked the bounds.
func pageSize(n *PageSize) int {
	if n == nil {
		return pageSizeDefault
	}
	return *n
}
