package dispatch

import (
	"fmt"
	"slices"
	"time"

	"behest/command"
	"behest/device"
)

// check holds an intent against the limits, and names every fault.
func (d *Dispatcher) check(in *command.Intent) error {
	var faults []command.Field
	fault := func(pointer, format string, args ...any) {
		faults = append(faults, command.Field{Pointer: pointer, Detail: fmt.Sprintf(format, args...)})
	}
	switch {
	case in.Type == "":
		fault("/type", "is missing")
	case len(in.Type) > command.TypeNameBytesMax:
		fault("/type", "is over %d bytes", command.TypeNameBytesMax)
	case !d.dev:
		fault("/type", "no command type %q is declared; undeclared types are allowed in development mode only", in.Type)
	}
	if len(in.Params) > command.ParamsBytesMax {
		fault("/params", "come to %d bytes of CBOR; at most %d are allowed", len(in.Params), command.ParamsBytesMax)
	}
	checkClock(fault, "/deliver_within_seconds", in.DeliverWithin)
	checkClock(fault, "/run_for_seconds", in.RunFor)
	checkTargets(fault, &in.Targets)
	checkLabels(fault, in.Labels)
	if len(in.Reason) > command.ReasonBytesMax {
		fault("/reason", "is over %d bytes", command.ReasonBytesMax)
	}
	if in.NotBefore.After(time.Now().Add(d.clocks.HoldWithin)) {
		fault("/not_before", "is further away than a command is held, %s", d.clocks.HoldWithin)
	}
	if len(faults) > 0 {
		return &command.Error{Code: command.CodeInvalid, Msg: "the command cannot be accepted as it is", Fields: faults}
	}
	return nil
}

type faultFunc func(pointer, format string, args ...any)

func checkClock(fault faultFunc, pointer string, d time.Duration) {
	if d != 0 && (d < command.ClockMin || d > command.ClockMax) {
		fault(pointer, "is not between %d and %d", command.ClockMin/time.Second, command.ClockMax/time.Second)
	}
}

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
