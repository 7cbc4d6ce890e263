package dispatch_test

import (
	"context"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"behest/access"
	"behest/command"
	"behest/command/dispatch"
	"behest/command/ledger"
	"behest/device"
	"behest/device/vault"
	"behest/schema"
	"behest/store/sqlite"
)

// world is a dispatcher on a real store, with a presenter that only writes
// down. It lives in a bubble of fake time.
type world struct {
	t     *testing.T
	dir   string
	store *sqlite.Store
	wall  func() time.Time // nil: time.Now
	sure  func() bool      // the system's clock is synchronised; nil: there is no mark, and no doubt
	*dispatch.Dispatcher
	screen *screen
	doubt  *doubt
	judge  *judge
	still  bool // the loops do not run

	production bool         // not development mode
	solo       bool         // one person runs it
	key        []byte       // of seals; nil: none
	book       *access.Book // nil: everybody may everything
	keys       string       // the key file; empty: one key
	lost       bool         // what those do not open is given up
	door       *dispatch.Door
	rechecked  []string // devices whose sessions were asked after
	stop       func()
}

// doubt is the store, with commits that are stored and not known to be, that
// take long, or that are refused.
type doubt struct {
	*sqlite.Store
	next  atomic.Bool  // the next one is of that kind
	after atomic.Int32 // that many

	slow   time.Duration // each takes that
	refuse atomic.Int32  // so many are not taken
	inside atomic.Bool   // what is to be committed is being done
}

func (d *doubt) Update(ctx context.Context, lane ledger.Lane, f func(ledger.Tx) error) error {
	if d.refuse.Add(-1) >= 0 {
		return command.Errorf(command.CodeUnavailable, "the store is busy")
	}
	time.Sleep(d.slow)
	err := d.Store.Update(ctx, lane, func(tx ledger.Tx) error {
		d.inside.Store(true)
		defer d.inside.Store(false)
		return f(tx)
	})
	if err == nil && d.next.Load() && d.after.Add(-1) < 0 && d.next.Swap(false) {
		return command.Errorf(command.CodeOutcomeUnknown, "the disk did not say")
	}
	return err
}

// judge writes down which results it was asked for while a commit waited.
type judge struct {
	*schema.Set
	store   *doubt
	waited  []int // their lengths
	without []int // those that no commit waited for
}

func (j *judge) Result(t command.Type, item []byte) bool {
	if j.store.inside.Load() {
		j.waited = append(j.waited, len(item))
	} else {
		j.without = append(j.without, len(item))
	}
	return j.Set.Result(t, item)
}

// inWorld runs f in a world of its own.
func inWorld(t *testing.T, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, dir: t.TempDir(), screen: newScreen(), key: []byte("a key that no file holds")}
		w.start()
		f(w)
		w.stop()
		report, err := sqlite.Check(context.Background(), filepath.Join(w.dir, "db"))
		if err != nil || len(report.Faults) > 0 {
			t.Errorf("the database does not hold: %v %+v", err, report)
		}
	})
}

func (w *world) start() {
	ctx, cancel := context.WithCancel(context.Background())
	store, err := sqlite.Open(ctx, filepath.Join(w.dir, "db"), sqlite.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.store = store
	w.doubt = &doubt{Store: store}
	if w.keys == "" {
		w.keys = vault.Line(1)
	}
	keys, err := vault.Parse([]byte(w.keys))
	if err != nil {
		w.t.Fatal(err)
	}
	if w.door, err = dispatch.NewDoor(ctx, store, keys, dispatch.DoorOptions{Lost: w.lost}); err != nil {
		w.t.Fatal(err)
	}
	clock := dispatch.ClockOptions{Wall: w.wall}
	if w.sure != nil {
		if clock.Mark, err = store.Mark(ctx); err != nil {
			w.t.Fatal(err)
		}
		clock.Synchronised = func() (bool, error) { return w.sure(), nil }
	}
	w.judge = &judge{Set: schema.New(), store: w.doubt}
	w.door.Bind(func(name string) { w.rechecked = append(w.rechecked, name) })
	w.Dispatcher = dispatch.New(w.doubt, w.screen, dispatch.Options{Clock: dispatch.NewClock(clock), Dev: !w.production, Solo: w.solo, Book: w.book, Door: w.door, Key: w.key, Schemas: w.judge})
	w.screen.reset()
	var wg sync.WaitGroup
	storeCtx, stopStore := context.WithCancel(context.Background())
	var stored sync.WaitGroup
	stored.Go(func() {
		if err := store.Run(storeCtx); err != nil {
			w.t.Error(err)
		}
	})
	wg.Go(func() {
		if w.still {
			return
		}
		if err := w.Run(ctx); err != nil {
			w.t.Error(err)
		}
	})
	w.stop = func() {
		cancel()
		wg.Wait()
		stopStore()
		stored.Wait()
		if err := store.Close(); err != nil {
			w.t.Error(err)
		}
	}
	synctest.Wait()
}

// restart ends the world's process and starts another on the same database.
func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.start()
}

// there is where devices are, in these tests.
var there = device.Speaker{Endpoint: device.Endpoint{Remote: netip.MustParseAddrPort("127.0.0.1:40000")}}

// register registers a device, and has it observe.
func (w *world) register(name string) int64 {
	w.t.Helper()
	h, err := w.Register(w.ctx(), device.Registering{Name: name, From: there, Lifetime: time.Hour, Window: 1})
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

func (w *world) observe(name string) command.Presentation {
	w.t.Helper()
	_, p, err := w.Observe(w.ctx(), name, there, device.Observation{Token: []byte{1}})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// ready makes a device that registered and observes.
func (w *world) ready(name string) int64 {
	w.t.Helper()
	h := w.register(name)
	w.observe(name)
	return h
}

func (w *world) issue(devices ...string) command.Issued {
	w.t.Helper()
	i, err := w.Issue(w.ctx(), intent(devices...))
	if err != nil {
		w.t.Fatal(err)
	}
	return i
}

func intent(devices ...string) command.Intent {
	return command.Intent{Type: "pump.start", Targets: command.Targets{Devices: devices}, RequestedBy: "ann"}
}

func (w *world) report(name string, seq uint32, s command.Status) error {
	return w.Report(w.ctx(), name, there, seq, command.Report{Status: s})
}

// now is how a command on one device stands.
func (w *world) now(id command.ID) command.Execution {
	w.t.Helper()
	v, err := w.store.Command(w.ctx(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return *v.Only
}

func (w *world) ctx() context.Context { return context.Background() }

// check holds a command's state and cause against what is wanted.
func (w *world) check(id command.ID, state command.State, cause command.Cause) command.Execution {
	w.t.Helper()
	x := w.now(id)
	if x.State != state || x.Cause != cause {
		w.t.Errorf("the command is %s %s, want %s %s", x.State, x.Cause, state, cause)
	}
	return x
}

// screen is a presenter that writes down what each device should see.
type screen struct {
	mu    sync.Mutex
	deaf  bool // no notification can leave
	shown map[int64]command.Presentation
}

func newScreen() *screen { return &screen{shown: map[int64]command.Presentation{}} }

func (s *screen) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.shown)
}

func (s *screen) Ready(d device.Device) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.deaf && d.Online(time.Now())
}

func (s *screen) Present(d device.Device, p command.Presentation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.Generation > s.shown[d.Handle].Generation {
		s.shown[d.Handle] = p
	}
}

// on is the list that a device should see.
func (s *screen) on(h int64) command.Presentation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shown[h]
}

// seqs are the sequence numbers of a list.
func seqs(list []command.Entry) []uint32 {
	out := []uint32{}
	for _, e := range list {
		out = append(out, e.Seq)
	}
	return out
}
