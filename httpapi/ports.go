package httpapi

import (
	"context"

	"behest/command"
	"behest/device"
)

// UseCases are what operators can ask for. An answer without an error means
// that it is on disk. Refusals are *command.Error.
type UseCases interface {
	Issue(ctx context.Context, in command.Intent) (command.Issued, error)
	// Cancel answers with the command as it stands also beside CodeConflict.
	Cancel(ctx context.Context, id command.ID, devices []string, by string) (command.View, error)
	CancelDevice(ctx context.Context, name, by string) (canceled int, err error)
	// Wait answers when the command has ended, or when ctx is done: then with
	// the present state, and without an error.
	Wait(ctx context.Context, id command.ID) (command.View, error)

	PutDevice(ctx context.Context, name string, e device.Edit, by string) (v device.View, created bool, err error)
	EditDevice(ctx context.Context, name string, e device.Edit, by string) (device.View, error)
	RemoveDevice(ctx context.Context, name, by string) error
}

// Reads are what operators can look at: committed state, never a promise.
type Reads interface {
	Command(ctx context.Context, id command.ID) (command.View, error)
	Commands(ctx context.Context, f command.Filter) (views []command.View, more bool, err error)
	Execution(ctx context.Context, id command.ID, device string) (command.Execution, []command.PastReport, error)
	Executions(ctx context.Context, id command.ID, state string, after int64, limit int) ([]command.Execution, bool, error)
	Device(ctx context.Context, name string) (device.View, error)
	Devices(ctx context.Context, f device.Filter) ([]device.View, bool, error)
	Health(ctx context.Context) error
}

// Batcher is what use cases offer that accept many intents in one commit.
// Intents without an error are issued; an error is at the place of its
// intent, and both answers have as many places as there are intents.
type Batcher interface {
	IssueBatch(ctx context.Context, in []command.Intent) ([]command.Issued, []error)
}

// Place is a place in the log: after event N of an epoch. N is 0 at the
// beginning, in any epoch.
type Place struct {
	Epoch uint32
	N     int64
}

// EventFilter picks events. The zero value picks all.
type EventFilter struct {
	Types   []command.EventType
	Device  string
	Command command.ID
}

// Log is the sealed log of events, as readers follow it.
type Log interface {
	// Events lists at most limit events after a place, oldest first. next is
	// where to go on: everything up to there has been looked at, picked or not;
	// it is after itself when the log ends there. CodeNotFound: the log does
	// not have that place, or not any more.
	Events(ctx context.Context, after Place, f EventFilter, limit int) (events []command.Event, next Place, err error)
	// End is the place after the last event.
	End(ctx context.Context) (Place, error)
	// Changed is closed when the log has grown. Who takes it before looking
	// misses nothing.
	Changed() <-chan struct{}
}
