package schema_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"behest/command"
	"behest/schema"
)

func compiled(set *schema.Set, text string, large bool) []string {
	var got []string
	for _, f := range set.Compile(command.Type{Name: "t", Params: raw(text), Policy: command.Policy{Large: large}}) {
		got = append(got, f.Pointer+": "+f.Detail)
	}
	return got
}

func TestFaultsOfASchemaPointToTheKeyword(t *testing.T) {
	set := schema.New()
	const kinds = `must be one of "array", "boolean", "integer", "null", "number", "object", "string"`
	const local = "must begin with # and name a schema in this document; nothing is fetched"
	for name, tt := range map[string]struct {
		schema string
		want   []string
	}{
		"no object":                 {`7`, []string{"/params: must be a boolean or an object"}},
		"no JSON":                   {`{`, []string{"/params: is no JSON: unexpected EOF"}},
		"no type":                   {`{"type":"integr"}`, []string{"/params/type: " + kinds}},
		"several":                   {`{"type":"integr","minimum":"1","required":"a"}`, []string{"/params/minimum: must be a number", "/params/required: must be an array", "/params/type: " + kinds}},
		"deep within":               {`{"properties":{"a/b":{"items":{"maxLength":-1}}}}`, []string{"/params/properties/a~1b/items/maxLength: must be at least 0"}},
		"another draft":             {`{"$schema":"http://json-schema.org/draft-07/schema#"}`, []string{"/params/$schema: must be https://json-schema.org/draft/2020-12/schema, or be left out"}},
		"this draft with a hash":    {`{"$schema":"https://json-schema.org/draft/2020-12/schema#"}`, nil},
		"a remote reference":        {`{"$ref":"https://example.com/a.json"}`, []string{"/params/$ref: " + local}},
		"a file":                    {`{"properties":{"a":{"$ref":"file:///etc/passwd"}}}`, []string{"/params/properties/a/$ref: " + local}},
		"another file":              {`{"$id":"file:///etc/x.json","$ref":"passwd"}`, []string{"/params/$ref: " + local}},
		"the draft itself":          {`{"$ref":"https://json-schema.org/draft/2020-12/schema"}`, []string{"/params/$ref: " + local}},
		"a reference to nothing":    {`{"$ref":"#/$defs/a"}`, []string{"/params/$ref: " + local}},
		"to what is no schema":      {`{"properties":{"a":{}},"$ref":"#/properties"}`, []string{"/params/$ref: " + local}},
		"to an anchor":              {`{"$ref":"#a","$defs":{"b":{"$anchor":"a"}}}`, nil},
		"to an escaped name":        {`{"$ref":"#/$defs/a~1b%20c","$defs":{"a/b c":true}}`, nil},
		"an anchor twice":           {`{"$defs":{"b":{"$anchor":"a"},"c":{"$anchor":"a"}}}`, []string{"/params/$defs/c/$anchor: is there twice"}},
		"a name of its own":         {`{"$id":"https://example.com/t.json","properties":{"a":{"$ref":"#"}}}`, nil},
		"a name within":             {`{"$defs":{"a":{"$id":"https://example.com/t.json"}}}`, []string{"/params/$defs/a/$id: is served at the top only"}},
		"dynamic references":        {`{"$dynamicAnchor":"a","items":{"$dynamicRef":"#a"}}`, []string{"/params/$dynamicAnchor: is not served", "/params/items/$dynamicRef: is not served"}},
		"no pattern":                {`{"pattern":"(","patternProperties":{"[":{}}}`, []string{"/params/pattern: is no regular expression of RE2: error parsing regexp: missing closing ): `(`", "/params/patternProperties/[: is no regular expression of RE2: error parsing regexp: missing closing ]: `[`"}},
		"a pattern that looks back": {`{"pattern":"(a)\\1"}`, []string{"/params/pattern: is no regular expression of RE2: error parsing regexp: invalid escape sequence: `\\1`"}},
		"a long pattern":            {`{"pattern":"` + strings.Repeat("x", 257) + `"}`, []string{"/params/pattern: is a pattern of over 256 bytes"}},
		"without end":               {`{"$ref":"#"}`, []string{"/params: comes back to itself on the same value, without end, or nests over 64 deep there"}},
		"without end by another":    {`{"allOf":[{"$ref":"#/$defs/a"}],"$defs":{"a":{"not":{"$ref":"#"}}}}`, []string{"/params: comes back to itself on the same value, without end, or nests over 64 deep there"}},
		"a tree":                    {`{"type":"object","properties":{"left":{"$ref":"#"},"right":{"$ref":"#"}}}`, nil},
		"any JSON":                  {`{"anyOf":[{"type":["number","string","boolean","null"]},{"type":"array","items":{"$ref":"#"}},{"type":"object","additionalProperties":{"$ref":"#"}}]}`, nil},
		"a number that is a bomb":   {`{"maximum":1e999999}`, []string{"/params: holds the number 1e999999, which no float64 and no integer of 64 bits comes near"}},
		"a count that wraps":        {`{"maxLength":18446744073709551616}`, []string{"/params/maxLength: is over 2147483648"}},
		"too deep":                  {strings.Repeat(`{"not":`, 40) + "{}" + strings.Repeat("}", 40), []string{"/params: is nested too deep"}},
		"over its size":             {`{"$comment":"` + strings.Repeat("x", command.SchemaBytesMax) + `"}`, []string{"/params: is over 65536 bytes"}},
	} {
		got := compiled(set, tt.schema, false)
		if diff := cmp.Diff(got, tt.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", name, diff)
		}
	}
	faults := set.Compile(command.Type{Params: raw(`{"type":1}`), Result: raw(`{"type":2}`)})
	if len(faults) != 2 || faults[0].Pointer != "/params/type" || faults[1].Pointer != "/result/type" {
		t.Errorf("both: %v", faults)
	}
}

// doubling is n schemas of which each asks the next one twice.
func doubling(n int, keyword string) string {
	var b strings.Builder
	fmt.Fprint(&b, `{"$ref":"#/$defs/d0","$defs":{`)
	for i := range n {
		again := fmt.Sprintf(`{"$ref":"#/$defs/d%d"}`, i+1)
		fmt.Fprintf(&b, `"d%d":{"%s":[%s,%s]},`, i, keyword, again, again)
	}
	fmt.Fprintf(&b, `"d%d":{"type":"integer"}}}`, n)
	return b.String()
}

func alternatives(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`{"const":%d}`, i)
	}
	return `{"oneOf":[` + strings.Join(list, ",") + `]}`
}

// Without the bound, a doubling of forty takes a million million steps for one integer.
func TestWhatASchemaCostsIsBounded(t *testing.T) {
	set := schema.New()
	values := `{"items":{"enum":[` + strings.TrimSuffix(strings.Repeat("1,", 2000), ",") + `]}}`
	patterns := `{"items":{"allOf":[` + strings.TrimSuffix(strings.Repeat(`{"pattern":"^(x{99}y{99}){9}$"},`, 9), ",") + `]}}`
	for name, tt := range map[string]struct {
		schema string
		large  bool
		want   string
	}{
		"twenty times doubled":         {doubling(20, "allOf"), false, "over 16384 steps for the value as a whole"},
		"each level doubled":           {`{"items":{"allOf":[{"$ref":"#"},{"$ref":"#"},{"$ref":"#"}]}}`, false, "over 1024 steps for a value within"},
		"each member by two ways":      {`{"patternProperties":{"a":{"$ref":"#"},"b":{"$ref":"#"},"c":{"$ref":"#"},"d":{"$ref":"#"}}}`, false, "over 1024 steps for a value within"},
		"an enum of thousands":         {values, false, "over 1024 steps for a value within"},
		"patterns of thousands":        {patterns, false, "over 1024 steps for a value within"},
		"patterns of tens of thousand": {`{"allOf":[` + strings.TrimSuffix(strings.Repeat(`{"pattern":"^(x{99}y{99}){5}$"},`, 19), ",") + `]}`, false, "over 16384 instructions"},
		"a chain":                      {chain(100), false, "nests over 64 deep"},
		"schemas by the thousand":      {many(2100), false, "holds over 2047 schemas"},
		"fifty alternatives":           {alternatives(50), false, ""},
		"and for large params":         {alternatives(50), true, ""},
		"but not within those":         {`{"items":` + alternatives(50) + `}`, true, "over 64 steps for a value within"},
		"in small ones they may be":    {`{"items":` + alternatives(50) + `}`, false, ""},
		"a thousand members":           {many(900), false, ""},
		"a thousand for large params":  {many(900), true, ""},
	} {
		got := compiled(set, tt.schema, tt.large)
		if tt.want == "" && len(got) > 0 || tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)) {
			t.Errorf("%s: %.300q, want %q", name, got, tt.want)
		}
	}
}

func chain(n int) string {
	var b strings.Builder
	b.WriteString(`{"$ref":"#/$defs/d0","$defs":{`)
	for i := range n {
		fmt.Fprintf(&b, `"d%d":{"$ref":"#/$defs/d%d"},`, i, i+1)
	}
	fmt.Fprintf(&b, `"d%d":{}}}`, n)
	return b.String()
}

func many(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`"m%d":{"maximum":%d}`, i, i)
	}
	return `{"properties":{` + strings.Join(list, ",") + `}}`
}

// The dearest that is accepted, at its dearest params. What it takes is
// logged; the steps are what the bound is about.
func BenchmarkTheDearestParams(b *testing.B) {
	set := schema.New()
	for name, tt := range map[string]struct {
		large  bool
		schema string
		n      int
	}{
		"small":   {false, `{"items":{"allOf":[` + strings.TrimSuffix(strings.Repeat(`{"anyOf":[{"type":"null"},true]},`, 340), ",") + `]}}`, 1000},
		"large":   {true, `{"items":{"allOf":[` + strings.TrimSuffix(strings.Repeat(`{"anyOf":[{"type":"null"},true]},`, 21), ",") + `]}}`, 64000},
		"numbers": {true, `{"items":{"allOf":[` + strings.TrimSuffix(strings.Repeat(`{"minimum":1,"multipleOf":0.5},`, 12), ",") + `]}}`, 64000},
	} {
		b.Run(name, func(b *testing.B) {
			typ := command.Type{Name: name, Version: 1, Policy: command.Policy{Large: tt.large}, Params: raw(tt.schema)}
			params := json.RawMessage("[" + strings.TrimSuffix(strings.Repeat("1,", tt.n), ",") + "]")
			for b.Loop() {
				if _, faults, err := set.Params(typ, params); len(faults) > 0 || err != nil {
					b.Fatal(faults, err)
				}
			}
		})
	}
}

func BenchmarkCompileTheLargest(b *testing.B) {
	set := schema.New()
	text := raw(many(2000))
	for b.Loop() {
		if faults := set.Compile(command.Type{Params: text}); len(faults) > 0 {
			b.Fatal(faults)
		}
	}
}
