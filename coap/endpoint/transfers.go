package endpoint

import "github.com/plgd-dev/go-coap/v3/message/codes"

// direction of a body, as seen from here.
type direction uint8

const (
	uploading   direction = iota // of a request, Block1
	downloading                  // of a response, Block2
)

// transfer is a body that goes block by block.
type transfer struct {
	key        uint64
	peer       uint32
	peerNext   uint32
	prev, next uint32 // in order of use
	timer      uint32
	body       []byte
	counted    int // bytes of it in the table's sum

	limit int // uploading: the largest body

	// downloading
	frozen bool
	code   codes.Code
	format Opt
	etag   Token // its bytes, at most 8
	maxAge Opt
}

// transferTable holds the bodies of one direction: bounded in number, in
// number per peer, and in bytes. When a bound is met the one that was used
// longest ago goes; a frozen one never does. Index 0 is none.
type transferTable struct {
	direction       direction
	peers           *peerTable
	byKey           map[uint64]uint32
	slab            []transfer
	free            uint32
	oldest, newest  uint32
	max, perPeerMax int
	bytes, bytesMax int
}

func newTransferTable(peers *peerTable, d direction, limit, perPeer, bytes int) *transferTable {
	return &transferTable{direction: d, peers: peers, byKey: map[uint64]uint32{}, slab: make([]transfer, 1),
		max: limit, perPeerMax: perPeer, bytesMax: bytes}
}

func (t *transferTable) at(i uint32) *transfer  { return &t.slab[i] }
func (t *transferTable) len() int               { return len(t.byKey) }
func (t *transferTable) find(key uint64) uint32 { return t.byKey[key] }

// add puts a new transfer of a peer in; the caller has made room.
func (t *transferTable) add(key uint64, peer uint32) uint32 {
	i := t.free
	if i == 0 {
		i = uint32(len(t.slab))
		t.slab = append(t.slab, transfer{})
	} else {
		t.free = t.slab[i].next
	}
	head := &t.peers.at(peer).transfers[t.direction]
	t.slab[i] = transfer{key: key, peer: peer, peerNext: *head}
	*head = i
	t.byKey[key] = i
	t.append(i)
	return i
}

// count brings the table's sum up to the transfer's body.
func (t *transferTable) count(i uint32) {
	x := &t.slab[i]
	t.bytes += len(x.body) - x.counted
	x.counted = len(x.body)
}

// victim returns which transfer must go before another of peer with n more
// bytes may come in: 0 for none, and false when nothing that may go is left.
func (t *transferTable) victim(peer uint32, fresh bool, n int, spare uint32) (uint32, bool) {
	if fresh {
		count, last := 0, uint32(0)
		for i := t.peers.at(peer).transfers[t.direction]; i != 0; i = t.slab[i].peerNext {
			if count++; !t.slab[i].frozen && i != spare {
				last = i // the list is newest first
			}
		}
		if count >= t.perPeerMax {
			return last, last != 0
		}
	}
	if (!fresh || len(t.byKey) < t.max) && t.bytes+n <= t.bytesMax {
		return 0, true
	}
	for i := t.oldest; i != 0; i = t.slab[i].next {
		if !t.slab[i].frozen && i != spare {
			return i, true
		}
	}
	return 0, false
}

func (t *transferTable) append(i uint32) {
	x := &t.slab[i]
	x.prev, x.next = t.newest, 0
	if t.newest != 0 {
		t.slab[t.newest].next = i
	} else {
		t.oldest = i
	}
	t.newest = i
}

func (t *transferTable) unlink(i uint32) {
	x := &t.slab[i]
	if x.prev != 0 {
		t.slab[x.prev].next = x.next
	} else {
		t.oldest = x.next
	}
	if x.next != 0 {
		t.slab[x.next].prev = x.prev
	} else {
		t.newest = x.prev
	}
}

// used makes a transfer the newest.
func (t *transferTable) used(i uint32) {
	t.unlink(i)
	t.append(i)
}

// drop forgets a transfer; its timer is the caller's.
func (t *transferTable) drop(i uint32) {
	t.unlink(i)
	x := &t.slab[i]
	for link := &t.peers.at(x.peer).transfers[t.direction]; *link != 0; link = &t.slab[*link].peerNext {
		if *link == i {
			*link = x.peerNext
			break
		}
	}
	t.bytes -= x.counted
	delete(t.byKey, x.key)
	t.slab[i] = transfer{next: t.free}
	t.free = i
}

// makeRoomLocked drops transfers until one more of peer, or n more bytes of the
// one at spare, fits. false: it cannot.
func (e *Endpoint) makeRoomLocked(t *transferTable, peer uint32, n int, spare uint32) bool {
	for {
		i, ok := t.victim(peer, spare == 0, n, spare)
		if !ok || i == 0 {
			return ok
		}
		e.dropTransferLocked(t, i)
	}
}

func (e *Endpoint) dropTransferLocked(t *transferTable, i uint32) {
	e.wheel.remove(t.at(i).timer)
	t.drop(i)
}
