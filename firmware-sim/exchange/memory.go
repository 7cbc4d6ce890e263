package exchange

import (
	"hash/crc32"
	"time"

	"behest/firmware-sim/message"
)

const (
	// exchangeLifetime is how long a message id means the same message
	// [RFC 7252 4.8.2].
	exchangeLifetime = 247 * time.Second
	// memorySize bounds the ids that are remembered. A server with one
	// confirmable under way at a time sends far fewer in a lifetime.
	memorySize = 64
)

// memory is a ring of the message ids that came in, and what was replied.
type memory struct {
	ring [memorySize]remembered
	next int
}

// remembered is one message. The checksum tells a repeat from another message
// under the same id: a server that restarted may use an id again.
type remembered struct {
	id       uint16
	checksum uint32
	reply    message.Type
	until    time.Time // zero: an empty place
}

// reply finds what was replied to the same datagram.
func (m *memory) reply(now time.Time, id uint16, datagram []byte) (message.Type, bool) {
	checksum := crc32.ChecksumIEEE(datagram)
	for _, r := range m.ring {
		if r.id == id && r.checksum == checksum && now.Before(r.until) {
			return r.reply, true
		}
	}
	return 0, false
}

// note remembers a reply, in place of the oldest one.
func (m *memory) note(now time.Time, id uint16, datagram []byte, reply message.Type) {
	m.ring[m.next] = remembered{
		id: id, checksum: crc32.ChecksumIEEE(datagram), reply: reply, until: now.Add(exchangeLifetime),
	}
	m.next = (m.next + 1) % memorySize
}
