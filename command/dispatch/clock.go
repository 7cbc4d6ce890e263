package dispatch

import (
	"sync"
	"sync/atomic"
	"time"

	"behest/command"
)

// ClockOptions of a Clock. The zero value makes one that is trusted.
type ClockOptions struct {
	// Mark is the latest time that an earlier run is known to have reached; zero:
	// none is.
	Mark time.Time
	// Trust goes on whatever the mark says: the operator has looked.
	Trust bool
	// Synchronised asks the system whether its clock is; nil: it does not say.
	Synchronised func() (bool, error)
	// Wall reads the system's clock; nil: time.Now.
	Wall func() time.Time
}

// Clock is the server's time: everything that it stores and compares goes by
// it. It is set by the wall once, and runs on the monotonic clock from then
// on, so that who sets the wall moves no deadline. It never begins before the
// mark, so that no deadline comes twice and devices' numbers go on.
//
// When the wall contradicts the mark, the clock is held: it runs on from the
// mark, but nobody knows how much time has passed since the last run. Nothing
// may lapse and nothing may leave by it, until it is trusted. What was trusted
// stays so.
//
// Held it is behind the truth, or right: it goes forward when it is trusted,
// and never back. So nothing that was accepted by it can last for longer than
// it was to.
type Clock struct {
	mark time.Time
	sync func() (bool, error)
	wall func() time.Time

	doubt   Doubt
	anchor  atomic.Pointer[anchor]
	trusted chan struct{} // closed when it is
	once    sync.Once
}

// anchor is where the clock is set: at that reading of the monotonic clock it
// is that time.
type anchor struct{ reading, time time.Time }

// Doubt is what speaks against the wall at the start.
type Doubt string

const (
	NoDoubt    Doubt = ""
	WallBehind Doubt = "the wall is behind the mark"
	WallAhead  Doubt = "the wall is more than a day past the mark"
)

const (
	// markSlack is how far the wall may be behind the mark: a leap second, and
	// what a time daemon takes back while it settles. What starts a second twice
	// costs a device one second.
	markSlack = 2 * time.Second
	// absenceMax is how long a server may have been away without anybody being
	// asked: past it, most of what is open has lapsed if the wall is right.
	absenceMax = 24 * time.Hour
)

// NewClock makes a clock, and sets it.
func NewClock(o ClockOptions) *Clock {
	c := &Clock{mark: o.Mark, sync: o.Synchronised, wall: o.Wall, trusted: make(chan struct{})}
	if c.sync == nil {
		c.sync = func() (bool, error) { return false, nil }
	}
	if c.wall == nil {
		c.wall = time.Now
	}
	wall := c.wall().Round(0)
	switch {
	case c.mark.IsZero():
	case wall.Before(c.mark.Add(-markSlack)):
		c.doubt = WallBehind
	case wall.After(c.mark.Add(absenceMax)):
		c.doubt = WallAhead
	}
	begins := c.mark
	if c.doubt == NoDoubt || o.Trust {
		begins = later(wall, c.mark)
		c.release()
	}
	c.anchor.Store(&anchor{time.Now(), begins.UTC()})
	return c
}

// Now is the server's time, as the store keeps it: to the millisecond, so that
// what is read back equals what was written.
func (c *Clock) Now() time.Time {
	return c.anchor.Load().at(time.Now())
}

// at is the time at a reading of the monotonic clock.
func (a *anchor) at(reading time.Time) time.Time {
	return a.time.Add(reading.Sub(a.reading)).Truncate(time.Millisecond)
}

// Latest is the latest time that it can be: while the clock is held, what the
// wall says counts too, so that nothing is good for longer than it was to be.
func (c *Clock) Latest() time.Time {
	if !c.Held() {
		return c.Now()
	}
	return later(c.Now(), c.wall().Round(0).UTC())
}

// Ahead is how far the server's time is ahead of the wall: what the wall was
// set back by since the start, less what it was set forward by, and what the
// mark was ahead of it then.
func (c *Clock) Ahead() time.Duration { return c.Now().Sub(c.wall().Round(0)) }

// Held reports whether nothing may lapse or leave by this clock.
func (c *Clock) Held() bool {
	select {
	case <-c.trusted:
		return false
	default:
		return true
	}
}

// jump is the way of a held clock to the present: what was accepted up to a
// time of the old count is by so much later in the new one.
type jump struct {
	from, to time.Time // held, by the old count
	by       time.Duration
}

// jump sets a held clock: the wall may have been put right meanwhile, either
// way. It does not go behind what it is, so that no number, no deadline and no
// event comes twice. It stays held.
func (c *Clock) jump(to *anchor) jump {
	was := c.anchor.Swap(to)
	held := was.at(to.reading)
	return jump{c.mark, held, to.time.Sub(held)}
}

// present is where a held clock is to be set when it is trusted.
func (c *Clock) present() *anchor {
	now := time.Now()
	return &anchor{now, later(c.wall().Round(0).UTC().Truncate(time.Millisecond), c.anchor.Load().at(now))}
}

// release ends the hold.
func (c *Clock) release() { c.once.Do(func() { close(c.trusted) }) }

// ahead is Ahead where it matters: a wall that a time daemon pushes about by
// less than a step is the server's time.
func (c *Clock) ahead() time.Duration {
	if by := c.Ahead(); by.Abs() >= stepMin {
		return by
	}
	return 0
}

// opens is when a queued execution may leave, in the server's time; zero: now.
// Its not_before and its window are times of the wall, which people go by: if
// the two differ, it leaves when the later of them allows it.
func (d *Dispatcher) opens(x command.Execution, now time.Time) time.Time {
	ahead := d.clock.ahead()
	wall := now.Add(-ahead)
	at := later(wall, x.Command.NotBefore)
	if opens := d.windows.opens(x.Command.Window(), at); !opens.IsZero() {
		at = opens
	}
	if !at.After(wall) {
		return time.Time{}
	}
	return at.Add(ahead)
}
