package dispatch

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"behest/access"
	"behest/command"
	"behest/command/ledger"
)

// Options of a Dispatcher. The zero value is the default.
type Options struct {
	// Clock is what everything goes by; nil: the system's, which is trusted.
	Clock *Clock
	// Dev allows command types and devices that nobody declared.
	Dev bool
	// Clocks for commands whose type does not say; zero: command.DefaultClocks.
	Clocks command.Clocks
	// Book is who may do what, and what is in which group; nil: everybody may
	// everything, and no group has members.
	Book *access.Book
	// Solo lets who asks for a command be among those who approve it.
	Solo bool
	// Door is where devices prove who they are; nil: they have no credentials.
	Door *Door
	// Key seals what is accepted; nil: nothing is sealed.
	Key []byte
	// Schemas are required as soon as a command has params, or a type a schema.
	Schemas Schemas
	Logger  *slog.Logger
}

// Dispatcher is the use cases and the loops. Its methods may be called from
// any goroutine, before and while Run runs.
type Dispatcher struct {
	store     Store
	presenter Presenter
	clock     *Clock
	dev       bool
	clocks    command.Clocks
	schemas   Schemas
	book      *access.Book
	people    People // the book; nil: nobody keeps one
	members   func(group string, labels map[string]string) bool
	solo      bool
	seals     seals
	began     time.Time
	door      *Door // nil: nobody keeps credentials
	log       *slog.Logger

	generation atomic.Uint64 // of presentations; drawn inside commits
	stirred    atomic.Bool   // something was told that a commit did
	waits      waits
	waking     waking
	types      types
	windows    windows
	watched    watched       // gates whose executions have moved
	intact     intact        // lists of targets that are what was approved
	gates      alarm         // wakes the loop that asks gates
	arrivals   chan arrival  // from the transport to the store
	partings   chan parting  // likewise
	lapse      alarm         // wakes the clock loop
	again      chan struct{} // one token: present anew what is open
	pending    chan struct{} // one token: write out what is pending
	orphans    *rate.Limiter // events for reports on numbers that nobody knows
	bookAnew   chan struct{} // one token: read the book of people from the store
	amending   sync.Mutex    // held over a change to what the book holds
}

// Arrivals wait here while a commit is under way. When the queue is full the
// newest is dropped: the report will say more, and the list is presented again.
const arrivalsMax = 16 << 10

// An unknown sender must not fill the log with orphaned reports.
const (
	orphansPerSecond = 1
	orphansBurst     = 16
)

// New makes a Dispatcher that works on store and presents through presenter.
func New(store Store, presenter Presenter, o Options) *Dispatcher {
	if o.Clocks == (command.Clocks{}) {
		o.Clocks = command.DefaultClocks
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = NewClock(ClockOptions{})
	}
	d := &Dispatcher{
		store: store, presenter: presenter, clock: o.Clock,
		dev: o.Dev, clocks: o.Clocks, schemas: o.Schemas, log: o.Logger,
		solo:     o.Solo,
		door:     o.Door,
		seals:    newSeals(o.Key),
		waits:    newWaits(),
		waking:   newWaking(),
		types:    newTypes(),
		windows:  newWindows(),
		watched:  newWatched(),
		intact:   newIntact(),
		gates:    newAlarm(o.Clock.Now),
		arrivals: make(chan arrival, arrivalsMax),
		partings: make(chan parting, partingsMax),
		lapse:    newAlarm(o.Clock.Now),
		again:    make(chan struct{}, 1),
		pending:  make(chan struct{}, 1),
		orphans:  rate.NewLimiter(orphansPerSecond, orphansBurst),
		bookAnew: make(chan struct{}, 1),
	}
	d.began = d.now()
	if o.Book != nil {
		d.book, d.people, d.members = o.Book, o.Book, o.Book.Member
	} else {
		d.book = access.NewBook(o.Clock.Now) // kept for who looks people up, and asked by nobody
	}
	return d
}

// Run runs the loops until ctx ends.
func (d *Dispatcher) Run(ctx context.Context) error {
	// Before anything leaves: who is not known is not entitled.
	if err := d.LoadPeople(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("dispatch: %w", err)
	}
	// Nobody is where a session was before.
	if err := d.partAll(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("dispatch: %w", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	w := newWatch(d)
	g.Go(func() error { return w.run(ctx) })
	d.presentAnew()
	d.writeOut()
	g.Go(func() error { return d.runPeople(ctx) })
	g.Go(func() error { return d.runDoor(ctx) })
	g.Go(func() error { return d.runArrivals(ctx) })
	g.Go(func() error { return d.runPartings(ctx) })
	g.Go(func() error { return d.runFleets(ctx) })
	g.Go(d.trusted(ctx, d.runGates))
	g.Go(d.trusted(ctx, d.runWindows))
	g.Go(d.trusted(ctx, d.runClocks))
	g.Go(d.trusted(ctx, d.runQuiet))
	g.Go(func() error { return d.runPresent(ctx) })
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("dispatch: %w", err)
	}
	return nil
}

// presentAnew asks for what is open to be read from the store and presented.
func (d *Dispatcher) presentAnew() {
	select {
	case d.again <- struct{}{}:
	default: // asked already
	}
}

// Numbers of work that the loops take at once.
const (
	groupMax    = 256 // like a commit: enough to share an fsync, short enough to wait for
	parallelMax = 64  // devices visited at once, so that their commits share an fsync
)

// pause after a loop's work failed: the store says itself when it is back.
const pause = time.Second

// runPresent presents what is open on every device, at the start and whenever
// the truth had to be read again.
func (d *Dispatcher) runPresent(ctx context.Context) error {
	starting := true
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.again:
		}
		err := d.presentAll(ctx)
		switch {
		case err != nil:
		case starting:
			d.waking.over()
		default:
			err = d.lookAnew(ctx)
		}
		if err != nil && ctx.Err() == nil {
			d.log.Warn("presenting what is open", "err", err)
			d.presentAnew()
			sleep(ctx, pause)
			continue
		}
		starting = false
	}
}

// lookAnew has what is pending written out, and every gate asked: of a commit
// that is done and was not known to be, nobody told.
func (d *Dispatcher) lookAnew(ctx context.Context) error {
	d.writeOut()
	if err := d.watchAll(ctx); err != nil {
		return fmt.Errorf("list gates: %w", err)
	}
	d.gates.ring(d.now())
	return nil
}

// presentAll gives every device that has something open its turn.
func (d *Dispatcher) presentAll(ctx context.Context) error {
	for after := int64(0); ; {
		handles, err := d.store.Busy(ctx, after, groupMax)
		if err != nil {
			return fmt.Errorf("list busy devices: %w", err)
		}
		if len(handles) == 0 {
			return nil
		}
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(parallelMax)
		for _, h := range handles {
			g.Go(func() error { return d.giveTurn(gctx, h, nothing) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
		after = handles[len(handles)-1]
	}
}

// giveTurn gives a device its turn, after something was done to it.
func (d *Dispatcher) giveTurn(ctx context.Context, handle int64, before func(*visit) error) error {
	_, err := d.visit(ctx, ledger.Issues, byHandle(handle), before)
	return err
}

// nothing is to be done before a turn.
func nothing(*visit) error { return nil }

// sleep waits for a while, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
