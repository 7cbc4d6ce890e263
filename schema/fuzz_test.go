package schema_test

import (
	"encoding/json"
	"testing"

	"behest/command"
	"behest/schema"
)

// FuzzParams holds any params against any schema. Nothing panics; what is
// accepted has bytes, what is refused has a reason; and what came through as
// params would come back as a result.
func FuzzParams(f *testing.F) {
	for _, s := range []string{pump, `{}`, `true`, `false`, `7`, `{"type":"integr"}`, `{"$ref":"#"}`, `{"$ref":"#a","$defs":{"b":{"$anchor":"a"}}}`,
		`{"items":{"allOf":[{"$ref":"#"},{"$ref":"#"}]}}`, `{"prefixItems":[true,{"const":1}],"unevaluatedItems":false}`, doubling(20, "anyOf"),
		`{"dependencies":{"a":["b"],"b":{"minProperties":3}},"unevaluatedProperties":{"type":"null"}}`, `{"$dynamicRef":"#a"}`,
		`{"patternProperties":{"^\\p{Cc}":false},"propertyNames":{"maxLength":2}}`, `{"if":{"type":"string"},"then":{"minLength":2},"else":{"maximum":1e400}}`,
		`{"enum":[1,1.0,{"$bytes":"AA"}],"contains":{"type":"null"},"minContains":2,"uniqueItems":true}`} {
		for _, p := range []string{``, `null`, `{"rpm":1200,"limits":[1.5]}`, `[1,"a",[[[[[[[[[]]]]]]]]]`, `18446744073709551616`, `{"$bytes":"AA"}`,
			`{"a":1,"a":2}`, `1e400`, `0e401`, `-0.0`, `"\ud800"`, `{"$$bytes":1,"$cbor":2}`, `{} {}`} {
			f.Add(s, p)
		}
	}
	set := schema.New()
	f.Fuzz(func(t *testing.T, text, params string) {
		typ := command.Type{Name: "t", Params: json.RawMessage(text), Result: json.RawMessage(text)}
		if faults := set.Compile(typ); len(faults) > 0 {
			if _, _, err := set.Params(typ, raw(params)); err == nil {
				t.Fatalf("%q does not compile, and was used", text)
			}
			return
		}
		item, faults, err := set.Params(typ, raw(params))
		switch {
		case err != nil:
			if json.Valid([]byte(params)) || item != nil || len(faults) > 0 {
				t.Errorf("%q by %q: %x %v %v", params, text, item, faults, err)
			}
		case len(faults) > 0:
			if item != nil || len(faults) > 32 {
				t.Errorf("%q by %q: %x with %d faults", params, text, item, len(faults))
			}
		case item != nil && !set.Result(typ, item):
			t.Errorf("%q by %q came through as %x, and is no result", params, text, item)
		}
	})
}
