package command

import "fmt"

// State is where an execution stands. The zero value is no state.
type State uint8

const (
	NoState          State = iota
	AwaitingApproval       // held; its bytes never reach the wire
	Scheduled              // allowed; waits for a time, a window, a wave or another command's end
	Queued                 // eligible; waits for its device or for its turn
	Sent                   // a transmission was released, no ACK yet
	Delivered              // the device's CoAP ACK came: a fact of the transport, nothing more
	Running                // the device started it
	Canceling              // cancel asked for after the first transmission
	Succeeded              // the device acknowledged success
	Failed                 // the device attempted it, without success
	Rejected               // the device refused before it started
	Denied                 // a person refused
	Canceled               // stopped
	Expired                // a deadline passed and not one byte was ever released
	TimedOut               // sent, but no completion in time: nobody can say
	stateEnd
)

var stateNames = [...]string{
	"", "awaiting_approval", "scheduled", "queued", "sent", "delivered", "running", "canceling",
	"succeeded", "failed", "rejected", "denied", "canceled", "expired", "timed_out",
}

// States lists every state in the order of a life.
var States = func() []State {
	all := make([]State, 0, stateEnd-1)
	for s := AwaitingApproval; s < stateEnd; s++ {
		all = append(all, s)
	}
	return all
}()

func (s State) String() string { return nameOf(stateNames[:], s) }

// ParseState is the state with that name.
func ParseState(name string) (State, error) {
	for _, s := range States {
		if s.String() == name {
			return s, nil
		}
	}
	return NoState, Errorf(CodeMalformed, "no state is called %q", name)
}

// Ended reports whether nothing but a late report can still move it.
func (s State) Ended() bool { return s >= Succeeded }

// Unsent reports whether no byte of it ever left: what ends here had no effect.
func (s State) Unsent() bool { return s >= AwaitingApproval && s <= Queued }

// OnWire reports whether it was released and has not ended: it is on the
// open list, and its effect is unknown.
func (s State) OnWire() bool { return s >= Sent && s <= Canceling }

// MarshalText makes a state readable in JSON and in golden files.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the inverse.
func (s *State) UnmarshalText(b []byte) error {
	got, err := ParseState(string(b))
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	*s = got
	return nil
}

// Cause says why an execution expired, was canceled by the server or timed
// out. The zero value is none.
type Cause uint8

const (
	NoCause Cause = iota

	// Expired: what it was waiting for.
	NeverRegistered
	NotObserving
	Unreachable // also timed_out: retries went unanswered until all clocks lapsed
	Asleep
	BehindOtherCommand
	OutsideWindow
	Held
	ApprovalLapsed
	ApprovalUnused

	// TimedOut: what was missing.
	NoReport
	Silent
	Unacknowledged
	NotCanceled

	// TimedOut when it was on the wire, Canceled when it was not.
	DeviceRemoved
	NotEntitled
	Restored
	DeviceReset
	IntegrityFailed

	// Canceled, a rollback alone: why it does not go.
	NothingToUndo
	OutcomeUnknown // and it does not set a value, but changes one
	Superseded     // a newer command has set the same
	causeEnd
)

var causeNames = [...]string{
	"", "never_registered", "not_observing", "unreachable", "asleep", "behind_other_command",
	"outside_window", "held", "approval_lapsed", "approval_unused", "no_report", "silent",
	"unacknowledged", "not_canceled", "device_removed", "not_entitled", "restored", "device_reset",
	"integrity_failed", "nothing_to_undo", "outcome_unknown", "superseded",
}

func (c Cause) String() string { return nameOf(causeNames[:], c) }
