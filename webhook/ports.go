package webhook

import (
	"context"
	"time"

	"behest/command"
)

// Store keeps webhooks. An answer without an error means that it is on disk.
type Store interface {
	// Hooks lists all of them by name, Hook is one. CodeNotFound: there is none.
	Hooks(ctx context.Context) ([]command.Hook, error)
	Hook(ctx context.Context, id string) (command.Hook, error)
	// PutHook stores what an operator can change, by N and Version; with 0 it
	// adds the hook with its cursor, and gives it both. CodeConflict: it was
	// changed meanwhile, or there is one; CodeTooMany: there are HooksMax.
	// RemoveHook removes it with its deliveries. Both log an event in the same
	// commit.
	PutHook(ctx context.Context, h *command.Hook, e command.Event) error
	RemoveHook(ctx context.Context, h command.Hook, e command.Event) error
	// MoveHook stores what came of deliveries to the hook with that number, and
	// events if there are any, in one commit. CodeNotFound: it was removed.
	MoveHook(ctx context.Context, n int64, p command.HookProgress, events ...command.Event) error
	// DeliveriesDue lists deliveries whose time has come, how many wait in all,
	// and when the next is due after now: the zero time if none is.
	DeliveriesDue(ctx context.Context, n int64, now time.Time, limit int) (due []command.HookDelivery, waiting int, next time.Time, err error)
	// Deliveries lists those of a hook, the youngest event first, only of events
	// before a number if that is not 0.
	Deliveries(ctx context.Context, id string, before int64, limit int) (list []command.HookDelivery, more bool, err error)
}

// Log is the sealed log of events.
type Log interface {
	// Events lists at most limit events after a place, oldest first. next is
	// where to go on: everything up to there has been looked at, picked or not;
	// it is after itself when the log ends there. CodeNotFound: the log does
	// not have that place, or not any more.
	Events(ctx context.Context, after command.Place, f command.EventFilter, limit int) (events []command.Event, next command.Place, err error)
	// Event is the one with that id.
	Event(ctx context.Context, id command.Place) (command.Event, error)
	// End is the place after the last event.
	End(ctx context.Context) (command.Place, error)
	// Changed is closed when the log has grown. Who takes it before looking
	// misses nothing.
	Changed() <-chan struct{}
}
