package endpoint

import (
	"encoding/binary"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
	"github.com/plgd-dev/go-coap/v3/udp/coder"
)

// optionsMax bounds the options of a message. A path of 64 segments is none of
// ours; a message with more options is refused as one that we cannot process
// [RFC 7252 4.2].
const optionsMax = 64

// verdict is what a datagram is before anybody looks at what it says.
type verdict uint8

const (
	wellFormed  verdict = iota
	formatError         // it has a CoAP header, and the rest is wrong
	notCoAP             // no header, or another version: silence [RFC 7252 3]
)

// inbound is a decoded message. Its slices point into the datagram.
type inbound struct {
	typ   message.Type
	code  codes.Code
	mid   uint16
	token Token

	// badOption is the first critical option that is not recognised, 0 if none is
	// [RFC 7252 5.4.1].
	badOption uint16
	// proxied: it asks for a proxy [RFC 7252 5.7.2].
	proxied bool

	format, accept, observe Opt
	block1, block2, size1   Opt
	ifMatch, ifNoneMatch    bool
	echo                    []byte
	options                 message.Options
	payload                 []byte

	store [optionsMax]message.Option
}

// decode reads a datagram. The header's fields are set for all but notCoAP, so
// that a format error in a CON can be answered.
func (m *inbound) decode(data []byte) verdict {
	v := m.decodeHeader(data)
	if v != wellFormed {
		return v
	}
	if m.code == codes.Empty {
		m.clear()
		return wellFormed
	}
	if !m.checkOptions(data[4+int(data[0]&0x0f):]) {
		return formatError
	}
	// The codec reads what the checks let through; it drops options of a wrong
	// size, which is what a recognised elective one deserves.
	msg := message.Message{Options: m.store[:0]}
	if _, err := coder.DefaultCoder.Decode(data, &msg); err != nil {
		return formatError
	}
	m.options, m.payload = msg.Options, msg.Payload
	m.readOptions()
	return wellFormed
}

// decodeHeader reads the fixed header and the token [RFC 7252 3].
func (m *inbound) decodeHeader(data []byte) verdict {
	if len(data) < 4 || data[0]>>6 != 1 {
		return notCoAP
	}
	m.typ = message.Type(data[0] >> 4 & 3)
	m.code = codes.Code(data[1])
	m.mid = binary.BigEndian.Uint16(data[2:])
	m.token = Token{}
	tokenBytes := int(data[0] & 0x0f)
	if tokenBytes > tokenBytesMax || len(data) < 4+tokenBytes {
		return formatError // [RFC 7252 3], [RFC 8974 2.1]
	}
	m.token.n = uint8(copy(m.token.b[:], data[4:4+tokenBytes]))
	switch class := m.code >> 5; {
	case m.code == codes.Empty && len(data) != 4: // [RFC 7252 4.1]
		return formatError
	case class != 0 && class != 2 && class != 4 && class != 5: // [RFC 7252 4.2], [RFC 7252 12.1]
		return formatError
	}
	return wellFormed
}

func (m *inbound) clear() {
	m.badOption, m.proxied, m.ifMatch, m.ifNoneMatch = 0, false, false, false
	m.format, m.accept, m.observe, m.block1, m.block2, m.size1 = 0, 0, 0, 0, 0, 0
	m.echo, m.options, m.payload = nil, nil, nil
}

// checkOptions walks over options and payload, and notes a critical option that
// we do not recognise. It returns false for a format error.
func (m *inbound) checkOptions(b []byte) bool {
	m.clear()
	number, seen := 0, 0
	for len(b) > 0 {
		if b[0] == 0xff {
			return len(b) > 1 // [RFC 7252 3]: a marker needs a payload
		}
		delta, length := int(b[0]>>4), int(b[0]&0x0f)
		b = b[1:]
		var ok bool
		if delta, b, ok = extended(delta, b); !ok {
			return false
		}
		if length, b, ok = extended(length, b); !ok || len(b) < length {
			return false
		}
		number += delta
		if seen++; number > 0xffff || seen > optionsMax {
			return false
		}
		m.judge(number, length, delta == 0 && seen > 1)
		b = b[length:]
	}
	return true
}

// extended completes a delta or length nibble [RFC 7252 3.1].
func extended(n int, b []byte) (int, []byte, bool) {
	switch {
	case n < 13:
		return n, b, true
	case n == 13 && len(b) >= 1:
		return int(b[0]) + 13, b[1:], true
	case n == 14 && len(b) >= 2:
		return int(binary.BigEndian.Uint16(b)) + 269, b[2:], true
	}
	return 0, nil, false
}

// judge notes what an option means for the whole message.
func (m *inbound) judge(number, length int, repeated bool) {
	lo, hi, repeatable, known := optionRule(message.OptionID(number))
	if known && (length < lo || length > hi || repeated && !repeatable) {
		known = false // [RFC 7252 5.4.3], [RFC 7252 5.4.5]
	}
	switch {
	case !known && number&1 == 1:
		if m.badOption == 0 {
			m.badOption = uint16(number)
		}
	case known && (message.OptionID(number) == message.ProxyURI || message.OptionID(number) == message.ProxyScheme):
		m.proxied = true
	}
}

// optionRule is the table of the options that we recognise: their sizes, and
// whether they may be repeated [RFC 7252 5.10, RFC 7641 2, RFC 7959 2.1 and 4,
// RFC 9175 2.2].
func optionRule(id message.OptionID) (lo, hi int, repeatable, known bool) {
	switch id {
	case message.IfMatch:
		return 0, 8, true, true
	case message.URIHost:
		return 1, 255, false, true
	case message.ETag:
		return 1, 8, true, true
	case message.IfNoneMatch:
		return 0, 0, false, true
	case message.Observe, message.Block1, message.Block2:
		return 0, 3, false, true
	case message.URIPort, message.ContentFormat, message.Accept:
		return 0, 2, false, true
	case message.URIPath, message.URIQuery, message.LocationPath, message.LocationQuery:
		return 0, 255, true, true
	case message.MaxAge, message.Size1, message.Size2:
		return 0, 4, false, true
	case message.ProxyURI:
		return 1, 1034, false, true
	case message.ProxyScheme:
		return 1, 255, false, true
	case echoID:
		return 1, echoBytesMax, false, true
	}
	return 0, 0, false, false
}

// readOptions picks out the options that we act on; the first of a repeated one
// counts [RFC 7252 5.4.5].
func (m *inbound) readOptions() {
	var last message.OptionID
	for _, o := range m.options {
		first := o.ID != last
		last = o.ID
		switch {
		case o.ID == message.IfMatch:
			m.ifMatch = true
		case o.ID == message.IfNoneMatch:
			m.ifNoneMatch = true
		case !first:
		case o.ID == message.Observe:
			m.observe = Some(uintOf(o.Value))
		case o.ID == message.ContentFormat:
			m.format = Some(uintOf(o.Value))
		case o.ID == message.Accept:
			m.accept = Some(uintOf(o.Value))
		case o.ID == message.Block1:
			m.block1 = Some(uintOf(o.Value))
		case o.ID == message.Block2:
			m.block2 = Some(uintOf(o.Value))
		case o.ID == message.Size1:
			m.size1 = Some(uintOf(o.Value))
		case o.ID == echoID:
			m.echo = o.Value
		}
	}
}

// uintOf reads an option's unsigned value, at most 4 bytes [RFC 7252 3.2].
func uintOf(b []byte) uint32 {
	var v uint32
	for _, c := range b {
		v = v<<8 | uint32(c)
	}
	return v
}

// isRequest tells a method from a response code.
func isRequest(c codes.Code) bool { return c != codes.Empty && c>>5 == 0 }
