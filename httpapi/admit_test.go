package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"behest/access"
	"behest/device"
)

// Every route, asked for by nobody and by each role: the answer to "may I" is
// the rule's, and it comes before any other.
func TestEveryRouteAsksForItsRole(t *testing.T) {
	d := &desk{}
	s := serve(t, d, d, Options{})
	for pattern, rule := range access.Rules {
		method, path, _ := strings.Cut(pattern, " ")
		path = strings.NewReplacer("{id}", id.String(), "{device}", "pump-7", "{name}", "pump.start", "{n}", "3", "{event}", "1-42").Replace(path)
		for _, as := range []string{"nobody", "viewer", "operator", "approver", "admin"} {
			// A proxy's header, so that nobody is on loopback.
			r := s.do(ask{name: pattern, as: as, method: method, path: path, header: map[string]string{"X-Forwarded-For": "127.0.0.1"}})
			role, _ := access.ParseRole(as)
			want := "let in"
			switch {
			case rule.Public == access.Everybody:
			case as == "nobody":
				want = "401"
			case !rule.Roles.Any(role):
				want = "403"
			}
			got := "let in"
			if r.status == 401 || r.status == 403 {
				got = fmt.Sprint(r.status)
			}
			if got != want {
				t.Errorf("%s as %s: %s, want %s", pattern, as, got, want)
			}
		}
	}
}

func TestLoopbackIsWhoSitsAtTheMachine(t *testing.T) {
	d := &desk{}
	s := serve(t, d, d, Options{})
	if r := s.do(ask{name: "at the machine", as: "nobody", path: "/openapi.json"}); r.status != 200 {
		t.Errorf("at the machine: %d", r.status)
	}
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		r := s.do(ask{name: h, as: "nobody", path: "/openapi.json", header: map[string]string{h: "127.0.0.1"}})
		if r.status != 401 {
			t.Errorf("behind a proxy that says %s: %d", h, r.status)
		}
	}
	for addr, want := range map[string]bool{
		"127.0.0.1:80": true, "[::1]:80": true, "[::ffff:127.0.0.1]:80": true, "127.8.8.8:1": true,
		"192.0.2.1:80": false, "[2001:db8::1]:80": false, "0.0.0.0:80": false, "": false, "@": false, "localhost:80": false,
	} {
		if got := isLoopback(addr); got != want {
			t.Errorf("isLoopback(%q) = %v", addr, got)
		}
	}
}

func TestARevokedTokenIsNobodyAtOnce(t *testing.T) {
	d := &desk{}
	s := serve(t, d, d, Options{})
	if r := s.do(ask{name: "before", as: "viewer", path: "/v1/me"}); r.status != 200 {
		t.Fatalf("before: %d", r.status)
	}
	token, err := access.ParseToken(s.tokens["viewer"])
	if err != nil {
		t.Fatal(err)
	}
	s.keeper.Revoke(token.ID)
	if r := s.do(ask{name: "after", as: "viewer", path: "/v1/me"}); r.status != 401 {
		t.Errorf("after: %d", r.status)
	}
}

func TestAuthorizationIsReadWithCare(t *testing.T) {
	d := &desk{}
	s := serve(t, d, d, Options{})
	token := s.tokens["viewer"]
	for header, want := range map[string]int{
		"Bearer " + token: 200, "bearer " + token: 200, "BEARER   " + token + "  ": 200,
		token: 401, "Bearer": 401, "Bearer ": 401, "Token " + token: 401, "Bearer " + token + " x": 401,
		"Bearer " + strings.ToUpper(token): 401, "Bearer " + token[:49]: 401,
	} {
		r := s.do(ask{name: header, as: "nobody", path: "/v1/me", header: map[string]string{"Authorization": header}})
		if r.status != want {
			t.Errorf("%q: %d, want %d", header, r.status, want)
		}
	}
	req, _ := http.NewRequest("GET", s.url+"/v1/me", nil)
	req.Header["Authorization"] = []string{"Bearer " + token, "Bearer " + token}
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 401 {
		t.Errorf("two headers: %d", resp.StatusCode)
	}
}

// A media type and the names of its parameters have no case [RFC 9110 8.3.1].
func TestContentTypesHaveNoCase(t *testing.T) {
	d := &desk{}
	d.put = func(string, device.Edit, string) (device.View, bool, error) { return pump(), false, nil }
	s := serve(t, d, d, Options{})
	for header, want := range map[string]int{
		"application/json": 200, "APPLICATION/JSON": 200, "Application/Json; Charset=UTF-8": 200, `application/json;charset="utf-8"`: 200,
		"application/json; charset=latin1": 415, "application/jsonl": 415, "application/merge-patch+json": 415, "text/json": 415, "json": 415,
	} {
		r := s.do(ask{name: header, method: "PUT", path: "/v1/devices/pump-7", body: `{}`, header: map[string]string{"Content-Type": header}})
		if r.status != want {
			t.Errorf("%q: %d, want %d", header, r.status, want)
		}
	}
}

type broken struct{ *access.Book }

func (broken) Authenticate(context.Context, string) (access.Identity, error) {
	return access.Identity{}, errors.New("the users cannot be read")
}

// Not being able to tell is no reason to say no, and none to say yes.
func TestWhoCannotBeToldIsNotLetIn(t *testing.T) {
	d := &desk{}
	srv := bare(t, d)
	srv.people = broken{}
	r, _ := http.NewRequest("GET", "http://x/v1/me", nil)
	r.Header.Set("Authorization", "Bearer x")
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, r)
	if w.Code != 500 || strings.Contains(w.Body.String(), "users") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

// A log is read by more people than may use a token.
func TestTheLogHoldsNoSecret(t *testing.T) {
	d := &desk{}
	s := serve(t, d, d, Options{})
	secret := s.tokens["operator"]
	s.do(ask{name: "in a query", path: "/v1/commands?type=" + secret})
	s.do(ask{name: "in a wrong query", path: "/v1/commands?token=" + secret})
	s.do(ask{name: "in a body", path: "/v1/commands", body: with(`"reason":"` + secret + `"`)})
	s.do(ask{name: "in a path", path: "/v1/devices/" + secret})
	s.do(ask{name: "in a wrong header", as: "nobody", path: "/v1/me", header: map[string]string{"Authorization": "Bearer x" + secret}})
	log := s.log.String()
	if strings.Contains(log, secret) || strings.Contains(log, secret[11:43]) {
		t.Errorf("the log holds a token:\n%s", log)
	}
	if n := strings.Count(log, "msg=request "); n != 5 {
		t.Errorf("the log has %d lines of 5 requests:\n%s", n, log)
	}
	if !strings.Contains(log, "user=operator-1") || !strings.Contains(log, "remote=127.0.0.1\n") {
		t.Errorf("the log does not say who and from where:\n%s", log)
	}
}

func TestEveryAnswerHasItsHeaders(t *testing.T) {
	d := &desk{}
	s := serve(t, d, d, Options{})
	ids := make(map[string]bool)
	for _, path := range []string{"/v1/me", "/v1/commands", "/nowhere", "/livez", "/v1/commands/x"} {
		r := s.do(ask{name: path, path: path})
		for name, want := range securityHeaders {
			if got := r.header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		rid := r.header.Get("X-Request-Id")
		if len(rid) != 16 || ids[rid] {
			t.Errorf("%s: request id %q", path, rid)
		}
		ids[rid] = true
	}
}

func TestHeadIsGetWithoutTheBody(t *testing.T) {
	d := &desk{}
	s := serve(t, d, d, Options{Log: newLogbook()})
	for _, path := range []string{commandPath, "/v1/devices/pump-7", "/livez", "/nowhere", "/v1/devices/pump-8"} {
		get := s.do(ask{name: path, path: path})
		head := s.do(ask{name: path, method: "HEAD", path: path})
		if head.status != get.status || head.body != "" || head.header.Get("Content-Type") != get.header.Get("Content-Type") ||
			head.header.Get("ETag") != get.header.Get("ETag") {
			t.Errorf("%s: HEAD %d %v %q, GET %d %v", path, head.status, head.header, head.body, get.status, get.header)
		}
	}
	if r := s.do(ask{name: "HEAD of a stream", method: "HEAD", path: "/v1/events", header: map[string]string{"Accept": "text/event-stream"}}); r.status != 200 || r.header.Get("Content-Type") != "application/json" {
		t.Errorf("HEAD of a stream: %d %v", r.status, r.header)
	}
	if r := s.do(ask{name: "HEAD where there is no GET", method: "HEAD", path: commandPath + "/cancel"}); r.status != 405 || r.header.Get("Allow") != "POST" {
		t.Errorf("got %d, Allow %q", r.status, r.header.Get("Allow"))
	}
}
