package cbor

import (
	"math"
	"math/big"
	"strconv"
	"strings"
)

const (
	// shortDigits: no two numbers of so many digits round to the same float64,
	// from float64Least up.
	shortDigits  = 15
	float64Least = 0x1p-1022

	// numberBytesMax is longer than any float64 that is written to its last
	// digit, 1,077 bytes for the least; to compare takes the square of it.
	numberBytesMax = 1100
)

// number is the number that text, a JSON number, means: an integer, unless it
// is written with a fraction or an exponent [RFC 8949 6.2]. A float is a
// float32 if that is exact.
func (m *jsonMapper) number(text string) any {
	if !strings.ContainsAny(text, ".eE") {
		return m.integer(text)
	}
	if len(m.faults) == faultsMax { // the costly check below can change nothing
		return nil
	}
	f, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || !isWrittenAs(f, text):
		m.fault("more digits than a float64 keeps, or past its range")
		return nil
	case float64(float32(f)) == f:
		return float32(f)
	}
	return f
}

// integer is an integer that an int64 or a uint64 holds. CBOR has room for as
// many negative ones as there are uint64s; few devices do.
func (m *jsonMapper) integer(text string) any {
	if v, err := strconv.ParseUint(text, 10, 64); err == nil {
		return v
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		m.fault("an integer past 64 bits")
	}
	return v
}

// isWrittenAs says whether text, which was parsed as f, means f: it is what
// everybody writes for f, the shortest text that reads as f, or the value of f
// to the last digit. Any other text means a number that f is not.
func isWrittenAs(f float64, text string) bool {
	mantissa, _, _ := strings.Cut(strings.ToLower(text), "e")
	digits := strings.Trim(strings.ReplaceAll(strings.TrimPrefix(mantissa, "-"), ".", ""), "0")
	switch {
	case f == 0:
		return digits == ""
	case len(digits) <= shortDigits && math.Abs(f) >= float64Least:
		return true // it is the shortest text then, give or take zeros
	case len(text) > numberBytesMax:
		return false
	}
	said, ok := new(big.Rat).SetString(text)
	if !ok {
		return false
	}
	shortest, _ := new(big.Rat).SetString(strconv.FormatFloat(f, 'e', -1, 64))
	return said.Cmp(shortest) == 0 || said.Cmp(new(big.Rat).SetFloat64(f)) == 0
}
