package command

import "time"

// Clocks bound every state that could otherwise last for ever. Each is a
// duration from the moment that starts it; see Deadline.
type Clocks struct {
	ApproveWithin time.Duration // from creation
	UseWithin     time.Duration // from approval to the first release
	HoldWithin    time.Duration // from creation or approval, while scheduled
	DeliverWithin time.Duration // from the first time it is queued
	RunFor        time.Duration // from the first of delivered and running
	ReportEvery   time.Duration // between two reports while running; 0: no heartbeat
	CancelFor     time.Duration // from the ACK of a list that carries the cancel
	SettleFor     time.Duration // from timed_out until it is closed as unknown
}

// DefaultClocks apply where neither the type nor the command says otherwise.
var DefaultClocks = Clocks{
	ApproveWithin: 24 * time.Hour,
	UseWithin:     24 * time.Hour,
	HoldWithin:    30 * 24 * time.Hour,
	DeliverWithin: 24 * time.Hour,
	RunFor:        5 * time.Minute,
	CancelFor:     time.Minute,
	SettleFor:     7 * 24 * time.Hour,
}

// The bounds of any clock, whatever a type or a command says.
const (
	ClockMin     = time.Second          // the wire counts in seconds
	ClockMax     = 365 * 24 * time.Hour // nobody should wait longer for an answer
	CancelForMax = 24 * time.Hour       // a cancel that lasts longer stops nothing
)

// A heartbeat is missed only after a grace of half its interval: a constrained
// device's clock drifts, and its report may need all of its retries.
const heartbeatGraceMin = 5 * time.Second

// StartBy is the moment after which the device must not start x any more. The
// wire carries what is left of it in seconds.
func (x Execution) StartBy() time.Time { return x.QueuedAt.Add(x.Command.Clocks.DeliverWithin) }

// due is when a scheduled execution may be queued; zero: when something has
// happened that has no time.
func (x Execution) due() time.Time { return later(x.DueAt, x.Command.NotBefore) }

// Deadline is when the clock that bounds x lapses, and what it then triggers.
// Where two clocks run, it is the earlier one. An execution that is closed
// has none, which the zero time says.
func (x Execution) Deadline() (time.Time, Kind) {
	c := x.Command.Clocks
	var d deadline
	switch x.State {
	case AwaitingApproval:
		d.at(x.Command.CreatedAt.Add(c.ApproveWithin), ApproveLapse)
	case Scheduled:
		d.at(later(x.Command.CreatedAt, x.ApprovedAt).Add(c.HoldWithin), HoldLapse)
		d.unused(x)
		if due := x.due(); !due.IsZero() {
			d.at(due, Due)
		}
	case Queued:
		d.at(x.StartBy(), DeliverLapse)
		d.unused(x)
	case Sent:
		d.at(x.StartBy().Add(c.RunFor), UnreachedLapse)
	case Delivered:
		d.at(x.runUntil(), RunLapse)
	case Running:
		d.at(x.runUntil(), RunLapse)
		if every := x.heartbeat(); every > 0 {
			d.at(x.ReportedAt.Add(every+max(every/2, heartbeatGraceMin)), SilenceLapse)
		}
	case Canceling:
		d.at(x.cancelUntil(), CancelLapse)
	case TimedOut:
		if !x.Settled {
			d.at(x.EndedAt.Add(c.SettleFor), SettleLapse)
		}
	}
	return d.when, d.kind
}

// runUntil is the end of run_for, which starts with the first sign that the
// device has it. A report is such a sign: it sets DeliveredAt where no ACK did.
func (x Execution) runUntil() time.Time {
	return x.DeliveredAt.Add(x.Command.Clocks.RunFor)
}

// cancelUntil is the end of cancel_for once the device acknowledged the
// cancel; until then the cancel is bounded like a delivery, or by the run_for
// of what started late.
func (x Execution) cancelUntil() time.Time {
	if x.CancelAckedAt.IsZero() {
		return later(x.StartBy().Add(x.Command.Clocks.RunFor), x.runUntil())
	}
	return x.CancelAckedAt.Add(min(x.Command.Clocks.CancelFor, CancelForMax))
}

// heartbeat is how long the device may stay silent while running: what its
// last report promised, else what its type demands. Neither reaches past
// run_for, whatever number a device sends.
func (x Execution) heartbeat() time.Duration {
	every := x.Command.Clocks.ReportEvery
	if x.Last.Next > 0 {
		every = x.Last.Next
	}
	return min(every, x.Command.Clocks.RunFor)
}

// deadline keeps the earliest of the moments that it is told.
type deadline struct {
	when time.Time
	kind Kind
}

func (d *deadline) at(when time.Time, kind Kind) {
	if d.when.IsZero() || when.Before(d.when) {
		d.when, d.kind = when, kind
	}
}

// unused adds the end of an approval that nobody makes use of.
func (d *deadline) unused(x Execution) {
	if !x.ApprovedAt.IsZero() {
		d.at(x.ApprovedAt.Add(x.Command.Clocks.UseWithin), UseLapse)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
