package httpapi

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

//go:embed docs.gohtml
var docsTemplate string

//go:embed docs.css
var docsStyle string

// page is the contract for people: made once, at the start, of nothing but
// the contract. It has no script and loads nothing.
type page struct {
	html   []byte
	policy string // the Content-Security-Policy that lets its one style be
}

func (p page) VisitGetDocsResponse(w http.ResponseWriter) error {
	w.Header().Set("Content-Security-Policy", p.policy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(p.html)
	return err
}

func docsPage(doc *openapi3.T) (page, error) {
	t, err := template.New("docs").Funcs(template.FuncMap{
		"prose": prose, "kind": kindOf, "anchor": anchorOf, "example": exampleOf,
		"style": func() template.CSS { return template.CSS(docsStyle) },
	}).Parse(docsTemplate)
	if err != nil {
		return page{}, fmt.Errorf("page of the contract: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, docsOf(doc)); err != nil {
		return page{}, fmt.Errorf("page of the contract: %w", err)
	}
	sum := sha256.Sum256([]byte(docsStyle))
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; frame-ancestors 'none'"
	return page{b.Bytes(), policy}, nil
}

// The contract in the order in which people read it.
type (
	docsView struct {
		Info    *openapi3.Info
		Tags    []docsTag
		Schemas []docsSchema
	}
	docsTag struct {
		Name, Description string
		Operations        []docsOperation
	}
	docsOperation struct {
		Method, Path string
		*openapi3.Operation
		Params  []*openapi3.Parameter
		Body    *openapi3.SchemaRef
		Answers []docsAnswer
		Samples []docsSample
	}
	docsAnswer struct {
		Status, Description string
		Schema              *openapi3.SchemaRef
	}
	docsSample struct{ Title, Text string }
	docsSchema struct {
		Name string
		*openapi3.Schema
		Fields []docsField
	}
	docsField struct {
		Name     string
		Required bool
		Schema   *openapi3.SchemaRef
		Says     string
	}
)

func docsOf(doc *openapi3.T) docsView {
	v := docsView{Info: doc.Info}
	for _, tag := range doc.Tags {
		t := docsTag{Name: tag.Name, Description: tag.Description}
		for _, path := range slices.Sorted(maps.Keys(doc.Paths.Map())) {
			item := doc.Paths.Value(path)
			for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
				if op := item.GetOperation(method); op != nil && slices.Contains(op.Tags, tag.Name) {
					t.Operations = append(t.Operations, docsOperationOf(method, path, item, op))
				}
			}
		}
		v.Tags = append(v.Tags, t)
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Components.Schemas)) {
		s := doc.Components.Schemas[name].Value
		v.Schemas = append(v.Schemas, docsSchema{Name: name, Schema: s, Fields: docsFieldsOf(s)})
	}
	return v
}

func docsOperationOf(method, path string, item *openapi3.PathItem, op *openapi3.Operation) docsOperation {
	o := docsOperation{Method: method, Path: path, Operation: op, Params: newRoute("", item, op).params}
	if op.RequestBody != nil {
		m := op.RequestBody.Value.Content.Get("application/json")
		o.Body = m.Schema
		for _, name := range slices.Sorted(maps.Keys(m.Examples)) {
			e := m.Examples[name].Value
			o.Samples = append(o.Samples, docsSample{Title: e.Summary, Text: exampleOf(e.Value)})
		}
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses.Map())) {
		r := op.Responses.Value(status).Value
		a := docsAnswer{Status: status, Description: *r.Description}
		for _, kind := range slices.Sorted(maps.Keys(r.Content)) {
			if a.Schema == nil {
				a.Schema = r.Content[kind].Schema
			}
		}
		o.Answers = append(o.Answers, a)
	}
	return o
}

func docsFieldsOf(s *openapi3.Schema) []docsField {
	var fields []docsField
	for name, p := range s.Properties {
		says, _ := p.Extensions["description"].(string)
		if says == "" {
			says = p.Value.Description
		}
		fields = append(fields, docsField{Name: name, Required: slices.Contains(s.Required, name), Schema: p, Says: says})
	}
	slices.SortFunc(fields, func(a, b docsField) int {
		if d := orderOf(a.Schema) - orderOf(b.Schema); d != 0 {
			return d
		}
		return strings.Compare(a.Name, b.Name)
	})
	return fields
}

// orderOf is the place that the contract gives a field.
func orderOf(s *openapi3.SchemaRef) int {
	for _, m := range []map[string]any{s.Extensions, s.Value.Extensions} {
		switch n := m["x-order"].(type) {
		case float64:
			return int(n)
		case int:
			return n
		}
	}
	return 1000
}

// kindOf says in a few words what a value is, with a link to its schema.
func kindOf(s *openapi3.SchemaRef) template.HTML {
	if s == nil {
		return ""
	}
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		return template.HTML(fmt.Sprintf(`<a href="#schema-%s">%s</a>`, template.HTMLEscapeString(name), template.HTMLEscapeString(name)))
	}
	v := s.Value
	if len(v.AllOf) == 1 {
		return kindOf(v.AllOf[0])
	}
	kind := strings.Join(v.Type.Slice(), " or ")
	switch {
	case v.Type.Is("array"):
		return "list of " + kindOf(v.Items)
	case kind == "":
		kind = "any JSON"
	case len(v.Enum) > 0:
		kind += ": " + enumNames(v.Enum)
	case v.Min != nil && v.Max != nil:
		kind += fmt.Sprintf(" from %s to %s", number(v.Min), number(v.Max))
	case v.MaxLength != nil:
		kind += fmt.Sprintf(" of at most %d characters", *v.MaxLength)
	}
	return template.HTML(template.HTMLEscapeString(kind))
}

func anchorOf(method, path string) string {
	return strings.ToLower(method) + strings.NewReplacer("/", "-", "{", "", "}", "", ".", "-").Replace(path)
}

func exampleOf(v any) string {
	b, _ := json.MarshalIndent(v, "", "  ")
	return string(b)
}

var (
	proseCode   = regexp.MustCompile("`([^`]+)`")
	proseStrong = regexp.MustCompile(`\*\*([^*]+)\*\*`)
	proseEm     = regexp.MustCompile(`\*([^*]+)\*`)
)

// prose shows a description: paragraphs, code and emphasis, and nothing else
// of what Markdown can do.
func prose(text string) template.HTML {
	var b strings.Builder
	for p := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		p = template.HTMLEscapeString(p)
		p = proseCode.ReplaceAllString(p, "<code>$1</code>")
		p = proseStrong.ReplaceAllString(p, "<strong>$1</strong>")
		p = proseEm.ReplaceAllString(p, "<em>$1</em>")
		b.WriteString("<p>" + p + "</p>")
	}
	return template.HTML(b.String())
}
