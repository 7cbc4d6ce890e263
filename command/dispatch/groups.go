package dispatch

import (
	"context"

	"behest/access"
	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// PutGroup names a selector, or changes what a name stands for. Commands keep
// the devices that it came to when they were issued. A version to hold the
// group against may be given; 0 is whatever it is.
func (d *Dispatcher) PutGroup(ctx context.Context, g device.Group, ifVersion int64, by string) (out device.Group, created bool, err error) {
	if err := checkGroup(g); err != nil {
		return device.Group{}, false, err
	}
	err = d.amend(ctx, func(tx ledger.Tx) error {
		before, err := currentGroup(tx, g.Name, ifVersion)
		created = err != nil && command.CodeOf(err) == command.CodeNotFound
		switch {
		case err != nil && !created:
			return err
		case created && d.book.Groups() >= device.GroupsMax:
			return command.Errorf(command.CodeConflict, "%d groups are kept, and no more", device.GroupsMax)
		case !created && before.Selector == g.Selector:
			out = before
			return nil
		}
		out = device.Group{Name: g.Name, Selector: g.Selector, Version: before.Version, CreatedAt: before.CreatedAt, ChangedAt: d.now(), ChangedBy: by}
		if created {
			out.CreatedAt = out.ChangedAt
		}
		if err := tx.PutGroup(&out); err != nil {
			return err
		}
		if err := logChange(tx, command.EventGroupPut, out.ChangedAt, by, map[string]any{"group": out.Name, "selector": out.Selector}); err != nil {
			return err
		}
		return d.tellGaps(ctx, tx, by, func(b *access.Book) error { return b.PutGroup(out) })
	}, func() error { return d.book.PutGroup(out) })
	return out, created, err
}

// RemoveGroup forgets a group. Commands that were issued to it keep their
// devices. What a user may is not narrowed by the way, nor what needs approval:
// while a grant or the rule of a type names the group, it stays.
func (d *Dispatcher) RemoveGroup(ctx context.Context, name string, ifVersion int64, by string) error {
	return d.amend(ctx, func(tx ledger.Tx) error {
		if _, err := currentGroup(tx, name, ifVersion); err != nil {
			return err
		}
		if ids := d.book.Granted(name); len(ids) > 0 {
			return command.Errorf(command.CodeConflict, "%d users are limited to the group, %q first: change what they may, then remove it", len(ids), ids[0])
		}
		if t, err := d.asking(ctx, name); err != nil {
			return err
		} else if t != "" {
			return command.Errorf(command.CodeConflict, "the type %q asks for approval of what is done to the group: change its rule, then remove it", t)
		}
		if err := tx.RemoveGroup(name); err != nil {
			return err
		}
		return logChange(tx, command.EventGroupRemoved, d.now(), by, map[string]any{"group": name})
	}, func() error { d.book.RemoveGroup(name); return nil })
}

// currentGroup is a group of the version that is wished for.
func currentGroup(tx ledger.Tx, name string, version int64) (device.Group, error) {
	g, err := tx.Group(name)
	if version != 0 && (err == nil && g.Version != version || err != nil && command.CodeOf(err) == command.CodeNotFound) {
		err = command.Errorf(command.CodePrecondition, "the group is not of version %d", version)
	}
	return g, err
}

func checkGroup(g device.Group) error {
	var faults []command.Field
	if what := command.CheckTypeName(g.Name); what != "" { // all names obey one rule
		faults = append(faults, command.Field{Pointer: "/name", Detail: what})
	}
	if _, err := device.ParseSelector(g.Selector); err != nil {
		faults = append(faults, command.Field{Pointer: "/selector", Detail: err.Error()})
	}
	if len(faults) > 0 {
		return &command.Error{Code: command.CodeInvalid, Msg: "the group cannot be as it is", Fields: faults}
	}
	return nil
}
