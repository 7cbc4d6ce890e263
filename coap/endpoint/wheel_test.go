package endpoint

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestWheelFiresWhatANaiveListWould compares the wheel with a list that is
// searched: same timers, same moments, never early, at most a tick late.
func TestWheelFiresWhatANaiveListWould(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type timer struct {
			at time.Duration
			id uint32
		}
		w := newWheel()
		naive := map[uint32]timer{} // by ref
		now := time.Duration(0)
		ref := uint32(0)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"add", "add", "remove", "advance", "jump to next"}).Draw(t, "do") {
			case "add":
				scale := rapid.SampledFrom([]time.Duration{1, time.Microsecond, time.Millisecond, time.Second, time.Hour, 24 * time.Hour}).Draw(t, "scale")
				ref++
				at := now + time.Duration(rapid.Int64Range(-2, 5000).Draw(t, "in"))*scale
				naive[ref] = timer{at, w.add(at, timerUpload, ref)}
			case "remove":
				for r, x := range naive {
					w.remove(x.id)
					delete(naive, r)
					break
				}
			case "advance":
				now += time.Duration(rapid.Int64Range(0, int64(3*time.Hour)).Draw(t, "by")) >> rapid.IntRange(0, 44).Draw(t, "shift")
			case "jump to next":
				at, ok := w.next()
				if ok != (len(naive) > 0) {
					t.Fatalf("next says %t with %d timers", ok, len(naive))
				}
				for _, x := range naive {
					if ok && at > max(x.at, now)+tick {
						t.Fatalf("next at %v is after the timer at %v", at, x.at)
					}
				}
				now = max(now, at)
			}
			var got, want []uint32
			for _, f := range w.advance(now, nil) {
				if naive[f.ref].at > now {
					t.Fatalf("fired at %v what is due at %v", now, naive[f.ref].at)
				}
				got = append(got, f.ref)
			}
			for r, x := range naive {
				if ticksUp(x.at) <= uint64(now/tick) {
					want = append(want, r)
					delete(naive, r)
				}
			}
			slices.Sort(got)
			slices.Sort(want)
			if diff := cmp.Diff(got, want); diff != "" {
				t.Fatalf("at %v got, want: %s", now, diff)
			}
		}
	})
}

func TestWheelGoesAHundredYears(t *testing.T) {
	w := newWheel()
	const year = 365 * 24 * time.Hour
	for now := time.Duration(0); now < 100*year; now += year {
		w.add(now+3*time.Second, timerSweep, 1)
		if fired := w.advance(now+3*time.Second, nil); len(fired) != 1 {
			t.Fatalf("after %v: fired %v", now, fired)
		}
	}
	if len(w.nodes) > 2 {
		t.Errorf("%d nodes for one timer", len(w.nodes))
	}
}

func BenchmarkWheel(b *testing.B) {
	w := newWheel()
	for i := range 1_000_000 {
		w.add(time.Duration(i)*time.Millisecond+time.Hour, timerExchange, uint32(i))
	}
	b.ReportAllocs()
	for b.Loop() {
		w.remove(w.add(3*time.Second, timerExchange, 7))
	}
}
