package schema

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"behest/command"
)

const (
	faultsMax    = 32  // who reads 32 has enough to do
	detailMax    = 256 // bytes of a schema that a fault repeats
	partBytesMax = 128 // a longer name is cut within a pointer; a person still knows it
)

// told is the library's error as faults in value, below the pointer at.
func told(err error, at string, value any) []command.Field {
	e, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return nil // there is no other
	}
	t := teller{at: at, value: value}
	t.tell(e)
	return t.faults
}

// tidy puts faults in order, drops what was said twice, and bounds them.
func tidy(faults []command.Field) []command.Field {
	slices.SortStableFunc(faults, func(a, b command.Field) int {
		return cmp.Or(strings.Compare(a.Pointer, b.Pointer), strings.Compare(a.Detail, b.Detail))
	})
	faults = slices.Compact(faults)
	return faults[:min(len(faults), faultsMax)]
}

type teller struct {
	at     string
	value  any
	faults []command.Field
}

// tell takes an error apart, down to what somebody can mend.
func (t *teller) tell(e *jsonschema.ValidationError) {
	switch k := e.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf:
		t.each(e.Causes)
	case *kind.AnyOf:
		t.nearest(e)
	case *kind.OneOf:
		if len(k.Subschemas) == 0 {
			t.nearest(e)
			return
		}
		t.fault(e.InstanceLocation, "is more than one of the things of which it must be one")
	case *kind.Required:
		for _, name := range k.Missing {
			t.fault(append(slices.Clip(e.InstanceLocation), name), "is missing")
		}
	case *kind.DependentRequired:
		t.missingBeside(e, k.Prop, k.Missing)
	case *kind.Dependency:
		t.missingBeside(e, k.Prop, k.Missing)
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			t.fault(append(slices.Clip(e.InstanceLocation), name), "is not known here")
		}
	case *kind.PropertyNames:
		t.badName(e, k.Property)
	default:
		t.fault(e.InstanceLocation, detail(k))
	}
}

func (t *teller) each(causes []*jsonschema.ValidationError) {
	for _, c := range causes {
		t.tell(c)
	}
}

func (t *teller) fault(location []string, text string) {
	var b strings.Builder
	b.WriteString(t.at)
	for _, name := range location {
		b.WriteByte('/')
		b.WriteString(escape(cut(name, partBytesMax)))
	}
	t.faults = append(t.faults, command.Field{Pointer: b.String(), Detail: cut(text, detailMax)})
}

func (t *teller) missingBeside(e *jsonschema.ValidationError, beside string, missing []string) {
	for _, name := range missing {
		t.fault(append(slices.Clip(e.InstanceLocation), name), fmt.Sprintf("is missing beside %q", cut(beside, partBytesMax)))
	}
}

// nearest tells of the one alternative that is for this type of value, if
// there is one, and else of none in particular.
func (t *teller) nearest(e *jsonschema.ValidationError) {
	var near []*jsonschema.ValidationError
	for _, c := range e.Causes {
		if !otherType(c, len(e.InstanceLocation)) {
			near = append(near, c)
		}
	}
	if len(near) == 1 {
		t.tell(near[0])
		return
	}
	t.fault(e.InstanceLocation, fmt.Sprintf("is none of the %d things that it may be", len(e.Causes)))
}

// otherType reports whether an alternative is for values of another type.
func otherType(e *jsonschema.ValidationError, depth int) bool {
	for {
		switch e.ErrorKind.(type) {
		case *kind.Type:
			return len(e.InstanceLocation) == depth
		case *kind.Reference:
			if len(e.Causes) == 1 {
				e = e.Causes[0]
				continue
			}
		}
		return false
	}
}

// badName tells of a member's name that may not be. The library's location of
// this one is in a buffer that it goes on to write to, so that only its length
// is right: the member is looked for at that level.
func (t *teller) badName(e *jsonschema.ValidationError, name string) {
	found := withMember(t.value, name, len(e.InstanceLocation), nil)
	if len(found) == 1 {
		t.fault(append(found[0], name), "has a name that no member may have here")
		return
	}
	t.fault(nil, fmt.Sprintf("has members within that are called %q, which not all of them may be", cut(name, partBytesMax)))
}

// withMember lists where, so many levels below v, an object has a member of
// that name. Two are as good as more.
func withMember(v any, name string, levels int, at []string) (found [][]string) {
	object, _ := v.(map[string]any)
	if levels == 0 {
		if _, there := object[name]; there {
			found = append(found, at)
		}
		return found
	}
	inside := func(part string, inner any) {
		if len(found) < 2 {
			found = append(found, withMember(inner, name, levels-1, append(slices.Clip(at), part))...)
		}
	}
	for part, inner := range object {
		inside(part, inner)
	}
	list, _ := v.([]any)
	for i, inner := range list {
		inside(strconv.Itoa(i), inner)
	}
	return found
}

// detail says in plain words what a schema wants.
func detail(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return "must be " + typeNames(k.Want)
	case *kind.Const:
		return "must be " + text(k.Want)
	case *kind.Enum:
		return "must be one of " + texts(k.Want)
	case *kind.FalseSchema:
		return "must not be there"
	case *kind.Not:
		return "is what it must not be"
	case *kind.Minimum:
		return "must be at least " + number(k.Want)
	case *kind.Maximum:
		return "must be at most " + number(k.Want)
	case *kind.ExclusiveMinimum:
		return "must be more than " + number(k.Want)
	case *kind.ExclusiveMaximum:
		return "must be less than " + number(k.Want)
	case *kind.MultipleOf:
		return "must be a multiple of " + number(k.Want)
	case *kind.MinLength:
		return fmt.Sprintf("must have at least %d characters", k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("must have at most %d characters", k.Want)
	case *kind.Pattern:
		return "must match " + k.Want
	}
	return detailOfMany(k)
}

// detailOfMany says what a schema wants of an array or an object.
func detailOfMany(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.MinItems:
		return fmt.Sprintf("must have at least %d items", k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("must have at most %d items", k.Want)
	case *kind.UniqueItems:
		return fmt.Sprintf("must not say anything twice; items %d and %d are the same", k.Duplicates[0], k.Duplicates[1])
	case *kind.Contains:
		return "has no item of the kind that it must contain"
	case *kind.MinContains:
		return fmt.Sprintf("must contain at least %d items of a kind, and has %d", k.Want, len(k.Got))
	case *kind.MaxContains:
		return fmt.Sprintf("must contain at most %d items of a kind, and has %d", k.Want, len(k.Got))
	case *kind.MinProperties:
		return fmt.Sprintf("must have at least %d members", k.Want)
	case *kind.MaxProperties:
		return fmt.Sprintf("must have at most %d members", k.Want)
	}
	return "is not as the schema has it"
}

func typeNames(names []string) string {
	list := make([]string, len(names))
	for i, n := range names {
		switch n {
		case "null":
			list[i] = n
		case "integer", "object", "array":
			list[i] = "an " + n
		default:
			list[i] = "a " + n
		}
	}
	return strings.Join(list, " or ")
}

func texts(values []any) string {
	var b strings.Builder
	for i, v := range values {
		if i > 0 {
			b.WriteString(", ")
		}
		if b.WriteString(text(v)); b.Len() > detailMax {
			break // cut there anyway
		}
	}
	return b.String()
}

// text is a value as JSON.
func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v) // it was read from JSON: it does not happen
	}
	return string(b)
}

func number(r *big.Rat) string {
	if r.IsInt() {
		return r.Num().String()
	}
	f, _ := r.Float64()
	return fmt.Sprint(f)
}

func cut(s string, bytesMax int) string {
	if len(s) <= bytesMax {
		return s
	}
	return strings.ToValidUTF8(s[:bytesMax], "") + "…"
}
