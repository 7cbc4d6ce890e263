package httpapi

import (
	"context"
	"time"

	"behest/access"
	"behest/command"
)

// keeper is a book in which tests write tokens for users made up for them.
type keeper struct{ *access.Book }

func newKeeper() *keeper { return &keeper{access.NewBook(time.Now)} }

// Add lets a token stand for somebody, who may act everywhere.
func (k *keeper) Add(t access.Token, who access.Identity) error {
	u := access.User{ID: who.User}
	for _, name := range who.Roles.Names() {
		role, err := access.ParseRole(name)
		if err != nil {
			return err
		}
		u.Grants = append(u.Grants, access.Grant{Role: role})
	}
	k.PutToken(access.TokenRecord{User: who.User, N: 1, Token: t, ExpiresAt: who.ExpiresAt})
	return k.PutUser(u)
}

// Revoke ends the token of that id.
func (k *keeper) Revoke(id string) {
	k.PutToken(access.TokenRecord{Token: access.Token{ID: id}, RevokedAt: time.Now()})
}

// CommandSeen and ExecutionsSeen: at the desk everybody sees everything.
func (d *desk) CommandSeen(ctx context.Context, id command.ID, _ command.Sees) (command.View, error) {
	return d.Command(ctx, id)
}

func (d *desk) AllExecutions(_ context.Context, f command.ExecutionFilter) ([]command.Execution, int64, error) {
	return d.allExecutions(f)
}

func (d *desk) ExecutionsSeen(ctx context.Context, id command.ID, state string, after int64, limit int, _ command.Sees) ([]command.Execution, bool, error) {
	return d.Executions(ctx, id, state, after, limit)
}
