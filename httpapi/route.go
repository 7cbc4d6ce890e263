package httpapi

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"

	"behest/access"
)

// Contract is openapi.yaml as it was built in.
//
//go:embed openapi.yaml
var contractYAML []byte

// route is an operation of the contract with all that applies to it.
type route struct {
	pattern string // as in the contract and in access.Rules: GET /v1/commands/{id}
	rule    access.Rule
	item    *openapi3.PathItem
	op      *openapi3.Operation
	params  []*openapi3.Parameter          // all of them, the path's own included
	query   map[string]*openapi3.Parameter // those in the query
}

// loadContract reads the contract and checks that it is one.
func loadContract() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(contractYAML)
	if err != nil {
		return nil, fmt.Errorf("read the contract: %w", err)
	}
	if err := doc.Validate(context.Background(), openapi3.DisableExamplesValidation()); err != nil {
		return nil, fmt.Errorf("the contract: %w", err)
	}
	return doc, nil
}

// contractJSON is the contract as it is served: without the hints to the
// generator.
func contractJSON(doc *openapi3.T) ([]byte, error) {
	raw, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("write the contract: %w", err)
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, fmt.Errorf("write the contract: %w", err)
	}
	withoutHints(v)
	return json.Marshal(v)
}

func withoutHints(v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			if strings.HasPrefix(k, "x-") {
				delete(v, k)
				continue
			}
			withoutHints(inner)
		}
	case []any:
		for _, inner := range v {
			withoutHints(inner)
		}
	}
}

var echoParam = regexp.MustCompile(`:([a-z_]+)`)

// routeKey is the pattern of the route that the router found, in the
// contract's notation.
func routeKey(c echo.Context) string {
	return patternOf(c.Request().Method, c.Path())
}

func patternOf(method, echoPath string) string {
	return method + " " + echoParam.ReplaceAllString(echoPath, "{$1}")
}

// routes joins the contract, the rules and the routes that are registered.
// Each must have its counterpart in the two others.
func routes(doc *openapi3.T, rules map[string]access.Rule, registered []*echo.Route) (map[string]*route, error) {
	all := make(map[string]*route)
	var faults []error
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			rt := newRoute(method+" "+path, item, op)
			all[rt.pattern] = rt
			if _, ok := rules[rt.pattern]; !ok {
				faults = append(faults, fmt.Errorf("no rule says who may %s", rt.pattern))
			}
			rt.rule = rules[rt.pattern]
			if rt.rule.Roles == 0 && rt.rule.Public != access.Everybody {
				faults = append(faults, fmt.Errorf("nobody may %s", rt.pattern))
			}
			if (op.RequestBody != nil) != (bodyMax[rt.pattern] > 0) {
				faults = append(faults, fmt.Errorf("%s: a body without a limit, or a limit without a body", rt.pattern))
			}
		}
	}
	served := make(map[string]bool)
	for _, r := range registered {
		pattern := patternOf(r.Method, r.Path)
		served[pattern] = true
		if all[pattern] == nil {
			faults = append(faults, fmt.Errorf("%s is served and not in the contract", pattern))
		}
	}
	for pattern := range all {
		if !served[pattern] {
			faults = append(faults, fmt.Errorf("%s is in the contract and not served", pattern))
		}
	}
	for pattern := range rules {
		if all[pattern] == nil {
			faults = append(faults, fmt.Errorf("a rule for %s, which is not in the contract", pattern))
		}
	}
	return all, errors.Join(faults...)
}

func newRoute(pattern string, item *openapi3.PathItem, op *openapi3.Operation) *route {
	rt := &route{pattern: pattern, item: item, op: op, query: make(map[string]*openapi3.Parameter)}
	for _, list := range []openapi3.Parameters{item.Parameters, op.Parameters} {
		for _, ref := range list {
			rt.params = append(rt.params, ref.Value)
			if ref.Value.In == openapi3.ParameterInQuery {
				rt.query[ref.Value.Name] = ref.Value
			}
		}
	}
	return rt
}
