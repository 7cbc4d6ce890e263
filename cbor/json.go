package cbor

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
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
	r := jsonReader{text: raw, shortest: info2Bytes}
	if o.Float32 {
		r.shortest = info4Bytes
	}
	b := r.value(nil, DepthMax)
	most := o.BytesMax
	if most == 0 {
		most = command.ParamsBytesMax
	}
	if len(r.faults) == 0 && len(b) > most {
		r.fault("takes " + strconv.Itoa(len(b)) + " bytes of CBOR, at most " + strconv.Itoa(most))
	}
	if len(r.faults) > 0 {
		return nil, &command.Error{Code: command.CodeInvalid, Msg: "a value does not map to CBOR", Fields: r.faults}
	}
	return b, nil
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

// jsonReader walks a text that is known to be JSON, so it need not ask what
// comes next, only which of the possible things it is. What does not map is
// noted, and something sound stands in for it.
type jsonReader struct {
	text     []byte
	at       int // text[:at] is behind us
	shortest byte
	pointer  []byte // to the value at hand [RFC 6901]
	faults   []command.Field
}

func (r *jsonReader) fault(detail string) {
	if len(r.faults) < faultsMax {
		r.faults = append(r.faults, command.Field{Pointer: string(r.pointer), Detail: detail})
	}
}

// enter extends the pointer by a part; its result takes it off again.
func (r *jsonReader) enter(part string) (leave int) {
	leave = len(r.pointer)
	if len(part) > pointerPartBytesMax {
		part = part[:pointerPartBytesMax] + "…"
	}
	part = strings.ToValidUTF8(part, "\uFFFD")
	r.pointer = append(r.pointer, '/')
	part = strings.ReplaceAll(part, "~", "~0")
	r.pointer = append(r.pointer, strings.ReplaceAll(part, "/", "~1")...)
	return leave
}

func (r *jsonReader) leave(to int) { r.pointer = r.pointer[:to] }

// peek passes white space and is the byte that follows.
func (r *jsonReader) peek() byte {
	for {
		switch c := r.text[r.at]; c {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return c
		}
	}
}

// value appends the next value. depth is how many levels may still open.
func (r *jsonReader) value(dst []byte, depth int) []byte {
	switch c := r.peek(); c {
	case '{', '[':
		if out, ok := r.byteString(dst); ok {
			return out
		}
		if depth == 0 {
			r.fault("nested deeper than " + strconv.Itoa(DepthMax))
			r.skip()
			return appendNull(dst)
		}
		if c == '[' {
			return r.array(dst, depth-1)
		}
		return r.object(dst, depth-1)
	case '"':
		s, fault := r.str()
		if fault != "" {
			r.fault(fault)
		}
		return appendText(dst, s)
	case 't':
		r.at += len("true")
		return appendBool(dst, true)
	case 'f':
		r.at += len("false")
		return appendBool(dst, false)
	case 'n':
		r.at += len("null")
		return appendNull(dst)
	}
	return r.number(dst)
}

func (r *jsonReader) array(dst []byte, depth int) []byte {
	start, n := len(dst), 0
	r.at++ // [
	for c := r.peek(); c != ']'; c = r.peek() {
		if c == ',' {
			r.at++
		}
		leave := r.enter(strconv.Itoa(n))
		dst = r.value(dst, depth)
		r.leave(leave)
		n++
	}
	r.at++ // ]
	return insertHead(dst, start, majorArray, n)
}

func (r *jsonReader) object(dst []byte, depth int) []byte {
	start, n := len(dst), 0
	seen := map[string]bool{}
	r.at++ // {
	for c := r.peek(); c != '}'; c = r.peek() {
		if c == ',' {
			r.at++
			r.peek()
		}
		name, fault := r.str()
		leave := r.enter(name)
		switch {
		case fault != "":
			r.fault("name: " + fault)
		case seen[name]:
			r.fault("name said twice")
		case name == bytesName:
			r.fault("stands alone and holds base64url; as a name, write $" + name)
		case name == cborName:
			r.fault("not taken, only shown; as a name, write $" + name)
		}
		seen[name] = true
		r.peek()
		r.at++ // :
		dst = r.value(appendText(dst, fromJSONName(name)), depth)
		r.leave(leave)
		n++
	}
	r.at++ // }
	sortPairs(dst[start:], n)
	return insertHead(dst, start, majorMap, n)
}

// insertHead puts the head of n elements before those that begin at start.
func insertHead(dst []byte, start int, major byte, n int) []byte {
	var room [9]byte
	return slices.Insert(dst, start, appendHead(room[:0], major, uint64(n))...)
}

// byteString appends the byte string that {"$bytes": ".."} stands for. If
// something else is next, it is left there.
func (r *jsonReader) byteString(dst []byte) (out []byte, ok bool) {
	start := r.at
	defer func() {
		if !ok {
			r.at = start
		}
	}()
	if r.text[r.at] != '{' {
		return dst, false
	}
	r.at++ // {
	if r.peek() != '"' {
		return dst, false
	}
	if name, _ := r.str(); name != bytesName {
		return dst, false
	}
	r.peek()
	r.at++ // :
	if r.peek() != '"' {
		return dst, false
	}
	text, _ := r.str()
	if r.peek() != '}' {
		return dst, false
	}
	r.at++ // }
	b, err := base64.RawURLEncoding.DecodeString(text)
	// The library passes over line ends and loose bits; we do not.
	if err != nil || base64.RawURLEncoding.EncodeToString(b) != text {
		leave := r.enter(bytesName)
		r.fault("not base64url without padding")
		r.leave(leave)
	}
	return append(appendHead(dst, majorBytes, uint64(len(b))), b...), true
}

// str takes a string. On a fault its value is the nearest sound one.
func (r *jsonReader) str() (s, fault string) {
	token := r.stringToken()
	body := token[1 : len(token)-1]
	switch {
	case !utf8.Valid(body):
		fault = "not UTF-8"
	case hasLoneSurrogate(body):
		fault = "half of a surrogate pair"
	}
	if fault == "" && bytes.IndexByte(body, '\\') < 0 {
		return string(body), ""
	}
	if err := json.Unmarshal(token, &s); err != nil {
		panic("cbor: a string of a JSON text is none: " + err.Error())
	}
	return s, fault
}

// stringToken takes a string as it is written, quotes included.
func (r *jsonReader) stringToken() []byte {
	start := r.at
	for r.at++; r.text[r.at] != '"'; r.at++ {
		if r.text[r.at] == '\\' {
			r.at++
		}
	}
	r.at++
	return r.text[start:r.at]
}

// skip passes over an array or an object.
func (r *jsonReader) skip() {
	for open := 0; ; {
		switch r.peek() {
		case '"':
			r.stringToken()
			continue
		case '{', '[':
			open++
		case '}', ']':
			open--
		}
		r.at++
		if open == 0 {
			return
		}
	}
}

// hasLoneSurrogate says whether an escape in body is half of a pair: no text
// in UTF-8 can hold it [RFC 8259 8.2].
func hasLoneSurrogate(body []byte) bool {
	high := false // the escape just passed waits for its other half
	for i := 0; i < len(body); i++ {
		unit := rune(0)
		if body[i] == '\\' {
			i++
			if body[i] == 'u' {
				v, _ := strconv.ParseUint(string(body[i+1:i+5]), 16, 16)
				unit = rune(v)
				i += 4
			}
		}
		low := unit >= 0xdc00 && unit <= 0xdfff
		if low != high {
			return true
		}
		high = unit >= 0xd800 && unit <= 0xdbff
	}
	return high
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
