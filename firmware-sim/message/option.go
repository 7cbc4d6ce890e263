package message

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Number names an option. Odd numbers are critical: who does not know one must
// not act on the message [RFC 7252 5.4.1].
type Number uint16

// The options that a device sends or understands.
const (
	ETag          Number = 4
	Observe       Number = 6
	LocationPath  Number = 8
	URIPath       Number = 11
	ContentFormat Number = 12
	MaxAge        Number = 14
	URIQuery      Number = 15
	Accept        Number = 17
	LocationQuery Number = 20
	Block2        Number = 23
	Block1        Number = 27
	Size2         Number = 28
	Size1         Number = 60
	Echo          Number = 252
)

// Critical says whether a message with an unknown option of this number must
// be refused.
func (n Number) Critical() bool { return n&1 == 1 }

// Option is one option of a message.
type Option struct {
	Number Number
	Value  []byte
}

// Options are a message's options. Of repeatable ones the order is kept.
type Options []Option

// Text makes an option of a string.
func Text(n Number, s string) Option { return Option{Number: n, Value: []byte(s)} }

// Uint makes an option of a number, in as few bytes as it needs [RFC 7252 3.2].
func Uint(n Number, v uint32) Option {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], v)
	i := 0
	for i < len(b) && b[i] == 0 {
		i++
	}
	return Option{Number: n, Value: b[i:]}
}

// Uint reads the first option of this number as an unsigned integer. A value
// that is longer than four bytes counts as absent [RFC 7252 5.4.3].
func (o Options) Uint(n Number) (uint32, bool) {
	for _, option := range o {
		if option.Number != n {
			continue
		}
		if len(option.Value) > 4 {
			return 0, false
		}
		var v uint32
		for _, b := range option.Value {
			v = v<<8 | uint32(b)
		}
		return v, true
	}
	return 0, false
}

// Bytes is the value of the first option of this number.
func (o Options) Bytes(n Number) ([]byte, bool) {
	for _, option := range o {
		if option.Number == n {
			return option.Value, true
		}
	}
	return nil, false
}

// Strings are the values of all options of this number.
func (o Options) Strings(n Number) []string {
	var all []string
	for _, option := range o {
		if option.Number == n {
			all = append(all, string(option.Value))
		}
	}
	return all
}

// parseOptions reads options and payload.
func parseOptions(rest []byte) (Options, []byte, error) {
	var options Options
	number := uint32(0)
	for len(rest) > 0 {
		head := rest[0]
		rest = rest[1:]
		if head == marker {
			if len(rest) == 0 { // [RFC 7252 3]: a marker without a payload
				return nil, nil, fmt.Errorf("%w: marker without payload", ErrFormat)
			}
			return options, rest, nil
		}
		delta, after, ok := extended(head>>4, rest)
		if !ok {
			return nil, nil, fmt.Errorf("%w: option delta", ErrFormat)
		}
		length, after, ok := extended(head&15, after)
		if !ok || int(length) > len(after) {
			return nil, nil, fmt.Errorf("%w: option length", ErrFormat)
		}
		number += delta
		if number > 0xffff {
			return nil, nil, fmt.Errorf("%w: option number %d", ErrFormat, number)
		}
		options = append(options, Option{Number: Number(number), Value: after[:length]})
		rest = after[length:]
	}
	return options, nil, nil
}

// The nibbles that announce a longer delta or length [RFC 7252 3.1].
const (
	nibbleByte     = 13
	nibbleWord     = 14
	nibbleReserved = 15
	wordBase       = 269 // 13 + 256
)

// extended resolves a nibble into the number that it stands for.
func extended(nibble byte, rest []byte) (uint32, []byte, bool) {
	switch {
	case nibble < nibbleByte:
		return uint32(nibble), rest, true
	case nibble == nibbleByte && len(rest) >= 1:
		return nibbleByte + uint32(rest[0]), rest[1:], true
	case nibble == nibbleWord && len(rest) >= 2:
		return wordBase + uint32(binary.BigEndian.Uint16(rest)), rest[2:], true
	}
	return 0, nil, false
}

// append writes the options in ascending order, as deltas.
func (o Options) append(dst []byte) []byte {
	sorted := slices.Clone(o)
	slices.SortStableFunc(sorted, func(a, b Option) int { return int(a.Number) - int(b.Number) })
	before := Number(0)
	for _, option := range sorted {
		delta, deltaMore := nibble(uint32(option.Number - before))
		length, lengthMore := nibble(uint32(len(option.Value)))
		dst = append(dst, delta<<4|length)
		dst = append(dst, deltaMore...)
		dst = append(dst, lengthMore...)
		dst = append(dst, option.Value...)
		before = option.Number
	}
	return dst
}

// nibble is the inverse of extended.
func nibble(v uint32) (byte, []byte) {
	switch {
	case v < nibbleByte:
		return byte(v), nil
	case v < wordBase:
		return nibbleByte, []byte{byte(v - nibbleByte)}
	default:
		return nibbleWord, binary.BigEndian.AppendUint16(nil, uint16(v-wordBase))
	}
}
