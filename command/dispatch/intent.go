package dispatch

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"behest/command"
	"behest/device"
)

// accept holds an intent against its type and the limits, and names every
// fault. It answers with what the command will be, without its devices, and
// with its type.
func (d *Dispatcher) accept(ctx context.Context, in *command.Intent) (*command.Command, command.Type, error) {
	t, err := d.typeFor(ctx, in.Type)
	var faults []command.Field
	if e, ok := errors.AsType[*command.Error](err); ok && len(e.Fields) > 0 {
		faults, err = e.Fields, nil // together with the others
	}
	if err != nil {
		return nil, t, err
	}
	fault := func(pointer, format string, args ...any) {
		faults = append(faults, command.Field{Pointer: pointer, Detail: fmt.Sprintf(format, args...)})
	}
	clocks, wrong := t.ClocksFor(d.clocks, *in)
	faults = append(faults, wrong...)
	var item []byte
	if in.Params != nil || t.Params != nil {
		if item, wrong, err = d.schemas.Params(t, in.Params); err != nil {
			return nil, t, err
		}
		faults = append(faults, wrong...)
	}
	checkTargets(fault, &in.Targets)
	checkLabels(fault, in.Labels)
	if len(in.Reason) > command.ReasonBytesMax {
		fault("/reason", "is over %d bytes", command.ReasonBytesMax)
	}
	if in.NotBefore.After(d.now().Add(clocks.HoldWithin)) {
		fault("/not_before", "is further away than a command is held, %s", clocks.HoldWithin)
	}
	d.checkRollout(fault, in.Rollout, t)
	if len(faults) > 0 {
		return nil, t, &command.Error{Code: command.CodeInvalid, Msg: "the command cannot be accepted as it is", Fields: faults}
	}
	c := &command.Command{
		Type: t.Name, TypeVersion: t.Version, Policy: t.Policy, Clocks: clocks, Params: item,
		Targets: in.Targets, NotBefore: in.NotBefore, Labels: in.Labels, Reason: in.Reason, RequestedBy: in.RequestedBy,
		Rollout: in.Rollout, Slot: t.SlotOf(in.Params),
	}
	if t.Rollback != nil {
		c.Automatic = t.Rollback.Automatic
	}
	return c, t, nil
}

// checkRollout checks a rollout of a command of type t.
func (d *Dispatcher) checkRollout(fault faultFunc, r *command.Rollout, t command.Type) {
	if r == nil {
		return
	}
	r.Check(fault)
	if pointer, what := checkWindow(r.Window, d.now()); what != "" {
		fault(pointer, "%s", what)
	}
	if r.RollbackOnHalt && !t.Rollback.Reversible() {
		fault("/rollout/rollback_on_halt", "commands of type %q are irreversible", t.Name)
	}
}

// asksApproval reports whether the rule of a type asks for an approval of
// what is wanted of these devices.
func (d *Dispatcher) asksApproval(t command.Type, in command.Intent, devices []device.Device) bool {
	return t.Approval.Asks(in.Params, func(group string) bool {
		return d.members != nil && slices.ContainsFunc(devices, func(dev device.Device) bool { return d.members(group, dev.Labels) })
	})
}

// demand is what the rule of a type asks of one command.
func (d *Dispatcher) demand(t command.Type) *command.Demand {
	role := t.Approval.Role
	if role == "" {
		role = approver
	}
	return &command.Demand{Approvers: t.Approval.Approvers, Role: role, Solo: d.solo}
}

type faultFunc func(pointer, format string, args ...any)

// checkTargets checks the targets, and drops repeated names.
func checkTargets(fault faultFunc, t *command.Targets) {
	t.Devices = slices.Compact(slices.Sorted(slices.Values(t.Devices))) // a copy: the caller's stays as it is
	switch {
	case len(t.Devices) == 0 && len(t.Groups) == 0 && t.Selector == "" && !t.All:
		fault("/targets", "name devices, groups or a selector, or say all")
	case len(t.Groups) > command.TargetGroupsMax:
		fault("/targets/groups", "are %d; at most %d are allowed in one command", len(t.Groups), command.TargetGroupsMax)
	case len(t.Devices) > command.TargetsMax:
		fault("/targets/devices", "are %d; at most %d are allowed in one command", len(t.Devices), command.TargetsMax)
	}
	for _, name := range t.Devices {
		if what := device.CheckName(name); what != "" {
			fault("/targets/devices", "%.64q: %s", name, what)
		}
	}
}

func checkLabels(fault faultFunc, labels map[string]string) {
	if len(labels) > command.LabelsMax {
		fault("/labels", "are %d; at most %d are allowed", len(labels), command.LabelsMax)
	}
	for k, v := range labels {
		if k == "" || len(k) > command.LabelBytesMax || len(v) > command.LabelBytesMax {
			fault("/labels", "%.64q: a key has 1 to %d bytes, a value at most %d", k, command.LabelBytesMax, command.LabelBytesMax)
		}
	}
}
