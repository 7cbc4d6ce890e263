package endpoint

import (
	"encoding/binary"
	"hash/maphash"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
)

// etagBytes tells the bodies of one resource apart while they are kept.
const etagBytes = 4

// hashPart adds one segment, its kind and length first, so that no two lists of
// segments look alike.
func hashPart(h *maphash.Hash, kind message.OptionID, n int) {
	var b [4]byte
	binary.BigEndian.PutUint16(b[:], uint16(kind))
	binary.BigEndian.PutUint16(b[2:], uint16(n))
	h.Write(b[:])
}

// startKey begins a key of something of one peer and method.
func (e *Endpoint) startKey(h *maphash.Hash, salt uint64, method codes.Code) {
	h.SetSeed(e.seed)
	var b [9]byte
	binary.BigEndian.PutUint64(b[:], salt)
	b[8] = byte(method)
	h.Write(b[:])
}

// bodyKeyOf is the key of a request's response body: peer, method, path and
// query. It is not the token: clients take a new one for each block.
func (e *Endpoint) bodyKeyOf(m *inbound, salt uint64) uint64 {
	var h maphash.Hash
	e.startKey(&h, salt, m.code)
	for _, o := range m.options {
		if o.ID == message.URIPath || o.ID == message.URIQuery {
			hashPart(&h, o.ID, len(o.Value))
			h.Write(o.Value)
		}
	}
	return h.Sum64()
}

// bodyKey is the same for the GET that a notification answers.
func (e *Endpoint) bodyKey(path, query []string, salt uint64) uint64 {
	var h maphash.Hash
	e.startKey(&h, salt, codes.GET)
	for _, s := range path {
		hashPart(&h, message.URIPath, len(s))
		h.WriteString(s)
	}
	for _, s := range query {
		hashPart(&h, message.URIQuery, len(s))
		h.WriteString(s)
	}
	return h.Sum64()
}

// composeLocked encodes a response into k: whole, or its first block when it is
// larger than the block size or than what may go to the peer. It returns 0
// bytes when nothing of it may. What goes in blocks is kept for the later ones.
func (e *Endpoint) composeLocked(out *outbound, r *Response, peer uint32, key uint64, asked int, k *packet, now time.Duration) (int, error) {
	if len(r.ETag) > tokenBytesMax {
		return 0, errTooManyOptions
	}
	out.code, out.format, out.observe, out.maxAge, out.size1 = r.Code, r.Format, r.Observe, r.MaxAge, r.Size1
	out.etag, out.location, out.payload = r.ETag, r.Location, r.Payload
	size := e.o.BlockSize
	if asked > 0 {
		size = min(size, asked)
	}
	room := e.roomLocked(peer)
	var tag [etagBytes]byte
	for throttled := false; ; throttled = true {
		if len(r.Payload) > size {
			if len(r.ETag) == 0 {
				binary.BigEndian.PutUint32(tag[:], uint32(maphash.Bytes(e.seed, r.Payload)))
				out.etag = tag[:]
			}
			out.payload = r.Payload[:size]
			out.block2, out.size2 = block{more: true, szx: szxOf(size)}.opt(), Some(uint32(len(r.Payload)))
		}
		n, err := e.enc.encode(out, k.buf[:])
		if err != nil {
			return 0, err
		}
		if n <= room {
			if len(r.Payload) > size {
				e.keepBodyLocked(key, peer, r, out.etag, now)
			}
			return n, nil
		}
		if !throttled {
			e.stats.Throttled.Add(1)
		}
		if size == blockSizeMin || len(r.Payload) == 0 {
			e.out.pool.Put(k)
			return 0, nil
		}
		size /= 2
	}
}

// keepBodyLocked keeps a large body as the candidate for later blocks. A newer
// body takes the place of an older one; ETag keeps the client from mixing them.
func (e *Endpoint) keepBodyLocked(key uint64, peer uint32, r *Response, etag []byte, now time.Duration) {
	if i := e.downloads.find(key); i != 0 {
		e.thawLocked(i, now)
		e.dropTransferLocked(e.downloads, i)
	}
	if !e.makeRoomLocked(e.downloads, peer, len(r.Payload), 0) {
		return // later blocks will be 4.08
	}
	i := e.downloads.add(key, peer)
	x := e.downloads.at(i)
	x.body, x.code, x.format, x.etag, x.maxAge = r.Payload, r.Code, r.Format, TokenOf(etag), r.MaxAge
	e.downloads.count(i)
	x.timer = e.scheduleLocked(now+e.o.TransferTimeout, timerDownload, i)
}

// laterBlockLocked serves a block after the first from the frozen body
// [RFC 7959 2.4].
func (e *Endpoint) laterBlockLocked(g *origin, b block, now time.Duration) {
	i := e.downloads.find(g.body)
	if i == 0 {
		e.answerLocked(g, &outbound{code: codes.RequestEntityIncomplete})
		return
	}
	x := e.downloads.at(i)
	at := b.offset()
	if at >= len(x.body) { // [RFC 7959 2.4]: past the end
		e.answerLocked(g, &outbound{code: codes.BadRequest})
		return
	}
	szx := min(b.szx, szxOf(e.o.BlockSize))
	end := min(at+blockSizeMin<<szx, len(x.body))
	last := end == len(x.body)
	out := outbound{code: x.code, etag: x.etag.b[:x.etag.n], format: x.format, maxAge: x.maxAge, payload: x.body[at:end],
		block2: block{num: uint32(at >> (szx + 4)), more: !last, szx: szx}.opt()}
	e.freezeLocked(i, now)
	e.answerLocked(g, &out)
	if last {
		e.thawLocked(i, now)
	}
}

// freezeLocked keeps a body as it is until its last block was served, or for
// TransferTimeout.
func (e *Endpoint) freezeLocked(i uint32, now time.Duration) {
	x := e.downloads.at(i)
	e.downloads.used(i)
	if x.frozen {
		return
	}
	x.frozen = true
	e.peers.at(x.peer).frozen++
	e.wheel.remove(x.timer)
	x.timer = e.scheduleLocked(now+e.o.TransferTimeout, timerDownload, i)
}

// thawLocked ends the freeze; the body stays a candidate, for a last block that
// gets lost, and what waited for the end of the transfer goes on.
func (e *Endpoint) thawLocked(i uint32, now time.Duration) {
	x := e.downloads.at(i)
	if !x.frozen {
		return
	}
	x.frozen = false
	p := e.peers.at(x.peer)
	if p.frozen--; p.frozen > 0 {
		return
	}
	for _, lane := range p.lanes {
		if lane != 0 && e.exchanges.at(lane).held {
			e.rearmLocked(lane, now)
		}
	}
	e.idleLocked(x.peer)
}

// downloadExpiredLocked ends a freeze that took too long, or forgets a
// candidate that nobody fetched.
func (e *Endpoint) downloadExpiredLocked(i uint32, now time.Duration) {
	x := e.downloads.at(i)
	x.timer = 0
	if x.frozen {
		e.stats.TransfersExpired.Add(1)
	}
	e.thawLocked(i, now)
	e.downloads.drop(i)
}
