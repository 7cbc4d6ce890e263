package command

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// RollbackParamsMax bounds what an inverse can be told.
const RollbackParamsMax = 32

// RollbackRule is what a type says about the way back.
type RollbackRule struct {
	Kind      RollbackKind               `json:"kind"`
	Type      string                     `json:"type,omitempty"`   // inverse: by which type
	Params    map[string]json.RawMessage `json:"params,omitempty"` // inverse: by name, a pointer into the params, or a literal
	Automatic *Threshold                 `json:"automatic,omitempty"`
}

// RollbackKind is how a command is undone.
type RollbackKind string

const (
	Irreversible RollbackKind = "irreversible"
	Inverse      RollbackKind = "inverse" // another type does the opposite
	Restore      RollbackKind = "restore" // the same type, with the value before
)

// Reversible reports whether there is a way back.
func (r *RollbackRule) Reversible() bool { return r != nil && r.Kind != Irreversible }

func (r *RollbackRule) check(name string, fault func(pointer, format string, args ...any)) {
	if r == nil {
		return
	}
	switch r.Kind {
	case Irreversible, Restore:
		if r.Type != "" || r.Params != nil {
			fault("/rollback", "%s names neither type nor params", r.Kind)
		}
	case Inverse:
		if what := CheckTypeName(r.Type); what != "" {
			fault("/rollback/type", "%s", what)
		}
	default:
		fault("/rollback/kind", "is none of %s, %s and %s", Irreversible, Inverse, Restore)
	}
	if r.Kind == Irreversible && r.Automatic != nil {
		fault("/rollback/automatic", "there is nothing to do automatically")
	}
	if len(r.Params) > RollbackParamsMax {
		fault("/rollback/params", "are %d; at most %d are allowed", len(r.Params), RollbackParamsMax)
	}
	r.Automatic.check("/rollback/automatic", fault)
}

// InverseParams are the params of the command that undoes one with params. A
// text that begins with a slash is a pointer into those; two slashes stand for
// a text that begins with one.
func (r *RollbackRule) InverseParams(params json.RawMessage) (json.RawMessage, error) {
	if len(r.Params) == 0 {
		return nil, nil
	}
	out := make(map[string]json.RawMessage, len(r.Params))
	for _, name := range slices.Sorted(maps.Keys(r.Params)) {
		said := r.Params[name]
		var text string
		if json.Unmarshal(said, &text) == nil && strings.HasPrefix(text, "/") {
			if rest, literal := strings.CutPrefix(text, "//"); literal {
				said, _ = json.Marshal("/" + rest) // of a string
			} else {
				at, ok := Pointed(params, text)
				if !ok {
					return nil, fmt.Errorf("the params of the command have nothing at %s, which %q of its inverse is made of", text, name)
				}
				said = at
			}
		}
		out[name] = said
	}
	return json.Marshal(out)
}

// SlotOf names what a command of type t with these params sets on a device. 0:
// the type has no way back, and nobody asks.
func (t *Type) SlotOf(params json.RawMessage) int64 {
	if !t.Rollback.Reversible() {
		return 0
	}
	h := sha256.New()
	text := func(b []byte) {
		h.Write(binary.AppendUvarint(nil, uint64(len(b))))
		h.Write(b)
	}
	text([]byte(t.Name))
	for _, p := range t.Slot {
		at, _ := Pointed(params, p)
		var v any
		_ = json.Unmarshal(at, &v) // what is not there is a slot too
		canonical, _ := json.Marshal(v)
		text(canonical)
	}
	return int64(binary.BigEndian.Uint64(h.Sum(nil)) | 1) // never 0
}

// RollbackIntent is what an operator asks for who wants a command undone.
type RollbackIntent struct {
	Devices []string // of the command's; none: all that it may have had an effect on
	Force   bool     // although a newer command has set the same
	Reason  string   // needed with Force
	By      string
}
