package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"behest/access"
	"behest/command"
)

func TestStrictNamesEveryFault(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want []command.Field
	}{
		"sound":                   {`{"a":[1,-0.5e-7,"\ud83d\ude00","\\ud83d",true,null,{}],"b":[]}`, nil},
		"two keys twice":          {`{"a":1,"a":2,"b":{"c":1,"c":1}}`, []command.Field{{Pointer: "/a", Detail: "is there twice"}, {Pointer: "/b/c", Detail: "is there twice"}}},
		"a key thrice":            {`{"a":1,"a":2,"a":3}`, []command.Field{{Pointer: "/a", Detail: "is there twice"}, {Pointer: "/a", Detail: "is there twice"}}},
		"twice by its escape":     {`{"a":1,"\u0061":2}`, []command.Field{{Pointer: "/a", Detail: "is there twice"}}},
		"pointers are escaped":    {`{"a/b":{"~":1,"~":2}}`, []command.Field{{Pointer: "/a~1b/~0", Detail: "is there twice"}}},
		"high half":               {`["\ud83d"]`, []command.Field{{Detail: "half of a surrogate pair at byte 2"}}},
		"low half":                {`["\ude00\ud83d"]`, []command.Field{{Detail: "half of a surrogate pair at byte 2"}}},
		"high half and no escape": {`["\ud83dx"]`, []command.Field{{Detail: "half of a surrogate pair at byte 2"}}},
		"half in a key":           {`{"\uDEAD":1}`, []command.Field{{Detail: "half of a surrogate pair at byte 2"}}},
		"pair after a half":       {`["\ud83d\ud83d\ude00"]`, []command.Field{{Detail: "half of a surrogate pair at byte 2"}}},
		"a fault, then no JSON":   {`{"a":1,"a":2,`, []command.Field{{Detail: "ends before the JSON value does, at byte 13"}}},
		"closed too early":        {`{"a":]}`, []command.Field{{Detail: "is not JSON, at byte 5: invalid character ']' looking for beginning of value"}}},
		"a key that is no string": {`{1:2}`, []command.Field{{Detail: "is not JSON, at byte 1: invalid character '1' looking for beginning of object key string"}}},
		"a leading zero":          {`[01]`, []command.Field{{Detail: "is not JSON, at byte 2: invalid character '1' after array element"}}},
		"two values":              {`1 2 3`, []command.Field{{Detail: "is not JSON, at byte 2: invalid character '2' after top-level value"}}},
		"a stray bracket":         {`1] `, []command.Field{{Detail: "is not JSON, at byte 1: invalid character ']' after top-level value"}}},
	} {
		_, got := strict([]byte(tt.text))
		if diff := cmp.Diff(got, tt.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", name, diff)
		}
	}
}

func TestEveryPrefixOfABodyIsNoBody(t *testing.T) {
	whole := `{"type":"t","params":{"a":[1,2.5e3,"\ud83d\ude00é",true,null]},"targets":{"devices":["pump-7"]}}`
	if _, faults := strict([]byte(whole)); faults != nil {
		t.Fatalf("the whole: %v", faults)
	}
	for i := range whole {
		if _, faults := strict([]byte(whole[:i])); len(faults) == 0 {
			t.Errorf("the first %d bytes are a body: %s", i, whole[:i])
		}
	}
}

// seeds are bodies that take every path through the reader.
var seeds = []string{
	anIntent, params(`{"rpm":1200,"b":{"$bytes":"3q2-7w"},"f":0.1,"n":-18446744073709551615}`),
	`{"a":1,"a":2}`, `["\ud83d"]`, `["\ud83d\ude00"]`, `["\\ud83d"]`, "{\"a\":\"\xff\"}", `[[[[[[[[[[[[[[[[[[[[`,
	`{"type":"t","targets":{"all":true},"labels":{"a":"b"},"not_before":"2026-11-24T12:00:00Z"}`, ``, ` `, `null`, `1e400`,
	`{"commands":[{"type":"t"}]}`,
}

// What strict takes, encoding/json takes with the same value; what strict
// refuses for its syntax, encoding/json refuses too.
func FuzzStrict(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, faults := strict(body)
		if len(faults) > faultsMax+1 {
			t.Errorf("%d faults", len(faults))
		}
		if len(faults) > 0 {
			if json.Valid(body) && strings.HasPrefix(faults[len(faults)-1].Detail, "is not JSON") {
				t.Errorf("refused as no JSON: %q", body)
			}
			return
		}
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.UseNumber()
		var want any
		if err := dec.Decode(&want); err != nil {
			t.Fatalf("taken, and encoding/json says %v: %q", err, body)
		}
		if !reflect.DeepEqual(v, want) {
			t.Errorf("read %v, encoding/json reads %v", v, want)
		}
	})
}

// FuzzIssue sends any body all the way to the use case: what gets there has
// the contract's shape, and nothing is answered with 5xx.
func FuzzIssue(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	for _, a := range badInput {
		if a.path == "/v1/commands" && len(a.body) < 10_000 {
			f.Add([]byte(a.body))
		}
	}
	d := &desk{}
	srv := bare(f, d)
	srv.people = anybody{}
	var issued *command.Intent
	srv.use = issuer{d, func(in command.Intent) { issued = &in }}
	f.Fuzz(func(t *testing.T, body []byte) {
		issued = nil
		w := post(srv, "/v1/commands", string(body))
		if w.Code >= 500 {
			t.Fatalf("%q was answered with %d: %s", body, w.Code, w.Body)
		}
		if (w.Code == 201) != (issued != nil) {
			t.Fatalf("%q was answered with %d, and issued is %v", body, w.Code, issued)
		}
		if issued == nil {
			var p Problem
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Status != w.Code {
				t.Errorf("%q was answered with no problem: %s", body, w.Body)
			}
			return
		}
		if issued.Params != nil && !json.Valid(issued.Params) {
			t.Errorf("%q got through with the params %q", body, issued.Params)
		}
		if issued.Type == "" || len(issued.Targets.Devices) == 0 && len(issued.Targets.Groups) == 0 && issued.Targets.Selector == "" && !issued.Targets.All {
			t.Errorf("%q got through as %+v", body, issued)
		}
	})
}

// anybody is let in, sees everything, and stays.
type anybody struct{}

func (anybody) Authenticate(_ context.Context, _ string) (access.Identity, error) {
	return access.Identity{User: "ann", Roles: access.Operator}, nil
}

func (anybody) Sees(string) func(map[string]string) bool { return nil }
func (anybody) Changed() <-chan struct{}                 { return nil }

type issuer struct {
	*desk
	saw func(command.Intent)
}

func (i issuer) Issue(c context.Context, in command.Intent) (command.Issued, error) {
	issued, err := i.desk.Issue(c, in)
	if err == nil {
		i.saw(in)
	}
	return issued, err
}

// post asks without a network between.
func post(srv *Server, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer x")
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, r)
	return w
}
