package command

import "time"

// Gate holds back the devices of a command on many until it is their turn: by
// approval, by time, by wave. What it has not let through yet is no execution,
// only a name on a list.
type Gate struct {
	Command *Command `json:"-"`
	Version int64    `json:"-"` // grows with each save

	State      GateState `json:"state"`
	ApprovedAt time.Time `json:"approved_at,omitzero"`

	// Open: how far it is.
	Through int       `json:"through,omitempty"` // devices let through so far
	Wave    int       `json:"wave,omitempty"`    // the one that goes now, from 0
	WaveAt  time.Time `json:"wave_at,omitzero"`  // since when
	PacedAt time.Time `json:"paced_at,omitzero"` // up to when the rate is used up
	Undone  bool      `json:"undone,omitempty"`  // the automatic rollback was issued
	// Forgiven is what there was when somebody resumed it after it had halted:
	// only what goes wrong after that halts it again.
	Forgiven Toll `json:"forgiven,omitzero"`

	// Closed: what becomes of those that it did not let through.
	Ending Kind   `json:"ending,omitempty"`
	Cause  Cause  `json:"cause,omitempty"`
	From   State  `json:"from,omitempty"`
	By     string `json:"by,omitempty"`
}

// GateState is where a gate stands.
type GateState uint8

const (
	GateAwaiting  GateState = iota + 1 // approvals are missing
	GateScheduled                      // allowed; its time has not come
	GateOpen                           // it lets devices through, as the rollout says
	GatePaused                         // somebody stopped it for a while
	GateHalted                         // too much went wrong
	GateClosed                         // it lets nobody through any more
	GateDone                           // it has nothing more to do
)

var gateNames = [...]string{"", "awaiting_approval", "scheduled", "open", "paused", "halted", "closed", "done"}

func (s GateState) String() string { return nameOf(gateNames[:], s) }

// Gated reports whether a command needs a gate: what goes to many devices and
// not at once.
func (c *Command) Gated() bool {
	return c.Devices > 1 && (c.Approval != nil || c.Rollout.staged() || c.Automatic != nil)
}

// Watched reports whether a command has a gate: to hold devices back, or only
// to see what becomes of those that it let through.
func (c *Command) Watched() bool { return c.Gated() || c.Automatic != nil }

func (r *Rollout) staged() bool {
	return r != nil && (len(r.Waves) > 0 || r.RatePerMinute > 0 || r.Halt != nil)
}

// NewGate is the gate of a command as it begins.
func NewGate(c *Command, now time.Time) Gate {
	g := Gate{Command: c, State: GateAwaiting}
	switch {
	case !c.Gated(): // it only watches: the one device's approval is its execution's business
		g.State, g.Through = GateOpen, c.Devices
	case c.Approval == nil:
		g = g.allowed(now)
	}
	return g
}

// allowed is the gate after everybody agreed.
func (g Gate) allowed(now time.Time) Gate {
	g.State = GateScheduled
	if !now.Before(g.Command.NotBefore) {
		g.State, g.WaveAt = GateOpen, now
	}
	return g
}

// gateMoves are the moves of a gate. What ends it closes it: those behind it
// end as an execution would that the same happened to.
var gateMoves = map[GateState]map[Kind]GateState{
	GateAwaiting:  {Approve: GateScheduled, Deny: GateClosed, Cancel: GateClosed, ApproveLapse: GateClosed, Withdraw: GateClosed},
	GateScheduled: {Due: GateOpen, Cancel: GateClosed, HoldLapse: GateClosed, UseLapse: GateClosed, Withdraw: GateClosed, Pause: GatePaused},
	GateOpen:      {Cancel: GateClosed, HoldLapse: GateClosed, UseLapse: GateClosed, Withdraw: GateClosed, Pause: GatePaused, Halt: GateHalted},
	GatePaused:    {Cancel: GateClosed, HoldLapse: GateClosed, UseLapse: GateClosed, Withdraw: GateClosed, Resume: GateOpen},
	GateHalted:    {Cancel: GateClosed, HoldLapse: GateClosed, UseLapse: GateClosed, Withdraw: GateClosed, Resume: GateOpen},
}

// Step is the gate after t at now, and whether there is such a move.
func (g Gate) Step(t Trigger, by string, now time.Time) (Gate, bool) {
	to, ok := gateMoves[g.State][t.Kind]
	when, next := g.Deadline()
	late := !when.IsZero() && !now.Before(when)
	switch {
	case !ok:
		return g, false
	case t.Kind.isLapse() && (t.Kind != next || !late):
		return g, false
	case t.Kind == Due && (next != Due || !late):
		return g, false
	case (t.Kind == Approve || t.Kind == Resume) && late && next != Due:
		return g, false // it has lapsed, and the loop is about to say so
	}
	from := g.State
	g.State = to
	switch {
	case to == GateClosed:
		g.Ending, g.Cause, g.By, g.From = t.Kind, t.Cause, by, Scheduled
		if from == GateAwaiting {
			g.From = AwaitingApproval
		}
	case t.Kind == Approve:
		g.ApprovedAt = now
		g = g.allowed(now)
	case t.Kind == Resume:
		g = g.allowed(now)
		g.PacedAt = now // what was not used meanwhile is not made up for
	case to == GateOpen:
		g.WaveAt = now
	}
	return g, true
}

// held is an execution as it is behind the gate.
func (g Gate) held() Execution {
	x := Execution{Command: g.Command, State: Scheduled, ApprovedAt: g.ApprovedAt}
	if g.State == GateAwaiting {
		x.State = AwaitingApproval
	}
	if g.State != GateScheduled {
		c := *g.Command
		c.NotBefore = time.Time{} // it has come, or does not count yet
		x.Command = &c
	}
	return x
}

// Deadline is when a clock moves the gate, and what it then triggers; the zero
// time: none does.
func (g Gate) Deadline() (time.Time, Kind) {
	if g.State >= GateClosed || g.Through >= g.Command.Devices {
		return time.Time{}, 0
	}
	return g.held().Deadline()
}

// Begin is x, the execution of the command on a device, as it is when the gate
// lets it through, or once it is closed.
func (g Gate) Begin(x Execution, now time.Time) Execution {
	x.Command, x.ApprovedAt, x.State = g.Command, g.ApprovedAt, Scheduled
	if g.State == GateClosed {
		x.State = g.From
		x, _ = x.Step(Trigger{Kind: g.Ending, Cause: g.Cause}, now)
	}
	return x
}

// paceMin is how often a rate is looked at: what goes faster goes in small
// groups.
const paceMin = 100 * time.Millisecond

// Next is the gate at now, how many more devices it lets through, and when to
// ask again (zero: when one of those that are through has ended). t is how
// those that are through stand.
func (g Gate) Next(t Tally, now time.Time) (after Gate, let int, again time.Time) {
	r, total := g.Command.Rollout, g.Command.Devices
	if g.State == GateOpen && r != nil && g.Through < total && r.Halt.passed(t.Toll().since(g.Forgiven)) {
		g, _ = g.Step(Trigger{Kind: Halt}, "", now)
	}
	if g.State != GateOpen {
		return g, 0, time.Time{}
	}
	if !r.staged() {
		return g, total - g.Through, time.Time{}
	}
	for g.Through >= r.until(g.Wave, total) && g.Through < total {
		if !r.advances(g.Through, t) {
			lapse := g.WaveAt.Add(r.WaveWithin)
			if r.WaveWithin == 0 {
				return g, 0, time.Time{}
			}
			if now.Before(lapse) {
				return g, 0, lapse
			}
		}
		g.Wave, g.WaveAt = g.Wave+1, now
	}
	let = r.until(g.Wave, total) - g.Through
	if r.WaveWithin > 0 && g.Through+let < total {
		again = g.WaveAt.Add(r.WaveWithin)
	}
	if r.RatePerMinute > 0 && let > 0 {
		let, again = g.paced(let, now)
	}
	return g, let, again
}

// paceBurst is how much of a rate is made up for that was not used: what a busy
// machine was late by, not what a wave had to wait for.
const paceBurst = time.Second

// pacedFrom is from when on the rate counts at now.
func (g Gate) pacedFrom(now time.Time) (from time.Time, interval time.Duration) {
	interval = time.Minute / time.Duration(g.Command.Rollout.RatePerMinute)
	from = later(g.PacedAt, now.Add(-max(interval, paceBurst)))
	if g.PacedAt.IsZero() {
		from = now.Add(-interval) // the first goes at once
	}
	return from, interval
}

// paced is how many of want the rate allows at now, and when there are more.
func (g Gate) paced(want int, now time.Time) (int, time.Time) {
	from, interval := g.pacedFrom(now)
	let := min(want, max(0, int(now.Sub(from)/interval)))
	return let, later(from.Add(time.Duration(let+1)*interval), now.Add(paceMin))
}

// Let is the gate after n devices went through at now.
func (g Gate) Let(n int, now time.Time) Gate {
	if r := g.Command.Rollout; n > 0 && r.staged() && r.RatePerMinute > 0 {
		from, interval := g.pacedFrom(now)
		g.PacedAt = from.Add(time.Duration(n) * interval)
	}
	g.Through += n
	return g
}

// until is how many devices are through when a wave is complete.
func (r *Rollout) until(wave, total int) int {
	n, percent := 0, 0
	for k, w := range r.Waves {
		n += w.Count
		percent += w.Percent
		if k == wave {
			return min(total, n+(total*percent+99)/100)
		}
	}
	return total
}

// advances reports whether enough of those that are through have ended. Those
// that had no room never began, and are not waited for.
func (r *Rollout) advances(through int, t Tally) bool {
	percent := r.AdvancePercent
	if percent == 0 {
		percent = 100
	}
	ended := t.ended() + through - t.Total()
	return ended*100 >= through*percent
}
