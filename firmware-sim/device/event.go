package device

import (
	"time"

	"behest/firmware-sim/behaviour"
	"behest/firmware-sim/wire"
)

// Kind is the word for what happened.
type Kind string

// What happens in the life of a device.
const (
	Booted     Kind = "booted"
	Registered Kind = "registered"
	Refreshed  Kind = "refreshed"
	Observing  Kind = "observing"
	Listed     Kind = "listed"    // an open list came
	Started    Kind = "started"   // the act began
	Stopped    Kind = "stopped"   // the act was canceled
	Concluded  Kind = "concluded" // the outcome is stored
	Reported   Kind = "reported"  // a report was sent
	Answered   Kind = "answered"  // the server's last word on a report
	Refused    Kind = "refused"   // a request was answered by an error, it will be tried again
	Waiting    Kind = "waiting"   // no answer yet, it was sent again
	Unheard    Kind = "unheard"   // no answer at all, it will be tried again
	Malformed  Kind = "malformed"
	PowerLost  Kind = "power-lost"
)

// Event is one thing that happened.
type Event struct {
	At     time.Time
	Device string
	Kind   Kind
	Seq    uint32       // 0: it is about no command
	Type   string       // the command type
	Report *wire.Report // of Concluded, Reported and Answered
	List   []wire.Entry // of Listed
	Code   string       // the CoAP code of an answer
	Text   string       // for people
}

// tell hands an event to who listens.
func (d *Device) tell(e Event) {
	if d.options.Notify == nil {
		return
	}
	e.At, e.Device = time.Now(), d.options.Name
	d.options.Notify(e)
}

// powerFails says whether the power goes at this point, by the plan or by who
// tests us; if so, nothing more is done in this life.
func (d *Device) powerFails(plan behaviour.Plan, at behaviour.Point, seq uint32) bool {
	hook := d.options.PowerLoss
	if plan.Crash != at && (hook == nil || !hook(at, seq)) {
		return false
	}
	d.failure = ErrPowerLoss
	d.tell(Event{Kind: PowerLost, Seq: seq, Text: "at " + at.String()})
	return true
}
