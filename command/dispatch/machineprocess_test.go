package dispatch_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"behest/access"
	"behest/command"
	"behest/command/dispatch"
	"behest/command/ledger"
	"behest/device"
	"behest/schema"
	"behest/store/sqlite"
)

// process is a server from its start to its death. It has a directory of its
// own: the next one begins with what was on disk when this one died.
type process struct {
	*dispatch.Dispatcher
	store *sqlite.Store
	disk  *disk
	stage *stage
	clock *dispatch.Clock
	begun command.Place // the end of the log then

	loops func() // starts the loops; nil: they run
	drop  func() // ends everything, after a death too
}

// boot starts a process in dir. Without loops it is one that has only begun:
// people and devices are let in, and no clock lapses yet.
func (m *machine) boot(dir string, trust, loops bool) {
	ctx, cancel := context.WithCancel(context.Background())
	quiet := slog.New(slog.DiscardHandler)
	store, err := sqlite.Open(ctx, filepath.Join(dir, "db"), sqlite.Options{Readers: 2, RideAlong: time.Nanosecond, Logger: quiet})
	m.ok(err)
	mark, err := store.Mark(ctx)
	m.ok(err)
	p := &process{store: store}
	p.begun, err = store.End(ctx)
	m.ok(err)
	p.clock = dispatch.NewClock(dispatch.ClockOptions{
		Mark: mark, Trust: trust, Wall: m.wall, Synchronised: func() (bool, error) { return m.synced.Load(), nil },
	})
	p.disk = &disk{Store: store, dir: dir, turn: make(chan struct{}, 1)}
	p.stage = newStage(p)
	p.Dispatcher = dispatch.New(p.disk, p.stage, dispatch.Options{
		Clock: p.clock, Dev: true, Clocks: serverClocks, Schemas: schema.New(), Logger: quiet, Book: access.NewBook(p.clock.Now),
	})
	m.ok(p.LoadPeople(ctx))
	var looping, storing sync.WaitGroup
	storeCtx, stopStore := context.WithCancel(context.Background())
	storing.Go(func() { _ = store.Run(storeCtx) })
	p.loops = func() {
		p.loops = nil
		looping.Go(func() { _ = p.Run(ctx) })
	}
	p.drop = func() {
		p.disk.dead.Store(true)
		cancel()
		looping.Wait()
		stopStore()
		storing.Wait()
		_ = store.Close()
		_ = os.RemoveAll(dir)
	}
	m.p = p
	if loops {
		p.loops()
	}
}

// wall is the system's clock, which somebody may set.
func (m *machine) wall() time.Time { return time.Now().Add(time.Duration(m.ahead.Load())) }

// image makes a directory of what is on disk now. Nobody writes meanwhile.
func image(to, dir string) {
	err := os.MkdirAll(to, 0o700)
	for _, name := range []string{"db", "db-wal"} {
		err = errors.Join(err, copyFile(filepath.Join(to, name), filepath.Join(dir, name)))
	}
	if err != nil {
		panic(err)
	}
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// fate is what becomes of a commit.
type fate int

const (
	kept       fate = iota
	declined        // nothing was done, and that is said
	undone          // nothing was done, and nobody can say so
	untold          // it was done, and nobody can say so
	diesBefore      // the process dies with it
	diesAfter       // the process dies when it is on disk, and has told nobody
	fates
)

var (
	errUndone = errors.New("not committed")
	// errDead is what a caller never hears: the process that would say it is gone.
	errDead = command.Errorf(command.CodeUnavailable, "the process is dead")
)

// disk is the store of a process. Commits go one at a time, so that a run can
// be run again, and each has a fate.
type disk struct {
	*sqlite.Store
	dir  string
	turn chan struct{}

	dead  atomic.Bool
	left  string // the directory that it left
	fate  fate   // of the commit after that many
	after int

	commits, faults int
}

// doom has one of the next commits end otherwise. kept: none.
func (d *disk) doom(f fate, after int) {
	d.turn <- struct{}{}
	d.fate, d.after = f, after
	<-d.turn
}

func (d *disk) Update(ctx context.Context, lane ledger.Lane, f func(ledger.Tx) error) error {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	if d.dead.Load() {
		return errDead
	}
	d.commits++
	end := kept
	if d.fate != kept {
		if d.after--; d.after < 0 {
			end = d.fate
		}
	}
	if end == declined {
		d.fate = kept
		d.faults++
		return command.Errorf(command.CodeUnavailable, "the disk is full")
	}
	err := d.Store.Update(ctx, lane, func(tx ledger.Tx) error {
		if err := f(tx); err != nil {
			return err
		}
		if end == undone || end == diesBefore {
			return errUndone
		}
		return nil
	})
	if end == kept || err != nil && !errors.Is(err, errUndone) {
		return err
	}
	d.fate = kept
	d.faults++
	if end == diesBefore || end == diesAfter {
		d.die()
		return errDead
	}
	return command.Errorf(command.CodeOutcomeUnknown, "the disk did not say")
}

// die keeps what is on disk. Nothing that the process does from now on is
// seen anywhere. [turn held]
func (d *disk) die() {
	d.left = d.dir + "+"
	image(d.left, d.dir)
	d.dead.Store(true)
}

// backUp makes a directory of what is on disk between two commits.
func (d *disk) backUp(to string) {
	d.turn <- struct{}{}
	image(to, d.dir)
	<-d.turn
}

// kill has the process die between two commits.
func (d *disk) kill() {
	d.turn <- struct{}{}
	d.die()
	<-d.turn
}

func (d *disk) RaiseMark(ctx context.Context, at time.Time) error {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	if d.dead.Load() {
		return errDead
	}
	return d.Store.RaiseMark(ctx, at)
}

// stage is a presenter with one exchange per device at a time, as the
// transport has. What comes of an exchange is for the machine to say.
type stage struct {
	p *process

	mu     sync.Mutex
	boards map[int64]*board
	shows  []show
	begun  int // exchanges
	left   []leaving
}

// exchange is one with a device; of a process, since it ends with that.
type exchange struct {
	of *process
	n  int
}

// leaving is a list that left in an exchange.
type leaving struct {
	handle int64
	exchange
	list []command.Entry
}

// show is a list that was handed to the transport, and how far the log was.
type show struct {
	handle int64
	list   []command.Entry
	end    command.Place
	held   bool
}

// board is what a device should see.
type board struct {
	dev    device.Device
	shown  command.Presentation
	dirty  bool                  // the observer was not sent this list
	pulled bool                  // nothing has changed since its last turn
	flight *command.Presentation // an exchange that nobody has answered yet, as it began
	now    exchange              // that one
	to     device.Observation    // where it goes
	once   map[uint32]exchange   // that what goes once left in
}

func newStage(p *process) *stage { return &stage{p: p, boards: map[int64]*board{}} }

func (s *stage) Ready(d device.Device) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.boards[d.Handle]
	return d.Online(s.p.clock.Now()) && (b == nil || b.flight == nil)
}

func (s *stage) Present(d device.Device, p command.Presentation) {
	if s.p.disk.dead.Load() {
		return
	}
	end, err := s.p.store.End(context.Background())
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.take(d, p, end)
}

// take puts a list on the device's board, unless a younger one is there. [mu held]
func (s *stage) take(d device.Device, p command.Presentation, end command.Place) {
	s.shows = append(s.shows, show{d.Handle, p.List, end, s.p.clock.Held()})
	b := s.boards[d.Handle]
	if b == nil {
		b = &board{once: map[uint32]exchange{}}
		s.boards[d.Handle] = b
	}
	if p.Generation <= b.shown.Generation {
		return
	}
	if p.Revived || !slices.EqualFunc(p.List, b.shown.List, func(x, y command.Entry) bool { return x.Seq == y.Seq && x.Cancel == y.Cancel }) {
		b.dirty, b.pulled = true, false
	}
	b.dev, b.shown = d, p
	s.advance(b)
}

// advance starts an exchange if there is something to say. [mu held]
func (s *stage) advance(b *board) {
	if b.dirty && b.flight == nil && b.dev.Online(s.p.clock.Now()) {
		b.dirty = false
		s.begin(b, b.shown)
	}
}

// begin begins an exchange. [mu held]
func (s *stage) begin(b *board, p command.Presentation) {
	s.begun++
	b.now, b.to = exchange{of: s.p, n: s.begun}, b.dev.Observation
	p.List = s.leave(b, b.now, p.List)
	b.flight = &p
}

// leave lets a list leave in x, as far as it may, and answers with that. [mu held]
func (s *stage) leave(b *board, x exchange, list []command.Entry) []command.Entry {
	list = b.listFor(x, list)
	for _, e := range list {
		if e.Once {
			b.once[e.Seq] = x
		}
	}
	s.left = append(s.left, leaving{b.dev.Handle, x, list})
	return list
}

// listFor is a list without what goes once and left in another exchange than x.
func (b *board) listFor(x exchange, list []command.Entry) (out []command.Entry) {
	for _, e := range list {
		if in, left := b.once[e.Seq]; !e.Once || !left || in == x {
			out = append(out, e)
		}
	}
	return out
}

// pulls lists devices for which more is waiting than their list shows.
func (s *stage) pulls() (handles []int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for h, b := range s.boards {
		if b.shown.Waiting && b.flight == nil && !b.dirty && !b.pulled && b.dev.Online(s.p.clock.Now()) {
			b.pulled = true
			handles = append(handles, h)
		}
	}
	slices.Sort(handles)
	return handles
}

// rested has every device pulled again that has waited a while.
func (s *stage) rested() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.boards {
		b.pulled = false
	}
}

// answered ends the exchange with a device, if one is under way. It answers
// with what was carried by its first transmission, or by one that was made now,
// and with where it went.
func (s *stage) answered(h int64, now bool) (list []command.Entry, o device.Observation, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.boards[h]
	if b == nil || b.flight == nil {
		return nil, o, false
	}
	list = b.flight.List
	if now {
		list, b.dirty = s.leave(b, b.now, b.shown.List), false
	}
	b.flight = nil
	return list, b.to, true
}

// goOn begins what the end of an exchange made room for.
func (s *stage) goOn(h int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.boards[h]; b != nil {
		s.advance(b)
	}
}

// flying is what an exchange with a device carries, or would if it were
// transmitted again; nil: none is under way.
func (s *stage) flying(h int64) []command.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.boards[h]; b != nil && b.flight != nil {
		return append([]command.Entry{}, b.listFor(b.now, b.shown.List)...)
	}
	return nil
}

// free reports whether a notification for a device would leave now.
func (s *stage) free(h int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.boards[h]
	return b != nil && b.flight == nil && b.dev.Online(s.p.clock.Now())
}

// observed begins an observation with the list that answers it. What was under
// way for an earlier one is over: over is what that carried.
func (s *stage) observed(d device.Device, p command.Presentation) (over []command.Entry) {
	end, err := s.p.store.End(context.Background())
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.boards[d.Handle]
	flying := b != nil && b.flight != nil
	s.take(d, p, end)
	b = s.boards[d.Handle]
	if flying {
		over = slices.Concat(b.flight.List, b.listFor(b.now, b.shown.List))
	}
	if b.shown.Generation == p.Generation {
		b.dirty, b.flight = false, nil
		if len(b.listFor(exchange{}, p.List)) > 0 {
			s.begin(b, p)
		}
	}
	return over
}

// heardList takes in a list that answers a device's own request, and answers with
// what leaves with that.
func (s *stage) heardList(d device.Device, p command.Presentation) []command.Entry {
	end, err := s.p.store.End(context.Background())
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.take(d, p, end)
	s.begun++
	return s.leave(s.boards[d.Handle], exchange{of: s.p, n: s.begun}, p.List)
}

// told takes the lists that were handed over since it was last asked, and those
// that left.
func (s *stage) told() ([]show, []leaving) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out, left := s.shows, s.left
	s.shows, s.left = nil, nil
	return out, left
}

// carried is what a list carries.
func carried(list []command.Entry) []command.Carried {
	c := make([]command.Carried, len(list))
	for i, e := range list {
		c[i] = command.Carried{Seq: e.Seq, Cancel: e.Cancel}
	}
	return c
}
