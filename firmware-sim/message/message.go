package message

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Type is how a message wants to be treated by the other side's message layer.
type Type uint8

// The four types [RFC 7252 3].
const (
	Confirmable Type = iota
	NonConfirmable
	Acknowledgement
	Reset
)

// Code says what a message asks or answers: three bits of class, five of detail.
type Code uint8

// The codes that a device sends or must tell apart.
const (
	Empty Code = 0x00
	GET   Code = 0x01
	POST  Code = 0x02

	Created         Code = 0x41 // 2.01
	Deleted         Code = 0x42 // 2.02
	Changed         Code = 0x44 // 2.04
	Content         Code = 0x45 // 2.05
	Continue        Code = 0x5f // 2.31
	BadRequest      Code = 0x80 // 4.00
	Unauthorized    Code = 0x81 // 4.01
	Forbidden       Code = 0x83 // 4.03
	NotFound        Code = 0x84 // 4.04
	Incomplete      Code = 0x88 // 4.08
	Conflict        Code = 0x89 // 4.09
	TooLarge        Code = 0x8d // 4.13
	BadFormat       Code = 0x8f // 4.15
	TooManyRequests Code = 0x9d // 4.29
	Unavailable     Code = 0xa3 // 5.03
)

// Class is the digit before the dot.
func (c Code) Class() int { return int(c >> 5) }

// IsResponse says whether c answers a request [RFC 7252 12.1].
func (c Code) IsResponse() bool { return c.Class() >= 2 && c.Class() <= 5 }

// String is the code as documents write it: 2.04.
func (c Code) String() string { return fmt.Sprintf("%d.%02d", c>>5, c&31) }

const (
	version       = 1
	headerBytes   = 4
	tokenBytesMax = 8    // [RFC 7252 3]
	marker        = 0xff // stands between options and payload
)

// Message is one CoAP message.
type Message struct {
	Type    Type
	Code    Code
	ID      uint16
	Token   []byte
	Options Options
	Payload []byte
}

// ErrNotCoAP means that the datagram is to be ignored in silence: too short to
// be a message, or of another version of CoAP.
var ErrNotCoAP = errors.New("not a CoAP message of version 1")

// ErrFormat means that a message broke the rules of its format.
var ErrFormat = errors.New("message format error")

// Header reads the type and message id of a datagram whose rest may be broken.
// It reports false for what is not CoAP.
func Header(datagram []byte) (Type, uint16, bool) {
	if len(datagram) < headerBytes || datagram[0]>>6 != version {
		return 0, 0, false
	}
	return Type(datagram[0] >> 4 & 3), binary.BigEndian.Uint16(datagram[2:]), true
}

// Parse reads a datagram. The message aliases it.
func Parse(datagram []byte) (Message, error) {
	kind, id, ok := Header(datagram)
	if !ok {
		return Message{}, ErrNotCoAP
	}
	m := Message{Type: kind, Code: Code(datagram[1]), ID: id}
	tokenBytes := int(datagram[0] & 15)
	rest := datagram[headerBytes:]
	if tokenBytes > tokenBytesMax || len(rest) < tokenBytes {
		return Message{}, fmt.Errorf("%w: token of %d bytes", ErrFormat, tokenBytes)
	}
	if m.Code == Empty && len(datagram) > headerBytes { // [RFC 7252 4.1]
		return Message{}, fmt.Errorf("%w: empty message with content", ErrFormat)
	}
	if tokenBytes > 0 {
		m.Token = rest[:tokenBytes]
	}
	options, payload, err := parseOptions(rest[tokenBytes:])
	if err != nil {
		return Message{}, err
	}
	m.Options, m.Payload = options, payload
	return m, nil
}

// Append adds the message's bytes to dst. It panics on a token that no message
// can carry, since only a mistake of ours can make one.
func (m Message) Append(dst []byte) []byte {
	if len(m.Token) > tokenBytesMax {
		panic(fmt.Sprintf("message: token of %d bytes", len(m.Token)))
	}
	dst = append(dst, version<<6|byte(m.Type)<<4|byte(len(m.Token)), byte(m.Code))
	dst = binary.BigEndian.AppendUint16(dst, m.ID)
	dst = append(dst, m.Token...)
	dst = m.Options.append(dst)
	if len(m.Payload) > 0 {
		dst = append(append(dst, marker), m.Payload...)
	}
	return dst
}

// Clone is a copy that does not alias the datagram which m was read from.
func (m Message) Clone() Message {
	m.Token = slices.Clone(m.Token)
	m.Payload = slices.Clone(m.Payload)
	m.Options = slices.Clone(m.Options)
	for i := range m.Options {
		m.Options[i].Value = slices.Clone(m.Options[i].Value)
	}
	return m
}
