package access

import "time"

// Limits of what is kept of people.
const (
	UsersMax          = 10_000
	UserIDBytesMax    = 63
	UserNameBytesMax  = 256
	UserEmailBytesMax = 254 // RFC 5321
	GrantsMax         = 16  // of a user
	GrantGroupsMax    = 16
	TokensMax         = 20 // of a user, that still work
	TokenNoteBytesMax = 256

	// A token of a longer life might as well have none.
	TokenLifetimeMax = 10 * 365 * 24 * time.Hour
)

// User is a person, or a program that acts like one.
type User struct {
	ID       string
	Name     string
	Email    string
	Grants   []Grant
	Logins   []Login // how identity providers call him; what is said by them is said by him
	Disabled bool

	Version   int64 // grows with each change; 0: not stored
	CreatedAt time.Time
	ChangedAt time.Time
	ChangedBy string
}

// Grant lets a user act in a role: on all devices, or on those in groups or
// picked by a selector.
type Grant struct {
	Role     Roles    `json:"role"` // one
	Groups   []string `json:"groups,omitempty"`
	Selector string   `json:"selector,omitempty"`
}

// Everywhere reports whether the grant is for all devices.
func (g Grant) Everywhere() bool { return len(g.Groups) == 0 && g.Selector == "" }

// Roles are all that a user was granted, for any device at all.
func (u User) Roles() (r Roles) {
	for _, g := range u.Grants {
		r |= g.Role
	}
	return r
}

// Everywhere are those that he was granted for all devices.
func (u User) Everywhere() (r Roles) {
	for _, g := range u.Grants {
		if g.Everywhere() {
			r |= g.Role
		}
	}
	return r
}

// Administers reports whether the user may do everything everywhere.
func (u User) Administers() bool { return !u.Disabled && u.Everywhere().Any(Admin) }

// TokenRecord is what is kept of a token: what recognises it, and what is
// known of it.
type TokenRecord struct {
	User string
	N    int // counts a user's tokens from 1
	Token
	Note       string
	CreatedAt  time.Time
	CreatedBy  string
	ExpiresAt  time.Time // zero: never
	LastUsedAt time.Time // to the hour or so; zero: never
	RevokedAt  time.Time // zero: it works
}

// Works reports whether the token stands for its user at now.
func (t TokenRecord) Works(now time.Time) bool {
	return t.RevokedAt.IsZero() && (t.ExpiresAt.IsZero() || now.Before(t.ExpiresAt))
}
