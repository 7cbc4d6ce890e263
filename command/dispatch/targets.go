package dispatch

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// named reports whether targets are a few names: those are looked up in the
// commit that accepts them, and need no resolving ahead of it.
func named(t command.Targets) bool {
	return len(t.Devices) <= groupTargets && len(t.Groups) == 0 && t.Selector == "" && !t.All
}

// resolve finds the devices that targets come to: those that are named, made
// known if they may be, and those that a selector picks. Each is there once,
// in the order of names.
func (d *Dispatcher) resolve(ctx context.Context, in command.Intent) ([]device.Device, error) {
	all, err := d.resolveNames(ctx, in)
	if err != nil {
		return nil, err
	}
	picks, err := d.selectors(ctx, in.Targets)
	if err != nil {
		return nil, err
	}
	if len(picks) > 0 || in.Targets.All {
		err = d.store.Pick(ctx, func(dev device.Device) error {
			if in.Targets.All || slices.ContainsFunc(picks, func(s device.Selector) bool { return s.Matches(dev.Labels) }) {
				all = append(all, dev)
			}
			if len(all) > command.DevicesMax {
				return command.Errorf(command.CodeInvalid, "the targets come to over %d devices", command.DevicesMax)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return merged(all, nil), nil
}

// merged is each device of two lists once, in the order of names.
func merged(a, b []device.Device) []device.Device {
	all := append(a, b...)
	slices.SortFunc(all, func(a, b device.Device) int { return cmp.Compare(a.Name, b.Name) })
	return slices.CompactFunc(all, func(a, b device.Device) bool { return a.Name == b.Name })
}

// selectors are those that targets name and mean.
func (d *Dispatcher) selectors(ctx context.Context, t command.Targets) ([]device.Selector, error) {
	var picks []device.Selector
	var faults []command.Field
	add := func(pointer, text string) {
		s, err := device.ParseSelector(text)
		if err != nil {
			faults = append(faults, command.Field{Pointer: pointer, Detail: err.Error()})
		}
		picks = append(picks, s)
	}
	if t.Selector != "" {
		add("/targets/selector", t.Selector)
	}
	if len(t.Groups) > 0 {
		groups, err := d.store.Groups(ctx)
		if err != nil {
			return nil, err
		}
		for i, name := range t.Groups {
			pointer := fmt.Sprintf("/targets/groups/%d", i)
			at := slices.IndexFunc(groups, func(g device.Group) bool { return g.Name == name })
			if at < 0 {
				faults = append(faults, command.Field{Pointer: pointer, Detail: fmt.Sprintf("no group is called %.64q", name)})
				continue
			}
			add(pointer, groups[at].Selector)
		}
	}
	if len(faults) > 0 {
		return nil, &command.Error{Code: command.CodeInvalid, Msg: "the command cannot be accepted as it is", Fields: faults}
	}
	return picks, nil
}

// resolveNames finds the devices that are named, and makes those known that
// may be among the targets without being so.
func (d *Dispatcher) resolveNames(ctx context.Context, in command.Intent) ([]device.Device, error) {
	all := make([]device.Device, 0, len(in.Targets.Devices))
	for names := range slices.Chunk(in.Targets.Devices, groupMax) {
		var found []device.Device
		err := d.store.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
			found = found[:0]
			for _, name := range names {
				dev, err := d.wanted(tx, in, name, d.now())
				if err == nil && dev.Handle == 0 {
					err = tx.AddDevice(&dev)
				}
				if err != nil {
					return err
				}
				found = append(found, dev)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// entitled refuses a user who may not act in a role on one of the devices.
func (d *Dispatcher) entitled(user, role string, devices ...device.Device) error {
	for _, dev := range devices {
		if !d.may(user, role, dev) {
			return d.forbidden(user, dev, role)
		}
	}
	return nil
}

// forbidden is the refusal of what a user may do in none of the roles. It names
// the device if he sees it: a selector may have come to others.
func (d *Dispatcher) forbidden(user string, dev device.Device, roles ...string) error {
	on := "one of the devices"
	if d.may(user, viewer, dev) {
		on = fmt.Sprintf("device %q", dev.Name)
	}
	return command.Errorf(command.CodeForbidden, "%q may not act as %s on %s", user, strings.Join(roles, " or "), on)
}

// mayAll refuses a user who may act in none of the roles on one of a command's
// devices, or of those that are named: where it went, and where it waits. A
// device goes from the latter to the former, so those that wait come first.
func (d *Dispatcher) mayAll(ctx context.Context, c *command.Command, names []string, user string, roles ...string) error {
	if user == "" || d.people == nil || slices.ContainsFunc(roles, func(role string) bool { return d.people.MayAll(user, role) }) {
		return nil
	}
	check := func(dev device.Device) error {
		if len(names) > 0 && !slices.Contains(names, dev.Name) || d.mayAny(user, dev, roles...) {
			return nil
		}
		return d.forbidden(user, dev, roles...)
	}
	if err := d.store.Held(ctx, c.N, check); err != nil {
		return err
	}
	return d.reached(ctx, c, check)
}

// reached visits the devices that a command has an execution on, with their
// labels as they are now.
func (d *Dispatcher) reached(ctx context.Context, c *command.Command, visit func(device.Device) error) error {
	for after, more := int64(0), true; more; {
		xs, left, err := d.store.Executions(ctx, c.ID, "", after, groupMax)
		if err != nil {
			return err
		}
		more = left && len(xs) > 0
		err = d.store.Update(ctx, ledger.Issues, func(tx ledger.Tx) error {
			for _, x := range xs {
				after = x.N
				dev, err := tx.Device(x.Device)
				if err == nil {
					err = visit(dev)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// mayTo refuses a user who may act in none of the roles on a device. A device
// that he does not even see is not there for him.
func (d *Dispatcher) mayTo(user string, dev device.Device, roles ...string) error {
	switch {
	case d.mayAny(user, dev, roles...):
		return nil
	case d.may(user, viewer, dev):
		return d.forbidden(user, dev, roles...)
	}
	return command.Errorf(command.CodeNotFound, "no device is called %q", dev.Name)
}

func (d *Dispatcher) mayAny(user string, dev device.Device, roles ...string) bool {
	return slices.ContainsFunc(roles, func(role string) bool { return d.may(user, role, dev) })
}

// may reports whether a user may act in a role on a device. What the server
// does by itself it may, and where nobody keeps a book everybody may.
func (d *Dispatcher) may(user, role string, dev device.Device) bool {
	return user == "" || d.people == nil || d.people.May(user, role, dev.Labels)
}

// The roles that use cases ask for.
const (
	viewer   = "viewer"
	operator = "operator"
	admin    = "admin"
	approver = command.ApproverRole
)
