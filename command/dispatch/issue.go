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
	issued, errs, err := d.issueAll(ctx, []command.Intent{in}, nil)
	if err != nil {
		return command.Issued{}, err
	}
	return issued[0], errs[0]
}

// IssueBatch accepts many intents in one commit. Each is answered by itself:
// with a command, or with its refusal in errs. err is for what went wrong with
// all of them.
func (d *Dispatcher) IssueBatch(ctx context.Context, ins []command.Intent) (issued []command.Issued, errs []error, err error) {
	if len(ins) > command.BatchMax {
		return nil, nil, command.Errorf(command.CodeInvalid, "%d commands in one batch; at most %d are allowed", len(ins), command.BatchMax)
	}
	return d.issueAll(ctx, ins, nil)
}

// IssueOnce is IssueBatch for a request that may come again: the answer that
// render makes is kept in the same commit, and whoever asks the same again
// gets it, and nothing is done. Another request under the same key is a
// conflict. A request of which nothing was accepted is not kept: it may be
// mended and tried again.
func (d *Dispatcher) IssueOnce(ctx context.Context, once command.Claim, ins []command.Intent, render func([]command.Issued, []error) []byte) (body []byte, again bool, err error) {
	if len(ins) > command.BatchMax {
		return nil, false, command.Errorf(command.CodeInvalid, "%d commands in one batch; at most %d are allowed", len(ins), command.BatchMax)
	}
	k := &keeper{once: once, render: render}
	issued, errs, err := d.issueAll(ctx, ins, k)
	if err != nil {
		return nil, false, err
	}
	if k.body == nil {
		k.body = render(issued, errs)
	}
	return k.body, k.again, nil
}

// keeper keeps the answer to a request that bears a key.
type keeper struct {
	once   command.Claim
	render func([]command.Issued, []error) []byte
	body   []byte
	again  bool // it had been answered before
}

// find looks for an answer that was given before.
func (k *keeper) find(tx ledger.Tx) error {
	k.body, k.again = nil, false
	a, err := tx.Answer(k.once.Key)
	switch {
	case err != nil && command.CodeOf(err) == command.CodeNotFound:
		return nil
	case err != nil:
		return err
	case a.Request != k.once.Request:
		return command.Errorf(command.CodeConflict, "the idempotency key was used for another request")
	}
	k.body, k.again = a.Body, true
	return nil
}

// keep keeps the answer, if anything was accepted.
func (k *keeper) keep(tx ledger.Tx, now time.Time, issued []command.Issued, errs []error) error {
	if !slices.ContainsFunc(errs, func(err error) bool { return err == nil }) {
		return nil
	}
	k.body = k.render(issued, errs)
	return tx.KeepAnswer(k.once.Key, ledger.Answer{Request: k.once.Request, At: now, Body: k.body})
}

// issueAll makes commands of intents in one commit.
func (d *Dispatcher) issueAll(ctx context.Context, ins []command.Intent, k *keeper) ([]command.Issued, []error, error) {
	issues, errs := make([]*issue, len(ins)), make([]error, len(ins))
	for n, in := range ins {
		issues[n], errs[n] = d.prepare(ctx, in)
	}
	return d.commitIssues(ctx, issues, errs, k)
}

// commitIssues issues what was prepared, in one commit. What is refused is
// refused before anything of it is written; what was refused before has its
// error in errs.
func (d *Dispatcher) commitIssues(ctx context.Context, issues []*issue, errs []error, k *keeper) ([]command.Issued, []error, error) {
	refused := slices.Clone(errs)
	answers := make([]command.Issued, len(issues))
	err := d.store.Update(context.WithoutCancel(ctx), ledger.Issues, func(tx ledger.Tx) error {
		if k != nil {
			if err := k.find(tx); err != nil || k.again {
				return err
			}
		}
		now := d.now()
		for n, i := range issues {
			if refused[n] != nil {
				continue
			}
			if errs[n] = i.begin(tx, now); errs[n] != nil {
				if command.CodeOf(errs[n]) == command.CodeInternal {
					return errs[n]
				}
				continue
			}
			if err := i.write(); err != nil {
				return err
			}
			answers[n] = i.issued()
		}
		if k != nil {
			return k.keep(tx, now, answers, errs)
		}
		return nil
	})
	if err != nil {
		return nil, nil, d.failed(err)
	}
	if k != nil && k.again {
		return nil, nil, nil
	}
	for n, i := range issues {
		if errs[n] == nil {
			i.tell()
		}
	}
	return answers, errs, nil
}

// groupTargets is how many devices a command may have that is written in one
// go: some milliseconds of the writer, which nobody minds to wait for.
const groupTargets = 64

// writeTargets is how many executions of a larger one are written at a time,
// and how many a gate lets through. A single command that comes meanwhile waits
// for that, so its delay is weighed here against the cost of a commit: see
// docs/bench.md.
const writeTargets = 16

// issue is the unit of work that makes a command of an intent.
type issue struct {
	d        *Dispatcher
	in       command.Intent
	intent   command.Command // without its time
	rollback *rollback       // what it undoes; nil: nothing

	own map[string][]byte // params of its own for each device; nil: all have the command's

	names   []string // of the devices, if they are few and have no gate
	handles []int64  // of the devices, if they are not

	// Set afresh each time that the unit of work runs.
	tx      ledger.Tx
	now     time.Time
	command *command.Command
	visits  []*visit // a device each, those that have room
	full    []int64  // the handles of the others
	refused []command.Refusal
	xs      []command.Execution
}

// prepare checks an intent, and does what takes time ahead of the commit.
func (d *Dispatcher) prepare(ctx context.Context, in command.Intent) (*issue, error) {
	c, t, err := d.accept(ctx, &in)
	if err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make a command id: %w", err)
	}
	c.ID = command.ID(id)
	i := &issue{d: d, in: in, intent: *c}
	if named(in.Targets) && t.Approval == nil && c.Rollout == nil && c.Automatic == nil { // nothing to put a gate before
		return i, i.aimAt(in.Targets.Devices)
	}
	devices, err := d.resolve(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := d.entitled(in.RequestedBy, operator, devices...); err != nil {
		return nil, err
	}
	if d.asksApproval(t, in, devices) {
		i.intent.Approval = d.demand(t)
	}
	return i, i.aim(devices)
}

// aim gives a command its devices.
func (i *issue) aim(devices []device.Device) error {
	names, handles := make([]string, len(devices)), make([]int64, len(devices))
	for k, dev := range devices {
		names[k], handles[k] = dev.Name, dev.Handle
	}
	if err := i.aimAt(names); err != nil {
		return err
	}
	if i.intent.Gated() || len(handles) > groupTargets {
		i.names, i.handles = nil, handles
	}
	return nil
}

// aimAt gives a command devices by their names.
func (i *issue) aimAt(names []string) error {
	n, want := len(names), i.in.ExpectTargets
	switch {
	case n == 0:
		return command.Errorf(command.CodeConflict, "the targets come to no device")
	case want != nil && *want != n:
		return command.Errorf(command.CodeConflict, "the targets come to %d devices, not to the %d that were expected", n, *want)
	}
	i.names, i.intent.Devices = names, n
	if n > 1 {
		targets := command.Named(names...)
		for k := range targets {
			targets[k].Params = i.own[targets[k].Device]
		}
		i.intent.Resolved = command.DigestTargets(targets)
	}
	return nil
}

// begin finds the devices, and refuses what has to be refused. It writes
// nothing.
func (i *issue) begin(tx ledger.Tx, now time.Time) error {
	i.tx, i.now, i.visits, i.full, i.refused, i.xs = tx, now, nil, nil, nil, nil
	if i.rollback != nil {
		if err := i.rollback.begin(tx); err != nil {
			return err
		}
	}
	for _, name := range i.names {
		if err := i.target(name); err != nil {
			return err
		}
	}
	if len(i.names) > 0 && len(i.visits) == 0 {
		return full(i.refused)
	}
	return nil
}

// target finds a device and sees whether it has room.
func (i *issue) target(name string) error {
	dev, err := i.d.wanted(i.tx, i.in, name, i.now) // a new one is stored with the command
	if err != nil {
		return err
	}
	if err := i.d.entitled(i.in.RequestedBy, operator, dev); err != nil {
		return err
	}
	var open []command.Execution
	if dev.Handle != 0 {
		if open, err = i.tx.Open(dev.Handle); err != nil {
			return err
		}
		if !command.Room(open, &i.intent) {
			i.full = append(i.full, dev.Handle)
			i.refused = append(i.refused, command.Refusal{Device: name, Code: command.CodeDeviceFull})
			return nil
		}
	}
	i.visits = append(i.visits, &visit{d: i.d, tx: i.tx, now: i.now, dev: dev, open: slices.Grow(open, 1)})
	return nil
}

// accepts reports whether an intent may name devices that nobody knows.
func (d *Dispatcher) accepts(in command.Intent) bool { return in.AllowUnregistered || d.dev }

// wanted finds a device that an intent names. One that was removed is as unknown
// as one that never was. Without a handle, it is yet to be made known.
func (d *Dispatcher) wanted(tx ledger.Tx, in command.Intent, name string, now time.Time) (device.Device, error) {
	dev, err := tx.DeviceNamed(name)
	missing := err != nil && command.CodeOf(err) == command.CodeNotFound
	switch {
	case err != nil && !missing:
		return device.Device{}, err
	case (missing || !dev.RemovedAt.IsZero()) && !d.accepts(in):
		return device.Device{}, unknown(name)
	case missing:
		return device.New(name, now, tx.Base()), nil
	}
	return dev, nil
}

func unknown(name string) error {
	return &command.Error{
		Code: command.CodeUnknownDevice, Msg: fmt.Sprintf("no device is called %q", name),
		Fields: []command.Field{{Pointer: "/targets/devices", Detail: fmt.Sprintf("%q is not known; allow_unregistered would accept it", name)}},
	}
}

// write writes the command, and gives its devices their turn.
func (i *issue) write() error {
	for _, v := range i.visits {
		if v.dev.Handle == 0 {
			if err := i.tx.AddDevice(&v.dev); err != nil {
				return err
			}
		}
	}
	i.build()
	for k := range i.xs {
		i.d.seals.put(&i.xs[k])
	}
	if err := i.tx.AddCommand(i.command, i.xs); err != nil {
		return err
	}
	for _, h := range i.full {
		if err := i.tx.AddRefused(i.command.N, h, command.CodeDeviceFull); err != nil {
			return err
		}
	}
	if i.handles != nil {
		if err := i.tx.AddPending(i.command.N, slices.Collect(slices.Chunk(i.handles, groupTargets))); err != nil {
			return err
		}
		if err := i.writeOwn(); err != nil {
			return err
		}
	}
	if i.command.Watched() {
		g := command.NewGate(i.command, i.now)
		if err := i.tx.AddGate(&g, i.now); err != nil {
			return err
		}
	}
	if err := i.log(); err != nil {
		return err
	}
	return giveTurns(i.visits, i.xs)
}

// writeOwn keeps what devices that are pending have for themselves.
func (i *issue) writeOwn() error {
	if i.own == nil {
		return nil
	}
	for _, dev := range i.rollback.devices {
		if err := i.tx.AddOwnParams(i.command.N, dev.Handle, i.own[dev.Name]); err != nil {
			return err
		}
	}
	return nil
}

// log logs what others should know of a new command.
func (i *issue) log() error {
	e := command.Event{Type: command.EventIssued, At: i.now, Actor: i.in.RequestedBy, CommandN: i.command.N}
	if i.command.Devices == 1 && len(i.visits) == 1 {
		e.Device = i.visits[0].dev.Handle
	}
	if err := i.tx.Log(e); err != nil {
		return err
	}
	if a := i.command.Approval; a != nil {
		e.Type, e.Data = command.EventApproval, fmt.Appendf(nil, `{"approvers":%d,"role":%q}`, a.Approvers, a.Role)
		if err := i.tx.Log(e); err != nil {
			return err
		}
	}
	if i.rollback != nil {
		e.Type, e.CommandN = command.EventRollback, i.rollback.original.Command.N
		e.Data = fmt.Appendf(nil, `{"rollback":%q}`, i.command.ID)
		return i.tx.Log(e)
	}
	return nil
}

// giveTurns gives each device its turn, after its execution was added.
func giveTurns(visits []*visit, xs []command.Execution) error {
	for k, v := range visits {
		if when, _ := xs[k].Deadline(); !when.IsZero() {
			v.next = when
		}
		if v.open != nil {
			v.open = append(v.open, xs[k])
		}
		if err := v.turn(); err != nil {
			return err
		}
	}
	return nil
}

// build makes the command and its executions.
func (i *issue) build() {
	c := new(command.Command)
	*c = i.intent
	c.CreatedAt = i.now
	i.command = c
	i.xs = make([]command.Execution, len(i.visits))
	for k, v := range i.visits {
		i.xs[k] = i.d.begun(command.Execution{Command: c, Device: v.dev.Handle, Name: v.dev.Name, Params: i.own[v.dev.Name]}, i.now)
	}
}

// begun is an execution as it begins: held, until somebody has approved it, or
// allowed.
func (d *Dispatcher) begun(x command.Execution, now time.Time) command.Execution {
	x.State = command.Scheduled
	if x.Command.Approval != nil {
		x.State = command.AwaitingApproval
		return x
	}
	return d.allow(x, now)
}

// allow is a scheduled execution as it goes on: queued, unless its time or its
// window is still to come. A rollback first looks at what it undoes.
func (d *Dispatcher) allow(x command.Execution, now time.Time) command.Execution {
	if x.Command.RollbackOf != (command.ID{}) {
		return x
	}
	x.DueAt = d.windows.opens(x.Command.Window(), later(now, x.Command.NotBefore))
	x, _ = x.Step(command.Trigger{Kind: command.Due}, now)
	return x
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// issued is what the caller is answered: the executions as their turn left
// them.
func (i *issue) issued() command.Issued {
	out := command.Issued{View: command.View{Command: i.command}, Refused: i.refused}
	out.Tally.Pending = len(i.handles)
	if i.command.Gated() {
		out.Gate = new(command.NewGate(i.command, i.now))
	}
	for k, v := range i.visits {
		x := i.xs[k]
		if at := slices.IndexFunc(v.released, func(r command.Execution) bool { return r.N == x.N }); at >= 0 {
			x = v.released[at]
		}
		out.Tally.Add(x)
		if i.command.Devices == 1 {
			out.Only = &x
		}
	}
	return out
}

// tell tells what was committed.
func (i *issue) tell() {
	for _, v := range i.visits {
		i.d.tell(v)
	}
	switch {
	case i.command.Watched():
		i.d.watched.add(i.command.N)
		i.d.gates.ring(i.now)
	case i.handles != nil:
		i.d.writeOut()
	}
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
