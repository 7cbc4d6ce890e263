package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"behest/access"
	"behest/command"
	"behest/command/ledger"
)

// Who could approve is counted when a type is declared: a rule that nobody can
// meet would let its commands lapse one by one. What is done to users later is
// never refused for that, because to lock somebody out cannot wait until
// another approver is found; it is told, in the same commit.

// gap is what is missing for an approval rule to be met.
type gap struct {
	group string // in which; empty: anywhere
	able  int    // users who could approve there
}

// gapIn looks for a part of the devices in which the users of a book cannot
// meet a rule, whoever of them asks.
func (d *Dispatcher) gapIn(book *access.Book, rule *command.ApprovalRule) (gap, bool) {
	role := rule.Role
	if role == "" {
		role = approver
	}
	parts := rule.Groups
	if len(rule.When) > 0 || len(rule.Groups) == 0 {
		parts = append([]string{""}, rule.Groups...)
	}
	for _, group := range parts {
		able := book.Able(role, group)
		apart := func(id string) bool { return !slices.Contains(able, id) } // he asks, and is not missed among them
		switch n := len(able); {
		case n > rule.Approvers, n == rule.Approvers && (d.solo || slices.ContainsFunc(book.Able(operator, group), apart)):
		default:
			return gap{group: group, able: n}, true
		}
	}
	return gap{}, false
}

// checkRule refuses an approval rule that names groups that are not there, or
// that nobody can meet.
func (d *Dispatcher) checkRule(tx ledger.Tx, rule *command.ApprovalRule) error {
	if rule == nil || d.people == nil {
		return nil
	}
	var faults []command.Field
	for i, name := range rule.Groups {
		_, err := tx.Group(name)
		switch {
		case err == nil:
		case command.CodeOf(err) != command.CodeNotFound:
			return err
		default:
			faults = append(faults, command.Field{Pointer: fmt.Sprintf("/approval/groups/%d", i), Detail: fmt.Sprintf("no group is called %.64q", name)})
		}
	}
	if missing, short := d.gapIn(d.book, rule); short && len(faults) == 0 {
		where := ""
		if missing.group != "" {
			where = fmt.Sprintf(" on devices of the group %q", missing.group)
		}
		faults = append(faults, command.Field{Pointer: "/approval/approvers", Detail: fmt.Sprintf(
			"asks for %d to agree besides who asks, and %d of the known users could%s", rule.Approvers, missing.able, where)})
	}
	if len(faults) > 0 {
		return &command.Error{Code: command.CodeInvalid, Msg: "the type cannot be declared like that", Fields: faults}
	}
	return nil
}

// ruled lists the types that are not retired and have an approval rule.
func (d *Dispatcher) ruled(ctx context.Context) (ruled []command.Type, err error) {
	for after, more := "", true; more; {
		page, left, err := d.store.Types(ctx, after, command.PageMax)
		if err != nil {
			return nil, err
		}
		for _, t := range page {
			if after = t.Name; t.Approval != nil {
				ruled = append(ruled, t)
			}
		}
		more = left && len(page) > 0
	}
	return ruled, nil
}

// tellGaps logs which approval rules can be met by nobody any more, once the
// book is as change makes it. It runs while the book is being amended, and so
// does the declaring of rules.
func (d *Dispatcher) tellGaps(ctx context.Context, tx ledger.Tx, by string, change func(*access.Book) error) error {
	if d.people == nil {
		return nil
	}
	types, err := d.ruled(ctx)
	if err != nil || len(types) == 0 {
		return err
	}
	draft := d.book.Draft()
	if err := change(draft); err != nil {
		return err
	}
	for _, t := range types {
		missing, short := d.gapIn(draft, t.Approval)
		if _, before := d.gapIn(d.book, t.Approval); !short || before {
			continue
		}
		d.log.Warn("the commands of a type can be approved by nobody any more", "type", t.Name, "approvers", t.Approval.Approvers, "able", missing.able)
		data, err := json.Marshal(map[string]any{"type": t.Name, "approvers": t.Approval.Approvers, "able": missing.able})
		if err != nil {
			return err
		}
		if err := tx.Log(command.Event{Type: command.EventTypeUnmet, At: d.now(), Actor: by, Data: data}); err != nil {
			return err
		}
	}
	return nil
}

// asking names a live type whose approval rule asks by a group.
func (d *Dispatcher) asking(ctx context.Context, group string) (string, error) {
	types, err := d.ruled(ctx)
	if err != nil {
		return "", err
	}
	for _, t := range types {
		if slices.Contains(t.Approval.Groups, group) {
			return t.Name, nil
		}
	}
	return "", nil
}
