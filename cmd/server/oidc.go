package main

import (
	"errors"
	"fmt"
	"net/http"

	"behest/access"
	"behest/access/oidc"
	"behest/httpapi"
)

// checkOIDC holds what is said of an identity provider against itself.
func (c config) checkOIDC() error {
	switch {
	case c.OIDCIssuer == "" && c.OIDCAudience == "":
		return oneOf("oidc-claim", c.OIDCClaim, access.LoginClaims...)
	case c.OIDCIssuer == "" || c.OIDCAudience == "":
		return errors.New("oidc-issuer, oidc-audience: one goes with the other")
	}
	if err := access.CheckIssuer(c.OIDCIssuer); err != nil {
		return fmt.Errorf("oidc-issuer: %q %w", c.OIDCIssuer, err)
	}
	return oneOf("oidc-claim", c.OIDCClaim, access.LoginClaims...)
}

// people are who operators are: those of the book, and if there is a provider,
// also by its tokens.
func (s *system) people() (httpapi.People, error) {
	if s.config.OIDCIssuer == "" {
		return s.book, nil
	}
	var err error
	s.oidc, err = oidc.New(oidc.Options{
		Issuer: s.config.OIDCIssuer, Audience: s.config.OIDCAudience, Claim: s.config.OIDCClaim,
		Now: s.clock.Latest, Logger: s.log, Proxy: http.ProxyFromEnvironment,
	})
	if err != nil {
		return nil, fmt.Errorf("oidc: %w", err)
	}
	return oidc.People{Book: s.book, Provider: s.oidc}, nil
}

func (m *metrics) collectOIDC(s sender) {
	if m.system.oidc == nil {
		return
	}
	c := m.system.oidc.Stats()
	for outcome, n := range map[string]uint64{"taken": c.Taken, "refused": c.Refused, "unsure": c.Unsure} {
		s.counter("behest_oidc_tokens_total", n, outcome)
	}
	s.counter("behest_oidc_fetches_total", c.Fetched, "done")
	s.counter("behest_oidc_fetches_total", c.Failed, "failed")
	if !c.Read.IsZero() {
		s.gauge("behest_oidc_keys_timestamp_seconds", int(c.Read.Unix()))
	}
}
