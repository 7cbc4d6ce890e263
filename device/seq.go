package device

import (
	"math"
	"time"
)

// SeqAhead bounds, in seconds, how far a device's numbers run ahead of the
// clock: always less than this. A restored store adds as much to its base: whatever was given out
// after the backup, up to the very second of the restore, the next number is
// above it.
const SeqAhead = 3600

// seqFloor is the least number that the clock allows at now.
func seqFloor(now time.Time, base uint32) uint64 {
	return uint64(max(0, now.Unix())) + uint64(base)
}

// New is a device that becomes known at now. To a restored store it may have been
// known before: whatever it can have been given then counts as given.
func New(name string, now time.Time, base uint32) Device {
	d := Device{Name: name, CreatedAt: now}
	if base > 0 {
		d.LastSeq = uint32(min(seqFloor(now, base)-1, math.MaxUint32))
	}
	return d
}

// NextSeq gives d its next number, which only ever grows, and records it. It
// answers false when the numbers have run too far ahead of the clock, or out:
// then the transmission waits.
func (d *Device) NextSeq(now time.Time, base uint32) (uint32, bool) {
	floor := seqFloor(now, base)
	next := max(uint64(d.LastSeq)+1, floor)
	if next >= floor+SeqAhead || next > math.MaxUint32 {
		return 0, false
	}
	d.LastSeq = uint32(next)
	return d.LastSeq, true
}

// Memory is what a device's `last` says about its memory and about ours.
type Memory uint8

const (
	Agrees     Memory = iota
	Impossible        // a number that cannot have been given out: refuse it
	StoreLost         // a number that this store does not remember: it was rolled back
	DeviceLost        // less than it once reported on: it forgot
)

// Remember compares a device's `last` with what d knows.
func (d *Device) Remember(last uint32, now time.Time, base uint32) Memory {
	switch {
	case uint64(last) > seqFloor(now, base)+SeqAhead:
		return Impossible
	case last > d.LastSeq:
		return StoreLost
	case last < d.ReportedSeq:
		return DeviceLost
	}
	return Agrees
}
