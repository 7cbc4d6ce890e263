package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// bytesKey is the one member of a JSON object that stands for a byte string.
const bytesKey = "$bytes"

// cborKey is the one member of a JSON object that shows what JSON cannot say.
const cborKey = "$cbor"

// FromJSON makes a CBOR item of a JSON text (RFC 8949 6.2): integers stay
// integers, other numbers become the shortest float that holds them exactly,
// {"$bytes": "base64url"} becomes a byte string, keys are sorted as core
// deterministic encoding wants.
func FromJSON(document []byte) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("not JSON: more than one value")
	}
	item, err := appendJSON(nil, value)
	if err != nil {
		return nil, err
	}
	return item, Check(item)
}

func appendJSON(dst []byte, value any) ([]byte, error) {
	switch v := value.(type) {
	case nil:
		return append(dst, itemNull), nil
	case bool:
		if v {
			return append(dst, itemTrue), nil
		}
		return append(dst, itemFalse), nil
	case string:
		return appendText(dst, v), nil
	case json.Number:
		return appendNumber(dst, v.String())
	case []any:
		dst = appendHead(dst, majorArray, uint64(len(v)))
		var err error
		for _, element := range v {
			if dst, err = appendJSON(dst, element); err != nil {
				return nil, err
			}
		}
		return dst, nil
	case map[string]any:
		return appendObject(dst, v)
	}
	panic(fmt.Sprintf("wire: encoding/json made a %T", value))
}

func appendNumber(dst []byte, number string) ([]byte, error) {
	if strings.ContainsAny(number, ".eE") {
		v, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return nil, fmt.Errorf("number %s: out of range", number)
		}
		return appendFloat(dst, v), nil
	}
	if v, err := strconv.ParseInt(number, 10, 64); err == nil {
		return appendInt(dst, v), nil
	}
	v, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("integer %s: beyond 64 bits", number)
	}
	return appendHead(dst, majorUint, v), nil
}

func appendObject(dst []byte, object map[string]any) ([]byte, error) {
	if encoded, ok := object[bytesKey].(string); ok && len(object) == 1 {
		content, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(encoded, "="))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", bytesKey, err)
		}
		return append(appendHead(dst, majorBytes, uint64(len(content))), content...), nil
	}
	keys := make([][]byte, 0, len(object))
	content := make(map[string]any, len(object))
	for shown, value := range object {
		key := appendText(nil, realName(shown))
		keys, content[string(key)] = append(keys, key), value
	}
	slices.SortFunc(keys, bytes.Compare) // [RFC 8949 4.2.1]
	dst = appendHead(dst, majorMap, uint64(len(keys)))
	for _, key := range keys {
		var err error
		if dst, err = appendJSON(append(dst, key...), content[string(key)]); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

// realName undoes what a name goes through that looks like ours: $$bytes stands
// for $bytes, $$$bytes for $$bytes.
func realName(shown string) string {
	bare := "$" + strings.TrimLeft(shown, "$")
	if strings.HasPrefix(shown, "$$") && (bare == bytesKey || bare == cborKey) {
		return shown[1:]
	}
	return shown
}

// ToJSON shows a well-formed item to a person. What JSON has no word for is
// shown as {"$cbor": "hex"}.
func ToJSON(item []byte) string {
	shown, rest, ok := appendShown(nil, item)
	if !ok || len(rest) > 0 {
		return fmt.Sprintf(`{"%s":"%s"}`, cborKey, hex.EncodeToString(item))
	}
	return string(shown)
}

func appendShown(dst, item []byte) ([]byte, []byte, bool) {
	h, rest, err := readHead(item)
	if err != nil {
		return nil, nil, false
	}
	switch h.major {
	case majorUint:
		return strconv.AppendUint(dst, h.arg, 10), rest, true
	case majorNegative:
		return strconv.AppendInt(dst, -1-int64(h.arg), 10), rest, h.arg <= math.MaxInt64
	case majorBytes, majorText:
		content, rest, err := take(rest, h.arg)
		if err != nil {
			return nil, nil, false
		}
		if h.major == majorText {
			quoted, err := json.Marshal(string(content))
			return append(dst, quoted...), rest, err == nil
		}
		return fmt.Appendf(dst, `{"%s":"%s"}`, bytesKey, base64.RawURLEncoding.EncodeToString(content)), rest, true
	case majorArray, majorMap:
		return appendShownInside(dst, rest, h)
	case majorSimple:
		return appendShownSimple(dst, rest, h)
	}
	return nil, nil, false
}

func appendShownInside(dst, rest []byte, h head) ([]byte, []byte, bool) {
	brackets := "[]"
	if h.major == majorMap {
		brackets = "{}"
	}
	dst = append(dst, brackets[0])
	ok := true
	for i := range h.arg {
		if i > 0 {
			dst = append(dst, ',')
		}
		if h.major == majorMap {
			if key, _, err := readHead(rest); err != nil || key.major != majorText {
				return nil, nil, false
			}
			if dst, rest, ok = appendShown(dst, rest); !ok {
				return nil, nil, false
			}
			dst = append(dst, ':')
		}
		if dst, rest, ok = appendShown(dst, rest); !ok {
			return nil, nil, false
		}
	}
	return append(dst, brackets[1]), rest, true
}

func appendShownSimple(dst, rest []byte, h head) ([]byte, []byte, bool) {
	if h.info > infoByte {
		v := floatOf(h)
		shown, err := json.Marshal(v)
		return append(dst, shown...), rest, err == nil
	}
	switch majorSimple<<5 | h.info {
	case itemFalse:
		return append(dst, "false"...), rest, true
	case itemTrue:
		return append(dst, "true"...), rest, true
	case itemNull:
		return append(dst, "null"...), rest, true
	}
	return nil, nil, false
}
