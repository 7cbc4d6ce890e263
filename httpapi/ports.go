package httpapi

import (
	"context"
	"time"

	"behest/access"
	"behest/command"
	"behest/device"
)

// UseCases are what operators can ask for. An answer without an error means
// that it is on disk. Refusals are *command.Error.
type UseCases interface {
	Issuing
	Stopping
	Deciding
	Keeping
	Granting
	Crediting
}

// Issuing is of commands as they come.
type Issuing interface {
	Issue(ctx context.Context, in command.Intent) (command.Issued, error)
	// IssueBatch accepts many in one commit, each answered at its own place.
	IssueBatch(ctx context.Context, in []command.Intent) (issued []command.Issued, errs []error, err error)
	// IssueOnce is IssueBatch for a request that may come again. What render
	// makes is kept in the same commit, and is the answer from then on; again
	// says that it was given before. Another request under the same key is
	// CodeConflict. What nothing was accepted of is not kept. render may be
	// called more than once.
	IssueOnce(ctx context.Context, once command.Claim, in []command.Intent,
		render func([]command.Issued, []error) []byte) (body []byte, again bool, err error)
	// Preview is what Issue would come to. It writes nothing.
	Preview(ctx context.Context, in command.Intent) (command.Preview, error)
	// Wait answers when the command has ended, or when ctx is done: then with
	// the present state, and without an error.
	Wait(ctx context.Context, id command.ID) (command.View, error)
}

// Stopping is of commands that should not have been.
type Stopping interface {
	// Cancel answers with the command as it stands also beside CodeConflict.
	Cancel(ctx context.Context, id command.ID, devices []string, by string) (command.View, error)
	CancelDevice(ctx context.Context, name, by string) (canceled int, err error)
	// Rollback issues the command that undoes another. CodeConflict says why
	// there is no way back.
	Rollback(ctx context.Context, id command.ID, in command.RollbackIntent) (command.Issued, error)
	// RollbackOnce is to Rollback what IssueOnce is to IssueBatch, for one.
	RollbackOnce(ctx context.Context, once command.Claim, id command.ID, in command.RollbackIntent,
		render func(command.Issued) []byte) (body []byte, again bool, err error)
}

// Deciding is of commands that are held back. What moves one answers with it
// as it stands also beside CodeConflict.
type Deciding interface {
	Approve(ctx context.Context, id command.ID, digest [32]byte, comment, by string) (command.View, error)
	Deny(ctx context.Context, id command.ID, digest [32]byte, comment, by string) (command.View, error)
	Pause(ctx context.Context, id command.ID, by string) (command.View, error)
	Resume(ctx context.Context, id command.ID, by string) (command.View, error)
	// Approvals lists what waits for a user's decision after a row, the oldest
	// first. next is where to go on: what is before it has been looked at.
	Approvals(ctx context.Context, user string, after int64, limit int) (views []command.View, next int64, more bool, err error)
}

// Keeping is of what lasts. What is put or removed must have that version; 0:
// whatever it has.
type Keeping interface {
	PutDevice(ctx context.Context, name string, e device.Edit, by string) (v device.View, created bool, err error)
	EditDevice(ctx context.Context, name string, e device.Edit, by string) (device.View, error)
	RemoveDevice(ctx context.Context, name string, ifVersion int64, by string) error
	// PutType declares a type, or makes its next version. What would change
	// nothing makes none.
	PutType(ctx context.Context, t command.Type, ifVersion int, by string) (out command.Type, created bool, err error)
	RetireType(ctx context.Context, name string, ifVersion int, by string) error
	// PutGroup names a selector, or changes what a name stands for.
	PutGroup(ctx context.Context, g device.Group, ifVersion int64, by string) (out device.Group, created bool, err error)
	RemoveGroup(ctx context.Context, name string, ifVersion int64, by string) error
}

// Granting is of who may do what. Versions are as in Keeping.
type Granting interface {
	PutUser(ctx context.Context, u access.User, ifVersion int64, by string) (out access.User, created bool, err error)
	// RemoveUser forgets a user and ends all his tokens.
	RemoveUser(ctx context.Context, id string, ifVersion int64, by string) error
	// AddToken makes a token, and answers with its text, which is kept nowhere.
	AddToken(ctx context.Context, user, note string, expires time.Time, by string) (r access.TokenRecord, text string, err error)
	RevokeToken(ctx context.Context, user string, n int, by string) error
}

// Crediting is of how devices prove who they are.
type Crediting interface {
	// AddCredential gives a device a credential. made is a secret that was made
	// for it, and is kept nowhere in clear; nil: none was.
	AddCredential(ctx context.Context, p device.Proof, by string) (c device.Credential, made device.Secret, err error)
	// RevokeCredential ends one at once, and the sessions that it was used for.
	RevokeCredential(ctx context.Context, name string, n int, by string) error
	// ImportCredentials gives many in one commit, each answered at its own place.
	ImportCredentials(ctx context.Context, proofs []device.Proof, makeDevices bool, by string) ([]device.Imported, error)
}

// Reads are what operators can look at: committed state, never a promise.
type Reads interface {
	CommandReads
	SolutionReads
	PeopleReads
}

// PeopleReads are of who may do what.
type PeopleReads interface {
	User(ctx context.Context, id string) (access.User, error)
	// Users lists them after an id, in the order of ids.
	Users(ctx context.Context, after string, limit int) (users []access.User, more bool, err error)
	// UserTokens lists those that do not work any more too, the oldest first.
	UserTokens(ctx context.Context, user string) ([]access.TokenRecord, error)
}

// CommandReads are of what was asked for, and what became of it.
type CommandReads interface {
	// CommandSeen is a command as a reader sees it, CodeNotFound if he does not;
	// nil sees everything.
	CommandSeen(ctx context.Context, id command.ID, sees command.Sees) (command.View, error)
	Commands(ctx context.Context, f command.Filter) (views []command.View, more bool, err error)
	Execution(ctx context.Context, id command.ID, device string) (command.Execution, []command.PastReport, error)
	ExecutionsSeen(ctx context.Context, id command.ID, state string, after int64, limit int, sees command.Sees) ([]command.Execution, bool, error)
	// AllExecutions is across commands. A page may be short; next is the row
	// before which to go on, 0 at the end.
	AllExecutions(ctx context.Context, f command.ExecutionFilter) (xs []command.Execution, next int64, err error)
}

// SolutionReads are of what there is to command.
type SolutionReads interface {
	Device(ctx context.Context, name string) (device.View, error)
	Devices(ctx context.Context, f device.Filter) ([]device.View, bool, error)
	// Credentials lists a device's, the oldest first, also those that were revoked.
	Credentials(ctx context.Context, device string) ([]device.Credential, error)
	// Type is the latest version of a command type, also if that retired it.
	Type(ctx context.Context, name string) (command.Type, error)
	TypeVersion(ctx context.Context, name string, version int) (command.Type, error)
	// Types lists those that are not retired, by name.
	Types(ctx context.Context, after string, limit int) ([]command.Type, bool, error)
	GroupNamed(ctx context.Context, name string) (device.Group, error)
	// GroupPage lists groups after a name, in the order of names.
	GroupPage(ctx context.Context, after string, limit int) ([]device.Group, bool, error)
	Health(ctx context.Context) error
}

// Place and EventFilter are the log's own words.
type (
	Place       = command.Place
	EventFilter = command.EventFilter
)

// Log is the sealed log of events, as readers follow it.
type Log interface {
	// Events lists at most limit events after a place, oldest first. next is
	// where to go on: everything up to there has been looked at, picked or not;
	// it is after itself when the log ends there. CodeNotFound: the log does
	// not have that place, or not any more.
	Events(ctx context.Context, after Place, f EventFilter, limit int) (events []command.Event, next Place, err error)
	// End is the place after the last event.
	End(ctx context.Context) (Place, error)
	// Checkpoint is the log as it stands, signed. CodeNotFound: it is empty.
	Checkpoint(ctx context.Context, now time.Time) (command.Checkpoint, error)
	// Changed is closed when the log has grown. Who takes it before looking
	// misses nothing.
	Changed() <-chan struct{}
}
