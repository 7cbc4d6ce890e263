package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"behest/access"
	"behest/command"
	"behest/command/ledger"
)

func testPeople(t *testing.T, e Engine) {
	each(t, e, []testCase{
		{"EveryFieldOfAUserComesBack", userEveryFieldComesBack},
		{"UsersAreChangedByVersion", userChangedByVersion},
		{"UsersAreListedByName", userListedByName},
		{"LoginsAreOneUsersEach", loginIsOneUsers},
		{"LoginsGoWithTheirUser", loginGoesWithItsUser},
		{"EveryFieldOfATokenComesBack", tokenEveryFieldComesBack},
		{"TokensAreNumberedByUser", tokenNumberedByUser},
		{"TokensGoWithTheirUser", tokenGoesWithItsUser},
		{"TokensAreNobodysTwice", tokenIsNobodysTwice},
	})
}

// aUser is a user who may look at everything.
func aUser(id string) access.User {
	return access.User{ID: id, Grants: []access.Grant{{Role: access.Viewer}}, CreatedAt: epoch, ChangedAt: epoch}
}

// aToken is the n-th token of a test.
func aToken(user string, n int) access.TokenRecord {
	r := access.TokenRecord{User: user, Token: access.Token{ID: fmt.Sprintf("%08d", n)}, CreatedAt: at(n)}
	r.Hash[0], r.Hash[31] = byte(n), 0xff
	return r
}

// aLogin is how a provider calls somebody.
func aLogin(subject string) access.Login {
	return access.Login{Issuer: "https://login.example.org", Claim: access.ClaimSubject, Subject: subject}
}

// withUsers adds users who may look at everything.
func withUsers(r *rig, ids ...string) {
	r.t.Helper()
	r.do(func(tx ledger.Tx) error {
		for _, id := range ids {
			u := aUser(id)
			if err := tx.PutUser(&u); err != nil {
				return err
			}
		}
		return nil
	})
}

func userEveryFieldComesBack(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	var full access.User
	fill(&full, "Version", "Grants", "Logins")
	full.ID = "ångström@example.org 🚰"
	full.Grants = []access.Grant{
		{Role: access.Admin}, {Role: access.Operator, Groups: []string{"north", "süd"}},
		{Role: access.Approver, Selector: `site in (a,b),!spare`}, {Role: access.Viewer, Groups: []string{"x"}, Selector: "y=z"},
	}
	full.Logins = []access.Login{aLogin("zoë"), aLogin(`"\`), {Issuer: "https://[2001:db8::1]:8443/ä", Claim: access.ClaimEmail, Subject: "zoë"}}
	bare := access.User{ID: "bare", CreatedAt: epoch, ChangedAt: epoch}
	long := aUser(strings.Repeat("n", access.UserIDBytesMax))
	long.Name, long.Email = strings.Repeat(`"`, access.UserNameBytesMax), strings.Repeat("@", access.UserEmailBytesMax)
	for _, want := range []*access.User{&full, &bare, &long} {
		r.do(func(tx ledger.Tx) error { return tx.PutUser(want) })
		if want.Version != 1 {
			t.Errorf("the first version of %q is %d", want.ID, want.Version)
		}
	}
	r.restart()
	for _, want := range []access.User{full, bare, long} {
		diff(t, must(r.User(ctx, want.ID))(t), want)
		r.do(func(tx ledger.Tx) error {
			got, err := tx.User(want.ID)
			diff(t, got, want)
			return err
		})
	}
}

func userChangedByVersion(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	withUsers(r, "ann", "bob")
	old := must(r.User(ctx, "ann"))(t)
	now := old
	now.Disabled, now.ChangedAt, now.ChangedBy, now.Grants = true, at(5), "bob", nil
	r.do(func(tx ledger.Tx) error { return tx.PutUser(&now) })
	diff(t, now.Version, int64(2))
	diff(t, must(r.User(ctx, "ann"))(t), now)
	again := aUser("ann")
	r.refused(command.CodeConflict, func(tx ledger.Tx) error { u := old; return tx.PutUser(&u) })
	r.refused(command.CodeConflict, func(tx ledger.Tx) error { u := again; return tx.PutUser(&u) })
	r.refused(command.CodeConflict, func(tx ledger.Tx) error { u := aUser("eve"); u.Version = 1; return tx.PutUser(&u) })
	diff(t, must(r.User(ctx, "ann"))(t), now)
	diff(t, must(r.User(ctx, "bob"))(t).Version, int64(1))
	r.do(func(tx ledger.Tx) error { return tx.RemoveUser("ann") })
	for _, id := range []string{"ann", "Bob", ""} {
		r.refused(command.CodeNotFound, func(tx ledger.Tx) error { _, err := tx.User(id); return err })
		r.refused(command.CodeNotFound, func(tx ledger.Tx) error { return tx.RemoveUser(id) })
		_, err := r.User(ctx, id)
		wantCode(t, err, command.CodeNotFound)
		_, err = r.UserTokens(ctx, id)
		wantCode(t, err, command.CodeNotFound)
	}
	r.do(func(tx ledger.Tx) error { return tx.PutUser(&again) })
	diff(t, again.Version, int64(1))
}

func userListedByName(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	ids := []string{"ann", "bob", "Cat", "dan", "ämil"}
	withUsers(r, ids...)
	slices.Sort(ids)
	var got []string
	for after, more := "", true; more; {
		var page []access.User
		var err error
		if page, more, err = r.Users(ctx, after, 2); err != nil {
			t.Fatal(err)
		}
		for _, u := range page {
			diff(t, u, must(r.User(ctx, u.ID))(t))
			got = append(got, u.ID)
			after = u.ID
		}
	}
	diff(t, got, ids)
}

// loginIsOneUsers: the same subject of another issuer, or by another claim, is
// another login, and so is one in other letters.
func loginIsOneUsers(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	withUsers(r, "ann", "bob")
	ann, bob := must(r.User(ctx, "ann"))(t), must(r.User(ctx, "bob"))(t)
	put := func(u *access.User) { r.t.Helper(); r.do(func(tx ledger.Tx) error { return tx.PutUser(u) }) }
	ann.Logins = []access.Login{aLogin("1"), aLogin("2")}
	put(&ann)
	other, byMail := aLogin("1"), aLogin("1")
	other.Issuer, byMail.Claim = "https://login.example.net", access.ClaimEmail
	bob.Logins = []access.Login{other, byMail, aLogin("A"), aLogin("a")}
	put(&bob)
	stolen := bob
	stolen.Name, stolen.Logins = "new", []access.Login{aLogin("3"), aLogin("2")}
	r.refused(command.CodeConflict, func(tx ledger.Tx) error { u := stolen; return tx.PutUser(&u) })
	eve := aUser("eve")
	eve.Logins = []access.Login{aLogin("1")}
	r.refused(command.CodeConflict, func(tx ledger.Tx) error { u := eve; return tx.PutUser(&u) })
	diff(t, must(r.User(ctx, "ann"))(t), ann)
	diff(t, must(r.User(ctx, "bob"))(t), bob) // nothing of what was refused is there
	_, err := r.User(ctx, "eve")
	wantCode(t, err, command.CodeNotFound)
	ann.Logins = ann.Logins[1:]
	put(&ann)
	put(&eve) // it is free now
	r.restart()
	for _, want := range []access.User{ann, bob, eve} {
		diff(t, must(r.User(ctx, want.ID))(t), want)
	}
}

func loginGoesWithItsUser(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	ann := aUser("ann")
	ann.Logins = []access.Login{aLogin("1")}
	r.do(func(tx ledger.Tx) error { return tx.PutUser(&ann) })
	r.do(func(tx ledger.Tx) error { return tx.RemoveUser("ann") })
	withUsers(r, "ann")
	if logins := must(r.User(ctx, "ann"))(t).Logins; len(logins) > 0 {
		t.Errorf("another user of the same name has logins: %+v", logins)
	}
	bob := aUser("bob")
	bob.Logins = ann.Logins
	r.do(func(tx ledger.Tx) error { return tx.PutUser(&bob) })
}

func tokenEveryFieldComesBack(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	withUsers(r, "ann")
	var full access.TokenRecord
	fill(&full, "N")
	full.User, full.ID = "ann", "0a1b2c3d"
	bare := aToken("ann", 2)
	r.do(func(tx ledger.Tx) error {
		if err := tx.AddToken(&full); err != nil {
			return err
		}
		return tx.AddToken(&bare)
	})
	r.restart()
	want := []access.TokenRecord{full, bare}
	diff(t, must(r.UserTokens(ctx, "ann"))(t), want)
	r.do(func(tx ledger.Tx) error {
		got, err := tx.Tokens("ann")
		diff(t, got, want)
		return err
	})
	used := bare
	used.LastUsedAt, used.Note, used.ExpiresAt = at(7), "another note", at(8)
	r.do(func(tx ledger.Tx) error { return tx.SaveToken(used) })
	bare.LastUsedAt = at(7) // and no more than that
	diff(t, must(r.UserTokens(ctx, "ann"))(t), []access.TokenRecord{full, bare})
	diff(t, must(r.AllTokens(ctx))(t), []access.TokenRecord{bare})
	bare.RevokedAt = at(9)
	r.do(func(tx ledger.Tx) error { return tx.SaveToken(bare) })
	diff(t, must(r.UserTokens(ctx, "ann"))(t), []access.TokenRecord{full, bare})
	if left := must(r.AllTokens(ctx))(t); len(left) > 0 {
		t.Errorf("revoked tokens are loaded: %+v", left)
	}
}

func tokenNumberedByUser(t *testing.T, e Engine) {
	r := start(t, e)
	withUsers(r, "ann", "bob")
	for i, c := range []struct {
		user string
		n    int
	}{{"ann", 1}, {"ann", 2}, {"bob", 1}, {"ann", 3}, {"bob", 2}} {
		token := aToken(c.user, i)
		r.do(func(tx ledger.Tx) error {
			if err := tx.AddToken(&token); err != nil {
				return err
			}
			token.RevokedAt = at(99) // its number is not free for that
			return tx.SaveToken(token)
		})
		diff(t, token.N, c.n)
	}
	r.refused(command.CodeNotFound, func(tx ledger.Tx) error { token := aToken("eve", 9); return tx.AddToken(&token) })
	for _, n := range []int{0, -1, 4} {
		r.refused(command.CodeNotFound, func(tx ledger.Tx) error { return tx.SaveToken(access.TokenRecord{User: "ann", N: n}) })
	}
	r.refused(command.CodeNotFound, func(tx ledger.Tx) error { return tx.SaveToken(access.TokenRecord{User: "eve", N: 1}) })
}

func tokenGoesWithItsUser(t *testing.T, e Engine) {
	ctx := context.Background()
	r := start(t, e)
	withUsers(r, "ann", "bob")
	mine, his := aToken("ann", 1), aToken("bob", 2)
	r.do(func(tx ledger.Tx) error {
		if err := tx.AddToken(&mine); err != nil {
			return err
		}
		return tx.AddToken(&his)
	})
	r.do(func(tx ledger.Tx) error { return tx.RemoveUser("ann") })
	diff(t, must(r.AllTokens(ctx))(t), []access.TokenRecord{his})
	withUsers(r, "ann")
	if tokens := must(r.UserTokens(ctx, "ann"))(t); len(tokens) > 0 {
		t.Errorf("another user of the same name has tokens: %+v", tokens)
	}
}

func tokenIsNobodysTwice(t *testing.T, e Engine) {
	r := start(t, e)
	withUsers(r, "ann", "bob")
	mine := aToken("ann", 1)
	r.do(func(tx ledger.Tx) error { return tx.AddToken(&mine) })
	for _, user := range []string{"ann", "bob"} {
		r.refused(command.CodeConflict, func(tx ledger.Tx) error { again := aToken(user, 1); return tx.AddToken(&again) })
	}
}
