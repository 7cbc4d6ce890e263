package cbor

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// ToJSON shows the CBOR item in b as JSON. What JSON cannot carry, or what is
// no sound item, shows whole as {"$cbor": "hex"} and is not valid.
func ToJSON(b []byte) (raw json.RawMessage, valid bool) {
	if sound, err := normal(nil, b, DepthMax); err == nil {
		if out, _, ok := appendJSON(make([]byte, 0, 2*len(sound)), sound); ok {
			return out, true
		}
	}
	raw = append(raw, `{"`+cborName+`":"`...)
	raw = hex.AppendEncode(raw, b)
	return append(raw, `"}`...), false
}

// appendJSON appends the sound item at the front of b, whose length is n.
func appendJSON(dst, b []byte) (out []byte, n int, ok bool) {
	h, n, _ := readHead(b)
	switch h.major {
	case majorUint:
		return strconv.AppendUint(dst, h.arg, 10), n, true
	case majorNint:
		v := -1 - int64(h.arg)
		return strconv.AppendInt(dst, v, 10), n, v < 0 // else it is past 64 bits
	case majorBytes, majorText:
		body := b[n : n+int(h.arg)]
		n += len(body)
		if h.major == majorText {
			return appendQuoted(dst, string(body)), n, true
		}
		dst = append(dst, `{"`+bytesName+`":"`...)
		dst = base64.RawURLEncoding.AppendEncode(dst, body)
		return append(dst, `"}`...), n, true
	case majorArray, majorMap:
		return appendMembers(dst, b, h, n)
	case majorSimple:
		return appendSimple(dst, h, n)
	}
	return dst, n, false // a tag
}

// appendMembers appends the array or map whose head of n bytes is h.
func appendMembers(dst, b []byte, h head, n int) (out []byte, length int, ok bool) {
	brackets := "[]"
	if h.major == majorMap {
		brackets = "{}"
	}
	dst = append(dst, brackets[0])
	for i := range h.arg {
		if i > 0 {
			dst = append(dst, ',')
		}
		if h.major == majorMap {
			k, size, _ := readHead(b[n:])
			if k.major != majorText {
				return dst, n, false
			}
			name := b[n+size : n+size+int(k.arg)]
			n += size + len(name)
			dst = append(appendQuoted(dst, toJSONName(string(name))), ':')
		}
		size := 0
		if dst, size, ok = appendJSON(dst, b[n:]); !ok {
			return dst, n, false
		}
		n += size
	}
	return append(dst, brackets[1]), n, true
}

func appendSimple(dst []byte, h head, n int) (out []byte, length int, ok bool) {
	switch h.info {
	case simpleFalse, simpleTrue:
		return strconv.AppendBool(dst, h.info == simpleTrue), n, true
	case simpleNull:
		return append(dst, "null"...), n, true
	case info2Bytes, info4Bytes, info8Bytes:
		out, ok = appendJSONFloat(dst, widen(h))
		return out, n, ok
	}
	return dst, n, false
}

// appendQuoted appends s, which is UTF-8, as a JSON string. It escapes what
// JSON demands [RFC 8259 7] and nothing else: the text is no HTML.
func appendQuoted(dst []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// appendJSONFloat appends the float64 so that it reads as a float again, if
// JSON can write it.
func appendJSONFloat(dst []byte, bits uint64) ([]byte, bool) {
	f := math.Float64frombits(bits)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return dst, false
	}
	// Between these, a number is easier to read without an exponent.
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		return strconv.AppendFloat(dst, f, 'e', -1, 64), true
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
	if !strings.Contains(string(dst[start:]), ".") {
		dst = append(dst, ".0"...)
	}
	return dst, true
}
