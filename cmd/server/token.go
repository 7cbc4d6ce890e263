package main

import (
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
