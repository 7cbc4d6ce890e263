package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"behest/cbor"
	"behest/command"
)

// draft is the one language that schemas are written in.
const draft = "https://json-schema.org/draft/2020-12/schema"

// here is the name of a document while it is compiled. Nothing has it outside.
const here = "urn:behest:schema"

const (
	// documentDepthMax: params are at most 8 deep, a schema takes two or three
	// levels for each of theirs.
	documentDepthMax = 32
	// Digits and exponents of float64. Arithmetic is exact, and 1e999999 would
	// take a million digits.
	numberBytesMax = 1100
	exponentMax    = 400
	// valuesMax: a CBOR item of 64 KiB cannot hold more.
	valuesMax = command.LargeParamsBytesMax
)

// compile is a schema of t, or all that is wrong with it; nil for none.
func (s *Set) compile(t command.Type, part string, source json.RawMessage) (*jsonschema.Schema, []command.Field) {
	whole := func(format string, args ...any) []command.Field {
		return []command.Field{{Pointer: part, Detail: fmt.Sprintf(format, args...)}}
	}
	if source == nil {
		return nil, nil
	}
	if len(source) > command.SchemaBytesMax {
		return nil, whole("is over %d bytes", command.SchemaBytesMax)
	}
	document, err := decode(source)
	if err != nil {
		return nil, whole("is no JSON: %v", err)
	}
	if what := unfit(document, documentDepthMax); what != "" {
		return nil, whole("%s", what)
	}
	faults := told(s.meta.Validate(document), part, document)
	a := readAtlas(document, part)
	if faults = append(faults, a.faults...); len(faults) == 0 {
		faults = a.cost(t.Policy.Large)
	}
	if len(faults) > 0 {
		return nil, tidy(faults)
	}
	schema, err := compiler(a.patterns, document).Compile(here)
	if err != nil {
		return nil, whole("does not compile: %.200s", err)
	}
	return schema, nil
}

// compiler is one that has document, and fetches nothing.
func compiler(patterns map[string]jsonschema.Regexp, document any) *jsonschema.Compiler {
	if top, ok := document.(map[string]any); ok {
		delete(top, "$schema") // checked, and the same for all
		delete(top, "$id")     // a name under which nobody looks
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(jsonschema.SchemeURLLoader{})
	c.UseRegexpEngine(func(text string) (jsonschema.Regexp, error) {
		if p, ok := patterns[text]; ok {
			return p, nil
		}
		return nil, fmt.Errorf("the pattern %.64q was not looked at", text)
	})
	if err := c.AddResource(here, document); err != nil {
		panic(fmt.Sprintf("schema: a new compiler has %s already: %v", here, err))
	}
	return c
}

// metaSchema says what a schema is. It is part of the library.
func metaSchema() *jsonschema.Schema {
	c := jsonschema.NewCompiler()
	c.UseLoader(jsonschema.SchemeURLLoader{})
	return c.MustCompile(draft)
}

func decode(raw json.RawMessage) (any, error) {
	return jsonschema.UnmarshalJSON(bytes.NewReader(raw))
}

// unfit says why nobody should calculate with v, or nothing.
func unfit(v any, depth int) string {
	switch v := v.(type) {
	case json.Number:
		if !plain(string(v)) {
			return fmt.Sprintf("holds the number %.32s, which no float64 and no integer of 64 bits comes near", v)
		}
	case map[string]any:
		if depth == 0 {
			return "is nested too deep"
		}
		for _, inner := range v {
			if what := unfit(inner, depth-1); what != "" {
				return what
			}
		}
	case []any:
		if depth == 0 {
			return "is nested too deep"
		}
		for _, inner := range v {
			if what := unfit(inner, depth-1); what != "" {
				return what
			}
		}
	}
	return ""
}

// plain reports whether exact arithmetic with a number is cheap.
func plain(text string) bool {
	at := strings.IndexAny(text, "eE")
	if at < 0 {
		return len(text) <= numberBytesMax
	}
	exponent, err := strconv.Atoi(text[at+1:])
	return err == nil && len(text) <= numberBytesMax && max(exponent, -exponent) <= exponentMax
}

// measured reports whether v is of a size that the cost of a schema was
// reckoned for.
func measured(v any) bool {
	return unfit(v, cbor.DepthMax) == "" && count(v) <= valuesMax
}

// count is how many values v is.
func count(v any) int {
	n := 1
	switch v := v.(type) {
	case map[string]any:
		for _, inner := range v {
			n += count(inner)
		}
	case []any:
		for _, inner := range v {
			n += count(inner)
		}
	}
	return n
}
