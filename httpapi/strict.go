package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"behest/command"
)

// depthMax bounds the nesting of a body: of params that are 8 deep, a schema
// takes two or three levels for each.
const depthMax = 32

// strict reads one JSON value as I-JSON wants it (RFC 7493): UTF-8, no key
// twice in an object, no half of a surrogate pair, nothing behind the value.
// Numbers stay text. It answers with the value for validation, or with every
// fault that it found.
func strict(body []byte) (any, []command.Field) {
	if !utf8.Valid(body) {
		return nil, []command.Field{{Detail: "is not UTF-8"}}
	}
	if err := json.Unmarshal(body, new(json.RawMessage)); err != nil {
		return nil, []command.Field{{Detail: notJSON(err, body)}}
	}
	s := &strictReader{dec: json.NewDecoder(bytes.NewReader(body))}
	s.dec.UseNumber()
	v, err := s.value("", 0)
	if err != nil {
		return nil, append(s.faults, command.Field{Detail: err.Error()})
	}
	if at := halfSurrogate(body); at >= 0 {
		s.fault("", "half of a surrogate pair at byte %d", at)
	}
	return v, s.faults
}

type strictReader struct {
	dec    *json.Decoder
	faults []command.Field
}

func (s *strictReader) fault(pointer, format string, args ...any) {
	if len(s.faults) < faultsMax {
		s.faults = append(s.faults, command.Field{Pointer: pointer, Detail: fmt.Sprintf(format, args...)})
	}
}

var errTooDeep = fmt.Errorf("nested more than %d deep", depthMax)

func (s *strictReader) value(pointer string, depth int) (any, error) {
	t, err := s.dec.Token()
	if err != nil {
		return nil, err
	}
	open, ok := t.(json.Delim)
	switch {
	case !ok:
		return t, nil
	case depth == depthMax:
		return nil, errTooDeep
	case open == '{':
		return s.object(pointer, depth+1)
	default:
		return s.array(pointer, depth+1)
	}
}

func (s *strictReader) object(pointer string, depth int) (any, error) {
	m := make(map[string]any)
	for s.dec.More() {
		t, err := s.dec.Token()
		if err != nil {
			return nil, err
		}
		key := t.(string) // the decoder takes nothing else for a key
		at := pointer + "/" + escapePointer(key)
		v, err := s.value(at, depth)
		if err != nil {
			return nil, err
		}
		if _, twice := m[key]; twice {
			s.fault(at, "is there twice")
		}
		m[key] = v
	}
	_, err := s.dec.Token()
	return m, err
}

func (s *strictReader) array(pointer string, depth int) (any, error) {
	list := []any{}
	for i := 0; s.dec.More(); i++ {
		v, err := s.value(pointer+"/"+strconv.Itoa(i), depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := s.dec.Token()
	return list, err
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1") // [RFC 6901 3]

// pointerPartMax cuts a hostile key within a pointer; a person still knows it.
const pointerPartMax = 128

func escapePointer(key string) string {
	if len(key) > pointerPartMax {
		key = strings.ToValidUTF8(key[:pointerPartMax], "") + "…"
	}
	return pointerEscapes.Replace(key)
}

// notJSON says where a text stops being JSON, counting from byte 0.
func notJSON(err error, body []byte) string {
	var syntax *json.SyntaxError
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		return "is empty; a JSON object is expected"
	case !errors.As(err, &syntax):
		return "is not JSON: " + err.Error()
	case syntax.Offset >= int64(len(body)):
		return fmt.Sprintf("ends before the JSON value does, at byte %d", len(body))
	}
	return fmt.Sprintf("is not JSON, at byte %d: %s", syntax.Offset-1, syntax)
}

// halfSurrogate is the place of an escaped UTF-16 surrogate without its other
// half, which a decoder would silently replace; -1: none. The text is JSON, so
// a backslash stands in a string.
func halfSurrogate(text []byte) int {
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		i++ // the escaped character, whatever it is
		switch unit := escapedUnit(text[i-1:]); {
		case unit>>10 == 0xD800>>10 && escapedUnit(text[i+5:])>>10 == 0xDC00>>10:
			i += 10
		case unit>>11 == 0xD800>>11:
			return i - 1
		}
	}
	return -1
}

// escapedUnit is the code unit of the \uXXXX at the beginning of text, or 0.
func escapedUnit(text []byte) uint64 {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0
	}
	unit, _ := strconv.ParseUint(string(text[2:6]), 16, 16)
	return unit
}
