package cbor

import (
	"bytes"
	"errors"
	"reflect"
	"strings"

	fx "github.com/fxamacker/cbor/v2"

	"behest/command"
)

// DepthMax is how deep arrays, maps and tags may nest in params, in a result
// and in any other value of a message. The containers of the message itself (a
// report's map, the list and its entries) do not count: what goes out as params
// can come back as a prev. Eight is what a device can walk on a stack of a few
// hundred bytes.
const DepthMax = 8

// DiagnosticBytesMax is the longest text that goes back to a device with a
// refusal: a diagnostic payload is for a log on a small screen.
const DiagnosticBytesMax = 64

// Major types of the containers [RFC 8949 3.1], in the upper three bits.
const (
	majorArray = 4
	majorMap   = 5
)

// The library as we set it. Nothing changes a mode once it is made.
var (
	itemMode = must(decOptions(DepthMax).DecMode())
	mapMode  = must(decOptions(DepthMax + 1).DecMode()) // items in a report or an entry
	listMode = must(decOptions(DepthMax + 2).DecMode()) // items in an entry in the list

	deterministic = must(encOptions(fx.ShortestFloat16).EncMode())
	// asTyped leaves a float as wide as its Go type.
	asTyped = must(encOptions(fx.ShortestFloatNone).EncMode())
)

func decOptions(depth int) fx.DecOptions {
	return fx.DecOptions{
		DupMapKey:       fx.DupMapKeyEnforcedAPF,
		IndefLength:     fx.IndefLengthForbidden,
		UTF8:            fx.UTF8RejectInvalid,
		MaxNestedLevels: depth,
		// An element is at least a byte, a pair at least two: what these
		// refuse is too long by its bytes already.
		MaxArrayElements: command.ReportBytesMax,
		MaxMapPairs:      command.ReportBytesMax / 2,
		DefaultMapType:   reflect.TypeFor[map[key]any](),
	}
}

func encOptions(shortest fx.ShortestFloatMode) fx.EncOptions {
	o := fx.CoreDetEncOptions()
	o.ShortestFloat = shortest
	// Only an array or a map that is a key can hold a time that we write. The
	// tag keeps it apart from a number.
	o.Time, o.TimeTag = fx.TimeRFC3339NanoUTC, fx.EncTagRequired
	return o
}

func must[T any](v T, err error) T {
	if err != nil {
		panic("cbor: " + err.Error()) // the options and what we encode are ours
	}
	return v
}

// decode reads b, one item, into v. It refuses what is not well-formed or has a
// key twice or text that is not UTF-8. What is sound in form but no value to
// the library, such as a time that is no date, is left out of v; then it is not
// whole.
func decode(mode fx.DecMode, b []byte, v any) (whole bool, err error) {
	err = mode.Unmarshal(b, v)
	if err == nil {
		return true, nil
	}
	if refusal, ok := errors.AsType[*command.Error](err); ok { // of a field
		return false, refusal
	}
	if _, twice := errors.AsType[*fx.DupMapKeyError](err); twice {
		return false, malformed("a map says a key twice") // the library's text shows the key, at any length
	}
	if _, text := errors.AsType[*fx.SemanticError](err); text || mode.Wellformed(b) != nil {
		return false, malformed(strings.TrimPrefix(err.Error(), "cbor: "))
	}
	return false, nil
}

// malformed is the refusal of bytes.
func malformed(what string) *command.Error {
	return command.Errorf(command.CodeMalformed, "%.*s", DiagnosticBytesMax, what)
}

// sound is nil if b is exactly one item that DecodeReport would keep.
func sound(b []byte) error {
	var v any
	return itemMode.Unmarshal(b, &v)
}

// isA says whether the item in b is of a major type. The library looks through
// tags and null; we do not.
func isA(major byte, b []byte) bool {
	return len(b) > 0 && b[0]>>5 == major
}

// key is the key of a map. Go says which keys are the same, save that it cannot
// compare byte strings, arrays and maps: those are held against each other in
// deterministic form.
type key struct{ value any }

// encoded is an item in deterministic form.
type encoded string

// UnmarshalCBOR is how the library reads a key.
func (k *key) UnmarshalCBOR(b []byte) error {
	err := itemMode.Unmarshal(b, &k.value)
	if err == nil && k.value != nil && !reflect.ValueOf(k.value).Comparable() {
		b, err = deterministic.Marshal(k.value)
		k.value = encoded(b)
	}
	return err
}

// MarshalCBOR is how the library writes the keys of a map that is a key.
func (k key) MarshalCBOR() ([]byte, error) { return deterministic.Marshal(k.value) }

// MarshalCBOR is e itself.
func (e encoded) MarshalCBOR() ([]byte, error) { return []byte(e), nil }

// field is the value of a field of a message: as it came, and as Go has it.
// It is neither if the library could not read it.
type field struct {
	raw   []byte
	value any
}

// UnmarshalCBOR is how the library reads a field.
func (f *field) UnmarshalCBOR(b []byte) error {
	whole, err := decode(itemMode, b, &f.value)
	if !whole {
		*f = field{}
		return err
	}
	f.raw = bytes.Clone(b)
	return nil
}

// decodeFields reads the map in b by its keys. whole says that none is missing.
func decodeFields(b []byte) (said map[key]field, whole bool, err error) {
	whole, err = decode(mapMode, b, &said)
	if err == nil && !whole {
		// What could not be read hides its key; in a struct, which has room for
		// none, the library looks at keys alone.
		_, err = decode(mapMode, b, new(struct{}))
	}
	return said, whole, err
}

// uint is the field's value if that is an unsigned integer of at most most.
func (f field) uint(most uint64) (uint64, bool) {
	n, ok := f.value.(uint64)
	return n, ok && n <= most
}
