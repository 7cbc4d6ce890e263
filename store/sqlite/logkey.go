package sqlite

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The files beside the database with the key that signs checkpoints of the
// log, and with its public half, which verifies them.
const (
	logKeyFile       = "log-key"
	logKeyPublicFile = "log-key.pub"
)

// logKey signs checkpoints. Whoever has it can forge them, so it is in no
// database and no backup of one alone.
type logKey struct{ private ed25519.PrivateKey }

func (k logKey) public() ed25519.PublicKey { return k.private.Public().(ed25519.PublicKey) }

// loadLogKey reads the key beside the database, or makes one while none has
// signed anything; with Options.NewLogKey, in any case.
func (s *Store) loadLogKey() error {
	const helps = "put the right one back from a backup, or start once with --new-log-key"
	p, err := s.w.conn.checkpoint(context.Background())
	if err != nil {
		return err
	}
	path := filepath.Join(filepath.Dir(s.path), logKeyFile)
	seed, err := os.ReadFile(path)
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case s.opt.NewLogKey, missing && p == nil:
		return s.newLogKey(path, p)
	case missing:
		return fmt.Errorf("its log was cut at event %d, and the key that signed this is not in %s: %s", p.n, path, helps)
	case err != nil:
		return err
	case len(seed) != ed25519.SeedSize:
		return fmt.Errorf("%s is no key of a log: %s", path, helps)
	}
	s.key.private = ed25519.NewKeyFromSeed(seed)
	if p != nil {
		if err := p.verify(s.w.genesis, s.key.public()); err != nil {
			return fmt.Errorf("%s does not fit the log: %w: %s", path, err, helps)
		}
	}
	return s.writeLogKeyPublic()
}

// newLogKey makes a key, which takes over from the one that signed p. It does so
// before it is written: if we crash in between, the next start finds no key that
// fits, and asks for another.
func (s *Store) newLogKey(path string, p *checkpoint) error {
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed) // it never fails
	s.key.private = ed25519.NewKeyFromSeed(seed)
	if p != nil {
		if err := p.verify(s.w.genesis, p.key); err != nil {
			return fmt.Errorf("no new key can vouch for what the old one did not: %w; restore a backup", err)
		}
		s.log.Warn("a new key vouches for where the log was cut", "event", p.n)
		p.sign(s.w.genesis, s.key)
		if _, _, err := s.w.conn.exec(`UPDATE checkpoint SET key = ?, signature = ? WHERE one = 1`, []byte(p.key), p.signature); err != nil {
			return err
		}
	}
	if err := writeDurably(path, seed, 0o600); err != nil {
		return err
	}
	return s.writeLogKeyPublic()
}

func (s *Store) writeLogKeyPublic() error {
	path := filepath.Join(filepath.Dir(s.path), logKeyPublicFile)
	if had, err := os.ReadFile(path); err == nil && bytes.Equal(had, s.key.public()) {
		return nil
	}
	return writeDurably(path, s.key.public(), 0o644)
}

// readLogKeyPublic reads the public half in dir.
func readLogKeyPublic(dir string) (ed25519.PublicKey, error) {
	path := filepath.Join(dir, logKeyPublicFile)
	b, err := os.ReadFile(path)
	if err == nil && len(b) != ed25519.PublicKeySize {
		err = fmt.Errorf("%s is no public key", path)
	}
	return b, err
}

// writeDurably writes a file that is there whole or not at all, also after a
// loss of power.
func writeDurably(path string, content []byte, mode os.FileMode) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
