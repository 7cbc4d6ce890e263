package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/google/go-cmp/cmp"

	"behest/access"
	"behest/command/dispatch"
	"behest/device"
	"behest/device/vault"
	"behest/schema"
	"behest/store/sqlite"
)

func TestAUserArrivesAsItWasWritten(t *testing.T) {
	var got access.User
	var gotVersion int64
	d := &desk{}
	d.putUser = func(u access.User, ifVersion int64, by string) (access.User, bool, error) {
		got, gotVersion = u, ifVersion
		u.Version, u.ChangedBy = 4, by
		return u, false, nil
	}
	s := serve(t, d, d, Options{})
	raw, err := json.Marshal(viewUser(ann()))
	if err != nil {
		t.Fatal(err)
	}
	var shown User
	if err := json.Unmarshal(raw, &shown); err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(UserRule{Name: shown.Name, Email: shown.Email, Roles: shown.Roles, Disabled: true})
	if err != nil {
		t.Fatal(err)
	}
	r := s.do(ask{name: "put", as: "admin", method: "PUT", path: "/v1/users/ann", body: string(body), header: map[string]string{"If-Match": `"3"`}})
	if r.status != 200 || r.header.Get("ETag") != `"4"` || gotVersion != 3 {
		t.Errorf("%d %v, version %d: %s", r.status, r.header, gotVersion, r.body)
	}
	want := ann()
	if diff := cmp.Diff(got, access.User{ID: "ann", Name: want.Name, Email: want.Email, Grants: want.Grants, Disabled: true}); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

func TestATokenIsAskedForAsItWasWritten(t *testing.T) {
	var got []string
	d := &desk{}
	d.addToken = func(user, note string, expires time.Time, by string) (access.TokenRecord, string, error) {
		got = append(got, fmt.Sprintf("%s %q %v %s", user, note, expires.UTC(), by))
		return access.TokenRecord{User: user, N: 7, CreatedAt: noon}, "bh_x", nil
	}
	s := serve(t, d, d, Options{})
	for body, want := range map[string]string{
		`{}`: `ann b "" 0001-01-01 00:00:00 +0000 UTC admin-1`,
		`{"note":"x","expires_at":"2027-01-01T01:00:00+01:00"}`: `ann b "x" 2027-01-01 00:00:00 +0000 UTC admin-1`,
	} {
		got = nil
		r := s.do(ask{name: body, as: "admin", path: "/v1/users/ann%20b/tokens", body: body, header: map[string]string{}})
		if r.status != 201 || !strings.Contains(r.body, `"token":"bh_x"`) || r.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v %s", body, r.status, r.header, r.body)
		}
		if diff := cmp.Diff(got, []string{want}); diff != "" {
			t.Errorf("%s (-got +want):\n%s", body, diff)
		}
	}
	if log := s.log.String(); strings.Contains(log, "bh_x") {
		t.Error("the log holds a token")
	}
}

func TestUsersComeInPages(t *testing.T) {
	var asked []string
	d := &desk{}
	d.users = func(after string, limit int) ([]access.User, bool, error) {
		asked = append(asked, fmt.Sprint(after, " ", limit))
		return []access.User{ann()}, after == "", nil
	}
	s := serve(t, d, d, Options{})
	var page UserPage
	if err := json.Unmarshal([]byte(s.do(ask{name: "first", as: "admin", path: "/v1/users?page_size=1"}).body), &page); err != nil || page.NextPageToken == "" {
		t.Fatalf("%v %+v", err, page)
	}
	r := s.do(ask{name: "second", as: "admin", path: "/v1/users?page_token=" + page.NextPageToken})
	if r.status != 200 || strings.Contains(r.body, "next_page_token") {
		t.Errorf("second: %d %s", r.status, r.body)
	}
	if diff := cmp.Diff(asked, []string{" 1", "ann 100"}); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

// town is the real use cases on the real store with people who are let in by
// their tokens, behind the real server.
type town struct {
	*service
	d     *dispatch.Dispatcher
	store *sqlite.Store
}

// user makes somebody known, with a token under his name.
func (c *town) user(id string, grants ...access.Grant) {
	c.t.Helper()
	if _, _, err := c.d.PutUser(c.t.Context(), access.User{ID: id, Grants: grants}, 0, "admin"); err != nil {
		c.t.Fatal(err)
	}
	_, text, err := c.d.AddToken(c.t.Context(), id, "", time.Time{}, "admin")
	if err != nil {
		c.t.Fatal(err)
	}
	c.tokens[id] = text
}

// device makes a device known, with labels.
func (c *town) device(name string, labels map[string]string) {
	c.t.Helper()
	if _, _, err := c.d.PutDevice(c.t.Context(), name, device.Edit{Labels: labels}, "admin"); err != nil {
		c.t.Fatal(err)
	}
}

// arrive lets a device register and observe.
func (c *town) arrive(name string) { (&house{c.service, c.d, c.store}).arrive(name) }

// peopled is a server whose people are those of a real store.
func peopled(t *testing.T) *service { t.Helper(); return inTown(t).service }

// inTown makes a town, with its administrator.
func inTown(t *testing.T) *town {
	t.Helper()
	return inTownOf(t, func(b *access.Book) People { return b })
}

// inTownOf is inTown with people who come in by more than their tokens.
func inTownOf(t *testing.T, people func(*access.Book) People) *town {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	book := access.NewBook(time.Now)
	keys, err := vault.Parse([]byte(vault.Line(1)))
	if err != nil {
		t.Fatal(err)
	}
	door, err := dispatch.NewDoor(ctx, store, keys, dispatch.DoorOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d := dispatch.New(store, nowhere{}, dispatch.Options{Dev: true, Book: book, Door: door, Schemas: schema.New()})
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{store.Run, d.Run} {
		running.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	s := &service{t: t, tokens: map[string]string{"admin": access.NewToken()}, log: new(lines), client: &http.Client{Transport: &http.Transport{}}}
	first, err := access.ParseToken(s.tokens["admin"])
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Appoint(t.Context(), "admin", first, "first"); err != nil {
		t.Fatal(err)
	}
	if s.srv, err = New(d, store, people(book), Options{
		Logger: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Log: store, Webhooks: &hookDesk{}, Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "behest_up 1") }),
	}); err != nil {
		t.Fatal(err)
	}
	doc, err := loadContract()
	if err != nil {
		t.Fatal(err)
	}
	if s.router, err = legacy.NewRouter(doc, openapi3.DisableExamplesValidation()); err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(s.srv)
	s.url = front.URL
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		s.srv.close()
		front.Close()
		cancel()
		running.Wait()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return &town{s, d, store}
}

// Somebody is made known, comes with a token, may do what he was granted and
// no more, and is nobody again the moment that the token is revoked.
func TestRealPeopleComeAndGo(t *testing.T) {
	s := peopled(t)
	must := func(a ask, status int, want string) reply {
		t.Helper()
		r := s.do(a)
		if r.status != status || !strings.Contains(r.body, want) {
			t.Fatalf("%s: %d %s", a.name, r.status, r.body)
		}
		return r
	}
	must(ask{name: "a group that is not there", as: "admin", method: "PUT", path: "/v1/users/ann", body: `{"roles":[{"role":"operator","groups":["north"]}]}`}, 422, `"/roles/0/groups/0"`)
	must(ask{name: "a group", as: "admin", method: "PUT", path: "/v1/groups/north", body: `{"selector":"site=north"}`}, 201, "")
	must(ask{name: "ann", as: "admin", method: "PUT", path: "/v1/users/ann", body: `{"name":"Ann","roles":[{"role":"operator","groups":["north"]}]}`}, 201, `"changed_by":"admin"`)
	for _, path := range []string{"a", "b"} {
		must(ask{name: path, as: "admin", method: "PUT", path: "/v1/devices/" + path, body: `{"labels":{"site":"` + map[string]string{"a": "north", "b": "south"}[path] + `"}}`}, 201, "")
	}
	r := must(ask{name: "a token", as: "admin", path: "/v1/users/ann/tokens", body: `{"note":"laptop","expires_at":"2100-01-01T00:00:00Z"}`}, 422, "expires_at")
	at := time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)
	r = must(ask{name: "a token", as: "admin", path: "/v1/users/ann/tokens", body: `{"note":"laptop","expires_at":"` + at + `"}`}, 201, `"n":1`)
	var made NewToken
	if err := json.Unmarshal([]byte(r.body), &made); err != nil {
		t.Fatal(err)
	}
	s.tokens["ann"] = made.Token
	r = must(ask{name: "who am I", as: "ann", path: "/v1/me"}, 200, `"grants":[{"role":"operator","groups":["north"]}]`)
	if !strings.Contains(r.body, `"expires_at":"`+strings.TrimSuffix(at, "Z")) {
		t.Errorf("who am I: %s", r.body)
	}
	must(ask{name: "her own", as: "ann", path: "/v1/commands", body: `{"type":"t","targets":{"devices":["a"]}}`}, 201, "")
	must(ask{name: "another's", as: "ann", path: "/v1/commands", body: `{"type":"t","targets":{"devices":["b"]}}`}, 403, "forbidden")
	must(ask{name: "all", as: "ann", path: "/v1/commands/preview", body: `{"type":"t","targets":{"all":true}}`}, 403, "forbidden")
	must(ask{name: "users", as: "ann", path: "/v1/users"}, 403, "forbidden")
	if r := must(ask{name: "tokens", as: "admin", path: "/v1/users/ann/tokens"}, 200, `"works":true`); strings.Contains(r.body, made.Token) {
		t.Error("a token is shown twice")
	}
	must(ask{name: "the group is needed", as: "admin", method: "DELETE", path: "/v1/groups/north"}, 409, "ann")
	for range 2 { // the second time in vain
		must(ask{name: "revoke", as: "admin", method: "DELETE", path: "/v1/users/ann/tokens/1"}, 204, "")
	}
	must(ask{name: "nobody", as: "ann", path: "/v1/me"}, 401, "unauthenticated")
	must(ask{name: "the last admin", as: "admin", method: "DELETE", path: "/v1/users/admin"}, 409, "last")
	must(ask{name: "no such token", as: "admin", method: "DELETE", path: "/v1/users/ann/tokens/9"}, 404, "not_found")
	must(ask{name: "gone", as: "admin", method: "DELETE", path: "/v1/users/ann", header: map[string]string{"If-Match": `"1"`}}, 204, "")
	must(ask{name: "gone again", as: "admin", method: "DELETE", path: "/v1/users/ann"}, 404, "not_found")
	must(ask{name: "told", as: "admin", path: "/v1/events?type=token.revoked"}, 200, `"data":{"token":1,"user":"ann"}`)
}

// Approving, denying and canceling at the same moment, over HTTP: one of them
// wins, and who is answered 200 is the one. (Canceling wins after approving,
// too: then both do.)
func TestRealDecisionsHaveOneWinner(t *testing.T) {
	c := inTown(t)
	c.user("op", access.Grant{Role: access.Operator})
	for _, name := range []string{"eve", "joe"} {
		c.user(name, access.Grant{Role: access.Approver})
	}
	if r := c.do(ask{name: "type", as: "admin", method: "PUT", path: "/v1/types/valve.set", body: `{"approval":{"approvers":1}}`}); r.status != 201 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	wins := make(map[string]int)
	for n := range 30 {
		devices := []string{`"a%d"`, `"a%[1]d","b%[1]d"`}[n%2]
		r := c.do(ask{name: "issue", as: "op", path: "/v1/commands", body: fmt.Sprintf(`{"type":"valve.set","targets":{"devices":[`+devices+`]}}`, n)})
		var v Command
		if err := json.Unmarshal([]byte(r.body), &v); err != nil || r.status != 201 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		path := "/v1/commands/" + v.ID
		asks := []ask{
			{name: "approve", as: "eve", path: path + "/approve", body: decideOn(v)},
			{name: "deny", as: "joe", path: path + "/deny", body: decideOn(v)},
			{name: "cancel", as: "op", path: path + "/cancel", method: "POST"},
		}
		said := make([]int, len(asks))
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for i, a := range asks {
			wg.Go(func() { <-begin; said[i] = c.do(a).status })
		}
		close(begin)
		wg.Wait()
		approved, denied, canceled := said[0] == 200, said[1] == 200, said[2] == 200
		for i, status := range said {
			if status != 200 && status != 409 {
				t.Errorf("round %d: %s is answered with %d", n, asks[i].name, status)
			}
		}
		if denied && (approved || canceled) || !denied && !approved && !canceled {
			t.Errorf("round %d: answered with %d", n, said)
		}
		var after Command
		c.until(path, func(v Command) bool { after = v; return v.State != "awaiting_approval" && v.Pending == nil })
		if got := len(after.Approvals.Decisions); (got == 1) != (approved || denied) {
			t.Errorf("round %d: answered with %d, and %d decisions are kept", n, said, got)
		}
		if (after.Counts["denied"] > 0) != denied || !approved && !denied && after.Counts["canceled"] == 0 {
			t.Errorf("round %d: answered with %d, and it is %v", n, said, after.Counts)
		}
		wins[fmt.Sprint(said)]++
	}
	t.Log(wins)
}
