package dispatch_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"behest/command"
)

// model is what must hold of everything, as far as it can be said in a few
// plain lines. It knows what was asked, said and shown, follows the log event
// by event, and holds the store against both. Of the table of moves and the
// arithmetic of clocks in package command it uses nothing.
type model struct {
	m       *machine
	place   command.Place // how far the log was read
	epoch   uint32        // of the store
	renewed int64         // the last event of the restore that made it
	lives   []*life       // the oldest first
	byID    map[command.ID]*life

	numbers  map[string]map[uint32]*part // by device: whose a number is
	greatest map[string]uint32           // by device: that was given
	reported map[string]uint32           // by device: the greatest that it reported on, for sure
	forgot   []*part                     // was on the wire to a device that then showed to remember less
	said     map[reportKey]bool          // by devices
	arrived  map[arrivalKey]bool
	lost     map[string]bool // devices that said what they remember
	removed  map[string]bool
	emptied  map[string]bool   // by somebody who canceled all that they had
	may      map[string]rights // by user, as the log has it
	might    map[string]rights // at some time since it was sure that the server went by that
	lacked   map[string]rights // likewise, what they could not
	site     map[string]string // of a device that has one
	north    string            // the site that the group stands for
	shows    []show
	left     []leaving
	handles  map[int64]string
	online   map[string]bool

	at      time.Time     // of the latest event
	looked  time.Time     // the last time, by the clock of the bubble
	held    bool          // the clock was, then
	forward time.Duration // by which what began in a hold went with the clock since; 0: nothing did
}

// rights are what somebody may, for all devices.
type rights struct{ operate, approve bool }

func (r rights) or(s rights) rights { return rights{r.operate || s.operate, r.approve || s.approve} }
func (r rights) not() rights        { return rights{!r.operate, !r.approve} }

type reportKey struct {
	device string
	seq    uint32
	status command.Status
}

type arrivalKey struct {
	device string
	seq    uint32
	how    command.Delivery
	cancel bool
}

// life is a command.
type life struct {
	id   command.ID
	try  *try // nil: the server asked for it itself
	view command.View
	at   time.Time
	of   []string // the devices that it came to when it was asked for; nil: nobody knows

	said      map[decision]bool // that was tried
	yes, no   map[string]bool   // that is in the log
	stopped   bool              // somebody tried to cancel it
	mustStop  bool              // and was answered that it is done
	late      time.Time         // since when its wave has lasted too long, or a look before that
	gate      string            // as the log has it; empty: it says nothing
	moved     bool              // since the last look
	parts     []*part
	xs        map[string]*part // by device
	ended     bool
	unsettled bool // it ended, and something of it may still turn out
	told      bool // that it has ended; of one device that is told once
}

type decision struct {
	by  string
	yes bool
}

// part is a command on one device.
type part struct {
	life    *life
	device  string
	row     command.Execution
	state   command.State // as the log has it; NoState: it says nothing
	seq     uint32
	ran     bool // a running was in the log
	late    bool
	settled bool
	cause   string
	event   int64    // that said that it was sent
	left    exchange // the first that it left in
	endedAt time.Time
	once    bool      // it has ended before
	ready   time.Time // since when it could leave
	overdue time.Time // since when its clock has lapsed
	// By the clock of the bubble: when it was first seen as queued, and by whom.
	queuedAt time.Time
	queuedIn *process
}

func newModel(m *machine) *model {
	return &model{
		m: m, epoch: 1, byID: map[command.ID]*life{}, numbers: map[string]map[uint32]*part{}, greatest: map[string]uint32{}, reported: map[string]uint32{},
		said: map[reportKey]bool{}, arrived: map[arrivalKey]bool{}, lost: map[string]bool{}, removed: map[string]bool{}, emptied: map[string]bool{}, handles: map[int64]string{}, online: map[string]bool{},
		site: map[string]string{}, may: map[string]rights{}, might: map[string]rights{}, lacked: map[string]rights{},
	}
}

func (l *life) label() string {
	if l.try == nil {
		return "an automatic rollback"
	}
	return l.try.label
}

func (l *life) waits() bool { return strings.HasPrefix(l.view.State(), "awaiting") }

func (l *life) asks() int {
	if a := l.view.Command.Approval; a != nil {
		return a.Approvers
	}
	return 0
}

// must says that something must hold.
func (k *model) must(ok bool, format string, args ...any) {
	if !ok {
		k.m.t.Fatalf(format, args...)
	}
}

// look reads what is new in the log, and all of the store.
func (k *model) look() {
	k.m.sum.looks++
	k.hear(k.m.p.stage)
	rows := k.read()
	for _, e := range k.events() {
		k.follow(e, rows)
	}
	k.compare(rows)
	k.held, k.forward, k.looked = k.m.p.clock.Held(), 0, time.Now()
	k.shown()
	k.leave()
	k.forgets()
	k.heads()
	k.rollbacks()
	k.clocks()
	if k.m.p.loops == nil { // the server has read anew what it was not sure of
		k.might, k.lacked = maps.Clone(k.may), map[string]rights{}
		for who, r := range k.may {
			k.lacked[who] = r.not()
		}
	}
}

func (k *model) hear(s *stage) {
	shows, left := s.told()
	k.shows, k.left = append(k.shows, shows...), append(k.left, left...)
}

// reading is all commands and executions as the store has them.
type reading struct {
	views map[command.ID]command.View
	xs    map[command.ID][]command.Execution
}

func (k *model) read() reading {
	r := reading{map[command.ID]command.View{}, map[command.ID][]command.Execution{}}
	for before, more := int64(0), true; more; {
		views, left, err := k.m.p.store.Commands(background, command.Filter{Before: before, Limit: 100})
		k.m.ok(err)
		for _, v := range views {
			r.views[v.Command.ID] = v
			before = v.Command.N
			if v.Only != nil {
				r.xs[v.Command.ID] = []command.Execution{*v.Only}
				continue
			}
			xs, _, err := k.m.p.store.Executions(background, v.Command.ID, "", 0, command.PageMax)
			k.m.ok(err)
			r.xs[v.Command.ID] = xs
		}
		more = left && len(views) > 0
	}
	return r
}

// events are those that were not read yet. They are numbered without a gap,
// over crashes too: what was read once is there for ever.
func (k *model) events() (all []command.Event) {
	for {
		some, next, err := k.m.p.store.Events(background, k.place, command.EventFilter{}, 500)
		k.must(err == nil, "the log goes on after %v: %v", k.place, err)
		for i, e := range some {
			k.must(e.N == k.place.N+1+int64(i), "event %d comes after event %d", e.N, k.place.N+int64(i))
		}
		all = append(all, some...)
		if next == k.place {
			k.m.sum.events += len(all)
			return all
		}
		k.place = next
	}
}

// follow holds one event against what came before it.
func (k *model) follow(e command.Event, rows reading) {
	var data struct {
		Seq               uint32
		Cause             string
		Late              bool
		State             string
		Outcome, Rollback string
		Unsettled         int
	}
	if len(e.Data) > 0 {
		k.m.ok(json.Unmarshal(e.Data, &data))
	}
	if e.Type != command.EventClockHeld && e.Type != command.EventClockTrusted { // which are told later, if a commit fails
		k.must(!e.At.Add(time.Second).Before(k.at), "event %d, %s, is at %s, after one at %s", e.N, e.Type, e.At, k.at)
		k.at = latest(k.at, e.At)
	}
	k.around(e)
	k.must(e.Epoch == k.epoch, "event %d is of epoch %d, in epoch %d", e.N, e.Epoch, k.epoch)
	l := k.byID[e.Command]
	if e.Type == command.EventIssued {
		k.must(l == nil, "%s was created twice", e.Command)
		k.create(e, rows)
		return
	}
	kind, what, _ := strings.Cut(string(e.Type), ".")
	k.must(l != nil || kind != "execution" && kind != "approval" || e.Type == command.EventOrphaned, "%s of no command", e.Type)
	switch {
	case e.Type == command.EventApproved:
		k.must(k.might[e.Actor].approve, "%s approved %s, and may not", e.Actor, l.label())
		k.must(l.said[decision{e.Actor, true}], "%s approved %s in the log, and never asked to", e.Actor, l.label())
		k.must(e.Actor != l.view.Command.RequestedBy, "%s approved his own %s", e.Actor, l.label())
		k.must(!l.yes[e.Actor] && !l.no[e.Actor] && len(l.no) == 0 && len(l.yes) < l.asks(), "%s approved %s after %v, %v", e.Actor, l.label(), l.yes, l.no)
		l.yes[e.Actor] = true
		k.must(len(l.yes) < l.asks() || e.At.Before(l.at.Add(k.clocksOf(l).ApproveWithin)), "%s was approved past approve_within", l.label())
	case e.Type == command.EventDenied:
		k.must(l.said[decision{e.Actor, false}], "%s denied %s in the log, and never asked to", e.Actor, l.label())
		k.must(!l.yes[e.Actor] && len(l.no) == 0 && len(l.yes) < l.asks(), "%s denied %s after %v, %v", e.Actor, l.label(), l.yes, l.no)
		l.no[e.Actor] = true
	case e.Type == command.EventGate:
		k.gate(l, data.State)
	case e.Type == command.EventEnded:
		k.must(!l.told, "%s ended twice", l.label())
		l.told = true
		l.ended, l.unsettled = true, slices.ContainsFunc(l.parts, (*part).unsettled)
		k.must(l.unsettled == (data.Unsettled > 0), "%s ended with %d unsettled, in question: %t", l.label(), data.Unsettled, l.unsettled)
		for _, p := range l.parts {
			k.must(p.state.Ended() || p.state == command.NoState && p.row.State.Ended(), "%s has ended, and is %s on %s", l.label(), p.state, p.device)
		}
	case e.Type == command.EventSettled:
		k.must(l.told && l.unsettled && !slices.ContainsFunc(l.parts, (*part).unsettled), "%s is settled, ended %t, in question %t", l.label(), l.ended, l.unsettled)
		l.ended, l.unsettled = true, false
	case e.Type == command.EventClosed:
		p := l.xs[e.Name]
		k.must(p != nil && p.state == command.TimedOut && !p.settled, "%s on %s is closed", l.label(), e.Name)
		k.must(!e.At.Before(p.endedAt.Add(k.clocksOf(l).SettleFor)), "%s on %s is closed at %s, before settle_for", l.label(), e.Name, e.At)
		p.settled = true
	case e.Type == command.EventProgress:
		l.xs[e.Name].ran = true
	case kind == "execution":
		if to, err := command.ParseState(what); err == nil {
			k.move(l, k.part(l, e.Name), to, e, data.Seq, data.Cause, data.Late, rows)
		}
	}
}

// around follows what is not about commands: who may what, and which device is
// where.
func (k *model) around(e command.Event) {
	var data struct {
		User     string
		Roles    []string
		Disabled bool
		Labels   map[string]string
		Selector string
	}
	if len(e.Data) > 0 {
		k.m.ok(json.Unmarshal(e.Data, &data))
	}
	switch e.Type {
	case command.EventGroupPut:
		k.north = strings.TrimPrefix(data.Selector, "site=")
	case command.EventRemoved:
		delete(k.site, e.Name)
	case command.EventEdited:
		if data.Labels != nil {
			k.site[e.Name] = data.Labels["site"]
		}
	case command.EventUserPut:
		has := func(role string) bool {
			return !data.Disabled && (slices.Contains(data.Roles, role) || slices.Contains(data.Roles, "admin"))
		}
		r := rights{has("operator"), has("approver")}
		k.may[data.User] = r
		k.might[data.User], k.lacked[data.User] = k.might[data.User].or(r), k.lacked[data.User].or(r.not())
	}
}

// create begins the life of a command. Somebody asked for it, once, and was
// not told that it was refused.
func (k *model) create(e command.Event, rows reading) {
	v, ok := rows.views[e.Command]
	k.must(ok, "command %s is in the log and not in the store", e.Command)
	l := &life{id: e.Command, view: v, at: e.At, late: time.Now(), said: map[decision]bool{}, yes: map[string]bool{}, no: map[string]bool{}, xs: map[string]*part{}}
	c := v.Command
	label := c.Labels["try"]
	if c.RollbackOf != (command.ID{}) {
		label = c.Reason
	}
	at := slices.IndexFunc(k.m.tries, func(t *try) bool { return t.label == label })
	if strings.HasPrefix(label, "by itself") {
		of := k.byID[c.RollbackOf]
		k.must(of != nil && of.view.Command.Automatic != nil || of.view.Command.Rollout != nil && of.view.Command.Rollout.RollbackOnHalt, "%s was rolled back by itself", c.RollbackOf)
	} else {
		k.must(at >= 0, "nobody asked for %s", label)
		l.try = k.m.tries[at]
		k.must(l.try.answer != no, "%s was refused, and exists", label)
		k.must(l.try.id == c.ID || l.try.answer == unsure, "%s was answered with %s and is %s", label, l.try.id, c.ID)
		k.must(l.try.id == (command.ID{}) || l.try.id == c.ID, "%s exists twice", label)
		l.try.id, l.try.answer = c.ID, yes
		k.must(k.might[c.RequestedBy].operate, "%s asked for %s, and may not", c.RequestedBy, label)
		k.must(c.RequestedBy == l.try.in.RequestedBy, "%s asked for %s, not %s", l.try.in.RequestedBy, label, c.RequestedBy)
		k.must(c.RollbackOf == l.try.undoes, "%s undoes %s, not %s", label, l.try.undoes, c.RollbackOf)
	}
	if l.try != nil && !l.try.rollback {
		l.of = k.picked(l.try.in.Targets)
		k.must(c.Devices == len(l.of), "%s is for %d devices, and not for %v", label, c.Devices, l.of)
	}
	if l.try != nil && !l.try.rollback && l.try.typ.Version == c.TypeVersion {
		k.must(c.Clocks == k.clocksOf(l), "%s has the clocks %+v, want %+v", label, c.Clocks, k.clocksOf(l))
		k.must((c.Approval != nil) == (l.try.typ.Approval != nil), "%s asks for an approval: %t", label, c.Approval != nil)
		k.must(c.Policy == l.try.typ.Policy, "%s has the policy %+v", label, c.Policy)
	}
	k.lives = append(k.lives, l)
	k.byID[l.id] = l
}

// picked are the devices that targets come to now.
func (k *model) picked(t command.Targets) []string {
	names := slices.Clone(t.Devices)
	for name, site := range k.site {
		if site != "" && (t.Selector == "site="+site || len(t.Groups) > 0 && site == k.north) {
			names = append(names, name)
		}
	}
	return names
}

// clocksOf are what the command asked for, else its type's, else the server's.
func (k *model) clocksOf(l *life) command.Clocks {
	if l.try == nil || l.try.rollback || l.try.typ.Version != l.view.Command.TypeVersion {
		return l.view.Command.Clocks
	}
	pick := func(asked time.Duration, b command.Bound, server time.Duration) time.Duration {
		for _, d := range []time.Duration{asked, b.Default, server} {
			if d != 0 {
				return d
			}
		}
		return 0
	}
	t, s, in := l.try.typ.Clocks, serverClocks, l.try.in
	return command.Clocks{
		ApproveWithin: pick(0, t.ApproveWithin, s.ApproveWithin), UseWithin: pick(0, t.UseWithin, s.UseWithin),
		HoldWithin: pick(0, t.HoldWithin, s.HoldWithin), DeliverWithin: pick(in.DeliverWithin, t.DeliverWithin, s.DeliverWithin),
		RunFor: pick(in.RunFor, t.RunFor, s.RunFor), ReportEvery: pick(0, t.ReportEvery, 0),
		CancelFor: pick(0, t.CancelFor, s.CancelFor), SettleFor: pick(0, t.SettleFor, s.SettleFor),
	}
}

func (k *model) part(l *life, name string) *part {
	p := l.xs[name]
	if p == nil {
		k.must(l.of == nil || slices.Contains(l.of, name), "%s is for %v, and on %s", l.label(), l.of, name)
		p = &part{life: l, device: name}
		l.xs[name] = p
		l.parts = append(l.parts, p)
	}
	return p
}

// gate moves the gate of a command on many devices.
func (k *model) gate(l *life, to string) {
	l.moved = true
	l.gate = to
	if to == "open" || to == "scheduled" {
		k.must(len(l.yes) >= l.asks() && len(l.no) == 0, "%s goes on, approved by %v and denied by %v", l.label(), l.yes, l.no)
	}
}

const (
	awaiting  = command.AwaitingApproval
	scheduled = command.Scheduled
	queued    = command.Queued
	sent      = command.Sent
	delivered = command.Delivered
	running   = command.Running
	canceling = command.Canceling
	succeeded = command.Succeeded
	failed    = command.Failed
	rejected  = command.Rejected
	denied    = command.Denied
	canceled  = command.Canceled
	expired   = command.Expired
	timedOut  = command.TimedOut
)

// walks is the picture of 3.2: where each state leads.
var walks = map[command.State][]command.State{
	awaiting:  {scheduled, queued, denied, expired, canceled, timedOut},
	scheduled: {queued, expired, canceled, timedOut},
	queued:    {sent, expired, canceled, timedOut},
	sent:      {delivered, running, succeeded, failed, rejected, canceled, canceling, timedOut},
	delivered: {running, succeeded, failed, rejected, canceled, canceling, timedOut},
	running:   {succeeded, failed, canceled, canceling, timedOut},
	canceling: {running, succeeded, failed, rejected, canceled, timedOut},
	timedOut:  {running, succeeded, failed, rejected, canceled},
}

// withdrawals are causes for which the server takes back what did not leave.
var withdrawals = []string{"device_removed", "not_entitled", "integrity_failed", "nothing_to_undo", "outcome_unknown", "superseded"}

// move holds a move of an execution against what was asked, said and shown.
func (k *model) move(l *life, p *part, to command.State, e command.Event, seq uint32, cause string, late bool, rows reading) {
	at := slices.IndexFunc(rows.xs[l.id], func(x command.Execution) bool { return x.Name == p.device })
	k.must(at >= 0, "%s on %s is %s in the log, and not in the store", l.label(), p.device, to)
	p.row = rows.xs[l.id][at]
	x, c, from := &p.row, k.clocksOf(l), p.state
	who := fmt.Sprintf("%s on %s, %s -> %s %s at %s", l.label(), p.device, from, to, cause, e.At.Format("15:04:05.000"))
	if from == command.NoState {
		ok := slices.ContainsFunc([]command.State{awaiting, scheduled, queued}, func(s command.State) bool { return slices.Contains(walks[s], to) })
		k.must(ok, "%s: it begins so", who)
	} else {
		k.must(slices.Contains(walks[from], to), "%s: there is no such move", who)
	}
	approved := len(l.yes) >= l.asks() && len(l.no) == 0
	stopped := l.stopped || k.emptied[p.device] || l.view.Command.Automatic != nil // which stops the rest of it
	onWire := x.Seq != 0 && p.seq != 0
	said := func(s command.Status) bool { return k.said[reportKey{p.device, p.seq, s}] }
	k.must(late == (from == timedOut || p.late), "%s: late is %t", who, late)
	k.must(from != timedOut || !p.settled, "%s: it was closed as unknown", who)
	k.must(!k.m.p.clock.Held() || e.N <= k.m.p.begun.N || to != sent && to != expired && (to != timedOut || slices.Contains([]string{"device_removed", "device_reset", "restored", "unacknowledged"}, cause)), "%s: the clock is held", who)
	past := func(when time.Time) bool { return !e.At.Before(when) }

	switch to {
	case scheduled, queued:
		k.must(approved, "%s: approved by %v, denied by %v", who, l.yes, l.no)
		k.must(to != queued || past(l.view.Command.NotBefore), "%s: before %s", who, l.view.Command.NotBefore)
	case sent:
		k.must(l.try == nil || k.might[l.view.Command.RequestedBy].operate, "%s: %s may not", who, l.view.Command.RequestedBy)
		k.must(approved, "%s: approved by %v, denied by %v", who, l.yes, l.no)
		k.release(l, p, e, seq, c, rows, who)
	case delivered:
		k.must(k.arrived[arrivalKey{p.device, p.seq, command.DeliveryAcked, false}], "%s: no ACK came", who)
	case running:
		k.must(said(command.StatusRunning), "%s: the device did not say so", who)
		k.must(from != timedOut || p.cause == "silent" && !past(x.DeliveredAt.Add(c.RunFor)), "%s: after %s", who, p.cause)
		p.ran = true
		if from == timedOut {
			l.ended = false
		}
	case succeeded:
		k.must(onWire && said(command.StatusSuccess), "%s: the device did not say so", who)
	case failed:
		k.must(onWire && said(command.StatusFailure), "%s: the device did not say so", who)
	case rejected:
		k.must(onWire && said(command.StatusRejected), "%s: the device did not say so", who)
	case denied:
		k.must(len(l.no) > 0 && p.seq == 0, "%s: nobody denied", who)
	case canceling:
		k.must(onWire && stopped, "%s: nobody asked for it", who)
	case canceled:
		k.must(cause != "not_entitled" || k.lacked[l.view.Command.RequestedBy].operate, "%s: %s may", who, l.view.Command.RequestedBy)
		unsent := p.seq == 0 && (stopped || slices.Contains(withdrawals, cause))
		k.must(unsent || onWire && said(command.StatusCanceled), "%s: nobody asked for it, or the device did not say so", who)
	case expired:
		k.must(p.seq == 0, "%s: it left under %d", who, p.seq)
		k.must(past(k.unsentUntil(l, x, cause)), "%s: too early", who)
	case timedOut:
		k.lapse(l, p, e, cause, c, who)
	}
	if late {
		p.late = true
	}
	if to.Ended() {
		k.must(from == command.NoState || !from.Ended() || from == timedOut, "%s: it had ended", who)
		p.endedAt, p.cause, p.once = e.At, cause, true
	}
	p.state = to
}

// unsentUntil is when what never left expires for a cause.
func (k *model) unsentUntil(l *life, x *command.Execution, cause string) time.Time {
	c := k.clocksOf(l)
	allowed := l.at
	if x.ApprovedAt.After(allowed) {
		allowed = x.ApprovedAt
	}
	switch cause {
	case "approval_lapsed":
		return l.at.Add(c.ApproveWithin)
	case "approval_unused":
		return x.ApprovedAt.Add(c.UseWithin)
	case "held":
		return allowed.Add(c.HoldWithin)
	}
	return x.QueuedAt.Add(c.DeliverWithin)
}

// lapse holds a timed_out against its cause.
func (k *model) lapse(l *life, p *part, e command.Event, cause string, c command.Clocks, who string) {
	x, lost := &p.row, k.lost[p.device]
	past := func(when time.Time) bool { return !e.At.Before(when) }
	start := x.QueuedAt.Add(c.DeliverWithin)
	switch cause {
	case "restored":
		k.must(lost || e.N <= k.renewed, "%s: no device said that it knows more", who)
		return
	case "device_reset":
		k.must(lost && p.seq != 0, "%s: no device said that it forgot", who)
		return
	case "device_removed":
		k.must(k.removed[p.device] && p.seq != 0, "%s: nobody removed it", who)
		return
	}
	k.must(p.seq != 0, "%s: it never left", who)
	switch cause {
	case "unreachable":
		k.must(past(start.Add(c.RunFor)), "%s: too early", who)
	case "unacknowledged":
		k.must(l.view.Command.Policy.Redelivery == command.Once && p.state == sent, "%s: it does not go once", who)
	case "no_report":
		k.must(past(x.DeliveredAt.Add(c.RunFor)), "%s: too early", who)
	case "silent":
		every := c.ReportEvery
		if x.Last.Next > 0 {
			every = x.Last.Next
		}
		every = min(every, c.RunFor)
		k.must(every > 0 && past(x.ReportedAt.Add(every+max(every/2, 5*time.Second))), "%s: too early", who)
	case "not_canceled":
		until := start.Add(c.RunFor)
		if started := x.DeliveredAt.Add(c.RunFor); started.After(until) {
			until = started
		}
		if !x.CancelAckedAt.IsZero() {
			until = x.CancelAckedAt.Add(c.CancelFor)
		}
		k.must(past(until), "%s: too early", who)
	default:
		k.must(false, "%s: for no known cause", who)
	}
}

// release holds a release against what has to be before it.
func (k *model) release(l *life, p *part, e command.Event, seq uint32, c command.Clocks, rows reading, who string) {
	x := &p.row
	k.must(seq == x.Seq && seq != 0 && p.seq == 0, "%s: under %d, in the store %d, before %d", who, seq, x.Seq, p.seq)
	k.must(seq > k.greatest[p.device], "%s: under %d, after %d", who, seq, k.greatest[p.device])
	k.greatest[p.device], p.seq, p.event = seq, seq, e.N
	if k.numbers[p.device] == nil {
		k.numbers[p.device] = map[uint32]*part{}
	}
	k.numbers[p.device][seq] = p
	k.must(e.At.Before(x.QueuedAt.Add(c.DeliverWithin)), "%s: past deliver_within", who)
	k.must(l.asks() == 0 || e.At.Before(x.ApprovedAt.Add(c.UseWithin)), "%s: past use_within", who)
	// In the time of the bubble, whatever the clock was meanwhile: it was queued
	// before it was seen so, and leaves after the last look.
	k.must(p.queuedIn != k.m.p || k.looked.Before(p.queuedAt.Add(c.DeliverWithin)), "%s: queued since %s, and leaves after %s", who, p.queuedAt, k.looked)
	ahead := k.m.p.clock.Ahead()
	if e.N <= k.m.p.begun.N { // it left in the process before
		ahead = k.m.before
	}
	wall := e.At.Add(-ahead)
	slack := 3 * time.Second
	k.must(!wall.Add(slack).Before(l.view.Command.NotBefore), "%s: before %s", who, l.view.Command.NotBefore)
	if w := l.view.Command.Window(); w != nil {
		open := wall.Add(slack).UTC().Minute()%3 == 0 || wall.Add(-slack).UTC().Minute()%3 == 0
		k.must(open, "%s: outside its window, at %s", who, wall)
	}
	if l.view.Command.Policy.Urgent {
		return
	}
	used := 0
	for _, other := range k.lives {
		q := other.xs[p.device]
		if q == nil || other.view.Command.Policy.Urgent {
			continue
		}
		if q == p {
			used++
			continue
		}
		if q.state.OnWire() && !(q.ran && (other.view.Command.Policy.Parallel || q.late)) {
			used++
		}
		fits := other.view.Command.Window() == nil && other.view.Command.NotBefore.IsZero() && q.state == queued && q.row.N < x.N
		k.must(!fits || !e.At.Before(k.until(q)), "%s: before the older %s", who, other.label())
	}
	k.must(used <= k.window(p.device), "%s: %d at once, in a window of %d", who, used, k.window(p.device))
}

func (k *model) window(name string) int {
	for _, d := range k.m.things {
		if d.name == name {
			return d.window
		}
	}
	return 1
}
