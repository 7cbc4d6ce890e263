package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"behest/command"
	"behest/command/ledger"
)

// Gates are asked when their time has come, when somebody moved one, and when
// something that one let through has ended. Who asks at the same time finds the
// gate as the other left it: each passing is one commit.

// watched are gates whose executions have moved. Commits tell it, and a
// restart asks every gate anyway.
type watched struct {
	mu sync.Mutex
	of map[int64]struct{} // by the command's row
}

func newWatched() watched { return watched{of: make(map[int64]struct{})} }

func (w *watched) add(rows ...int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range rows {
		w.of[n] = struct{}{}
	}
}

func (w *watched) take() (rows []int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n := range w.of {
		rows = append(rows, n)
	}
	clear(w.of)
	return rows
}

// askAgain is how often a gate is asked whose executions end all the time, and
// for how long one that has more to let through keeps others waiting: to count
// 100,000 executions takes a while.
const askAgain = 100 * time.Millisecond

// runGates asks gates.
func (d *Dispatcher) runGates(ctx context.Context) error {
	for {
		err := d.watchAll(ctx)
		if err == nil || ctx.Err() != nil {
			break
		}
		d.log.Warn("looking for gates", "err", err)
		sleep(ctx, pause)
	}
	for {
		next, more, err := d.askDue(ctx)
		if err != nil && ctx.Err() == nil {
			d.log.Warn("asking gates", "err", err)
			next = d.now().Add(pause)
		}
		if more && ctx.Err() == nil {
			continue
		}
		if !d.gates.wait(ctx, next) {
			return nil
		}
		sleep(ctx, askAgain)
	}
}

// watchAll has every gate asked: what it missed while nobody ran is not lost.
func (d *Dispatcher) watchAll(ctx context.Context) error {
	for after := int64(0); ; {
		rows, err := d.store.Gates(ctx, after, groupMax)
		if err != nil || len(rows) == 0 {
			return err
		}
		d.watched.add(rows...)
		after = rows[len(rows)-1]
	}
}

// askDue asks the gates that are to be asked, and answers when the next is.
// more: there is one that could let more through at once.
func (d *Dispatcher) askDue(ctx context.Context) (next time.Time, more bool, err error) {
	rows := d.watched.take()
	for {
		for k, n := range rows {
			p, err := d.ask(ctx, n)
			if err != nil {
				d.watched.add(rows[k:]...)
				return time.Time{}, false, err
			}
			if p.more {
				d.watched.add(n)
				more = true
			}
		}
		rows, next, err = d.store.GatesDue(ctx, d.now(), groupMax)
		if err != nil || len(rows) == 0 {
			return next, more, err
		}
	}
}

// ask asks the gate of a command: it lets through whose turn it is, moves on
// as its clocks lapse, and halts. It answers with the last passing.
func (d *Dispatcher) ask(ctx context.Context, n int64) (*passing, error) {
	p, err := d.passSome(ctx, n)
	if err == nil && p.undo {
		if err := d.undo(ctx, p.gate); err != nil {
			return nil, fmt.Errorf("roll back command row %d by itself: %w", n, err)
		}
	}
	return p, err
}

// passSome lets through who may go now, a group in each commit, until others
// should have their turn, or a wave begins: then the list is to be verified. It
// answers with the last passing.
func (d *Dispatcher) passSome(ctx context.Context, n int64) (*passing, error) {
	g, tally, err := d.store.GateTally(ctx, n)
	if err != nil && command.CodeOf(err) == command.CodeNotFound {
		d.intact.forget(n)
		return &passing{}, nil // it is done
	}
	if err != nil {
		return nil, err
	}
	if err := d.verify(ctx, g); err != nil {
		return nil, fmt.Errorf("verify the targets of command row %d: %w", n, err)
	}
	for counted := time.Now(); ; {
		begun := time.Now()
		p, err := d.pass(ctx, n, tally)
		if err != nil {
			return nil, fmt.Errorf("gate of command row %d: %w", n, err)
		}
		if !p.more {
			return p, nil
		}
		for _, x := range p.begun {
			tally.Add(x) // who is not counted would pass for one that has ended
		}
		tally.Pending -= p.taken
		if p.rest(ctx, begun); p.gate.Wave != g.Wave || time.Since(counted) > askAgain || ctx.Err() != nil {
			return p, nil
		}
	}
}

// passing is the unit of work that lets the next devices through a gate.
type passing struct {
	group
	gate  command.Gate
	taken int  // devices that were behind it
	more  bool // it can go on at once
	undo  bool // the command is to be rolled back
}

// pass lets the next devices through. tally is how those stand that went
// before, with all of them; what became of each may be askAgain old.
func (d *Dispatcher) pass(ctx context.Context, n int64, tally command.Tally) (*passing, error) {
	var p *passing
	err := d.store.Update(context.WithoutCancel(ctx), ledger.Issues, func(tx ledger.Tx) error {
		p = &passing{group: group{d: d, tx: tx, now: d.now()}}
		g, err := tx.Gate(n)
		if err != nil && command.CodeOf(err) == command.CodeNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		return p.run(g, tally)
	})
	if err != nil {
		return nil, d.failed(err)
	}
	p.tell()
	return p, nil
}

func (p *passing) run(before command.Gate, tally command.Tally) error {
	g := before
	if when, kind := g.Deadline(); !when.IsZero() && !p.now.Before(when) {
		g, _ = g.Step(command.Trigger{Kind: kind}, "", p.now)
	}
	if g.Command.Automatic.Passed(tally) && g.Through < g.Command.Devices {
		if halted, ok := g.Step(command.Trigger{Kind: command.Halt}, "", p.now); ok {
			g = halted
		}
	}
	g, let, look := g.Next(tally, p.now)
	if g.State == command.GateClosed {
		let = command.DevicesMax // whoever is behind it, though it be more than there should
	}
	some := min(let, writeTargets)
	if some > 0 {
		handles, err := p.tx.TakePending(g.Command.N, some)
		if err != nil {
			return err
		}
		p.taken, p.took = len(handles), len(handles) > 0
		waits := g.Command.Rollout != nil && g.Command.Rollout.WaveWithin > 0 && g.Through+len(handles) < g.Command.Devices
		if err := p.begin(g.Command, handles, func(x command.Execution) command.Execution { return p.d.through(g, x, p.now) }); err != nil {
			return err
		}
		full := len(p.begun) < len(handles)                      // whose end will not come
		p.more = p.took && (let > len(handles) || waits || full) // what waits for wave_within is to be told when to look
		p.urgent = p.urgent || g.State == command.GateClosed     // somebody waits for the end, and no device does
		if g = g.Let(len(handles), p.now); !p.took {
			g.Through = g.Command.Devices // nobody is left behind it
		}
	}
	p.undo = !g.Undone && (g.Command.Automatic.Passed(tally) ||
		g.State == command.GateHalted && g.Command.Rollout != nil && g.Command.Rollout.RollbackOnHalt)
	if !p.more && !p.undo && g.Through >= g.Command.Devices && (g.Command.Automatic == nil || g.Undone || tally.Ended()) {
		g.State = command.GateDone
	}
	if when, _ := g.Deadline(); look.IsZero() || !when.IsZero() && when.Before(look) {
		look = when
	}
	p.gate = g
	return saveGate(p.tx, before, &p.gate, g.By, p.now, look)
}

// through is an execution as the gate lets it through: it may go, or it ended
// because the gate was closed.
func (d *Dispatcher) through(g command.Gate, x command.Execution, now time.Time) command.Execution {
	if x = g.Begin(x, now); x.State.Ended() {
		return x
	}
	return d.allow(x, now)
}

// saveGate saves what a gate became, and logs what others should know of it.
func saveGate(tx ledger.Tx, before command.Gate, g *command.Gate, by string, now, look time.Time) error {
	if err := tx.SaveGate(g, look); err != nil {
		return err
	}
	note := func(kind command.EventType, data map[string]any) error {
		raw, err := json.Marshal(data)
		if err != nil {
			return err
		}
		return tx.Log(command.Event{Type: kind, At: now, Actor: by, CommandN: g.Command.N, Data: raw})
	}
	closed, state := g.Ending != 0 && before.Ending == 0, g.State
	switch { // what is done in the same commit was closed or open before
	case state == command.GateDone && closed:
		state = command.GateClosed
	case state == command.GateDone && before.State == command.GateScheduled:
		state = command.GateOpen
	}
	if g.Command.Gated() && state != before.State && state != command.GateDone {
		data := map[string]any{"state": state.String(), "through": g.Through}
		if closed {
			data["because"] = g.Ending.String()
		}
		if err := note(command.EventGate, data); err != nil {
			return err
		}
	}
	if closed && g.Ending == command.ApproveLapse {
		if err := note(command.EventLapsed, nil); err != nil {
			return err
		}
	}
	if g.Wave > before.Wave {
		return note(command.EventWave, map[string]any{"wave": g.Wave, "through": before.Through})
	}
	return nil
}

// Pause stops a rollout: who is not through yet waits. Those that are go on.
func (d *Dispatcher) Pause(ctx context.Context, id command.ID, by string) (command.View, error) {
	return d.moveGate(ctx, id, command.Pause, by)
}

// Resume lets a rollout go on that somebody paused, or that has halted.
func (d *Dispatcher) Resume(ctx context.Context, id command.ID, by string) (command.View, error) {
	return d.moveGate(ctx, id, command.Resume, by)
}

func (d *Dispatcher) moveGate(ctx context.Context, id command.ID, kind command.Kind, by string) (command.View, error) {
	view, err := d.store.Command(ctx, id)
	if err != nil {
		return command.View{}, err
	}
	if err := d.mayAll(ctx, view.Command, nil, by, operator); err != nil {
		return view, err
	}
	err = d.store.Update(context.WithoutCancel(ctx), ledger.Issues, func(tx ledger.Tx) error {
		before, err := tx.Gate(view.Command.N)
		if err != nil && command.CodeOf(err) == command.CodeNotFound {
			return command.Errorf(command.CodeConflict, "the command has no rollout under way: it is %s", view.State())
		}
		if err != nil {
			return err
		}
		now := d.now()
		g, ok := before.Step(command.Trigger{Kind: kind}, by, now)
		if !ok {
			return command.Errorf(command.CodeConflict, "the rollout is %s", before.State)
		}
		if before.State == command.GateHalted { // who resumes knows what went wrong so far
			tally, err := tx.Tally(view.Command.N)
			if err != nil {
				return err
			}
			g.Forgiven = tally.Toll()
		}
		return saveGate(tx, before, &g, by, now, now)
	})
	if err != nil && command.CodeOf(err) != command.CodeConflict {
		return command.View{}, d.failed(err)
	}
	d.gates.ring(d.now())
	now, lost := d.store.Command(ctx, id)
	if lost != nil {
		return view, lost
	}
	return now, err
}

// closeGate closes the gate of a command that somebody cancels, and lets what
// is behind it end. It answers false if there is none.
func (d *Dispatcher) closeGate(ctx context.Context, c *command.Command, by string) (bool, error) {
	if !c.Gated() {
		return false, nil
	}
	closed := false
	err := d.store.Update(context.WithoutCancel(ctx), ledger.Issues, func(tx ledger.Tx) error {
		closed = false
		before, err := tx.Gate(c.N)
		if err != nil && command.CodeOf(err) == command.CodeNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		now := d.now()
		g, ok := before.Step(command.Trigger{Kind: command.Cancel}, by, now)
		if !ok {
			return nil
		}
		closed = g.Through < c.Devices
		return saveGate(tx, before, &g, by, now, now)
	})
	if err != nil || !closed {
		return false, d.failed(err)
	}
	for more := true; more && err == nil; {
		var p *passing
		if p, err = d.passSome(ctx, c.N); err == nil {
			more = p.more && ctx.Err() == nil
		}
	}
	d.watched.add(c.N) // whether it is to be rolled back is for the loop to ask
	d.gates.ring(d.now())
	return true, err
}
