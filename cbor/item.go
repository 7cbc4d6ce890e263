package cbor

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"unicode/utf8"

	"behest/command"
)

// DepthMax is how deep arrays, maps and tags may nest in a report, the report's
// own map included, and in params. Eight is what a device can walk on a stack
// of a few hundred bytes.
const DepthMax = 8

// DiagnosticBytesMax is the longest text that goes back to a device with a
// refusal: a diagnostic payload is for a log on a small screen.
const DiagnosticBytesMax = 64

// Major types [RFC 8949 3.1].
const (
	majorUint = iota
	majorNint
	majorBytes
	majorText
	majorArray
	majorMap
	majorTag
	majorSimple
)

// Additional information [RFC 8949 3] and simple values [RFC 8949 3.3].
const (
	info1Byte      = 24 // below it, it is the argument itself
	info2Bytes     = 25 // behind major type 7: a float16
	info4Bytes     = 26 // a float32
	info8Bytes     = 27 // a float64
	infoReserved   = 28 // to 30
	infoIndefinite = 31

	simpleFalse = 20
	simpleTrue  = 21
	simpleNull  = 22

	simpleTwoBytesMin = 32 // below it a second byte is not well-formed
)

// What can be wrong with an item. Each text stands behind "byte N: ".
const (
	faultEmpty      = "nothing there"
	faultShort      = "cut short"
	faultTrailing   = "bytes after the end"
	faultReserved   = "not well-formed"
	faultIndefinite = "indefinite length"
	faultDeep       = "nested too deep"
	faultUTF8       = "text is not UTF-8"
	faultDuplicate  = "map says a key twice"
)

// malformed is the refusal of bytes: where, and why.
func malformed(at int, what string) *command.Error {
	return command.Errorf(command.CodeMalformed, "byte %d: %s", at, what)
}

// head is how an item begins: its kind, and the number that goes with it (a
// value, a length, a count, a tag or the bits of a float).
type head struct {
	major byte
	info  byte
	arg   uint64
}

// readHead reads the head at the front of b: the head and its length, or a
// fault.
func readHead(b []byte) (h head, n int, fault string) {
	if len(b) == 0 {
		return head{}, 0, faultShort
	}
	h = head{major: b[0] >> 5, info: b[0] & 0x1f}
	switch {
	case h.info < info1Byte:
		h.arg = uint64(h.info)
		return h, 1, ""
	case h.info >= infoReserved:
		// A lone break is as little an item as an indefinite length is one
		// that we take.
		if h.info == infoIndefinite && h.major >= majorBytes && h.major <= majorMap {
			return head{}, 0, faultIndefinite
		}
		return head{}, 0, faultReserved
	}
	n = 1 << (h.info - info1Byte)
	if len(b) < 1+n {
		return head{}, 0, faultShort
	}
	switch arg := b[1:]; n {
	case 1:
		h.arg = uint64(arg[0])
	case 2:
		h.arg = uint64(binary.BigEndian.Uint16(arg))
	case 4:
		h.arg = uint64(binary.BigEndian.Uint32(arg))
	case 8:
		h.arg = binary.BigEndian.Uint64(arg)
	}
	return h, 1 + n, ""
}

// appendHead writes a head in its shortest form [RFC 8949 4.2.1].
func appendHead(dst []byte, major byte, arg uint64) []byte {
	first := major << 5
	switch {
	case arg < info1Byte:
		return append(dst, first|byte(arg))
	case arg <= math.MaxUint8:
		return append(dst, first|info1Byte, byte(arg))
	case arg <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, first|info2Bytes), uint16(arg))
	case arg <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, first|info4Bytes), uint32(arg))
	}
	return binary.BigEndian.AppendUint64(append(dst, first|info8Bytes), arg)
}

func appendText(dst []byte, s string) []byte {
	return append(appendHead(dst, majorText, uint64(len(s))), s...)
}

func appendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, majorSimple<<5|simpleTrue)
	}
	return append(dst, majorSimple<<5|simpleFalse)
}

func appendNull(dst []byte) []byte {
	return append(dst, majorSimple<<5|simpleNull)
}

func appendInt(dst []byte, v int64) []byte {
	if v < 0 {
		return appendHead(dst, majorNint, uint64(-1-v))
	}
	return appendHead(dst, majorUint, uint64(v))
}

// skip is the length of the sound item at the front of b.
func skip(b []byte) int {
	h, n, _ := readHead(b)
	items := uint64(0)
	switch h.major {
	case majorBytes, majorText:
		return n + int(h.arg)
	case majorArray:
		items = h.arg
	case majorMap:
		items = 2 * h.arg
	case majorTag:
		items = 1
	}
	for range items {
		n += skip(b[n:])
	}
	return n
}

// check refuses b unless it is exactly one sound item, at most depth deep.
func check(b []byte, depth int) error {
	_, err := normal(nil, b, depth)
	return err
}

// normal appends the deterministic form of the one item in b to dst, or says
// why b is not sound. It is how an item is checked: two keys of a map are the
// same when they look the same in this form. The form is never longer than b.
func normal(dst, b []byte, depth int) ([]byte, error) {
	if len(b) == 0 {
		return nil, malformed(0, faultEmpty)
	}
	s := scanner{in: b, out: slices.Grow(dst, len(b))}
	if err := s.item(depth, false); err != nil {
		return nil, err
	}
	if s.at < len(b) {
		return nil, malformed(s.at, faultTrailing)
	}
	return s.out, nil
}

// scanner walks one item. It recurses once a level, so depth bounds its stack;
// each step takes at least a byte of in, so len(in) bounds its steps.
type scanner struct {
	in  []byte
	at  int // in[:at] is behind us
	out []byte
}

// item takes one item. depth is how many levels may still open. inKey says that
// it is, or is part of, the key of a map.
func (s *scanner) item(depth int, inKey bool) error {
	start := s.at
	h, n, fault := readHead(s.in[start:])
	if fault != "" {
		return malformed(start, fault)
	}
	s.at += n
	left := uint64(len(s.in) - s.at)
	if h.major >= majorArray && h.major <= majorTag {
		if depth == 0 {
			return malformed(start, faultDeep)
		}
		depth--
	}
	switch h.major {
	case majorBytes, majorText:
		if h.arg > left {
			return malformed(start, faultShort)
		}
		return s.str(h, start)
	case majorArray:
		if h.arg > left { // an element is at least a byte
			return malformed(start, faultShort)
		}
		s.out = appendHead(s.out, h.major, h.arg)
		for range h.arg {
			if err := s.item(depth, inKey); err != nil {
				return err
			}
		}
		return nil
	case majorMap:
		if h.arg > left/2 { // a pair is at least two
			return malformed(start, faultShort)
		}
		s.out = appendHead(s.out, h.major, h.arg)
		return s.pairs(int(h.arg), depth, inKey, start)
	case majorTag:
		s.out = appendHead(s.out, h.major, h.arg)
		return s.item(depth, inKey)
	case majorSimple:
		return s.simple(h, start, inKey)
	}
	s.out = appendHead(s.out, h.major, h.arg)
	return nil
}

// str takes a string's bytes, which are there.
func (s *scanner) str(h head, start int) error {
	body := s.in[s.at : s.at+int(h.arg)]
	if h.major == majorText && !utf8.Valid(body) { // [RFC 8949 3.1]
		return malformed(start, faultUTF8)
	}
	s.at += len(body)
	s.out = append(appendHead(s.out, h.major, h.arg), body...)
	return nil
}

// simple takes a simple value or a float.
func (s *scanner) simple(h head, start int, inKey bool) error {
	if h.info == info1Byte && h.arg < simpleTwoBytesMin { // [RFC 8949 3.3]
		return malformed(start, faultReserved)
	}
	if h.info <= info1Byte {
		s.out = appendHead(s.out, majorSimple, h.arg)
		return nil
	}
	bits := widen(h)
	if inKey && bits == signBit64 {
		bits = 0 // as keys, -0.0 and 0.0 are the same [RFC 8949 5.6.1]
	}
	s.out = appendFloat(s.out, bits, info2Bytes)
	return nil
}

// pairs takes n pairs of the map that began at start, and leaves them in order.
func (s *scanner) pairs(n, depth int, inKey bool, start int) error {
	first, ordered := len(s.out), true
	prev, prevEnd := first, first
	for i := range n {
		key := len(s.out)
		if err := s.item(depth, true); err != nil {
			return err
		}
		keyEnd := len(s.out)
		if i > 0 && bytes.Compare(s.out[prev:prevEnd], s.out[key:keyEnd]) >= 0 {
			ordered = false
		}
		prev, prevEnd = key, keyEnd
		if err := s.item(depth, inKey); err != nil {
			return err
		}
	}
	if !ordered && !sortPairs(s.out[first:], n) {
		return malformed(start, faultDuplicate)
	}
	return nil
}

// sortPairs puts the n pairs in b, which are in deterministic form, into the
// bytewise order of their keys [RFC 8949 4.2.1]. It is false if two keys are
// the same; b is then left as it was.
func sortPairs(b []byte, n int) bool {
	type pair struct{ at, keyEnd, end int } // half of what two slices would take
	from := bytes.Clone(b)
	pairs := make([]pair, n)
	at := 0
	for i := range pairs {
		keyEnd := at + skip(from[at:])
		end := keyEnd + skip(from[keyEnd:])
		pairs[i] = pair{at, keyEnd, end}
		at = end
	}
	byKey := func(p, q pair) int { return bytes.Compare(from[p.at:p.keyEnd], from[q.at:q.keyEnd]) }
	slices.SortFunc(pairs, byKey)
	for i := 1; i < n; i++ {
		if byKey(pairs[i-1], pairs[i]) == 0 {
			return false
		}
	}
	for _, p := range pairs {
		b = b[copy(b, from[p.at:p.end]):]
	}
	return true
}
