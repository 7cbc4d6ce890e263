package cbor

import (
	"encoding/binary"
	"math"
)

// The three layouts of IEEE 754 that are on the wire.
const (
	fraction64Bits = 52
	fraction32Bits = 23
	fraction16Bits = 10

	bias64 = 1023
	bias32 = 127
	bias16 = 15

	exponentAllOnes64 = 0x7ff
	exponentAllOnes32 = 0xff
	exponentAllOnes16 = 0x1f

	signBit64 = 1 << 63
)

// widen is the float of h as the bits of a float64. No value changes, and of a
// NaN neither sign nor payload; going through a Go float could quiet it.
func widen(h head) uint64 {
	switch h.info {
	case info2Bytes:
		return widenBits(h.arg, fraction16Bits, bias16, exponentAllOnes16)
	case info4Bytes:
		return widenBits(h.arg, fraction32Bits, bias32, exponentAllOnes32)
	}
	return h.arg
}

// widenBits is the float64 of a narrower float of the given layout.
func widenBits(v uint64, fractionBits, bias int, allOnes uint64) uint64 {
	fraction := v & (1<<fractionBits - 1)
	exponent := v >> fractionBits & allOnes
	sign := v >> fractionBits / (allOnes + 1) << 63
	switch exponent {
	case allOnes: // infinity, NaN
		return sign | exponentAllOnes64<<fraction64Bits | fraction<<(fraction64Bits-fractionBits)
	case 0: // zero, subnormal: a whole number of the smallest step
		return sign | math.Float64bits(math.Ldexp(float64(fraction), 1-bias-fractionBits))
	}
	exponent += uint64(bias64 - bias)
	return sign | exponent<<fraction64Bits | fraction<<(fraction64Bits-fractionBits)
}

// appendFloat writes the shortest float that is exactly bits, a float64, and
// not shorter than atLeast, one of info2Bytes and info4Bytes [RFC 8949
// 4.2.1].
func appendFloat(dst []byte, bits uint64, atLeast byte) []byte {
	if atLeast <= info2Bytes {
		if v, ok := narrowBits(bits, fraction16Bits, bias16, exponentAllOnes16); ok {
			return binary.BigEndian.AppendUint16(append(dst, majorSimple<<5|info2Bytes), uint16(v))
		}
	}
	if v, ok := narrowBits(bits, fraction32Bits, bias32, exponentAllOnes32); ok {
		return binary.BigEndian.AppendUint32(append(dst, majorSimple<<5|info4Bytes), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(dst, majorSimple<<5|info8Bytes), bits)
}

// narrowBits is the float of the given layout that is exactly bits, if there is
// one.
func narrowBits(bits uint64, fractionBits, bias int, allOnes uint64) (uint64, bool) {
	fraction := bits & (1<<fraction64Bits - 1)
	exponent := int(bits>>fraction64Bits&exponentAllOnes64) - bias64 + bias
	sign := bits >> 63 << fractionBits * (allOnes + 1)
	drop := fraction64Bits - fractionBits

	var v uint64
	switch {
	case bits&^signBit64 == 0:
		v = 0
	case exponent == exponentAllOnes64-bias64+bias: // infinity, NaN
		v = allOnes<<fractionBits | fraction>>drop
	case exponent >= int(allOnes): // too large
		return 0, false
	case exponent > 0:
		v = uint64(exponent)<<fractionBits | fraction>>drop
	case exponent > -fractionBits: // subnormal: the leading one becomes visible
		v = (fraction | 1<<fraction64Bits) >> (drop + 1 - exponent)
	default: // too small
		return 0, false
	}
	v |= sign
	return v, widenBits(v, fractionBits, bias, allOnes) == bits
}
