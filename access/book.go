package access

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"behest/device"
)

// Authenticator tells who a token stands for. ErrNoToken and ErrUnknownToken
// mean nobody; any other error means that it could not be told.
type Authenticator interface {
	Authenticate(ctx context.Context, token string) (Identity, error)
}

// ErrUnknownToken says that a token has the right form and stands for nobody,
// or nobody any more.
var ErrUnknownToken = errors.New("unknown token")

// Book is what is known of people, in memory: users, the tokens that stand for
// them, and the groups that limit what they may. It is safe for use by many at
// once. It holds what the store holds: who changes that brings the book up to
// date after the commit.
type Book struct {
	now func() time.Time // set once

	mu      sync.RWMutex
	users   map[string]entry      // by id
	tokens  map[string]*keptToken // by their own id
	logins  map[Login]string      // ids of users
	groups  map[string]device.Selector
	changed chan struct{} // closed with the next change; nil: nobody waits
}

// entry is a user with the selectors of his grants read.
type entry struct {
	user  User
	picks []device.Selector // by grant; nil: it has none
}

// keptToken is a token, and when it was last used in this process.
type keptToken struct {
	TokenRecord
	used atomic.Int64 // milliseconds since 1970; 0: not yet
}

// NewBook makes an empty book that takes the time from now.
func NewBook(now func() time.Time) *Book {
	return &Book{
		now: now, users: make(map[string]entry), tokens: make(map[string]*keptToken), logins: make(map[Login]string),
		groups: make(map[string]device.Selector),
	}
}

// Load replaces all that the book holds. When that cannot be read, it stays
// as it was.
func (b *Book) Load(users []User, tokens []TokenRecord, groups []device.Group) error {
	fresh := NewBook(b.now)
	for _, g := range groups {
		if err := fresh.PutGroup(g); err != nil {
			return err
		}
	}
	for _, u := range users {
		if err := fresh.PutUser(u); err != nil {
			return err
		}
	}
	b.change(func() {
		for _, t := range tokens {
			fresh.putToken(t, b.tokens[t.ID])
		}
		b.users, b.tokens, b.logins, b.groups = fresh.users, fresh.tokens, fresh.logins, fresh.groups
	})
	return nil
}

// change does f to the book, and wakes who waits for that.
func (b *Book) change(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// Changed is closed when the book has changed. Who takes it before looking
// misses nothing. Time alone changes nothing here: see Identity.ExpiresAt.
func (b *Book) Changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.changed
}

// PutUser keeps a user as he is now.
func (b *Book) PutUser(u User) error {
	e := entry{user: u, picks: make([]device.Selector, len(u.Grants))}
	for i, g := range u.Grants {
		if g.Selector == "" {
			continue
		}
		var err error
		if e.picks[i], err = device.ParseSelector(g.Selector); err != nil {
			return fmt.Errorf("user %q, grant %d: %w", u.ID, i, err)
		}
	}
	b.change(func() {
		b.forgetLogins(u.ID)
		for _, l := range u.Logins {
			b.logins[l] = u.ID
		}
		b.users[u.ID] = e
	})
	return nil
}

func (b *Book) forgetLogins(user string) {
	for _, l := range b.users[user].user.Logins {
		delete(b.logins, l)
	}
}

// RemoveUser forgets a user, his tokens and his logins.
func (b *Book) RemoveUser(id string) {
	b.change(func() {
		b.forgetLogins(id)
		delete(b.users, id)
		maps.DeleteFunc(b.tokens, func(_ string, t *keptToken) bool { return t.User == id })
	})
}

// PutToken keeps a token as it is now; one that was revoked is forgotten.
func (b *Book) PutToken(t TokenRecord) { b.change(func() { b.putToken(t, b.tokens[t.ID]) }) }

func (b *Book) putToken(t TokenRecord, before *keptToken) {
	if !t.RevokedAt.IsZero() {
		delete(b.tokens, t.ID)
		return
	}
	e := &keptToken{TokenRecord: t}
	if before != nil {
		e.used.Store(before.used.Load())
	}
	b.tokens[t.ID] = e
}

// PutGroup keeps a group as it is now.
func (b *Book) PutGroup(g device.Group) error {
	s, err := device.ParseSelector(g.Selector)
	if err != nil {
		return fmt.Errorf("group %q: %w", g.Name, err)
	}
	b.change(func() { b.groups[g.Name] = s })
	return nil
}

// RemoveGroup forgets a group. Nothing is in it any more.
func (b *Book) RemoveGroup(name string) { b.change(func() { delete(b.groups, name) }) }

// Authenticate implements Authenticator. It compares hashes, of an unknown id
// with an impossible one, so that the time it takes tells nothing.
func (b *Book) Authenticate(_ context.Context, text string) (Identity, error) {
	t, err := ParseToken(text)
	if err != nil {
		return Identity{}, err
	}
	now := b.now()
	b.mu.RLock()
	defer b.mu.RUnlock()
	kept := b.tokens[t.ID]
	var hash [len(t.Hash)]byte
	if kept != nil {
		hash = kept.Hash
	}
	same := subtle.ConstantTimeCompare(t.Hash[:], hash[:]) == 1
	if !same || kept == nil || !kept.Works(now) {
		return Identity{}, ErrUnknownToken
	}
	who, err := b.identity(kept.User)
	if err != nil {
		return Identity{}, err
	}
	kept.used.Store(now.UnixMilli())
	who.ExpiresAt = kept.ExpiresAt
	return who, nil
}

// LogIn tells whom a login stands for, which somebody else has proven;
// ErrUnknownToken: nobody.
func (b *Book) LogIn(l Login) (Identity, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.identity(b.logins[l])
}

// identity is what a user may, if he is there.
func (b *Book) identity(user string) (Identity, error) {
	e, ok := b.users[user]
	if !ok || e.user.Disabled {
		return Identity{}, ErrUnknownToken
	}
	return Identity{User: user, Roles: e.user.Roles(), Everywhere: e.user.Everywhere()}, nil
}

// Used lists the tokens whose use is not noted: those that were used more than
// every after what their record says.
func (b *Book) Used(every time.Duration) (used []TokenRecord) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, t := range b.tokens {
		at := time.UnixMilli(t.used.Load())
		if at.Sub(t.LastUsedAt) > every && t.used.Load() != 0 {
			r := t.TokenRecord
			r.LastUsedAt = at.UTC()
			used = append(used, r)
		}
	}
	return used
}

// NoteUsed takes down what Used answered, once that is kept. It is no change
// that anybody waits for.
func (b *Book) NoteUsed(used []TokenRecord) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range used {
		if t := b.tokens[r.ID]; t != nil {
			t.LastUsedAt = r.LastUsedAt
		}
	}
}

// User is a user as the book knows him.
func (b *Book) User(id string) (User, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	e, ok := b.users[id]
	return e.user, ok
}

// Users is how many users there are.
func (b *Book) Users() int {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return len(b.users)
}

// Groups is how many groups there are.
func (b *Book) Groups() int {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return len(b.groups)
}

// Granted lists the users who are limited to a group by a grant, in order.
func (b *Book) Granted(group string) (ids []string) {
	return b.those(func(e entry) bool {
		return slices.ContainsFunc(e.user.Grants, func(g Grant) bool { return slices.Contains(g.Groups, group) })
	})
}

// Administrators lists those who may do everything everywhere, in order.
func (b *Book) Administrators() []string {
	return b.those(func(e entry) bool { return e.user.Administers() })
}

// Administered reports whether one of those can come in: he has a token that
// works, or a login of that issuer and claim.
func (b *Book) Administered(issuer, claim string) bool {
	now := b.now()
	b.mu.RLock()
	defer b.mu.RUnlock()
	for l, user := range b.logins {
		if l.Issuer == issuer && l.Claim == claim && b.users[user].user.Administers() {
			return true
		}
	}
	for _, t := range b.tokens {
		if t.Works(now) && b.users[t.User].user.Administers() {
			return true
		}
	}
	return false
}

// Able lists the users who are there and could act in a role on a device of a
// group, whatever its labels are, in order; on any device, if no group is named.
func (b *Book) Able(role, group string) []string {
	r, err := ParseRole(role)
	if err != nil || group == "" {
		return b.Holders(role)
	}
	return b.those(func(e entry) bool { // which holds the lock
		in := b.groups[group]
		for i, g := range e.user.Grants {
			overlaps := func(name string) bool { return b.groups[name].Overlaps(in) }
			if g.Role.Any(r|Admin) && (g.Everywhere() || e.picks[i].Overlaps(in) || slices.ContainsFunc(g.Groups, overlaps)) {
				return !e.user.Disabled
			}
		}
		return false
	})
}

// Draft is a copy of the book without its tokens, to try changes on.
func (b *Book) Draft() *Book {
	b.mu.RLock()
	defer b.mu.RUnlock()
	d := NewBook(b.now)
	maps.Copy(d.users, b.users)
	maps.Copy(d.groups, b.groups)
	return d
}

// Holders lists the users who are there and hold a role, administrators
// included, for any device at all, in order.
func (b *Book) Holders(role string) []string {
	r, err := ParseRole(role)
	if err != nil {
		return nil
	}
	return b.those(func(e entry) bool { return !e.user.Disabled && e.user.Roles().Any(r|Admin) })
}

func (b *Book) those(holds func(entry) bool) (ids []string) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for id, e := range b.users {
		if holds(e) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// May reports whether somebody of that name is there and may do what the role
// may to a device with these labels. Administrators may what anybody may, and
// whoever may do anything to a device may look at it.
func (b *Book) May(user, role string, labels map[string]string) bool {
	r, err := ParseRole(role)
	if err != nil {
		return false
	}
	if r == Viewer {
		r = everyRole
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	e, ok := b.users[user]
	if !ok || e.user.Disabled {
		return false
	}
	for i, g := range e.user.Grants {
		if g.Role.Any(r|Admin) && (g.Everywhere() || b.picks(e, i, labels)) {
			return true
		}
	}
	return false
}

// MayAll reports whether a user may do what the role may to every device.
func (b *Book) MayAll(user, role string) bool {
	r, err := ParseRole(role)
	if err != nil {
		return false
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	e, ok := b.users[user]
	return ok && !e.user.Disabled && e.user.Everywhere().Any(r|Admin)
}

// picks reports whether the i-th grant of e, which is limited, is for devices
// with these labels. A group that is not there has no members.
func (b *Book) picks(e entry, i int, labels map[string]string) bool {
	return e.picks[i].Matches(labels) ||
		slices.ContainsFunc(e.user.Grants[i].Groups, func(g string) bool { return b.groups[g].Matches(labels) })
}

// Member reports whether a device with these labels is in a group.
func (b *Book) Member(group string, labels map[string]string) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.groups[group].Matches(labels)
}

// Sees tells which devices a user sees: those that any of his grants is for.
// nil: all. It is as of now, and does not change with the book.
func (b *Book) Sees(user string) func(labels map[string]string) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	var picks []device.Selector
	if e, ok := b.users[user]; ok && !e.user.Disabled {
		for i, g := range e.user.Grants {
			if g.Everywhere() {
				return nil
			}
			picks = append(picks, e.picks[i])
			for _, name := range g.Groups {
				picks = append(picks, b.groups[name])
			}
		}
	}
	return func(labels map[string]string) bool {
		return slices.ContainsFunc(picks, func(s device.Selector) bool { return s.Matches(labels) })
	}
}
