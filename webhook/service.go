package webhook

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"behest/command"
)

// Service is the use cases, and the loops that deliver. Its methods may be
// called from any goroutine, before and while Run runs.
type Service struct {
	store Store
	log   Log
	key   Key
	o     Options
	wake  chan struct{} // one token: look at what hooks there are

	delivered, failed, givenUp atomic.Uint64

	mu      sync.Mutex
	running map[int64]*runner // by the hook's number
}

// New makes a Service that tells of what is in log.
func New(store Store, log Log, key Key, o Options) *Service {
	o.fill()
	return &Service{store: store, log: log, key: key, o: o, wake: make(chan struct{}, 1), running: make(map[int64]*runner)}
}

func nudge(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Run delivers until ctx ends. Then it begins nothing more, finishes what is
// under way, and stores how far it came.
func (s *Service) Run(ctx context.Context) error {
	poll := time.NewTicker(s.o.Poll)
	defer poll.Stop()
	for {
		if err := s.reconcile(ctx); err != nil && ctx.Err() == nil {
			s.o.Logger.Warn("webhooks are not looked up", "err", err)
		}
		select {
		case <-s.wake:
		case <-poll.C:
		case <-ctx.Done():
			s.end(s.all())
			return nil
		}
	}
}

// reconcile ends the loops of hooks that were removed, changed or disabled,
// and begins those that are missing.
func (s *Service) reconcile(ctx context.Context) error {
	hooks, err := s.store.Hooks(ctx)
	if err != nil {
		return err
	}
	wanted := make(map[int64]command.Hook, len(hooks))
	for _, h := range hooks {
		if !h.Disabled {
			wanted[h.N] = h
		}
	}
	var over []*runner
	for _, r := range s.all() {
		if h, ok := wanted[r.n]; !ok || h.Version != r.version || r.ended() {
			over = append(over, r)
		}
	}
	s.end(over)
	for _, h := range wanted {
		s.begin(ctx, h)
	}
	return nil
}

// all are the loops that run.
func (s *Service) all() (list []*runner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.running {
		list = append(list, r)
	}
	return list
}

// begin runs the loop of h, unless it runs.
func (s *Service) begin(ctx context.Context, h command.Hook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running[h.N] != nil {
		return
	}
	own, stop := context.WithCancel(ctx)
	r := &runner{s: s, n: h.N, id: h.ID, version: h.Version, stop: stop, done: make(chan struct{}), wake: make(chan struct{}, 1)}
	r.place.Store(h.Cursor.N)
	s.running[h.N] = r
	go func() {
		defer close(r.done)
		r.run(own)
		nudge(s.wake)
	}()
}

// end stops loops, all at once, and waits for them.
func (s *Service) end(list []*runner) {
	for _, r := range list {
		r.stop()
	}
	for _, r := range list {
		<-r.done
		s.mu.Lock()
		delete(s.running, r.n)
		s.mu.Unlock()
	}
}

// look has the loop of a hook look for deliveries that are due.
func (s *Service) look(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.running[n]; r != nil {
		nudge(r.wake)
	}
}

// Stats are counts since the start, and how many events of the log each
// running hook has not got to.
type Stats struct {
	Delivered uint64 // attempts that succeeded
	Failed    uint64 // attempts that did not
	GivenUp   uint64 // events for which no attempt is left
	Lag       map[string]int64
}

// Stats answers with the counts as they are. If the log cannot be asked where
// it ends, they come with the error, and without the lags.
func (s *Service) Stats(ctx context.Context) (Stats, error) {
	out := Stats{Delivered: s.delivered.Load(), Failed: s.failed.Load(), GivenUp: s.givenUp.Load(), Lag: make(map[string]int64)}
	end, err := s.log.End(ctx)
	if err != nil {
		return out, err
	}
	for _, r := range s.all() {
		out.Lag[r.id] = max(end.N-r.place.Load(), 0)
	}
	return out, nil
}

// runner is the loop of one hook. After any failure of the store it begins
// anew from what is stored.
type runner struct {
	// Set once.
	s       *Service
	n       int64
	id      string
	version int64
	stop    context.CancelFunc
	done    chan struct{} // closed when it is over
	wake    chan struct{} // one token: something is due

	place atomic.Int64 // the event up to which it has looked
}

func (r *runner) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// run follows the log until ctx ends, or the hook is another than it was.
func (r *runner) run(ctx context.Context) {
	log := r.s.o.Logger.With(slog.String("webhook", r.id))
	for ctx.Err() == nil {
		h, err := r.s.store.Hook(ctx, r.id)
		if command.CodeOf(err) == command.CodeNotFound || err == nil && (h.N != r.n || h.Version != r.version || h.Disabled) {
			return
		}
		if err == nil {
			err = follow(ctx, r, h, log)
		}
		if err == nil || errors.Is(err, errOver) {
			return
		}
		if ctx.Err() == nil {
			log.Warn("a webhook begins anew from its place", "err", err)
		}
		r.wait(ctx, r.s.o.Pause)
	}
}

// errOver ends a loop whose hook was disabled, changed or removed.
var errOver = errors.New("the webhook is not what it was")

func (r *runner) wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
