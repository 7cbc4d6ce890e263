package dispatch

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// visit is one unit of work on one device.
type visit struct {
	d   *Dispatcher
	tx  ledger.Tx
	now time.Time

	dev      device.Device
	dirty    bool                // dev must be saved
	answers  bool                // what is released leaves with the answer to the device's own request
	open     []command.Execution // what is open on it, if that was read already; nil: it was not
	reported uint32              // see command.Presentation
	revived  bool                // likewise
	first    bool                // it is the device's first turn in this process

	// What there is to tell after the commit.
	shown    command.Presentation
	released []command.Execution
	ended    []command.ID
	watched  []int64   // rows of commands whose gates should look
	next     time.Time // the earliest deadline that was written; zero: none
}

// finder looks a device up.
type finder func(ledger.Tx) (device.Device, error)

func byHandle(h int64) finder {
	return func(tx ledger.Tx) (device.Device, error) { return tx.Device(h) }
}

func byName(name string) finder {
	return func(tx ledger.Tx) (device.Device, error) { return tx.DeviceNamed(name) }
}

// visit finds a device, does f to it, gives it its turn, commits all that,
// and tells. What f decides by returning an error leaves no trace.
//
// The commit is waited for even when ctx has ended: whoever committed must
// tell.
func (d *Dispatcher) visit(ctx context.Context, lane ledger.Lane, find finder, f func(*visit) error) (*visit, error) {
	var v *visit
	err := d.store.Update(context.WithoutCancel(ctx), lane, func(tx ledger.Tx) error {
		dev, err := find(tx)
		if err != nil {
			return err
		}
		v = &visit{d: d, tx: tx, now: d.now(), dev: dev}
		if err := f(v); err != nil {
			return err
		}
		return v.turn()
	})
	if err != nil {
		return nil, d.failed(err)
	}
	d.tell(v)
	return v, nil
}

// now is the present as the store keeps it: to the millisecond, so that what
// is read back equals what was written.
func (d *Dispatcher) now() time.Time { return d.clock.Now() }

// failed sees to it that a commit of unknown outcome is followed up.
func (d *Dispatcher) failed(err error) error {
	if command.CodeOf(err) == command.CodeOutcomeUnknown {
		d.presentAnew()
		d.lapse.ring(d.now())
	}
	return err
}

// tell tells what v committed.
func (d *Dispatcher) tell(v *visit) {
	d.stirred.Store(true)
	if v.first {
		d.waking.note(v.dev.Handle)
	}
	if !v.answers {
		d.presenter.Present(v.dev, v.shown)
	}
	d.waits.tell(v.ended)
	if len(v.watched) > 0 {
		d.watched.add(v.watched...)
		d.gates.ring(v.now)
	}
	if !v.next.IsZero() {
		d.lapse.ring(v.next)
	}
}

// turn releases what may leave now, and notes what the device should see.
func (v *visit) turn() error {
	if v.open == nil {
		open, err := v.tx.Open(v.dev.Handle)
		if err != nil {
			return err
		}
		v.open = open
	}
	if v.first = v.d.waking.first(v.dev.Handle); v.first {
		if err := v.giveUp(); err != nil {
			return err
		}
	}
	if err := v.undoes(); err != nil {
		return err
	}
	if err := v.expel(); err != nil {
		return err
	}
	waiting := false
	for again := !v.d.clock.Held(); again; { // what is withdrawn makes way for the next
		var err error
		if again, waiting, err = v.release(); err != nil {
			return err
		}
	}
	if err := v.save(); err != nil {
		return err
	}
	v.shown = command.Presentation{
		Generation: v.d.generation.Add(1), List: command.List(v.shows()),
		Waiting: waiting, Revived: v.revived, Reported: v.reported,
	}
	return nil
}

// release releases what may leave now. waiting: more would, if a notification
// could leave; again: something was withdrawn instead.
func (v *visit) release() (again, waiting bool, err error) {
	release := command.Head(v.eligible(), v.dev.Window())
	switch {
	case len(release) == 0 || v.answers:
	case v.dev.Asleep(v.now):
		release = nil // a first transmission waits for a sign of life
	case !v.d.presenter.Ready(v.dev):
		release, waiting = nil, true
	}
	for _, x := range release {
		if when, _ := x.Deadline(); !v.now.Before(when) {
			continue // its clock has run out, and the loop is about to say so
		}
		if cause, err := v.unfit(x); err != nil {
			return false, waiting, err
		} else if cause != command.NoCause {
			if _, err := v.step(x, command.Trigger{Kind: command.Withdraw, Cause: cause}); err != nil {
				return false, waiting, err
			}
			again = true
			continue
		}
		seq, ok := v.dev.NextSeq(v.now, v.tx.Base())
		if !ok {
			waiting = true // the numbers ran ahead of the clock; they will be let in again
			break
		}
		v.dirty = true
		moved, err := v.step(x, command.Trigger{Kind: command.Release, Seq: seq})
		if err != nil {
			return false, waiting, err
		}
		v.released = append(v.released, moved)
	}
	return again, waiting, nil
}

// eligible is what is open, less what is queued outside its window or too
// early: it does not keep others waiting.
func (v *visit) eligible() []command.Execution {
	outside := func(x command.Execution) bool {
		if x.State != command.Queued {
			return false
		}
		at := v.d.opens(x, v.now)
		if !at.IsZero() {
			v.d.windows.wait(v.dev.Handle, at)
		}
		return !at.IsZero()
	}
	if !slices.ContainsFunc(v.open, outside) {
		return v.open
	}
	return slices.DeleteFunc(slices.Clone(v.open), outside)
}

// unfit says why x must not leave any more: it is not what was accepted or
// approved, who asked for it may not now, or there is nothing for it to undo.
func (v *visit) unfit(x command.Execution) (command.Cause, error) {
	c := x.Command
	if !v.d.seals.genuine(x) {
		return command.IntegrityFailed, nil
	}
	if !v.d.may(c.RequestedBy, operator, v.dev) {
		return command.NotEntitled, nil
	}
	if c.Approval != nil {
		decisions, err := v.tx.Decisions(c.N)
		if err != nil {
			return command.NoCause, err
		}
		digest, n := x.Digest(), 0
		for _, one := range decisions {
			if one.Approve && one.Digest == digest {
				n++
			}
		}
		if n < c.Approval.Approvers {
			return command.IntegrityFailed, nil
		}
	}
	if c.RollbackOf == (command.ID{}) {
		return command.NoCause, nil
	}
	of, err := v.undone(x)
	if err != nil {
		return command.NoCause, err
	}
	return v.unfitToUndo(x, of)
}

// shows is what is open, less what goes once and went already: an answer would
// be another exchange with it. While the clock is held nobody can say how many
// seconds are left of anything, and a device sees nothing to do.
func (v *visit) shows() []command.Execution {
	if v.d.clock.Held() {
		return nil
	}
	if !v.answers {
		return v.open
	}
	return slices.DeleteFunc(slices.Clone(v.open), func(x command.Execution) bool {
		now := slices.ContainsFunc(v.released, func(r command.Execution) bool { return r.N == x.N })
		return x.State == command.Sent && x.Command.Policy.Redelivery == command.Once && !now
	})
}

func (v *visit) save() error {
	if !v.dirty {
		return nil
	}
	v.dirty = false
	return v.tx.SaveDevice(&v.dev)
}

// heard notes a sign of life from an endpoint, and revives the observation that
// is there if it was suspended.
func (v *visit) heard(from device.Speaker) error {
	o := &v.dev.Observation
	if o.Suspended && o.Endpoint == from.Endpoint {
		o.Suspended, v.revived, v.dirty = false, true, true
	}
	v.alive()
	return v.twins(from, nil)
}

// alive notes a sign of life: once a minute, for a busy device is not worth a
// write for every word, but always where sleep is reckoned from it.
func (v *visit) alive() {
	if v.now.Sub(v.dev.SeenAt) >= time.Minute || v.dev.Awake > 0 || v.revived {
		v.dev.SeenAt, v.dirty = v.now, true
	}
}

// know brings what is known to be open up to date with x.
func (v *visit) know(x command.Execution) {
	at := slices.IndexFunc(v.open, func(o command.Execution) bool { return o.N == x.N })
	switch {
	case at >= 0 && x.State.Ended():
		v.open = slices.Delete(v.open, at, at+1)
	case at >= 0:
		v.open[at] = x
	case v.open != nil && !x.State.Ended():
		v.open = append(v.open, x) // heard of again
	}
}

// step moves x by t, saves it and logs it. It answers with x as it is then,
// unchanged if the table has no such move.
func (v *visit) step(x command.Execution, t command.Trigger) (command.Execution, error) {
	after, verdict := x.Step(t, v.now)
	if verdict != command.Moved && verdict != command.Kept {
		return x, nil
	}
	return after, v.store(x, &after, "")
}

// store saves what x became, logs it, and notes what is to be told.
func (v *visit) store(before command.Execution, after *command.Execution, actor string) error {
	if err := v.tx.Save(after); err != nil {
		return err
	}
	v.know(*after)
	if when, _ := after.Deadline(); !when.IsZero() && (v.next.IsZero() || when.Before(v.next)) {
		v.next = when
	}
	if after.State != before.State || after.Settled != before.Settled {
		return v.logMove(before, *after, actor)
	}
	return nil
}

// logMove logs a move, and the end of the command if it was its last.
func (v *visit) logMove(before, after command.Execution, actor string) error {
	kind := command.EventOf(after.State)
	if after.Settled {
		kind = command.EventClosed
	}
	if err := v.log(kind, after, actor, facts(before, after)); err != nil {
		return err
	}
	kind = command.EventEnded
	if before.State.Ended() || before.Late && after.Command.Devices == 1 { // it had ended before
		kind = command.EventSettled
	}
	if !after.State.Ended() {
		return nil
	}
	if after.Command.Watched() {
		v.watched = append(v.watched, after.Command.N)
	}
	if after.Cause == command.ApprovalLapsed {
		if err := v.log(command.EventLapsed, after, actor, nil); err != nil {
			return err
		}
	}
	if err := v.contradicted(before, after); err != nil {
		return err
	}
	switch {
	case after.Command.Devices == 1: // it is its command's only one
		var tally command.Tally
		tally.Add(after)
		return v.endCommand(after.Command, tally, kind, actor)
	}
	return v.endFleet(after.Command, kind, actor)
}

// endFleet looks whether a command on many devices has ended, or settled.
func (v *visit) endFleet(c *command.Command, kind command.EventType, actor string) error {
	// Two look-ups tell, where a tally counts them all: devices that are fast
	// have ended before the next group of a large command is written out.
	if open, err := v.tx.OpenOf(c.N, 1); err != nil || len(open) > 0 {
		return err
	}
	if pending, err := v.tx.AnyPending(c.N); err != nil || pending {
		return err
	}
	tally, err := v.tx.Tally(c.N)
	if err != nil {
		return err
	}
	return v.endCommand(c, tally, kind, actor)
}

// endCommand logs that a command has ended, or settled, if it has. One on many
// devices ends once, whichever of them runs again: after that it can only
// settle. What its end says to be unsettled may still change, and nothing else.
func (v *visit) endCommand(c *command.Command, tally command.Tally, kind command.EventType, actor string) error {
	if !tally.Ended() {
		return nil
	}
	if c.Devices > 1 && kind == command.EventEnded {
		first, err := v.tx.End(c.N)
		if err != nil {
			return err
		}
		if !first {
			kind = command.EventSettled
		}
	}
	data := map[string]any{"outcome": tally.Outcome()}
	switch {
	case kind == command.EventSettled && !tally.Settled():
		return nil
	case !tally.Settled():
		data["unsettled"] = tally.Unsettled
	}
	v.ended = append(v.ended, c.ID)
	return v.log(kind, command.Execution{Command: c}, actor, data)
}

// facts are what an event says besides its type.
func facts(before, after command.Execution) map[string]any {
	m := map[string]any{}
	switch {
	case after.State == command.Sent:
		m["seq"] = after.Seq
	case after.Cause != command.NoCause:
		m["cause"] = after.Cause.String()
	case after.ReportedAt != before.ReportedAt:
		reportFacts(m, after.Last)
	}
	if after.Late {
		m["late"] = true
	}
	return m
}

// reportFacts are the small parts of a report; its result stays with the
// execution.
func reportFacts(m map[string]any, r command.Report) {
	if r.Progress != nil {
		m["progress"] = *r.Progress
	}
	if r.Code != nil {
		m["code"] = *r.Code
	}
	if r.Text != "" {
		m["text"] = r.Text
	}
}

// log adds an event about x to the commit.
func (v *visit) log(kind command.EventType, x command.Execution, actor string, m map[string]any) error {
	e := command.Event{Type: kind, At: v.now, Actor: actor, Device: x.Device}
	if x.Command != nil {
		e.CommandN = x.Command.N
	}
	if len(m) > 0 {
		data, err := json.Marshal(m)
		if err != nil {
			return err
		}
		e.Data = data
	}
	return v.tx.Log(e)
}

// logDevice adds an event about the device itself.
func (v *visit) logDevice(kind command.EventType, actor string, m map[string]any) error {
	return v.log(kind, command.Execution{Device: v.dev.Handle}, actor, m)
}
