package command

import (
	"encoding/binary"
	"encoding/json"
)

// Sealed is what a seal on x is over: what was asked for, by whom, when, under
// which rules, and for this device. None of it changes once it is accepted.
func (x Execution) Sealed() []byte {
	c := x.Command
	digest := c.Digest(DigestTargets([]Target{{Device: x.Name, Params: x.Params}}))
	rules, _ := json.Marshal(struct { // of plain values
		By        string
		At        int64
		Policy    Policy
		Approval  *Demand
		Automatic *Threshold
		Forced    bool
		Slot      int64
		Restores  bool
		Devices   int
		Resolved  []byte
	}{c.RequestedBy, c.CreatedAt.UnixMilli(), c.Policy, c.Approval, c.Automatic, c.Forced, c.Slot, c.Restores, c.Devices, c.Resolved})
	b := append([]byte("execution\x00"), c.ID[:]...)
	b = append(b, digest[:]...)
	b = binary.AppendUvarint(b, uint64(len(rules)))
	return append(b, rules...)
}
