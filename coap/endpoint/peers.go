package endpoint

import (
	"net/netip"
	"time"
)

// peerKey is a Peer without pointers, so that the garbage collector does not
// look into the table.
type peerKey struct {
	remote, local         [16]byte
	session               uint32
	remoteZone, localZone uint16 // index in peerTable.zones
	port                  uint16
	hasLocal              bool
}

// peer is what is kept of a far end: until EXCHANGE_LIFETIME after its last
// message, or as long as something of it is under way.
type peer struct {
	key     peerKey
	salt    uint64        // tells its datagrams from the same bytes of another
	expires time.Duration // when it is not pinned
	prev    uint32        // in order of expiry, when it is not pinned
	next    uint32
	pins    uint32 // requests in the pool and exchanges
	mid     uint16 // the next message id
	proven  bool   // it receives what is sent to its address
	running uint8  // requests waiting or running
	strays  uint8  // ACKs and RSTs with a wrong id, while unproven
	frozen  uint8  // response bodies in transfer

	bytesIn, bytesOut uint32 // while unproven

	lanes [2]uint32 // outstanding: notification, separate response

	repeatOldest, repeatNewest uint32
	repeats                    uint32
	transfers                  [2]uint32 // heads of lists, by direction
}

// zonesMax bounds the IPv6 zones that are told apart: one for each interface.
const zonesMax = 1024

// peerTable is a slab of peers; index 0 is none.
type peerTable struct {
	index          map[peerKey]uint32
	slab           slab[peer]
	free           uint32
	oldest, newest uint32
	zones          map[string]uint16
	zoneNames      []string
}

func newPeerTable() *peerTable {
	return &peerTable{index: map[peerKey]uint32{}, slab: newSlab[peer](), zones: map[string]uint16{}, zoneNames: []string{""}}
}

func (t *peerTable) at(i uint32) *peer { return t.slab.at(i) }
func (t *peerTable) len() int          { return len(t.index) }

func (t *peerTable) zone(name string) uint16 {
	if name == "" {
		return 0
	}
	z, ok := t.zones[name]
	if !ok && len(t.zoneNames) < zonesMax {
		z = uint16(len(t.zoneNames))
		t.zones[name] = z
		t.zoneNames = append(t.zoneNames, name)
	}
	return z
}

// key returns p's key. An IPv4 address is the same one in IPv6's clothes.
func (t *peerTable) key(p Peer) peerKey {
	remote := p.Remote.Addr()
	k := peerKey{remote: remote.As16(), port: p.Remote.Port(), session: p.Session}
	if z := remote.Zone(); z != "" {
		k.remoteZone = t.zone(z)
	}
	if p.Local.IsValid() {
		k.local, k.hasLocal = p.Local.As16(), true
		if z := p.Local.Zone(); z != "" {
			k.localZone = t.zone(z)
		}
	}
	return k
}

// peer returns the Peer of a key.
func (t *peerTable) peer(k *peerKey) Peer {
	address := func(b [16]byte, zone uint16) netip.Addr {
		a := netip.AddrFrom16(b).Unmap()
		if zone != 0 {
			a = a.WithZone(t.zoneNames[zone])
		}
		return a
	}
	p := Peer{Remote: netip.AddrPortFrom(address(k.remote, k.remoteZone), k.port), Session: k.session}
	if k.hasLocal {
		p.Local = address(k.local, k.localZone)
	}
	return p
}

func (t *peerTable) find(k peerKey) uint32 { return t.index[k] }

// add puts a new peer into the table, listed as the newest.
func (t *peerTable) add(k peerKey, expires time.Duration) uint32 {
	i := t.free
	if i == 0 {
		i = t.slab.grow()
	} else {
		t.free = t.slab.at(i).next
	}
	*t.slab.at(i) = peer{key: k}
	t.index[k] = i
	t.list(i, expires)
	return i
}

// drop takes an unpinned peer out.
func (t *peerTable) drop(i uint32) {
	t.unlist(i)
	delete(t.index, t.slab.at(i).key)
	*t.slab.at(i) = peer{next: t.free}
	t.free = i
	if len(t.index) == 0 && t.slab.n > slabKeep {
		t.index, t.slab, t.free = map[peerKey]uint32{}, newSlab[peer](), 0
	}
}

func (t *peerTable) list(i uint32, expires time.Duration) {
	p := t.slab.at(i)
	p.expires, p.prev, p.next = expires, t.newest, 0
	if t.newest != 0 {
		t.slab.at(t.newest).next = i
	} else {
		t.oldest = i
	}
	t.newest = i
}

func (t *peerTable) unlist(i uint32) {
	p := t.slab.at(i)
	if p.prev != 0 {
		t.slab.at(p.prev).next = p.next
	} else {
		t.oldest = p.next
	}
	if p.next != 0 {
		t.slab.at(p.next).prev = p.prev
	} else {
		t.newest = p.prev
	}
	p.prev, p.next = 0, 0
}

// touch makes an unpinned peer the newest.
func (t *peerTable) touch(i uint32, expires time.Duration) {
	if t.slab.at(i).pins == 0 {
		t.unlist(i)
		t.list(i, expires)
	}
}

// pin keeps a peer until as many calls of unpin.
func (t *peerTable) pin(i uint32) {
	if t.slab.at(i).pins == 0 {
		t.unlist(i)
	}
	t.slab.at(i).pins++
}

func (t *peerTable) unpin(i uint32, expires time.Duration) {
	if t.slab.at(i).pins--; t.slab.at(i).pins == 0 {
		t.list(i, expires)
	}
}
