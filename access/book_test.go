package access

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"behest/device"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// desk is a book with a clock that a test sets.
type desk struct {
	*Book
	t  *testing.T
	at time.Time
}

func newDesk(t *testing.T) *desk {
	d := &desk{t: t, at: noon}
	d.Book = NewBook(func() time.Time { return d.at })
	return d
}

func (d *desk) user(id string, grants ...Grant) User {
	d.t.Helper()
	u := User{ID: id, Grants: grants}
	if err := d.PutUser(u); err != nil {
		d.t.Fatal(err)
	}
	return u
}

// token gives a user a token.
func (d *desk) token(user string, change ...func(*TokenRecord)) (string, TokenRecord) {
	d.t.Helper()
	text := NewToken()
	t, err := ParseToken(text)
	if err != nil {
		d.t.Fatal(err)
	}
	r := TokenRecord{User: user, N: 1, Token: t, CreatedAt: noon}
	for _, f := range change {
		f(&r)
	}
	d.PutToken(r)
	return text, r
}

func (d *desk) group(name, selector string) {
	d.t.Helper()
	if err := d.PutGroup(device.Group{Name: name, Selector: selector}); err != nil {
		d.t.Fatal(err)
	}
}

// nobody fails the test when the token stands for somebody.
func (d *desk) nobody(when, text string) {
	d.t.Helper()
	if who, err := d.Authenticate(d.t.Context(), text); !errors.Is(err, ErrUnknownToken) || who != (Identity{}) {
		d.t.Errorf("%s: %+v, %v", when, who, err)
	}
}

func (d *desk) somebody(when, text string) Identity {
	d.t.Helper()
	who, err := d.Authenticate(d.t.Context(), text)
	if err != nil {
		d.t.Errorf("%s: %v", when, err)
	}
	return who
}

func TestBookKnowsItsTokensOnly(t *testing.T) {
	d := newDesk(t)
	d.user("ann", Grant{Role: Operator}, Grant{Role: Approver, Selector: "site=a"})
	other := NewToken()
	d.nobody("before it is there", other)
	mine, r := d.token("ann")
	if diff := cmp.Diff(d.somebody("mine", mine), Identity{User: "ann", Roles: Operator | Approver, Everywhere: Operator}); diff != "" {
		t.Errorf("identity (-got +want):\n%s", diff)
	}
	sameID := mine[:3+idChars] + other[3+idChars:3+idChars+secretChars]
	sameID += checksum(sameID[3:])
	d.nobody("another token", other)
	d.nobody("same id, another secret", sameID)
	if _, err := d.Authenticate(t.Context(), "secret"); !errors.Is(err, ErrNoToken) {
		t.Errorf("no token at all: %v", err)
	}
	// The hash of nothing is what an unknown id is compared with.
	d.PutToken(TokenRecord{User: "ann", N: 2, Token: Token{ID: other[3 : 3+idChars]}})
	d.nobody("a token without a hash", other)
	r.RevokedAt = noon
	d.PutToken(r)
	d.nobody("revoked", mine)
	orphan, _ := d.token("eve")
	d.nobody("of a user who is not there", orphan)
}

func TestTokensEndAtTheirTime(t *testing.T) {
	d := newDesk(t)
	d.user("ann", Grant{Role: Viewer})
	text, _ := d.token("ann", func(r *TokenRecord) { r.ExpiresAt = noon.Add(time.Hour) })
	for after, works := range map[time.Duration]bool{0: true, time.Hour - 1: true, time.Hour: false, time.Hour + 1: false} {
		d.at = noon.Add(after)
		if !works {
			d.nobody(after.String(), text)
		} else if who := d.somebody(after.String(), text); !who.ExpiresAt.Equal(noon.Add(time.Hour)) {
			t.Errorf("it says that it expires at %s", who.ExpiresAt)
		}
	}
}

func TestWhoIsDisabledIsNobody(t *testing.T) {
	d := newDesk(t)
	u := d.user("ann", Grant{Role: Admin})
	text, _ := d.token("ann")
	d.somebody("before", text)
	u.Disabled = true
	if err := d.PutUser(u); err != nil {
		t.Fatal(err)
	}
	d.nobody("disabled", text)
	if d.May("ann", "viewer", nil) || len(d.Holders("admin")) > 0 || len(d.Administrators()) > 0 {
		t.Error("a disabled user may something")
	}
	if sees := d.Sees("ann"); sees == nil || sees(map[string]string{"site": "a"}) {
		t.Error("a disabled user sees something")
	}
	d.user("ann", Grant{Role: Viewer})
	if who := d.somebody("enabled", text); who.Roles != Viewer {
		t.Errorf("the roles are %s", who.Roles)
	}
	d.RemoveUser("ann")
	d.nobody("removed", text)
	d.user("ann", Grant{Role: Admin})
	d.nobody("another of the same name", text)
}

// Who may do what to which device, read aloud.
func TestGrantsAreForTheirDevices(t *testing.T) {
	d := newDesk(t)
	d.group("north", "region=north")
	d.user("everywhere", Grant{Role: Operator})
	d.user("by selector", Grant{Role: Operator, Selector: "site=a"})
	d.user("by group", Grant{Role: Operator, Groups: []string{"south", "north"}})
	d.user("by either", Grant{Role: Approver, Groups: []string{"north"}, Selector: "site=a"})
	d.user("two grants", Grant{Role: Viewer}, Grant{Role: Operator, Selector: "site=a"})
	d.user("admin of a", Grant{Role: Admin, Selector: "site=a"})
	d.user("all but b", Grant{Role: Operator, Selector: "site!=b"})
	d.user("of no group", Grant{Role: Admin, Groups: []string{"nowhere"}})
	d.user("nothing")
	devices := map[string]map[string]string{
		"a": {"site": "a"}, "b": {"site": "b"}, "north": {"site": "b", "region": "north"}, "bare": nil,
	}
	order := []string{"a", "b", "north", "bare"}
	for _, c := range []struct{ user, role, devices string }{
		{"everywhere", "operator", "a b north bare"},
		{"everywhere", "viewer", "a b north bare"},
		{"everywhere", "approver", ""},
		{"everywhere", "admin", ""},
		{"everywhere", "root", ""},
		{"everywhere", "", ""},
		{"by selector", "operator", "a"},
		{"by selector", "viewer", "a"},
		{"by group", "operator", "north"},
		{"by either", "approver", "a north"},
		{"by either", "operator", ""},
		{"two grants", "viewer", "a b north bare"},
		{"two grants", "operator", "a"},
		{"admin of a", "admin", "a"},
		{"admin of a", "approver", "a"},
		{"admin of a", "operator", "a"},
		{"all but b", "operator", "a bare"},
		{"of no group", "viewer", ""},
		{"nothing", "viewer", ""},
		{"nobody of that name", "viewer", ""},
		{"", "viewer", ""},
	} {
		var may []string
		for _, name := range order {
			if d.May(c.user, c.role, devices[name]) {
				may = append(may, name)
			}
		}
		if got := strings.Join(may, " "); got != c.devices {
			t.Errorf("%q as %q may on %q, want %q", c.user, c.role, got, c.devices)
		}
		if c.role != "viewer" {
			continue
		}
		var saw []string
		sees := d.Sees(c.user)
		for _, name := range order {
			if sees == nil || sees(devices[name]) {
				saw = append(saw, name)
			}
		}
		if got := strings.Join(saw, " "); got != c.devices {
			t.Errorf("%q sees %q, want %q", c.user, got, c.devices)
		}
		if all := c.devices == "a b north bare"; all != (sees == nil) {
			t.Errorf("%q sees everything: %v, want %v", c.user, sees == nil, all)
		}
	}
	if !d.Member("north", devices["north"]) || d.Member("north", devices["a"]) || d.Member("south", devices["a"]) {
		t.Error("the members of a group are not those that its selector picks")
	}
}

func TestGrantsFollowTheirGroups(t *testing.T) {
	d := newDesk(t)
	d.user("ann", Grant{Role: Operator, Groups: []string{"mine"}})
	a, b := map[string]string{"site": "a"}, map[string]string{"site": "b"}
	is := func(when string, onA, onB bool) {
		t.Helper()
		if d.May("ann", "operator", a) != onA || d.May("ann", "operator", b) != onB || d.Sees("ann")(a) != onA || d.Sees("ann")(b) != onB {
			t.Errorf("%s: wrong", when)
		}
	}
	is("before the group is there", false, false)
	d.group("mine", "site=a")
	is("as it is made", true, false)
	old := d.Sees("ann")
	d.group("mine", "site=b")
	is("as it is changed", false, true)
	if !old(a) {
		t.Error("what was asked before has changed under the reader's hands")
	}
	d.RemoveGroup("mine")
	is("after it is removed", false, false)
	if err := d.PutGroup(device.Group{Name: "bad", Selector: "a in ("}); err == nil {
		t.Error("a group without a selector was accepted")
	}
	if err := d.PutUser(User{ID: "bad", Grants: []Grant{{Role: Viewer, Selector: "("}}}); err == nil {
		t.Error("a grant without a selector was accepted")
	}
}

func TestListsOfPeopleAreInOrder(t *testing.T) {
	d := newDesk(t)
	d.user("dan", Grant{Role: Approver, Selector: "site=a"})
	d.user("ann", Grant{Role: Admin})
	d.user("cat", Grant{Role: Admin, Groups: []string{"g"}})
	d.user("bob", Grant{Role: Operator, Groups: []string{"h", "g"}})
	for what, lists := range map[string][2][]string{
		"holders of approver": {d.Holders("approver"), {"ann", "cat", "dan"}},
		"holders of operator": {d.Holders("operator"), {"ann", "bob", "cat"}},
		"holders of nothing":  {d.Holders("root"), nil},
		"administrators":      {d.Administrators(), {"ann"}},
		"limited to g":        {d.Granted("g"), {"bob", "cat"}},
	} {
		if diff := cmp.Diff(lists[0], lists[1]); diff != "" {
			t.Errorf("%s (-got +want):\n%s", what, diff)
		}
	}
}

func TestEveryChangeWakes(t *testing.T) {
	d := newDesk(t)
	_, r := d.token("ann")
	for what, change := range map[string]func(){
		"a user":               func() { d.user("ann", Grant{Role: Viewer}) },
		"a user who goes":      func() { d.RemoveUser("ann") },
		"a token":              func() { d.token("ann") },
		"a token that goes":    func() { r.RevokedAt = noon; d.PutToken(r) },
		"a group":              func() { d.group("g", "a=b") },
		"a group that goes":    func() { d.RemoveGroup("g") },
		"all of it, read anew": func() { _ = d.Load(nil, nil, nil) },
	} {
		changed := d.Changed()
		select {
		case <-changed:
			t.Errorf("%s: told before", what)
		default:
		}
		change()
		select {
		case <-changed:
		default:
			t.Errorf("%s: not told", what)
		}
	}
}

func TestLoadReplacesAll(t *testing.T) {
	d := newDesk(t)
	d.user("ann", Grant{Role: Viewer})
	d.group("mine", "site=a")
	gone, _ := d.token("ann")
	kept, r := d.token("ann")
	d.at = noon.Add(2 * time.Hour)
	d.somebody("before", kept)
	revoked := r
	revoked.ID, revoked.RevokedAt = "00000000", noon
	bob := User{ID: "bob", Grants: []Grant{{Role: Operator, Groups: []string{"ours"}}}}
	r.User = "bob"
	if err := d.Load([]User{bob}, []TokenRecord{r, revoked}, []device.Group{{Name: "ours", Selector: "site=b"}}); err != nil {
		t.Fatal(err)
	}
	d.nobody("a token that is not there any more", gone)
	if who := d.somebody("a token that is", kept); who.User != "bob" {
		t.Errorf("it stands for %q", who.User)
	}
	if _, there := d.User("ann"); there || d.Users() != 1 || d.Member("mine", map[string]string{"site": "a"}) || !d.May("bob", "operator", map[string]string{"site": "b"}) {
		t.Error("what was there before is still there, or what was read is not")
	}
	if used := d.Used(time.Hour); len(used) != 1 {
		t.Errorf("that it was used is forgotten: %+v", used)
	}
	if err := d.Load([]User{{ID: "eve", Grants: []Grant{{Role: Admin, Selector: "("}}}}, nil, nil); err == nil {
		t.Error("what cannot be read was loaded")
	}
	if err := d.Load(nil, nil, []device.Group{{Name: "x"}}); err == nil {
		t.Error("a group that cannot be read was loaded")
	}
	d.somebody("what cannot be read changes nothing", kept)
}

func TestUseIsNotedByTheHour(t *testing.T) {
	d := newDesk(t)
	d.user("ann", Grant{Role: Viewer})
	text, r := d.token("ann")
	used := func() (at []time.Time) {
		for _, one := range d.Used(time.Hour) {
			at = append(at, one.LastUsedAt)
		}
		return at
	}
	is := func(when string, want ...time.Time) {
		t.Helper()
		if diff := cmp.Diff(used(), want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", when, diff)
		}
	}
	is("never used")
	d.somebody("once", text)
	is("used for the first time", noon)
	r.LastUsedAt = noon
	d.PutToken(r)
	is("noted")
	d.at = noon.Add(time.Hour)
	d.somebody("an hour later", text)
	is("within the hour")
	d.at = noon.Add(time.Hour + time.Second)
	is("used no more")
	d.somebody("later", text)
	is("over an hour later", d.at)
	d.nobody("what is refused is no use", NewToken())
	is("still", d.at)
}

func TestBookServesManyAtOnce(t *testing.T) {
	d := newDesk(t)
	d.user("ann", Grant{Role: Viewer, Groups: []string{"g"}})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				text, r := d.token("ann")
				d.group("g", "site=a")
				d.somebody("there", text)
				if !d.May("ann", "viewer", map[string]string{"site": "a"}) || !slices.Equal(d.Holders("viewer"), []string{"ann"}) {
					t.Error("ann may not view")
				}
				d.Used(time.Hour)
				r.RevokedAt = noon
				d.PutToken(r)
				d.nobody("revoked", text)
			}
		})
	}
	wg.Wait()
	if len(d.tokens) != 0 {
		t.Errorf("%d tokens are left over", len(d.tokens))
	}
}
