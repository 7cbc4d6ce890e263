package schema_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"behest/command"
	"behest/schema"
)

func raw(s string) json.RawMessage {
	if s == "" {
		return nil
	}
	return json.RawMessage(s)
}

// A schema as a person writes one.
const pump = `{
	"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://example.com/pump.json", "title": "start",
	"type": "object", "additionalProperties": false, "required": ["rpm"],
	"properties": {
		"rpm": {"type": "integer", "minimum": 100, "maximum": 3000},
		"mode": {"enum": ["eco", "boost", 3]},
		"tag": {"type": "string", "pattern": "^[a-z]{2,8}$", "maxLength": 4},
		"limits": {"type": "array", "items": {"$ref": "#/$defs/limit"}, "maxItems": 2, "uniqueItems": true},
		"start": {"oneOf": [{"type": "null"}, {"type": "object", "required": ["at"], "properties": {"at": {"type": "number"}}}]},
		"either": {"anyOf": [{"type": "string", "minLength": 3}, {"type": "string", "pattern": "^x"}]},
		"names": {"propertyNames": {"pattern": "^[a-z]+$"}, "patternProperties": {"^x": {"type": "boolean"}}},
		"odd": {"not": {"multipleOf": 2}}
	},
	"dependentRequired": {"tag": ["mode"]},
	"$defs": {"limit": {"$anchor": "limit", "type": "number", "exclusiveMinimum": 0, "multipleOf": 0.5}}
}`

func TestFaultsOfParamsPointToTheField(t *testing.T) {
	set := schema.New()
	typ := command.Type{Name: "pump.start", Version: 1, Params: raw(pump)}
	if faults := set.Compile(typ); len(faults) > 0 {
		t.Fatalf("the schema: %v", faults)
	}
	for name, tt := range map[string]struct {
		params string
		want   []string
	}{
		"as it should be":              {`{"rpm":1200,"mode":"eco","tag":"abc","limits":[0.5,1],"start":{"at":1},"either":"xyz","names":{"xa":true},"odd":3}`, nil},
		"an integer as a float":        {`{"rpm":1200.0}`, nil},
		"a number as another":          {`{"rpm":100,"mode":3.0}`, nil},
		"nothing":                      {``, []string{"/params: is missing"}},
		"null":                         {` null `, []string{"/params: is missing"}},
		"a list":                       {`[]`, []string{"/params: must be an object"}},
		"all faults at once":           {`{"rpm":5,"mode":"off","tag":"ABCDE","extra":1,"a/b~c":2}`, []string{"/params/a~1b~0c: is not known here", "/params/extra: is not known here", `/params/mode: must be one of "eco", "boost", 3`, "/params/rpm: must be at least 100", "/params/tag: must have at most 4 characters", "/params/tag: must match ^[a-z]{2,8}$"}},
		"missing":                      {`{"tag":"abc"}`, []string{`/params/mode: is missing beside "tag"`, "/params/rpm: is missing"}},
		"of another type":              {`{"rpm":"fast"}`, []string{"/params/rpm: must be an integer"}},
		"a fraction":                   {`{"rpm":1200.5}`, []string{"/params/rpm: must be an integer"}},
		"behind a reference":           {`{"rpm":100,"limits":[0,0.75]}`, []string{"/params/limits/0: must be more than 0", "/params/limits/1: must be a multiple of 0.5"}},
		"too many and the same":        {`{"rpm":100,"limits":[1,1,1.0]}`, []string{"/params/limits: must have at most 2 items", "/params/limits: must not say anything twice; items 0 and 1 are the same"}},
		"the alternative meant":        {`{"rpm":100,"start":{}}`, []string{"/params/start/at: is missing"}},
		"no alternative":               {`{"rpm":100,"start":7}`, []string{"/params/start: is none of the 2 things that it may be"}},
		"several alternatives":         {`{"rpm":100,"either":"a"}`, []string{"/params/either: is none of the 2 things that it may be"}},
		"a name that may not be":       {`{"rpm":100,"names":{"X":1}}`, []string{"/params/names/X: has a name that no member may have here"}},
		"by its name":                  {`{"rpm":100,"names":{"xa":1}}`, []string{"/params/names/xa: must be a boolean"}},
		"what it must not be":          {`{"rpm":100,"odd":4}`, []string{"/params/odd: is what it must not be"}},
		"one past a float64":           {`{"rpm":9007199254740993}`, []string{"/params/rpm: must be at most 3000"}},
		"mapping and schema":           {`{"rpm":18446744073709551616,"mode":1e300,"tag":{"$bytes":"@"}}`, []string{`/params/mode: must be one of "eco", "boost", 3`, "/params/rpm: an integer past 64 bits", "/params/rpm: must be at most 3000", "/params/tag: must be a string", "/params/tag/$bytes: not base64url without padding"}},
		"a zero that is written oddly": {`{"rpm":0e999999999}`, []string{"/params/rpm: must be at least 100"}},
		"a number that is a bomb":      {`{"rpm":5,"mode":1e999999999}`, []string{"/params/mode: more digits than a float64 keeps, or past its range"}},
	} {
		item, faults, err := set.Params(typ, raw(tt.params))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, f := range faults {
			got = append(got, f.Pointer+": "+f.Detail)
		}
		if diff := cmp.Diff(got, tt.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", name, diff)
		}
		if (item == nil) != (len(faults) > 0) {
			t.Errorf("%s: %x with faults %v", name, item, faults)
		}
	}
}

func TestParamsBecomeBytesByTheirType(t *testing.T) {
	set := schema.New()
	large := `"` + strings.Repeat("x", command.ParamsBytesMax) + `"`
	for name, tt := range map[string]struct {
		policy command.Policy
		params string
		want   string // hex; "" with a fault
	}{
		"integers and floats":   {command.Policy{}, `{"b":1,"a":1.0,"c":0.25}`, "a36161f93c0061620161" + "63f93400"},
		"float32 at least":      {command.Policy{Float32: true}, `[1.0,0.1]`, "82fa3f800000fb3fb999999999999a"},
		"the greatest integer":  {command.Policy{}, `18446744073709551615`, "1bffffffffffffffff"},
		"bytes":                 {command.Policy{}, `{"$bytes":"3q2-7w"}`, "44deadbeef"},
		"too large":             {command.Policy{}, large, ""},
		"large for a large one": {command.Policy{Large: true}, large, "790400" + strings.Repeat("78", command.ParamsBytesMax)},
	} {
		item, faults, err := set.Params(command.Type{Name: "t", Policy: tt.policy}, raw(tt.params))
		if err != nil || (len(faults) > 0) != (tt.want == "") {
			t.Errorf("%s: %v %v", name, faults, err)
		}
		if got := hex.EncodeToString(item); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
	if item, faults, err := set.Params(command.Type{Name: "t"}, nil); item != nil || faults != nil || err != nil {
		t.Errorf("no params: %x %v %v", item, faults, err)
	}
	for _, text := range []string{`{"a":`, `{} {}`, ``} {
		if item, _, err := set.Params(command.Type{Name: "t", Params: raw(`{}`)}, json.RawMessage(text)); command.CodeOf(err) != command.CodeMalformed || item != nil {
			t.Errorf("%q: %x %v", text, item, err)
		}
	}
}

func TestNoParamsAreNull(t *testing.T) {
	set := schema.New()
	for text, want := range map[string]int{
		`{"type":["object","null"]}`: 0, `{}`: 0, `true`: 0, `{"type":"object"}`: 1, `false`: 1, `{"const":null}`: 0,
	} {
		item, faults, err := set.Params(command.Type{Name: "t", Version: 1, Params: raw(text)}, nil)
		if item != nil || len(faults) != want || err != nil {
			t.Errorf("%s: %x %v %v", text, item, faults, err)
		}
	}
}

func TestResultsAreHeldAgainstTheirSchema(t *testing.T) {
	set := schema.New()
	const object = `{"type":"object","required":["ok"],"properties":{"ok":{"type":"boolean"}}}`
	for name, tt := range map[string]struct {
		schema, item string
		want         bool
	}{
		"as it should be":           {object, "a1626f6bf5", true},
		"of another type":           {object, "a1626f6b01", false},
		"missing":                   {object, "a0", false},
		"what JSON cannot carry":    {`{}`, "f97e00", false},
		"no schema":                 {"", "a1626f6b01", true},
		"no schema, and no JSON":    {"", "f97e00", false},
		"no schema, and no CBOR":    {"", "a1", false},
		"bytes are what JSON shows": {`{"properties":{"$bytes":{"const":"3q2-7w"}},"required":["$bytes"]}`, "44deadbeef", true},
		"a float is a number":       {`{"type":"integer"}`, "f93c00", true},
		"a schema that is none":     {`{"type":"integr"}`, "01", false},
	} {
		item, err := hex.DecodeString(tt.item)
		if err != nil {
			t.Fatal(err)
		}
		if got := set.Result(command.Type{Name: name, Version: 1, Result: raw(tt.schema)}, item); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Two versions, two types and two parts have their own schemas, also while
// others compile them; and a version that was replaced (a store that is
// another) is not answered with the old one.
func TestEveryVersionHasItsOwnSchema(t *testing.T) {
	set := schema.New()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 200 {
				version := 1 + (n+i)%7
				typ := command.Type{Name: fmt.Sprint("t", n%3), Version: version,
					Params: raw(fmt.Sprintf(`{"const":%d}`, version)), Result: raw(`{"const":null}`)}
				_, faults, err := set.Params(typ, raw(fmt.Sprint(version)))
				if err != nil || len(faults) > 0 || !set.Result(typ, []byte{0xf6}) {
					t.Errorf("version %d: %v %v", version, faults, err)
				}
			}
		})
	}
	wg.Wait()
	for version, want := range map[int]int{1: 0, 2: 1} {
		_, faults, err := set.Params(command.Type{Name: "t0", Version: 1, Params: raw(fmt.Sprintf(`{"const":%d}`, version))}, raw("1"))
		if err != nil || len(faults) != want {
			t.Errorf("replaced by %d: %v %v", version, faults, err)
		}
	}
}

func TestATypeThatDoesNotCompileIsAnError(t *testing.T) {
	_, faults, err := schema.New().Params(command.Type{Name: "t", Version: 3, Params: raw(`{"type":"integr"}`)}, raw("1"))
	if err == nil || len(faults) > 0 || command.CodeOf(err) != command.CodeInternal || !strings.Contains(err.Error(), `version 3 of type "t"`) {
		t.Errorf("%v %v", faults, err)
	}
}

// What is kept is bounded, and what had to go compiles again.
func TestManySchemasTakeTurns(t *testing.T) {
	set := schema.New()
	filler := strings.Repeat("x", 60<<10)
	for round := range 2 {
		for n := range 100 { // 6 MiB
			typ := command.Type{Name: fmt.Sprint(n), Version: 1, Params: raw(fmt.Sprintf(`{"$comment":%q,"const":%d}`, filler, n))}
			if _, faults, err := set.Params(typ, raw(fmt.Sprint(n))); len(faults) > 0 || err != nil {
				t.Fatalf("round %d, type %d: %v %v", round, n, faults, err)
			}
		}
	}
	if got := set.KeptBytes(); got > schema.KeptBytesMax {
		t.Errorf("%d bytes are kept", got)
	}
}
