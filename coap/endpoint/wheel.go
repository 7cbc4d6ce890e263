package endpoint

import (
	"math/bits"
	"time"
)

// tick is the wheel's resolution: far below the jitter of a retransmission, and
// at most a thousand wake-ups a second.
const tick = time.Millisecond

const (
	wheelBits   = 6
	wheelSlots  = 1 << wheelBits
	wheelLevels = 7 // 64^7 ms: 139 years, longer than any clock here
	levelDue    = wheelLevels
)

// timerKind says whose clock a timer is.
type timerKind uint8

const (
	timerExchange timerKind = iota
	timerAnswer             // a request's ProcessingDelay
	timerUpload
	timerDownload
	timerSweep
)

// firing is a timer that went off.
type firing struct {
	kind timerKind
	ref  uint32
}

// wheel is a hierarchical timing wheel over a slab: level l has 64 slots of 64^l
// ticks. A timer lies on the level of the highest bit in which its time differs
// from now, hence always in a slot ahead of the present one, and the first
// occupied slot of the lowest occupied level is the next to come. It costs 32
// bytes a timer, and nothing that it does depends on how many there are.
type wheel struct {
	nodes []wheelNode // index 0 is none
	free  uint32
	now   uint64 // ticks
	slots [wheelLevels + 1][wheelSlots]uint32
	full  [wheelLevels + 1]uint64 // one bit a slot that has timers
}

type wheelNode struct {
	at         uint64
	prev, next uint32
	ref        uint32
	kind       timerKind
	level      uint8
	slot       uint8
}

func newWheel() *wheel { return &wheel{nodes: make([]wheelNode, 1)} }

// add sets a timer at a time since the epoch of the wheel, never early. It
// returns its index, which is good until it fires or is removed.
func (w *wheel) add(at time.Duration, kind timerKind, ref uint32) uint32 {
	id := w.free
	if id == 0 {
		id = uint32(len(w.nodes))
		w.nodes = append(w.nodes, wheelNode{})
	} else {
		w.free = w.nodes[id].next
	}
	n := &w.nodes[id]
	*n = wheelNode{at: ticksUp(at), kind: kind, ref: ref}
	w.place(id)
	return id
}

// ticksUp rounds up, so that no timer is early, and saturates.
func ticksUp(at time.Duration) uint64 {
	const last = 1<<(wheelBits*wheelLevels) - 1
	return min((uint64(max(at, 0))+uint64(tick)-1)/uint64(tick), last)
}

func (w *wheel) place(id uint32) {
	n := &w.nodes[id]
	n.level, n.slot = levelDue, 0
	if n.at > w.now {
		level := (63 - bits.LeadingZeros64(n.at^w.now)) / wheelBits
		level = min(level, wheelLevels-1)
		n.level, n.slot = uint8(level), uint8(n.at>>(level*wheelBits)&(wheelSlots-1))
	}
	head := &w.slots[n.level][n.slot]
	n.prev, n.next = 0, *head
	if n.next != 0 {
		w.nodes[n.next].prev = id
	}
	*head = id
	w.full[n.level] |= 1 << n.slot
}

func (w *wheel) unlink(id uint32) {
	n := &w.nodes[id]
	if n.next != 0 {
		w.nodes[n.next].prev = n.prev
	}
	if n.prev != 0 {
		w.nodes[n.prev].next = n.next
		return
	}
	if w.slots[n.level][n.slot] = n.next; n.next == 0 {
		w.full[n.level] &^= 1 << n.slot
	}
}

// remove takes a timer off; 0 is none.
func (w *wheel) remove(id uint32) {
	if id == 0 {
		return
	}
	w.unlink(id)
	w.recycle(id)
}

func (w *wheel) recycle(id uint32) {
	w.nodes[id] = wheelNode{next: w.free}
	w.free = id
}

// first returns the occupied slot that comes first, and when it begins.
func (w *wheel) first() (level, slot int, at uint64, ok bool) {
	if w.full[levelDue] != 0 {
		return levelDue, 0, w.now, true
	}
	for level := range wheelLevels {
		if w.full[level] == 0 {
			continue
		}
		slot := bits.TrailingZeros64(w.full[level])
		span := uint64(1) << ((level + 1) * wheelBits)
		return level, slot, w.now&^(span-1) + uint64(slot)<<(level*wheelBits), true
	}
	return 0, 0, 0, false
}

// next returns when advance has something to do, which is never after the
// first timer.
func (w *wheel) next() (time.Duration, bool) {
	_, _, at, ok := w.first()
	return time.Duration(at) * tick, ok
}

// advance moves the wheel to now and appends what fired.
func (w *wheel) advance(now time.Duration, fired []firing) []firing {
	target := uint64(max(now, 0) / tick)
	for {
		level, slot, at, ok := w.first()
		if !ok || at > target && level != levelDue {
			break
		}
		w.now = max(w.now, at)
		for id := w.slots[level][slot]; id != 0; id = w.slots[level][slot] {
			w.unlink(id)
			n := &w.nodes[id]
			if n.at > w.now {
				w.place(id) // on a lower level
				continue
			}
			fired = append(fired, firing{n.kind, n.ref})
			w.recycle(id)
		}
	}
	w.now = max(w.now, target)
	return fired
}
