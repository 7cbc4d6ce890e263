package device

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func TestSeqFollowsTheClock(t *testing.T) {
	var d Device
	for _, tt := range []struct {
		name string
		at   time.Duration
		base uint32
		want uint32 // 0: it waits
	}{
		{"the first is the clock", 0, 0, 1893456000},
		{"the next in the same second", 0, 0, 1893456001},
		{"later it is the clock again", time.Hour, 0, 1893459600},
		{"the clock steps back an hour", 0, 0, 0},
		{"the clock steps back a minute", 59 * time.Minute, 0, 1893459601},
		{"a raised base", time.Hour, SeqAhead, 1893463200},
	} {
		got, ok := d.NextSeq(epoch.Add(tt.at), tt.base)
		if got != tt.want || ok != (tt.want != 0) || ok && d.LastSeq != got {
			t.Errorf("%s: %d, %v, want %d", tt.name, got, ok, tt.want)
		}
	}
}

// What becomes known to a restored store may have been known to it before.
func TestSeqOfANewDeviceIsPastTheLostEpoch(t *testing.T) {
	lost := New("pump", epoch, 0)
	last := uint32(0)
	for range 2 * SeqAhead {
		if seq, ok := lost.NextSeq(epoch, 0); ok {
			last = seq
		}
	}
	d := New("pump", epoch, SeqAhead)
	if got := d.Remember(last, epoch, SeqAhead); got != Agrees {
		t.Errorf("its %d is held against a new epoch: %d", last, got)
	}
	if next, ok := d.NextSeq(epoch, SeqAhead); !ok || next <= last {
		t.Errorf("%d after %d, %v", next, last, ok)
	}
	if d := New("pump", epoch, math.MaxUint32); d.LastSeq != math.MaxUint32 {
		t.Errorf("the last of all numbers is %d", d.LastSeq)
	}
}

func TestSeqNeverRunsAnHourAhead(t *testing.T) {
	var d Device
	given := 0
	for range 2 * SeqAhead {
		seq, ok := d.NextSeq(epoch, 0)
		if !ok {
			break
		}
		if ahead := int64(seq) - epoch.Unix(); ahead >= SeqAhead {
			t.Fatalf("%d is %d ahead of the clock", seq, ahead)
		}
		given++
	}
	if given != SeqAhead {
		t.Errorf("%d were given in one second, want %d", given, SeqAhead)
	}
	if _, ok := d.NextSeq(epoch.Add(time.Second), 0); !ok {
		t.Error("a second later there is still none")
	}
}

func TestSeqEnds(t *testing.T) {
	last := time.Unix(math.MaxUint32, 0)
	d := Device{LastSeq: math.MaxUint32 - 1}
	if got, ok := d.NextSeq(last, 0); !ok || got != math.MaxUint32 {
		t.Errorf("the last number: %d, %v", got, ok)
	}
	if got, ok := d.NextSeq(last, 0); ok {
		t.Errorf("after the last number comes %d", got)
	}
	if got, ok := (&Device{}).NextSeq(last, 1); ok {
		t.Errorf("above the last number comes %d", got)
	}
	if got, ok := (&Device{}).NextSeq(time.Unix(-100, 0), 1); !ok || got != 1 {
		t.Errorf("before 1970: %d, %v", got, ok)
	}
	if got, ok := (&Device{}).NextSeq(time.Unix(0, 0), 0); !ok || got != 1 {
		t.Errorf("the wire has no number 0: got %d, %v", got, ok)
	}
}

// A number is never given twice, over restarts, backups that are restored at
// any time, and clocks that step; and it only ever grows while the clock does
// not go back behind a restore.
func TestSeqIsNeverGivenTwice(t *testing.T) {
	numbers, restores := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		s := &seqStore{now: epoch}
		backup := *s
		given := map[uint32]bool{}
		var last uint32
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 5).Draw(rt, "what") {
			case 0:
				s.now = s.now.Add(time.Duration(rapid.IntRange(0, 4000).Draw(rt, "forward")) * time.Second)
			case 1:
				s.now = s.now.Add(-time.Duration(rapid.IntRange(0, 4000).Draw(rt, "back")) * time.Second)
				s.now = time.Unix(max(s.now.Unix(), s.restored.Unix()), 0)
			case 2:
				backup = *s
			case 3:
				restores++
				s.dev, s.base = backup.dev, s.base+SeqAhead // each epoch raises the base that the one before had
				s.now = time.Unix(max(s.now.Unix(), s.mark.Unix()), 0)
				s.restored = s.now
			default:
				for range rapid.SampledFrom([]int{1, 5, SeqAhead, 2 * SeqAhead}).Draw(rt, "burst") {
					seq, ok := s.dev.NextSeq(s.now, s.base)
					if !ok {
						break
					}
					numbers++
					if given[seq] {
						rt.Fatalf("%d is given twice", seq)
					}
					if seq <= last {
						rt.Fatalf("%d comes after %d", seq, last)
					}
					given[seq], last = true, seq
					if s.now.After(s.mark) {
						s.mark = s.now
					}
				}
			}
		}
	})
	t.Logf("%d numbers, %d restores", numbers, restores)
}

// seqStore is what NextSeq needs of a store, and the clock. Nothing is released
// before the clock is again where it had been when the store was lost: its
// high-water mark holds dispatch until then.
type seqStore struct {
	dev      Device
	base     uint32
	now      time.Time
	mark     time.Time // the latest clock that a number was given at
	restored time.Time
}

func TestRemember(t *testing.T) {
	now := epoch.Unix()
	d := Device{LastSeq: uint32(now) + 10, ReportedSeq: uint32(now) + 5}
	for _, tt := range []struct {
		name string
		last int64
		want Memory
	}{
		{"what was given last", now + 10, Agrees},
		{"between reported and given", now + 7, Agrees},
		{"what was reported last", now + 5, Agrees},
		{"less than it reported on", now + 4, DeviceLost},
		{"nothing", 0, DeviceLost},
		{"more than was ever given", now + 11, StoreLost},
		{"the most that may have been given", now + SeqAhead, StoreLost},
		{"more than may have been given", now + SeqAhead + 1, Impossible},
		{"the largest number", math.MaxUint32, Impossible},
	} {
		if got := d.Remember(uint32(tt.last), epoch, 0); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	if got := d.Remember(uint32(now)+SeqAhead+5, epoch, 5); got != StoreLost {
		t.Errorf("a raised base raises the limit: %d, want %d", got, StoreLost)
	}
	if got := (&Device{}).Remember(0, epoch, 0); got != Agrees {
		t.Errorf("two that never met: %d, want %d", got, Agrees)
	}
}

// A device that remembers what it was given is never refused, and never taken
// for one that lost its memory.
func TestRememberAgreesWithWhatWasGiven(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		now, base := epoch, rapid.Uint32Range(0, 10*SeqAhead).Draw(rt, "base")
		var d Device
		var last uint32
		for range rapid.IntRange(1, 50).Draw(rt, "numbers") {
			now = now.Add(time.Duration(rapid.IntRange(0, 2).Draw(rt, "seconds")) * time.Second)
			if seq, ok := d.NextSeq(now, base); ok && rapid.Bool().Draw(rt, "arrives") {
				last = seq
				if rapid.Bool().Draw(rt, "reports") {
					d.ReportedSeq = seq
				}
			}
		}
		if got := d.Remember(last, now, base); got != Agrees {
			rt.Fatalf("last %d, given %d, reported %d: %d, want %d", last, d.LastSeq, d.ReportedSeq, got, Agrees)
		}
	})
}
