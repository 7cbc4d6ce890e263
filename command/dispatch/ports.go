package dispatch

import (
	"context"
	"time"

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
	// Busy lists the devices after that handle that have open executions.
	Busy(ctx context.Context, after int64, limit int) ([]int64, error)
	// Command is a command as it stands.
	Command(ctx context.Context, id command.ID) (command.View, error)
}

// Presenter carries open lists to devices. Its methods return at once.
type Presenter interface {
	// Ready reports whether a notification for d would leave now: somebody
	// observes, was heard of, and has no unanswered one. It is asked inside a
	// commit.
	Ready(d device.Device) bool
	// Present takes the list that d should see from now on.
	Present(p Presentation)
}

// Presentation is a device's open list at one moment, with what else the
// presenter needs to know of that moment.
type Presentation struct {
	Device     device.Device
	Generation uint64          // grows in commit order; an older one than the last seen is void
	List       []command.Entry // ascending seq
	Waiting    bool            // more could be released if a notification could leave
	Reported   uint32          // a seq that the device just reported on: it has the list that carried it. 0: none
}

// Arrival is what became of an exchange that carried a device's list.
type Arrival struct {
	Device      int64
	Observation device.Observation // that it went to; zero: the exchange was the answer to a GET
	Carried     []Carried
	Attempts    int
	Outcome     Outcome
}

// Carried is an entry that a transmission carried.
type Carried struct {
	Seq    uint32
	Cancel bool
}

// Outcome of an exchange.
type Outcome uint8

const (
	Acked  Outcome = iota // the device has the list
	Reset                 // the device does not observe there any more
	Silent                // nobody answered
)
