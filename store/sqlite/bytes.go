package sqlite

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// errPacked is what every decoder answers for bytes that no encoder wrote.
var errPacked = errors.New("packed column: not what was written")

// packer writes a packed column: a flags number that says which fields
// follow, then those fields. A field that has its zero value is left out.
type packer struct {
	flags uint64
	body  []byte
}

func (p *packer) flag(bit int, set bool) bool {
	if set {
		p.flags |= 1 << bit
	}
	return set
}

func (p *packer) uint(bit int, v uint64) {
	if p.flag(bit, v != 0) {
		p.body = binary.AppendUvarint(p.body, v)
	}
}

func (p *packer) int(bit int, v int64) {
	if p.flag(bit, v != 0) {
		p.body = binary.AppendVarint(p.body, v)
	}
}

func (p *packer) bytes(bit int, v []byte) {
	if p.flag(bit, v != nil) {
		p.body = appendBytes(p.body, v)
	}
}

func (p *packer) text(bit int, v string) {
	if p.flag(bit, v != "") {
		p.body = appendBytes(p.body, v)
	}
}

// appendTo ends the column.
func (p *packer) appendTo(b []byte) []byte {
	return append(binary.AppendUvarint(b, p.flags), p.body...)
}

func appendBytes[T ~string | ~[]byte](b []byte, v T) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

// unpacker reads what packer wrote, in the same order. The first fault
// sticks: take all fields, then ask once, with end.
type unpacker struct {
	flags uint64
	b     []byte
	bad   bool
}

// unpack begins with a column whose flags are all below end.
func unpack(b []byte, end int) unpacker {
	u := unpacker{b: b}
	u.flags = u.nextUint()
	u.bad = u.bad || u.flags>>end != 0
	return u
}

func (u *unpacker) has(bit int) bool { return u.flags>>bit&1 == 1 }

func (u *unpacker) uint(bit int) uint64 {
	if !u.has(bit) {
		return 0
	}
	return u.nextUint()
}

func (u *unpacker) int(bit int) int64 {
	if !u.has(bit) {
		return 0
	}
	return u.nextInt()
}

// enum is for the small enumerations; a number that no byte holds is none.
func (u *unpacker) enum(bit int) uint8 {
	v := u.uint(bit)
	if v > math.MaxUint8 {
		u.bad = true
	}
	return uint8(v)
}

// duration is a field in milliseconds, as far as a time.Duration goes.
func (u *unpacker) duration(bit int) time.Duration {
	ms := u.int(bit)
	if d := duration(ms); d.Milliseconds() == ms {
		return d
	}
	u.bad = true
	return 0
}

// bytes answers with a copy.
func (u *unpacker) bytes(bit int) []byte {
	if !u.has(bit) {
		return nil
	}
	return append([]byte{}, u.nextBytes()...)
}

func (u *unpacker) text(bit int) string {
	if !u.has(bit) {
		return ""
	}
	return string(u.nextBytes())
}

func (u *unpacker) nextUint() uint64 {
	v, n := binary.Uvarint(u.b)
	if n <= 0 {
		u.b, u.bad = nil, true
		return 0
	}
	u.b = u.b[n:]
	return v
}

func (u *unpacker) nextInt() int64 {
	v, n := binary.Varint(u.b)
	if n <= 0 {
		u.b, u.bad = nil, true
		return 0
	}
	u.b = u.b[n:]
	return v
}

// nextBytes answers with a part of the column itself.
func (u *unpacker) nextBytes() []byte {
	n := u.nextUint()
	if n > uint64(len(u.b)) {
		u.b, u.bad = nil, true
		return nil
	}
	v := u.b[:n]
	u.b = u.b[n:]
	return v
}

func (u *unpacker) end() error {
	if u.bad || len(u.b) > 0 {
		return errPacked
	}
	return nil
}

// Milliseconds since 1970 are what the file knows of time. The zero time has
// no number: columns hold NULL, packed fields are left out.
func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func duration(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }
