package cbor

import (
	"math"
	"strconv"
	"strings"
)

// exactDigits are enough to write any float64 out in full.
const exactDigits = 767

// number appends the number that is next: an integer, unless it is written with
// a fraction or an exponent [RFC 8949 6.2].
func (r *jsonReader) number(dst []byte) []byte {
	start := r.at
	for r.at < len(r.text) && strings.IndexByte("+-.0123456789Ee", r.text[r.at]) >= 0 {
		r.at++
	}
	text := string(r.text[start:r.at])
	if !strings.ContainsAny(text, ".eE") {
		return r.integer(dst, text)
	}
	if len(r.faults) == faultsMax { // the costly check below can change nothing
		return appendNull(dst)
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || !isWrittenAs(f, text) {
		r.fault("more digits than a float64 keeps, or past its range")
		return appendNull(dst)
	}
	return appendFloat(dst, math.Float64bits(f), r.shortest)
}

// integer appends an integer that an int64 or a uint64 holds. CBOR has room for
// as many negative ones as there are uint64s; few devices do.
func (r *jsonReader) integer(dst []byte, text string) []byte {
	if v, err := strconv.ParseUint(text, 10, 64); err == nil {
		return appendHead(dst, majorUint, v)
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		r.fault("an integer past 64 bits")
		return appendNull(dst)
	}
	return appendInt(dst, v)
}

// isWrittenAs says whether text, which was parsed as f, means f: it is what
// everybody writes for f, the shortest text that reads as f, or the value of f
// to the last digit. Any other text means a number that f is not.
func isWrittenAs(f float64, text string) bool {
	d := parseDecimal(text)
	return d == parseDecimal(strconv.FormatFloat(f, 'e', -1, 64)) ||
		len(d.digits) <= exactDigits && d == parseDecimal(strconv.FormatFloat(f, 'e', exactDigits-1, 64))
}

// decimal is the magnitude 0.DIGITS times ten to the exponent, where DIGITS
// neither begin nor end with a zero; of zero, both fields are zero.
type decimal struct {
	digits   string
	exponent int
}

// parseDecimal reads a JSON number.
func parseDecimal(text string) decimal {
	mantissa, power := strings.TrimPrefix(text, "-"), 0
	if i := strings.IndexAny(mantissa, "eE"); i >= 0 {
		// Out of range, it is the nearest int: no float is out there either.
		power, _ = strconv.Atoi(mantissa[i+1:])
		mantissa = mantissa[:i]
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		return decimal{}
	}
	leading := len(whole) + len(fraction) - len(digits)
	power = min(max(power, math.MinInt32), math.MaxInt32)
	return decimal{strings.TrimRight(digits, "0"), power + len(whole) - leading}
}
