package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"behest/bench/operator"
	"behest/firmware-sim/wire"
)

// audit holds everything that the server has against everything that was
// written down. Nobody works any more.
type audit struct {
	found  *findings
	record *record
	fleet  *fleet

	byID       map[string]operator.Command
	byMark     map[uint64][]string // ids; more than one is a double
	executions map[number]operator.Execution
	unsent     map[uint64]map[string]operator.Execution // by mark and device: without a number
	devices    map[string]operator.Device
	effects    map[string]map[uint32]int // by device and number, from its own journal
}

// load reads everything through the API.
func (a *audit) load(ctx context.Context, c *operator.Client) error {
	a.byID, a.byMark = map[string]operator.Command{}, map[uint64][]string{}
	a.executions, a.unsent = map[number]operator.Execution{}, map[uint64]map[string]operator.Execution{}
	a.devices, a.effects = map[string]operator.Device{}, map[string]map[uint32]int{}
	var many []operator.Command
	err := c.Commands(ctx, func(cmd operator.Command) error {
		mark := markOf(cmd.Params)
		a.byID[cmd.ID] = cmd
		a.byMark[mark] = append(a.byMark[mark], cmd.ID)
		if cmd.Execution == nil {
			many = append(many, cmd)
			return nil
		}
		a.execution(mark, *cmd.Execution)
		return nil
	})
	if err != nil {
		return fmt.Errorf("list the commands: %w", err)
	}
	for _, cmd := range many {
		err := c.Executions(ctx, cmd.ID, func(x operator.Execution) error {
			a.execution(markOf(cmd.Params), x)
			return nil
		})
		if err != nil {
			return fmt.Errorf("list the executions of %s: %w", cmd.ID, err)
		}
	}
	if err := c.Devices(ctx, func(d operator.Device) error { a.devices[d.ID] = d; return nil }); err != nil {
		return fmt.Errorf("list the devices: %w", err)
	}
	for name, store := range a.fleet.stores {
		a.effects[name] = store.Effects()
	}
	return nil
}

// execution takes in an execution: no two have one number.
func (a *audit) execution(mark uint64, x operator.Execution) {
	if x.Seq == 0 {
		if a.unsent[mark] == nil {
			a.unsent[mark] = map[string]operator.Execution{}
		}
		a.unsent[mark][x.Device] = x
		return
	}
	k := number{x.Device, x.Seq}
	if before, there := a.executions[k]; there {
		a.found.double("%s: number %d is given to %s and to %s", x.Device, x.Seq, before.Command, x.Command)
	}
	a.executions[k] = x
}

// run makes all comparisons.
func (a *audit) run(ctx context.Context, c *operator.Client) error {
	a.record.mu.Lock() // nobody writes any more; this is for the race detector
	defer a.record.mu.Unlock()
	for _, ask := range a.record.asks {
		a.command(*ask)
	}
	for _, ar := range a.record.arrived {
		d, there := a.devices[ar.device]
		if !there {
			a.found.lost("%s: its registration was acknowledged, and the device is not there", ar.device)
			continue
		}
		a.found.checkArrival(*ar, d)
	}
	for _, s := range a.record.numbers {
		if err := a.number(ctx, c, *s); err != nil {
			return err
		}
	}
	a.growth()
	a.world()
	return nil
}

// command looks for a command that was asked for.
func (a *audit) command(k asked) {
	ids := a.byMark[k.mark]
	if len(ids) > 1 {
		a.found.double("command %d was asked for once and is there as %s", k.mark, strings.Join(ids, ", "))
	}
	switch k.fate {
	case operator.Done:
		c, there := a.byID[k.id]
		if !there {
			a.found.lost("command %d (%s) was acknowledged, and is not there", k.mark, k.id)
			return
		}
		a.found.checkCommand(k, c)
	case operator.Refused, operator.Unreached:
		if len(ids) > 0 {
			a.found.wrong("command %d was %v, and is there as %s", k.mark, k.fate, ids[0])
		}
	}
}

// number looks for what a device was given under a number.
func (a *audit) number(ctx context.Context, c *operator.Client, s said) error {
	x, there := a.executions[s.number]
	if !there {
		a.found.unknownNumber(s.number)
		return nil
	}
	if mark := markOf(a.byID[x.Command].Params); mark != s.mark {
		a.found.double("%s: number %d was command %d, and is command %d", s.device, s.seq, s.mark, mark)
	}
	if s.acked {
		a.found.checkReport(s, x)
	}
	if !s.running || x.StartedAt != nil {
		return nil
	}
	// A running that came after the end moves nothing, but is kept.
	whole, err := c.Execution(ctx, x.Command, x.Device)
	if err != nil {
		return fmt.Errorf("read the reports on %s: %w", x.Command, err)
	}
	if !slices.ContainsFunc(whole.Reports, func(r struct{ Status string }) bool { return r.Status == wire.Running.String() }) {
		a.found.lost("%s: a report of running on number %d was acknowledged, and is not there", s.device, s.seq)
	}
	return nil
}

// growth sees that the numbers of each device grow with time.
func (a *audit) growth() {
	type sent struct {
		seq uint32
		at  time.Time
	}
	by := map[string][]sent{}
	for k, x := range a.executions {
		if x.SentAt == nil {
			a.found.wrong("%s: number %d was given and never sent", k.device, k.seq)
			continue
		}
		by[k.device] = append(by[k.device], sent{k.seq, *x.SentAt})
	}
	for name, all := range by {
		slices.SortFunc(all, func(a, b sent) int { return int(int64(a.seq) - int64(b.seq)) })
		for i := 1; i < len(all); i++ {
			if all[i].at.Before(all[i-1].at) {
				a.found.wrong("%s: number %d was sent before number %d", name, all[i].seq, all[i-1].seq)
			}
		}
	}
}

// world holds what the server says against what the devices did.
func (a *audit) world() {
	for name, effects := range a.effects {
		did := map[uint64]uint32{} // the number under which a command took effect
		for seq, n := range effects {
			s := a.record.numbers[number{name, seq}]
			if n > 1 {
				a.found.double("%s: number %d took effect %d times", name, seq, n)
			}
			if s == nil {
				a.found.wrong("%s: number %d took effect, and was never given", name, seq)
				continue
			}
			if other, twice := did[s.mark]; twice {
				a.found.double("%s: command %d took effect under numbers %d and %d", name, s.mark, other, seq)
			}
			did[s.mark] = seq
		}
		for mark := range did {
			if x, there := a.unsent[mark][name]; there {
				a.found.wrong("%s: command %d took effect, and is %s without having been sent", name, mark, x.State)
			}
		}
	}
	for k, x := range a.executions {
		effects, ours := a.effects[k.device]
		if !ours {
			continue
		}
		switch happened := effects[k.seq] > 0; {
		case x.State == "succeeded" && !happened:
			a.found.wrong("%s: number %d is succeeded, and the device did nothing", k.device, k.seq)
		case x.Effect == "none" && happened:
			a.found.wrong("%s: number %d is %s without effect, and the device did it", k.device, k.seq, x.State)
		}
	}
}
