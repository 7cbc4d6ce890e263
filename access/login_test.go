package access

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const issuer = "https://login.example.org/realms/plant"

func (d *desk) login(l Login) string {
	d.t.Helper()
	who, err := d.LogIn(l)
	if err != nil && (!errors.Is(err, ErrUnknownToken) || who != (Identity{})) {
		d.t.Errorf("%+v: %+v, %v", l, who, err)
	}
	return who.User
}

func TestALoginStandsForTheUserThatHasIt(t *testing.T) {
	d := newDesk(t)
	l := Login{issuer, ClaimSubject, "1"}
	grants := []Grant{{Role: Operator}, {Role: Approver, Selector: "site=a"}}
	put := func(u User) {
		t.Helper()
		u.Grants = grants
		if err := d.PutUser(u); err != nil {
			t.Fatal(err)
		}
	}
	is := func(when string, l Login, want string) {
		t.Helper()
		if got := d.login(l); got != want {
			t.Errorf("%s, %+v is %q, want %q", when, l, got, want)
		}
	}
	is("nobody is there", l, "")
	is("nobody is there", Login{}, "")
	put(User{ID: "ann", Logins: []Login{l, {issuer, ClaimEmail, "ann@example.org"}}})
	who, err := d.LogIn(l)
	if diff := cmp.Diff(who, Identity{User: "ann", Roles: Operator | Approver, Everywhere: Operator}); err != nil || diff != "" {
		t.Errorf("%v (-got +want):\n%s", err, diff)
	}
	is("two", Login{issuer, ClaimEmail, "ann@example.org"}, "ann")
	for _, other := range []Login{
		{issuer + "/", ClaimSubject, "1"}, {strings.ToUpper(issuer), ClaimSubject, "1"}, {issuer, ClaimUserName, "1"}, {issuer, ClaimSubject, "ann@example.org"},
		{issuer, ClaimSubject, "1 "}, {issuer, ClaimEmail, "Ann@example.org"}, {},
	} {
		is("another", other, "")
	}
	put(User{ID: "ann", Logins: []Login{l}})
	is("one was taken", Login{issuer, ClaimEmail, "ann@example.org"}, "")
	put(User{ID: "ann", Logins: []Login{l}, Disabled: true})
	is("disabled", l, "")
	put(User{ID: "ann"})
	put(User{ID: "bob", Logins: []Login{l}})
	put(User{ID: "ann"})
	is("it is another's now", l, "bob")
	d.RemoveUser("bob")
	is("removed", l, "")
	put(User{ID: "bob"})
	is("somebody else of that name", l, "")
	put(User{ID: "eve", Logins: []Login{l}})
	if err := d.Load([]User{{ID: "cat", Logins: []Login{l}}}, nil, nil); err != nil {
		t.Fatal(err)
	}
	is("read anew", l, "cat")
}

// Who can come in by a provider administers as one with a token does, while
// that provider, and that claim of it, are what the server goes by.
func TestWhoAdministersCanComeIn(t *testing.T) {
	d := newDesk(t)
	u := User{ID: "ann", Grants: []Grant{{Role: Admin}}, Logins: []Login{{issuer, ClaimSubject, "1"}}}
	is := func(when string, want bool) {
		t.Helper()
		if err := d.PutUser(u); err != nil {
			t.Fatal(err)
		}
		if got := d.Administered(issuer, ClaimSubject); got != want {
			t.Errorf("%s: %v", when, got)
		}
	}
	is("a login", true)
	if d.Administered("", ClaimSubject) || d.Administered(issuer, ClaimEmail) || d.Administered(issuer+"/", ClaimSubject) {
		t.Error("a login of another provider, or of none, lets somebody in")
	}
	u.Grants[0].Selector = "site=a"
	is("for some devices", false)
	u.Grants[0].Selector = ""
	u.Disabled = true
	is("disabled", false)
}

func TestFaultsOfALogin(t *testing.T) {
	for _, row := range []struct {
		name  string
		login Login
		part  string
	}{
		{"good", Login{issuer, ClaimSubject, "1"}, ""},
		{"the longest", Login{"https://x/" + strings.Repeat("y", IssuerBytesMax-10), ClaimObject, strings.Repeat("s", SubjectBytesMax)}, ""},
		{"on loopback", Login{"http://127.0.0.1:8080/realms/x", ClaimEmail, "a@b"}, ""},
		{"on loopback by name", Login{"http://localhost:8080", ClaimUserName, "ann b"}, ""},
		{"on loopback, version 6", Login{"http://[::1]", ClaimUserName, "ann b"}, ""},
		{"no issuer", Login{"", ClaimSubject, "1"}, "issuer"},
		{"too long an issuer", Login{"https://x/" + strings.Repeat("y", IssuerBytesMax-9), ClaimSubject, "1"}, "issuer"},
		{"a name that is no URL", Login{"accounts.example.org", ClaimSubject, "1"}, "issuer"},
		{"in clear", Login{"http://login.example.org", ClaimSubject, "1"}, "issuer"},
		{"in clear, like loopback", Login{"http://127.0.0.1.example.org", ClaimSubject, "1"}, "issuer"},
		{"in clear, not quite loopback", Login{"http://localhost.example.org", ClaimSubject, "1"}, "issuer"},
		{"another scheme", Login{"file:///etc/passwd", ClaimSubject, "1"}, "issuer"},
		{"a query", Login{issuer + "?x=1", ClaimSubject, "1"}, "issuer"},
		{"a fragment", Login{issuer + "#x", ClaimSubject, "1"}, "issuer"},
		{"a password", Login{"https://ann:secret@login.example.org", ClaimSubject, "1"}, "issuer"},
		{"no host", Login{"https:///x", ClaimSubject, "1"}, "issuer"},
		{"no claim", Login{issuer, "", "1"}, "claim"},
		{"another claim", Login{issuer, "groups", "1"}, "claim"},
		{"no subject", Login{issuer, ClaimSubject, ""}, "subject"},
		{"too long a subject", Login{issuer, ClaimSubject, strings.Repeat("s", SubjectBytesMax+1)}, "subject"},
		{"a line break", Login{issuer, ClaimSubject, "a\nb"}, "subject"},
		{"not UTF-8", Login{issuer, ClaimSubject, "a\xff"}, "subject"},
	} {
		if part, err := row.login.Fault(); part != row.part || (err == nil) != (part == "") {
			t.Errorf("%s: %q %v, want %q", row.name, part, err, row.part)
		}
	}
}

func TestAnOriginComesApart(t *testing.T) {
	for _, row := range []struct{ from, via string }{{"192.0.2.7", ""}, {"192.0.2.7", ViaOIDC}, {"fe80::1%eth0", ViaOIDC}} {
		if from, via := CutOrigin(Origin(WithOrigin(context.Background(), row.from, row.via))); from != row.from || via != row.via {
			t.Errorf("%+v: %q %q", row, from, via)
		}
	}
	if Origin(context.Background()) != "" {
		t.Error("nobody is somewhere")
	}
}

func TestARefusalIsAnUnknownToken(t *testing.T) {
	if err := error(Refusal("why")); !errors.Is(err, ErrUnknownToken) || errors.Is(err, ErrNoToken) || err.Error() != "why" {
		t.Error(err)
	}
}
