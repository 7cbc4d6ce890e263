package httpapi

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc/oidctest"

	"behest/access"
	"behest/access/oidc"
	"behest/command"
)

// provider is an identity provider on a real socket, that calls people what they
// are called here.
type provider struct {
	oidctest.Server
	t    *testing.T
	url  string
	key  *ecdsa.PrivateKey
	down atomic.Bool
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	i := &provider{t: t}
	var err error
	if i.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	i.PublicKeys = []oidctest.PublicKey{{PublicKey: i.key.Public(), KeyID: "k", Algorithm: "ES256"}}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i.down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		i.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	i.url = front.URL
	i.SetIssuer(i.url)
	return i
}

// people lets those of a book come in by the issuer too, until the test ends.
func (i *provider) people(t *testing.T) func(*access.Book) People {
	return func(b *access.Book) People {
		p, err := oidc.New(oidc.Options{Issuer: i.url, Audience: "behest", Retry: 10 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		return oidc.People{Book: b, Provider: p}
	}
}

// of is the login that stands for a user in the tests.
func (i *provider) of(user string) access.Login {
	return access.Login{Issuer: i.url, Claim: access.ClaimSubject, Subject: user}
}

// login says of a user that the issuer calls him by his name.
func (i *provider) login(c *town, user string) {
	i.t.Helper()
	u, err := c.store.User(i.t.Context(), user)
	if err != nil {
		i.t.Fatal(err)
	}
	u.Logins = []access.Login{i.of(user)}
	if _, _, err := c.d.PutUser(i.t.Context(), u, 0, "admin"); err != nil {
		i.t.Fatal(err)
	}
}

type claim struct {
	name  string
	value any
}

// token is a token of somebody, good for an hour.
func (i *provider) token(subject string, change ...claim) string {
	claims := map[string]any{"iss": i.url, "aud": "behest", "sub": subject, "exp": time.Now().Add(time.Hour).Unix()}
	for _, c := range change {
		claims[c.name] = c.value
	}
	b, err := json.Marshal(claims)
	if err != nil {
		i.t.Fatal(err)
	}
	return oidctest.SignIDToken(i.key, "k", "ES256", string(b))
}

// inCompany is a town with an identity provider, in which ann and bob approve,
// and olga operates and approves; each has a token, and one of the provider's under
// "NAME's login".
func inCompany(t *testing.T) (*town, *provider) {
	t.Helper()
	i := newProvider(t)
	c := inTownOf(t, i.people(t))
	for user, role := range map[string]access.Roles{"ann": access.Approver, "bob": access.Approver, "olga": access.Operator} {
		c.user(user, access.Grant{Role: role}, access.Grant{Role: access.Approver})
		i.login(c, user)
		c.tokens[user+"'s login"] = i.token(user)
	}
	return c, i
}

// A login is bound by an administrator, is one user's, and counts from that
// moment until it is taken back.
func TestALoginIsBoundAndTakenBack(t *testing.T) {
	c, i := inCompany(t)
	c.tokens["eve"] = i.token("subject of eve")
	must := func(a ask, status int, want string) reply {
		t.Helper()
		r := c.do(a)
		if r.status != status || !strings.Contains(r.body, want) {
			t.Fatalf("%s: %d %s", a.name, r.status, r.body)
		}
		return r
	}
	r := must(ask{name: "nobody yet", as: "eve", path: "/v1/me"}, 401, "its login is no user's here")
	if got, want := r.header.Get("WWW-Authenticate"), `Bearer realm="behest", error="invalid_token", error_description="the token is not valid: its login is no user's here"`; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	body := fmt.Sprintf(`{"roles":[{"role":"viewer"}],"logins":[{"issuer":%q,"subject":"subject of eve"}]}`, i.url)
	must(ask{name: "bound", as: "admin", method: "PUT", path: "/v1/users/eve", body: body}, 201, `"logins":[{"issuer":"`+i.url+`","subject":"subject of eve","claim":"sub"}]`)
	r = must(ask{name: "eve", as: "eve", path: "/v1/me"}, 200, `"user":"eve","roles":["viewer"]`)
	if !strings.Contains(r.body, `"expires_at":`) {
		t.Errorf("it is not said when it ends: %s", r.body)
	}
	must(ask{name: "she may no more than she may", as: "eve", path: "/v1/users"}, 403, "forbidden")
	must(ask{name: "it is hers", as: "admin", method: "PUT", path: "/v1/users/joe", body: body}, 409, `"/logins/0"`)
	must(ask{name: "joe is not there", as: "admin", path: "/v1/users/joe"}, 404, "")
	must(ask{name: "a claim that is none", as: "admin", method: "PUT", path: "/v1/users/joe", body: strings.Replace(body, `"subject":`, `"claim":"nick","subject":`, 1)}, 400, `"/logins/0/claim"`)
	must(ask{name: "in clear", as: "admin", method: "PUT", path: "/v1/users/joe", body: strings.Replace(body, i.url, "http://login.example.org", 1)}, 422, `"/logins/0/issuer"`)
	must(ask{name: "by another claim", as: "admin", method: "PUT", path: "/v1/users/eve", body: strings.Replace(body, `"subject":`, `"claim":"oid","subject":`, 1)}, 200, `"claim":"oid"`)
	must(ask{name: "the server goes by sub", as: "eve", path: "/v1/me"}, 401, "unauthenticated")
	must(ask{name: "bound again", as: "admin", method: "PUT", path: "/v1/users/eve", body: body}, 200, "")
	must(ask{name: "eve again", as: "eve", path: "/v1/me"}, 200, `"user":"eve"`)
	must(ask{name: "taken back", as: "admin", method: "PUT", path: "/v1/users/eve", body: `{"roles":[{"role":"viewer"}]}`}, 200, "")
	must(ask{name: "nobody", as: "eve", path: "/v1/me"}, 401, "its login is no user's here")
	must(ask{name: "who did what, and how", as: "admin", path: "/v1/events?type=user.changed"}, 200, `"logins":[{"claim":"oid","issuer":"`+i.url+`","subject":"subject of eve"}]`)
}

// Who comes by two ways is one person: he approves once, and not what he asked
// for himself. The log says which way each came.
func TestOnePersonByTwoWaysIsOne(t *testing.T) {
	c, _ := inCompany(t)
	c.arrive("pump-7")
	if r := c.do(ask{name: "type", as: "admin", method: "PUT", path: "/v1/types/valve.open", body: `{"approval":{"approvers":2}}`}); r.status != 201 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	r := c.do(ask{name: "issue", as: "olga", path: "/v1/commands", body: `{"type":"valve.open","targets":{"devices":["pump-7"]}}`})
	var v Command
	if err := json.Unmarshal([]byte(r.body), &v); err != nil || r.status != 201 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	approve := func(as string, status, decisions int, state string) {
		t.Helper()
		r := c.do(ask{name: as, as: as, path: "/v1/commands/" + v.ID + "/approve", body: decideOn(v)})
		var after Command
		_ = json.Unmarshal([]byte(r.body), &after) // or it is a refusal
		if r.status != status || status == 200 && (len(after.Approvals.Decisions) != decisions || (after.State == "awaiting_approval") != (state == "waits")) {
			t.Errorf("%s: %d %s", as, r.status, r.body)
		}
	}
	approve("olga", 403, 0, "")
	approve("olga's login", 403, 0, "")
	approve("ann", 200, 1, "waits")
	approve("ann's login", 200, 1, "waits")
	approve("ann", 200, 1, "waits")
	approve("bob's login", 200, 2, "goes")

	c.srv.users = newPace(1, 2, time.Now) // and one rate is his
	for n, as := range []string{"bob", "bob's login", "bob's login", "bob"} {
		if r := c.do(ask{name: as, as: as, path: "/v1/me"}); (r.status == 429) != (n > 1) {
			t.Errorf("request %d, as %s: %d", n, as, r.status)
		}
	}

	r = c.do(ask{name: "how they came", as: "admin", path: "/v1/events?type=approval.approved"})
	var page EventPage
	if err := json.Unmarshal([]byte(r.body), &page); err != nil || len(page.Items) != 2 {
		t.Fatalf("%v %s", err, r.body)
	}
	for n, want := range []string{"ann 127.0.0.1 ", "bob 127.0.0.1 oidc"} {
		if e := page.Items[n]; e.Actor+" "+e.From+" "+e.Via != want {
			t.Errorf("event %d: %+v, want %s", n, e, want)
		}
	}
	if r := c.do(ask{name: "who is no administrator", as: "ann", path: "/v1/events?type=approval.approved"}); strings.Contains(r.body, "via") || strings.Contains(r.body, "127.0.0.1") {
		t.Errorf("a viewer is shown the way: %s", r.body)
	}
	if log := c.log.String(); !strings.Contains(log, "user=bob via=oidc") {
		t.Errorf("the log does not say how bob came:\n%s", log)
	}
}

// Who asked by a login is looked at once more when it leaves, like anybody.
func TestWhatADisabledLoginAskedForDoesNotLeave(t *testing.T) {
	c, _ := inCompany(t)
	c.arrive("pump-7")
	if _, _, err := c.d.PutType(t.Context(), command.Type{Name: "valve.open", Approval: &command.ApprovalRule{Approvers: 1}}, 0, "admin"); err != nil {
		t.Fatal(err)
	}
	r := c.do(ask{name: "issue", as: "olga's login", path: "/v1/commands", body: `{"type":"valve.open","targets":{"devices":["pump-7"]}}`})
	var v Command
	if err := json.Unmarshal([]byte(r.body), &v); err != nil || r.status != 201 || v.RequestedBy != "olga" {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if r := c.do(ask{name: "disabled", as: "admin", method: "PUT", path: "/v1/users/olga", body: `{"roles":[{"role":"operator"}],"disabled":true}`}); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if r := c.do(ask{name: "shut out", as: "olga's login", path: "/v1/me"}); r.status != 401 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := c.do(ask{name: "approved", as: "ann's login", path: "/v1/commands/" + v.ID + "/approve", body: decideOn(v)}); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	c.until("/v1/commands/"+v.ID, func(v Command) bool {
		return v.State == "canceled" && v.Execution.Cause != nil && *v.Execution.Cause == "not_entitled"
	})
}

// A stream ends with the token that opened it, and with the user behind that.
func TestAStreamEndsWithItsLogin(t *testing.T) {
	c, i := inCompany(t)
	for name, end := range map[string]func(){
		"disabled": func() {
			c.do(ask{name: "disabled", as: "admin", method: "PUT", path: "/v1/users/ann", body: fmt.Sprintf(`{"roles":[{"role":"viewer"}],"disabled":true,"logins":[{"issuer":%q,"subject":"ann"}]}`, i.url)})
		},
		"taken back": func() {
			c.do(ask{name: "taken back", as: "admin", method: "PUT", path: "/v1/users/ann", body: `{"roles":[{"role":"viewer"}]}`})
		},
		"removed": func() { c.do(ask{name: "removed", as: "admin", method: "DELETE", path: "/v1/users/ann"}) },
		"expired": func() {},
	} {
		c.do(ask{name: "ann", as: "admin", method: "PUT", path: "/v1/users/ann", body: fmt.Sprintf(`{"roles":[{"role":"viewer"}],"logins":[{"issuer":%q,"subject":"ann"}]}`, i.url)})
		token := i.token("ann")
		if name == "expired" { // with the leeway, in two seconds or three
			token = i.token("ann", claim{"exp", time.Now().Add(-27 * time.Second).Unix()})
		}
		r := c.follow("/v1/events", map[string]string{"Authorization": "Bearer " + token})
		before := time.Now()
		end()
		for r.next() != "end" { // what it said before, and its own end perhaps
		}
		took := time.Since(before)
		if took > 10*time.Second || name == "expired" && took < time.Second {
			t.Errorf("%s: it ended after %s", name, took)
		}
	}
}

// While it is not known what the provider's keys are, its tokens are for later;
// ours need it not. No token is in the log, whatever came of it.
func TestTheProviderIsDownAndOurTokensWork(t *testing.T) {
	i := newProvider(t)
	i.down.Store(true)
	c := inTownOf(t, i.people(t))
	c.user("ann", access.Grant{Role: access.Viewer})
	i.login(c, "ann")
	c.tokens["ann's login"] = i.token("ann")
	r := c.do(ask{name: "down", as: "ann's login", path: "/v1/me"})
	if r.status != 503 || r.header.Get("Retry-After") == "" || r.header.Get("WWW-Authenticate") != "" || !strings.Contains(r.body, `"code":"unavailable"`) {
		t.Errorf("%d %v %s", r.status, r.header, r.body)
	}
	if r := c.do(ask{name: "ours", as: "ann", path: "/v1/me"}); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := c.do(ask{name: "ready", as: "nobody", path: "/readyz"}); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	i.down.Store(false)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if r := c.do(ask{name: "up", as: "ann's login", path: "/v1/me"}); r.status == 200 {
			break
		} else if r.status != 503 || time.Now().After(deadline) {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
	c.tokens["fits"] = i.token("ann", claim{"pad", strings.Repeat("x", oidc.TokenBytesMax*3/4-250)})
	if n := len(c.tokens["fits"]); n > oidc.TokenBytesMax || n < oidc.TokenBytesMax-200 {
		t.Fatalf("it has %d bytes", n)
	}
	if r := c.do(ask{name: "as long as may be", as: "fits", path: "/v1/me"}); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	c.tokens["forged"] = c.tokens["ann's login"][:len(c.tokens["ann's login"])-8] + "AAAAAAAA"
	c.tokens["over"] = i.token("ann", claim{"exp", 1})
	c.tokens["long"] = i.token("ann", claim{"pad", strings.Repeat("x", oidc.TokenBytesMax)})
	for as, why := range map[string]string{"forged": "its signature is wrong", "over": "it has expired", "long": "it is longer than"} {
		if r := c.do(ask{name: as, as: as, path: "/v1/me"}); r.status != 401 || !strings.Contains(r.body, why) || !strings.Contains(r.header.Get("WWW-Authenticate"), why) {
			t.Errorf("%s: %d %v %s", as, r.status, r.header, r.body)
		}
	}
	c.do(ask{name: "in the path", as: "ann", path: "/v1/users/" + c.tokens["ann's login"]})
	log := c.log.String()
	for as, token := range c.tokens {
		for part := range strings.SplitSeq(token, ".") {
			if len(part) > 40 && strings.Contains(log, part[len(part)-40:]) {
				t.Errorf("%s: the log has a part of the token", as)
			}
		}
	}
}
