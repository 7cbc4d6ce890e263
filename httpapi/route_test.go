package httpapi

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"behest/access"
	"behest/command"
)

var errTimeout = os.ErrDeadlineExceeded

func TestRoutesRulesAndContractMustAgree(t *testing.T) {
	doc, err := loadContract()
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{}
	s, err := New(d, d, newKeeper(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := routes(doc, access.Rules, s.echo.Routes()); err != nil {
		t.Fatalf("as they are: %v", err)
	}
	without := func(route string) map[string]access.Rule {
		rules := maps.Clone(access.Rules)
		delete(rules, route)
		return rules
	}
	with := func(route string, rule access.Rule) map[string]access.Rule {
		rules := maps.Clone(access.Rules)
		rules[route] = rule
		return rules
	}
	for name, tt := range map[string]struct {
		rules map[string]access.Rule
		drop  int // routes that are not registered
		want  string
	}{
		"a route without a rule":       {without("GET /v1/me"), 0, "no rule says who may GET /v1/me"},
		"a route for nobody":           {with("GET /v1/me", access.Rule{}), 0, "nobody may GET /v1/me"},
		"a rule without a route":       {with("GET /v1/secrets", access.Rule{Roles: access.Admin}), 0, "a rule for GET /v1/secrets"},
		"a route that is not served":   {access.Rules, 1, "is in the contract and not served"},
		"nobody may read the contract": {with("GET /openapi.json", access.Rule{Public: access.OnLoopback}), 0, "nobody may GET /openapi.json"},
	} {
		if _, err := routes(doc, tt.rules, s.echo.Routes()[tt.drop:]); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	delete(doc.Paths.Map(), "/v1/me")
	doc.Paths.Delete("/v1/me")
	if _, err := routes(doc, access.Rules, s.echo.Routes()); err == nil || !strings.Contains(err.Error(), "GET /v1/me is served and not in the contract") {
		t.Errorf("a route that is not in the contract: %v", err)
	}
}

func TestBadPageKeysAreRefused(t *testing.T) {
	d := &desk{}
	if _, err := New(d, d, newKeeper(), Options{PageKey: []byte("short")}); err == nil {
		t.Error("a key of five bytes was taken")
	}
}

// Words that the contract repeats from the packages below it.
func TestContractKnowsEveryWord(t *testing.T) {
	doc, err := loadContract()
	if err != nil {
		t.Fatal(err)
	}
	var states, causes, codes, effects, statuses []string
	for _, s := range command.States {
		states = append(states, s.String())
	}
	for c := command.NoCause + 1; c.String() != "unknown"; c++ {
		causes = append(causes, c.String())
	}
	for _, c := range append(slices.Clone(command.Codes), codeMethod) {
		codes = append(codes, string(c))
	}
	for e := command.EffectNone; e.Valid(); e++ {
		effects = append(effects, e.String())
	}
	for s := command.StatusRunning; s.Valid(); s++ {
		statuses = append(statuses, s.String())
	}
	var redeliveries, significances []string
	for r := command.Dedup; r.String() != "unknown"; r++ {
		redeliveries = append(redeliveries, r.String())
	}
	for s := command.Routine; s.String() != "unknown"; s++ {
		significances = append(significances, s.String())
	}
	deliveries := []string{command.DeliveryPending.String(), command.DeliveryDone.String(), command.DeliveryGivenUp.String()}
	reasons := []string{command.HookByHand, command.HookGone, command.HookFailing}
	roles := (access.Viewer | access.Operator | access.Approver | access.Admin).Names()
	outcomes := []string{string(command.AllSucceeded), string(command.SomeUnknown), string(command.NoneDone), string(command.SomeFailed)}
	for name, want := range map[string][]string{
		"ExecutionState": states, "CommandState": append(slices.Clone(states), "open", "paused", "halted", "ended"),
		"Cause": causes, "ErrorCode": codes, "Effect": effects, "ReportStatus": statuses, "Role": roles, "Outcome": outcomes,
		"Redelivery": redeliveries, "Significance": significances, "DeliveryState": deliveries, "WebhookReason": reasons,
	} {
		var got []string
		for _, v := range doc.Components.Schemas[name].Value.Enum {
			got = append(got, v.(string))
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s (-contract +code):\n%s", name, diff)
		}
	}
}

// Every example in the contract is an example of what it stands for, by the
// rules of JSON Schema 2020-12.
func TestExamplesHold(t *testing.T) {
	doc, err := loadContract()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	hold := func(where string, schema *openapi3.Schema, example any) {
		n++
		if err := schema.VisitJSON(example, openapi3.EnableJSONSchema2020(), openapi3.MultiErrors()); err != nil {
			t.Errorf("%s: %v", where, err)
		}
	}
	content := func(where string, c openapi3.Content) {
		for kind, m := range c {
			for name, e := range m.Examples {
				hold(where+" "+kind+" "+name, m.Schema.Value, e.Value.Value)
			}
			if m.Example != nil {
				hold(where+" "+kind, m.Schema.Value, m.Example)
			}
		}
	}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if op.RequestBody != nil {
				content(method+" "+path, op.RequestBody.Value.Content)
			}
			for status, r := range op.Responses.Map() {
				content(method+" "+path+" "+status, r.Value.Content)
			}
		}
	}
	for name, r := range doc.Components.Responses {
		content(name, r.Value.Content)
	}
	for name, s := range doc.Components.Schemas {
		if s.Value.Example != nil {
			hold(name, s.Value, s.Value.Example)
		}
		for field, p := range s.Value.Properties {
			if p.Value.Example != nil {
				hold(name+"."+field, p.Value, p.Value.Example)
			}
		}
	}
	if n < 15 {
		t.Errorf("only %d examples were found", n)
	}
	t.Logf("%d examples hold", n)
}

// A field that nobody explains is a field that everybody guesses.
func TestEveryFieldIsExplained(t *testing.T) {
	doc, err := loadContract()
	if err != nil {
		t.Fatal(err)
	}
	obvious := map[string]bool{"items": true, "next_page_token": true}
	for name, s := range doc.Components.Schemas {
		for field, p := range s.Value.Properties {
			if !obvious[field] && p.Value.Description == "" && p.Extensions["description"] == nil {
				t.Errorf("%s.%s has no description", name, field)
			}
		}
	}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if op.Summary == "" || op.OperationID == "" || len(op.Tags) != 1 {
				t.Errorf("%s %s: no summary, operationId or tag", method, path)
			}
			if op.Responses.Default() == nil {
				t.Errorf("%s %s: no problem as its default answer", method, path)
			}
			for _, p := range op.Parameters {
				if p.Value.Description == "" {
					t.Errorf("%s %s: %s has no description", method, path, p.Value.Name)
				}
			}
		}
	}
}

// What requests are held against works the same by the validator's own rules,
// which the server uses, and by JSON Schema 2020-12, which the contract is
// written in.
func TestBothValidatorsAgreeOnRequests(t *testing.T) {
	doc, err := loadContract()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, a := range badInput {
		body, faults := strict([]byte(a.body))
		path, _, _ := strings.Cut(a.path, "?")
		item := doc.Paths.Value(strings.NewReplacer("pump-7", "{device}", "pump-8", "{device}", "types/t", "types/{name}").Replace(path))
		if len(faults) > 0 || item == nil || strings.HasPrefix(a.body, "type=") {
			continue
		}
		method := a.method
		if method == "" {
			method = "POST"
		}
		op := item.GetOperation(method)
		if op == nil || op.RequestBody == nil {
			continue
		}
		n++
		schema := op.RequestBody.Value.Content.Get("application/json").Schema.Value
		body = withoutNullParams(body)
		quick := schema.VisitJSON(body, openapi3.VisitAsRequest())
		whole := schema.VisitJSON(body, openapi3.VisitAsRequest(), openapi3.EnableJSONSchema2020())
		if (quick == nil) != (whole == nil) {
			t.Errorf("%s: by its own rules %v, by 2020-12 %v", a.name, quick, whole)
		}
	}
	if n < 20 {
		t.Errorf("only %d bodies were compared", n)
	}
}

func TestContractIsServedWithoutHints(t *testing.T) {
	d := &desk{}
	s := serve(t, d, d, Options{})
	r := s.do(ask{name: "contract", as: "nobody", path: "/openapi.json"})
	if r.status != 200 {
		t.Fatalf("got %d %s", r.status, r.body)
	}
	if strings.Contains(r.body, `"x-`) {
		t.Error("the served contract holds hints to the generator")
	}
	served, err := openapi3.NewLoader().LoadFromData([]byte(r.body))
	if err != nil {
		t.Fatalf("what is served is no contract: %v", err)
	}
	if err := served.Validate(context.Background(), openapi3.DisableExamplesValidation()); err != nil {
		t.Errorf("what is served is no valid contract: %v", err)
	}
	doc, err := loadContract()
	if err != nil {
		t.Fatal(err)
	}
	want, _ := contractJSON(doc)
	var a, b any
	if json.Unmarshal([]byte(r.body), &a) != nil || json.Unmarshal(want, &b) != nil || !reflect.DeepEqual(a, b) {
		t.Error("what is served differs from openapi.yaml")
	}
}
