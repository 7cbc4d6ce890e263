package behaviour

import (
	"time"

	"behest/firmware-sim/wire"
)

// Point is where a device may lose power.
type Point uint8

// The points, in the order in which a command passes them.
const (
	Nowhere   Point = iota
	Stored          // last is stored, nothing done yet
	Acted           // the effect happened, its outcome is not stored
	Concluded       // the outcome is stored, not yet sent
)

// String is the word of the language.
func (p Point) String() string {
	return [...]string{"nowhere", "stored", "acted", "outcome"}[p]
}

// Plan is what a device does with a command. The zero Plan acts at once and
// reports running; DefaultPlan reports success.
type Plan struct {
	Outcome      wire.Report   // what it reports in the end; Rejected means that it never acts
	Busy         time.Duration // it cannot start it so long after it was first seen
	After        time.Duration // the act takes so long
	Every        time.Duration // it reports running so often; 0: only if the command asks
	Silent       bool          // it acts, and never reports
	RefuseCancel bool
	Crash        Point
}

// DefaultPlan is success, at once.
func DefaultPlan() Plan { return Plan{Outcome: wire.Report{Status: wire.Success}} }
