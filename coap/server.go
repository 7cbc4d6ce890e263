package coap

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/plgd-dev/go-coap/v3/message/codes"
	"golang.org/x/sync/errgroup"

	"behest/coap/endpoint"
	"behest/command"
	"behest/device"
)

// Options of a Server. The zero value is the default.
type Options struct {
	Endpoint endpoint.Options // of each of the two sides
	// Sessions serve CoAP over DTLS beside plain CoAP; nil: there is none. The
	// server runs and closes them.
	Sessions Sessions
	// Delivered lists that are not reported on are shown again after AgainMin,
	// then after twice that, up to AgainMax.
	AgainMin time.Duration // 30 s
	AgainMax time.Duration // 15 min
	// DeviceRate is how many costly requests a second one device may make, after
	// DeviceBurst at once; negative: as many as it likes.
	DeviceRate  int // 50
	DeviceBurst int // 200
	// Now is the time that the use cases go by: the seconds that are left of a
	// command are counted in it. nil: time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// Server serves devices, and presents their lists.
type Server struct {
	lines     lines
	presenter *presenter
	pace      *pace
	uses      UseCases
	log       *slog.Logger
}

// New makes a server of plain CoAP on conn, which it closes in the end, and of
// what the options add. Bind comes next, then Run.
func New(conn endpoint.PacketConn, o Options) (*Server, error) {
	if o.AgainMin == 0 {
		o.AgainMin = 30 * time.Second
	}
	if o.AgainMax == 0 {
		o.AgainMax = 15 * time.Minute
	}
	if o.DeviceRate == 0 {
		o.DeviceRate = deviceRate
	}
	if o.DeviceBurst == 0 {
		o.DeviceBurst = deviceBurst
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Endpoint.Logger == nil {
		o.Endpoint.Logger = o.Logger
	}
	if o.Endpoint.BodyLimit == nil {
		o.Endpoint.BodyLimit = bodyLimit
	}
	if o.Endpoint.Costly == nil {
		o.Endpoint.Costly = costly
	}
	s := &Server{log: o.Logger, pace: newPace(o.DeviceRate, o.DeviceBurst)}
	var err error
	if s.lines, err = newLines(conn, o.Sessions, s, o.Endpoint); err != nil {
		return nil, fmt.Errorf("coap server: %w", err)
	}
	s.presenter = newPresenter(&s.lines, o)
	return s, nil
}

// Bind gives the server its use cases, which in turn may need the server as
// their presenter. It must be called once, before Run and before the use cases
// are used.
func (s *Server) Bind(u UseCases) {
	s.uses = u
	s.presenter.uses = u
}

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.lines.run(ctx) })
	g.Go(func() error { return s.presenter.run(ctx) })
	return g.Wait()
}

// Ready reports whether a notification for d would leave now.
func (s *Server) Ready(d device.Device) bool { return s.presenter.Ready(d) }

// Present takes the list that d should see from now on.
func (s *Server) Present(d device.Device, p command.Presentation) { s.presenter.Present(d, p) }

// Stats are the message layer's counters.
func (s *Server) Stats() endpoint.Stats { return s.lines.stats() }

// Limited is how many requests were answered 4.29 because their device asked too
// fast.
func (s *Server) Limited() uint64 { return s.pace.limited.Load() }

// Serve answers one request.
func (s *Server) Serve(ctx context.Context, r *endpoint.Request) endpoint.Response {
	if r.IfMatch || r.IfNoneMatch {
		// Nothing here is edited under a condition [RFC 7252 5.10.8].
		return refuse(r, codes.PreconditionFailed, "precondition", "nothing here has a version")
	}
	if costly(r) {
		if err := s.pace.ask(paced(r, s.lines.speaker(r.Peer))); err != nil {
			return refusal(r, err)
		}
	}
	p := r.Path
	switch {
	case len(p) == 2 && p[0] == ".well-known" && p[1] == "core":
		return s.discover(r)
	case len(p) == 1 && p[0] == "rd":
		return s.register(ctx, r)
	case len(p) == 2 && p[0] == "rd":
		return s.registration(ctx, r, p[1])
	case len(p) == 2 && p[0] == "c":
		return s.list(ctx, r, p[1])
	case len(p) == 3 && p[0] == "c":
		return s.report(ctx, r, p[1], p[2])
	case len(p) == 1 && p[0] == "c":
		return wrongMethod(r)
	}
	return refuse(r, codes.NotFound, "not_found", "no such resource")
}

// costly tells what an address must have proven itself for: all that comes to a
// commit, and lists. Discovery is neither.
func costly(head *endpoint.Request) bool {
	return len(head.Path) > 0 && (head.Path[0] == "rd" || head.Path[0] == "c")
}

// Idle tells the presenter that a peer can be sent to again.
func (s *Server) Idle(p endpoint.Peer) { s.presenter.idle(p) }

// decimal reads a number as it stands in a path or query: digits alone, no
// leading zero, at most most.
func decimal(text string, most uint64) (uint64, bool) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n > most || strconv.FormatUint(n, 10) != text {
		return 0, false
	}
	return n, true
}
