package schema

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"behest/command"
)

const (
	// schemasMax is far beyond what 64 KiB of params have members, and keeps
	// the library quick: it looks for each schema among all others.
	schemasMax = 2048
	// Patterns become programs, and x{1000} is a thousand instructions.
	patternBytesMax = 256
	programsMax     = 16 << 10 // instructions in a document; a MiB of memory
	countMax        = 1 << 31  // of items, characters or members: nothing has more
)

// atlas is a document as a map: every schema in it, and the ways between them.
type atlas struct {
	part     string            // where the document stands in its type
	places   map[string]*place // by pointer
	inOrder  []*place          // as they were found
	anchors  map[string]*place
	refs     []ref
	patterns map[string]jsonschema.Regexp
	programs int // instructions in patterns
	faults   []command.Field
}

// place is one schema of a document.
type place struct {
	at    string // pointer, without the part
	lets  kinds  // what its `type` lets through
	own   int    // steps beside the first that it takes alone
	same  []*place
	array [][]*place // of each group at most one looks at a value inside an array
	items []*place   // such a group: items and prefixItems
	props []*place   // likewise of an object: properties and additionalProperties
	table [][]*place
	steps [depths + 1][kindsEnd]steps // see cost.go
	tall  int                         // likewise
}

type ref struct {
	from *place
	to   string
}

// kinds is a set of kinds of values, as far as a schema treats them apart.
type kinds uint8

const (
	scalar = iota
	array
	object
	kindsEnd

	everyKind = kinds(1<<kindsEnd - 1)
)

// shape is how a keyword holds schemas.
type shape uint8

const (
	one    shape = iota // a schema
	list                // an array of them
	byName              // an object of them
)

// use is what they are for: which values they look at.
type use uint8

const (
	nothing use = iota // until somebody refers to them
	theSame
	eachItem     // an item that no other of the kind has looked at
	eachMember   // likewise of an object
	itemsAgain   // every item, whatever else looks at it
	membersAgain // likewise of an object
	inPattern    // likewise, and the name is a pattern
)

// keywords are those with schemas in them. Draft 2020-12, and what the library
// reads of older ones.
var keywords = map[string]struct {
	shape shape
	use   use
}{
	"$defs": {byName, nothing}, "definitions": {byName, nothing}, "contentSchema": {one, nothing},
	"allOf": {list, theSame}, "anyOf": {list, theSame}, "oneOf": {list, theSame}, "not": {one, theSame},
	"if": {one, theSame}, "then": {one, theSame}, "else": {one, theSame},
	"dependentSchemas": {byName, theSame}, "dependencies": {byName, theSame},
	"items": {one, eachItem}, "prefixItems": {list, eachItem},
	"contains": {one, itemsAgain}, "unevaluatedItems": {one, itemsAgain},
	"properties": {byName, eachMember}, "additionalProperties": {one, eachMember},
	"patternProperties": {byName, inPattern}, "propertyNames": {one, membersAgain}, "unevaluatedProperties": {one, membersAgain},
}

// counts are the keywords whose number is a count.
var counts = []string{"maxContains", "maxItems", "maxLength", "maxProperties", "minContains", "minItems", "minLength", "minProperties"}

// refused are keywords that mean something and are not served.
var refused = []string{"$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef", "$vocabulary"}

// dear are keywords whose values are gone through one by one, and how many of
// them make a step.
var dear = map[string]int{
	"enum": 1, "const": 1,
	"required": namesPerStep, "dependentRequired": namesPerStep, "dependencies": namesPerStep,
}

// exact are the keywords that take exact arithmetic.
var exact = []string{"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}

// readAtlas maps a document, and names what may not be in it.
func readAtlas(document any, part string) *atlas {
	a := &atlas{
		part: part, places: make(map[string]*place), anchors: make(map[string]*place),
		patterns: make(map[string]jsonschema.Regexp),
	}
	a.add(document, "")
	if len(a.inOrder) == schemasMax {
		a.fault("", "holds over %d schemas", schemasMax-1)
		return a
	}
	for _, r := range a.refs {
		if to := a.find(r.to); to != nil {
			r.from.same = append(r.from.same, to)
			continue
		}
		a.fault(r.from.at+"/$ref", "must begin with # and name a schema in this document; nothing is fetched")
	}
	return a
}

func (a *atlas) fault(at, format string, args ...any) {
	a.faults = append(a.faults, command.Field{Pointer: a.part + at, Detail: fmt.Sprintf(format, args...)})
}

// add maps the schema v and all within it. The names are taken in order, so
// that the same document always has the same faults.
func (a *atlas) add(v any, at string) *place {
	p := &place{at: at, lets: everyKind}
	if len(a.inOrder) == schemasMax {
		return p // and no further
	}
	a.places[at], a.inOrder = p, append(a.inOrder, p)
	schema, ok := v.(map[string]any)
	if !ok {
		return p
	}
	a.check(p, schema)
	for _, name := range slices.Sorted(maps.Keys(schema)) {
		if k, ok := keywords[name]; ok {
			a.enter(p, schema[name], at+"/"+escape(name), k.shape, k.use)
		}
	}
	return p
}

// check reads the keywords of a schema that hold no others.
func (a *atlas) check(p *place, schema map[string]any) {
	if to, ok := schema["$ref"].(string); ok {
		a.refs = append(a.refs, ref{p, to})
	}
	if name, ok := schema["$anchor"].(string); ok {
		if a.anchors[name] != nil {
			a.fault(p.at+"/$anchor", "is there twice")
		}
		a.anchors[name] = p
	}
	if s, ok := schema["$schema"].(string); ok && strings.TrimSuffix(s, "#") != draft {
		a.fault(p.at+"/$schema", "must be %s, or be left out", draft)
	}
	if _, ok := schema["$id"]; ok && p.at != "" {
		a.fault(p.at+"/$id", "is served at the top only")
	}
	for _, name := range refused {
		if _, ok := schema[name]; ok {
			a.fault(p.at+"/"+name, "is not served")
		}
	}
	for _, name := range counts {
		if n, ok := schema[name].(json.Number); ok {
			if f, err := n.Float64(); err != nil || f > countMax {
				a.fault(p.at+"/"+name, "is over %d", countMax)
			}
		}
	}
	if text, ok := schema["pattern"].(string); ok {
		p.own += a.pattern(text, p.at+"/pattern")
	}
	for name, perStep := range dear {
		if v, ok := schema[name]; ok {
			p.own += count(v) / perStep
		}
	}
	for _, name := range exact {
		if schema[name] != nil {
			p.own += stepsOfNumber
		}
	}
	if v, ok := schema["type"]; ok {
		p.lets = letsThrough(v)
	}
}

// letsThrough is what the keyword `type` lets through.
func letsThrough(v any) (lets kinds) {
	names, ok := v.([]any)
	if !ok {
		names = []any{v}
	}
	for _, name := range names {
		switch name {
		case "array":
			lets |= 1 << array
		case "object":
			lets |= 1 << object
		default:
			lets |= 1 << scalar
		}
	}
	return lets
}

// enter maps the schemas that a keyword holds.
func (a *atlas) enter(p *place, v any, at string, s shape, u use) {
	switch v := v.(type) {
	case map[string]any:
		if s == one {
			a.join(p, a.add(v, at), u)
		}
		if s != byName {
			return
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if _, ok := v[name].([]any); ok {
				continue // of dependencies: names of members
			}
			inner := a.add(v[name], at+"/"+escape(name))
			if u == inPattern {
				inner.own += a.pattern(name, inner.at)
			}
			a.join(p, inner, u)
		}
	case []any:
		if s != list {
			return
		}
		for i := range v {
			a.join(p, a.add(v[i], at+"/"+strconv.Itoa(i)), u)
		}
	case bool:
		if s == one {
			a.join(p, a.add(v, at), u)
		}
	}
}

// join notes which values to looks at when from does.
func (a *atlas) join(from, to *place, u use) {
	switch u {
	case theSame:
		from.same = append(from.same, to)
	case eachItem:
		from.items = append(from.items, to)
	case eachMember:
		from.props = append(from.props, to)
	case itemsAgain:
		from.array = append(from.array, []*place{to})
	case membersAgain, inPattern:
		from.table = append(from.table, []*place{to})
	}
}

// find is the schema that a $ref names, or nil.
func (a *atlas) find(to string) *place {
	fragment, ok := strings.CutPrefix(to, "#")
	if !ok {
		return nil
	}
	fragment, err := url.PathUnescape(fragment)
	switch {
	case err != nil:
		return nil
	case fragment == "" || fragment[0] == '/':
		return a.places[fragment]
	}
	return a.anchors[fragment]
}

// pattern compiles a regular expression, and answers how many steps it takes
// more than a schema without one.
func (a *atlas) pattern(text, at string) int {
	if len(text) > patternBytesMax {
		a.fault(at, "is a pattern of over %d bytes", patternBytesMax)
		return 0
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		a.fault(at, "is no regular expression of RE2: %v", err)
		return 0
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		a.fault(at, "is no regular expression of RE2: %v", err)
		return 0
	}
	if a.programs > programsMax {
		return 0 // said already
	}
	if a.programs += len(program.Inst); a.programs > programsMax {
		a.fault(at, "comes, with the patterns before it, to a program of over %d instructions", programsMax)
		return 0
	}
	a.patterns[text] = regexp.MustCompile(text)
	return len(program.Inst) / instructionsPerStep
}

var escapes = strings.NewReplacer("~", "~0", "/", "~1") // [RFC 6901 3]

func escape(name string) string { return escapes.Replace(name) }
