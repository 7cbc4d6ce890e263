package device

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"behest/firmware-sim/exchange"
	"behest/firmware-sim/message"
	"behest/firmware-sim/storage"
	"behest/firmware-sim/wire"
)

// delivery is a report on its way.
type delivery struct {
	seq       uint32
	report    wire.Report
	bytes     []byte
	notBefore time.Time
	retry     backoff
	restarts  int // from block 0
}

// restartsMax is how often a body is sent from block 0 at once; after that, only
// with back-off.
const restartsMax = 3

// outbox holds the reports that have no final answer, at most one for each seq:
// a newer one replaces an older one, and nothing replaces an outcome.
type outbox struct{ waiting []*delivery }

func (o *outbox) put(d *delivery) {
	i := slices.IndexFunc(o.waiting, func(w *delivery) bool { return w.seq == d.seq })
	switch {
	case i < 0:
		o.waiting = append(o.waiting, d)
	case o.waiting[i].report.Status.Final():
	case o.waiting[i].report.Code != nil && !d.report.Status.Final(): // a refusal must be heard, progress can wait
	default:
		o.waiting[i] = d
	}
}

// remove drops a delivery. One that was replaced is not there any more.
func (o *outbox) remove(d *delivery) {
	o.waiting = slices.DeleteFunc(o.waiting, func(w *delivery) bool { return w == d })
}

// ready is the report that has waited longest of those that may go now.
func (o *outbox) ready(now time.Time) *delivery {
	for _, d := range o.waiting {
		if !now.Before(d.notBefore) {
			return d
		}
	}
	return nil
}

// due is when the next report may go; zero: there is none. One that may go now
// and does not, waits for something else.
func (o *outbox) due() time.Time {
	var due time.Time
	for _, d := range o.waiting {
		if !d.notBefore.IsZero() && (due.IsZero() || d.notBefore.Before(due)) {
			due = d.notBefore
		}
	}
	return due
}

// report sends a report.
func (d *Device) report(now time.Time, r *delivery) {
	d.tell(Event{Kind: Reported, Seq: r.seq, Report: &r.report})
	options := append(path("c", d.options.Name, strconv.FormatUint(uint64(r.seq), 10)),
		message.Uint(message.ContentFormat, mediaCBOR))
	d.start(now, flight{purpose: reporting, delivery: r}, exchange.Request{
		Code: message.POST, Options: options, Body: r.bytes,
	})
}

// repeat puts a stored outcome into the outbox.
func (d *Device) repeat(outcome storage.Outcome) {
	report, _, err := wire.DecodeReport(outcome.Report)
	if err != nil {
		panic(fmt.Sprintf("device: the stored outcome of %d: %v", outcome.Seq, err))
	}
	d.outbox.put(&delivery{seq: outcome.Seq, report: report, bytes: outcome.Report})
}

// isFinal says whether an answer means: stop sending this report.
func isFinal(c message.Code) bool {
	switch c {
	case message.Changed, message.BadRequest, message.Forbidden, message.NotFound, message.Conflict,
		message.TooLarge, message.BadFormat:
		return true
	}
	return false
}

// reportAnswered takes the answer to a report.
func (d *Device) reportAnswered(now time.Time, r *delivery, m message.Message) {
	switch {
	case isFinal(m.Code):
		d.settled(now, r, m)
	case m.Code == message.Incomplete && r.restarts < restartsMax: // from block 0
		r.restarts++
		r.notBefore = now
	default:
		d.refused(now, flight{purpose: reporting, delivery: r}, m)
	}
}

// settled ends a report. What a fresh command waited for is now known.
func (d *Device) settled(now time.Time, r *delivery, m message.Message) {
	d.outbox.remove(r)
	d.tell(Event{Kind: Answered, Seq: r.seq, Report: &r.report, Code: m.Code.String(), Text: string(m.Payload)})
	if m.Code == message.NotFound { // perhaps it is the device that is unknown: a refresh tells
		d.session.check(now)
	}
	if r.report.Status.Final() {
		d.heard++
		return
	}
	if j := d.jobs[r.seq]; j != nil && j.asking {
		d.permitted(now, j, m.Code == message.Changed)
	}
}
