package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/labstack/echo/v4"

	"behest/access"
)

// Limits of the server as a whole.
const (
	headerBytesMax = 16 << 10         // a bearer token and what browsers add
	headersWithin  = 10 * time.Second // a client that is slower than that is no client
	writeWithin    = 90 * time.Second // the longest wait, and time to write what it was for
	idleWithin     = 2 * time.Minute
	drainWithin    = 10 * time.Second // from the end of Serve's context; every wait ends at once
	waitersMax     = 10_000           // answers that wait at once; each holds a goroutine and 20 KiB
	streamsMax     = 1000             // event streams at once; each looks at every commit
	importsMax     = 8                // imports at once, two of a user: the store takes them no faster
)

// Options are what may be left to their zero values.
type Options struct {
	Logger  *slog.Logger // nil: nothing is logged
	Version string       // of the server, for /v1/me
	Solo    bool         // who asks may be among those who approve, for /v1/me
	// PageKey seals page tokens: 16 or 32 secret bytes that outlive a restart
	// and are shared by the nodes of one service. nil: a random key, and page
	// tokens end with the process.
	PageKey    []byte
	WaitersMax int              // answers that wait at once, a quarter of them for one user; 0: 10,000
	StreamsMax int              // event streams at once, likewise; 0: 1,000
	Rate       int              // requests a second of one user; 0: no bound
	Proxies    []netip.Prefix   // whose word on where a request comes from is taken (X-Forwarded-For)
	Log        Log              // of events; nil: their routes are not found
	Webhooks   Webhooks         // nil: their routes are not found
	Metrics    http.Handler     // for Prometheus; nil: its route is not found
	Now        func() time.Time // nil: time.Now
}

// Server serves the operator API.
type Server struct {
	use      UseCases
	reads    Reads
	people   People
	log      *slog.Logger
	version  string
	solo     bool
	now      func() time.Time
	pages    pager
	routes   map[string]*route // by pattern
	contract []byte            // as JSON
	docs     page
	events   Log
	webhooks Webhooks
	metrics  http.Handler
	echo     *echo.Echo

	users     *pace   // by user
	strangers *pace   // by address
	waiting   *places // one for each answer that waits
	streams   *places // likewise for each event stream
	imports   *places // likewise for each import
	closing   context.Context
	close     context.CancelFunc
}

// New makes a server of the use cases, the reads and who knows the people. It
// fails when a route of the contract is not served, or has no rule; nothing
// starts.
func New(u UseCases, r Reads, p People, o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.WaitersMax == 0 {
		o.WaitersMax = waitersMax
	}
	if o.StreamsMax == 0 {
		o.StreamsMax = streamsMax
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	pages, err := newPager(o.PageKey)
	if err != nil {
		return nil, err
	}
	doc, err := loadContract()
	if err != nil {
		return nil, err
	}
	s := &Server{
		use: u, reads: r, people: p, log: o.Logger, version: o.Version, solo: o.Solo, now: o.Now,
		events: o.Log, webhooks: o.Webhooks, metrics: o.Metrics,
		pages: pages, waiting: newPlaces(o.WaitersMax), streams: newPlaces(o.StreamsMax),
		imports: newPlaces(importsMax),
		users:   newPace(o.Rate, burstSeconds*o.Rate, o.Now), strangers: newPace(strangerRate, strangerBurst, o.Now),
	}
	s.closing, s.close = context.WithCancel(context.Background())
	if s.contract, err = contractJSON(doc); err != nil {
		return nil, err
	}
	if s.docs, err = docsPage(doc); err != nil {
		return nil, err
	}
	s.echo = s.router(o.Proxies)
	if s.routes, err = routes(doc, access.Rules, s.echo.Routes()); err != nil {
		return nil, fmt.Errorf("contract, rules and routes differ: %w", err)
	}
	return s, nil
}

// router joins the generated routes to the handlers.
func (s *Server) router(proxies []netip.Prefix) *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.Logger.SetOutput(logged{s.log})
	e.IPExtractor = ipExtractor(proxies)
	e.HTTPErrorHandler = s.refuse
	e.Use(s.identify, s.admit, s.read)
	RegisterHandlers(e, NewStrictHandler(handlers{s}, nil))
	return e
}

// ServeHTTP serves one request.
// ipExtractor tells where a request comes from. A header that anybody can send
// says nothing about that, unless one whose word is good has sent it.
func ipExtractor(proxies []netip.Prefix) echo.IPExtractor {
	if len(proxies) == 0 {
		return echo.ExtractIPDirect()
	}
	trust := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, p := range proxies {
		trust = append(trust, echo.TrustIPRange(&net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}))
	}
	return echo.ExtractIPFromXFFHeader(trust...)
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The router is to see the path as it was written: an escaped slash is
	// part of a name, and nothing is decoded twice.
	r.URL.RawPath = r.URL.EscapedPath()
	if r.Method == http.MethodHead {
		// A shallow copy: net/http looks at its own, and keeps the body to itself.
		r = r.WithContext(r.Context())
		r.Method = http.MethodGet
		r.Header = r.Header.Clone()
		r.Header.Del("Accept") // a stream without a body would have no end
	}
	if r.ContentLength != 0 {
		// Also for a body that nobody will read: net/http reads on to find the
		// next request, and would wait for ever.
		rc := http.NewResponseController(w)
		if err := setReadDeadline(rc, time.Now().Add(bodyWithin)); err != nil {
			s.log.Debug("connection lost", "err", err)
			return
		}
	}
	s.echo.ServeHTTP(w, r)
}

// Serve serves l until ctx ends. Then it accepts no more, lets the answers
// that wait go with the state as it is, and returns when all are written or
// ten seconds have passed. A Server serves once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer s.close()
	hs := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: headersWithin,
		WriteTimeout:      writeWithin,
		IdleTimeout:       idleWithin,
		MaxHeaderBytes:    headerBytesMax,
		ErrorLog:          log.New(logged{s.log}, "", 0),
	}
	ended := make(chan error, 1)
	go func() { ended <- hs.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve http: %w", err)
	case <-ctx.Done():
	}
	s.close()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainWithin)
	defer cancel()
	err := hs.Shutdown(drain)
	if err != nil {
		err = errors.Join(fmt.Errorf("drain http: %w", err), hs.Close())
	}
	<-ended
	return err
}
