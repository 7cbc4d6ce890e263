package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"behest/coap/dtls"
	"behest/coap/udp"
)

// coapsDefault is where development mode serves CoAP over DTLS, if nobody else
// is there.
const coapsDefault = "127.0.0.1:5684"

// coapsOff is the address that is none.
const coapsOff = "off"

// secured are the parts of CoAP over DTLS.
type secured struct {
	udp  *udp.Conn
	dtls *dtls.Conn
	cert *certificate // nil: devices come with keys alone
}

// coaps is where CoAP over DTLS is served; empty: nowhere. wished: somebody
// said so.
func (c config) coaps() (addr string, wished bool) {
	switch {
	case c.CoAPS == coapsOff, c.CoAPS == "" && !c.Dev:
		return "", false
	case c.CoAPS == "":
		return coapsDefault, false
	}
	return c.CoAPS, true
}

func (c config) checkCoAPS() error {
	given := 0
	for _, file := range []string{c.CoAPSCert, c.CoAPSKey, c.CoAPSClientCA} {
		if file != "" {
			given++
		}
	}
	if given != 0 && given != 3 {
		return errors.New("coaps-cert, coaps-key, coaps-client-ca: each goes with the others")
	}
	if addr, wished := c.coaps(); wished {
		return checkAddress("coaps", addr, true, c.Dev)
	}
	return nil
}

// listenCoAPS opens CoAP over DTLS, unless it is not wished for.
func (s *system) listenCoAPS() error {
	addr, wished := s.config.coaps()
	if addr == "" {
		return nil
	}
	keys, own, err := s.credentials()
	if err != nil {
		return err
	}
	conn, err := udp.Listen(addr, udp.Options{})
	switch {
	case err != nil && !wished:
		s.log.Warn("CoAP over DTLS is not served; --coaps takes another address", "err", err)
		return nil
	case err != nil:
		return err
	}
	s.secured = &secured{udp: conn, cert: own}
	o := dtls.Options{Ended: s.parted, Logger: s.log}
	if own != nil {
		o.Certificate = own.device
	}
	if s.secured.dtls, err = dtls.New(conn, keys, o); err != nil {
		_ = conn.Close() // nothing was sent
		return err
	}
	s.door.Bind(s.secured.dtls.Recheck)
	return nil
}

// parted passes on that a session is over.
func (s *system) parted(session dtls.Session, why dtls.Reason) {
	name := session.Credential.Identity
	s.log.Debug("a session ended", "device", name, "reason", string(why), "address", session.Remote)
	s.dispatch.Parted(name, session.Peer.Session, string(why))
}

// credentials are what devices prove themselves against, and what the server
// shows to those with a certificate.
func (s *system) credentials() (dtls.Credentials, *certificate, error) {
	if s.config.CoAPSCert == "" {
		return entrance{door: s.door}, nil, nil
	}
	own, err := readCertificate(s.config.CoAPSCert, s.config.CoAPSKey, s.log, time.Now)
	if err != nil {
		return nil, nil, err
	}
	if key, ok := own.loaded.Leaf.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		return nil, nil, fmt.Errorf("the certificate in %s has a key that is not on P-256, which is what devices know", s.config.CoAPSCert)
	}
	authorities, err := readAuthorities(s.config.CoAPSClientCA, s.log, time.Now)
	if err != nil {
		return nil, nil, err
	}
	return entrance{s.door, authorities}, own, nil
}

// device is the certificate for a handshake with a device.
func (c *certificate) device() *tls.Certificate {
	pair, _ := c.present(nil) // it has one, whatever became of the files
	return pair
}
