package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"behest/access"
)

// Where the first token is. It stands for an administrator.
const (
	devTokenFile   = "dev-token"
	adminTokenFile = "admin-token"
)

// pageKeyFile holds the key that seals page tokens, so that whoever turns the
// pages of a list can go on after a restart.
const (
	pageKeyFile  = "page-key"
	pageKeyBytes = 32
)

// pageKey reads the key in path, or makes one and writes it there.
func pageKey(path string) ([]byte, error) {
	key, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		key = make([]byte, pageKeyBytes)
		_, _ = rand.Read(key) // it never fails
		return key, replaceFile(path, key, 0o600)
	case err != nil:
		return nil, fmt.Errorf("read the page key: %w", err)
	case len(key) != pageKeyBytes:
		return nil, fmt.Errorf("%s is no page key; remove it to get a new one", path)
	}
	return key, nil
}

// firstToken reads the token in path, or makes one and writes it there, for
// nobody but the user who runs the server.
func firstToken(path string) (access.Token, error) {
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		text := access.NewToken()
		if err := replaceFile(path, []byte(text+"\n"), 0o600); err != nil {
			return access.Token{}, err
		}
		return access.ParseToken(text)
	case err != nil:
		return access.Token{}, fmt.Errorf("read the token: %w", err)
	}
	token, err := access.ParseToken(strings.TrimSpace(string(b)))
	if err != nil {
		return access.Token{}, fmt.Errorf("%s holds no token; remove it to get a new one", path)
	}
	return token, nil
}
