package dispatch

import (
	"context"
	"encoding/json"
	"time"

	"behest/access"
	"behest/command"
	"behest/command/ledger"
	"behest/device"
)

// Store keeps everything.
type Store interface {
	// Update runs f inside the next commit and answers when that is on disk.
	Update(ctx context.Context, lane ledger.Lane, f func(ledger.Tx) error) error
	// Due lists executions whose clocks have lapsed at now, and when the next will.
	Due(ctx context.Context, now time.Time, limit int) ([]ledger.Due, time.Time, error)
	// RaiseMark keeps a time that the server has reached, unless a later one is
	// kept already.
	RaiseMark(ctx context.Context, at time.Time) error
	// Busy lists the devices after that handle that have open executions.
	Busy(ctx context.Context, after int64, limit int) ([]int64, error)
	// Type is the youngest version of a command type, TypeVersion any.
	Type(ctx context.Context, name string) (command.Type, error)
	TypeVersion(ctx context.Context, name string, version int) (command.Type, error)
	// OpenUnder is a type, other than the named one, that has or had a wire code
	// and of whose commands under that code one has not ended; empty: none.
	OpenUnder(ctx context.Context, code uint16, except string) (name string, err error)
	// Types lists those that are not retired, after a name, in the order of names.
	Types(ctx context.Context, after string, limit int) ([]command.Type, bool, error)
	// Quiet lists the devices after that handle whose observation is not
	// suspended, and that were last seen before a time.
	Quiet(ctx context.Context, before time.Time, after int64, limit int) ([]int64, error)
	// Sessions lists the devices after that handle whose observation is of a
	// session and not suspended.
	Sessions(ctx context.Context, after int64, limit int) ([]int64, error)
	// Pending lists the rows of commands that are not written out whole, and that
	// no gate holds back.
	Pending(ctx context.Context, limit int) ([]int64, error)
	// Command is a command as it stands.
	Command(ctx context.Context, id command.ID) (command.View, error)
	// GatesDue lists the rows of commands whose gates are to be asked at now, and
	// when the next is. Gates lists all of them.
	GatesDue(ctx context.Context, now time.Time, limit int) ([]int64, time.Time, error)
	Gates(ctx context.Context, after int64, limit int) ([]int64, error)
	// GateTally is the gate of the command in a row, and how those stand that it
	// let through.
	GateTally(ctx context.Context, commandN int64) (command.Gate, command.Tally, error)
	// Held visits the devices of a command that are not written out, with their
	// names and labels, in no order.
	Held(ctx context.Context, commandN int64, visit func(device.Device) error) error
	// Holding lists the rows of commands that have a device pending.
	Holding(ctx context.Context, device int64) ([]int64, error)
	// Device is a device that is there, by its name.
	Device(ctx context.Context, name string) (device.View, error)
	// OwnParams lists the devices of a command behind a gate that have params of
	// their own, with those.
	OwnParams(ctx context.Context, commandN int64, limit int) ([]command.Target, error)
	// Executions lists the executions of a command after a row, in order.
	Executions(ctx context.Context, id command.ID, state string, after int64, limit int) ([]command.Execution, bool, error)
	// Awaiting lists commands that wait for approvals after a row, the oldest first.
	Awaiting(ctx context.Context, after int64, limit int) ([]command.View, bool, error)
	// Users lists users after a name, in the order of names, AllTokens what was
	// not revoked of their tokens.
	Users(ctx context.Context, after string, limit int) ([]access.User, bool, error)
	AllTokens(ctx context.Context) ([]access.TokenRecord, error)
	// SealedBefore lists credentials that are sealed with another key than that
	// one, in no order.
	SealedBefore(ctx context.Context, key, limit int) ([]device.Credential, error)
	// Groups lists all groups.
	Groups(ctx context.Context) ([]device.Group, error)
	// Pick visits the devices that are there, with their names, labels and
	// handles, in the order of handles.
	Pick(ctx context.Context, visit func(device.Device) error) error
}

// People are the users, as far as what they asked for depends on them.
type People interface {
	// May reports whether somebody of that name is there and may do what the
	// role may to a device with these labels. Administrators may what anybody may.
	May(user, role string, labels map[string]string) bool
	// MayAll reports whether that is so for every device there is, or will be.
	MayAll(user, role string) bool
	// Holders lists the users who are there and hold a role, administrators
	// included, for any device at all.
	Holders(role string) []string
}

// Schemas read what operators and devices say as its type has it.
type Schemas interface {
	// Compile names the faults of a type's schemas.
	Compile(t command.Type) []command.Field
	// Params are params as the wire carries them, or all that is wrong with them.
	Params(t command.Type, raw json.RawMessage) (item []byte, faults []command.Field, err error)
	// Result reports whether a result is as the type has it.
	Result(t command.Type, item []byte) bool
	// JSON is what an item says, if JSON can say it.
	JSON(item []byte) (json.RawMessage, bool)
}

// Presenter carries open lists to devices. Its methods return at once.
type Presenter interface {
	// Ready reports whether a notification for d would leave now: somebody
	// observes, was heard of, and has no unanswered one. It is asked inside a
	// commit.
	Ready(d device.Device) bool
	// Present takes the list that d should see from now on.
	Present(d device.Device, p command.Presentation)
}
