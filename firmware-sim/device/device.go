package device

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"behest/firmware-sim/behaviour"
	"behest/firmware-sim/exchange"
	"behest/firmware-sim/link"
	"behest/firmware-sim/storage"
	"behest/firmware-sim/wire"
)

// ErrPowerLoss is what Run returns when the power was taken away.
var ErrPowerLoss = errors.New("power lost")

// Options say what kind of device it is. Name and Server are required; the zero
// value of the rest is the default.
type Options struct {
	Name     string         // the endpoint name
	Server   netip.AddrPort //
	Lifetime time.Duration  // lt; an hour
	Window   int            // w; 0: not said

	// Plan says what to do with a command; nil: succeed at once.
	Plan func(wire.Entry) behaviour.Plan
	// Store is the memory; nil: one that ends with this life.
	Store *storage.Store
	// Commands ends Run after so many final reports were answered; 0: never.
	Commands int
	// Seed makes message ids, tokens and jitter, together with the time of the
	// boot: a life does not use the ids of the one before. 0: at random.
	Seed   uint64
	Timing exchange.Timing

	// Notify hears of every event, in Run's goroutine.
	Notify func(Event)
	// PowerLoss may take the power away at the named points of a command.
	PowerLoss func(at behaviour.Point, seq uint32) bool
}

const (
	nameBytesMax    = 63 // the contract's
	lifetimeDefault = time.Hour
	lifetimeMax     = math.MaxUint32 * time.Second
	windowMax       = 8
	// worksMax is how many commands it works on at once: all that a server may
	// list, eight that were asked for and ten urgent ones.
	worksMax = 18
	// datagramBytesMax is more than CoAP puts into one datagram [RFC 7252 4.6].
	datagramBytesMax = 2048
)

// Check says what is wrong with o, defaults filled in.
func (o Options) Check() error {
	if o.Lifetime == 0 {
		o.Lifetime = lifetimeDefault
	}
	switch {
	case o.Name == "" || len(o.Name) > nameBytesMax:
		return fmt.Errorf("the endpoint name has 1 to %d bytes, not %d", nameBytesMax, len(o.Name))
	case !utf8.ValidString(o.Name) || strings.Contains(o.Name, "/") || strings.ContainsFunc(o.Name, unicode.IsControl):
		return fmt.Errorf("the endpoint name %q is not UTF-8 without control characters and slashes", o.Name)
	case !o.Server.IsValid() || o.Server.Port() == 0:
		return errors.New("the server's address and port are missing")
	case o.Lifetime < time.Second || o.Lifetime > lifetimeMax:
		return fmt.Errorf("the lifetime is 1 to %d seconds, not %v", uint32(math.MaxUint32), o.Lifetime)
	case o.Window < 0 || o.Window > windowMax:
		return fmt.Errorf("the window is 1 to %d, or 0 for not said, not %d", windowMax, o.Window)
	case o.Commands < 0:
		return fmt.Errorf("the number of commands is negative: %d", o.Commands)
	}
	return nil
}

// Device is one life of a simulated device.
type Device struct {
	conn    link.Conn // set once, closed by Run
	options Options   // set once

	crash     chan struct{} // closed by Crash
	crashOnce sync.Once

	// Owned by Run's loop.
	random   *rand.Rand
	endpoint *exchange.Endpoint
	flight   flight // what the endpoint's request is for
	session  session
	watch    watch
	jobs     map[uint32]*job
	outbox   outbox
	heard    int   // final reports that were answered
	failure  error // ends Run
}

// New makes a device that speaks over conn, which becomes its own.
func New(conn link.Conn, o Options) (*Device, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Lifetime == 0 {
		o.Lifetime = lifetimeDefault
	}
	if o.Plan == nil {
		o.Plan = func(wire.Entry) behaviour.Plan { return behaviour.DefaultPlan() }
	}
	if o.Store == nil {
		o.Store = storage.NewRAM()
	}
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	return &Device{
		conn: conn, options: o, crash: make(chan struct{}),
		jobs: map[uint32]*job{},
	}, nil
}

// Crash takes the power away: nothing more is sent or stored. It may be called
// at any time, from any goroutine but Run's; Run then returns ErrPowerLoss.
func (d *Device) Crash() { d.crashOnce.Do(func() { close(d.crash) }) }

// Effects counts what the device did to the world, by seq, over all its lives.
func (d *Device) Effects() map[uint32]int { return d.options.Store.Effects() }

// packet is a datagram and when it came: seconds count from there, however long
// the loop is busy with something else.
type packet struct {
	content []byte
	from    netip.AddrPort
	at      time.Time
}

// Run boots the device and lives until ctx ends (nil), its number of commands
// is done (nil), its power is lost (ErrPowerLoss) or it cannot go on. It closes
// the conn. It may be called once.
func (d *Device) Run(ctx context.Context) error {
	packets, broken, over := make(chan packet), make(chan error, 1), make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() { broken <- d.read(packets, over) })
	defer func() {
		close(over)
		_ = d.conn.Close() // nothing is left that could be lost
		reader.Wait()
	}()
	d.boot(time.Now())
	timer := time.NewTimer(0)
	defer timer.Stop()
	for d.alive() {
		wake := d.work(time.Now())
		if !d.alive() {
			break
		}
		timer.Reset(time.Until(wake))
		select {
		case <-d.crash:
		case <-timer.C:
		case <-ctx.Done():
			return nil
		case err := <-broken:
			return err
		case p := <-packets:
			d.happened(p.at, d.endpoint.Receive(p.at, p.from, p.content))
		}
	}
	return d.failure
}

// alive says whether there is more to do in this life.
func (d *Device) alive() bool {
	select {
	case <-d.crash:
		if d.failure == nil {
			d.failure = ErrPowerLoss
			d.tell(Event{Kind: PowerLost})
		}
	default:
	}
	return d.failure == nil && (d.options.Commands == 0 || d.heard < d.options.Commands)
}

// read hands datagrams to the loop until the conn ends.
func (d *Device) read(packets chan<- packet, over <-chan struct{}) error {
	buffer := make([]byte, datagramBytesMax)
	for {
		n, from, err := d.conn.ReadFrom(buffer)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		p := packet{content: append([]byte(nil), buffer[:n]...), from: from, at: time.Now()}
		select {
		case packets <- p:
		case <-over:
			return nil
		}
	}
}

// boot begins a life with what the last one left.
func (d *Device) boot(now time.Time) {
	send := func(b []byte) { _, _ = d.conn.WriteTo(b, d.options.Server) } // a failed send is a lost datagram
	d.random = rand.New(rand.NewPCG(d.options.Seed, uint64(now.UnixNano())))
	d.endpoint = exchange.New(d.options.Server, send, d.random, d.options.Timing)
	d.session.due = now
	d.watch.token = d.endpoint.NewToken()
	d.watch.seen = map[uint32]time.Time{}
	d.endpoint.Watch(d.watch.token)
	d.tell(Event{Kind: Booted, Text: fmt.Sprintf("last=%d server=%v", d.options.Store.Memory().Last, d.options.Server)})
}

// farAway is when a device without anything to do wakes up all the same.
const farAway = time.Hour

// work does all that is due at now, and says when to come again.
func (d *Device) work(now time.Time) time.Time {
	d.happened(now, d.endpoint.Tick(now))
	d.advance(now)
	d.decide(now, false)
	if d.failure == nil && !d.endpoint.Busy() {
		d.request(now)
	}
	wake := now.Add(farAway)
	for _, due := range d.deadlines(now) {
		if !due.IsZero() && due.Before(wake) {
			wake = due
		}
	}
	return wake
}

// deadlines are the times at which something becomes due.
func (d *Device) deadlines(now time.Time) []time.Time {
	due := []time.Time{d.endpoint.Deadline(), d.nextStart(now)}
	for _, j := range d.jobs {
		due = append(due, j.due())
	}
	if !d.endpoint.Busy() {
		due = append(due, d.session.due)
		if d.session.handle != nil {
			due = append(due, d.watch.due, d.outbox.due())
		}
	}
	return due
}
