package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"behest/access"
	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// PutUser makes somebody known, or changes what is known of him. What would
// change nothing makes no version. A version to hold the user against may be
// given; 0 is whatever it is.
func (d *Dispatcher) PutUser(ctx context.Context, u access.User, ifVersion int64, by string) (out access.User, created bool, err error) {
	if err := checkUser(u); err != nil {
		return access.User{}, false, err
	}
	err = d.amend(ctx, func(tx ledger.Tx) error {
		before, err := currentUser(tx, u.ID, ifVersion)
		created = err != nil && command.CodeOf(err) == command.CodeNotFound
		switch {
		case err != nil && !created:
			return err
		case created && d.book.Users() >= access.UsersMax:
			return command.Errorf(command.CodeConflict, "%d users are known, and no more are kept", access.UsersMax)
		case !created && sameUser(before, u):
			out = before
			return nil
		case before.Administers() && !u.Administers():
			if err := d.notTheLast(u.ID); err != nil {
				return err
			}
		}
		if err := checkGroups(tx, u); err != nil {
			return err
		}
		out = u
		out.Version, out.CreatedAt = before.Version, before.CreatedAt
		if err := putUser(tx, &out, d.now(), by); err != nil {
			return err
		}
		return d.tellGaps(ctx, tx, by, func(b *access.Book) error { return b.PutUser(out) })
	}, func() error { return d.book.PutUser(out) })
	return out, created, err
}

// putUser stores the next version of a user.
func putUser(tx ledger.Tx, u *access.User, now time.Time, by string) error {
	u.ChangedAt, u.ChangedBy = now, by
	if u.Version == 0 {
		u.CreatedAt = now
	}
	if err := tx.PutUser(u); err != nil {
		return err
	}
	data := map[string]any{"user": u.ID, "roles": u.Roles().Names(), "grants": told(u.Grants), "disabled": u.Disabled}
	if len(u.Logins) > 0 {
		logins := make([]map[string]string, len(u.Logins))
		for i, l := range u.Logins {
			logins[i] = map[string]string{"issuer": l.Issuer, "claim": l.Claim, "subject": l.Subject}
		}
		data["logins"] = logins
	}
	return logChange(tx, command.EventUserPut, now, by, data)
}

// toldGrant is a grant as the log tells it.
type toldGrant struct {
	Role     string   `json:"role"`
	Groups   []string `json:"groups,omitempty"`
	Selector string   `json:"selector,omitempty"`
}

func told(grants []access.Grant) []toldGrant {
	out := make([]toldGrant, len(grants))
	for i, g := range grants {
		out[i] = toldGrant{g.Role.String(), g.Groups, g.Selector}
	}
	return out
}

// RemoveUser forgets somebody and his tokens. What he asked for and what has
// not left is withdrawn when its turn comes; what he said stays said.
func (d *Dispatcher) RemoveUser(ctx context.Context, id string, ifVersion int64, by string) error {
	return d.amend(ctx, func(tx ledger.Tx) error {
		u, err := currentUser(tx, id, ifVersion)
		if err != nil {
			return err
		}
		if u.Administers() {
			if err := d.notTheLast(id); err != nil {
				return err
			}
		}
		if err := tx.RemoveUser(id); err != nil {
			return err
		}
		if err := logChange(tx, command.EventUserRemoved, d.now(), by, map[string]any{"user": id}); err != nil {
			return err
		}
		return d.tellGaps(ctx, tx, by, func(b *access.Book) error { b.RemoveUser(id); return nil })
	}, func() error { d.book.RemoveUser(id); return nil })
}

// notTheLast refuses to lose the last administrator of everything: nobody
// could make another one.
func (d *Dispatcher) notTheLast(id string) error {
	if slices.Equal(d.book.Administrators(), []string{id}) {
		return command.Errorf(command.CodeConflict, "%q is the last who administers everything; first make another one", id)
	}
	return nil
}

// currentUser is a user of the version that is wished for.
func currentUser(tx ledger.Tx, id string, version int64) (access.User, error) {
	u, err := tx.User(id)
	if version != 0 && (err == nil && u.Version != version || err != nil && command.CodeOf(err) == command.CodeNotFound) {
		err = command.Errorf(command.CodePrecondition, "the user is not of version %d", version)
	}
	return u, err
}

// sameUser reports whether the same is said of two users.
func sameUser(a, b access.User) bool {
	return a.Name == b.Name && a.Email == b.Email && a.Disabled == b.Disabled && slices.Equal(a.Logins, b.Logins) &&
		slices.EqualFunc(a.Grants, b.Grants, func(a, b access.Grant) bool {
			return a.Role == b.Role && a.Selector == b.Selector && slices.Equal(a.Groups, b.Groups)
		})
}

// AddToken makes a token that stands for a user. Its text is answered once,
// and kept nowhere.
func (d *Dispatcher) AddToken(ctx context.Context, user, note string, expires time.Time, by string) (r access.TokenRecord, text string, err error) {
	now := d.now()
	if err := checkToken(note, expires, now); err != nil {
		return access.TokenRecord{}, "", err
	}
	text = access.NewToken()
	token, err := access.ParseToken(text)
	if err != nil {
		return access.TokenRecord{}, "", err
	}
	err = d.amend(ctx, func(tx ledger.Tx) error {
		if _, err := tx.User(user); err != nil {
			return err
		}
		all, err := tx.Tokens(user)
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(t access.TokenRecord) bool { return !t.Works(now) })
		if len(all) >= access.TokensMax {
			return command.Errorf(command.CodeConflict, "%q has %d tokens that work; revoke one of them first", user, len(all))
		}
		r = access.TokenRecord{User: user, Token: token, Note: note, CreatedAt: now, CreatedBy: by, ExpiresAt: expires.Truncate(time.Millisecond)}
		return addToken(tx, &r)
	}, func() error { d.book.PutToken(r); return nil })
	if err != nil {
		return access.TokenRecord{}, "", err
	}
	return r, text, nil
}

// addToken stores a new token.
func addToken(tx ledger.Tx, r *access.TokenRecord) error {
	if err := tx.AddToken(r); err != nil {
		return err
	}
	return logChange(tx, command.EventTokenMade, r.CreatedAt, r.CreatedBy, map[string]any{"user": r.User, "token": r.N})
}

// RevokeToken ends a user's token for good, at once. It is said again in vain.
func (d *Dispatcher) RevokeToken(ctx context.Context, user string, n int, by string) error {
	var r access.TokenRecord
	return d.amend(ctx, func(tx ledger.Tx) error {
		if _, err := tx.User(user); err != nil {
			return err
		}
		all, err := tx.Tokens(user)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(all, func(t access.TokenRecord) bool { return t.N == n })
		if at < 0 {
			return command.Errorf(command.CodeNotFound, "user %.64q has no token %d", user, n)
		}
		r = all[at]
		return revokeToken(tx, &r, d.now(), by)
	}, func() error { d.book.PutToken(r); return nil })
}

// revokeToken ends a token, unless that is done.
func revokeToken(tx ledger.Tx, r *access.TokenRecord, now time.Time, by string) error {
	if !r.RevokedAt.IsZero() {
		return nil
	}
	r.RevokedAt = now
	if err := tx.SaveToken(*r); err != nil {
		return err
	}
	return logChange(tx, command.EventTokenRevoked, now, by, map[string]any{"user": r.User, "token": r.N})
}

// Appoint lets a token stand for an administrator of everything, who is made
// one if he is none. Tokens of his with the same note are revoked: the new one
// takes their place. It is for whoever may write to the data directory.
func (d *Dispatcher) Appoint(ctx context.Context, user string, token access.Token, note string) error {
	var u access.User
	var tokens []access.TokenRecord
	return d.amend(ctx, func(tx ledger.Tx) (err error) {
		now := d.now()
		u, err = tx.User(user)
		if err != nil && command.CodeOf(err) != command.CodeNotFound {
			return err
		}
		if !u.Administers() {
			u.ID, u.Disabled = user, false
			u.Grants = append([]access.Grant{{Role: access.Admin}}, u.Grants[:min(len(u.Grants), access.GrantsMax-1)]...)
			if err := putUser(tx, &u, now, ""); err != nil {
				return err
			}
		}
		if tokens, err = tx.Tokens(user); err != nil {
			return err
		}
		tokens = slices.DeleteFunc(tokens, func(t access.TokenRecord) bool { return t.Note != note })
		for i := range tokens {
			if err := revokeToken(tx, &tokens[i], now, ""); err != nil {
				return err
			}
		}
		r := access.TokenRecord{User: user, Token: token, Note: note, CreatedAt: now}
		if err := addToken(tx, &r); err != nil {
			return err
		}
		tokens = append(tokens, r)
		return nil
	}, func() error {
		for _, t := range tokens {
			d.book.PutToken(t)
		}
		return d.book.PutUser(u)
	})
}

// logChange adds an event about users, groups or types. Its data has names and
// numbers, never a secret.
func logChange(tx ledger.Tx, kind command.EventType, now time.Time, by string, data map[string]any) error {
	raw, err := json.Marshal(data)
	if err != nil {
		return err
	}
	return tx.Log(command.Event{Type: kind, At: now, Actor: by, Data: raw})
}

// checkUser names every fault of a user, its groups apart.
func checkUser(u access.User) error {
	var faults []command.Field
	fault := func(pointer, format string, args ...any) {
		faults = append(faults, command.Field{Pointer: pointer, Detail: fmt.Sprintf(format, args...)})
	}
	switch {
	case u.ID == "":
		fault("/id", "is missing")
	case u.ID == "." || u.ID == ".." || strings.Contains(u.ID, "/"):
		fault("/id", "holds a slash, or is a dot segment, which no path can hold")
	default:
		checkLine(fault, "/id", u.ID, access.UserIDBytesMax)
	}
	checkLine(fault, "/name", u.Name, access.UserNameBytesMax)
	checkLine(fault, "/email", u.Email, access.UserEmailBytesMax)
	if at := strings.LastIndexByte(u.Email, '@'); u.Email != "" && (at < 1 || at == len(u.Email)-1) {
		fault("/email", "is not of the form WHO@WHERE")
	}
	switch n := len(u.Grants); {
	case n == 0:
		fault("/roles", "is empty; who is to do nothing is disabled")
	case n > access.GrantsMax:
		fault("/roles", "are %d; at most %d are allowed", n, access.GrantsMax)
	}
	for i, g := range u.Grants {
		checkGrant(fault, fmt.Sprintf("/roles/%d", i), g)
	}
	checkLogins(fault, u.Logins)
	if len(faults) > 0 {
		return &command.Error{Code: command.CodeInvalid, Msg: "the user cannot be as it is", Fields: faults}
	}
	return nil
}

func checkGrant(fault faultFunc, at string, g access.Grant) {
	if bits.OnesCount8(uint8(g.Role)) != 1 || g.Role.String() == "" {
		fault(at+"/role", "is none of the roles")
	}
	if len(g.Groups) > access.GrantGroupsMax {
		fault(at+"/groups", "are %d; at most %d are allowed", len(g.Groups), access.GrantGroupsMax)
	}
	if _, err := device.ParseSelector(g.Selector); g.Selector != "" && err != nil {
		fault(at+"/selector", "%v", err)
	}
}

func checkLogins(fault faultFunc, logins []access.Login) {
	if len(logins) > access.LoginsMax {
		fault("/logins", "are %d; at most %d are allowed", len(logins), access.LoginsMax)
	}
	for i, l := range logins {
		at := fmt.Sprintf("/logins/%d", i)
		if part, err := l.Fault(); err != nil {
			fault(at+"/"+part, "%v", err)
		} else if slices.Contains(logins[:i], l) {
			fault(at, "is there twice")
		}
	}
}

// checkLine checks a text of one line.
func checkLine(fault faultFunc, pointer, text string, bytesMax int) {
	switch {
	case len(text) > bytesMax:
		fault(pointer, "is over %d bytes", bytesMax)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		fault(pointer, "is not UTF-8, or holds a control character")
	}
}

// checkGroups names the groups of a user's grants that are not there: a
// misspelt one would never let him do anything, and nobody would know why.
func checkGroups(tx ledger.Tx, u access.User) error {
	var faults []command.Field
	for i, g := range u.Grants {
		for j, name := range g.Groups {
			_, err := tx.Group(name)
			switch {
			case err == nil:
			case command.CodeOf(err) != command.CodeNotFound:
				return err
			default:
				faults = append(faults, command.Field{Pointer: fmt.Sprintf("/roles/%d/groups/%d", i, j), Detail: fmt.Sprintf("no group is called %.64q", name)})
			}
		}
	}
	if len(faults) > 0 {
		return &command.Error{Code: command.CodeInvalid, Msg: "the user cannot be as it is", Fields: faults}
	}
	return nil
}

func checkToken(note string, expires, now time.Time) error {
	var faults []command.Field
	fault := func(pointer, format string, args ...any) {
		faults = append(faults, command.Field{Pointer: pointer, Detail: fmt.Sprintf(format, args...)})
	}
	checkLine(fault, "/note", note, access.TokenNoteBytesMax)
	switch {
	case expires.IsZero():
	case !expires.After(now):
		fault("/expires_at", "is over")
	case expires.Sub(now) > access.TokenLifetimeMax:
		fault("/expires_at", "is over %d days away", access.TokenLifetimeMax/(24*time.Hour))
	}
	if len(faults) > 0 {
		return &command.Error{Code: command.CodeInvalid, Msg: "the token cannot be as it is", Fields: faults}
	}
	return nil
}
