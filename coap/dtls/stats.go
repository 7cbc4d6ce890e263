package dtls

import "sync/atomic"

// Stats are counters since New, and sizes now.
type Stats struct {
	Garbage    uint64 // datagrams that are no DTLS, or belong to nothing
	Asked      uint64 // hellos that were asked for a cookie
	Shed       uint64 // hellos with one, let go by because there were too many handshakes
	Pushed     uint64 // handshakes that made room for others
	Disowned   uint64 // hellos with a cookie that does not count, or no longer
	Handshakes uint64 // that ended well
	Failed     uint64 // that did not
	WrongKeys  uint64 // of these: the device does not have the key
	Overflowed uint64 // datagrams lost because a session or the endpoint was slow
	Truncated  uint64 // larger than a buffer of ours
	Moved      uint64 // address changes
	Proven     uint64 // addresses that answered after one
	Throttled  uint64 // records not sent: three times the bytes that came
	Unsent     uint64 // datagrams for sessions that are no more
	SendErrors uint64 // the socket refused it

	Sessions, Handshaking int // now
}

// counters are the atomic half of Stats.
type counters struct {
	Garbage, Asked, Shed, Pushed, Disowned, Handshakes, Failed, WrongKeys, Overflowed, Truncated, Moved, Proven, Throttled,
	Unsent, SendErrors atomic.Uint64
}

// Stats returns the counters and sizes.
func (c *Conn) Stats() Stats {
	n := &c.stats
	s := Stats{
		Garbage: n.Garbage.Load(), Asked: n.Asked.Load(), Shed: n.Shed.Load(), Pushed: n.Pushed.Load(), Disowned: n.Disowned.Load(), Handshakes: n.Handshakes.Load(),
		Failed: n.Failed.Load(), WrongKeys: n.WrongKeys.Load(), Overflowed: n.Overflowed.Load(),
		Truncated: n.Truncated.Load(), Moved: n.Moved.Load(), Proven: n.Proven.Load(), Throttled: n.Throttled.Load(),
		Unsent: n.Unsent.Load(), SendErrors: n.SendErrors.Load(),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Sessions, s.Handshaking = len(c.sessions), len(c.handshaking)
	return s
}
