package command

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
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

// Digest names exactly what is asked of whom and until when, so that an
// approval can be for that and nothing else: type and version, params, the
// devices that the targets came to, and the clocks.
func (c *Command) Digest(devices []string) [sha256.Size]byte {
	h := sha256.New()
	text := func(b []byte) { // length first: no two different lists read alike
		h.Write(binary.AppendUvarint(nil, uint64(len(b))))
		h.Write(b)
	}
	number := func(n int64) { h.Write(binary.BigEndian.AppendUint64(nil, uint64(n))) }

	text([]byte(c.Type))
	number(int64(c.TypeVersion))
	text(c.Params)
	for _, d := range slices.Sorted(slices.Values(devices)) {
		text([]byte(d))
	}
	k := c.Clocks
	for _, d := range []time.Duration{k.ApproveWithin, k.UseWithin, k.HoldWithin, k.DeliverWithin,
		k.RunFor, k.ReportEvery, k.CancelFor, k.SettleFor} {
		number(int64(d))
	}
	number(c.NotBefore.UnixMilli())
	return [sha256.Size]byte(h.Sum(nil))
}
