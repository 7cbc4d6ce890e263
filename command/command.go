package command

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Limits of what an operator may ask for at once.
const (
	TypeNameBytesMax    = 63      // like a device's name
	ParamsBytesMax      = 1 << 10 // one datagram, with room for the rest of the list
	LargeParamsBytesMax = 64 << 10
	ReasonBytesMax      = 1 << 10
	LabelsMax           = 32
	LabelBytesMax       = 63
	TargetsMax          = 100_000 // named one by one; what is larger is a selector's business
	BatchMax            = 1000    // commands in one commit
	TargetGroupsMax     = 100
	DevicesMax          = 1_000_000 // that selectors come to in one command
)

// Command is one intent: a type, params, targets, clocks and a reason. It
// never changes once it is accepted.
type Command struct {
	N  int64 // its row in the store
	ID ID

	Type        string
	TypeVersion int // 0: a type that was never declared
	Policy      Policy
	Clocks      Clocks
	Params      []byte // one CBOR item, deterministically encoded; nil: none

	Targets     Targets // as they were asked for
	Devices     int     // how many devices they came to
	NotBefore   time.Time
	Labels      map[string]string
	Reason      string
	RequestedBy string
	CreatedAt   time.Time

	// What few commands have.
	Approval   *Demand    // what has to be before it goes; nil: nothing
	Rollout    *Rollout   // nil: to all devices at once, at any time
	Automatic  *Threshold // past it, the command is rolled back by itself; nil: never
	RollbackOf ID         // the command that it undoes; zero: none
	Forced     bool       // a rollback that was asked for although it is not the latest
	Slot       int64      // with the device, what it sets; 0: nothing that could be undone
	Restores   bool       // it undoes by the value before
	Resolved   []byte     // of many devices: DigestTargets, taken when they were resolved
}

// Window is when it may leave; nil: at any time.
func (c *Command) Window() *Window {
	if c.Rollout == nil {
		return nil
	}
	return c.Rollout.Window
}

// Policy is what a command type decides for all its commands.
type Policy struct {
	WireCode   uint16 // stands for the name on the wire; 0: none
	Redelivery Redelivery
	Parallel   bool // while running it does not keep the device's next command waiting
	Urgent     bool // presented at once, whatever is running
	Fresh      bool // the device asks before it starts
	Large      bool // params and results up to 64 KiB
	Float32    bool // no float shorter than float32 on the wire
}

// Redelivery is what may happen to a command whose delivery is in doubt.
type Redelivery uint8

const (
	Dedup Redelivery = iota // present it again under the same seq: the device acts once
	Safe                    // likewise, and if its effects repeat nobody minds
	Once                    // one exchange only
	redeliveryEnd
)

var redeliveryNames = [...]string{"dedup", "safe", "once"}

func (r Redelivery) String() string { return nameOf(redeliveryNames[:], r) }

// Targets say which devices a command is for, as the operator said it.
type Targets struct {
	Devices  []string `json:"devices,omitempty"`
	Groups   []string `json:"groups,omitempty"`
	Selector string   `json:"selector,omitempty"`
	All      bool     `json:"all,omitempty"`
}

// ExpiresAt is when the command can no longer be delivered, as far as that is
// known when it is created.
func (c *Command) ExpiresAt() time.Time {
	return later(c.CreatedAt, c.NotBefore).Add(c.Clocks.DeliverWithin)
}

// Target is a device of a command, with its params where they are its own.
type Target struct {
	Device string
	Params []byte // nil: the command's
}

// Digest names exactly what is asked of whom and until when, so that an
// approval can be for that and nothing else: type and version, params, the
// devices that the targets came to (see DigestTargets), clocks and rollout.
func (c *Command) Digest(targets []byte) [sha256.Size]byte {
	h := sha256.New()
	text := func(b []byte) { // length first: no two different lists read alike
		h.Write(binary.AppendUvarint(nil, uint64(len(b))))
		h.Write(b)
	}
	number := func(n int64) { h.Write(binary.BigEndian.AppendUint64(nil, uint64(n))) }

	text([]byte(c.Type))
	number(int64(c.TypeVersion))
	text(c.Params)
	text(targets)
	k := c.Clocks
	for _, d := range []time.Duration{k.ApproveWithin, k.UseWithin, k.HoldWithin, k.DeliverWithin,
		k.RunFor, k.ReportEvery, k.CancelFor, k.SettleFor} {
		number(int64(d))
	}
	number(c.NotBefore.UnixMilli())
	if c.Rollout != nil {
		rollout, _ := json.Marshal(c.Rollout) // of plain values
		text(rollout)
	}
	text(c.RollbackOf[:])
	return [sha256.Size]byte(h.Sum(nil))
}

// DigestTargets names devices, and what each has for itself.
func DigestTargets(targets []Target) []byte {
	h := sha256.New()
	for _, t := range slices.SortedFunc(slices.Values(targets), func(a, b Target) int { return strings.Compare(a.Device, b.Device) }) {
		for _, b := range [][]byte{[]byte(t.Device), t.Params} {
			h.Write(binary.AppendUvarint(nil, uint64(len(b))))
			h.Write(b)
		}
	}
	return h.Sum(nil)
}

// Named are targets that have no params of their own.
func Named(devices ...string) []Target {
	list := make([]Target, len(devices))
	for i, name := range devices {
		list[i].Device = name
	}
	return list
}
