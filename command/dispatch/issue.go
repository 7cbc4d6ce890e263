package dispatch

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// retryFull is how long a device with a full queue should be left alone: the
// time in which a command usually ends.
const retryFull = 30 * time.Second

// Issue accepts an intent: when it answers, the command is on disk, and what
// could leave has been committed as sent. A command that no target could have
// is refused as a whole; of one over many devices, those without room are
// named in the answer.
func (d *Dispatcher) Issue(ctx context.Context, in command.Intent) (command.Issued, error) {
	if err := d.check(&in); err != nil {
		return command.Issued{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return command.Issued{}, fmt.Errorf("make a command id: %w", err)
	}
	var i *issue
	err = d.store.Update(context.WithoutCancel(ctx), ledger.Issues, func(tx ledger.Tx) error {
		i = &issue{d: d, tx: tx, now: clock(), in: in, id: command.ID(id)}
		return i.run()
	})
	if err != nil {
		return command.Issued{}, d.failed(err)
	}
	for _, v := range i.visits {
		d.tell(v)
	}
	return i.issued(), nil
}

// issue is the unit of work that makes a command of an intent.
type issue struct {
	d   *Dispatcher
	tx  ledger.Tx
	now time.Time
	in  command.Intent
	id  command.ID

	command *command.Command
	visits  []*visit // a device each, those that have room
	refused []command.Refusal
	xs      []command.Execution
}

func (i *issue) run() error {
	for _, name := range i.in.Targets.Devices {
		if err := i.target(name); err != nil {
			return err
		}
	}
	if len(i.visits) == 0 {
		return full(i.refused)
	}
	if n := i.in.ExpectTargets; n != nil && *n != len(i.in.Targets.Devices) {
		return command.Errorf(command.CodeConflict, "the targets come to %d devices, not to the %d that were expected", len(i.in.Targets.Devices), *n)
	}
	i.build()
	if err := i.tx.AddCommand(i.command, i.xs); err != nil {
		return err
	}
	created := command.Event{Type: command.EventIssued, At: i.now, Actor: i.in.RequestedBy, CommandN: i.command.N}
	if len(i.visits) == 1 {
		created.Device = i.visits[0].dev.Handle
	}
	if err := i.tx.Log(created); err != nil {
		return err
	}
	for k, v := range i.visits {
		if when, _ := i.xs[k].Deadline(); !when.IsZero() {
			v.next = when
		}
		if err := v.turn(); err != nil {
			return err
		}
	}
	return nil
}

// target finds a device and sees whether it has room.
func (i *issue) target(name string) error {
	dev, err := i.tx.DeviceNamed(name)
	if command.CodeOf(err) == command.CodeNotFound {
		if !i.in.AllowUnregistered && !i.d.dev {
			return &command.Error{Code: command.CodeUnknownDevice, Msg: fmt.Sprintf("no device is called %q", name),
				Fields: []command.Field{{Pointer: "/targets/devices", Detail: fmt.Sprintf("%q is not known; allow_unregistered would accept it", name)}}}
		}
		dev = device.Device{Name: name, CreatedAt: i.now}
		err = i.tx.AddDevice(&dev)
	}
	if err != nil {
		return err
	}
	open, err := i.tx.Open(dev.Handle)
	if err != nil {
		return err
	}
	if len(open) >= command.OpenMax {
		i.refused = append(i.refused, command.Refusal{Device: name, Code: command.CodeDeviceFull})
		return nil
	}
	i.visits = append(i.visits, &visit{d: i.d, tx: i.tx, now: i.now, dev: dev})
	return nil
}

// build makes the command and its executions.
func (i *issue) build() {
	c := &command.Command{
		ID: i.id, Type: i.in.Type, Params: i.in.Params, Clocks: i.d.clocks,
		Targets: i.in.Targets, Devices: len(i.visits), NotBefore: i.in.NotBefore,
		Labels: i.in.Labels, Reason: i.in.Reason, RequestedBy: i.in.RequestedBy, CreatedAt: i.now,
	}
	if i.in.DeliverWithin > 0 {
		c.Clocks.DeliverWithin = i.in.DeliverWithin
	}
	if i.in.RunFor > 0 {
		c.Clocks.RunFor = i.in.RunFor
	}
	i.command = c
	i.xs = make([]command.Execution, len(i.visits))
	for k, v := range i.visits {
		x := command.Execution{Command: c, Device: v.dev.Handle, Name: v.dev.Name, State: command.Scheduled}
		if !c.NotBefore.After(i.now) {
			x, _ = x.Step(command.Trigger{Kind: command.Due}, i.now)
		}
		i.xs[k] = x
	}
}

// issued is what the caller is answered: the executions as their turn left
// them.
func (i *issue) issued() command.Issued {
	out := command.Issued{View: command.View{Command: i.command}, Refused: i.refused}
	for k, v := range i.visits {
		x := i.xs[k]
		if at := slices.IndexFunc(v.released, func(r command.Execution) bool { return r.N == x.N }); at >= 0 {
			x = v.released[at]
		}
		out.Tally.Add(x)
		if len(i.visits) == 1 {
			out.Only = &x
		}
	}
	return out
}

// full is the refusal of a command whose every target is full.
func full(refused []command.Refusal) error {
	e := command.Errorf(command.CodeDeviceFull, "%d commands are open on the device, and it takes no more", command.OpenMax)
	if len(refused) > 1 {
		e.Msg = fmt.Sprintf("each of the %d devices has %d open commands, and takes no more", len(refused), command.OpenMax)
	}
	e.RetryAfter = retryFull
	return e
}

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
