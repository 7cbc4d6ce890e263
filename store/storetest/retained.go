package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// keeper holds what retention leaves against a model that asks everything of
// everything.
type keeper struct {
	*machine
	answers map[[32]byte]*kept
}

// kept is an answer of the model.
type kept struct {
	at time.Time
	of *command.Command
}

func retainModel(t *testing.T, e Engine) {
	var went ledger.Removed
	histories, passes := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		if histories++; histories > historiesMax {
			return
		}
		m := &machine{r: start(t, e), t: rt, now: epoch, model: newModel()}
		m.shape = func(c *command.Command) { c.Clocks.SettleFor = 20 * time.Minute }
		m.r.t = failOnly{t, rt}
		k := &keeper{machine: m, answers: make(map[[32]byte]*kept)}
		for range 3 {
			m.addDevice(rt)
		}
		retain := func(*rapid.T) { passes++; went.Add(k.retain()) }
		for range 2 {
			rt.Repeat(map[string]func(*rapid.T){
				"add a device": m.addDevice, "remove a device": k.removeDevice,
				"issue": m.issue, "issue more": m.issue, "and more": m.issue, "issue to many": m.issueMany,
				"hold": k.hold, "let through": k.letThrough, "decide": k.decide, "ask with a key": k.ask,
				"step": m.step, "finish": k.finish, "finish some": k.finishSome, "wait": k.wait,
				"retain": retain, "restart": m.restart,
			})
			k.wait(rt)
			k.finishSome(rt)
			k.wait(rt)
			retain(rt)
		}
	})
	t.Logf("%d passes in %d histories; %+v went", passes, min(histories, historiesMax), went)
	if went.Commands == 0 || went.Executions <= went.Commands || went.Events == 0 || went.Answers == 0 || went.Reports == 0 {
		t.Errorf("the histories do not show enough: %+v went", went)
	}
}

func newModel() model {
	return model{
		devices: make(map[string]device.Device), said: make(map[int64][]command.PastReport), types: make(map[string][]command.Type),
		gates: make(map[int64]*command.Gate), decided: make(map[int64][]command.Decision),
	}
}

func (k *keeper) removeDevice(*rapid.T) {
	d := k.known()
	d.RemovedAt = k.now
	k.write(func(tx ledger.Tx) error {
		err := tx.SaveDevice(&d)
		k.model.devices[d.Name] = d
		return err
	})
}

// hold adds a command whose devices all wait behind a gate.
func (k *keeper) hold(*rapid.T) {
	if len(k.model.devices) < 2 {
		k.t.Skip("too few devices")
	}
	var names []string
	for name := range k.model.devices {
		names = append(names, name)
	}
	slices.Sort(names)
	k.model.issued++
	c := staged(k.model.issued, names...)
	k.shape(c)
	if rapid.Bool().Draw(k.t, "asks") {
		c.Approval = &command.Demand{Approvers: 1, Role: command.ApproverRole}
	}
	k.write(func(tx ledger.Tx) error {
		c.CreatedAt = k.now
		g, err := hold(tx, c, time.Time{})
		if err != nil {
			return err
		}
		k.model.commands = append(k.model.commands, c)
		k.model.gates[c.N] = &g
		return k.log(tx, command.Event{Type: command.EventIssued, CommandN: c.N, Actor: c.RequestedBy})
	})
}

// gated is a command of the model that has a gate.
func (k *keeper) gated() *command.Command {
	for _, c := range k.model.commands {
		if k.model.gates[c.N] != nil {
			return c
		}
	}
	k.t.Skip("no gate")
	return nil
}

// letThrough writes out what a gate held, which is done then.
func (k *keeper) letThrough(*rapid.T) {
	c := k.gated()
	k.write(func(tx ledger.Tx) error {
		handles, err := tx.TakePending(c.N, command.TargetsMax)
		if err != nil {
			return err
		}
		var xs []command.Execution
		for _, d := range k.model.devices {
			if slices.Contains(handles, d.Handle) {
				x := command.Execution{Command: c, Device: d.Handle, Name: d.Name, State: command.Scheduled}
				x, _ = x.Step(command.Trigger{Kind: command.Due}, k.now)
				xs = append(xs, x)
			}
		}
		if err := tx.AddExecutions(c, xs); err != nil {
			return err
		}
		lean := *c
		lean.Targets = command.Targets{}
		for i := range xs {
			xs[i].Command = &lean
		}
		k.model.xs = append(k.model.xs, xs...)
		g := *k.model.gates[c.N]
		g.State = command.GateDone
		delete(k.model.gates, c.N)
		return tx.SaveGate(&g, time.Time{})
	})
}

// decide has somebody say something of a command that asks for it.
func (k *keeper) decide(*rapid.T) {
	c := k.gated()
	if c.Approval == nil {
		k.t.Skip("it asks nobody")
	}
	d := command.Decision{User: fmt.Sprint("user ", len(k.model.decided[c.N])), Approve: true, At: k.now}
	k.write(func(tx ledger.Tx) error {
		k.model.decided[c.N] = append(k.model.decided[c.N], d)
		return tx.AddDecision(c.N, d)
	})
}

// ask issues a command under a key, up to two days ago.
func (k *keeper) ask(*rapid.T) {
	key := [32]byte{byte(k.model.issued), byte(k.model.issued >> 8), 1}
	ago := time.Duration(rapid.IntRange(0, 48).Draw(k.t, "hours")) * time.Hour
	name := k.known().Name
	k.model.issued++
	c := aCommand(k.model.issued, name)
	k.shape(c)
	k.write(func(tx ledger.Tx) error {
		c.CreatedAt = k.now
		xs, err := issue(tx, c)
		if err != nil {
			return err
		}
		k.model.commands, k.model.xs = append(k.model.commands, c), append(k.model.xs, xs...)
		k.answers[key] = &kept{at: k.now.Add(-ago), of: c}
		return tx.KeepAnswer(key, ledger.Answer{At: k.now.Add(-ago), Body: []byte("{}")})
	})
}

// finish ends an execution that is open, as its device would or nobody.
func (k *keeper) finish(*rapid.T) { k.end(k.any()) }

func (k *keeper) finishSome(*rapid.T) {
	for i := range k.model.xs {
		if rapid.IntRange(0, 3).Draw(k.t, "stays open") > 0 {
			k.end(&k.model.xs[i])
		}
	}
}

func (k *keeper) end(x *command.Execution) {
	ways := []command.Trigger{
		command.Reported(command.Report{Status: command.StatusSuccess}, x.State), command.Reported(command.Report{Status: command.StatusSuccess}, x.State),
		command.Reported(command.Report{Status: command.StatusFailure}, x.State), command.Reported(command.Report{Status: command.StatusRejected}, x.State),
		{Kind: command.Withdraw, Cause: command.DeviceRemoved}, {Kind: command.SettleLapse},
	}
	way := rapid.SampledFrom(ways).Draw(k.t, "how")
	talks := rapid.IntRange(0, 2).Draw(k.t, "talks")
	k.write(func(tx ledger.Tx) error {
		next, d := *x, k.model.devices[x.Name]
		move := func(t command.Trigger) error {
			before := next
			next, _ = next.Step(t, k.now)
			if next.ReportedAt.Equal(before.ReportedAt) || before.ReportedAt.IsZero() {
				return nil
			}
			past := command.PastReport{At: before.ReportedAt, Report: before.Last}
			k.model.said[x.N] = append(k.model.said[x.N], past)
			return tx.AddReport(x.N, past)
		}
		if next.State == command.Queued {
			_ = move(k.trigger(command.Release, &d)) // no report
		}
		for range talks {
			if err := move(command.Reported(command.Report{Status: command.StatusRunning}, next.State)); err != nil {
				return err
			}
			k.now = k.now.Add(time.Second)
		}
		if err := move(way); err != nil {
			return err
		}
		if err := errors.Join(tx.SaveDevice(&d), tx.Save(&next)); err != nil {
			return err
		}
		k.model.devices[d.Name], *x = d, next
		return k.log(tx, command.Event{Type: command.EventOf(next.State), CommandN: x.Command.N, Device: x.Device})
	})
}

// wait lets time go by.
func (k *keeper) wait(*rapid.T) {
	k.now = k.now.Add(time.Duration(rapid.IntRange(1, 300).Draw(k.t, "minutes")) * time.Minute)
}

// retain removes what the model says may go, and no more.
func (k *keeper) retain() (want ledger.Removed) {
	keep := rapid.SampledFrom([]time.Duration{time.Minute, 30 * time.Minute, 3 * time.Hour}).Draw(k.t, "keep")
	before := k.now.Add(-keep)
	want.Events = k.cut(before)
	if len(k.model.events) > 0 { // a command stays as long as the events of its life
		if first := k.model.events[0].At.Add(-min(time.Minute, keep)); first.Before(before) {
			before = first
		}
	}
	stays := k.stays(before)
	k.wayBackStays(stays, before)
	want.Add(k.forget(stays))
	want.Answers = k.forgetAnswers(keep, stays)
	got, err := k.r.Retain(context.Background(), ledger.Keeping{Keep: keep, Now: func() time.Time { return k.now }})
	if err != nil {
		k.t.Fatal(err)
	}
	diff(k.r.t, got, want)
	k.agree()
	k.agreeAnswers()
	return want
}

// cut takes events off the beginning: those that are too old, but not the last.
func (k *keeper) cut(before time.Time) (count int64) {
	m := &k.model
	for len(m.events) > 1 && m.events[0].At.Before(before) {
		m.events = m.events[1:]
		count++
	}
	m.cut += count
	return count
}

// of are the executions of a command.
func (k *keeper) of(c *command.Command) (xs []command.Execution) {
	for _, x := range k.model.xs {
		if x.Command.N == c.N {
			xs = append(xs, x)
		}
	}
	return xs
}

// over reports whether nothing became of a command since a time, and nothing can.
func (k *keeper) over(c *command.Command, before time.Time) bool {
	if k.model.gates[c.N] != nil || !c.CreatedAt.Before(before) {
		return false
	}
	for _, x := range k.of(c) {
		if !x.State.Ended() || x.State == command.TimedOut && !x.Settled {
			return false
		}
		last := []time.Time{x.ApprovedAt, x.QueuedAt, x.SentAt, x.DeliveredAt, x.StartedAt, x.ReportedAt, x.CancelAckedAt, x.EndedAt}
		if x.State == command.TimedOut {
			last = append(last, x.EndedAt.Add(c.Clocks.SettleFor))
		}
		for _, r := range k.model.said[x.N] {
			last = append(last, r.At)
		}
		if !slices.MaxFunc(last, time.Time.Compare).Before(before) {
			return false
		}
	}
	return true
}

// stays is what must not go, by the rows of commands.
func (k *keeper) stays(before time.Time) map[int64]bool {
	m := &k.model
	newest := int64(0)
	for _, c := range m.commands {
		newest = max(newest, c.N)
	}
	for _, x := range m.xs {
		newest = max(newest, x.N)
	}
	stays := make(map[int64]bool)
	for _, c := range m.commands {
		rows := []int64{c.N}
		for _, x := range k.of(c) {
			rows = append(rows, x.N)
			stays[c.N] = stays[c.N] || k.wanted(x, before)
		}
		stays[c.N] = stays[c.N] || !k.over(c, before) || slices.Contains(rows, newest)
		for _, other := range m.commands {
			stays[c.N] = stays[c.N] || other.RollbackOf == c.ID && !k.over(other, before)
		}
	}
	for _, c := range m.commands { // what is undone came before what undoes it
		for _, other := range m.commands {
			stays[c.N] = stays[c.N] || c.RollbackOf == other.ID && stays[other.N]
		}
	}
	return stays
}

// final reports whether nothing can move x any more.
func final(x command.Execution) bool {
	return x.State.Ended() && (x.State != command.TimedOut || x.Settled)
}

// wanted reports whether somebody may ask for x by its slot.
func (k *keeper) wanted(x command.Execution, before time.Time) bool {
	if x.Command.Slot == 0 || x.Effect == command.EffectNone || !final(x) || !k.model.devices[x.Name].RemovedAt.IsZero() {
		return false
	}
	passed := false
	for _, y := range k.slot(x) {
		if y.Seq > x.Seq && final(y) && y.Effect != command.EffectNone && !k.involved(y, x) {
			passed = true
		}
	}
	if !passed {
		return true
	}
	if x.State != command.Succeeded {
		return false
	}
	if k.succeeded(x, 1<<32-1) == x.N {
		return true
	}
	for _, y := range k.slot(x) {
		undoable := y.Seq != 0 && (!y.State.Ended() || y.Effect != command.EffectNone)
		if undoable && !k.over(k.command(y), before) && k.succeeded(x, y.Seq) == x.N {
			return true
		}
	}
	return false
}

// involved reports whether y was undone, or undoes what is there, but for x.
func (k *keeper) involved(y, x command.Execution) bool {
	for _, c := range k.model.commands {
		if c.RollbackOf == y.Command.ID || y.Command.RollbackOf == c.ID && c.N != x.Command.N {
			return true
		}
	}
	return false
}

func (k *keeper) command(x command.Execution) *command.Command {
	for _, c := range k.model.commands {
		if c.N == x.Command.N {
			return c
		}
	}
	panic("an execution of no command")
}

// slot are the executions that set the same as x.
func (k *keeper) slot(x command.Execution) (xs []command.Execution) {
	for _, y := range k.model.xs {
		if y.Device == x.Device && y.Command.Slot == x.Command.Slot && y.Command.Slot != 0 {
			xs = append(xs, y)
		}
	}
	return xs
}

// succeeded is the last success in the slot of x that left before a number.
func (k *keeper) succeeded(x command.Execution, seq uint32) int64 {
	var last command.Execution
	for _, y := range k.slot(x) {
		if y.Seq < seq && y.Seq > last.Seq && y.State == command.Succeeded {
			last = y
		}
	}
	return last.N
}

// superseded reports whether something stands in the way of undoing x, as
// package dispatch sees it, where some commands are gone.
func (k *keeper) superseded(x command.Execution, stays func(command.ID) bool) bool {
	for _, y := range k.slot(x) {
		if y.Effect != command.EffectNone && leftAfter(y, x) && stays(y.Command.ID) && k.stands(x, y, stays) {
			return true
		}
	}
	return false
}

func (k *keeper) stands(x, y command.Execution, stays func(command.ID) bool) bool {
	if y.Command.RollbackOf == x.Command.ID {
		return false
	}
	for _, o := range k.model.xs {
		if o.Device != y.Device || !stays(o.Command.ID) {
			continue
		}
		undone := y.Command.RollbackOf == o.Command.ID && y.Effect == command.EffectApplied && o.Seq > x.Seq
		undoes := o.Command.RollbackOf == y.Command.ID && o.Effect == command.EffectApplied
		if undone || undoes {
			return false
		}
	}
	return true
}

// wayBackStays holds the rules themselves against what they are for: nothing
// that could not be undone can be, and what can brings back the same.
func (k *keeper) wayBackStays(stays map[int64]bool, before time.Time) {
	gone, kept := make(map[int64]bool), make(map[command.ID]bool)
	for _, c := range k.model.commands {
		kept[c.ID] = stays[c.N]
	}
	for _, x := range k.model.xs {
		gone[x.N] = !stays[x.Command.N]
	}
	for _, x := range k.model.xs {
		if x.Command.Slot == 0 || gone[x.N] || !k.model.devices[x.Name].RemovedAt.IsZero() {
			continue
		}
		all := func(command.ID) bool { return true }
		if k.superseded(x, all) && !k.superseded(x, func(id command.ID) bool { return kept[id] }) {
			k.t.Fatalf("execution %d stays, and all that supersedes it goes", x.N)
		}
		if n := k.succeeded(x, 1<<32-1); n != 0 && gone[n] {
			k.t.Fatalf("execution %d, the last success in its slot, goes", n)
		}
		undoable := x.Seq != 0 && (!x.State.Ended() || x.Effect != command.EffectNone)
		if n := k.succeeded(x, x.Seq); n != 0 && gone[n] && undoable && !k.over(k.command(x), before) {
			k.t.Fatalf("execution %d, which undoing %d would bring back, goes", n, x.N)
		}
	}
}

// forget removes from the model what does not stay.
func (k *keeper) forget(stays map[int64]bool) (went ledger.Removed) {
	m := &k.model
	m.xs = slices.DeleteFunc(m.xs, func(x command.Execution) bool {
		if stays[x.Command.N] {
			return false
		}
		went.Executions++
		went.Reports += int64(len(m.said[x.N]))
		delete(m.said, x.N)
		return true
	})
	m.commands = slices.DeleteFunc(m.commands, func(c *command.Command) bool {
		if stays[c.N] {
			return false
		}
		went.Commands++
		delete(m.decided, c.N)
		for i := range m.events { // what was said of it after it was over
			if m.events[i].CommandN == c.N {
				m.events[i].Command = command.ID{}
			}
		}
		return true
	})
	return went
}

func (k *keeper) forgetAnswers(keep time.Duration, stays map[int64]bool) (count int64) {
	for key, a := range k.answers {
		if !stays[a.of.N] && a.at.Before(k.now.Add(-max(keep, ledger.AnswersMin))) {
			delete(k.answers, key)
			count++
		}
	}
	return count
}

func (k *keeper) agreeAnswers() {
	k.r.do(func(tx ledger.Tx) error {
		for key, a := range k.answers {
			got, err := tx.Answer(key)
			if err != nil {
				return err
			}
			diff(k.r.t, got.At, a.at)
		}
		return nil
	})
}
