package main

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"behest/coap/dtls"
	"behest/command/dispatch"
	"behest/device"
)

// entrance is the door as CoAP over DTLS sees it, with the authorities of the
// certificates.
type entrance struct {
	door        *dispatch.Door
	authorities *authorities // nil: no certificate is taken
}

var _ dtls.Credentials = entrance{}

func (e entrance) PSKs(identity string) [][]byte { return e.door.PSKs(identity) }

func (e entrance) Roots() *x509.CertPool {
	if e.authorities == nil {
		return nil
	}
	return e.authorities.present()
}

func (e entrance) Revoked(c dtls.Credential) bool {
	kind := device.PSK
	if c.Kind == dtls.Certificate {
		kind = device.Certificate
	}
	return e.door.Revoked(c.Identity, kind, c.Fingerprint)
}

// authorities are those that sign the devices' certificates. Their file is read
// again when it changes: an authority that is not in it any more lets nobody
// new in.
type authorities struct {
	path string
	log  *slog.Logger
	now  func() time.Time

	mu     sync.Mutex
	pool   *x509.CertPool
	looked time.Time
	seen   fileState
}

// readAuthorities reads the file for the first time: now a fault is the
// operator's to mend.
func readAuthorities(path string, log *slog.Logger, now func() time.Time) (*authorities, error) {
	a := &authorities{path: path, log: log, now: now}
	seen, err := a.state()
	if err == nil {
		err = a.load(seen)
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

func (a *authorities) state() (fileState, error) {
	info, err := os.Stat(a.path)
	if err != nil {
		return fileState{}, fmt.Errorf("read the authorities: %w", err)
	}
	return fileState{info.ModTime(), info.Size()}, nil
}

// load takes what the file holds, if there is any in it.
func (a *authorities) load(seen fileState) error {
	b, err := os.ReadFile(a.path)
	if err != nil {
		return fmt.Errorf("read the authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return fmt.Errorf("%s holds no certificate in PEM", a.path)
	}
	a.pool, a.looked, a.seen = pool, a.now(), seen
	return nil
}

// present is who is trusted now. A file that cannot be used, for it may not be
// written whole yet, is left for the next look.
func (a *authorities) present() *x509.CertPool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if now.Sub(a.looked) < lookAgainAfter {
		return a.pool
	}
	a.looked = now
	seen, err := a.state()
	if err == nil && seen != a.seen {
		if err = a.load(seen); err == nil {
			a.log.Info("the authorities were read again", "file", a.path)
		}
	}
	if err != nil {
		a.log.Warn("the authorities of devices cannot be read again; the former ones stay", "err", err)
	}
	return a.pool
}
