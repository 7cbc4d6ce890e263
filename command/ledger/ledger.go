// Package ledger is the unit of work between the use cases and a store: what
// can be read and written inside one commit.
//
// A use case is a function of a Tx. A store runs many of them inside one
// transaction, one after the other, each behind a savepoint: it sees what the
// ones before it wrote, a failure takes back its own writes alone, and nobody
// is answered before the one fsync that they share. A use case may run more
// than once before it counts, so it changes nothing but the Tx and variables
// that it sets afresh each time, and it tells nobody: telling comes after.
//
// It is a room of its own so that stores and use cases can meet without one
// importing the other.
package ledger

import (
	"time"

	"behest/access"
	"behest/command"
	"behest/device"
)

// Lane is the class of work that a use case belongs to. When there is more
// than one group can take, lanes go in this order.
type Lane uint8

const (
	Reports       Lane = iota // what devices did
	Deliveries                // what left and arrived; it rides along, and waits up to a second for company
	Issues                    // what operators want
	Registrations             // who is there
	Expiries                  // clocks that lapsed
	Retention                 // what may go
	LaneEnd
)

// Due is an execution whose clock lapses.
type Due struct {
	N      int64
	Device int64
}

// Answer is what was answered to a request that bore an idempotency key.
type Answer struct {
	Request [32]byte // digest of what was asked
	At      time.Time
	Body    []byte
}

// Tx is the inside of one commit. Errors that a caller can act on are
// *command.Error: CodeNotFound from the lookups, CodeConflict from a save of
// what changed in between or an add of what is there already. After any other
// error the use case must return it.
type Tx interface {
	Device(handle int64) (device.Device, error)
	DeviceNamed(name string) (device.Device, error)
	AddDevice(d *device.Device) error  // gives it a handle
	SaveDevice(d *device.Device) error // by handle and version; the version grows

	// AddCommand stores a command and its executions, and gives each its N.
	AddCommand(c *command.Command, xs []command.Execution) error
	// A command on many devices has its targets, as they were asked for, when it
	// is looked up by its id. Elsewhere, in its executions too, they are left out.
	Command(id command.ID) (*command.Command, error)
	CommandN(n int64) (*command.Command, error)

	// Type is the youngest version of a command type, retired or not.
	Type(name string) (command.Type, error)
	// AddType stores the next version of a type, and numbers it. CodeConflict:
	// another type that is not retired has its wire code.
	AddType(t *command.Type) error

	// A command over many devices is written out in groups, so that nobody else
	// waits. Until its turn comes, a group is a list of handles. A device that
	// turns out to have no room is noted as refused.
	AddPending(commandN int64, groups [][]int64) error
	TakePending(commandN int64, limit int) (some []int64, err error)          // the next ones, at most a group and that many, which are pending no more; nil: none is left
	DropPending(commandN int64, devices []int64) (dropped []int64, err error) // those of the devices that are pending, which are so no more
	AnyPending(commandN int64) (bool, error)
	AddExecutions(c *command.Command, xs []command.Execution) error
	// What each device of a command behind a gate has for itself is kept as long as
	// the gate; nil: nothing is there for it.
	AddOwnParams(commandN, device int64, params []byte) error
	OwnParams(commandN, device int64) ([]byte, error)
	AddRefused(commandN, device int64, code command.Code) error

	// Gate is what holds back the rest of a command on many devices. It has one
	// from AddGate until SaveGate is told that it is done.
	Gate(commandN int64) (command.Gate, error)
	AddGate(g *command.Gate, look time.Time) error
	SaveGate(g *command.Gate, look time.Time) error // by version; look: when to ask it again, zero: not by time

	// Decisions are what people said of a command. CodeConflict: this one has
	// said something already.
	Decisions(commandN int64) ([]command.Decision, error)
	AddDecision(commandN int64, d command.Decision) error

	// A command that undoes another is linked to it when it is added.
	Rollbacks(commandN int64) ([]int64, error) // the rows of those that undo it, oldest first
	Original(commandN int64) (int64, error)    // the row of what it undoes; CodeNotFound: nothing
	// Younger are the executions in the slot of x, on its device, that left after
	// it and may have had an effect, youngest first. Those that have no number and
	// may have left all the same come last: it is a restored store's doubt.
	Younger(x command.Execution, limit int) ([]command.Execution, error)
	// Succeeded is the last one that left before x and succeeded. CodeNotFound:
	// there is none.
	Succeeded(x command.Execution) (command.Execution, error)
	ExecutionOf(commandN, device int64) (command.Execution, error)

	Group(name string) (device.Group, error)
	PutGroup(g *device.Group) error // by version; 0 adds it
	RemoveGroup(name string) error

	User(id string) (access.User, error)
	PutUser(u *access.User) error // by version; 0 adds it
	RemoveUser(id string) error   // with its tokens
	Tokens(user string) ([]access.TokenRecord, error)
	AddToken(t *access.TokenRecord) error // gives it the user's next number; CodeConflict: its id is taken
	SaveToken(t access.TokenRecord) error // that it was used, or revoked

	// Credentials are a device's, the oldest first, also those that were revoked.
	Credentials(device string) ([]device.Credential, error)
	CredentialWith(digest [32]byte) (device.Credential, error) // whoever has it or had it
	AddCredential(c *device.Credential) error                  // by its number; CodeConflict: its digest is taken
	SaveCredential(c device.Credential) error                  // that it was sealed anew, used, or revoked
	// The key of the digests. CodeNotFound: there is none yet.
	DigestKey() (device.Seal, error)
	PutDigestKey(s device.Seal) error

	// An answer that was given under an idempotency key is kept with what it
	// answered, so that the same question gets the same answer.
	Answer(key [32]byte) (Answer, error)
	KeepAnswer(key [32]byte, a Answer) error

	Execution(n int64) (command.Execution, error)
	ExecutionBySeq(device int64, seq uint32) (command.Execution, error)
	Open(device int64) ([]command.Execution, error)                // not ended, oldest first
	OpenOf(commandN int64, limit int) ([]command.Execution, error) // of one command, in no order
	Tally(commandN int64) (command.Tally, error)                   // of one command
	End(commandN int64) (first bool, err error)                    // notes that one on many devices has ended
	Save(x *command.Execution) error                               // by N and version; the version grows

	// SealMark is what PutSealMark kept; nil: nothing. Unsent lists executions
	// after a row that have not left.
	SealMark() ([]byte, error)
	PutSealMark(mark []byte) error
	Unsent(after int64, limit int) ([]command.Execution, error)
	SaveSeal(x command.Execution) error // by N

	// AddReport keeps a report of execution n that a younger one replaces.
	AddReport(n int64, r command.PastReport) error

	// Log adds an event to the commit's entry in the log.
	Log(e command.Event) error
	// Base is what the numbers of this store's epoch start from: device.NextSeq.
	Base() uint32
}
