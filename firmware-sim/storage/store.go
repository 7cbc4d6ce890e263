package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strconv"
	"strings"
	"sync"
)

// JournalSuffix is added to the name of the state file for the journal of
// effects.
const JournalSuffix = ".effects"

// Store is a device's memory and the journal of what it did to the world. Its
// methods may be called from any goroutine.
type Store struct {
	closers []io.Closer // set once

	mu      sync.Mutex
	slots   *Slots
	journal io.Writer // nil in RAM
	effects map[uint32]int
}

// NewRAM is a store that lives as long as the process: hand it to the next
// Device to reboot the one before.
func NewRAM() *Store {
	slots, err := OpenSlots(&ram{})
	if err != nil {
		panic(fmt.Sprintf("storage: new RAM: %v", err))
	}
	return &Store{slots: slots, effects: map[uint32]int{}}
}

// Open opens or makes the state file at path and its journal beside it. It
// refuses files that another process holds.
func Open(path string) (*Store, error) {
	state, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(state); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is in use by another process", path), state.Close())
	}
	slots, err := OpenSlots(state)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), state.Close())
	}
	journal, effects, err := openJournal(path + JournalSuffix)
	if err != nil {
		return nil, errors.Join(err, state.Close())
	}
	return &Store{
		closers: []io.Closer{journal, state},
		slots:   slots, journal: syncing{journal}, effects: effects,
	}, nil
}

// Close releases the files.
func (s *Store) Close() error {
	var errs []error
	for _, c := range s.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// Memory is the memory as it was last saved.
func (s *Store) Memory() Memory {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.slots.Memory()
}

// Save makes m survive a power loss.
func (s *Store) Save(m Memory) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.slots.Save(m)
}

// Act notes one effect on the world for seq.
func (s *Store) Act(seq uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.journal != nil {
		if _, err := fmt.Fprintln(s.journal, seq); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
	}
	s.effects[seq]++
	return nil
}

// Effects counts the effects by seq, over all lives of the device.
func (s *Store) Effects() map[uint32]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.effects)
}

// openJournal reads the journal, a seq a line, and opens it for more. A last
// line without an end was cut by a power loss and may be a part of a number: it
// is dropped.
func openJournal(path string) (*os.File, map[uint32]int, error) {
	content, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, err
	}
	whole := content[:bytes.LastIndexByte(content, '\n')+1]
	effects := map[uint32]int{}
	for i, line := range strings.Fields(string(whole)) {
		seq, err := strconv.ParseUint(line, 10, 32)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: line %d is no seq: %q", path, i+1, line)
		}
		effects[uint32(seq)]++
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, err
	}
	if err := file.Truncate(int64(len(whole))); err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, effects, nil
}

// syncing syncs after each write.
type syncing struct{ *os.File }

func (s syncing) Write(b []byte) (int, error) {
	n, err := s.File.Write(b)
	if err != nil {
		return n, err
	}
	return n, s.Sync()
}

// ram is a medium in memory that holds no more of a slot than was written.
type ram struct{ slots [2][]byte }

func (r *ram) ReadAt(b []byte, offset int64) (int, error) {
	slot, at := r.slots[offset/slotBytes], offset%slotBytes
	n := copy(b, slot[min(at, int64(len(slot))):])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (r *ram) WriteAt(b []byte, offset int64) (int, error) {
	slot, at := &r.slots[offset/slotBytes], int(offset%slotBytes)
	if missing := at + len(b) - len(*slot); missing > 0 {
		*slot = append(*slot, make([]byte, missing)...)
	}
	return copy((*slot)[at:], b), nil
}

func (r *ram) Sync() error { return nil }
