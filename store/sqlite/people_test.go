package sqlite_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"behest/access"
	"behest/command/ledger"
	"behest/store/sqlite"
)

// peopled is a database in which ann has two tokens.
func peopled(t *testing.T) string {
	t.Helper()
	ctx := context.Background()
	path := made(t)
	s, err := sqlite.Open(ctx, path, sqlite.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	go s.Run(ctx)
	err = askPeople(s)
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// askPeople adds a user with two tokens, and asks all that there is to ask.
func askPeople(s *sqlite.Store) error {
	ctx := context.Background()
	err := s.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
		u := access.User{ID: "ann", Grants: []access.Grant{{Role: access.Operator, Selector: "site=a"}}, CreatedAt: time.Now(), ChangedAt: time.Now(), ChangedBy: "bob"}
		u.Logins = []access.Login{{Issuer: "https://login.example.org", Claim: access.ClaimSubject, Subject: "1"}}
		if err := tx.PutUser(&u); err != nil {
			return err
		}
		if err := tx.PutUser(&u); err != nil { // another version
			return err
		}
		for _, id := range []string{"00000001", "00000002"} {
			token := access.TokenRecord{User: "ann", Token: access.Token{ID: id}, CreatedAt: time.Now(), CreatedBy: "bob"}
			if err := tx.AddToken(&token); err != nil {
				return err
			}
			if err := tx.SaveToken(token); err != nil {
				return err
			}
		}
		_, err := tx.Tokens("ann")
		return err
	})
	if err != nil {
		return err
	}
	for range 3 {
		_, one := s.User(ctx, "ann")
		_, _, page := s.Users(ctx, "", 10)
		_, his := s.UserTokens(ctx, "ann")
		_, all := s.AllTokens(ctx)
		if err := errors.Join(one, page, his, all); err != nil {
			return err
		}
	}
	return nil
}

func TestCheckLooksAtPeople(t *testing.T) {
	const lax = `PRAGMA ignore_check_constraints = 1; `
	for _, row := range []struct{ name, damage, says string }{
		{"nothing", `SELECT 1`, ""},
		{"a user that is no JSON", `UPDATE user SET about = 'x'`, `user "ann": invalid character`},
		{"a role that is none", `UPDATE user SET about = '{"grants":[{"role":"root"}]}'`, `no role is called "root"`},
		{"a selector that is none", `UPDATE user SET about = '{"grants":[{"role":"admin","selector":"("}]}'`, `user "ann": grant 0: `},
		{"a login of nobody's issuer", `UPDATE login SET issuer = 'ftp://x'`, `user "ann": login 0: its issuer does not begin`},
		{"a login over http", `UPDATE login SET issuer = 'http://login.example.org'`, `user "ann": login 0: its issuer does not begin`},
		{"a claim that is none", `UPDATE login SET claim = 'nick'`, `user "ann": login 0: its claim is none of`},
		{"a login without a subject", `UPDATE login SET subject = ''`, `user "ann": login 0: its subject is missing`},
		{"a login of nobody", `UPDATE login SET user = 9`, "refers to a row of user"},
		{"too many logins", `INSERT INTO login SELECT user, column1, issuer, claim, 's' || column1 FROM login, (VALUES (2), (3), (4), (5))`, `user "ann" has 5 logins`},
		{"neither disabled nor not", lax + `UPDATE user SET disabled = 2`, `user "ann": disabled is 2`},
		{"no version", lax + `UPDATE user SET version = 0`, `user "ann": its version is 0`},
		{"a token of nobody", `UPDATE token SET user = 9 WHERE k = 2`, "refers to a row of user"},
		{"a hash that is none", lax + `UPDATE token SET hash = x'00' WHERE k = 2`, "a hash of 1 bytes"},
		{"a number that is none", lax + `UPDATE token SET k = 0 WHERE k = 2`, "token 0 of the user"},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := peopled(t)
			alter(t, path, row.damage)
			r, err := sqlite.Check(context.Background(), path)
			if err != nil {
				t.Fatal(err)
			}
			found := strings.Join(r.Faults, "\n")
			if row.says == "" && found != "" || !strings.Contains(found, row.says) {
				t.Errorf("it found %q, want %q", found, row.says)
			}
			if row.says == "" && (r.Users != 1 || r.Tokens != 2) {
				t.Errorf("it counted %d users and %d tokens", r.Users, r.Tokens)
			}
		})
	}
}

func TestPeopleAreLookedUpByKeys(t *testing.T) {
	ctx := context.Background()
	s, err := sqlite.Open(ctx, made(t), sqlite.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	go s.Run(ctx)
	if err := askPeople(s); err != nil {
		t.Fatal(err)
	}
	for text, n := range sqlite.Reprepared(s) {
		if n > 1 {
			t.Errorf("prepared again %d times: %s", n, text)
		}
		if strings.HasPrefix(text, "PRAGMA") || !strings.Contains(text, " ") {
			continue
		}
		plan, err := sqlite.Plan(s, text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		for _, line := range plan {
			if strings.HasPrefix(line, "SCAN u") || strings.HasPrefix(line, "SCAN l ") || strings.HasPrefix(line, "SCAN t") {
				t.Errorf("%s: %s", line, text)
			}
		}
	}
}
