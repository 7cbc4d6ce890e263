package dispatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"behest/command"
	"behest/device"
)

// accept holds an intent against its type and the limits, and names every
// fault. It answers with the type, and what the wire will carry.
func (d *Dispatcher) accept(ctx context.Context, in *command.Intent) (*command.Command, error) {
	t, err := d.typeFor(ctx, in.Type)
	var faults []command.Field
	if e, ok := errors.AsType[*command.Error](err); ok && len(e.Fields) > 0 {
		faults, err = e.Fields, nil // together with the others
	}
	if err != nil {
		return nil, err
	}
	fault := func(pointer, format string, args ...any) {
		faults = append(faults, command.Field{Pointer: pointer, Detail: fmt.Sprintf(format, args...)})
	}
	clocks, wrong := t.ClocksFor(d.clocks, *in)
	faults = append(faults, wrong...)
	var item []byte
	if in.Params != nil || t.Params != nil {
		if item, wrong, err = d.schemas.Params(t, in.Params); err != nil {
			return nil, err
		}
		faults = append(faults, wrong...)
	}
	checkTargets(fault, &in.Targets)
	checkLabels(fault, in.Labels)
	if len(in.Reason) > command.ReasonBytesMax {
		fault("/reason", "is over %d bytes", command.ReasonBytesMax)
	}
	if in.NotBefore.After(time.Now().Add(d.clocks.HoldWithin)) {
		fault("/not_before", "is further away than a command is held, %s", d.clocks.HoldWithin)
	}
	if len(faults) > 0 {
		return nil, &command.Error{Code: command.CodeInvalid, Msg: "the command cannot be accepted as it is", Fields: faults}
	}
	return &command.Command{
		Type: t.Name, TypeVersion: t.Version, Policy: t.Policy, Clocks: clocks, Params: item,
		Targets: in.Targets, NotBefore: in.NotBefore, Labels: in.Labels, Reason: in.Reason, RequestedBy: in.RequestedBy,
	}, nil
}

type faultFunc func(pointer, format string, args ...any)

// checkTargets checks the targets, and drops repeated names.
func checkTargets(fault faultFunc, t *command.Targets) {
	if len(t.Groups) > 0 || t.Selector != "" || t.All {
		fault("/targets", "groups, selectors and all are not served yet: name the devices")
	}
	t.Devices = slices.Compact(slices.Sorted(slices.Values(t.Devices))) // a copy: the caller's stays as it is
	switch {
	case len(t.Devices) == 0:
		fault("/targets/devices", "name at least one device")
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
