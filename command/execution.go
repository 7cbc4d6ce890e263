package command

import "time"

// Execution is a command on one device. It is a value: Step answers with what
// it becomes, and the caller saves that before it acts on it.
type Execution struct {
	Command *Command // the intent, which never changes

	N       int64  // its row in the store
	Version int64  // grows with each save, so that a stale copy cannot be saved
	Device  int64  // the device's handle
	Name    string // the device's name
	Seq     uint32 // its number on the wire; 0 until it is released

	State    State
	Cause    Cause
	Effect   Effect
	Late     bool // it was heard of after timed_out
	Settled  bool // timed_out only: closed as unknown
	Attempts int  // transmissions that carried it, at least

	Seal   []byte // what the server made of Sealed when it was accepted; nil: nothing
	Params []byte // instead of the command's: what each device gets back differs; nil: the command's

	ApprovedAt    time.Time
	DueAt         time.Time // when its window opens, if that is after not_before
	QueuedAt      time.Time // the first time; deliver_within starts here
	SentAt        time.Time
	DeliveredAt   time.Time
	StartedAt     time.Time // the first running report
	ReportedAt    time.Time // the last report that counted
	CancelAckedAt time.Time
	EndedAt       time.Time

	Last Report // the content of the last report that counted
}

// Digest is what an approval of x is for: see Command.Digest.
func (x Execution) Digest() [32]byte {
	targets := x.Command.Resolved
	if x.Command.Devices == 1 {
		targets = DigestTargets([]Target{{Device: x.Name, Params: x.Params}})
	}
	return x.Command.Digest(targets)
}

// Trigger is what makes an execution move, with what belongs to its kind.
type Trigger struct {
	Kind     Kind
	Cause    Cause  // DeliverLapse, Withdraw, Lose
	Seq      uint32 // Release: the number it gets
	Attempts int    // Ack, AckCancel, Unanswered: transmissions in that exchange
	Report   Report // the reports: see Reported
}

// Reported is the trigger that r is to an execution in state s. Running with
// the code of a cancel that came too late means something only to a cancel.
func Reported(r Report, s State) Trigger {
	kind := [...]Kind{ReportRunning, ReportSuccess, ReportFailure, ReportRejected, ReportCanceled}[r.Status]
	if s == Canceling && r.Status == StatusRunning && r.Code != nil && *r.Code == GenericCannotCancel {
		kind = ReportCannotCancel
	}
	return Trigger{Kind: kind, Report: r}
}

// Verdict says what a trigger did.
type Verdict uint8

const (
	Refused      Verdict = iota // no such move; nothing changed
	Moved                       // to another state
	Kept                        // the state stands, what came is stored in the execution
	Repeated                    // it had been said before; nothing changed
	Noted                       // nothing changed; an event keeps what came
	Contradicted                // likewise, and the device is told so
)

var verdictNames = [...]string{"refused", "moved", "kept", "repeated", "noted", "contradicted"}

func (v Verdict) String() string { return nameOf(verdictNames[:], v) }

// Step returns x as it is after t at now. It reads no clock, opens no file and
// starts no goroutine; the caller writes the answer to disk before it acts on
// it. Unless the verdict is Moved or Kept, the answer is x unchanged.
func (x Execution) Step(t Trigger, now time.Time) (Execution, Verdict) {
	if t.Kind.isReport() {
		if v := x.judge(t, now); v != Moved {
			return x, v
		}
	}
	to, ok := moves[edge{x.State, t.Kind}]
	if !ok || !x.timely(t.Kind, now) {
		return x, Refused
	}
	from := x.State
	x.State = to
	if to.OnWire() {
		x.Effect = EffectUnknown
	}
	x.record(t, now)
	if to.Ended() && (!from.Ended() || from != to) {
		x.end(from, t, now)
	}
	if to == from {
		return x, Kept
	}
	return x, Moved
}

// judge says what a report is worth where the table alone cannot tell. Moved
// leaves it to the table.
func (x Execution) judge(t Trigger, now time.Time) Verdict {
	running := t.Report.Status == StatusRunning
	asks := running && x.Command.Policy.Fresh && x.StartedAt.IsZero() // whether it may start
	_, listed := moves[edge{x.State, t.Kind}]
	switch {
	case x.Seq == 0:
		return Refused // it never left, so nobody can have it
	case asks && (x.State.Ended() || !now.Before(x.StartBy())):
		return Contradicted // it may not: it has ended, or no second is left
	case asks && x.State == Canceling && t.Kind == ReportRunning:
		return Contradicted // it may not: somebody wants it stopped
	case x.State == TimedOut && x.Settled:
		return Noted
	case x.State == TimedOut && running && !(x.Cause == Silent && now.Before(x.runUntil())):
		return Noted
	case x.State.Ended() && x.State != TimedOut:
		return x.judgeEnded(t.Report.Status)
	case !listed:
		return Contradicted
	case running && t.Report.N != nil && x.Last.N != nil && *t.Report.N < *x.Last.N:
		return Noted // overtaken by a younger one
	case running && t.Report.N != nil && x.Last.N != nil && *t.Report.N == *x.Last.N:
		return Repeated
	}
	return Moved
}

// judgeEnded holds a report against the outcome that the device gave first.
func (x Execution) judgeEnded(s Status) Verdict {
	switch outcome := endedBy[x.State]; {
	case s == StatusRunning:
		return Noted
	case s == outcome:
		return Repeated
	default:
		return Contradicted
	}
}

var endedBy = map[State]Status{
	Succeeded: StatusSuccess, Failed: StatusFailure, Rejected: StatusRejected, Canceled: StatusCanceled,
}

// timely reports whether clocks and policy allow k at now. A lapse needs its clock to
// stand still and to have run out. What brings an execution nearer to the wire
// must come before that, also when nobody has noted the lapse yet: a server
// that was down does not send what expired meanwhile.
func (x Execution) timely(k Kind, now time.Time) bool {
	when, next := x.Deadline()
	switch {
	case k.isLapse():
		return k == next && !now.Before(when)
	case k == Due && now.Before(x.due()):
		return false
	case k == GiveUp:
		return x.Command.Policy.Redelivery == Once
	case k == Approve || k == Due || k == Release:
		return next == Due || now.Before(when)
	}
	return true
}

// record writes down what t brings besides the state.
func (x *Execution) record(t Trigger, now time.Time) {
	if t.Attempts > 1 {
		x.Attempts += t.Attempts - 1 // the first was counted as it was released
	}
	switch t.Kind {
	case Approve:
		x.ApprovedAt = now
	case Due:
		x.QueuedAt = now
	case Release:
		x.Seq, x.SentAt, x.Attempts = t.Seq, now, 1
	case Ack:
		first(&x.DeliveredAt, now)
	case AckCancel:
		first(&x.CancelAckedAt, now) // a list that is presented again does not prolong cancel_for
	case Cancel:
		x.CancelAckedAt = time.Time{}
	case SettleLapse:
		x.Settled = true
	}
	if t.Kind.isReport() {
		first(&x.DeliveredAt, now) // the ACK may be late or lost; the report proves as much
		x.keep(t.Report, now)
	}
}

// first sets a moment that stands once it is set.
func first(at *time.Time, now time.Time) {
	if at.IsZero() {
		*at = now
	}
}

// keep stores a report's content. What a completion leaves out, and an
// earlier report said, stands: the value before, and how far it got.
func (x *Execution) keep(r Report, now time.Time) {
	if r.Prev == nil {
		r.Prev = x.Last.Prev
	}
	if r.Progress == nil {
		r.Progress = x.Last.Progress
	}
	if r.N == nil && r.Status != StatusRunning {
		r.N = x.Last.N
	}
	x.Last, x.ReportedAt = r, now
	if r.Status != StatusRunning {
		return
	}
	first(&x.StartedAt, now)
	if x.Cause == Silent { // it is heard of again
		x.Late, x.Cause, x.EndedAt = true, NoCause, time.Time{}
	}
}

// end closes x: why, and what is known of its effect.
func (x *Execution) end(from State, t Trigger, now time.Time) {
	x.Late = x.Late || from == TimedOut
	x.EndedAt = now
	x.Cause = causeOf(from, t)
	x.Effect = x.effectOf(from, t)
}

// causeOf is the cause that an end is given by the server. What the device
// or a person ended needs none.
func causeOf(from State, t Trigger) Cause {
	switch t.Kind {
	case ApproveLapse:
		return ApprovalLapsed
	case UseLapse:
		return ApprovalUnused
	case HoldLapse:
		return Held
	case UnreachedLapse:
		return Unreachable
	case RunLapse:
		return NoReport
	case SilenceLapse:
		return Silent
	case CancelLapse:
		return NotCanceled
	case GiveUp:
		return Unacknowledged
	case DeliverLapse, Withdraw, Lose:
		return t.Cause
	}
	return NoCause
}

// effectOf is what is known of the effect of x as it ends.
//
// Success means applied, whatever the report adds. What never left has no
// effect, unless the store lost its memory of what left. A device that stopped
// or refused before it said running did nothing; after that, only what it says
// of the effect counts.
func (x *Execution) effectOf(from State, t Trigger) Effect {
	said, idle := t.Report.Effect, x.StartedAt.IsZero()
	switch {
	case x.State == Succeeded:
		return EffectApplied
	case x.State == TimedOut:
		return EffectUnknown
	case from.Unsent(), x.State == Rejected && idle:
		return EffectNone
	case said != nil:
		return *said
	case x.State == Canceled && idle:
		return EffectNone
	}
	return EffectUnknown
}

func (k Kind) isReport() bool { return k >= ReportRunning && k <= ReportCannotCancel }
func (k Kind) isLapse() bool  { return k >= ApproveLapse && k <= SettleLapse }
