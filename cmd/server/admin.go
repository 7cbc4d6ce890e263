package main

import (
	"context"
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

// adminUser is who the first token stands for.
const adminUser = "admin"

// tokenFile is the first token as it lies in the data directory.
type tokenFile struct {
	name, path string
	text       string // empty: there is none
	token      access.Token
}

// readTokenFile reads the file, if it is there.
func readTokenFile(c config) (tokenFile, error) {
	f := tokenFile{name: adminTokenFile}
	if c.Dev {
		f.name = devTokenFile
	}
	f.path = c.path(f.name)
	b, err := os.ReadFile(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f, nil
	case err != nil:
		return f, fmt.Errorf("read the token: %w", err)
	}
	f.text = strings.TrimSpace(string(b))
	if f.token, err = access.ParseToken(f.text); err != nil {
		return f, fmt.Errorf("%s holds no token; remove it to get a new one", f.path)
	}
	return f, nil
}

// note is what the token's record says of it, and what tells it from tokens
// that administrators made.
func (f *tokenFile) note() string { return "the file " + f.name }

// appoint sees to it that somebody can get in: at the first start, and when
// the token was lost. Whoever may write to the data directory administers the
// server anyway, so a file that is not there is reason enough; but not to let
// a user in again whom the others have sent away.
func (s *system) appoint(ctx context.Context) error {
	if err := s.dispatch.LoadPeople(ctx); err != nil {
		return err
	}
	f, book := &s.token, s.book
	admin, _ := book.User(adminUser)
	switch {
	case s.config.ResetAdmin, f.text == "" && (admin.Administers() || !book.Administered(s.config.OIDCIssuer, s.config.OIDCClaim)):
		return s.newToken(ctx, f)
	case f.text == "":
		return nil // others administer, and nobody asks for more
	case book.Users() == 0: // it is older than the users of this store
		return s.dispatch.Appoint(ctx, adminUser, f.token, f.note())
	}
	if _, err := book.Authenticate(ctx, f.text); err != nil {
		s.log.Warn("the token in the file does not work any more; remove the file, or start once with --reset-admin, for a new one", "file", f.path)
	}
	return nil
}

// newToken makes a token in the place of what was there. Should the process
// end before the file is written, it is not there at the next start either.
func (s *system) newToken(ctx context.Context, f *tokenFile) error {
	text := access.NewToken()
	token, err := access.ParseToken(text)
	if err != nil {
		return err
	}
	if err := removeFile(f.path); err != nil {
		return err
	}
	if err := s.dispatch.Appoint(ctx, adminUser, token, f.note()); err != nil {
		return err
	}
	if err := replaceFile(f.path, []byte(text+"\n"), 0o600); err != nil {
		return err
	}
	s.log.Info("an administrator's token was made", "user", adminUser, "file", f.path)
	return nil
}
