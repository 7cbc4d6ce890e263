package cbor

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"
	"unicode/utf8"

	fx "github.com/fxamacker/cbor/v2"
)

// Here is a second opinion on what the library takes and writes: a walk over
// one item, by hand.

// The other major types [RFC 8949 3.1].
const (
	majorUint   = 0
	majorNint   = 1
	majorBytes  = 2
	majorText   = 3
	majorTag    = 6
	majorSimple = 7
)

// Additional information [RFC 8949 3].
const (
	info1Byte      = 24 // below it, it is the argument itself
	info2Bytes     = 25 // behind major type 7: a float16
	info4Bytes     = 26
	info8Bytes     = 27
	infoReserved   = 28 // to 30; 31 is an indefinite length
	infoUndefined  = 23
	simpleBytesMin = 32 // below it a second byte is not well-formed
)

// head is how an item begins: its kind, and the number that goes with it (a
// value, a length, a count, a tag or the bits of a float).
type head struct {
	major byte
	info  byte
	arg   uint64
}

// readHead reads the head at the front of b: the head and its length, 0 if
// there is none.
func readHead(b []byte) (h head, n int) {
	if len(b) == 0 {
		return head{}, 0
	}
	h = head{major: b[0] >> 5, info: b[0] & 0x1f}
	switch {
	case h.info < info1Byte:
		h.arg = uint64(h.info)
		return h, 1
	case h.info >= infoReserved:
		return head{}, 0
	}
	n = 1 << (h.info - info1Byte)
	if len(b) < 1+n {
		return head{}, 0
	}
	for _, c := range b[1 : 1+n] {
		h.arg = h.arg<<8 | uint64(c)
	}
	return h, 1 + n
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

func appendInt(dst []byte, v int64) []byte {
	if v < 0 {
		return appendHead(dst, majorNint, uint64(-1-v))
	}
	return appendHead(dst, majorUint, uint64(v))
}

// skip is the length of the sound item at the front of b.
func skip(b []byte) int {
	h, n := readHead(b)
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

var errUnsound = errors.New("not sound")

// walk is the deterministic form of the one item in b, or an error if b is not
// sound. corner says that b holds one of the things that doc.go leaves to the
// library, which may then think otherwise.
func walk(b []byte, depth int) (out []byte, corner bool, err error) {
	w := walker{in: b}
	err = w.item(depth, false)
	if err == nil && w.at < len(b) {
		err = errUnsound
	}
	return w.out, w.corner, err
}

// normal is the deterministic form of b, which is sound.
func normal(b []byte) []byte {
	out, _, err := walk(b, DepthMax+2)
	return must(out, err)
}

type walker struct {
	in     []byte
	at     int // in[:at] is behind us
	out    []byte
	corner bool
}

// item takes one item. depth is how many levels may still open. inKey says that
// it is, or is part of, the key of a map.
func (w *walker) item(depth int, inKey bool) error {
	h, n := readHead(w.in[w.at:])
	if n == 0 {
		return errUnsound
	}
	w.at += n
	left := uint64(len(w.in) - w.at)
	if h.major >= majorArray && h.major <= majorTag {
		if depth == 0 {
			w.corner = w.corner || h.major == majorTag
			return errUnsound
		}
		depth--
	}
	switch h.major {
	case majorBytes, majorText:
		if h.arg > left {
			return errUnsound
		}
		body := w.in[w.at : w.at+int(h.arg)]
		w.at += len(body)
		w.out = append(appendHead(w.out, h.major, h.arg), body...)
		if h.major == majorText && !utf8.Valid(body) { // [RFC 8949 3.1]
			return errUnsound
		}
		return nil
	case majorArray:
		w.out = appendHead(w.out, h.major, h.arg)
		for range h.arg {
			if err := w.item(depth, inKey); err != nil {
				return err
			}
		}
		return nil
	case majorMap:
		if h.arg > left/2 { // a pair is at least two
			return errUnsound
		}
		w.out = appendHead(w.out, h.major, h.arg)
		return w.pairs(int(h.arg), depth, inKey)
	case majorTag:
		w.corner = true
		w.out = appendHead(w.out, h.major, h.arg)
		return w.item(depth, inKey)
	case majorSimple:
		return w.simple(h, w.in[w.at-n:w.at], inKey)
	}
	w.out = appendHead(w.out, h.major, h.arg)
	return nil
}

// simple takes the simple value or float in b.
func (w *walker) simple(h head, b []byte, inKey bool) error {
	if h.info <= info1Byte {
		if h.info == info1Byte && h.arg < simpleBytesMin { // [RFC 8949 3.3]
			return errUnsound
		}
		w.corner = w.corner || inKey && h.info == infoUndefined
		w.out = appendHead(w.out, majorSimple, h.arg)
		return nil
	}
	var f float64
	if err := fx.Unmarshal(b, &f); err != nil {
		return err
	}
	w.corner = w.corner || inKey && (f == 0 || math.IsNaN(f))
	w.out = append(w.out, appendFloat(nil, f)...)
	return nil
}

func appendFloat(dst []byte, f float64) []byte {
	return append(dst, must(deterministic.Marshal(f))...)
}

// pairs takes n pairs, and leaves them in order.
func (w *walker) pairs(n, depth int, inKey bool) error {
	start := len(w.out)
	for range n {
		if err := w.item(depth, true); err != nil {
			return err
		}
		if err := w.item(depth, inKey); err != nil {
			return err
		}
	}
	if !sortPairs(w.out[start:], n) {
		return errUnsound
	}
	return nil
}

// sortPairs puts the n pairs in b, which are in deterministic form, into the
// bytewise order of their keys [RFC 8949 4.2.1]. It is false if two keys are
// the same.
func sortPairs(b []byte, n int) bool {
	type pair struct{ key, all []byte }
	pairs := make([]pair, n)
	for from, i := bytes.Clone(b), 0; i < n; i++ {
		key := skip(from)
		all := key + skip(from[key:])
		pairs[i] = pair{from[:key], from[:all]}
		from = from[all:]
	}
	byKey := func(p, q pair) int { return bytes.Compare(p.key, q.key) }
	slices.SortFunc(pairs, byKey)
	unique := true
	for i, p := range pairs {
		unique = unique && (i == 0 || byKey(pairs[i-1], p) != 0)
		b = b[copy(b, p.all):]
	}
	return unique
}

func TestHeadsAreReadAsTheyAreWritten(t *testing.T) {
	for _, arg := range []uint64{0, 23, 24, 255, 256, 65535, 65536, 1<<32 - 1, 1 << 32, 1<<64 - 1} {
		for major := range byte(7) {
			b := appendHead(nil, major, arg)
			if h, n := readHead(b); h.major != major || h.arg != arg || n != len(b) {
				t.Errorf("major %d, %d: read as %+v, %d of %d bytes", major, arg, h, n, len(b))
			}
		}
	}
}
