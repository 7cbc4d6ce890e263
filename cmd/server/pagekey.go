package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
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
