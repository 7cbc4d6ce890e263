package endpoint

import (
	"hash/maphash"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
)

// uploadKey is what the blocks of one request body have in common: peer, method
// and all options but the blocks' own and those that are no part of a cache key
// [RFC 7959 2.5, RFC 7252 5.4.6]; a Request-Tag is part of it [RFC 9175 3.3].
func (e *Endpoint) uploadKey(m *inbound, salt uint64) uint64 {
	var h maphash.Hash
	e.startKey(&h, salt, m.code)
	for _, o := range m.options {
		noCacheKey := o.ID&0x1e == 0x1c
		if noCacheKey || o.ID == message.Block1 || o.ID == message.Block2 {
			continue
		}
		hashPart(&h, o.ID, len(o.Value))
		h.Write(o.Value)
	}
	return h.Sum64()
}

// uploadLocked takes one block of a request body. It returns the body and true
// when this was its last block; else it has answered.
func (e *Endpoint) uploadLocked(g *origin, b block, now time.Duration) ([]byte, bool) {
	m := &e.in
	if b.more && len(m.payload) != b.size() || len(m.payload) > b.size() { // [RFC 7959 2.2]
		e.answerLocked(g, &outbound{code: codes.BadRequest})
		return nil, false
	}
	g.block1 = b.opt()
	if b.num == 0 && !b.more {
		return append([]byte(nil), m.payload...), true
	}
	i := e.uploads.find(e.uploadKey(m, e.peers.at(g.peer).salt))
	if b.num == 0 {
		if i = e.startUploadLocked(g, i, now); i == 0 {
			return nil, false
		}
	}
	if i == 0 || !e.uploads.at(i).joins(b, m.payload) { // [RFC 7959 2.9.2]
		if i != 0 {
			e.dropTransferLocked(e.uploads, i)
		}
		e.answerLocked(g, &outbound{code: codes.RequestEntityIncomplete})
		return nil, false
	}
	return e.growUploadLocked(g, i, b, now)
}

// joins tells whether a block follows the ones that are there, or repeats one
// of them byte for byte: a client whose 2.31 got lost may send it in a new message.
func (x *transfer) joins(b block, payload []byte) bool {
	at := b.offset()
	if at == len(x.body) {
		return true
	}
	return b.more && at+len(payload) <= len(x.body) && string(x.body[at:at+len(payload)]) == string(payload)
}

// startUploadLocked begins a body anew with its first block, or refuses it and
// returns 0.
func (e *Endpoint) startUploadLocked(g *origin, old uint32, now time.Duration) uint32 {
	m := &e.in
	if old != 0 {
		e.dropTransferLocked(e.uploads, old)
	}
	limit := e.bodyLimit(&e.newJobLocked(g, nil).req)
	if size, said := m.size1.Get(); said && int64(size) > int64(limit) || len(m.payload) > limit { // [RFC 7959 2.9.3]
		e.tooLargeLocked(g, limit)
		return 0
	}
	if e.closing || !e.makeRoomLocked(e.uploads, g.peer, len(m.payload), 0) {
		e.overloadLocked(g, now)
		return 0
	}
	i := e.uploads.add(e.uploadKey(m, e.peers.at(g.peer).salt), g.peer)
	e.uploads.at(i).limit = limit
	return i
}

func (e *Endpoint) tooLargeLocked(g *origin, limit int) {
	e.answerLocked(g, &outbound{code: codes.RequestEntityTooLarge, block1: g.block1, size1: Some(uint32(limit))})
}

// growUploadLocked adds a block that joins.
func (e *Endpoint) growUploadLocked(g *origin, i uint32, b block, now time.Duration) ([]byte, bool) {
	payload := e.in.payload
	x := e.uploads.at(i)
	if at := b.offset(); at == len(x.body) {
		if at+len(payload) > x.limit {
			limit := x.limit
			e.dropTransferLocked(e.uploads, i)
			e.tooLargeLocked(g, limit)
			return nil, false
		}
		if !e.makeRoomLocked(e.uploads, g.peer, len(payload), i) {
			e.dropTransferLocked(e.uploads, i)
			e.overloadLocked(g, now)
			return nil, false
		}
		x.body = append(x.body, payload...)
		e.uploads.count(i)
	}
	if !b.more {
		body := x.body
		e.dropTransferLocked(e.uploads, i)
		return body, true
	}
	e.uploads.used(i)
	e.wheel.remove(x.timer)
	x.timer = e.scheduleLocked(now+e.o.TransferTimeout, timerUpload, i)
	// A smaller size in the answer asks for smaller blocks from here on
	// [RFC 7959 2.3].
	ack := block{num: b.num, more: true, szx: min(b.szx, szxOf(e.o.BlockSize))}
	e.answerLocked(g, &outbound{code: codes.Continue, block1: ack.opt()})
	return nil, false
}

func (e *Endpoint) uploadExpiredLocked(i uint32) {
	e.stats.TransfersExpired.Add(1)
	e.uploads.at(i).timer = 0
	e.uploads.drop(i)
}
