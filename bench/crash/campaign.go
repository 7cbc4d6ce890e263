package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"behest/bench/child"
	"behest/bench/operator"
)

// campaign is a run: one database, many lives of its server.
type campaign struct {
	kills   int
	program child.Program
	data    string
	options child.Options
	random  *rand.Rand
	record  *record
	found   *findings

	where   child.Addresses
	client  *operator.Client
	readied []time.Duration // how long starts took
	early   int             // kills during a start
	looked  int             // samples compared after a restart
}

const (
	earlyOne  = 5                      // one kill in so many comes during a start
	killMost  = 500 * time.Millisecond // after ready
	startMost = 30 * time.Second       // for a machine under load: a start takes a tenth of a second
	calmFor   = time.Second            // without anything acknowledged the work is over
	calmMost  = 20 * time.Second       // and if it is not by then, it does not have to be
)

// newCampaign chooses addresses that stay for the whole run: below those that
// the system gives to whoever asks for any.
func newCampaign(program child.Program, data string, kills int, random *rand.Rand) (*campaign, error) {
	c := &campaign{kills: kills, program: program, data: data, random: random, found: newFindings()}
	c.record = newRecord(c.found)
	const portLow, portHigh, tries = 12000, 32000, 100
	for range tries {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(portLow+random.IntN(portHigh-portLow)))
		tcp, errTCP := net.Listen("tcp", addr)
		udp, errUDP := net.ListenPacket("udp", addr)
		if errTCP == nil {
			tcp.Close()
		}
		if errUDP == nil {
			udp.Close()
		}
		if errTCP == nil && errUDP == nil {
			c.options = child.Options{Data: filepath.Join(data, "db"), HTTP: addr, CoAP: addr, Args: []string{
				"--log-format=text", "--log-level=warn", "--ack-timeout=100ms", "--again-min=1s", "--again-max=4s",
			}}
			return c, nil
		}
	}
	return nil, errors.New("no free port in sight")
}

// run kills, and then looks at everything.
func (c *campaign) run(ctx context.Context) (summary, error) {
	begun := time.Now()
	p, err := c.start(ctx) // the first start makes the database, and says where it is
	if err != nil {
		return summary{}, err
	}
	c.client = operator.New(c.where.HTTP, c.where.Token, operators+1)
	defer c.client.Close()
	f := newFleet(c.where.CoAP, c.record)
	workers, stopWorkers := c.workers(ctx, f)
	p, err = c.lives(workers.ctx, p)
	stopWorkers()
	if err != nil {
		workers.stopFleet()
		return summary{}, errors.Join(err, workers.office.Wait(), workers.fleet.Wait(), reap(p))
	}
	if err := c.windUp(workers); err != nil {
		return summary{}, errors.Join(err, reap(p))
	}
	a := &audit{found: c.found, record: c.record, fleet: f}
	if err = a.load(ctx, c.client); err == nil {
		err = a.run(ctx, c.client)
	}
	if err != nil {
		return summary{}, errors.Join(err, reap(p))
	}
	if err := p.Stop(); err != nil {
		return summary{}, err
	}
	sound, err := c.program.Check(ctx, c.options.Data)
	if err != nil {
		c.found.wrong("%v", err)
	}
	return c.summarise(a, f, sound, time.Since(begun)), nil
}

// reap ends a server after something else went wrong.
func reap(p *child.Process) error {
	if p == nil || p.Ended() {
		return nil
	}
	return p.Kill()
}

// start starts the server and waits until it is ready.
func (c *campaign) start(ctx context.Context) (*child.Process, error) {
	p, err := c.program.Start(c.options)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startMost)
	defer cancel()
	if c.where, err = p.Ready(ctx); err != nil {
		return nil, errors.Join(err, reap(p))
	}
	c.readied = append(c.readied, time.Since(p.Begun()))
	return p, nil
}

// crew is who works while the server dies.
type crew struct {
	ctx       context.Context // ends when one of them cannot go on
	office    *errgroup.Group
	fleet     *errgroup.Group
	stopFleet context.CancelFunc
	record    *record
}

// workers starts operators, devices and newcomers. The function that it answers
// with stops the operators and the newcomers.
func (c *campaign) workers(ctx context.Context, f *fleet) (*crew, context.CancelFunc) {
	o := &office{client: c.client, record: c.record, fleet: f.names}
	for i := range absentees {
		o.absent = append(o.absent, fmt.Sprintf("absent-%d", i))
	}
	w := &crew{record: c.record}
	officeCtx, stopOffice := context.WithCancel(ctx)
	fleetCtx, stopFleet := context.WithCancel(ctx)
	w.stopFleet = stopFleet
	w.office, officeCtx = errgroup.WithContext(officeCtx)
	w.fleet, w.ctx = errgroup.WithContext(fleetCtx)
	for range operators {
		r := c.fork()
		w.office.Go(func() error { o.work(officeCtx, r); return nil })
	}
	for range newcomers {
		w.office.Go(func() error { return f.arrive(officeCtx) })
	}
	for i := range f.names {
		r := c.fork()
		w.fleet.Go(func() error { return f.live(w.ctx, i, r) })
	}
	return w, stopOffice
}

// fork is a source of chance that depends on the seed and on nothing else.
func (c *campaign) fork() *rand.Rand {
	return rand.New(rand.NewPCG(c.random.Uint64(), c.random.Uint64()))
}

// lives takes the server's life as often as it should, and leaves one running.
func (c *campaign) lives(ctx context.Context, p *child.Process) (*child.Process, error) {
	var err error
	for n := range c.kills {
		if n > 0 && c.random.IntN(earlyOne) == 0 {
			c.early++
			if err = c.killEarly(ctx); err != nil {
				return nil, fmt.Errorf("life %d: %w", n+1, err)
			}
			continue
		}
		if p == nil {
			if p, err = c.start(ctx); err != nil {
				return nil, fmt.Errorf("life %d: %w", n+1, err)
			}
		}
		c.live(ctx, time.Duration(c.random.Int64N(int64(killMost))))
		if err = p.Kill(); err != nil {
			return nil, fmt.Errorf("life %d: %w", n+1, err)
		}
		p = nil
	}
	return c.start(ctx)
}

// killEarly kills the server while it starts.
func (c *campaign) killEarly(ctx context.Context) error {
	usual := slices.Sorted(slices.Values(c.readied))[len(c.readied)/2]
	p, err := c.program.Start(c.options)
	if err != nil {
		return err
	}
	pause(ctx, time.Duration(c.random.Int64N(int64(usual))))
	return p.Kill()
}

// live lets the server work for a while, and looks meanwhile at what was
// acknowledged in the lives before.
func (c *campaign) live(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	sample := c.record.sample(c.random)
	done := make(chan int, 1)
	go func() { done <- inspect(ctx, c.client, sample, c.found) }()
	<-ctx.Done()
	c.looked += <-done
}

// windUp lets the devices finish what they can, and stops them.
func (c *campaign) windUp(w *crew) error {
	err := w.office.Wait()
	for begun, before := time.Now(), -1; time.Since(begun) < calmMost; pause(w.ctx, calmFor) {
		now := c.record.progress()
		if now == before || w.ctx.Err() != nil {
			break
		}
		before = now
	}
	w.stopFleet()
	return errors.Join(err, w.fleet.Wait())
}
