package access

import (
	"fmt"
	"strings"
	"time"
)

// Roles is a set of roles.
type Roles uint8

const (
	Viewer   Roles = 1 << iota // reads
	Operator                   // reads, issues, cancels, rolls back, edits labels and groups
	Approver                   // reads, approves, denies, cancels
	Admin                      // all of it, and owns types, users, tokens, credentials and webhooks
	rolesEnd
)

const everyRole = rolesEnd - 1

var roleNames = [...]string{"viewer", "operator", "approver", "admin"}

// Names lists the roles in r, in the order of the constants.
func (r Roles) Names() []string {
	names := make([]string, 0, len(roleNames))
	for i, name := range roleNames {
		if r&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

func (r Roles) String() string { return strings.Join(r.Names(), ",") }

// Any reports whether r and s have a role in common.
func (r Roles) Any(s Roles) bool { return r&s != 0 }

// ParseRole is the role with that name.
func ParseRole(name string) (Roles, error) {
	for i, n := range roleNames {
		if n == name {
			return 1 << i, nil
		}
	}
	return 0, fmt.Errorf("no role is called %q", name)
}

// Identity is who a token stands for.
type Identity struct {
	User       string    // never empty
	Roles      Roles     // all that he was granted, for any device at all
	Everywhere Roles     // those of them that are for all devices
	ExpiresAt  time.Time // when the token ceases to work by itself; zero: never
	Via        string    // ViaOIDC; empty: a token of this server
}
