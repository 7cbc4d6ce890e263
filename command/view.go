package command

import "time"

// View is a command as a reader sees it: the intent, and how it stands.
type View struct {
	Command *Command
	Tally   Tally
	Only    *Execution // the one execution of a command on one device
	Refused []Refusal  // devices of a command on many that had no room for it

	Gate         *Gate      // of a command on many devices that go one after the other; nil: it has none, or is through
	Decisions    []Decision // what people said of it, in the order of time
	RolledBackBy ID         // the youngest command that undoes it; zero: none
	Own          []Target   // params that devices behind the gate have for themselves, at most PageMax
}

// State is the state of the command as a whole.
func (v View) State() string {
	switch g := v.Gate; {
	case v.Only != nil:
		return v.Only.State.String()
	case g == nil || v.Tally.Ended(): // then the gate only was not asked since
	case g.State < GateClosed:
		return g.State.String()
	case g.Ending == Deny: // who is behind it ends as is written out
		return Denied.String()
	}
	return v.Tally.State()
}

// Digest is what an approval of the command is for; nil: it was accepted by a
// version that kept none.
func (v View) Digest() []byte {
	switch {
	case v.Only != nil:
		d := v.Only.Digest()
		return d[:]
	case v.Command.Resolved == nil:
		return nil
	}
	d := v.Command.Digest(v.Command.Resolved)
	return d[:]
}

// PastReport is a report as it came, among the others of its execution.
type PastReport struct {
	At time.Time
	Report
}

// PageMax bounds one page of any list.
const PageMax = 500

// Filter picks commands, newest first. The zero value picks all.
type Filter struct {
	State         string // of an execution's or a command's state
	Outcome       Outcome
	Type          string
	Device        string
	Label         map[string]string // all of them
	RequestedBy   string
	CreatedAfter  time.Time
	CreatedBefore time.Time
	Before        int64 // only rows older than this one; 0: from the newest
	Limit         int   // at most PageMax
	Sees          Sees
}

// ExecutionFilter picks executions of all commands, newest first. The zero value
// picks all.
type ExecutionFilter struct {
	States        []State  // any of them; none: all
	Effects       []Effect // likewise
	Type          string
	Device        string
	CreatedAfter  time.Time // the command was
	CreatedBefore time.Time
	Before        int64 // only rows older than this one; 0: from the newest
	Limit         int   // at most PageMax
	Sees          Sees
}

// Sees reports whether a reader sees a device with these labels. nil: all.
type Sees func(labels map[string]string) bool

// Preview is what an intent would come to if it were issued now.
type Preview struct {
	Command *Command // as it would be, with its clocks and its approval
	Digest  []byte
	Devices int
	Offline []string // names, at most PageMax
	Away    int      // how many are offline
	Refused []Refusal
}
