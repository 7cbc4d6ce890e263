package cbor

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"behest/command"
)

// JSONOptions say what a command type asks of its params.
type JSONOptions struct {
	Float32  bool // no float shorter than float32
	BytesMax int  // of the CBOR; 0: command.ParamsBytesMax
}

const (
	bytesName = "$bytes" // {"$bytes": "base64url"} is a byte string
	cborName  = "$cbor"  // {"$cbor": "hex"} is an item that JSON cannot carry

	// faultsMax is how many faults are named at once. Who reads 32 has enough
	// to do, and a hostile text gets no answer much larger than itself.
	faultsMax = 32
	// pointerPartBytesMax: a longer name is cut within a pointer, which then
	// still serves a person.
	pointerPartBytesMax = 256
)

// FromJSON turns one JSON value into deterministic CBOR. Pointers in the error
// are relative to raw.
func FromJSON(raw []byte, o JSONOptions) ([]byte, error) {
	if err := json.Unmarshal(raw, new(json.RawMessage)); err != nil {
		return nil, notJSON(err)
	}
	var m jsonMapper
	v := m.value(readJSON(raw), DepthMax)
	if len(m.faults) == 0 {
		mode := deterministic
		if o.Float32 {
			mode = asTyped // number makes no float16
		}
		b := must(mode.Marshal(v))
		most := o.BytesMax
		if most == 0 {
			most = command.ParamsBytesMax
		}
		if len(b) <= most {
			return b, nil
		}
		m.fault("takes " + strconv.Itoa(len(b)) + " bytes of CBOR, at most " + strconv.Itoa(most))
	}
	return nil, &command.Error{Code: command.CodeInvalid, Msg: "a value does not map to CBOR", Fields: m.faults}
}

func notJSON(err error) error {
	detail := err.Error()
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		detail += " (byte " + strconv.FormatInt(e.Offset, 10) + ")"
	}
	return &command.Error{
		Code: command.CodeMalformed, Msg: "not JSON", Err: err,
		Fields: []command.Field{{Detail: detail}},
	}
}

// jsonObject is an object as it is written: encoding/json would keep only the
// last of two equal names.
type jsonObject []jsonMember

type jsonMember struct {
	name  jsonText
	value any
}

// jsonText is a string, and what encoding/json replaced in it, if anything.
type jsonText struct{ text, fault string }

// jsonReader reads a text that is known to be JSON.
type jsonReader struct {
	raw []byte
	dec *json.Decoder
}

func readJSON(raw []byte) any {
	r := jsonReader{raw, json.NewDecoder(bytes.NewReader(raw))}
	r.dec.UseNumber()
	return r.value()
}

// value is the next one: nil, a bool, a json.Number, a jsonText, a []any or a
// jsonObject.
func (r jsonReader) value() any {
	from := r.dec.InputOffset()
	token := r.token()
	switch token := token.(type) {
	case string:
		return jsonText{token, textFault(r.raw[from:r.dec.InputOffset()])}
	case json.Delim:
		if token == '[' {
			list := []any{}
			for r.dec.More() {
				list = append(list, r.value())
			}
			r.token() // ]
			return list
		}
		object := jsonObject{}
		for r.dec.More() {
			name := r.value().(jsonText)
			object = append(object, jsonMember{name, r.value()})
		}
		r.token() // }
		return object
	}
	return token
}

func (r jsonReader) token() json.Token {
	token, err := r.dec.Token()
	if err != nil {
		panic("cbor: a JSON text is none: " + err.Error())
	}
	return token
}

// escapes are a pair of surrogates, a half of one, and any other escape, which
// may be that of a backslash.
var escapes = regexp.MustCompile(`(?i)\\ud[89ab]..\\ud[c-f]..|\\ud[89a-f]..|\\.`)

// textFault says why the string that ends the text raw cannot be kept as it is.
func textFault(raw []byte) string {
	const half = len(`\ud800`)
	if !utf8.Valid(raw) {
		return "not UTF-8"
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return ""
	}
	for _, escape := range escapes.FindAll(raw, -1) {
		if len(escape) == half { // no text in UTF-8 can hold it [RFC 8259 8.2]
			return "half of a surrogate pair"
		}
	}
	return ""
}

// jsonMapper makes Go values that the library writes out of those that were
// read. What does not map is noted.
type jsonMapper struct {
	pointer []byte // to the value at hand [RFC 6901]
	faults  []command.Field
}

func (m *jsonMapper) fault(detail string) {
	if len(m.faults) < faultsMax {
		m.faults = append(m.faults, command.Field{Pointer: string(m.pointer), Detail: detail})
	}
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// enter extends the pointer by a part; its result takes it off again.
func (m *jsonMapper) enter(part string) (leave func()) {
	length := len(m.pointer)
	if len(part) > pointerPartBytesMax {
		part = strings.ToValidUTF8(part[:pointerPartBytesMax], "") + "…"
	}
	m.pointer = append(m.pointer, '/')
	m.pointer = append(m.pointer, pointerEscapes.Replace(part)...)
	return func() { m.pointer = m.pointer[:length] }
}

// value maps v. depth is how many levels may still open.
func (m *jsonMapper) value(v any, depth int) any {
	switch v := v.(type) {
	case json.Number:
		return m.number(string(v))
	case jsonText:
		if v.fault != "" {
			m.fault(v.fault)
		}
		return v.text
	case []any:
		if !m.deep(depth) {
			for i := range v {
				leave := m.enter(strconv.Itoa(i))
				v[i] = m.value(v[i], depth-1)
				leave()
			}
		}
		return v
	case jsonObject:
		if text, ok := v.byteString(); ok {
			return m.bytes(text)
		}
		if m.deep(depth) {
			return nil
		}
		return m.object(v, depth-1)
	}
	return v // true, false, null
}

func (m *jsonMapper) deep(depth int) bool {
	if depth == 0 {
		m.fault("nested deeper than " + strconv.Itoa(DepthMax))
	}
	return depth == 0
}

func (m *jsonMapper) object(o jsonObject, depth int) map[string]any {
	out := make(map[string]any, len(o))
	for _, member := range o {
		name := fromJSONName(member.name.text)
		leave := m.enter(member.name.text)
		_, twice := out[name]
		switch {
		case member.name.fault != "":
			m.fault("name: " + member.name.fault)
		case member.name.text == bytesName:
			m.fault("stands alone and holds base64url; as a name, write $" + bytesName)
		case member.name.text == cborName:
			m.fault("not taken, only shown; as a name, write $" + cborName)
		case twice:
			m.fault("name said twice")
		}
		out[name] = m.value(member.value, depth)
		leave()
	}
	return out
}

// byteString is the text in {"$bytes": ".."}, if o is that.
func (o jsonObject) byteString() (text string, ok bool) {
	if len(o) != 1 || o[0].name.text != bytesName {
		return "", false
	}
	value, ok := o[0].value.(jsonText)
	return value.text, ok
}

func (m *jsonMapper) bytes(text string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(text)
	// The library passes over line ends and loose bits; we do not.
	if err != nil || base64.RawURLEncoding.EncodeToString(b) != text {
		leave := m.enter(bytesName)
		m.fault("not base64url without padding")
		leave()
	}
	return b
}

// reservedName says whether name is one of the two, or one of these behind more
// dollars: in JSON it then has one dollar more than in CBOR.
func reservedName(name string) bool {
	rest := strings.TrimLeft(name, "$")
	return len(rest) < len(name) && (rest == bytesName[1:] || rest == cborName[1:])
}

func toJSONName(name string) string {
	if reservedName(name) {
		return "$" + name
	}
	return name
}

func fromJSONName(name string) string {
	if reservedName(name) && name[1] == '$' {
		return name[1:]
	}
	return name
}
