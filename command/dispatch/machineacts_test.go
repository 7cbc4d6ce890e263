package dispatch_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"pgregory.net/rapid"

	"behest/access"
	"behest/command"
	"behest/device"
)

var background = context.Background()

var typeNames = []string{"set", "turn", "turn.back", "plain"}

// declare draws a type of that name and declares it.
func (m *machine) declare(name string) {
	t := m.t
	bound := func(what string) command.Bound {
		return command.Bound{Default: rapid.SampledFrom([]time.Duration{0, 0, time.Minute, 10 * time.Second, time.Second, 4 * time.Minute}).Draw(t, what)}
	}
	typ := command.Type{
		Name: name, Slot: []string{"/a"},
		Policy: command.Policy{
			Redelivery: command.Redelivery(rapid.IntRange(0, 2).Draw(t, "redelivery")), Fresh: m.seldom(4, "fresh"),
		},
		Clocks: command.TypeClocks{
			ApproveWithin: bound("approve_within"), UseWithin: bound("use_within"), HoldWithin: bound("hold_within"), DeliverWithin: bound("deliver_within"),
			RunFor: bound("run_for"), CancelFor: bound("cancel_for"), SettleFor: bound("settle_for"),
		},
	}
	switch rapid.IntRange(0, 4).Draw(t, "place") {
	case 3:
		typ.Policy.Parallel = true
	case 4:
		typ.Policy.Urgent = true
	}
	if m.seldom(3, "heartbeat") {
		typ.Clocks.ReportEvery.Default = m.span("report_every")
	}
	if m.seldom(3, "asks") {
		typ.Approval = &command.ApprovalRule{Approvers: rapid.IntRange(1, 2).Draw(t, "approvers")}
	}
	var automatic *command.Threshold
	if m.seldom(4, "automatic") {
		automatic = &command.Threshold{Percent: 50, Minimum: 1}
	}
	switch name {
	case "set":
		typ.Rollback = &command.RollbackRule{Kind: command.Restore, Automatic: automatic}
	case "turn":
		typ.Rollback = &command.RollbackRule{Kind: command.Inverse, Type: "turn.back", Automatic: automatic,
			Params: map[string]json.RawMessage{"a": json.RawMessage(`"/a"`)}}
	}
	got, _, err := m.p.PutType(background, typ, 0, "ann")
	m.note("declare %s %+v approval %+v: %v", name, typ.Policy, typ.Approval, err)
	switch answerOf(err) {
	case yes:
		m.types[name] = got
	case unsure:
		m.types[name] = command.Type{Name: name, Version: -1} // nobody knows what it is
	}
}

func (m *machine) redeclare() {
	m.declare(one(m, "type", typeNames))
}

// intent draws what somebody may want.
func (m *machine) intent() (command.Intent, *try) {
	t := m.t
	m.n++
	tr := &try{label: fmt.Sprintf("c%d", m.n), typ: m.types[one(m, "type", typeNames)]}
	in := command.Intent{
		Type: tr.typ.Name, RequestedBy: one(m, "who", people), Labels: map[string]string{"try": tr.label},
		Params: fmt.Appendf(nil, `{"a":%d,"v":%d}`, rapid.IntRange(0, 1).Draw(t, "a"), m.n),
	}
	switch {
	case m.seldom(6, "by label"):
		in.Targets = one(m, "which", []command.Targets{{Selector: "site=a"}, {Selector: "site=b"}, {Groups: []string{"north"}}, {Groups: []string{"north"}, Selector: "site=b"}})
		in.Rollout = m.rollout()
	case len(m.things) > 1 && m.seldom(3, "many"):
		for _, d := range m.things {
			in.Targets.Devices = append(in.Targets.Devices, d.name)
		}
		in.Rollout = m.rollout()
	default:
		in.Targets.Devices = []string{one(m, "device", m.things).name}
	}
	if m.seldom(6, "later") {
		in.NotBefore = m.wall().Add(m.span("not_before")).Truncate(time.Millisecond).UTC()
	}
	if m.seldom(6, "in a window") {
		if in.Rollout == nil {
			in.Rollout = &command.Rollout{}
		}
		in.Rollout.Window = &command.Window{Cron: "*/3 * * * *", Duration: time.Minute}
	}
	if m.seldom(5, "deliver_within") {
		in.DeliverWithin = m.span("deliver_within")
	}
	if m.seldom(5, "run_for") {
		in.RunFor = m.span("run_for")
	}
	tr.in = in
	m.tries = append(m.tries, tr)
	return in, tr
}

// rollout draws how a command goes to many devices.
func (m *machine) rollout() *command.Rollout {
	t := m.t
	if rapid.Bool().Draw(t, "at once") {
		return nil
	}
	r := &command.Rollout{}
	if rapid.Bool().Draw(t, "in waves") {
		r.Waves = []command.Wave{{Count: 1}, {Percent: 50}}
		if m.seldom(3, "wave_within") {
			r.WaveWithin = m.span("wave_within")
		}
	}
	if m.seldom(3, "paced") {
		r.RatePerMinute = 6
	}
	if m.seldom(2, "halts") {
		r.Halt = &command.Threshold{Percent: 50, Minimum: 1}
	}
	return r
}

func (m *machine) issue() {
	in, tr := m.intent()
	i, err := m.p.Issue(background, in)
	tr.answer = answerOf(err)
	if err == nil {
		tr.id = i.Command.ID
	}
	m.note("%s issues %s of %s for %+v, not before %s, rollout %+v: %v", in.RequestedBy, tr.label, in.Type, in.Targets, in.NotBefore.Format("15:04:05"), in.Rollout, err)
}

// again asks under a key, often one that was used before.
func (m *machine) again() {
	var k *keyed
	fresh := len(m.keys) == 0 || m.seldom(3, "new key")
	if fresh {
		m.n++
		k = &keyed{claim: command.Claim{Key: [32]byte{byte(m.n)}, Request: [32]byte{1}}}
		for range rapid.IntRange(1, 2).Draw(m.t, "of one request") {
			in, tr := m.intent()
			k.ins, k.tries = append(k.ins, in), append(k.tries, tr)
		}
		m.keys = append(m.keys, k)
	} else {
		k = one(m, "key", m.keys)
	}
	render := func(issued []command.Issued, errs []error) []byte {
		var out string
		for n := range issued {
			if errs[n] == nil {
				out += issued[n].Command.ID.String()
			}
			out += ";"
		}
		return []byte(out)
	}
	claim := k.claim
	other := !fresh && m.seldom(4, "another request")
	if other {
		claim.Request[0]++
	}
	answered := k.body != "" && !k.empty
	for _, tr := range k.tries {
		if !answered && tr.answer == no {
			tr.answer = unsure // what was refused and not kept may be accepted now
		}
	}
	body, again, err := m.p.IssueOnce(background, claim, k.ins, render)
	m.note("under key %d, other %t: again %t, %q, %v", claim.Key[0], other, again, body, err)
	switch {
	case answerOf(err) == unsure && other && !answered: // nobody can say whose key it is
		m.keys = slices.DeleteFunc(m.keys, func(one *keyed) bool { return one == k })
	case answerOf(err) == unsure, command.CodeOf(err) == command.CodeUnavailable:
	case other && answered && command.CodeOf(err) != command.CodeConflict:
		m.t.Fatalf("another request under a used key is answered %q %v, want a conflict", body, err)
	case other && command.CodeOf(err) == command.CodeConflict:
		return
	case answered && (err != nil || !again || string(body) != k.body):
		m.t.Fatalf("the same request under the same key is answered %q, again %t, %v; want %q again", body, again, err, k.body)
	case err != nil:
		m.t.Fatalf("a request under a key is answered %v", err)
	case other:
		k.claim = claim // nothing was kept before, so this is the request from now on
		fallthrough
	default:
		k.body, k.empty = string(body), strings.Trim(string(body), ";") == ""
		for n, text := range strings.Split(k.body, ";")[:len(k.tries)] {
			k.tries[n].answer = no
			if text != "" {
				k.tries[n].answer = yes
				k.tries[n].id, err = command.ParseID(text)
				m.ok(err)
			}
		}
	}
}

// flood issues many in one commit; sometimes more than a device takes.
func (m *machine) flood() {
	n := rapid.SampledFrom([]int{2, 3, 5, 30}).Draw(m.t, "how many")
	var ins []command.Intent
	var tries []*try
	for range min(n, 5) {
		in, tr := m.intent()
		ins, tries = append(ins, in), append(tries, tr)
	}
	for len(ins) < n { // the last again and again
		m.n++
		tr := *tries[len(tries)-1]
		tr.label = fmt.Sprintf("c%d", m.n)
		tr.in.Labels = map[string]string{"try": tr.label}
		m.tries = append(m.tries, &tr)
		ins, tries = append(ins, tr.in), append(tries, &tr)
	}
	issued, errs, err := m.p.IssueBatch(background, ins)
	m.note("a batch of %d to %s: %v", n, tries[0].label, err)
	for i, tr := range tries {
		switch {
		case err != nil:
			tr.answer = answerOf(err)
		case errs[i] != nil:
			tr.answer = answerOf(errs[i])
		default:
			tr.answer, tr.id = yes, issued[i].Command.ID
		}
	}
}

// some draws a command, mostly one that has not ended and that f picks.
func (m *machine) some(what string, f func(*life) bool) *life {
	var picked []*life
	if !m.seldom(5, what+" of any") {
		for _, l := range m.model.lives {
			if f(l) {
				picked = append(picked, l)
			}
		}
	}
	if len(picked) == 0 {
		picked = m.model.lives
	}
	picked = slices.Clone(picked)
	slices.Reverse(picked) // what shrinks is the youngest
	return one(m, what, picked)
}

func (m *machine) decide() {
	l := m.some("command", (*life).waits)
	by := one(m, "who", people)
	m.say(l, by, !m.seldom(4, "deny"), m.seldom(8, "of something else"))
}

// say has somebody decide on a command.
func (m *machine) say(l *life, by string, approve, stale bool) {
	var digest [32]byte
	copy(digest[:], l.view.Digest())
	if stale {
		digest[0]++
	} else {
		l.said[decision{by, approve}] = true
	}
	decide := m.p.Deny
	if approve {
		decide = m.p.Approve
	}
	_, err := decide(background, l.id, digest, "", by)
	m.note("%s approves (%t, stale %t) %s: %v", by, approve, stale, l.label(), err)
	switch {
	case err != nil:
	case stale && !l.said[decision{by, approve}]:
		m.t.Fatalf("a decision on something else counts")
	case approve && by == l.view.Command.RequestedBy:
		m.t.Fatalf("who asked for it approves it")
	}
}

func (m *machine) cancel() {
	l := m.some("command", func(l *life) bool { return !l.ended })
	var names []string
	if l.view.Command.Devices > 1 && m.seldom(3, "some of it") {
		names = []string{one(m, "device", m.things).name}
	}
	m.stop(l, names, one(m, "who", people))
}

func (m *machine) stop(l *life, names []string, by string) {
	l.stopped = true
	_, err := m.p.Cancel(background, l.id, names, by)
	m.note("%s cancels %s on %v: %v", by, l.label(), names, err)
	if err == nil && names == nil {
		l.mustStop = true
	}
}

func (m *machine) cancelDevice() {
	d := one(m, "device", m.things)
	m.model.emptied[d.name] = true
	_, err := m.p.CancelDevice(background, d.name, "ann")
	m.note("everything on %s is canceled: %v", d.name, err)
}

func (m *machine) rollBack() {
	l := m.some("command", func(l *life) bool { return l.view.Command.Slot != 0 })
	m.n++
	in := command.RollbackIntent{By: one(m, "who", people), Reason: fmt.Sprintf("c%d", m.n), Force: m.seldom(4, "force")}
	if l.view.Command.Devices > 1 && m.seldom(3, "some of it") {
		in.Devices = []string{one(m, "device", m.things).name}
	}
	tr := &try{label: in.Reason, undoes: l.id, rollback: true, in: command.Intent{RequestedBy: in.By}}
	m.tries = append(m.tries, tr)
	if l.view.Command.Devices > 1 && len(in.Devices) == 0 {
		l.stopped = true // what has not left never does
	}
	i, err := m.p.Rollback(background, l.id, in)
	if tr.answer = answerOf(err); err == nil {
		tr.id = i.Command.ID
	}
	m.note("%s undoes %s by %s, force %t, on %v: %v", in.By, l.label(), tr.label, in.Force, in.Devices, err)
}

// staged reports whether a command has a gate.
func (l *life) staged() bool { return l.view.Gate != nil }

func (m *machine) pause() {
	l := m.some("command", (*life).staged)
	move, what := m.p.Pause, "pauses"
	if rapid.Bool().Draw(m.t, "resume") {
		move, what = m.p.Resume, "resumes"
	}
	_, err := move(background, l.id, "ann")
	m.note("ann %s %s: %v", what, l.label(), err)
}

func (d *thing) speaker() device.Speaker {
	return device.Speaker{Endpoint: device.Endpoint{Remote: netip.AddrPortFrom(there.Remote.Addr(), d.port)}}
}

func (d *thing) observation() device.Observation {
	return device.Observation{Endpoint: d.speaker().Endpoint, Token: []byte{1}}
}

func (m *machine) register() {
	d := one(m, "device", m.things)
	window := rapid.IntRange(1, 3).Draw(m.t, "window")
	r := device.Registering{Name: d.name, From: d.speaker(), Lifetime: time.Hour, Window: window}
	if m.seldom(6, "short life") {
		r.Lifetime = time.Minute
	}
	greatest := m.model.greatest[d.name]
	switch rapid.IntRange(0, 11).Draw(m.t, "last") {
	case 6, 7:
		r.Last = &greatest
	case 8, 9, 10:
		low := m.model.reported[d.name] - min(m.model.reported[d.name], 1) // it forgot its last one, at least
		r.Last = &low
	case 11:
		high := greatest + uint32(rapid.SampledFrom([]int{5, 2000, 1 << 20}).Draw(m.t, "ahead"))
		r.Last = &high
	}
	if r.Last != nil {
		m.model.lost[d.name] = true
	}
	before := *d
	d.window, d.sure = max(d.window, window), min(d.sure, window)
	h, err := m.p.Register(background, r)
	last := "nothing"
	if r.Last != nil {
		last = fmt.Sprint(*r.Last)
	}
	m.note("%s registers, window %d, last %s: %v", d.name, window, last, err)
	switch {
	case err == nil:
		m.model.remembers(d.name, r.Last)
		if d.known() && d.handle != h {
			m.t.Fatalf("%s had the handle %d and now has %d", d.name, d.handle, h)
		}
		d.handle, d.window, d.sure = h, window, window
		if r.Last != nil && *r.Last > greatest {
			m.model.greatest[d.name] = *r.Last // no number up to there is ever given
		}
	case answerOf(err) == unsure:
		m.model.reported[d.name] = 0 // nobody knows what it is taken to have forgotten
	default:
		d.window, d.sure = before.window, before.sure
	}
}

func (m *machine) observe() {
	d := one(m, "device", m.registered())
	if m.seldom(6, "from elsewhere") {
		d.port += 100
	}
	dev, p, err := m.p.Observe(background, d.name, d.speaker(), d.observation())
	m.note("%s observes: %v %v", d.name, err, seqs(p.List))
	if err != nil {
		return
	}
	if over := m.p.stage.observed(dev, p); len(over) > 0 {
		m.arrive(d, device.Observation{}, over, command.DeliverySilent)
	}
}

// get has a device ask for its list, which reaches it or does not.
func (m *machine) get() {
	d := one(m, "device", m.registered())
	dev, p, err := m.p.List(background, d.name, d.speaker())
	m.note("%s asks: %v %v", d.name, err, seqs(p.List))
	if err != nil {
		return
	}
	list := m.p.stage.heardList(dev, p)
	switch rapid.IntRange(0, 2).Draw(m.t, "answer") {
	case 0:
		m.receive(d, list)
		m.arrive(d, device.Observation{}, list, command.DeliveryAcked)
	case 1:
		m.receive(d, list)
		m.arrive(d, device.Observation{}, list, command.DeliverySilent)
	default:
		m.arrive(d, device.Observation{}, list, command.DeliverySilent)
	}
}

func (m *machine) deregister() {
	d := one(m, "device", m.registered())
	if !m.seldom(3, "really") {
		_, _, err := m.p.Forget(background, d.name, d.speaker(), d.observation())
		m.note("%s observes no more: %v", d.name, err)
		return
	}
	err := m.p.Deregister(background, d.handle, d.speaker())
	m.note("%s deregisters: %v", d.name, err)
}

// receive has a device take in a list.
func (m *machine) receive(d *thing, list []command.Entry) {
	for _, e := range list {
		if !slices.Contains(d.got, e.Seq) {
			d.got = append(d.got, e.Seq)
		}
	}
}

// arrive tells the server what became of an exchange.
func (m *machine) arrive(d *thing, o device.Observation, list []command.Entry, how command.Delivery) {
	if len(list) == 0 && how == command.DeliveryAcked && !o.Remote.IsValid() {
		return
	}
	for _, e := range list {
		m.model.arrived[arrivalKey{d.name, e.Seq, how, e.Cancel}] = true
	}
	m.p.Arrived(d.handle, o, command.Arrival{Carried: carried(list), Attempts: rapid.IntRange(1, 3).Draw(m.t, "attempts"), Outcome: how})
}

// flying are the devices with which an exchange is under way.
func (m *machine) flying() (some []*thing) {
	for _, d := range m.registered() {
		if m.p.stage.flying(d.handle) != nil {
			some = append(some, d)
		}
	}
	return some
}

// exchange ends an exchange that is under way.
func (m *machine) exchange() {
	d := one(m, "device", m.flying())
	how := rapid.SampledFrom([]command.Delivery{command.DeliveryAcked, command.DeliveryAcked, command.DeliveryAcked, command.DeliverySilent, command.DeliveryReset}).Draw(m.t, "how")
	list, o, _ := m.p.stage.answered(d.handle, rapid.Bool().Draw(m.t, "again"))
	if how != command.DeliveryReset && (how == command.DeliveryAcked || rapid.Bool().Draw(m.t, "heard")) {
		m.receive(d, list)
	}
	m.note("the exchange with %s, %v: %d", d.name, seqs(list), how)
	m.arrive(d, o, list, how)
	m.p.stage.goOn(d.handle)
}

// serve has a device do as it should, for a while: it takes in what is in the air,
// says so, does it, and says how that went. What comes of it is the ground on
// which rollbacks, contradictions and restarts have something to go wrong.
func (m *machine) serve() {
	d := one(m, "device", m.flying())
	status := rapid.SampledFrom([]command.Status{command.StatusSuccess, command.StatusSuccess, command.StatusSuccess, command.StatusFailure}).Draw(m.t, "status")
	for range rapid.IntRange(1, 4).Draw(m.t, "lists") {
		list, o, ok := m.p.stage.answered(d.handle, true)
		if !ok {
			return
		}
		m.receive(d, list)
		m.note("%s takes in %v", d.name, seqs(list))
		m.arrive(d, o, list, command.DeliveryAcked)
		m.p.stage.goOn(d.handle)
		m.settle()
		for _, e := range list {
			r := command.Report{Status: status, Prev: []byte{0xa2, 0x61, 'a', 0, 0x61, 'v', 7}}
			if e.Cancel {
				r = command.Report{Status: command.StatusCanceled}
			}
			m.model.report(d, e.Seq, r)
			m.settle()
		}
	}
}

// report has a device say something of a number, mostly of one that it got.
func (m *machine) report() {
	t := m.t
	d := one(m, "device", slices.DeleteFunc(slices.Clone(m.things), func(d *thing) bool { return len(d.got) == 0 }))
	if list := m.p.stage.flying(d.handle); list != nil {
		m.receive(d, list)
	}
	var seq uint32
	if m.seldom(12, "of any") {
		seq = uint32(int(m.model.greatest[d.name]) + rapid.IntRange(-2, 2).Draw(t, "number"))
	} else {
		numbers := slices.DeleteFunc(slices.Clone(d.got), func(n uint32) bool {
			p := m.model.numbers[d.name][n]
			return p != nil && !p.state.OnWire()
		})
		if len(numbers) == 0 || m.seldom(3, "of what has ended") {
			numbers = slices.Clone(d.got[max(0, len(d.got)-5):])
		}
		slices.Reverse(numbers) // what shrinks is the youngest
		seq = one(m, "number", numbers)
	}
	r := command.Report{Status: rapid.SampledFrom([]command.Status{
		command.StatusSuccess, command.StatusRunning, command.StatusRunning, command.StatusFailure, command.StatusRejected, command.StatusCanceled}).Draw(t, "status")}
	if m.seldom(4, "with n") {
		n := rapid.Uint32Range(0, 3).Draw(t, "n")
		r.N = &n
	}
	if m.seldom(4, "with effect") {
		e := command.Effect(rapid.IntRange(0, 3).Draw(t, "effect"))
		r.Effect = &e
	}
	if m.seldom(4, "with code") {
		c := rapid.SampledFrom([]int64{command.GenericCannotCancel, command.GenericExpired, 77}).Draw(t, "code")
		r.Code = &c
	}
	if m.seldom(5, "with next") {
		r.Next = m.span("next")
	}
	if m.seldom(3, "with prev") {
		r.Prev = []byte{0xa2, 0x61, 'a', 0, 0x61, 'v', 7}
	}
	m.model.report(d, seq, r)
}

// wait lets time pass.
func (m *machine) wait() {
	by := m.span("how long")
	switch rapid.IntRange(0, 5).Draw(m.t, "until") {
	case 0:
		by = 5 * time.Second
	case 1, 2, 3:
		if next := m.model.next(); !next.IsZero() {
			by = min(max(0, next.Sub(m.p.clock.Now())), time.Hour)
		}
	case 4:
		if m.seldom(20, "more than a day") {
			by = 25 * time.Hour
		}
	}
	m.note("%s pass", by)
	time.Sleep(by)
	m.p.stage.rested()
}

// stepWall has somebody set the system's clock.
func (m *machine) stepWall() {
	by := rapid.SampledFrom([]time.Duration{time.Minute, -time.Minute, 10 * time.Second, 2 * time.Hour, -2 * time.Hour, 30 * time.Hour, -30 * time.Hour}).Draw(m.t, "by")
	m.ahead.Add(int64(by))
	m.synced.Store(rapid.Bool().Draw(m.t, "synchronised"))
	m.note("the wall steps by %s, synchronised %t", by, m.synced.Load())
}

// crash ends the process at rest, with what it has on disk, and starts
// another, after a while.
func (m *machine) crash() {
	if m.p.loops != nil { // a process whose loops did not run yet goes on
		m.p.loops()
		m.note("the loops begin")
		return
	}
	m.sum.restarts++
	p := m.p
	p.disk.kill()
	m.bury(p)
	off := rapid.SampledFrom([]time.Duration{0, time.Second, time.Minute, 10 * time.Minute}).Draw(m.t, "off for")
	time.Sleep(off)
	trust := rapid.Bool().Draw(m.t, "trust")
	m.boot(p.disk.left, trust, rapid.Bool().Draw(m.t, "loops"))
	m.note("a crash; %s later another process, trust %t, held %t, loops %t", off, trust, m.p.clock.Held(), m.p.loops == nil)
}

var sites = []string{"a", "b", "c"}

// label has a device be at another site.
func (m *machine) label(d *thing) {
	e := device.Edit{Labels: map[string]string{"site": one(m, "site", sites)}}
	_, err := m.p.EditDevice(background, d.name, e, people[0])
	m.note("%s is labelled %v: %v", d.name, e.Labels, err)
}

// regroup has a group stand for another site.
func (m *machine) regroup() {
	g := device.Group{Name: "north", Selector: "site=" + one(m, "site", sites)}
	_, _, err := m.p.PutGroup(background, g, 0, people[0])
	m.note("north is %s: %v", g.Selector, err)
}

// edit changes or removes a device.
func (m *machine) edit() {
	d := one(m, "device", m.things)
	if m.seldom(3, "remove") {
		m.model.removed[d.name] = true
		err := m.p.RemoveDevice(background, d.name, 0, "ann")
		m.note("%s is removed: %v", d.name, err)
		return
	}
	if rapid.Bool().Draw(m.t, "labels") {
		m.label(d)
		return
	}
	awake := rapid.SampledFrom([]int{0, 10}).Draw(m.t, "awake")
	d.awake = false
	_, err := m.p.EditDevice(background, d.name, device.Edit{AwakeSeconds: &awake}, "ann")
	m.note("%s is awake for %d s: %v", d.name, awake, err)
	if err == nil {
		d.awake = awake == 0
	}
}

// entitle changes what somebody may.
func (m *machine) entitle() {
	u := access.User{ID: one(m, "who", people[1:]), Disabled: m.seldom(4, "disabled")}
	for _, r := range []access.Roles{access.Viewer, access.Operator, access.Approver} {
		if m.seldom(2, r.Names()[0]) {
			u.Grants = append(u.Grants, access.Grant{Role: r})
		}
	}
	_, _, err := m.p.PutUser(background, u, 0, people[0])
	m.note("%s is %v, disabled %t: %v", u.ID, u.Roles().Names(), u.Disabled, err)
}

// race has people do at the same time what excludes one another.
func (m *machine) race() {
	l := m.some("command", (*life).waits)
	m.p.disk.doom(kept, 0)
	l.stopped = true
	digest := [32]byte(slices.Concat(l.view.Digest(), make([]byte, 32))[:32])
	said := make([]string, len(people)+1)
	var racing sync.WaitGroup
	for i, by := range people {
		approve := !m.seldom(4, "deny")
		l.said[decision{by, approve}] = true
		decide := m.p.Deny
		if approve {
			decide = m.p.Approve
		}
		racing.Go(func() {
			_, err := decide(background, l.id, digest, "", by)
			said[i] = fmt.Sprintf("%s %t: %v", by, approve, err)
		})
	}
	if m.seldom(2, "cancel too") {
		racing.Go(func() {
			_, err := m.p.Cancel(background, l.id, nil, "ann")
			said[len(people)] = fmt.Sprintf("canceled: %v", err)
		})
	}
	racing.Wait()
	m.note("a race for %s: %q", l.label(), said)
}
