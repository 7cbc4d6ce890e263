package endpoint

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
	"github.com/plgd-dev/go-coap/v3/udp/coder"
)

// outbound is a message to encode.
type outbound struct {
	typ   message.Type
	code  codes.Code
	mid   uint16
	token Token

	etag, echo                   []byte
	location                     []string
	format, observe, maxAge      Opt
	block1, block2, size1, size2 Opt
	payload                      []byte
}

const (
	// packetBytesMax takes a block of 1024 with all our options, a Location of a
	// handle included; it is the least MTU of IPv6.
	packetBytesMax = 1280
	// outOptionsMax: ten options of our own, the rest Location-Path.
	outOptionsMax = 24
	// outValuesMax holds their values, ETag, Echo and payload apart.
	outValuesMax = 256
)

var errTooManyOptions = errors.New("endpoint: response has too many or too long options")

// encoder is the scratch space of encode, so that nothing is allocated.
type encoder struct {
	options [outOptionsMax]message.Option
	values  [outValuesMax]byte
}

// encode writes m to buf and returns its length.
func (e *encoder) encode(m *outbound, buf []byte) (int, error) {
	opts, vals := e.options[:0], e.values[:0]
	add := func(id message.OptionID, o Opt) {
		v, ok := o.Get()
		if !ok {
			return
		}
		at := len(vals)
		vals = appendUint(vals, v)
		opts = append(opts, message.Option{ID: id, Value: vals[at:]})
	}
	if len(m.etag) > 0 {
		opts = append(opts, message.Option{ID: message.ETag, Value: m.etag})
	}
	add(message.Observe, m.observe)
	for _, segment := range m.location {
		at := len(vals)
		if len(opts) > outOptionsMax-8 || at+len(segment) > outValuesMax-32 {
			return 0, errTooManyOptions
		}
		vals = append(vals, segment...)
		opts = append(opts, message.Option{ID: message.LocationPath, Value: vals[at:]})
	}
	add(message.ContentFormat, m.format)
	add(message.MaxAge, m.maxAge)
	add(message.Block2, m.block2)
	add(message.Block1, m.block1)
	add(message.Size2, m.size2)
	add(message.Size1, m.size1)
	if len(m.echo) > 0 {
		opts = append(opts, message.Option{ID: echoID, Value: m.echo})
	}
	n, err := coder.DefaultCoder.Encode(message.Message{
		Type: m.typ, Code: m.code, MessageID: int32(m.mid), Token: m.token.b[:m.token.n], Options: opts, Payload: m.payload,
	}, buf)
	if err != nil {
		return 0, fmt.Errorf("endpoint: encode: %w", err)
	}
	return n, nil
}

// appendUint appends v in as few bytes as it takes [RFC 7252 3.2].
func appendUint(b []byte, v uint32) []byte {
	switch {
	case v == 0:
		return b
	case v < 1<<8:
		return append(b, byte(v))
	case v < 1<<16:
		return append(b, byte(v>>8), byte(v))
	case v < 1<<24:
		return append(b, byte(v>>16), byte(v>>8), byte(v))
	}
	return binary.BigEndian.AppendUint32(b, v)
}

// emptyBytes is the length of an empty message.
const emptyBytes = 4

// encodeEmpty writes an empty ACK or RST [RFC 7252 4.1].
func encodeEmpty(buf []byte, typ message.Type, mid uint16) int {
	buf[0] = 1<<6 | byte(typ)<<4
	buf[1] = 0
	binary.BigEndian.PutUint16(buf[2:], mid)
	return emptyBytes
}

// block is the value of a Block1 or Block2 option [RFC 7959 2.2].
type block struct {
	num  uint32
	more bool
	szx  uint8
}

// szxReserved is reserved; on UDP it is a Bad Request [RFC 7959 2.2].
const szxReserved = 7

func blockOf(v uint32) block { return block{num: v >> 4, more: v&8 != 0, szx: uint8(v & 7)} }

func (b block) size() int   { return blockSizeMin << b.szx }
func (b block) offset() int { return int(b.num) << (b.szx + 4) }

func (b block) opt() Opt {
	v := b.num<<4 | uint32(b.szx)
	if b.more {
		v |= 8
	}
	return Some(v)
}

// szxOf returns the SZX of a block size: a power of two from 16 to 1024.
func szxOf(size int) uint8 {
	var szx uint8
	for size > blockSizeMin<<szx {
		szx++
	}
	return szx
}
