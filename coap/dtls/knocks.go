package dtls

import (
	"hash/maphash"

	"behest/coap/endpoint"
)

// knocksMax is how many addresses are remembered to have knocked; a power of two.
const knocksMax = 1 << 16

// knocks remembers who sent a ClientHello. Under pressure only a second one is
// let in: a device repeats its hello after a second, a sender of forged
// addresses seldom uses one twice. A collision lets somebody in or makes him
// knock once more.
type knocks struct {
	seed maphash.Seed
	tags [knocksMax]uint32
}

// again reports whether a peer knocked before, and remembers it.
func (k *knocks) again(p endpoint.Peer) bool {
	h := maphash.Comparable(k.seed, p)
	slot, tag := &k.tags[h%knocksMax], uint32(h>>32)|1
	known := *slot == tag
	*slot = tag
	return known
}
