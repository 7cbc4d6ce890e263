package access

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"sync"
)

// Authenticator tells who a token stands for. ErrNoToken and ErrUnknownToken
// mean nobody; any other error means that it could not be told.
type Authenticator interface {
	Authenticate(ctx context.Context, token string) (Identity, error)
}

// ErrUnknownToken says that a token has the right form and stands for nobody,
// or nobody any more.
var ErrUnknownToken = errors.New("unknown token")

// Keeper holds tokens in memory, and is safe for use by many at once. The
// zero value holds none.
type Keeper struct {
	mu     sync.RWMutex
	tokens map[string]held // by id
}

type held struct {
	token Token
	who   Identity
}

// Add lets a token stand for who from now on. A token of the same id is
// refused, so that none can be taken over.
func (k *Keeper) Add(t Token, who Identity) error {
	switch {
	case who.User == "":
		return errors.New("a token stands for a user: the name is empty")
	case who.Roles == 0 || who.Roles >= rolesEnd:
		return fmt.Errorf("user %q has no role, or one that does not exist", who.User)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, taken := k.tokens[t.ID]; taken {
		return fmt.Errorf("a token with the id %s is there already", t.ID)
	}
	if k.tokens == nil {
		k.tokens = make(map[string]held)
	}
	k.tokens[t.ID] = held{t, who}
	return nil
}

// Revoke ends a token at once, and answers whether there was one.
func (k *Keeper) Revoke(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, was := k.tokens[id]
	delete(k.tokens, id)
	return was
}

// Authenticate implements Authenticator. It compares hashes, of an unknown id
// with an impossible one, so that the time it takes tells nothing.
func (k *Keeper) Authenticate(_ context.Context, text string) (Identity, error) {
	t, err := ParseToken(text)
	if err != nil {
		return Identity{}, err
	}
	k.mu.RLock()
	h := k.tokens[t.ID]
	k.mu.RUnlock()
	same := subtle.ConstantTimeCompare(t.Hash[:], h.token.Hash[:]) == 1
	if !same || h.who.User == "" {
		return Identity{}, ErrUnknownToken
	}
	return h.who, nil
}
