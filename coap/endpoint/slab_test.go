package endpoint

import (
	"net/netip"
	"testing"
	"time"
)

// A crowd comes once, and its devices are idle for months: what the tables grew
// to must not stay.
func TestACrowdLeavesNoSlabBehind(t *testing.T) {
	peers := newPeerTable()
	repeats := newRepeatTable(peers, 1<<20)
	const crowd = 2 * slabKeep
	var members []uint32
	for n := range crowd {
		addr := netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
		i := peers.add(peers.key(Peer{Remote: netip.AddrPortFrom(addr, 5683)}), time.Minute)
		repeats.add(uint64(n)+1, i, true, 0, time.Minute)
		members = append(members, i)
	}
	for _, i := range members {
		repeats.dropOf(i)
		peers.drop(i)
	}
	if peers.slab.n != 1 || repeats.slab.n != 1 {
		t.Errorf("slabs of %d peers and %d repeats are left", peers.slab.n, repeats.slab.n)
	}
	i := peers.add(peers.key(Peer{Remote: netip.MustParseAddrPort("10.0.0.1:1")}), time.Minute)
	if r := repeats.add(1, i, true, 0, time.Minute); repeats.find(1, 0) != r || peers.len() != 1 {
		t.Error("the tables do not work any more")
	}
}
