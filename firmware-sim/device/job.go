package device

import (
	"time"

	"behest/firmware-sim/behaviour"
	"behest/firmware-sim/storage"
	"behest/firmware-sim/wire"
)

// job is a command that is being worked on.
type job struct {
	entry   wire.Entry
	plan    behaviour.Plan
	expires time.Time // the start, by the seconds of the list that it came from
	asking  bool      // fresh: running is reported, its 2.04 is not here
	began   time.Time
	next    time.Time // the next progress report; zero: none
	n       uint64    // reports so far
}

// mute says whether the job will never be heard of again.
func (j *job) mute() bool { return j.plan.Silent && !j.asking }

// every is how often it reports running: as it is made, or as the command asks,
// whichever is shorter.
func (j *job) every() time.Duration {
	if j.plan.Every == 0 || (j.entry.ReportEvery > 0 && j.entry.ReportEvery < j.plan.Every) {
		return j.entry.ReportEvery
	}
	return j.plan.Every
}

// due is when the job has something to do.
func (j *job) due() time.Time {
	end := j.began.Add(j.plan.After)
	switch {
	case j.asking:
		return j.expires
	case j.mute():
		return time.Time{}
	case !j.next.IsZero() && j.next.Before(end):
		return j.next
	}
	return end
}

// advance moves every job whose time has come.
func (d *Device) advance(now time.Time) {
	for _, j := range d.jobs {
		if due := j.due(); d.failure != nil || due.IsZero() || now.Before(due) {
			continue
		}
		switch {
		case j.asking:
			d.tooLate(j)
		case !now.Before(j.began.Add(j.plan.After)):
			d.finish(j)
		default:
			d.progress(now, j)
		}
	}
}

// decide applies the rules: to a list that came, or, when it did not just come,
// to what of it could not be started then.
func (d *Device) decide(now time.Time, came bool) {
	list := d.watch.list
	if !came {
		list.Entries = after(list.Entries, d.options.Store.Memory().Last)
	}
	if d.failure != nil || len(list.Entries) == 0 {
		return
	}
	memory := d.options.Store.Memory() // as decided on: what is done may push old outcomes out
	free := worksMax - d.works()
	actions := Decide(list, Situation{
		Memory:  memory,
		Working: func(seq uint32) bool { return d.jobs[seq] != nil },
		Ready: func(e wire.Entry) bool {
			free--
			return free >= 0 && !now.Before(d.readyAt(e))
		},
		Now: now,
	})
	for _, action := range actions {
		if d.failure == nil {
			d.perform(action, list, memory)
		}
	}
}

// after are the entries above last.
func after(entries []wire.Entry, last uint32) []wire.Entry {
	for i, e := range entries {
		if e.Seq > last {
			return entries[i:]
		}
	}
	return nil
}

// works counts the jobs that take the device's attention.
func (d *Device) works() int {
	n := 0
	for _, j := range d.jobs {
		if !j.mute() {
			n++
		}
	}
	return n
}

// readyAt is when the device is no longer busy for a command.
func (d *Device) readyAt(e wire.Entry) time.Time {
	return d.watch.seen[e.Seq].Add(d.options.Plan(e).Busy)
}

// nextStart is when the lowest command that waits may be startable, or is out
// of time.
func (d *Device) nextStart(now time.Time) time.Time {
	waiting := after(d.watch.list.Entries, d.options.Store.Memory().Last)
	if len(waiting) == 0 || waiting[0].Cancel {
		return time.Time{}
	}
	expires, ready := d.watch.list.Expires(waiting[0]), d.readyAt(waiting[0])
	if now.Before(ready) && ready.Before(expires) {
		return ready
	}
	return expires
}

// perform does what a rule asks for.
func (d *Device) perform(a Action, list List, memory storage.Memory) {
	e := a.Entry
	unplanned := behaviour.Plan{} // what was never begun follows no plan
	switch a.Move {
	case Stop:
		d.stop(d.jobs[e.Seq])
	case Repeat:
		outcome, _ := memory.Outcome(e.Seq)
		d.repeat(outcome)
	case Interrupt:
		d.conclude(e, unplanned, wire.Report{
			Status: wire.Failure, Code: new(int64(wire.CodeInterrupted)), Effect: new(wire.EffectUnknown),
		})
	case Forgo:
		d.conclude(e, unplanned, wire.Report{Status: wire.Canceled, Effect: new(wire.EffectNone)})
	case Expire:
		d.conclude(e, unplanned, expired(wire.Rejected))
	case Start:
		d.begin(e, list.Expires(e))
	}
}

// expired is what is reported of a command that is out of time.
func expired(status wire.Status) wire.Report {
	return wire.Report{Status: status, Code: new(int64(wire.CodeExpired)), Effect: new(wire.EffectNone)}
}

// begin is rule 5 up to the act. Nothing is done before last is on the medium.
func (d *Device) begin(e wire.Entry, expires time.Time) {
	j := &job{entry: e, plan: d.options.Plan(e), expires: expires}
	if err := d.options.Store.Save(d.options.Store.Memory().With(e.Seq, nil)); err != nil {
		d.failure = err
		return
	}
	switch {
	case d.powerFails(j.plan, behaviour.Stored, e.Seq):
	case !time.Now().Before(expires): // the medium may have been slow
		d.conclude(e, j.plan, expired(wire.Rejected))
	case j.plan.Outcome.Status == wire.Rejected:
		d.conclude(e, j.plan, j.plan.Outcome)
	case e.Fresh:
		j.asking = true
		d.jobs[e.Seq] = j
		d.say(j, wire.Report{Status: wire.Running})
	default:
		d.act(j)
	}
}

// act does it. From here on, no reboot may do it again.
func (d *Device) act(j *job) {
	now := time.Now()
	if err := d.options.Store.Act(j.entry.Seq); err != nil {
		d.failure = err
		return
	}
	j.asking, j.began = false, now
	d.jobs[j.entry.Seq] = j
	d.tell(Event{Kind: Started, Seq: j.entry.Seq, Type: j.entry.Name()})
	switch {
	case j.mute():
	case j.plan.After == 0:
		d.finish(j)
	case j.every() > 0:
		d.progress(now, j)
	}
}

// progress reports running, and when to expect the next word.
func (d *Device) progress(now time.Time, j *job) {
	percent := uint8(wire.ProgressMax * now.Sub(j.began) / j.plan.After)
	every := j.every()
	j.next = now.Add(every)
	d.say(j, wire.Report{
		Status: wire.Running, Progress: &percent, Next: new(uint64((every + time.Second - 1) / time.Second)),
	})
}

// say puts a numbered report of a job at work into the outbox.
func (d *Device) say(j *job, r wire.Report) {
	j.n++
	r.N = new(j.n)
	d.outbox.put(&delivery{seq: j.entry.Seq, report: r, bytes: r.Append(nil)})
}

// finish ends the act as planned.
func (d *Device) finish(j *job) {
	if d.powerFails(j.plan, behaviour.Acted, j.entry.Seq) {
		return
	}
	d.conclude(j.entry, j.plan, j.plan.Outcome)
}

// stop is rule 1 for a cancel of what is being worked on.
func (d *Device) stop(j *job) {
	switch {
	case j.mute():
	case j.plan.RefuseCancel && !j.asking:
		d.say(j, wire.Report{Status: wire.Running, Code: new(int64(wire.CodeCannotCancel))})
	case j.asking:
		d.conclude(j.entry, j.plan, wire.Report{Status: wire.Canceled, Effect: new(wire.EffectNone)})
	default:
		d.tell(Event{Kind: Stopped, Seq: j.entry.Seq, Type: j.entry.Name()})
		d.conclude(j.entry, j.plan, wire.Report{Status: wire.Canceled, Effect: new(wire.EffectPartial)})
	}
}

// permitted is the answer to a fresh command's running.
func (d *Device) permitted(now time.Time, j *job, yes bool) {
	switch {
	case !yes:
		d.conclude(j.entry, j.plan, expired(wire.Rejected))
	case !now.Before(j.expires):
		d.tooLate(j)
	default:
		d.act(j)
	}
}

// tooLate ends a fresh command that had no answer in time. The server may hold
// it for running, and nothing rejected can follow that.
func (d *Device) tooLate(j *job) { d.conclude(j.entry, j.plan, expired(wire.Failure)) }

// conclude stores an outcome and then reports it.
func (d *Device) conclude(e wire.Entry, plan behaviour.Plan, r wire.Report) {
	encoded := r.Append(nil)
	if err := d.options.Store.Save(d.options.Store.Memory().With(e.Seq, encoded)); err != nil {
		d.failure = err
		return
	}
	delete(d.jobs, e.Seq)
	d.tell(Event{Kind: Concluded, Seq: e.Seq, Type: e.Name(), Report: &r})
	if d.powerFails(plan, behaviour.Concluded, e.Seq) {
		return
	}
	d.outbox.put(&delivery{seq: e.Seq, report: r, bytes: encoded})
}
