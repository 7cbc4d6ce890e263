package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"behest/cbor"
	"behest/command"
)

// keptBytesMax bounds the source of the schemas that stay compiled. Compiled,
// they take some twenty times that.
const keptBytesMax = 4 << 20

// Set reads what operators and devices say as its type has it. Its methods may
// be called from any goroutine.
type Set struct {
	meta *jsonschema.Schema // what a schema is

	mu   sync.Mutex
	kept map[key]compiled
	size int // bytes of source in kept
}

// key names one schema of a type.
type key struct {
	name    string
	version int
	part    string
}

// compiled is a schema with its source: whoever asks under the same key with
// another source is not answered with it.
type compiled struct {
	source json.RawMessage
	schema *jsonschema.Schema
}

// The parts of a type that are schemas, by their pointers in the API.
const (
	paramsPart = "/params"
	resultPart = "/result"
)

// New is a Set that has compiled nothing yet.
func New() *Set {
	return &Set{meta: metaSchema(), kept: make(map[key]compiled)}
}

// Compile names the faults of a type's schemas.
func (s *Set) Compile(t command.Type) []command.Field {
	_, params := s.compile(t, paramsPart, t.Params)
	_, result := s.compile(t, resultPart, t.Result)
	return append(params, result...)
}

// Params are params as the wire carries them, nil for none, or all that is
// wrong with them.
func (s *Set) Params(t command.Type, raw json.RawMessage) (item []byte, faults []command.Field, err error) {
	if bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
		raw = nil
	}
	if raw != nil {
		if item, faults, err = toWire(t, raw); err != nil {
			return nil, nil, err
		}
	}
	if t.Params == nil {
		return item, faults, nil
	}
	schema, err := s.of(t, paramsPart, t.Params)
	if err != nil {
		return nil, nil, err
	}
	if item != nil { // what the device will see: the same value, plainly written
		raw, _ = cbor.ToJSON(item)
	}
	broken := broken(schema, raw)
	switch {
	case raw == nil && len(broken) > 0:
		broken = []command.Field{{Pointer: paramsPart, Detail: "is missing"}}
	case len(broken) == 0 && len(faults) == 0:
		return item, nil, nil
	}
	return nil, tidy(append(faults, broken...)), nil
}

// toWire is raw as CBOR, or what the mapping would change.
func toWire(t command.Type, raw json.RawMessage) ([]byte, []command.Field, error) {
	o := cbor.JSONOptions{Float32: t.Policy.Float32, BytesMax: command.ParamsBytesMax}
	if t.Policy.Large {
		o.BytesMax = command.LargeParamsBytesMax
	}
	item, err := cbor.FromJSON(raw, o)
	if err == nil {
		return item, nil, nil
	}
	e, ok := errors.AsType[*command.Error](err)
	if !ok {
		return nil, nil, fmt.Errorf("params to CBOR: %w", err)
	}
	faults := make([]command.Field, len(e.Fields))
	for i, f := range e.Fields {
		faults[i] = command.Field{Pointer: paramsPart + f.Pointer, Detail: f.Detail}
	}
	if e.Code != command.CodeInvalid {
		return nil, nil, &command.Error{Code: e.Code, Msg: e.Msg, Fields: faults, Err: e.Err}
	}
	return nil, faults, nil
}

// broken is how the JSON in raw, nil for none, breaks schema. What the wire
// cannot carry for its size is not held against it: the cost would have no
// bound.
func broken(schema *jsonschema.Schema, raw json.RawMessage) []command.Field {
	var value any
	if raw != nil {
		var err error
		if value, err = decode(raw); err != nil || !measured(value) {
			return nil
		}
	}
	return told(schema.Validate(value), paramsPart, value)
}

// Result reports whether a result is as the type has it. Without a schema it
// is, if JSON can carry it.
func (s *Set) Result(t command.Type, item []byte) bool {
	raw, ok := cbor.ToJSON(item)
	if !ok || t.Result == nil {
		return ok
	}
	schema, err := s.of(t, resultPart, t.Result)
	if err != nil {
		return false
	}
	value, err := decode(raw)
	return err == nil && measured(value) && schema.Validate(value) == nil
}

// of is the compiled schema of a type that was accepted.
func (s *Set) of(t command.Type, part string, source json.RawMessage) (*jsonschema.Schema, error) {
	k := key{t.Name, t.Version, part}
	s.mu.Lock()
	c, ok := s.kept[k]
	s.mu.Unlock()
	if ok && bytes.Equal(c.source, source) {
		return c.schema, nil
	}
	schema, faults := s.compile(t, part, source)
	if len(faults) > 0 {
		return nil, fmt.Errorf("version %d of type %q does not compile: %s %s", t.Version, t.Name, faults[0].Pointer, faults[0].Detail)
	}
	if t.Version > 0 { // no version: it may still change
		s.keep(k, compiled{source, schema})
	}
	return schema, nil
}

func (s *Set) keep(k key, c compiled) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.size+len(c.source) > keptBytesMax {
		clear(s.kept)
		s.size = 0
	}
	s.size += len(c.source) - len(s.kept[k].source)
	s.kept[k] = c
}

// JSON is what an item says, if JSON can say it.
func (s *Set) JSON(item []byte) (json.RawMessage, bool) {
	raw, whole := cbor.ToJSON(item)
	return raw, whole
}
