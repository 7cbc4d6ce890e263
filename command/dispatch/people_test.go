package dispatch_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"behest/access"
	"behest/command"
	"behest/device"
)

// inTown is inWorld, with a book of people that binds, and ann, who
// administers everything.
func inTown(t *testing.T, f func(w *world)) {
	t.Helper()
	inWorld(t, func(w *world) {
		w.stop()
		w.book = access.NewBook(time.Now)
		w.start()
		w.put(access.User{ID: "ann", Grants: []access.Grant{{Role: access.Admin}}})
		f(w)
	})
}

func (w *world) put(u access.User) access.User {
	w.t.Helper()
	out, _, err := w.PutUser(w.ctx(), u, 0, "ann")
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// grant makes somebody known who may act in a role where a selector says;
// everywhere if it is empty.
func (w *world) grant(id string, role access.Roles, selector string) access.User {
	w.t.Helper()
	return w.put(access.User{ID: id, Grants: []access.Grant{{Role: role, Selector: selector}}})
}

func (w *world) token(user string, expires time.Time) (access.TokenRecord, string) {
	w.t.Helper()
	r, text, err := w.AddToken(w.ctx(), user, "of a test", expires, "ann")
	if err != nil {
		w.t.Fatal(err)
	}
	return r, text
}

// site makes a device that is ready, and labels it.
func (w *world) site(name, site string) int64 {
	w.t.Helper()
	h := w.ready(name)
	if _, err := w.EditDevice(w.ctx(), name, device.Edit{Labels: map[string]string{"site": site}}, "ann"); err != nil {
		w.t.Fatal(err)
	}
	return h
}

// wantCode holds an error against a code; "" is none.
func wantCode(t *testing.T, what string, err error, code command.Code) {
	t.Helper()
	got := command.Code("")
	if err != nil {
		got = command.CodeOf(err)
	}
	if got != code {
		t.Errorf("%s: %v, want %q", what, err, code)
	}
}

// told are the events of people since the beginning, as text.
func (w *world) told() (lines []string) {
	w.t.Helper()
	events, _, err := w.store.Events(w.ctx(), command.Place{}, command.EventFilter{}, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range events {
		for _, kind := range []string{"user.", "token.", "group."} {
			if strings.HasPrefix(string(e.Type), kind) {
				lines = append(lines, fmt.Sprintf("%s by %q %s", e.Type, e.Actor, e.Data))
			}
		}
	}
	return lines
}

func TestPeopleOutliveTheProcess(t *testing.T) {
	inTown(t, func(w *world) {
		w.grant("bob", access.Operator, "site=a")
		_, text := w.token("bob", time.Time{})
		revoked, gone := w.token("bob", time.Time{})
		if err := w.RevokeToken(w.ctx(), "bob", revoked.N, "ann"); err != nil {
			t.Fatal(err)
		}
		w.restart()
		who, err := w.book.Authenticate(w.ctx(), text)
		if err != nil || who.User != "bob" || who.Roles != access.Operator {
			t.Errorf("after a restart the token stands for %+v, %v", who, err)
		}
		if _, err := w.book.Authenticate(w.ctx(), gone); !errors.Is(err, access.ErrUnknownToken) {
			t.Errorf("what was revoked came back: %v", err)
		}
		if !w.book.May("bob", "operator", map[string]string{"site": "a"}) || w.book.May("bob", "operator", nil) {
			t.Error("bob may not what he might before")
		}
	})
}

func TestChangesOfPeopleAreToldWithoutSecrets(t *testing.T) {
	inTown(t, func(w *world) {
		bob := w.grant("bob", access.Operator, "")
		if bob.Version != 1 || bob.ChangedBy != "ann" || bob.CreatedAt.IsZero() {
			t.Errorf("bob is %+v", bob)
		}
		w.grant("bob", access.Operator, "") // the same again
		bob.Grants = append(bob.Grants, access.Grant{Role: access.Approver, Selector: "site=a"})
		bob.Disabled = true
		if bob = w.put(bob); bob.Version != 2 {
			t.Errorf("his version is %d", bob.Version)
		}
		r, text := w.token("bob", time.Time{})
		for range 2 { // the second is in vain
			if err := w.RevokeToken(w.ctx(), "bob", r.N, "ann"); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.RemoveUser(w.ctx(), "bob", 2, "ann"); err != nil {
			t.Fatal(err)
		}
		want := []string{
			`user.changed by "ann" {"disabled":false,"grants":[{"role":"admin"}],"roles":["admin"],"user":"ann"}`,
			`user.changed by "ann" {"disabled":false,"grants":[{"role":"operator"}],"roles":["operator"],"user":"bob"}`,
			`user.changed by "ann" {"disabled":true,"grants":[{"role":"operator"},{"role":"approver","selector":"site=a"}],"roles":["operator","approver"],"user":"bob"}`,
			`token.created by "ann" {"token":1,"user":"bob"}`,
			`token.revoked by "ann" {"token":1,"user":"bob"}`,
			`user.removed by "ann" {"user":"bob"}`,
		}
		got := w.told()
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("events (-got +want):\n%s", diff)
		}
		if strings.Contains(strings.Join(got, ""), text[11:43]) {
			t.Error("the log has a secret")
		}
	})
}

func TestLoginsAreToldAndOutliveTheProcess(t *testing.T) {
	inTown(t, func(w *world) {
		l := access.Login{Issuer: "https://login.example.org", Claim: access.ClaimSubject, Subject: "1"}
		bob := access.User{ID: "bob", Grants: []access.Grant{{Role: access.Operator}}, Logins: []access.Login{l}}
		w.put(bob)
		if again := w.put(bob); again.Version != 1 {
			t.Errorf("the same again is version %d", again.Version)
		}
		eve := bob
		eve.ID = "eve"
		_, _, err := w.PutUser(w.ctx(), eve, 0, "ann")
		wantCode(t, "another's login", err, command.CodeConflict)
		if !strings.Contains(err.Error(), `"bob"`) {
			t.Errorf("it is not said whose it is: %v", err)
		}
		w.restart()
		if who, err := w.book.LogIn(l); err != nil || who.User != "bob" || who.Roles != access.Operator {
			t.Errorf("after a restart it is %+v, %v", who, err)
		}
		bob.Logins = nil
		w.put(bob)
		if who, err := w.book.LogIn(l); err == nil {
			t.Errorf("what was taken is still %+v", who)
		}
		want := []string{
			`user.changed by "ann" {"disabled":false,"grants":[{"role":"admin"}],"roles":["admin"],"user":"ann"}`,
			`user.changed by "ann" {"disabled":false,"grants":[{"role":"operator"}],"logins":[{"claim":"sub","issuer":"https://login.example.org","subject":"1"}],"roles":["operator"],"user":"bob"}`,
			`user.changed by "ann" {"disabled":false,"grants":[{"role":"operator"}],"roles":["operator"],"user":"bob"}`,
		}
		if diff := cmp.Diff(w.told(), want); diff != "" {
			t.Errorf("events (-got +want):\n%s", diff)
		}
	})
}

func TestTheLastAdministratorStays(t *testing.T) {
	inTown(t, func(w *world) {
		ann := access.User{ID: "ann"}
		for what, grants := range map[string][]access.Grant{
			"demoted":         {{Role: access.Operator}},
			"limited":         {{Role: access.Admin, Selector: "site=a"}},
			"limited, others": {{Role: access.Admin, Selector: "site=a"}, {Role: access.Operator}, {Role: access.Approver}},
		} {
			ann.Grants = grants
			_, _, err := w.PutUser(w.ctx(), ann, 0, "ann")
			wantCode(t, what, err, command.CodeConflict)
		}
		ann.Grants, ann.Disabled = []access.Grant{{Role: access.Admin}}, true
		_, _, err := w.PutUser(w.ctx(), ann, 0, "ann")
		wantCode(t, "disabled", err, command.CodeConflict)
		wantCode(t, "removed", w.RemoveUser(w.ctx(), "ann", 0, "ann"), command.CodeConflict)

		w.grant("bob", access.Admin, "site=a")
		wantCode(t, "beside one who administers a part", w.RemoveUser(w.ctx(), "ann", 0, "ann"), command.CodeConflict)
		w.put(access.User{ID: "cat", Grants: []access.Grant{{Role: access.Admin}}, Disabled: true})
		wantCode(t, "beside one who is disabled", w.RemoveUser(w.ctx(), "ann", 0, "ann"), command.CodeConflict)
		w.grant("dan", access.Admin, "")
		wantCode(t, "beside another", w.RemoveUser(w.ctx(), "ann", 0, "ann"), "")
		wantCode(t, "who is the last now", w.RemoveUser(w.ctx(), "dan", 0, "dan"), command.CodeConflict)
		if !w.book.May("dan", "admin", nil) || w.book.May("ann", "viewer", nil) {
			t.Error("the book does not say so")
		}
	})
}

func TestFaultsOfAUserAreAllNamed(t *testing.T) {
	inTown(t, func(w *world) {
		long := strings.Repeat("x", 300)
		u := access.User{
			ID: "a/b", Name: long, Email: "@" + long, Disabled: true,
			Grants: []access.Grant{
				{Role: access.Admin | access.Viewer, Selector: "("}, {Role: 1 << 6}, {Groups: make([]string, access.GrantGroupsMax+1)},
			},
			Logins: []access.Login{
				{Issuer: "http://login.example.org", Claim: access.ClaimSubject, Subject: "1"}, {Issuer: "https://x", Claim: "nick", Subject: "1"},
				{Issuer: "https://x", Claim: access.ClaimSubject}, {Issuer: "https://x", Claim: access.ClaimSubject, Subject: "1"}, {Issuer: "https://x", Claim: access.ClaimSubject, Subject: "1"},
			},
		}
		_, _, err := w.PutUser(w.ctx(), u, 0, "ann")
		var e *command.Error
		if !errors.As(err, &e) || e.Code != command.CodeInvalid {
			t.Fatalf("got %v", err)
		}
		var at []string
		for _, f := range e.Fields {
			at = append(at, f.Pointer)
		}
		want := []string{"/id", "/name", "/email", "/email", "/roles/0/role", "/roles/0/selector", "/roles/1/role", "/roles/2/role", "/roles/2/groups",
			"/logins", "/logins/0/issuer", "/logins/1/claim", "/logins/2/subject", "/logins/4"}
		if diff := cmp.Diff(at, want); diff != "" {
			t.Errorf("faults (-got +want):\n%s", diff)
		}
		_, _, err = w.PutUser(w.ctx(), access.User{ID: "bob", Grants: []access.Grant{{Role: access.Viewer, Groups: []string{"nowhere"}}}}, 0, "ann")
		if !errors.As(err, &e) || e.Code != command.CodeInvalid || e.Fields[0].Pointer != "/roles/0/groups/0" {
			t.Errorf("a group that is not there: %v", err)
		}
		for _, id := range []string{"", ".", "..", "a\nb", "\xff", strings.Repeat("x", access.UserIDBytesMax+1)} {
			_, _, err := w.PutUser(w.ctx(), access.User{ID: id, Grants: []access.Grant{{Role: access.Viewer}}}, 0, "ann")
			wantCode(t, fmt.Sprintf("%q", id), err, command.CodeInvalid)
		}
		for _, id := range []string{"ann@example.org", "Ann Ångström", strings.Repeat("x", access.UserIDBytesMax)} {
			w.grant(id, access.Viewer, "")
		}
		_, _, err = w.PutUser(w.ctx(), access.User{ID: "bob", Grants: []access.Grant{{Role: access.Viewer}}}, 7, "ann")
		wantCode(t, "held against a version, and not there", err, command.CodePrecondition)
		wantCode(t, "removed, and not there", w.RemoveUser(w.ctx(), "bob", 0, "ann"), command.CodeNotFound)
		wantCode(t, "removed by another version", w.RemoveUser(w.ctx(), "ann", 7, "ann"), command.CodePrecondition)
	})
}

func TestTokensAreBounded(t *testing.T) {
	inTown(t, func(w *world) {
		now := time.Now()
		for what, c := range map[string]struct {
			note    string
			expires time.Time
			code    command.Code
		}{
			"a note that is too long": {strings.Repeat("x", access.TokenNoteBytesMax+1), time.Time{}, command.CodeInvalid},
			"a note of two lines":     {"a\nb", time.Time{}, command.CodeInvalid},
			"over already":            {"", now, command.CodeInvalid},
			"too long a life":         {"", now.Add(access.TokenLifetimeMax + time.Minute), command.CodeInvalid},
			"as long as may be":       {"", now.Add(access.TokenLifetimeMax - time.Minute), ""},
		} {
			_, text, err := w.AddToken(w.ctx(), "ann", c.note, c.expires, "ann")
			wantCode(t, what, err, c.code)
			if (text != "") != (err == nil) {
				t.Errorf("%s: a token of %d characters came with %v", what, len(text), err)
			}
		}
		_, _, err := w.AddToken(w.ctx(), "bob", "", time.Time{}, "ann")
		wantCode(t, "of nobody", err, command.CodeNotFound)
		wantCode(t, "revoked, of nobody", w.RevokeToken(w.ctx(), "bob", 1, "ann"), command.CodeNotFound)
		wantCode(t, "revoked, and not there", w.RevokeToken(w.ctx(), "ann", 9, "ann"), command.CodeNotFound)

		w.grant("bob", access.Viewer, "")
		for n := range access.TokensMax {
			w.token("bob", time.Now().Add(time.Duration(n+1)*time.Hour))
		}
		_, _, err = w.AddToken(w.ctx(), "bob", "", time.Time{}, "ann")
		wantCode(t, "one too many", err, command.CodeConflict)
		if err := w.RevokeToken(w.ctx(), "bob", 7, "ann"); err != nil {
			t.Fatal(err)
		}
		w.token("bob", time.Now().Add(time.Hour))
		time.Sleep(time.Hour)
		if r, _ := w.token("bob", time.Time{}); r.N != access.TokensMax+2 { // the first has expired
			t.Errorf("it is number %d", r.N)
		}
	})
}

func TestTheLastUseOfATokenIsKept(t *testing.T) {
	inTown(t, func(w *world) {
		r, text := w.token("ann", time.Time{})
		used := func() time.Time {
			t.Helper()
			all, err := w.store.UserTokens(w.ctx(), "ann")
			if err != nil || len(all) != 1 {
				t.Fatal(all, err)
			}
			return all[0].LastUsedAt
		}
		use := func() time.Time {
			t.Helper()
			if _, err := w.book.Authenticate(w.ctx(), text); err != nil {
				t.Fatal(err)
			}
			return time.Now().UTC().Truncate(time.Millisecond)
		}
		first := use()
		if at := used(); !at.IsZero() {
			t.Errorf("it was kept on the way, at %s", at)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if at := used(); !at.Equal(first) {
			t.Errorf("used at %s, kept as %s", first, at)
		}
		use()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if at := used(); !at.Equal(first) {
			t.Errorf("a use minutes later was kept as %s", at)
		}
		time.Sleep(time.Hour)
		later := use()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if at := used(); !at.Equal(later) {
			t.Errorf("used at %s, kept as %s", later, at)
		}
		// What is noted must not bring back what is revoked meanwhile.
		time.Sleep(2 * time.Hour)
		use()
		if err := w.RevokeToken(w.ctx(), "ann", r.N, "ann"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		w.restart()
		if _, err := w.book.Authenticate(w.ctx(), text); !errors.Is(err, access.ErrUnknownToken) {
			t.Errorf("it works again: %v", err)
		}
	})
}

// A commit of unknown outcome: the book is read anew, whichever way it went.
func TestDoubtAboutPeopleIsResolvedAtOnce(t *testing.T) {
	inTown(t, func(w *world) {
		r, text := w.token("ann", time.Time{})
		w.doubt.next.Store(true)
		wantCode(t, "revoked, perhaps", w.RevokeToken(w.ctx(), "ann", r.N, "ann"), command.CodeOutcomeUnknown)
		synctest.Wait()
		if _, err := w.book.Authenticate(w.ctx(), text); !errors.Is(err, access.ErrUnknownToken) {
			t.Errorf("it was committed, and the token works: %v", err)
		}
		w.doubt.next.Store(true)
		_, _, err := w.PutUser(w.ctx(), access.User{ID: "bob", Grants: []access.Grant{{Role: access.Viewer}}}, 0, "ann")
		wantCode(t, "put, perhaps", err, command.CodeOutcomeUnknown)
		synctest.Wait()
		if !w.book.May("bob", "viewer", nil) {
			t.Error("it was committed, and bob is not in the book")
		}
	})
}

func TestGroupsLimitWhoTheyAreFor(t *testing.T) {
	inTown(t, func(w *world) {
		put := func(selector string) {
			t.Helper()
			if _, _, err := w.PutGroup(w.ctx(), device.Group{Name: "north", Selector: selector}, 0, "ann"); err != nil {
				t.Fatal(err)
			}
		}
		put("site=a")
		w.put(access.User{ID: "bob", Grants: []access.Grant{{Role: access.Operator, Groups: []string{"north"}}}})
		a, b := map[string]string{"site": "a"}, map[string]string{"site": "b"}
		may := func(when string, onA, onB bool) {
			t.Helper()
			if w.book.May("bob", "operator", a) != onA || w.book.May("bob", "operator", b) != onB {
				t.Errorf("%s: wrong", when)
			}
		}
		may("as it is", true, false)
		put("site=b")
		may("changed", false, true)
		w.restart()
		may("after a restart", false, true)
		wantCode(t, "a group that somebody is limited to", w.RemoveGroup(w.ctx(), "north", 0, "ann"), command.CodeConflict)
		w.grant("bob", access.Operator, "site=a")
		wantCode(t, "a group of nobody", w.RemoveGroup(w.ctx(), "north", 0, "ann"), "")
		may("by selector", true, false)
	})
}

func TestAppointReplacesWhatWasLost(t *testing.T) {
	inWorld(t, func(w *world) {
		w.stop()
		w.book = access.NewBook(time.Now)
		w.start()
		appoint := func() string {
			t.Helper()
			text := access.NewToken()
			token, err := access.ParseToken(text)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Appoint(w.ctx(), "root", token, "the file"); err != nil {
				t.Fatal(err)
			}
			return text
		}
		works := func(text string) bool {
			who, err := w.book.Authenticate(w.ctx(), text)
			return err == nil && who.User == "root" && who.Roles.Any(access.Admin) && w.book.May("root", "admin", nil)
		}
		first := appoint()
		if !works(first) || !w.book.Administered("", "") {
			t.Error("the first administrator may not get in")
		}
		_, other := w.token("root", time.Time{})
		second := appoint()
		if works(first) || !works(second) || !works(other) {
			t.Error("the lost token works, or the new one, or another of his, does not")
		}
		u, _ := w.book.User("root")
		w.grant("ann", access.Admin, "")
		u.Disabled, u.Grants = true, []access.Grant{{Role: access.Viewer}}
		w.put(u)
		if works(second) {
			t.Error("who is disabled may get in")
		}
		if third := appoint(); !works(third) || works(second) {
			t.Error("who was disabled was not appointed again")
		}
		if got := w.told(); len(got) == 0 || got[0] != `user.changed by "" {"disabled":false,"grants":[{"role":"admin"}],"roles":["admin"],"user":"root"}` {
			t.Errorf("it is told as %q", got)
		}
	})
}

// Who may do what to devices of his own, and to others'.
func TestMutationsKeepToTheirDevices(t *testing.T) {
	inTown(t, func(w *world) {
		w.site("mine", "a")
		w.site("theirs", "b")
		w.grant("op", access.Operator, "site=a")
		w.grant("approver", access.Approver, "site=a")
		w.grant("viewer", access.Viewer, "site=a")
		w.grant("chief", access.Admin, "site=a")
		w.put(access.User{ID: "guest", Grants: []access.Grant{{Role: access.Operator, Selector: "site=a"}, {Role: access.Viewer}}})
		in := func(site string) device.Edit { return device.Edit{Labels: map[string]string{"site": site}} }
		name := 0
		do := map[string]func(by, dev string) error{
			"edit":   func(by, dev string) error { _, err := w.EditDevice(w.ctx(), dev, device.Edit{}, by); return err },
			"put":    func(by, dev string) error { _, _, err := w.PutDevice(w.ctx(), dev, in("a"), by); return err },
			"cancel": func(by, dev string) error { _, err := w.CancelDevice(w.ctx(), dev, by); return err },
			"move out": func(by, dev string) error {
				_, err := w.EditDevice(w.ctx(), dev, in("b"), by)
				return err
			},
			"put a new one": func(by, _ string) error {
				name++
				_, _, err := w.PutDevice(w.ctx(), fmt.Sprint("new-", name), in("a"), by)
				return err
			},
			"put a new one elsewhere": func(by, _ string) error {
				name++
				_, _, err := w.PutDevice(w.ctx(), fmt.Sprint("new-", name), in("b"), by)
				return err
			},
			"issue": func(by, dev string) error {
				i := intent(dev)
				i.RequestedBy = by
				_, err := w.Issue(w.ctx(), i)
				return err
			},
			"remove a device that is not there": func(by, _ string) error { return w.RemoveDevice(w.ctx(), "nowhere", 0, by) },
		}
		const no, hidden, yes = command.CodeForbidden, command.CodeNotFound, command.Code("")
		for _, c := range []struct {
			by, what     string
			mine, theirs command.Code
		}{
			{"op", "edit", yes, hidden}, {"op", "put", yes, no}, {"op", "cancel", yes, hidden}, {"op", "issue", yes, no}, {"op", "move out", no, hidden},
			{"op", "put a new one", yes, yes}, {"op", "put a new one elsewhere", no, no},
			{"guest", "edit", yes, no}, {"guest", "put", yes, no}, {"guest", "cancel", yes, no}, {"guest", "issue", yes, no}, {"guest", "move out", no, no},
			{"approver", "edit", no, hidden}, {"approver", "put", no, no}, {"approver", "cancel", yes, hidden}, {"approver", "issue", no, no},
			{"viewer", "edit", no, hidden}, {"viewer", "put", no, no}, {"viewer", "cancel", no, hidden}, {"viewer", "issue", no, no}, {"viewer", "put a new one", no, no},
			{"chief", "edit", yes, hidden}, {"chief", "put", yes, no}, {"chief", "cancel", yes, hidden}, {"chief", "issue", yes, no}, {"chief", "move out", no, hidden},
			{"nobody", "edit", hidden, hidden}, {"nobody", "put", no, no}, {"nobody", "cancel", hidden, hidden}, {"nobody", "issue", no, no},
		} {
			wantCode(t, c.by+": "+c.what+", mine", do[c.what](c.by, "mine"), c.mine)
			wantCode(t, c.by+": "+c.what+", theirs", do[c.what](c.by, "theirs"), c.theirs)
		}
		for by, codes := range map[string][2]command.Code{
			"op": {no, hidden}, "approver": {no, hidden}, "viewer": {no, hidden}, "guest": {no, no}, "nobody": {hidden, hidden}, "chief": {yes, hidden}, "ann": {hidden, yes},
		} {
			if by == "ann" || by == "chief" {
				continue // they do
			}
			wantCode(t, by+" removes mine", w.RemoveDevice(w.ctx(), "mine", 0, by), codes[0])
			wantCode(t, by+" removes theirs", w.RemoveDevice(w.ctx(), "theirs", 0, by), codes[1])
		}
		wantCode(t, "chief removes theirs", w.RemoveDevice(w.ctx(), "theirs", 0, "chief"), hidden)
		wantCode(t, "chief removes mine", w.RemoveDevice(w.ctx(), "mine", 0, "chief"), yes)
	})
}

// A command on devices of two sites is stopped by who may stop it everywhere,
// and in part by who may stop that part.
func TestAFleetIsCanceledByWhoMayOnAllOfIt(t *testing.T) {
	inTown(t, func(w *world) {
		w.screen.deaf = true
		w.site("mine", "a")
		w.site("theirs", "b")
		w.grant("op", access.Operator, "site=a")
		w.grant("anybody", access.Approver, "")
		i := intent("mine", "theirs")
		i.RequestedBy = "ann"
		issued, err := w.Issue(w.ctx(), i)
		if err != nil {
			t.Fatal(err)
		}
		id := issued.Command.ID
		for what, devices := range map[string][]string{"all of it": nil, "theirs": {"theirs"}, "both": {"mine", "theirs"}} {
			_, err := w.Cancel(w.ctx(), id, devices, "op")
			wantCode(t, what, err, command.CodeForbidden)
			if strings.Contains(fmt.Sprint(err), "theirs") {
				t.Errorf("%s: it names what he does not see: %v", what, err)
			}
		}
		view, err := w.Cancel(w.ctx(), id, []string{"mine"}, "op")
		wantCode(t, "mine", err, "")
		if view.Tally.Count[command.Canceled] != 1 || view.Tally.Count[command.Queued] != 1 {
			t.Errorf("it is %+v", view.Tally)
		}
		if _, err = w.Cancel(w.ctx(), id, nil, "anybody"); err != nil {
			t.Error(err)
		}
	})
}

// What was asked for by somebody who may not any more never leaves.
func TestWhoIsRemovedSendsNothingMore(t *testing.T) {
	inTown(t, func(w *world) {
		h := w.site("pump", "a")
		w.screen.deaf = true
		w.grant("op", access.Operator, "site=a")
		i := intent("pump")
		i.RequestedBy = "op"
		issued, err := w.Issue(w.ctx(), i)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.RemoveUser(w.ctx(), "op", 0, "ann"); err != nil {
			t.Fatal(err)
		}
		w.screen.deaf = false
		w.ready("pump")
		w.check(issued.Command.ID, command.Canceled, command.NotEntitled)
		if list := w.screen.on(h).List; len(list) > 0 {
			t.Errorf("the device sees %+v", list)
		}
	})
}

// The book is there before anything leaves: a restart withdraws nothing.
func TestARestartKeepsWhatPeopleAskedFor(t *testing.T) {
	inTown(t, func(w *world) {
		w.site("pump", "a")
		w.screen.deaf = true
		w.grant("op", access.Operator, "site=a")
		i := intent("pump")
		i.RequestedBy = "op"
		issued, err := w.Issue(w.ctx(), i)
		if err != nil {
			t.Fatal(err)
		}
		w.screen.deaf = false
		w.book = access.NewBook(time.Now)
		w.restart()
		w.check(issued.Command.ID, command.Sent, command.NoCause)
	})
}

// Everything that the data of an event of people, groups and types may hold.
func TestEventsOfPeopleAreJSON(t *testing.T) {
	inTown(t, func(w *world) {
		const name = "\U000e0001 \"q\" é"
		w.grant(name, access.Viewer, "")
		w.declare(command.Type{Name: name})
		w.group(name, "site=\U000e0001")
		for _, kind := range []command.EventType{command.EventTypeDeclared, command.EventGroupPut} {
			events, _, err := w.store.Events(w.ctx(), command.Place{}, command.EventFilter{Types: []command.EventType{kind}}, 100)
			if err != nil || len(events) != 1 || !json.Valid(events[0].Data) || !strings.Contains(string(events[0].Data), "\U000e0001") {
				t.Errorf("%s: %s, %v", kind, events[0].Data, err)
			}
		}
		events, _, err := w.store.Events(w.ctx(), command.Place{}, command.EventFilter{Types: []command.EventType{command.EventUserPut}}, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			var m map[string]any
			if err := json.Unmarshal(e.Data, &m); err != nil {
				t.Errorf("%s: %v", e.Data, err)
			}
			if keys := slices.Sorted(maps.Keys(m)); !slices.Equal(keys, []string{"disabled", "grants", "roles", "user"}) {
				t.Errorf("it has %q", keys)
			}
		}
	})
}

// TestTheLogSaysWhatWasGranted: who may what follows from users, groups and labels,
// so the log says to what each was changed.
func TestTheLogSaysWhatWasGranted(t *testing.T) {
	inTown(t, func(w *world) {
		end, err := w.store.End(w.ctx())
		if err != nil {
			t.Fatal(err)
		}
		w.group("north", "site in (a,b)")
		w.put(access.User{ID: "bob", Grants: []access.Grant{{Role: access.Operator, Groups: []string{"north"}, Selector: "kind=pump"}, {Role: access.Viewer}}})
		awake := 10
		if _, _, err := w.PutDevice(w.ctx(), "pump", device.Edit{Labels: map[string]string{"site": "a"}, AwakeSeconds: &awake}, "ann"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.EditDevice(w.ctx(), "pump", device.Edit{Labels: map[string]string{}}, "ann"); err != nil {
			t.Fatal(err)
		}
		events, _, err := w.store.Events(w.ctx(), end, command.EventFilter{}, 10)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range events {
			got = append(got, fmt.Sprintf("%s %s %s", e.Type, e.Actor, e.Data))
		}
		want := []string{
			`group.changed ann {"group":"north","selector":"site in (a,b)"}`,
			`user.changed ann {"disabled":false,"grants":[{"role":"operator","groups":["north"],"selector":"kind=pump"},{"role":"viewer"}],"roles":["viewer","operator"],"user":"bob"}`,
			`device.edited ann {"awake_seconds":10,"labels":{"site":"a"}}`,
			`device.edited ann {"labels":{}}`,
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Error(diff)
		}
	})
}
