package command

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Event is one fact in the log. The store numbers it, packs it with the other
// events of its commit and seals them with a hash.
type Event struct {
	Type     EventType
	At       time.Time
	Actor    string          // who: a user, or empty for the server and the device itself
	From     string          // the address that the actor was at, and his way; filled in by the store, see access.WithOrigin
	CommandN int64           // the command's row; 0: none
	Device   int64           // the device's handle; 0: none
	Data     json.RawMessage // an object, or nil

	// Known once it is sealed; filled in when it is read.
	Epoch   uint32
	N       int64
	Command ID
	Name    string // of the device
}

// EventType names what happened.
type EventType string

const (
	EventIssued       EventType = "command.created"
	EventEnded        EventType = "command.ended"
	EventSettled      EventType = "command.settled"
	EventGate         EventType = "command.gate" // the rollout goes on, stops, or is over
	EventWave         EventType = "command.wave"
	EventRollback     EventType = "command.rolled_back" // a command that undoes it was issued
	EventContradicts  EventType = "command.rollback_contradicted"
	EventApproval     EventType = "approval.requested"
	EventApproved     EventType = "approval.approved" // by one; data says whether that is enough
	EventDenied       EventType = "approval.denied"
	EventLapsed       EventType = "approval.lapsed"
	EventEdited       EventType = "device.edited"
	EventRemoved      EventType = "device.removed"
	EventTypeDeclared EventType = "type.declared"
	EventTypeRetired  EventType = "type.retired"
	EventTypeUnmet    EventType = "type.approvers_missing" // its approval rule can be met by nobody any more
	EventGroupPut     EventType = "group.changed"
	EventGroupRemoved EventType = "group.removed"
	EventUserPut      EventType = "user.changed"
	EventUserRemoved  EventType = "user.removed"
	EventTokenMade    EventType = "token.created"
	EventTokenRevoked EventType = "token.revoked"
	EventCredential   EventType = "credential.created"
	EventUncredited   EventType = "credential.revoked"
	EventClockHeld    EventType = "server.clock_held" // nothing leaves and nothing lapses
	EventClockTrusted EventType = "server.clock_trusted"
	EventSealed       EventType = "server.sealed"            // what had not left was sealed with a new key, as it stood
	EventKeysLost     EventType = "server.credentials_reset" // the keys that sealed credentials were given up
	EventCheckpoint   EventType = "server.checkpoint"        // data is the log as it stood before, signed
	EventRestored     EventType = "server.restored"          // a backup was put back: the first event of an epoch
	EventHookDeclared EventType = "webhook.declared"         // or changed
	EventHookRemoved  EventType = "webhook.removed"
	EventHookRotated  EventType = "webhook.rotated"  // it has a new secret
	EventHookDisabled EventType = "webhook.disabled" // by itself: its receiver is gone
	EventHookReset    EventType = "webhook.reset"    // events that it was to have are not in the log any more
	EventRegistered   EventType = "device.registered"
	EventDeregistered EventType = "device.deregistered"
	EventObserving    EventType = "device.observing"
	EventSuspended    EventType = "device.unreachable"
	EventTwoDevices   EventType = "device.two_devices"
	EventDeviceLost   EventType = "device.reset"
	EventStoreLost    EventType = "device.store_rolled_back"
	EventLastRefused  EventType = "device.last_refused"
	EventOrphaned     EventType = "execution.report_orphaned"
	EventProgress     EventType = "execution.progress"
	EventLateReport   EventType = "execution.report_noted"
	EventContradicted EventType = "execution.report_contradicted"
	EventClosed       EventType = "execution.closed_unknown"
)

// EventOf is the event that an execution's new state is.
func EventOf(s State) EventType { return EventType("execution." + s.String()) }

// Place is a place in the log: after event N, which is of that epoch. N is 0
// at the beginning, in any epoch.
type Place struct {
	Epoch uint32
	N     int64
}

// String is the id of the event at that place.
func (p Place) String() string { return fmt.Sprintf("%d-%d", p.Epoch, p.N) }

// ParsePlace is the inverse.
func ParsePlace(id string) (Place, error) {
	epoch, n, _ := strings.Cut(id, "-")
	e, err := strconv.ParseUint(epoch, 10, 32)
	if err != nil {
		return Place{}, err
	}
	m, err := strconv.ParseInt(n, 10, 64)
	return Place{Epoch: uint32(e), N: m}, err
}

// EventFilter picks events. The zero value picks all.
type EventFilter struct {
	Types   []EventType
	Device  string
	Command ID
	Sees    Sees
}
