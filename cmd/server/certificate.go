package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// lookAgainAfter is how often the files of a certificate are looked at: the first
// handshake after that meets the new one.
const lookAgainAfter = time.Second

// certificate is what HTTP shows to its clients. It is read again when its
// files change, so that who renews it need not restart the server.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	now               func() time.Time

	mu     sync.Mutex
	loaded *tls.Certificate
	looked time.Time
	seen   [2]fileState
}

// fileState tells one state of a file from another.
type fileState struct {
	changed time.Time
	size    int64
}

// readCertificate reads the files for the first time: now a fault is the
// operator's to mend.
func readCertificate(certFile, keyFile string, log *slog.Logger, now func() time.Time) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log, now: now}
	seen, err := c.states()
	if err != nil {
		return nil, err
	}
	if err := c.load(seen); err != nil {
		return nil, err
	}
	if end := c.loaded.Leaf.NotAfter; end.Before(now()) {
		return nil, fmt.Errorf("the certificate in %s ended at %s", certFile, end.UTC().Format(time.RFC3339))
	}
	return c, nil
}

func (c *certificate) states() (all [2]fileState, err error) {
	for i, path := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(path)
		if err != nil {
			return all, fmt.Errorf("read the certificate: %w", err)
		}
		all[i] = fileState{info.ModTime(), info.Size()}
	}
	return all, nil
}

// load takes what the files hold, if it is whole.
func (c *certificate) load(seen [2]fileState) error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("read the certificate %s with the key %s: %w", c.certFile, c.keyFile, err)
	}
	c.loaded, c.looked, c.seen = &pair, c.now(), seen
	return nil
}

// present answers a handshake. New files that do not fit together, for one of
// them may not be written yet, are left for the next look.
func (c *certificate) present(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.looked) >= lookAgainAfter {
		c.looked = now
		switch seen, err := c.states(); {
		case err != nil:
			c.log.Warn("the certificate cannot be read; the former one stays", "err", err)
		case seen == c.seen:
		default:
			if err := c.load(seen); err != nil {
				c.log.Warn("the certificate was changed and cannot be used; the former one stays", "err", err)
				break
			}
			c.log.Info("the certificate was read again", "file", c.certFile, "until", c.loaded.Leaf.NotAfter)
		}
	}
	return c.loaded, nil
}

// until is when it ends.
func (c *certificate) until() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.loaded.Leaf.NotAfter
}

// config is how TLS is spoken: Go's own choice of suites, from version 1.2.
func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, GetCertificate: c.present}
}

// checkPair refuses one of two files without the other.
func checkPair(cert, key string) error {
	if (cert == "") != (key == "") {
		return errors.New("http-cert, http-key: one goes with the other")
	}
	return nil
}
