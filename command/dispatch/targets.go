package dispatch

import (
	"cmp"
	"context"
	"fmt"
	"slices"

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
				dev, err := tx.DeviceNamed(name)
				if err != nil && command.CodeOf(err) == command.CodeNotFound {
					if !d.accepts(in) {
						return unknown(name)
					}
					dev = device.Device{Name: name, CreatedAt: d.now()}
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
			return command.Errorf(command.CodeForbidden, "%q may not act as %s on device %q", user, role, dev.Name)
		}
	}
	return nil
}

// mayAll refuses a user who may not act as operator on all devices of a command
// on many: on those that it has reached, and on those that wait.
func (d *Dispatcher) mayAll(ctx context.Context, c *command.Command, user string) error {
	check := func(dev device.Device) error { return d.entitled(user, operator, dev) }
	return d.store.Held(ctx, c.N, check)
}

// may reports whether a user may act in a role on a device. What the server
// does by itself it may, and where nobody keeps a book everybody may.
func (d *Dispatcher) may(user, role string, dev device.Device) bool {
	return user == "" || d.people == nil || d.people.May(user, role, dev.Labels)
}

// The roles that use cases ask for.
const (
	operator = "operator"
	approver = command.ApproverRole
)
