package dtls

import "encoding/binary"

// Content types and handshake types that the demultiplexer tells apart.
const (
	typeChangeCipherSpec = 20
	typeAlert            = 21
	typeHandshake        = 22
	typeApplication      = 23
	typeCID              = 25 // [RFC 9146 4]

	typeClientHello        = 1
	typeHelloVerifyRequest = 3

	recordHeaderBytes    = 13
	handshakeHeaderBytes = 12
	randomBytes          = 32

	// cidBytes makes connection ids that nobody guesses, at eight bytes a record.
	cidBytes = 8
)

// cid is a connection id of ours.
type cid [cidBytes]byte

// record is one record of a datagram. Its slices point into the datagram.
type record struct {
	typ      byte
	epoch    uint16
	sequence uint64
	cid      []byte // of a record that bears one
	body     []byte
	raw      []byte
}

// nextRecord takes the first record off b. A record of another version, or one
// that says it is longer than the datagram, is none [RFC 6347 4.1.2.7].
func nextRecord(b []byte) (r record, rest []byte, ok bool) {
	if len(b) < recordHeaderBytes || b[1] != 0xfe || b[2] != 0xfd && b[2] != 0xff {
		return record{}, nil, false
	}
	r.typ, r.epoch = b[0], binary.BigEndian.Uint16(b[3:])
	r.sequence = binary.BigEndian.Uint64(b[3:]) & (1<<48 - 1)
	header := recordHeaderBytes
	if r.typ == typeCID {
		if header += cidBytes; len(b) < header {
			return record{}, nil, false
		}
		r.cid = b[11:][:cidBytes]
	}
	end := header + int(binary.BigEndian.Uint16(b[header-2:]))
	if len(b) < end {
		return record{}, nil, false
	}
	r.body, r.raw = b[header:end], b[:end]
	return r, b[end:], true
}

// bearsFinished reports whether b holds a protected record that can be a Finished.
func bearsFinished(b []byte) bool {
	for len(b) > 0 {
		r, rest, ok := nextRecord(b)
		if !ok {
			break
		}
		if r.epoch == 1 && (r.typ == typeHandshake || r.typ == typeCID) {
			return true
		}
		b = rest
	}
	return false
}

// hello is what the demultiplexer needs of a ClientHello.
type hello struct {
	sequence uint16 // message_seq: 0 without a cookie, 1 with
	random   [randomBytes]byte
	cookie   []byte

	before, after, extensions []byte // all else of its body: version to session, suites and compressions, and the rest
}

// parseHello reads a whole ClientHello from a handshake record. It is strict
// down to the extensions' lengths, since what follows costs memory; one in fragments
// is none [RFC 6347 4.2.1 lets a server be so].
func parseHello(body []byte) (h hello, ok bool) {
	if len(body) < handshakeHeaderBytes || body[0] != typeClientHello {
		return hello{}, false
	}
	length := uint24(body[1:])
	if uint24(body[6:]) != 0 || uint24(body[9:]) != length || len(body) != handshakeHeaderBytes+length {
		return hello{}, false
	}
	h.sequence = binary.BigEndian.Uint16(body[4:])
	b := body[handshakeHeaderBytes:]
	if len(b) < 2+randomBytes || b[0] != 0xfe {
		return hello{}, false
	}
	copy(h.random[:], b[2:])
	whole := b
	b = b[2+randomBytes:]
	session, b, ok1 := vector(b, 1)
	h.before = whole[:len(whole)-len(b)]
	cookie, b, ok2 := vector(b, 1)
	behind := b
	suites, b, ok3 := vector(b, 2)
	compressions, b, ok4 := vector(b, 1)
	if !ok1 || !ok2 || !ok3 || !ok4 || len(session) > 32 || len(suites) < 2 || len(suites)%2 != 0 || len(compressions) == 0 {
		return hello{}, false
	}
	h.cookie, h.after, h.extensions = cookie, behind[:len(behind)-len(b)], b
	if len(b) == 0 { // no extensions at all
		return h, true
	}
	extensions, b, ok := vector(b, 2)
	if !ok || len(b) != 0 {
		return hello{}, false
	}
	for len(extensions) > 0 {
		if len(extensions) < 2 {
			return hello{}, false
		}
		if _, extensions, ok = vector(extensions[2:], 2); !ok {
			return hello{}, false
		}
	}
	return h, true
}

// asksForCookie reports whether a datagram of pion's is a HelloVerifyRequest.
func asksForCookie(datagram []byte) bool {
	r, _, ok := nextRecord(datagram)
	return ok && r.epoch == 0 && r.typ == typeHandshake && len(r.body) > 0 && r.body[0] == typeHelloVerifyRequest
}

// vector takes a vector with a length of n bytes off b.
func vector(b []byte, n int) (v, rest []byte, ok bool) {
	if len(b) < n {
		return nil, nil, false
	}
	length := 0
	for _, c := range b[:n] {
		length = length<<8 | int(c)
	}
	if len(b) < n+length {
		return nil, nil, false
	}
	return b[n:][:length], b[n+length:], true
}

func uint24(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }

// alertRecord is an unprotected fatal alert.
func alertRecord(sequence uint64, description byte) []byte {
	b := make([]byte, recordHeaderBytes, recordHeaderBytes+2)
	binary.BigEndian.PutUint64(b[3:], sequence) // epoch 0 in its upper bits
	b[0], b[1], b[2] = typeAlert, 0xfe, 0xfd
	binary.BigEndian.PutUint16(b[11:], 2)
	return append(b, alertFatal, description)
}
