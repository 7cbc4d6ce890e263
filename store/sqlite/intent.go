package sqlite

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"behest/command"
)

// The column `terms` of a kind is the policy of a command type and its
// clocks, in milliseconds.
const (
	termWireCode = iota
	termRedelivery
	termParallel
	termUrgent
	termFresh
	termLarge
	termFloat32
	termClocks // the first of six
	termEnd    = termClocks + 6
)

// clocksOf lists the clocks that belong to a kind, in the order of the
// column. A command keeps its own deliver_within and run_for.
func clocksOf(c *command.Clocks) [6]*time.Duration {
	return [6]*time.Duration{&c.ApproveWithin, &c.UseWithin, &c.HoldWithin, &c.ReportEvery, &c.CancelFor, &c.SettleFor}
}

// kind is what commands have in common. It is comparable, to be looked up.
type kind struct {
	Type        string
	TypeVersion int
	Policy      command.Policy
	Clocks      command.Clocks // without the two that a command keeps itself
}

func kindOf(c *command.Command) kind {
	k := kind{Type: c.Type, TypeVersion: c.TypeVersion, Policy: c.Policy, Clocks: c.Clocks}
	k.Clocks.DeliverWithin, k.Clocks.RunFor = 0, 0
	return k
}

func appendTerms(b []byte, k *kind) []byte {
	var p packer
	p.uint(termWireCode, uint64(k.Policy.WireCode))
	p.uint(termRedelivery, uint64(k.Policy.Redelivery))
	p.flag(termParallel, k.Policy.Parallel)
	p.flag(termUrgent, k.Policy.Urgent)
	p.flag(termFresh, k.Policy.Fresh)
	p.flag(termLarge, k.Policy.Large)
	p.flag(termFloat32, k.Policy.Float32)
	for i, d := range clocksOf(&k.Clocks) {
		p.int(termClocks+i, d.Milliseconds())
	}
	return p.appendTo(b)
}

func unpackTerms(b []byte, c *command.Command) error {
	u := unpack(b, termEnd)
	c.Policy = command.Policy{
		WireCode: uint16(u.uint(termWireCode)), Redelivery: command.Redelivery(u.enum(termRedelivery)),
		Parallel: u.has(termParallel), Urgent: u.has(termUrgent), Fresh: u.has(termFresh),
		Large: u.has(termLarge), Float32: u.has(termFloat32),
	}
	for i, d := range clocksOf(&c.Clocks) {
		*d = u.duration(termClocks + i)
	}
	return u.end()
}

// The column `intent` is what each command has of its own. When its targets
// are just the name of its one device, they are a flag.
const (
	intentOneDevice = iota
	intentDeliverWithin
	intentRunFor
	intentDevices
	intentNotBefore // milliseconds after creation, either way
	intentParams
	intentSlot
	intentEnd
)

func appendIntent(b []byte, c *command.Command, one bool) []byte {
	p := packer{body: make([]byte, 0, 32+len(c.Params))}
	p.flag(intentOneDevice, one)
	p.int(intentDeliverWithin, c.Clocks.DeliverWithin.Milliseconds())
	p.int(intentRunFor, c.Clocks.RunFor.Milliseconds())
	p.int(intentDevices, int64(c.Devices-1))
	if p.flag(intentNotBefore, !c.NotBefore.IsZero()) {
		p.body = binary.AppendVarint(p.body, c.NotBefore.UnixMilli()-c.CreatedAt.UnixMilli())
	}
	p.bytes(intentParams, c.Params)
	p.int(intentSlot, c.Slot)
	return p.appendTo(b)
}

// unpackIntent fills c, whose CreatedAt is there. It reports whether the
// targets are the one device.
func unpackIntent(b []byte, c *command.Command) (one bool, err error) {
	u := unpack(b, intentEnd)
	one = u.has(intentOneDevice)
	c.Clocks.DeliverWithin = u.duration(intentDeliverWithin)
	c.Clocks.RunFor = u.duration(intentRunFor)
	c.Devices = int(u.int(intentDevices)) + 1
	if u.has(intentNotBefore) {
		c.NotBefore = fromMillis(c.CreatedAt.UnixMilli() + u.nextInt())
	}
	c.Params = u.bytes(intentParams)
	c.Slot = u.int(intentSlot)
	return one, u.end()
}

// readAsked reads the targets of a command on many devices.
func readAsked(text string, c *command.Command) error {
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), &c.Targets); err != nil {
		return fmt.Errorf("command %d: its targets: %w", c.N, err)
	}
	return nil
}

// targetsOne reports whether the targets of c are just the name of x's device.
func targetsOne(c *command.Command, x *command.Execution) bool {
	t := &c.Targets
	return slices.Equal(t.Devices, []string{x.Name}) && len(t.Groups) == 0 && t.Selector == "" && !t.All
}
