package oidc

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// rsaBitsMin is the least that signs a token [RFC 7518 3.3].
const rsaBitsMin = 2048

// keys are a provider's public keys for signatures.
type keys []jose.JSONWebKey

// readKeys takes the keys that it can read and use: providers publish others
// beside them [RFC 7517 5].
func readKeys(set []json.RawMessage) keys {
	k := keys{} // a provider that has withdrawn all of them has none
	for _, raw := range set {
		var one jose.JSONWebKey
		if json.Unmarshal(raw, &one) != nil || !one.IsPublic() || one.Use != "" && one.Use != "sig" {
			continue
		}
		if pub, ok := one.Key.(*rsa.PublicKey); ok && pub.N.BitLen() < rsaBitsMin {
			continue
		}
		if one.Algorithm == "" || slices.Contains(algorithms, one.Algorithm) {
			k = append(k, one)
		}
	}
	return k
}

var (
	errNoSuchKey = errors.New("no key of the provider has that name")
	errForged    = errors.New("the signature is not of that key")
)

// attempt is one look at a signature. What comes of it is kept, because the
// library tells it as text.
type attempt struct {
	keys keys
	err  error
}

// VerifySignature implements oidc.KeySet.
func (a *attempt) VerifySignature(_ context.Context, jwt string) (payload []byte, err error) {
	payload, a.err = a.keys.verify(jwt)
	return payload, a.err
}

func (k keys) verify(jwt string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(jwt, joseAlgorithms)
	if err != nil {
		return nil, errForged
	}
	h := jws.Signatures[0].Protected
	known := false
	for _, one := range k {
		if h.KeyID != "" && h.KeyID != one.KeyID || one.Algorithm != "" && one.Algorithm != h.Algorithm {
			continue
		}
		known = true
		if payload, err := jws.Verify(one.Key); err == nil {
			return payload, nil
		}
	}
	if !known {
		return nil, errNoSuchKey
	}
	return nil, errForged
}
