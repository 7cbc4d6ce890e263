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
// When the wall contradicts the mark, the clock is held: it runs, but nobody
// knows how much time has passed since the last run. Nothing may lapse and
// nothing may leave by it, until it is trusted. What was trusted stays so.
type Clock struct {
	mark time.Time
	sync func() (bool, error)
	wall func() time.Time

	begun   time.Time // with the monotonic clock's reading
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
	c := &Clock{mark: o.Mark, sync: o.Synchronised, wall: o.Wall, begun: time.Now(), trusted: make(chan struct{})}
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
	c.set(later(wall, c.mark))
	if c.doubt == NoDoubt || o.Trust {
		c.trust()
	}
	return c
}

func (c *Clock) set(t time.Time) {
	c.anchor.Store(&anchor{reading: time.Now(), time: t.Round(0).UTC()})
}

// Now is the server's time, as the store keeps it: to the millisecond, so that
// what is read back equals what was written.
func (c *Clock) Now() time.Time {
	a := c.anchor.Load()
	return a.time.Add(time.Since(a.reading)).Truncate(time.Millisecond)
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

// trust ends the doubt. Nothing has gone by the clock while it was held, so it
// is set once more: the wall may have been put right meanwhile, either way. The
// mark, and what has passed since the start, it does not go behind.
func (c *Clock) trust() {
	c.once.Do(func() {
		if c.doubt != NoDoubt {
			c.set(later(c.wall(), c.mark.Add(time.Since(c.begun))))
		}
		close(c.trusted)
	})
}

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
