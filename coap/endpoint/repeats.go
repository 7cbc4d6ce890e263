package endpoint

import "time"

// repeatState says how far a remembered request has come.
type repeatState uint8

const (
	repeatRunning  repeatState = iota // no answer yet
	repeatAcked                       // the empty ACK is out; the answer is or will be separate
	repeatAnswered                    // answered; its bytes may still be kept
)

// repeat is the memory of one request [RFC 7252 4.5]: enough to know a repeat of
// the datagram, and where its answer is.
type repeat struct {
	hash               uint64 // of peer and datagram, keyed at random
	expires            time.Duration
	answer             answerRef
	peer               uint32
	prev, next         uint32 // in order of arrival, CON and NON apart: each has one lifetime
	peerPrev, peerNext uint32 // in order of arrival, of this peer
	con                bool
	state              repeatState
}

// repeatTable is a bounded slab without pointers; index 0 is none. When it is
// full it forgets the oldest.
type repeatTable struct {
	index   map[uint64]uint32
	slab    slab[repeat]
	free    uint32
	max     int
	oldest  [2]uint32 // NON, CON
	newest  [2]uint32
	peers   *peerTable
	perPeer uint32
}

// repeatsPerPeerMax is the size of the message id space: more different live
// requests of one peer are no repeats of anything.
const repeatsPerPeerMax = 1 << 16

func newRepeatTable(peers *peerTable, limit int) *repeatTable {
	return &repeatTable{index: map[uint64]uint32{}, slab: newSlab[repeat](), max: limit, peers: peers,
		// One peer may fill a sixteenth, so that its flood does not wash out the others.
		perPeer: uint32(min(repeatsPerPeerMax, max(limit/16, 1)))}
}

func (t *repeatTable) len() int { return len(t.index) }

func kindOf(con bool) int {
	if con {
		return 1
	}
	return 0
}

// find returns the live request with this hash.
func (t *repeatTable) find(hash uint64, now time.Duration) uint32 {
	i := t.index[hash]
	if i != 0 && t.slab.at(i).expires <= now {
		t.drop(i)
		return 0
	}
	return i
}

// add remembers a request of a peer.
func (t *repeatTable) add(hash uint64, peer uint32, con bool, now, lifetime time.Duration) uint32 {
	t.expire(now)
	p := t.peers.at(peer)
	if p.repeats >= t.perPeer {
		t.drop(p.repeatOldest)
	}
	if len(t.index) >= t.max {
		t.dropOldest()
	}
	i := t.free
	if i == 0 {
		i = t.slab.grow()
	} else {
		t.free = t.slab.at(i).next
	}
	kind := kindOf(con)
	*t.slab.at(i) = repeat{hash: hash, expires: now + lifetime, peer: peer, con: con, prev: t.newest[kind], peerPrev: p.repeatNewest}
	if r := t.slab.at(i); r.prev != 0 {
		t.slab.at(r.prev).next = i
	} else {
		t.oldest[kind] = i
	}
	t.newest[kind] = i
	if p.repeatNewest != 0 {
		t.slab.at(p.repeatNewest).peerNext = i
	} else {
		p.repeatOldest = i
	}
	p.repeatNewest = i
	p.repeats++
	t.index[hash] = i
	return i
}

// expire forgets what is past its lifetime.
func (t *repeatTable) expire(now time.Duration) {
	for kind := range t.oldest {
		for i := t.oldest[kind]; i != 0 && t.slab.at(i).expires <= now; i = t.oldest[kind] {
			t.drop(i)
		}
	}
}

func (t *repeatTable) dropOldest() {
	non, con := t.oldest[0], t.oldest[1]
	if non == 0 || con != 0 && t.slab.at(con).expires < t.slab.at(non).expires {
		non = con
	}
	t.drop(non)
}

// dropOf forgets all of a peer.
func (t *repeatTable) dropOf(peer uint32) {
	for p := t.peers.at(peer); p.repeatOldest != 0; {
		t.drop(p.repeatOldest)
	}
}

func (t *repeatTable) drop(i uint32) {
	r := *t.slab.at(i)
	kind := kindOf(r.con)
	if r.prev != 0 {
		t.slab.at(r.prev).next = r.next
	} else {
		t.oldest[kind] = r.next
	}
	if r.next != 0 {
		t.slab.at(r.next).prev = r.prev
	} else {
		t.newest[kind] = r.prev
	}
	p := t.peers.at(r.peer)
	if r.peerPrev != 0 {
		t.slab.at(r.peerPrev).peerNext = r.peerNext
	} else {
		p.repeatOldest = r.peerNext
	}
	if r.peerNext != 0 {
		t.slab.at(r.peerNext).peerPrev = r.peerPrev
	} else {
		p.repeatNewest = r.peerPrev
	}
	p.repeats--
	delete(t.index, r.hash)
	*t.slab.at(i) = repeat{next: t.free}
	t.free = i
	if len(t.index) == 0 && t.slab.n > slabKeep {
		t.index, t.slab, t.free = map[uint64]uint32{}, newSlab[repeat](), 0
	}
}
