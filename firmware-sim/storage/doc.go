// Package storage is what survives a power loss of the simulated device.
//
// Slots holds the device's memory: `last`, the highest seq that it took on, and
// the newest outcomes, so that they can be repeated. It is kept in two slots,
// written in turn; each record carries a generation and a checksum:
//
//	magic(4) body length(4) generation(8) body crc32c(4)
//	body = last(4) count(2) count * { seq(4) length(4) report bytes }
//
// A record is written over the older slot and synced before Save returns. Power
// lost at any byte of it damages that slot alone, and Open finds the memory as
// it was before or as it is after, nothing else. Two damaged slots are not the
// work of one power loss: Open says ErrDamaged and does not guess.
//
// Journal is not memory but the world: each effect that the device had on it,
// by seq. No rule of the device reads it. Tests and people do, to see that no
// effect happened twice.
//
// Store joins both, in RAM (a test's device that reboots in one process) or in
// two files that one process at a time may hold.
package storage
