package dispatch_test

import (
	"fmt"
	"slices"
	"time"

	"behest/command"
	"behest/device"
)

// compare holds the store against the log, and against what it said before.
func (k *model) compare(rows reading) {
	for _, t := range k.m.tries {
		k.must(t.answer != yes || k.byID[t.id] != nil, "%s was accepted as %s, and is in no log", t.label, t.id)
	}
	for _, l := range k.lives {
		v, ok := rows.views[l.id]
		k.must(ok, "%s existed, and is gone", l.label())
		before := len(l.let())
		l.view = v
		for _, x := range rows.xs[l.id] {
			k.row(l, k.part(l, x.Name), x)
		}
		k.must(len(l.parts) == len(rows.xs[l.id]), "%s has %d executions in the log, %d in the store", l.label(), len(l.parts), len(rows.xs[l.id]))
		k.counts(l)
		k.gated(l, len(l.let())-before)
		l.moved = false
	}
	k.must(len(rows.views) == len(k.lives), "%d commands are in the store, %d in the log", len(rows.views), len(k.lives))
	views, _, err := k.m.p.store.Devices(background, device.Filter{})
	k.m.ok(err)
	for _, d := range views {
		open := 0
		for _, l := range k.lives {
			if p := l.xs[d.Name]; p != nil && !p.state.Ended() {
				open++
			}
		}
		k.must(d.Open == open, "%s has %d open, the store counts %d", d.Name, open, d.Open)
		k.must(open <= command.OpenMax+command.OpenUrgentMax, "%s has %d open", d.Name, open)
		k.must(d.LastSeq >= k.greatest[d.Name], "%s was given %d, and the store knows of %d", d.Name, k.greatest[d.Name], d.LastSeq)
		k.handles[d.Handle], k.online[d.Name] = d.Name, d.Online(k.m.p.clock.Now())
	}
}

// row holds an execution against the log, and against what it was before.
func (k *model) row(l *life, p *part, x command.Execution) {
	who := fmt.Sprintf("%s on %s is %s", l.label(), p.device, x.State)
	old := p.row
	if p.state == command.NoState { // it has only begun
		begins := scheduled
		if l.asks() > len(l.yes) {
			begins = awaiting
		}
		k.must(x.State == begins || begins == scheduled && x.State == queued, "%s, and began as %s", who, begins)
		p.state = x.State
	}
	k.must(p.state == x.State, "%s, the log says %s", who, p.state)
	k.must(p.seq == x.Seq, "%s under %d, the log says %d", who, x.Seq, p.seq)
	k.must(p.settled == x.Settled, "%s, settled %t, the log says %t", who, x.Settled, p.settled)
	k.must(p.late == x.Late, "%s, late %t, the log says %t", who, x.Late, p.late)
	if x.State == expired || x.State == timedOut {
		k.must(x.Cause.String() == p.cause, "%s for %s, the log says %s", who, x.Cause, p.cause)
	}
	k.must(!x.State.Ended() || x.EndedAt.Equal(p.endedAt), "%s since %s, the log says %s", who, x.EndedAt, p.endedAt)
	k.must(old.N == 0 || old.N == x.N, "%s in row %d, and was in %d", who, x.N, old.N)
	for _, m := range []struct{ was, is time.Time }{{old.ApprovedAt, x.ApprovedAt}, {old.QueuedAt, x.QueuedAt}, {old.SentAt, x.SentAt}, {old.DeliveredAt, x.DeliveredAt}, {old.StartedAt, x.StartedAt}} {
		k.must(m.was.IsZero() || m.was.Equal(m.is) || k.carried(m.is.Sub(m.was)), "%s: what was at %s is at %s", who, m.was, m.is)
	}
	k.must(!l.mustStop || !x.State.Unsent(), "%s, and was canceled", who)
	k.effect(p, x, who)
	if x.State == queued && p.queuedIn == nil {
		p.queuedAt, p.queuedIn = time.Now(), k.m.p
	}
	p.row = x
}

// carried reports whether the clock was set forward by that since the last
// look: what began while it was held goes with it.
func (k *model) carried(by time.Duration) bool {
	if !k.held || by <= 0 || k.forward != 0 && k.forward != by {
		return false
	}
	k.forward = by
	return true
}

// effect: what is known of it is what the device said, or that it never left.
func (k *model) effect(p *part, x command.Execution, who string) {
	told := func(s command.Status) bool { return k.said[reportKey{p.device, x.Seq, s}] }
	switch {
	case x.State.Unsent():
		k.must(x.Effect == command.EffectNone, "%s, its effect %s", who, x.Effect)
	case x.State.OnWire(), x.State == timedOut:
		k.must(x.Effect == command.EffectUnknown, "%s, its effect %s", who, x.Effect)
	case x.State == succeeded:
		k.must(x.Effect == command.EffectApplied, "%s, its effect %s", who, x.Effect)
	case x.Seq == 0:
		k.must(x.Effect == command.EffectNone, "%s, never sent, its effect %s", who, x.Effect)
	case x.State == rejected && x.StartedAt.IsZero():
		k.must(x.Effect == command.EffectNone, "%s, its effect %s", who, x.Effect)
	case x.Last.Effect != nil:
		k.must(x.Effect == *x.Last.Effect, "%s, its effect %s, and was said to be %s", who, x.Effect, *x.Last.Effect)
	case x.Effect == command.EffectNone:
		k.must(x.State == canceled && told(command.StatusCanceled) && x.StartedAt.IsZero(), "%s, its effect none", who)
	}
}

// counts: they are the sum of the executions.
func (k *model) counts(l *life) {
	var want command.Tally
	for _, p := range l.parts {
		want.Count[p.state]++
		if p.state.Ended() {
			want.Effects[p.row.Effect]++
		}
		if p.state == timedOut && !p.settled {
			want.Unsettled++
		}
	}
	got := l.view.Tally
	want.Pending = got.Pending
	k.must(got == want, "%s counts %+v, want %+v", l.label(), got, want)
	c := l.view.Command
	if c.Devices > 1 {
		k.must(len(l.parts)+got.Pending+len(l.view.Refused) == c.Devices, "%s is for %d: %d and %d pending and %d refused", l.label(), c.Devices, len(l.parts), got.Pending, len(l.view.Refused))
	}
	ended := got.Pending == 0 // also where no device had room
	for _, p := range l.parts {
		ended = ended && p.state.Ended()
	}
	if l.told { // also when one of them runs again
		l.ended = ended
	}
	k.must(ended == l.ended, "%s has ended: %t, the log says %t", l.label(), ended, l.ended)
	k.must(!ended || l.unsettled == (want.Unsettled > 0), "%s has %d unsettled, and is in question: %t", l.label(), want.Unsettled, l.unsettled)
	for _, d := range l.view.Decisions {
		k.must(!d.Approve || d.User != c.RequestedBy, "%s approved what he asked for", d.User)
		k.must(!d.Approve || l.yes[d.User], "%s approved %s, and the log does not know", d.User, l.label())
		k.must(d.Approve || l.no[d.User], "%s denied %s, and the log does not know", d.User, l.label())
	}
	k.must(len(l.view.Decisions) == len(l.yes)+len(l.no), "%s has %d decisions, the log %d", l.label(), len(l.view.Decisions), len(l.yes)+len(l.no))
}

// unsettled reports whether the truth about a part may still come.
func (p *part) unsettled() bool { return p.state == timedOut && !p.settled }

// let are the parts that were let through: who is canceled alone behind a
// gate, or with it, never was.
func (l *life) let() []*part {
	return slices.DeleteFunc(slices.Clone(l.parts), func(p *part) bool { return p.state.Ended() && p.seq == 0 && p.row.QueuedAt.IsZero() })
}

// gated: who is behind a gate stays there until it lets him through.
func (k *model) gated(l *life, begun int) {
	c := l.view.Command
	if g := l.view.Gate; g != nil && l.gate != "" {
		k.must(g.State.String() == l.gate, "the gate of %s is %s, the log says %s", l.label(), g.State, l.gate)
	}
	if begun > 0 && !l.moved && slices.Contains([]string{"paused", "halted", "scheduled"}, l.gate) {
		k.must(false, "%s is %s, and went on by %d", l.label(), l.gate, begun)
	}
	k.must(c.Devices == 1 || len(l.let()) == 0 || l.asks() <= len(l.yes), "%s is for many, not approved, and begins", l.label())
	r, p := c.Rollout, k.m.p
	waits := r != nil && r.WaveWithin > 0 && r.RatePerMinute == 0 && l.view.Tally.Pending > 0 && l.view.Gate != nil && l.view.Gate.State == command.GateOpen
	if !waits || begun > 0 || p.loops != nil || p.clock.Held() || p.clock.Now().Before(l.view.Gate.WaveAt.Add(r.WaveWithin)) {
		l.late = time.Now()
	}
	const slack = 10 * time.Second // also where one step passes over the moment
	k.must(time.Since(l.late) < slack || p.clock.Now().Before(l.view.Gate.WaveAt.Add(r.WaveWithin+slack)), "a wave of %s has lasted too long for %s", l.label(), time.Since(l.late))
	if c.Devices > 1 && r != nil && l.gate != "closed" && r.WaveWithin == 0 && len(l.view.Refused) == 0 {
		k.waves(l, r)
	}
}

// waves: the next begins when all of one have ended.
func (k *model) waves(l *life, r *command.Rollout) {
	parts := slices.SortedFunc(slices.Values(l.parts), func(a, b *part) int { return int(a.row.N - b.row.N) })
	until := 0
	for _, w := range r.Waves {
		until += w.Count + (l.view.Command.Devices*w.Percent+99)/100
		for _, next := range parts[min(until, len(parts)):] {
			waits := slices.ContainsFunc(parts[:until], func(p *part) bool { return !p.once })
			k.must(!waits || !slices.Contains(l.let(), next), "%s has gone on to %s before %d have ended", l.label(), next.device, until)
		}
	}
}

// shown: what a device was shown was on disk before.
func (k *model) shown() {
	for _, s := range k.shows {
		name := k.handles[s.handle]
		last := uint32(0)
		for _, e := range s.list {
			p := k.numbers[name][e.Seq]
			k.must(p != nil, "%s was shown %d, which it was never given", name, e.Seq)
			k.must(!s.held, "%s was shown %d while the clock was held", name, e.Seq)
			k.must(e.Seq > last, "%s was shown %d after %d", name, e.Seq, last)
			k.must(!e.Cancel || p.life.stopped || k.emptied[name] || p.life.view.Command.Automatic != nil, "%s was shown %d as canceled", name, e.Seq)
			k.must(p.event <= s.end.N, "%s was shown %d before that was on disk", name, e.Seq)
			last = e.Seq
		}
	}
	k.shows = nil
}

// leave: what goes once leaves in one exchange, also over a death, unless the
// device has said that it is there.
func (k *model) leave() {
	for _, s := range k.left {
		name := k.handles[s.handle]
		for _, e := range s.list {
			p := k.numbers[name][e.Seq]
			if p == nil || e.Cancel || p.life.view.Command.Policy.Redelivery != command.Once {
				continue
			}
			if p.left.of == nil {
				p.left = s.exchange
			}
			there := k.arrived[arrivalKey{name, e.Seq, command.DeliveryAcked, false}]
			for _, status := range []command.Status{command.StatusRunning, command.StatusSuccess, command.StatusFailure, command.StatusRejected, command.StatusCanceled} {
				there = there || k.said[reportKey{name, e.Seq, status}]
			}
			k.must(there || p.left == s.exchange, "%s goes once, left for %s under %d in one exchange, and in another, is %s", p.life.label(), name, e.Seq, p.state)
		}
	}
	k.left = nil
}

// remembers notes what a registration says: what the device has then on the wire
// is to end.
func (k *model) remembers(name string, last *uint32) {
	if last == nil || *last >= k.reported[name] {
		return
	}
	k.reported[name] = *last
	for _, l := range k.lives {
		if p := l.xs[name]; p != nil && p.state.OnWire() {
			k.forgot = append(k.forgot, p)
		}
	}
}

// forgets: nobody waits for what a device forgot.
func (k *model) forgets() {
	for _, p := range k.forgot {
		k.must(!p.state.OnWire(), "%s on %s is %s, and the device has forgotten it", p.life.label(), p.device, p.state)
	}
	k.forgot = nil
}

// heads: what can leave leaves.
func (k *model) heads() {
	p := k.m.p
	for _, d := range k.m.things {
		used := 0
		for _, l := range k.lives {
			if q := l.xs[d.name]; q != nil && q.state.OnWire() && !l.view.Command.Policy.Urgent && !(q.ran && (l.view.Command.Policy.Parallel || q.late)) {
				used++
			}
		}
		ahead := int64(k.greatest[d.name])-p.clock.Now().Unix() > 3000
		free := p.loops == nil && !p.clock.Held() && k.online[d.name] && d.awake && !ahead && p.stage.free(d.handle)
		for _, l := range k.lives {
			q, c := l.xs[d.name], l.view.Command
			switch {
			case q == nil:
			case !free || q.state != queued || !c.Policy.Urgent && used >= d.sure || c.Window() != nil || !c.NotBefore.IsZero():
				q.ready = time.Time{}
			case q.ready.IsZero():
				q.ready = time.Now()
			default:
				k.must(time.Since(q.ready) < 10*time.Second, "%s could leave for %s since %s, and does not", l.label(), d.name, q.ready)
			}
		}
	}
}

// rollbacks: at most one of a command is alive.
func (k *model) rollbacks() {
	alive := map[command.ID]*life{}
	for _, l := range k.lives {
		of := l.view.Command.RollbackOf
		if of == (command.ID{}) || l.ended {
			continue
		}
		if other := alive[of]; other != nil && !l.revived() && !other.revived() {
			k.must(false, "%s and %s undo the same", l.label(), other.label())
		}
		alive[of] = l
	}
}

// revived reports whether a part of l was heard of again after its end.
func (l *life) revived() bool {
	return slices.ContainsFunc(l.parts, func(p *part) bool { return p.once && !p.state.Ended() })
}

// until is when the clock that bounds a part lapses; zero: none does.
func (k *model) until(p *part) time.Time {
	x, c := &p.row, k.clocksOf(p.life)
	start := x.QueuedAt.Add(c.DeliverWithin)
	unused := func(t time.Time) time.Time {
		if use := x.ApprovedAt.Add(c.UseWithin); !x.ApprovedAt.IsZero() && use.Before(t) {
			return use
		}
		return t
	}
	switch p.state {
	case awaiting:
		return p.life.at.Add(c.ApproveWithin)
	case scheduled:
		return unused(latest(p.life.at, x.ApprovedAt).Add(c.HoldWithin))
	case queued:
		return unused(start)
	case sent:
		return start.Add(c.RunFor)
	case delivered, running:
		return x.DeliveredAt.Add(c.RunFor)
	case canceling:
		if !x.CancelAckedAt.IsZero() {
			return x.CancelAckedAt.Add(c.CancelFor)
		}
		return latest(start, x.DeliveredAt).Add(c.RunFor)
	case timedOut:
		if !p.settled {
			return p.endedAt.Add(c.SettleFor)
		}
	}
	return time.Time{}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// clocks: none is overdue for long.
func (k *model) clocks() {
	held := k.m.p.loops != nil || k.m.p.clock.Held()
	for _, l := range k.lives {
		for _, p := range l.parts {
			at := k.until(p)
			switch {
			case held || at.IsZero() || k.m.p.clock.Now().Before(at):
				p.overdue = time.Time{}
			case p.overdue.IsZero():
				p.overdue = time.Now()
			default:
				k.must(time.Since(p.overdue) < 5*time.Second, "%s on %s is %s, past its clock since %s", l.label(), p.device, p.state, at)
			}
		}
	}
}

// next is when the next clock lapses; zero: none runs. Gates have clocks of
// their own, which are looked at every minute.
func (k *model) next() (next time.Time) {
	for _, l := range k.lives {
		if l.view.Gate != nil || l.view.Tally.Pending > 0 {
			next = k.m.p.clock.Now().Add(time.Minute)
		}
	}
	for _, l := range k.lives {
		for _, p := range l.parts {
			if at := k.until(p); !at.IsZero() && (next.IsZero() || at.Before(next)) {
				next = at
			}
		}
	}
	return next
}

// over: everything has ended, and is known for good.
func (k *model) over() {
	for _, l := range k.lives {
		k.must(l.ended, "%s has not ended: it is %s", l.label(), l.view.State())
		for _, p := range l.parts {
			k.must(p.state.Ended() && (p.state != timedOut || p.settled), "%s on %s is %s for ever", l.label(), p.device, p.state)
		}
	}
}

func (k *model) count() {
	s := k.m.sum
	s.commands += len(k.lives)
	for _, l := range k.lives {
		s.executions += len(l.parts)
		for _, p := range l.parts {
			s.ends[p.state]++
		}
	}
}

// report has a device report, and holds the answer against what must come of
// it.
func (k *model) report(d *thing, seq uint32, r command.Report) {
	m := k.m
	p := k.numbers[d.name][seq]
	k.said[reportKey{d.name, seq, r.Status}] = true
	err := m.p.Report(background, d.name, d.speaker(), seq, r)
	label, state := "nothing", command.NoState
	if p != nil {
		label, state = p.life.label(), p.state
	}
	m.note("%s reports %s on %d, %s, which is %s: %v", d.name, r.Status, seq, label, state, err)
	code := command.Code("")
	if err != nil {
		code = command.CodeOf(err)
	}
	if answerOf(err) == unsure || code == command.CodeUnavailable {
		return
	}
	if p == nil {
		k.must(code == command.CodeNotFound, "a report on a number that was never given is answered %v", err)
		return
	}
	k.reported[d.name] = max(k.reported[d.name], seq)
	k.must(code != command.CodeNotFound, "%s was given %d, and is told that there is no such number", d.name, seq)
	first := p.state.OnWire() || p.state == timedOut && !p.settled
	if p.state != timedOut { // a clock may lapse just now
		switch outcome := ends[r.Status]; {
		case r.Status == command.StatusRunning:
		case p.state.Ended() && p.state == outcome:
			k.must(err == nil, "an outcome that is repeated is answered %v", err)
		case p.state.Ended():
			k.must(code == command.CodeContradiction, "%s after %s is answered %v", r.Status, p.state, err)
		case first && r.Status != command.StatusRejected:
			k.must(err == nil, "%s on what is %s is answered %v", r.Status, p.state, err)
		}
	}
	if err == nil && first && r.Status != command.StatusRunning {
		x, _, err := m.p.store.Execution(background, p.life.id, d.name)
		m.ok(err)
		k.must(x.State == ends[r.Status] && x.Last.Status == r.Status, "%s was taken on %s, which was %s and is %s", r.Status, label, state, x.State)
	}
}

// ends is what a device's outcome makes of an execution.
var ends = map[command.Status]command.State{
	command.StatusSuccess: succeeded, command.StatusFailure: failed, command.StatusRejected: rejected, command.StatusCanceled: canceled,
}
