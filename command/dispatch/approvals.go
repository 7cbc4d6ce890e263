package dispatch

import (
	"context"
	"slices"

	"behest/command"
)

// Approvals lists commands that wait for a decision that a user may make and
// has not made, after a row, the oldest first. next is where to go on: what is
// before it has been looked at.
func (d *Dispatcher) Approvals(ctx context.Context, user string, after int64, limit int) (views []command.View, next int64, more bool, err error) {
	all, more, err := d.store.Awaiting(ctx, after, limit)
	if err != nil {
		return nil, after, false, err
	}
	next = after
	for _, v := range all {
		next = v.Command.N
		decided := slices.ContainsFunc(v.Decisions, func(one command.Decision) bool { return one.User == user })
		if decided || v.Command.Approval == nil {
			continue
		}
		err := d.mayDecide(ctx, v, command.Decision{User: user, Approve: true})
		switch {
		case err == nil:
			views = append(views, v)
		case command.CodeOf(err) != command.CodeForbidden:
			return nil, after, false, err
		}
	}
	return views, next, more, nil
}
