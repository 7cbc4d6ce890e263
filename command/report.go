package command

import "time"

// Status is what a device says about an execution. The set is closed: a
// progress code is no status, so a new code can never be misread as success.
type Status uint8

const (
	StatusRunning Status = iota
	StatusSuccess
	StatusFailure
	StatusRejected
	StatusCanceled
	statusEnd
)

var statusNames = [...]string{"running", "success", "failure", "rejected", "canceled"}

func (s Status) String() string { return nameOf(statusNames[:], s) }

// Valid reports whether s is one of the five.
func (s Status) Valid() bool { return s < statusEnd }

// Effect is what is known of a command's effect on the world.
type Effect uint8

const (
	EffectNone    Effect = iota // it provably did not happen
	EffectPartial               // it happened in part
	EffectApplied               // it happened
	EffectUnknown               // nobody can say
	effectEnd
)

var effectNames = [...]string{"none", "partial", "applied", "unknown"}

func (e Effect) String() string { return nameOf(effectNames[:], e) }

// ParseEffect is the effect with that name.
func ParseEffect(name string) (Effect, error) {
	for e := Effect(0); e.Valid(); e++ {
		if e.String() == name {
			return e, nil
		}
	}
	return EffectNone, Errorf(CodeMalformed, "no effect is called %q", name)
}

// Valid reports whether e is one of the four.
func (e Effect) Valid() bool { return e < effectEnd }

// Generic report codes: 1 to 31 mean the same for every command type, 32 and
// above and the negative ones belong to the application.
const (
	GenericExpired       = 1  // its start deadline had passed
	GenericUnsupported   = 2  // the device does not know the type
	GenericInvalidParams = 3  // the device does not accept the params
	GenericBusy          = 4  // not now; a new command may succeed
	GenericPrecondition  = 5  // likewise
	GenericInternal      = 6  // a fault of the device
	GenericInterrupted   = 7  // a restart came between; the effect is unknown
	GenericNotPermitted  = 8  // the device's own policy forbids it
	GenericNoResources   = 9  // out of memory, energy or the like
	GenericCannotCancel  = 10 // the answer to a cancel that comes too late
)

// Limits of a report's fields. A device has little memory; so has a million
// rows.
const (
	TextBytesMax        = 64        // one line on a display
	ResultBytesMax      = 1 << 10   // one datagram with room for the headers
	LargeResultBytesMax = 64 << 10  // block-wise, types that say `large`
	ReportBytesMax      = 128 << 10 // result, prev and the rest
)

// Report is what a device says about one execution.
//
// Only Status decides whether a report counts. A field that the device got
// wrong (a type that is not in the contract, a length past its limit) is not
// held against the device: it did act. Then Odd keeps the whole report as it
// came, and the field in question is left out.
type Report struct {
	Status   Status
	Progress *uint8        // percent, 0 to 100
	Code     *int64        // see the generic codes above
	Text     string        // at most TextBytesMax
	Result   []byte        // one CBOR item, or nil
	Effect   *Effect       // left out: see Outcome
	Next     time.Duration // until the next report; 0: not said
	Prev     []byte        // one CBOR item: the value before, for a restore
	N        *uint32       // number of this report in its execution
	Odd      []byte        // the report's bytes, when something in it was off
	Invalid  bool          // the result is not what its type's schema says; said by the server
}

// Entry is a line of the open list that a device observes: a command to work
// on, or the order to stop one.
type Entry struct {
	Seq      uint32
	Cancel   bool   // stop it if you can, never start it; all that follows is left out
	Type     string // the name of the command type
	WireCode uint16 // stands for the name on the wire; 0: the name itself is sent
	Params   []byte // one CBOR item, or nil

	StartBy     time.Time     // the wire carries the seconds left, afresh in each datagram
	RunFor      time.Duration // 0: not sent
	ReportEvery time.Duration // 0: not sent
	Fresh       bool          // report running first, start only on its 2.04
	Once        bool          // it goes in one exchange, with its repeats; the wire does not say so
}

// nameOf is the text of an enumeration's value.
func nameOf[T ~uint8](names []string, v T) string {
	if int(v) < len(names) {
		return names[v]
	}
	return "unknown"
}
