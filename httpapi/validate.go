package httpapi

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/labstack/echo/v4"

	"behest/command"
)

// plain makes the validator use its own rules instead of compiling each
// schema anew for every request, which costs a hundred times as much. The
// contract keeps to keywords that both know in whatever a request is held
// against, and a test holds the two against each other.
var plain = &openapi3.T{OpenAPI: "3.0.3"}

// faults holds a request against the contract and names all that is wrong
// with it.
func (rt *route) faults(c echo.Context, hasBody bool, body any) []command.Field {
	found := collector{faults: rt.queryFaults(c.Request().URL), seen: make(map[string]bool)}
	in := &openapi3filter.RequestValidationInput{
		Request:    c.Request(),
		PathParams: pathParams(c),
		Route:      &routers.Route{Spec: plain, PathItem: rt.item, Operation: rt.op},
		Options:    &openapi3filter.Options{MultiError: true, SkipSettingDefaults: true},
	}
	for _, p := range rt.params {
		if p.In == openapi3.ParameterInHeader && len(in.Request.Header.Values(p.Name)) > 1 {
			found.fault(p.Name, "is there more than once")
			continue
		}
		if err := openapi3filter.ValidateParameter(c.Request().Context(), in, p); err != nil {
			found.add(err, p.Name)
		}
	}
	if hasBody && !found.crowded("", body) {
		schema := rt.op.RequestBody.Value.Content.Get("application/json").Schema.Value
		if err := schema.VisitJSON(withoutNullParams(body), openapi3.VisitAsRequest(), openapi3.MultiErrors()); err != nil {
			found.add(err, "")
		}
		found.written(schema, body, "")
	}
	slices.SortFunc(found.faults, func(a, b command.Field) int {
		return cmp.Or(strings.Compare(a.Pointer, b.Pointer), strings.Compare(a.Detail, b.Detail))
	})
	return slices.Compact(found.faults)
}

// written names what the validator lets pass although it is not as the contract
// has it written: 1e2 or 100.0 for an integer, and a day that no calendar has.
// It says so in the validator's words: what both find is there once.
func (f *collector) written(s *openapi3.Schema, v any, at string) {
	for _, part := range s.AllOf {
		f.written(part.Value, v, at)
	}
	switch v := v.(type) {
	case json.Number:
		if s.Type.Includes(openapi3.TypeInteger) && strings.ContainsAny(v.String(), ".eE") {
			f.fault(at, "must be "+typeNames(s.Type))
		}
	case string:
		if s.Format == dateTime && !isMoment(v) {
			f.fault(at, "must be a "+dateTime)
		}
	case []any:
		if s.Items == nil {
			return
		}
		for i, item := range v {
			f.written(s.Items.Value, item, at+"/"+strconv.Itoa(i))
		}
	case map[string]any:
		for name, member := range v {
			in := s.Properties[name]
			if in == nil {
				in = s.AdditionalProperties.Schema
			}
			if in != nil {
				f.written(in.Value, member, at+"/"+escapePointer(name))
			}
		}
	}
}

const dateTime = "date-time"

func isMoment(text string) bool { return new(Time).UnmarshalText([]byte(text)) == nil }

// withoutNullParams takes out params that are null, which say that there are
// none: a schema that takes any value takes every one but that.
func withoutNullParams(body any) any {
	m, _ := body.(map[string]any)
	if v, there := m["params"]; there && v == nil {
		delete(m, "params")
	}
	commands, _ := m["commands"].([]any)
	for _, c := range commands {
		withoutNullParams(c)
	}
	return body
}

// pathParams are the parts of the path, decoded. The router matched the path
// as it was written, so that an escaped slash stays within its part.
func pathParams(c echo.Context) map[string]string {
	m := make(map[string]string)
	for _, name := range c.ParamNames() {
		value, err := url.PathUnescape(c.Param(name))
		if err != nil {
			value = "" // the server has parsed it once: it does not happen
		}
		m[name] = value
	}
	return m
}

// queryFaults names what is not a query of this route at all.
func (rt *route) queryFaults(u *url.URL) (faults []command.Field) {
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return []command.Field{{Pointer: "?", Detail: "the query is not well-formed: " + err.Error()}}
	}
	for name, got := range values {
		p := rt.query[name]
		switch {
		case p == nil:
			faults = append(faults, command.Field{Pointer: cut(name), Detail: "is not known here"})
		case len(got) > 1 && !p.Schema.Value.Type.Is(openapi3.TypeArray):
			faults = append(faults, command.Field{Pointer: name, Detail: "is there more than once"})
		case slices.ContainsFunc(got, func(s string) bool { return !utf8.ValidString(s) }):
			faults = append(faults, command.Field{Pointer: name, Detail: "is not UTF-8"})
		case p.Schema.Value.Format == dateTime && !isMoment(got[0]):
			faults = append(faults, command.Field{Pointer: name, Detail: "must be a " + dateTime})
		}
	}
	return faults
}

// cut bounds what an answer repeats of a request.
func cut(s string) string {
	if len(s) > pointerPartMax {
		s = s[:pointerPartMax] + "…"
	}
	return strings.ToValidUTF8(s, "�")
}

// collector gathers faults from the validator's errors.
type collector struct {
	faults []command.Field
	seen   map[string]bool // objects whose unknown members are named
}

func (f *collector) fault(pointer, detail string) {
	f.faults = append(f.faults, command.Field{Pointer: pointer, Detail: detail})
}

// add takes an error apart. A param's name stands for the pointer; in a body,
// it is empty.
func (f *collector) add(err error, param string) {
	var many openapi3.MultiError
	var schema *openapi3.SchemaError
	var parse *openapi3filter.ParseError
	var request *openapi3filter.RequestError
	switch {
	case errors.As(err, &request) && request.Err != nil && request.Err != err:
		f.add(request.Err, param)
	case errors.As(err, &many):
		for _, e := range many {
			f.add(e, param)
		}
	case errors.As(err, &schema) && schema.SchemaField == "properties":
		f.unknownMembers(schema)
	case errors.As(err, &schema):
		f.fault(pointerOf(schema, param), detailOf(schema))
	case errors.As(err, &parse):
		f.fault(param, "does not parse: "+parse.Reason)
	case errors.Is(err, openapi3filter.ErrInvalidRequired):
		f.fault(param, "is missing")
	case errors.Is(err, openapi3filter.ErrInvalidEmptyValue):
		f.fault(param, "must not be empty")
	default:
		f.fault(param, err.Error())
	}
}

// unknownMembers names what an object has and its schema does not. The
// validator says it once for each, and each time without the name.
func (f *collector) unknownMembers(e *openapi3.SchemaError) {
	at := pointerOf(e, "")
	if f.seen[at] {
		return
	}
	f.seen[at] = true
	object, _ := e.Value.(map[string]any)
	var unknown []string
	for name := range object {
		if e.Schema.Properties[name] == nil {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown[:min(len(unknown), faultsMax)] {
		f.fault(at+"/"+escapePointer(name), "is not known here")
	}
}

// Nothing in the contract has more members or items than that, params and
// schemas apart.
// What has is refused for it alone: to name each fault in 256 KiB of them
// would take half a second.
const (
	membersMax = 64
	itemsMax   = command.TargetsMax
)

// crowded reports whether an object or array is larger than any in the
// contract, and names the first.
func (f *collector) crowded(pointer string, v any) bool {
	switch v := v.(type) {
	case map[string]any:
		if len(v) > membersMax {
			f.fault(pointer, fmt.Sprintf("has %d members; nothing here has over %d", len(v), membersMax))
			return true
		}
		for name, inner := range v {
			if name != "params" && name != "result" && f.crowded(pointer+"/"+escapePointer(name), inner) {
				return true
			}
		}
	case []any:
		if len(v) > itemsMax {
			f.fault(pointer, fmt.Sprintf("has %d items; nothing here has over %d", len(v), itemsMax))
			return true
		}
		for i, inner := range v {
			if f.crowded(pointer+"/"+strconv.Itoa(i), inner) {
				return true
			}
		}
	}
	return false
}

func pointerOf(e *openapi3.SchemaError, param string) string {
	if param != "" {
		return param
	}
	var b strings.Builder
	for _, part := range e.JSONPointer() {
		b.WriteByte('/')
		b.WriteString(escapePointer(part))
	}
	return b.String()
}

// detailOf says in plain words what a schema wants.
func detailOf(e *openapi3.SchemaError) string {
	s := e.Schema
	switch e.SchemaField {
	case "required":
		return "is missing"
	case "nullable":
		return "must not be null"
	case "type":
		return "must be " + typeNames(s.Type)
	case "enum":
		if len(s.Enum) == 1 {
			return fmt.Sprintf("must be %v", s.Enum[0])
		}
		return "must be one of " + enumNames(s.Enum)
	case "minimum":
		return "must be at least " + number(s.Min)
	case "maximum":
		return "must be at most " + number(s.Max)
	case "minLength":
		if s.MinLength == 1 {
			return "must not be empty"
		}
		return fmt.Sprintf("must have at least %d characters", s.MinLength)
	case "maxLength":
		return fmt.Sprintf("must have at most %d characters", *s.MaxLength)
	case "minItems", "minProperties":
		if s.MinItems == 1 || s.MinProps == 1 {
			return "must not be empty"
		}
		return fmt.Sprintf("must have at least %d items", max(s.MinItems, s.MinProps))
	case "maxItems":
		return fmt.Sprintf("must have at most %d items", *s.MaxItems)
	case "maxProperties":
		return fmt.Sprintf("must have at most %d members", *s.MaxProps)
	case "uniqueItems":
		return "must not name anything twice"
	case "pattern":
		if says, ok := s.Extensions["x-says"].(string); ok {
			return says
		}
		return "must match " + s.Pattern
	case "format":
		return "must be a " + s.Format
	}
	return e.Reason
}

func typeNames(t *openapi3.Types) string {
	names := []string{}
	for _, n := range t.Slice() {
		article := "a "
		if n == "integer" || n == "object" || n == "array" {
			article = "an "
		}
		names = append(names, article+n)
	}
	return strings.Join(names, " or ")
}

func enumNames(values []any) string {
	names := make([]string, len(values))
	for i, v := range values {
		names[i] = fmt.Sprint(v)
	}
	return strings.Join(names, ", ")
}

func number(f *float64) string {
	if f == nil {
		return "what the contract says"
	}
	return strconv.FormatFloat(*f, 'f', -1, 64)
}
