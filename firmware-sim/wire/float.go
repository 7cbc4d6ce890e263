package wire

import (
	"encoding/binary"
	"math"
)

// The layout of a half-precision float [RFC 8949 appendix D]: one bit of sign,
// five of exponent with a bias of 15, ten of fraction.
const (
	halfFraction    = 10
	halfBias        = 15
	halfExponentMax = 31
	singleFraction  = 23
	singleBias      = 127
)

// floatOf is the value of a float's head of any size.
func floatOf(h head) float64 {
	switch h.info {
	case infoWord:
		return halfValue(uint16(h.arg))
	case infoLong:
		return float64(math.Float32frombits(uint32(h.arg)))
	}
	return math.Float64frombits(h.arg)
}

// appendFloat writes v in the shortest form that holds it exactly.
func appendFloat(dst []byte, v float64) []byte {
	if math.IsNaN(v) {
		return append(dst, majorSimple<<5|infoWord, 0x7e, 0x00)
	}
	single := float32(v)
	if float64(single) != v {
		return binary.BigEndian.AppendUint64(append(dst, majorSimple<<5|infoQuad), math.Float64bits(v))
	}
	if half, exact := halfBits(single); exact {
		return binary.BigEndian.AppendUint16(append(dst, majorSimple<<5|infoWord), half)
	}
	return binary.BigEndian.AppendUint32(append(dst, majorSimple<<5|infoLong), math.Float32bits(single))
}

// halfValue reads half-precision bits.
func halfValue(bits uint16) float64 {
	exponent := int(bits >> halfFraction & halfExponentMax)
	fraction := float64(bits & (1<<halfFraction - 1))
	var v float64
	switch exponent {
	case 0: // zero, or subnormal
		v = math.Ldexp(fraction, 1-halfBias-halfFraction)
	case halfExponentMax:
		if v = math.Inf(1); fraction != 0 {
			v = math.NaN()
		}
	default:
		v = math.Ldexp(fraction+1<<halfFraction, exponent-halfBias-halfFraction)
	}
	if bits>>15 == 1 {
		return -v
	}
	return v
}

// halfBits is the half-precision form of v, if there is an exact one.
func halfBits(v float32) (uint16, bool) {
	bits := math.Float32bits(v)
	sign := uint16(bits >> 16 & 0x8000)
	exponent := int(bits>>singleFraction&0xff) - singleBias + halfBias
	fraction := bits & (1<<singleFraction - 1)
	const dropped = singleFraction - halfFraction
	switch {
	case bits<<1 == 0:
		return sign, true
	case math.IsInf(float64(v), 0):
		return sign | halfExponentMax<<halfFraction, true
	case exponent >= halfExponentMax || exponent <= -halfFraction:
		return 0, false
	case exponent >= 1:
		exact := fraction&(1<<dropped-1) == 0
		return sign | uint16(exponent)<<halfFraction | uint16(fraction>>dropped), exact
	}
	fraction |= 1 << singleFraction // the leading one that a subnormal spells out
	shift := dropped + 1 - exponent
	return sign | uint16(fraction>>shift), fraction&(1<<shift-1) == 0
}
