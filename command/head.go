package command

import (
	"cmp"
	"slices"
)

// Limits of a device's queue.
const (
	OpenMax       = 50 // a device works one at a time: more is a plan, not a queue
	OpenUrgentMax = 10 // beside those, so that a full queue can still be stopped
	WindowDefault = 1
	WindowMax     = 8
)

// Head picks from the open executions of one device the queued ones to release
// now, oldest first.
//
// A window of one is the rule: the next command leaves when the one before it
// has ended. Urgent ones never wait, those of a parallel type stop counting
// once they run, and what is heard of again after a silence stands beside.
func Head(open []Execution, window int) []Execution {
	used := 0
	var queued []Execution
	for _, x := range open {
		switch {
		case x.State == Queued:
			queued = append(queued, x)
		case x.State.OnWire() && !x.beside():
			used++
		}
	}
	slices.SortFunc(queued, func(a, b Execution) int { return cmp.Compare(a.N, b.N) })
	var release []Execution
	for _, x := range queued {
		switch {
		case x.Command.Policy.Urgent:
			release = append(release, x)
		case used < window:
			release = append(release, x)
			used++
		}
	}
	return release
}

// beside reports whether x, on the wire, takes no place in the window. What
// ran beside the others stays there while it is being stopped.
func (x Execution) beside() bool {
	ran := x.State == Running || x.State == Canceling && !x.StartedAt.IsZero()
	return x.Command.Policy.Urgent || ran && (x.Command.Policy.Parallel || x.Late)
}

// List is the open list of a device: what it should be working on, in the
// order of seq.
func List(open []Execution) []Entry {
	var list []Entry
	for _, x := range open {
		if x.State.OnWire() && !x.gone() {
			list = append(list, x.entry())
		}
	}
	slices.SortFunc(list, func(a, b Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	return list
}

// gone reports whether x goes once and has arrived: it is not shown again.
func (x Execution) gone() bool {
	return x.Command.Policy.Redelivery == Once && x.State != Sent && x.State != Canceling
}

// Room says whether a device's queue takes c too. Urgent ones and rollbacks
// have places of their own, so that a full queue can still be stopped and
// undone.
func Room(open []Execution, c *Command) bool {
	usual := 0
	for _, x := range open {
		if !x.Command.reserved() {
			usual++
		}
	}
	return len(open) < OpenMax+OpenUrgentMax && (usual < OpenMax || c.reserved())
}

func (c *Command) reserved() bool { return c.Policy.Urgent || c.RollbackOf != (ID{}) }

// params are what the device is asked for.
func (x Execution) params() []byte {
	if x.Params != nil {
		return x.Params
	}
	return x.Command.Params
}

// entry is x as the device sees it.
func (x Execution) entry() Entry {
	if x.State == Canceling {
		return Entry{Seq: x.Seq, Cancel: true, StartBy: x.StartBy()}
	}
	c := x.Command
	e := Entry{
		Seq: x.Seq, Type: c.Type, WireCode: c.Policy.WireCode, Params: x.params(),
		StartBy: x.StartBy(), ReportEvery: c.Clocks.ReportEvery, Fresh: c.Policy.Fresh,
		Once: c.Policy.Redelivery == Once,
	}
	if c.Clocks.RunFor != DefaultClocks.RunFor {
		e.RunFor = c.Clocks.RunFor // bytes are dear: what is the default is not said
	}
	return e
}
