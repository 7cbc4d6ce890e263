package dispatch

import (
	"context"
	"slices"

	"behest/command"
)

// Approvals lists commands that wait for a decision that a user may make and
// has not made, after a row, the oldest first. next is where to go on: what is
// before it has been looked at.
//
// A page is full unless it is the last: one that is not would tell of what waits
// for others.
func (d *Dispatcher) Approvals(ctx context.Context, user string, after int64, limit int) (views []command.View, next int64, more bool, err error) {
	next = after
	for left := true; left; {
		var some []command.View
		if some, left, err = d.store.Awaiting(ctx, next, command.PageMax); err != nil {
			return nil, after, false, err
		}
		for _, v := range some {
			ok, err := d.waitsFor(ctx, user, v)
			switch {
			case err != nil:
				return nil, after, false, err
			case ok && len(views) == limit:
				return views, next, true, nil
			case ok:
				views = append(views, v)
			}
			next = v.Command.N
		}
		left = left && len(some) > 0
	}
	return views, next, false, nil
}

// waitsFor reports whether a command waits for a decision that a user may make
// and has not made.
func (d *Dispatcher) waitsFor(ctx context.Context, user string, v command.View) (bool, error) {
	decided := slices.ContainsFunc(v.Decisions, func(one command.Decision) bool { return one.User == user })
	if decided || v.Command.Approval == nil {
		return false, nil
	}
	err := d.mayDecide(ctx, v, command.Decision{User: user, Approve: true})
	if err != nil && command.CodeOf(err) == command.CodeForbidden {
		return false, nil
	}
	return err == nil, err
}
