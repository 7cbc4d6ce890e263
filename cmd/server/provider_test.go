package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/coreos/go-oidc/v3/oidc/oidctest"
	"github.com/rogpeppe/go-internal/testscript"
)

// identity is the identity provider of a story. It signs what it is told to.
//
//	provider up | down                 $ISSUER is where it is, up or down
//	provider rotates                   has another key from now on, and that alone
//	person NAME ROLE LOGIN             makes a user with that login instead of a token
//	login NAME LOGIN [SECONDS]         the provider's token for LOGIN is what NAME comes with
type identity struct {
	key    *ecdsa.PrivateKey
	keys   int
	addr   string
	server *http.Server // nil: it is down
}

func (i *identity) issuer() string { return "http://" + i.addr }

// rotate makes another key.
func (i *identity) rotate() (err error) {
	if i.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return err
	}
	i.keys++
	return nil
}

func (i *identity) name() string { return fmt.Sprint("key-", i.keys) }

// up listens, where it did before.
func (i *identity) up() error {
	l, err := net.Listen("tcp", i.addr)
	if err != nil {
		return err
	}
	i.addr = l.Addr().String()
	as := &oidctest.Server{PublicKeys: []oidctest.PublicKey{{PublicKey: i.key.Public(), KeyID: i.name(), Algorithm: "ES256"}}}
	as.SetIssuer(i.issuer())
	server := &http.Server{Handler: as, ReadHeaderTimeout: patience}
	i.server = server
	go func() { _ = server.Serve(l) }() // until it is closed
	return nil
}

func (i *identity) down() {
	if i.server != nil {
		_ = i.server.Close() // nobody waits for what it says
		i.server = nil
	}
}

func (s *story) provider(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "provider up|down|rotates")
	i := &s.identity
	switch args[0] {
	case "up":
		if i.key == nil {
			i.addr = "127.0.0.1:0"
			ts.Check(i.rotate())
		}
		ts.Check(i.up())
		ts.Setenv("ISSUER", i.issuer())
	case "down":
		i.down()
	case "rotates":
		up := i.server != nil
		i.down()
		ts.Check(i.rotate())
		if up {
			ts.Check(i.up())
		}
	default:
		ts.Fatalf("a provider does not do %s", args[0])
	}
}

func (s *story) login(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "login NAME LOGIN [SECONDS]")
	seconds := 3600
	if len(args) > 2 {
		var err error
		seconds, err = strconv.Atoi(args[2])
		ts.Check(err)
	}
	claims, err := json.Marshal(map[string]any{
		"iss": s.identity.issuer(), "aud": "behest", "sub": args[1], "exp": time.Now().Add(time.Duration(seconds) * time.Second).Unix(),
	})
	ts.Check(err)
	s.tokens[args[0]] = oidctest.SignIDToken(s.identity.key, s.identity.name(), "ES256", string(claims))
}
