package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"
)

// ErrMalformed means that bytes are not what the contract says.
var ErrMalformed = errors.New("malformed")

// depthMax is how deep an item may nest: the contract's number, and a bound on
// the stack of a device that walks it by recursion.
const depthMax = 8

// The major types [RFC 8949 3.1].
const (
	majorUint byte = iota
	majorNegative
	majorBytes
	majorText
	majorArray
	majorMap
	majorTag
	majorSimple
)

// What follows the major type in a head [RFC 8949 3].
const (
	infoByte  = 24
	infoWord  = 25
	infoLong  = 26
	infoQuad  = 27
	infoOpen  = 31 // indefinite length, or a break
	simpleMin = 32 // the first simple value that takes a byte of its own
)

// The simple values that are used here.
const (
	itemFalse = 0xf4
	itemTrue  = 0xf5
	itemNull  = 0xf6
)

// head is the start of an item.
type head struct {
	major byte
	info  byte
	arg   uint64
}

// readHead reads the head of an item.
func readHead(b []byte) (head, []byte, error) {
	if len(b) == 0 {
		return head{}, nil, fmt.Errorf("%w: an item is missing", ErrMalformed)
	}
	h := head{major: b[0] >> 5, info: b[0] & 31}
	b = b[1:]
	if h.info < infoByte {
		h.arg = uint64(h.info)
		return h, b, nil
	}
	if h.info > infoQuad {
		return head{}, nil, fmt.Errorf("%w: indefinite length or reserved head", ErrMalformed)
	}
	size := 1 << (h.info - infoByte)
	if len(b) < size {
		return head{}, nil, fmt.Errorf("%w: a head is cut", ErrMalformed)
	}
	for _, c := range b[:size] {
		h.arg = h.arg<<8 | uint64(c)
	}
	return h, b[size:], nil
}

// appendHead writes the shortest head.
func appendHead(dst []byte, major byte, arg uint64) []byte {
	first := major << 5
	switch {
	case arg < infoByte:
		return append(dst, first|byte(arg))
	case arg <= math.MaxUint8:
		return append(dst, first|infoByte, byte(arg))
	case arg <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, first|infoWord), uint16(arg))
	case arg <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, first|infoLong), uint32(arg))
	}
	return binary.BigEndian.AppendUint64(append(dst, first|infoQuad), arg)
}

// appendInt writes a signed integer.
func appendInt(dst []byte, v int64) []byte {
	if v < 0 {
		return appendHead(dst, majorNegative, uint64(-(v + 1)))
	}
	return appendHead(dst, majorUint, uint64(v))
}

// appendText writes a text string.
func appendText(dst []byte, s string) []byte {
	return append(appendHead(dst, majorText, uint64(len(s))), s...)
}

// Check says whether item is exactly one item by the rules of this package.
func Check(item []byte) error {
	rest, err := skip(item, depthMax)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%w: %d bytes behind the item", ErrMalformed, len(rest))
	}
	return err
}

// skip walks over one item and returns what is behind it. levels is how many
// arrays, maps and tags may still be opened.
func skip(b []byte, levels int) ([]byte, error) {
	h, rest, err := readHead(b)
	if err != nil {
		return nil, err
	}
	switch h.major {
	case majorBytes, majorText:
		content, rest, err := take(rest, h.arg)
		if err == nil && h.major == majorText && !utf8.Valid(content) {
			err = fmt.Errorf("%w: text that is not UTF-8", ErrMalformed)
		}
		return rest, err
	case majorArray, majorMap, majorTag:
		if levels == 0 {
			return nil, fmt.Errorf("%w: more than %d levels", ErrMalformed, depthMax)
		}
		return skipInside(h, rest, levels-1)
	case majorSimple:
		if h.info == infoByte && h.arg < simpleMin {
			return nil, fmt.Errorf("%w: simple value %d in two bytes", ErrMalformed, h.arg)
		}
	}
	return rest, nil
}

// skipInside walks over the content of an array, a map or a tag.
func skipInside(h head, rest []byte, levels int) ([]byte, error) {
	if h.major == majorMap {
		return eachPair(rest, h.arg, levels, func(_, _ []byte) error { return nil })
	}
	count := h.arg
	if h.major == majorTag {
		count = 1
	}
	var err error
	for range count { // ends at the first missing item, however large the count
		if rest, err = skip(rest, levels); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// eachPair calls visit with the bytes of each key and value of a map, and
// refuses a key that comes twice.
func eachPair(b []byte, pairs uint64, levels int, visit func(key, value []byte) error) ([]byte, error) {
	if pairs > uint64(len(b)) { // a pair takes two bytes at least: do not loop on a claim
		return nil, fmt.Errorf("%w: a map is cut", ErrMalformed)
	}
	seen := make(map[string]struct{}, pairs)
	for range pairs {
		afterKey, err := skip(b, levels)
		if err != nil {
			return nil, err
		}
		rest, err := skip(afterKey, levels)
		if err != nil {
			return nil, err
		}
		key := b[:len(b)-len(afterKey)]
		form, _ := canonical(nil, key)
		name := string(form)
		if _, twice := seen[name]; twice {
			return nil, fmt.Errorf("%w: the key %x comes twice", ErrMalformed, key)
		}
		seen[name] = struct{}{}
		if err := visit(key, afterKey[:len(afterKey)-len(rest)]); err != nil {
			return nil, err
		}
		b = rest
	}
	return b, nil
}

// canonical writes one well-formed item so that items of equal value have equal
// bytes: heads and floats in their shortest form, the pairs of a map in order, no
// negative zero. It returns what is behind the item.
func canonical(dst, item []byte) ([]byte, []byte) {
	h, rest, err := readHead(item)
	if err != nil {
		panic(fmt.Sprintf("wire: canonical form of an unchecked item: %v", err))
	}
	switch h.major {
	case majorBytes, majorText:
		return append(appendHead(dst, h.major, h.arg), rest[:h.arg]...), rest[h.arg:]
	case majorArray, majorMap, majorTag:
		return canonicalInside(appendHead(dst, h.major, h.arg), rest, h)
	case majorSimple:
		if h.info > infoByte {
			return appendFloat(dst, floatOf(h)+0), rest // -0 + 0 is 0
		}
		return append(dst, item[:len(item)-len(rest)]...), rest
	}
	return appendHead(dst, h.major, h.arg), rest
}

// canonicalInside writes the content of an array, a map or a tag.
func canonicalInside(dst, rest []byte, h head) ([]byte, []byte) {
	count := h.arg
	if h.major == majorTag {
		count = 1
	}
	var parts [][]byte
	for range count {
		var part []byte
		part, rest = canonical(nil, rest)
		if h.major == majorMap {
			part, rest = canonical(part, rest)
		}
		parts = append(parts, part)
	}
	if h.major == majorMap {
		slices.SortFunc(parts, bytes.Compare)
	}
	return append(dst, bytes.Join(parts, nil)...), rest
}

// take splits off n bytes.
func take(b []byte, n uint64) ([]byte, []byte, error) {
	if n > uint64(len(b)) {
		return nil, nil, fmt.Errorf("%w: a string is cut", ErrMalformed)
	}
	return b[:n], b[n:], nil
}

// whole reads an item that must be a single head: an integer.
func whole(item []byte, major byte) (uint64, bool) {
	h, rest, err := readHead(item)
	return h.arg, err == nil && h.major == major && len(rest) == 0
}

// text reads an item that must be a text string.
func text(item []byte) (string, bool) {
	h, rest, err := readHead(item)
	if err != nil || h.major != majorText {
		return "", false
	}
	return string(rest), true
}
