package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

// Memory is what the device knows after a reboot.
type Memory struct {
	Last     uint32    // the highest seq that it took on
	Outcomes []Outcome // the newest, oldest first
}

// Outcome is a final report, kept so that it can be repeated.
type Outcome struct {
	Seq    uint32
	Report []byte
}

// Outcome finds the outcome of seq.
func (m Memory) Outcome(seq uint32) (Outcome, bool) {
	for _, outcome := range m.Outcomes {
		if outcome.Seq == seq {
			return outcome, true
		}
	}
	return Outcome{}, false
}

// With is m with last raised to seq and, unless the report is nil, its outcome
// added. The oldest outcomes go when there are too many, or too large ones.
func (m Memory) With(seq uint32, report []byte) Memory {
	next := Memory{Last: max(m.Last, seq), Outcomes: slices.Clone(m.Outcomes)}
	if report == nil {
		return next
	}
	next.Outcomes = slices.DeleteFunc(next.Outcomes, func(o Outcome) bool { return o.Seq == seq })
	next.Outcomes = append(next.Outcomes, Outcome{Seq: seq, Report: slices.Clone(report)})
	for len(next.Outcomes) > outcomesMax || next.bodyBytes() > bodyBytesMax {
		next.Outcomes = next.Outcomes[1:]
	}
	return next
}

func (m Memory) bodyBytes() int {
	n := 6
	for _, outcome := range m.Outcomes {
		n += 8 + len(outcome.Report)
	}
	return n
}

const (
	// outcomesMax is what a server may list at once: eight that the device
	// asked for and ten urgent ones.
	outcomesMax = 18
	// slotBytes holds one outcome of the contract's largest result, 64 KiB,
	// and leaves room beside it.
	slotBytes    = 128 << 10
	headBytes    = 16
	checkBytes   = 4
	bodyBytesMax = slotBytes - headBytes - checkBytes
	magic        = 0x42484d31 // "BHM1"
)

// ErrDamaged means that neither slot can be read and that the medium is not new.
var ErrDamaged = errors.New("no device's memory, or both slots are damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Medium is where the slots lie.
type Medium interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// Slots keeps a Memory on a medium.
type Slots struct {
	medium     Medium
	memory     Memory
	generation uint64
	next       int // the slot to write: the one that does not hold the memory
}

// OpenSlots reads the newest whole record. A new medium holds the zero Memory.
func OpenSlots(medium Medium) (*Slots, error) {
	s := &Slots{medium: medium}
	virgin, foreign := false, false
	for i := range 2 {
		slot, err := readSlot(medium, i)
		if err != nil {
			return nil, fmt.Errorf("read slot %d: %w", i, err)
		}
		memory, generation, ok := decodeRecord(slot)
		switch {
		case ok && generation > s.generation:
			s.memory, s.generation, s.next = memory, generation, 1-i
		case !ok:
			virgin = virgin || isVirgin(slot)
			foreign = foreign || isForeign(slot)
		}
	}
	// The first record ever may be torn, beside a slot that was never written:
	// Save had not returned, so nothing is lost.
	if s.generation == 0 && (!virgin || foreign) {
		return nil, ErrDamaged
	}
	return s, nil
}

// Memory is the memory as it was last saved.
func (s *Slots) Memory() Memory { return s.memory }

// Save makes m the memory. When it returns nil, m survives a power loss; when it
// returns an error, either may be what is found at the next Open.
func (s *Slots) Save(m Memory) error {
	record := appendRecord(nil, m, s.generation+1)
	if _, err := s.medium.WriteAt(record, int64(s.next*slotBytes)); err != nil {
		return fmt.Errorf("write slot %d: %w", s.next, err)
	}
	if err := s.medium.Sync(); err != nil {
		return fmt.Errorf("sync slot %d: %w", s.next, err)
	}
	s.memory, s.generation, s.next = m, s.generation+1, 1-s.next
	return nil
}

// readSlot reads as much of a slot as there is.
func readSlot(medium Medium, i int) ([]byte, error) {
	return io.ReadAll(io.NewSectionReader(medium, int64(i*slotBytes), slotBytes))
}

// isVirgin says whether a slot was never written.
func isVirgin(slot []byte) bool {
	return !slices.ContainsFunc(slot, func(b byte) bool { return b != 0 })
}

// isForeign says whether a slot begins with what no record of ours, whole or
// torn, begins with: somebody else's file, not to be written over.
func isForeign(slot []byte) bool {
	begin := bytes.TrimRight(slot[:min(4, len(slot))], "\x00")
	return !bytes.HasPrefix(binary.BigEndian.AppendUint32(nil, magic), begin)
}

func appendRecord(dst []byte, m Memory, generation uint64) []byte {
	body := binary.BigEndian.AppendUint32(nil, m.Last)
	body = binary.BigEndian.AppendUint16(body, uint16(len(m.Outcomes)))
	for _, outcome := range m.Outcomes {
		body = binary.BigEndian.AppendUint32(body, outcome.Seq)
		body = binary.BigEndian.AppendUint32(body, uint32(len(outcome.Report)))
		body = append(body, outcome.Report...)
	}
	start := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, magic)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(body)))
	dst = binary.BigEndian.AppendUint64(dst, generation)
	dst = append(dst, body...)
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

func decodeRecord(slot []byte) (Memory, uint64, bool) {
	if len(slot) < headBytes+checkBytes || binary.BigEndian.Uint32(slot) != magic {
		return Memory{}, 0, false
	}
	size := int64(binary.BigEndian.Uint32(slot[4:]))
	if size > int64(len(slot)-headBytes-checkBytes) {
		return Memory{}, 0, false
	}
	end := headBytes + int(size)
	if crc32.Checksum(slot[:end], castagnoli) != binary.BigEndian.Uint32(slot[end:]) {
		return Memory{}, 0, false
	}
	memory, ok := decodeBody(slot[headBytes:end])
	return memory, binary.BigEndian.Uint64(slot[8:]), ok
}

func decodeBody(body []byte) (Memory, bool) {
	if len(body) < 6 {
		return Memory{}, false
	}
	m := Memory{Last: binary.BigEndian.Uint32(body)}
	count := binary.BigEndian.Uint16(body[4:])
	body = body[6:]
	for range count {
		if len(body) < 8 || int64(binary.BigEndian.Uint32(body[4:])) > int64(len(body)-8) {
			return Memory{}, false
		}
		end := 8 + int(binary.BigEndian.Uint32(body[4:]))
		m.Outcomes = append(m.Outcomes, Outcome{
			Seq: binary.BigEndian.Uint32(body), Report: slices.Clone(body[8:end]),
		})
		body = body[end:]
	}
	return m, len(body) == 0
}
