package storage

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestPowerLossAtEveryByte cuts each of a row of saves at every byte, and opens
// what is left: it must be the memory before, or the one after.
func TestPowerLossAtEveryByte(t *testing.T) {
	memories := []Memory{
		{},
		{Last: 7},
		{Last: 9, Outcomes: []Outcome{{Seq: 9, Report: []byte{0xa1, 1, 1}}}},
		Memory{Last: 9}.With(11, bytes.Repeat([]byte{0x55}, 300)),
		{Last: 12},
		{Last: 13, Outcomes: []Outcome{{Seq: 8, Report: nil}, {Seq: 13, Report: []byte{1}}}},
	}
	medium := &ram{}
	cases := 0
	for i, after := range memories[1:] {
		before := memories[i]
		bytesWritten := len(appendRecord(nil, after, uint64(i+1)))
		for cut := range bytesWritten {
			torn := &tearing{ram: clone(medium), left: cut}
			slots, err := OpenSlots(torn)
			if err != nil {
				t.Fatal(err)
			}
			if err := slots.Save(after); !errors.Is(err, errPowerLoss) {
				t.Fatalf("save %d cut at byte %d: error %v", i, cut, err)
			}
			mustHold(t, torn.ram, before)
			// And the device goes on from there as if nothing had happened.
			again, err := OpenSlots(torn.ram)
			if err != nil {
				t.Fatal(err)
			}
			if err := again.Save(after); err != nil {
				t.Fatal(err)
			}
			mustHold(t, torn.ram, after)
			cases++
		}
		slots, err := OpenSlots(medium)
		if err != nil {
			t.Fatal(err)
		}
		if err := slots.Save(after); err != nil {
			t.Fatal(err)
		}
		mustHold(t, medium, after)
	}
	t.Logf("%d power losses", cases)
}

// TestPowerLossInARowOfSaves lets one life save and save until the power goes,
// at each byte of the row: what is found is the last memory that Save returned
// for.
func TestPowerLossInARowOfSaves(t *testing.T) {
	const saves = 6
	for cut := range 1000 {
		torn := &tearing{ram: &ram{}, left: cut}
		slots, err := OpenSlots(torn)
		if err != nil {
			t.Fatal(err)
		}
		var saved Memory
		for seq := range uint32(saves) {
			next := saved.With(seq+1, bytes.Repeat([]byte{byte(seq)}, int(seq)*3))
			if slots.Save(next) != nil {
				break
			}
			saved = next
		}
		mustHold(t, torn.ram, saved)
		if saved.Last == saves {
			t.Logf("%d power losses", cut)
			return
		}
	}
	t.Error("the row of saves never came to its end")
}

func TestOneFlippedBitCostsOneSlotAtMost(t *testing.T) {
	medium := &ram{}
	slots, err := OpenSlots(medium)
	if err != nil {
		t.Fatal(err)
	}
	before, after := Memory{Last: 1}, Memory{Last: 2}.With(2, []byte{0xa1, 1, 1})
	for _, m := range []Memory{before, after} {
		if err := slots.Save(m); err != nil {
			t.Fatal(err)
		}
	}
	newest := medium.slots[1]
	for bit := range len(newest) * 8 {
		newest[bit/8] ^= 1 << (bit % 8)
		mustHold(t, medium, before)
		newest[bit/8] ^= 1 << (bit % 8)
	}
	mustHold(t, medium, after)
}

func TestTwoDamagedSlotsAreNotGuessedAt(t *testing.T) {
	medium := &ram{}
	slots, err := OpenSlots(medium)
	if err != nil {
		t.Fatal(err)
	}
	for last := range uint32(2) {
		if err := slots.Save(Memory{Last: last + 1}); err != nil {
			t.Fatal(err)
		}
	}
	medium.slots[0][20] ^= 1
	medium.slots[1][20] ^= 1
	if _, err := OpenSlots(medium); !errors.Is(err, ErrDamaged) {
		t.Errorf("error %v, want ErrDamaged", err)
	}
}

func TestOutcomesAreKeptNewestFirstWithinTheSlot(t *testing.T) {
	var m Memory
	for seq := range uint32(40) {
		m = m.With(seq+1, []byte{byte(seq)})
	}
	if len(m.Outcomes) != outcomesMax || m.Last != 40 {
		t.Errorf("%d outcomes and last %d, want %d and 40", len(m.Outcomes), m.Last, outcomesMax)
	}
	if _, ok := m.Outcome(40 - outcomesMax + 1); !ok {
		t.Error("the oldest of the newest is gone")
	}
	if _, ok := m.Outcome(40 - outcomesMax); ok {
		t.Error("one too many is kept")
	}
	large := bytes.Repeat([]byte{1}, 65<<10)
	m = m.With(41, large).With(42, large)
	want := Memory{Last: 42, Outcomes: []Outcome{{Seq: 42, Report: large}}}
	if diff := cmp.Diff(m, want); diff != "" {
		t.Errorf("two outcomes of 65 KiB in a slot of 128 KiB (-got +want):\n%s", diff)
	}
	again := want.With(42, []byte{2})
	if diff := cmp.Diff(again, Memory{Last: 42, Outcomes: []Outcome{{Seq: 42, Report: []byte{2}}}}); diff != "" {
		t.Errorf("an outcome told twice (-got +want):\n%s", diff)
	}
	if lower := again.With(3, []byte{3}); lower.Last != 42 {
		t.Errorf("last fell to %d", lower.Last)
	}
}

func TestFilesSurviveTheirProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pump-7.state")
	store := mustOpen(t, path)
	want := Memory{}.With(5, []byte{0xa1, 1, 1})
	if err := store.Save(want); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := store.Act(5); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(path); err == nil {
		t.Error("a second process opened the state file")
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	appendTo(t, path+JournalSuffix, "123") // cut by a power loss
	store = mustOpen(t, path)
	if err := store.Act(6); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(store.Memory(), want); diff != "" {
		t.Errorf("memory (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(store.Effects(), map[uint32]int{5: 2, 6: 1}); diff != "" {
		t.Errorf("effects (-got +want):\n%s", diff)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	store = mustOpen(t, path)
	defer store.Close()
	if diff := cmp.Diff(store.Effects(), map[uint32]int{5: 2, 6: 1}); diff != "" {
		t.Errorf("effects after a second start (-got +want):\n%s", diff)
	}
}

func TestFilesThatAreNotOursAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"state": func(path string) error {
			return os.WriteFile(path, bytes.Repeat([]byte("garbage "), 40000), 0o600)
		},
		"short file": func(path string) error { return os.WriteFile(path, []byte("notes\n"), 0o600) },
		"journal":    func(path string) error { return os.WriteFile(path+JournalSuffix, []byte("five\n"), 0o600) },
		"directory":  func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state")
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			if store, err := Open(path); err == nil {
				store.Close()
				t.Error("opened")
			}
		})
	}
}

var errPowerLoss = errors.New("power loss")

// tearing writes no more than left bytes, then loses power.
type tearing struct {
	*ram
	left int
}

func (m *tearing) WriteAt(b []byte, offset int64) (int, error) {
	n, _ := m.ram.WriteAt(b[:min(m.left, len(b))], offset)
	m.left -= n
	if n < len(b) {
		return n, errPowerLoss
	}
	return n, nil
}

func clone(m *ram) *ram {
	return &ram{slots: [2][]byte{bytes.Clone(m.slots[0]), bytes.Clone(m.slots[1])}}
}

func mustHold(t *testing.T, medium Medium, want Memory) {
	t.Helper()
	slots, err := OpenSlots(medium)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slots.Memory(), want, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("memory (-got +want):\n%s", diff)
	}
}

func mustOpen(t *testing.T, path string) *Store {
	t.Helper()
	store, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func appendTo(t *testing.T, path, s string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(s); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
