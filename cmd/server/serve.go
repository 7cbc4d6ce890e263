package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"behest/access"
	"behest/access/oidc"
	"behest/coap"
	"behest/coap/dtls"
	"behest/coap/endpoint"
	"behest/coap/udp"
	"behest/command/dispatch"
	"behest/command/ledger"
	"behest/httpapi"
	"behest/schema"
	"behest/store"
	"behest/store/sqlite"
	"behest/webhook"
)

// databaseFile holds everything that must not be lost.
const databaseFile = "behest.db"

// What the rooms need of each other, joined here.
var (
	_ dispatch.Store     = (*sqlite.Store)(nil)
	_ dispatch.Presenter = (*coap.Server)(nil)
	_ coap.UseCases      = (*dispatch.Dispatcher)(nil)
	_ coap.Sessions      = (*dtls.Conn)(nil)
	_ dispatch.Schemas   = (*schema.Set)(nil)
	_ httpapi.UseCases   = (*dispatch.Dispatcher)(nil)
	_ httpapi.Reads      = (*sqlite.Store)(nil)
	_ httpapi.Log        = (*sqlite.Store)(nil)
	_ httpapi.Webhooks   = (*webhook.Service)(nil)
	_ webhook.Store      = (*sqlite.Store)(nil)
	_ webhook.Log        = (*sqlite.Store)(nil)
)

// serve opens everything, runs it until ctx ends, and closes it.
func serve(ctx context.Context, c config, stderr io.Writer) error {
	log := newLogger(c, stderr)
	s, err := open(ctx, c, log)
	if err != nil {
		return err
	}
	defer s.close()
	err = s.services().run(ctx)
	if err == nil {
		log.Info("stopped")
	}
	return err
}

// system is the opened parts of a server.
type system struct {
	config   config
	log      *slog.Logger
	store    *sqlite.Store
	clock    *dispatch.Clock
	book     *access.Book
	token    tokenFile
	door     *dispatch.Door
	firstKey bool // the keys of credentials were made at this start
	keysLost bool // what those do not open is given up
	dispatch *dispatch.Dispatcher
	coap     *coap.Server
	webhooks *webhook.Service
	http     *httpapi.Server
	oidc     *oidc.Provider // nil: there is none

	udp     *udp.Conn
	secured *secured // nil: CoAP over DTLS is not served
	tcp     net.Listener
	kept    *checkpointFile // nil: checkpoints go to no file
	cert    *certificate    // nil: HTTP is plain
}

// open opens the parts in the order in which they can fail: what is opened is
// closed again if a later one does.
func open(ctx context.Context, c config, log *slog.Logger) (_ *system, err error) {
	s := &system{config: c, log: log}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.store, err = store.Open(ctx, c.path(databaseFile), sqlite.Options{Logger: log, NewLogKey: c.NewLogKey}); err != nil {
		return nil, err
	}
	if s.clock, err = s.setClock(ctx); err != nil {
		return nil, err
	}
	if err := s.openCheckpointFile(ctx); err != nil {
		return nil, err
	}
	if err := removeFile(c.path(addressesFile)); err != nil {
		return nil, err
	}
	if s.token, err = readTokenFile(c); err != nil {
		return nil, err
	}
	if err := s.openDoor(ctx); err != nil {
		return nil, err
	}
	pages, err := pageKey(c.path(pageKeyFile))
	if err != nil {
		return nil, err
	}
	if s.udp, err = udp.Listen(c.CoAP, udp.Options{}); err != nil {
		return nil, fmt.Errorf("coap: %w", err)
	}
	if err := s.listenHTTP(); err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	if err := s.listenCoAPS(); err != nil {
		return nil, fmt.Errorf("coaps: %w", err)
	}
	if s.coap, err = s.newCoAP(); err != nil {
		return nil, err
	}
	hooks, key, err := s.readSecretKey(ctx)
	if err != nil {
		return nil, err
	}
	s.book = access.NewBook(s.clock.Latest)
	s.dispatch = dispatch.New(s.store, s.coap, dispatch.Options{
		Clock: s.clock, Dev: c.Dev, Solo: c.Solo, Book: s.book, Door: s.door, Key: key[:], Schemas: schema.New(), Logger: log,
	})
	s.coap.Bind(s.dispatch)
	proxies, err := c.proxies()
	if err != nil {
		return nil, err
	}
	s.openWebhooks(hooks, key)
	people, err := s.people()
	if err != nil {
		return nil, err
	}
	s.http, err = httpapi.New(s.dispatch, s.store, people, httpapi.Options{
		Rate: c.HTTPRate, Proxies: proxies, Logger: log, Now: s.clock.Now, Version: release, Solo: c.Solo, PageKey: pages, Log: s.store,
		Webhooks: s.webhooks, Metrics: s.metricsHandler(),
	})
	return s, err
}

// newCoAP makes the devices' side on what listens.
func (s *system) newCoAP() (*coap.Server, error) {
	o := coap.Options{
		Endpoint: endpoint.Options{AckTimeout: s.config.AckTimeout},
		AgainMin: s.config.AgainMin, AgainMax: s.config.AgainMax, Now: s.clock.Now, Logger: s.log,
	}
	if s.secured != nil {
		o.Sessions = s.secured.dtls
	}
	return coap.New(s.udp, o)
}

// synchronised asks the system about its clock; tests answer in its place.
var synchronised = systemSynchronised

// setClock sets the server's clock, and holds it against where an earlier run
// was.
func (s *system) setClock(ctx context.Context) (*dispatch.Clock, error) {
	mark, err := s.store.Mark(ctx)
	if err != nil {
		return nil, err
	}
	return dispatch.NewClock(dispatch.ClockOptions{
		Mark: mark, Trust: s.config.TrustClock || s.config.Dev, Synchronised: synchronised,
	}), nil
}

// listenHTTP listens, with TLS if there is a certificate.
func (s *system) listenHTTP() (err error) {
	addr := s.config.HTTP
	if s.config.HTTPCert != "" {
		if s.cert, err = readCertificate(s.config.HTTPCert, s.config.HTTPKey, s.log, time.Now); err != nil {
			return err
		}
	}
	s.tcp, err = net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is taken: another process listens there", addr)
	}
	if err == nil && s.cert != nil {
		s.tcp = tls.NewListener(s.tcp, s.cert.config())
	}
	return err
}

// services are the parts that run, the first to stop first: no more requests,
// then no more loops, then no more commits.
func (s *system) services() stack {
	all := stack{
		{name: "http", first: s.announce, run: func(ctx context.Context) error { return s.http.Serve(ctx, s.tcp) }},
		{name: "coap", run: s.coap.Run},
		{name: "dispatch", first: s.ready, run: s.dispatch.Run},
		{name: "webhooks", run: s.webhooks.Run}, // what the ones above did last is told, if that is soon done
		{name: "retention", run: s.retain},
		{name: "checkpoints", run: s.sign},
		{name: "store", run: s.store.Run},
	}
	if s.oidc != nil {
		all = slices.Insert(all, 1, service{name: "oidc", run: s.oidc.Run})
	}
	return all
}

// retain removes what has been over for too long.
func (s *system) retain(ctx context.Context) error {
	keep, err := keepFor(s.config.Keep, s.config.Dev)
	if err != nil {
		return err
	}
	return s.store.RunRetention(ctx, ledger.Keeping{Keep: keep, Now: s.clock.Now, Held: s.clock.Held})
}

// ready does what is to be done in the store before devices and operators come.
func (s *system) ready(ctx context.Context) error {
	if err := s.seal(ctx); err != nil {
		return err
	}
	if s.keysLost {
		if err := s.dispatch.ResetCredentials(ctx); err != nil {
			return err
		}
	}
	return s.appoint(ctx)
}

// announce says where the server listens.
func (s *system) announce(context.Context) error {
	http, coap := s.tcp.Addr().String(), s.udp.LocalAddr().String()
	a := addresses{HTTP: &http, CoAP: &coap}
	coaps := "not served"
	if s.secured != nil {
		at := s.secured.udp.LocalAddr().String()
		a.CoAPS, coaps = &at, "coaps://"+at
	}
	if err := a.write(s.config.path(addressesFile)); err != nil {
		return err
	}
	mode := "production"
	if s.config.Dev {
		mode = "development"
	}
	s.log.Info("serving", "version", release, "mode", mode, "http", s.scheme()+"://"+http, "coap", "coap://"+coap, "coaps", coaps, "data", s.config.Data)
	if s.config.Solo {
		s.log.Warn("--solo: who asks for a command may be among those who approve it, and its events say so")
	}
	if s.firstKey {
		s.log.Info("a key for the devices' credentials was made; keep a copy of it, apart from those of the database", "file", s.config.path(deviceKeysFile))
	}
	if !netip.MustParseAddrPort(coap).Addr().IsLoopback() {
		s.log.Warn("plain CoAP listens beyond loopback: anybody there can read and forge commands", "coap", coap)
	}
	if s.cert == nil && !netip.MustParseAddrPort(http).Addr().IsLoopback() {
		s.log.Warn("plain HTTP listens beyond loopback: anybody there can read tokens and commands", "http", http)
	}
	return nil
}

func (s *system) scheme() string {
	if s.cert != nil {
		return "https"
	}
	return "http"
}

// close closes what was opened.
func (s *system) close() {
	if s.tcp != nil {
		_ = s.tcp.Close() // closed already if it served
	}
	if s.udp != nil {
		_ = s.udp.Close() // likewise
	}
	if s.secured != nil {
		_ = s.secured.dtls.Close() // likewise
	}
	if s.kept != nil {
		_ = s.kept.f.Close() // each line is on disk already
	}
	if s.store == nil {
		return
	}
	if err := removeFile(s.config.path(addressesFile)); err != nil {
		s.log.Warn("leaving addresses.json behind", "err", err)
	}
	if err := s.store.Close(); err != nil {
		s.log.Error("closing the store", "err", err)
	}
}
