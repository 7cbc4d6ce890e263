package link

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Faults are what a bad network does. Chances are from 0 to 1, for each
// datagram and each direction by itself.
type Faults struct {
	Loss      float64
	Duplicate float64
	Reorder   float64       // held back by up to reorderHold, so that others overtake it
	Delay     time.Duration // the most; each datagram takes a random part of it
	Seed      uint64
}

// reorderHold is long enough for a later datagram to overtake, and shorter than
// a message layer waits before it repeats.
const reorderHold = 500 * time.Millisecond

// Active says whether there is any fault.
func (f Faults) Active() bool { return f.Loss > 0 || f.Duplicate > 0 || f.Reorder > 0 || f.Delay > 0 }

// Check says what is wrong with f.
func (f Faults) Check() error {
	for name, chance := range map[string]float64{"loss": f.Loss, "duplicate": f.Duplicate, "reorder": f.Reorder} {
		if !(chance >= 0 && chance <= 1) {
			return fmt.Errorf("%s is a chance from 0 to 1, not %v", name, chance)
		}
	}
	if f.Delay < 0 {
		return fmt.Errorf("delay is negative: %v", f.Delay)
	}
	return nil
}

// Impair puts faults between its user and conn. Close closes conn, too.
func Impair(conn Conn, f Faults) Conn {
	c := &impaired{
		conn: conn, inbox: newMailbox(), timers: map[*time.Timer]struct{}{},
		in: newDice(f, 1), out: newDice(f, 2),
	}
	c.work.Go(c.pump)
	return c
}

type impaired struct {
	conn  Conn     // set once
	inbox *mailbox // set once
	in    *dice    // owned by pump
	work  sync.WaitGroup

	mu     sync.Mutex
	out    *dice
	closed bool
	timers map[*time.Timer]struct{} // datagrams on their way
}

func (c *impaired) ReadFrom(p []byte) (int, netip.AddrPort, error) { return c.inbox.take(p) }

func (c *impaired) WriteTo(p []byte, to netip.AddrPort) (int, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return 0, net.ErrClosed
	}
	fates := c.out.roll()
	c.mu.Unlock()
	for _, wait := range fates {
		if wait == 0 {
			if _, err := c.conn.WriteTo(p, to); err != nil {
				return 0, err
			}
			continue
		}
		late := bytes.Clone(p)
		c.after(wait, func() { _, _ = c.conn.WriteTo(late, to) }) // a lost datagram is what this is for
	}
	return len(p), nil
}

func (c *impaired) Close() error {
	c.mu.Lock()
	c.closed = true
	for timer := range c.timers {
		if timer.Stop() {
			c.work.Done()
		}
	}
	clear(c.timers)
	c.mu.Unlock()
	c.inbox.close()
	err := c.conn.Close()
	c.work.Wait()
	return err
}

// pump moves what arrives into the inbox, by its fate, until conn is closed.
func (c *impaired) pump() {
	defer c.inbox.close()
	buffer := make([]byte, datagramBytesMax)
	for {
		n, from, err := c.conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		for _, wait := range c.in.roll() {
			d := datagram{content: bytes.Clone(buffer[:n]), from: from}
			if wait == 0 {
				c.inbox.put(d)
				continue
			}
			c.after(wait, func() { c.inbox.put(d) })
		}
	}
}

// datagramBytesMax is more than CoAP puts into one datagram [RFC 7252 4.6].
const datagramBytesMax = 2048

// after does something later, unless the conn is closed first.
func (c *impaired) after(wait time.Duration, do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.work.Add(1)
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		defer c.work.Done()
		c.mu.Lock() // also waits until timer is set
		delete(c.timers, timer)
		closed := c.closed
		c.mu.Unlock()
		if !closed {
			do()
		}
	})
	c.timers[timer] = struct{}{}
}

// dice decide what happens to the datagrams of one direction.
type dice struct {
	faults Faults
	random *rand.Rand
}

func newDice(f Faults, direction uint64) *dice {
	return &dice{faults: f, random: rand.New(rand.NewPCG(f.Seed, direction))}
}

// roll says how long each copy of the next datagram is under way; none means
// that it is lost. It draws the same number of times for each datagram, so that
// one fault's chance does not shift the fates of the others.
func (d *dice) roll() []time.Duration {
	lost := d.random.Float64() < d.faults.Loss
	twice := d.random.Float64() < d.faults.Duplicate
	late := d.random.Float64() < d.faults.Reorder
	hold := time.Duration(d.random.Float64() * float64(reorderHold))
	first := time.Duration(d.random.Float64() * float64(d.faults.Delay))
	second := time.Duration(d.random.Float64() * float64(d.faults.Delay))
	if lost {
		return nil
	}
	if late {
		first += hold
	}
	if twice {
		return []time.Duration{first, second}
	}
	return []time.Duration{first}
}
