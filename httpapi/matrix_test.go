package httpapi

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"behest/access"
	"behest/command"
	"behest/device"
)

// matrix is who may use which route, written down beside the rules and not
// from them: read each line aloud. v, o, x and a are viewer, operator, approver
// and admin. Behind that is what one who has the role for some devices is
// answered about others: a status, "less" (he gets an answer that lacks them),
// "same" (it is about no device), or "all" (the role must be for all devices).
// "open" needs no token, "near" none on this machine.
const matrix = `
GET    /livez                                       voxa open
GET    /readyz                                      voxa open
GET    /openapi.json                                voxa near
GET    /docs                                        voxa near
GET    /metrics                                     voxa near all
GET    /v1/me                                       voxa same

POST   /v1/commands                                 -o-a 403
POST   /v1/commands/batch                           -o-a less
POST   /v1/commands/preview                         -o-a 403
GET    /v1/commands                                 voxa less
GET    /v1/commands/{id}                            voxa 404
GET    /v1/commands/{id}/executions                 voxa 404
GET    /v1/commands/{id}/executions/{device}        voxa 404
GET    /v1/executions                               voxa less
GET    /v1/commands/{id}/events                     voxa 404
GET    /v1/events                                   voxa less
GET    /v1/checkpoint                               voxa all
POST   /v1/commands/{id}/cancel                     -oxa 404
POST   /v1/commands/{id}/approve                    --xa 404
POST   /v1/commands/{id}/deny                       --xa 404
POST   /v1/commands/{id}/pause                      -o-a 404
POST   /v1/commands/{id}/resume                     -o-a 404
POST   /v1/commands/{id}/rollback                   -o-a 404
GET    /v1/approvals                                voxa less

GET    /v1/devices                                  voxa less
GET    /v1/devices/{device}                         voxa 404
PUT    /v1/devices/{device}                         -o-a 403
PATCH  /v1/devices/{device}                         -o-a 404
DELETE /v1/devices/{device}                         ---a 404
POST   /v1/devices/{device}/cancel                  -oxa 404
GET    /v1/devices/{device}/credentials             ---a 404
POST   /v1/devices/{device}/credentials             ---a 404
GET    /v1/devices/{device}/credentials/{n}         ---a 404
DELETE /v1/devices/{device}/credentials/{n}         ---a 404
POST   /v1/credentials/import                       ---a all

GET    /v1/groups                                   voxa same
GET    /v1/groups/{name}                            voxa same
PUT    /v1/groups/{name}                            -o-a all
DELETE /v1/groups/{name}                            -o-a all
GET    /v1/types                                    voxa same
GET    /v1/types/{name}                             voxa same
GET    /v1/types/{name}/versions/{n}                voxa same
PUT    /v1/types/{name}                             ---a all
DELETE /v1/types/{name}                             ---a all

GET    /v1/users                                    ---a all
GET    /v1/users/{id}                               ---a all
PUT    /v1/users/{id}                               ---a all
DELETE /v1/users/{id}                               ---a all
GET    /v1/users/{id}/tokens                        ---a all
POST   /v1/users/{id}/tokens                        ---a all
DELETE /v1/users/{id}/tokens/{n}                    ---a all

GET    /v1/webhooks                                 ---a all
GET    /v1/webhooks/{id}                            ---a all
PUT    /v1/webhooks/{id}                            ---a all
DELETE /v1/webhooks/{id}                            ---a all
POST   /v1/webhooks/{id}/secret                     ---a all
GET    /v1/webhooks/{id}/deliveries                 ---a all
POST   /v1/webhooks/{id}/deliveries/{event}/redeliver ---a all
`

// line is a line of the matrix.
type line struct {
	pattern, roles string
	open, near     bool
	others         string // empty: as in "open" and "near" alone
}

func readMatrix(t *testing.T) map[string]line {
	t.Helper()
	lines := make(map[string]line)
	for text := range strings.Lines(matrix) {
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		l := line{pattern: words[0] + " " + words[1], roles: words[2], others: words[len(words)-1]}
		l.open, l.near = slices.Contains(words, "open"), slices.Contains(words, "near")
		lines[l.pattern] = l
	}
	return lines
}

// want is what somebody is answered: "ok", or a status.
func (l line) want(role byte, limited, others bool) string {
	switch {
	case l.open:
		return "ok"
	case !strings.Contains(l.roles, string(role)), limited && l.others == "all":
		return "403"
	case limited && others && strings.HasPrefix(l.others, "40"):
		return l.others
	}
	return "ok"
}

// hidden is in the name, or a label, of everything that who is limited must not
// see.
const hidden = "hush"

// cells are the objects that requests are about: fresh ones for what changes
// something.
type cells struct {
	*town
	provider *provider // everybody's logins are his own name
	t        *testing.T
	made     int
	objects  map[string]object // by side and kind, for what only looks
}

type object struct{ device, command, digest string }

// fill makes an object of the kind that a route needs: of one's own, or of
// others.
func (c *cells) fill(pattern string, others bool) object {
	method, _, _ := strings.Cut(pattern, " ")
	kind := method + " " + strings.TrimPrefix(pattern[strings.LastIndex(pattern, "/"):], "/")
	key := fmt.Sprint(others, pattern)
	if o, ok := c.objects[key]; ok && method == "GET" {
		return o
	}
	c.made++
	name, site := fmt.Sprint("mine-", c.made), "mine"
	if others {
		name, site = fmt.Sprint(hidden, "-", c.made), hidden
	}
	o := object{device: name}
	labels := map[string]string{"site": site}
	devices := []string{name}
	c.device(name, labels)
	if strings.HasSuffix(pattern, "/credentials/{n}") {
		if _, _, err := c.d.AddCredential(c.t.Context(), device.Proof{Device: name, Kind: device.PSK}, "admin"); err != nil {
			c.t.Fatal(err)
		}
	}
	in := command.Intent{Type: "plain", Labels: labels, RequestedBy: "admin"}
	switch kind {
	case "POST approve", "POST deny", "GET approvals":
		in.Type = "held"
	case "POST pause", "POST resume":
		c.device(name+"-b", labels)
		devices = append(devices, name+"-b")
		in.Rollout = &command.Rollout{Waves: []command.Wave{{Count: 1}}, RatePerMinute: 1}
	case "POST rollback":
		in.Type = "undoable"
		c.arrive(name)
	}
	in.Targets.Devices = devices
	i, err := c.d.Issue(c.t.Context(), in)
	if err != nil {
		c.t.Fatal(err)
	}
	o.command, o.digest = i.Command.ID.String(), fmt.Sprintf("sha256:%x", i.Digest())
	switch kind {
	case "POST resume":
		if _, err := c.d.Pause(c.t.Context(), i.Command.ID, "admin"); err != nil {
			c.t.Fatal(err)
		}
	case "POST rollback":
		if err := c.d.Report(c.t.Context(), name, there, i.Only.Seq, command.Report{Status: command.StatusSuccess}); err != nil {
			c.t.Fatal(err)
		}
	}
	c.objects[key] = o
	return o
}

// request is how a route is used on an object. Users, types and groups are not
// of anybody's devices: fresh ones, where they are changed. Webhooks are not
// the real ones here.
func (c *cells) request(pattern string, o object) (method, path, body string) {
	method, path, _ = strings.Cut(pattern, " ")
	targets := fmt.Sprintf(`{"type":"plain","targets":{"devices":[%q]}}`, o.device)
	body = map[string]string{
		"POST /v1/commands": targets, "POST /v1/commands/preview": targets, "POST /v1/commands/batch": `{"commands":[` + targets + `]}`,
		"POST /v1/commands/{id}/approve": `{"digest":"` + o.digest + `"}`, "POST /v1/commands/{id}/deny": `{"digest":"` + o.digest + `"}`,
		"PUT /v1/devices/{device}": `{"labels":{"site":"mine"}}`, "PATCH /v1/devices/{device}": `{"awake_seconds":5}`,
		"PUT /v1/groups/{name}": `{"selector":"a=b"}`, "PUT /v1/types/{name}": `{}`,
		"PUT /v1/users/{id}": `{"roles":[{"role":"viewer"}]}`, "POST /v1/users/{id}/tokens": `{}`,
		"PUT /v1/webhooks/{id}":                 `{"url":"https://example.org/"}`,
		"POST /v1/devices/{device}/credentials": `{"kind":"psk"}`, "POST /v1/credentials/import": "device,secret\n",
	}[pattern]
	id, name := o.command, "plain"
	if strings.Contains(path, "/groups/") {
		name = "mine"
	}
	if method == "PUT" || method == "DELETE" {
		name = c.thing(method, path)
	}
	switch {
	case strings.Contains(path, "/users/"):
		id = c.thing(method, path)
	case strings.Contains(path, "/webhooks/"):
		id = "erp"
	}
	path = strings.NewReplacer("{id}", id, "{device}", o.device, "{name}", name, "{n}", "1", "{event}", "1-1").Replace(path)
	return method, path, body
}

// thing is a fresh group, type or user, made where one must be there.
func (c *cells) thing(method, path string) string {
	c.made++
	name := fmt.Sprint("thing-", c.made)
	var err error
	switch ctx := c.t.Context(); {
	case strings.Contains(path, "/groups/") && method == "DELETE":
		_, _, err = c.d.PutGroup(ctx, device.Group{Name: name, Selector: "a=b"}, 0, "admin")
	case strings.Contains(path, "/types/") && method == "DELETE":
		_, _, err = c.d.PutType(ctx, command.Type{Name: name}, 0, "admin")
	case strings.Contains(path, "/users/") && !strings.HasSuffix(path, "{id}") || strings.Contains(path, "/users/") && method != "PUT":
		c.user(name, access.Grant{Role: access.Viewer})
		if strings.Contains(path, "/tokens/") {
			_, _, err = c.d.AddToken(ctx, name, "", time.Time{}, "admin")
		}
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return name
}

// send sends a request with a token from behind a proxy, so that nobody is
// taken for one who sits at this machine.
func (c *cells) send(method, path, body, authorization string) (status int, answer string) {
	req, err := http.NewRequest(method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", "192.0.2.1")
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if strings.HasSuffix(path, "/import") {
		req.Header.Set("Content-Type", "text/csv")
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func newCells(t *testing.T) *cells {
	i := newProvider(t)
	c := &cells{town: inTownOf(t, i.people(t)), provider: i, t: t, objects: make(map[string]object)}
	if _, _, err := c.d.PutGroup(t.Context(), device.Group{Name: "mine", Selector: "site=mine"}, 0, "admin"); err != nil {
		t.Fatal(err)
	}
	for _, role := range []access.Roles{access.Viewer, access.Operator, access.Approver, access.Admin} {
		c.user(role.String()+" of all", access.Grant{Role: role})
		c.user(role.String()+" by selector", access.Grant{Role: role, Selector: "site in (mine)"})
		c.user(role.String()+" by group", access.Grant{Role: role, Groups: []string{"mine"}})
		for _, of := range []string{" of all", " by selector", " by group"} {
			i.login(c.town, role.String()+of)
		}
	}
	for _, typ := range []command.Type{
		{Name: "plain"}, {Name: "held", Approval: &command.ApprovalRule{Approvers: 1}},
		{Name: "undoable", Rollback: &command.RollbackRule{Kind: command.Inverse, Type: "plain"}},
	} {
		if _, _, err := c.d.PutType(t.Context(), typ, 0, "admin"); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// Every route of the rules, in every role for all devices and for some, by a
// token of ours and by an identity provider's, on one's own devices and on
// others': who may not is told so, and nobody is told of what he does not see.
func TestNobodyGetsPastTheMatrix(t *testing.T) {
	c := newCells(t)
	lines, asked, leaks := readMatrix(t), 0, 0
	for _, pattern := range slices.Sorted(maps.Keys(access.Rules)) {
		l, ok := lines[pattern]
		if !ok {
			t.Errorf("%s is not in the matrix: say there who may use it", pattern)
			continue
		}
		delete(lines, pattern)
		for _, role := range []string{"viewer", "operator", "approver", "admin"} {
			letter := map[string]byte{"viewer": 'v', "operator": 'o', "approver": 'x', "admin": 'a'}[role]
			for _, of := range []string{" of all", " by selector", " by group"} {
				for _, others := range []bool{false, true} {
					for by, token := range map[string]string{"his token": c.tokens[role+of], "his login": c.provider.token(role + of)} {
						limited := of != " of all"
						o := c.fill(pattern, others)
						method, path, body := c.request(pattern, o)
						status, answer := c.send(method, path, body, "Bearer "+token)
						asked++
						got, want := fmt.Sprint(status), l.want(letter, limited, others)
						if status/100 == 2 {
							got = "ok"
						}
						what := fmt.Sprintf("%s%s by %s, of others: %v: %s", role, of, by, others, pattern)
						if got != want {
							t.Errorf("%s is answered with %s %.300s, want %s", what, got, answer, want)
						}
						if status >= 400 { // it may repeat what was asked for
							answer = strings.NewReplacer(o.device, "", o.command, "").Replace(answer)
						}
						if limited && strings.Contains(answer, hidden) {
							leaks++
							t.Errorf("%s tells of others: %s", what, answer)
						}
					}
				}
			}
		}
	}
	for pattern := range lines {
		t.Errorf("%s is in the matrix and has no rule", pattern)
	}
	t.Logf("%d requests, %d leaks", asked, leaks)
}

// A token that is none, or none any more, opens nothing but what is open.
func TestNoTokenThatDoesNotWorkOpensARoute(t *testing.T) {
	c := newCells(t)
	c.srv.strangers = newPace(0, 0, nil) // who asks all of that at once would be told to wait
	all := access.Grant{Role: access.Admin}
	bearer := map[string]string{
		"none": "", "no token": "Bearer bh_nothing", "unknown": "Bearer " + access.NewToken(),
		"a login of nobody": "Bearer " + c.provider.token("nobody"), "another's audience": "Bearer " + c.provider.token("admin of all", claim{"aud", "others"}),
		"a token that ended": "Bearer " + c.provider.token("admin of all", claim{"exp", time.Now().Add(-time.Minute).Unix()}),
		"another's key":      "Bearer " + newProvider(t).token("admin of all", claim{"iss", c.provider.url}),
	}
	for _, user := range []string{"revoked", "disabled", "removed", "expired"} {
		c.user(user, all)
		bearer[user] = "Bearer " + c.tokens[user]
		if status, answer := c.send("GET", "/v1/users", "", bearer[user]); status != 200 {
			t.Fatalf("%s, before: %d %s", user, status, answer)
		}
	}
	ctx := t.Context()
	for _, user := range []string{"disabled", "removed"} { // in another way too
		c.provider.login(c.town, user)
		bearer[user+", by his login"] = "Bearer " + c.provider.token(user)
		if status, answer := c.send("GET", "/v1/users", "", bearer[user+", by his login"]); status != 200 {
			t.Fatalf("%s, before: %d %s", user, status, answer)
		}
	}
	if err := c.d.RevokeToken(ctx, "revoked", 1, "admin"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.d.PutUser(ctx, access.User{ID: "disabled", Disabled: true, Grants: []access.Grant{all}, Logins: []access.Login{c.provider.of("disabled")}}, 0, "admin"); err != nil {
		t.Fatal(err)
	}
	if err := c.d.RemoveUser(ctx, "removed", 0, "admin"); err != nil {
		t.Fatal(err)
	}
	_, text, err := c.d.AddToken(ctx, "expired", "", time.Now().Add(50*time.Millisecond), "admin")
	if err != nil {
		t.Fatal(err)
	}
	bearer["expired"] = "Bearer " + text
	for range 1000 { // until its time has come
		if status, _ := c.send("GET", "/v1/me", "", bearer["expired"]); status == 401 {
			break
		}
	}
	asked := 0
	for pattern, l := range readMatrix(t) {
		for what, authorization := range bearer {
			method, path, body := c.request(pattern, c.fill(pattern, false))
			status, answer := c.send(method, path, body, authorization)
			asked++
			if open := status != 401; open != l.open {
				t.Errorf("%s: %s is answered with %d %.200s", what, pattern, status, answer)
			}
		}
	}
	t.Logf("%d requests", asked)
}
