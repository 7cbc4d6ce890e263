package main

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestTheSlopeIsThatOfTheLine(t *testing.T) {
	x := []float64{0, 25, 50, 75, 100}
	for name, row := range map[string]struct {
		y    []float64
		want float64
	}{
		"flat":                 {[]float64{7, 7, 7, 7, 7}, 0},
		"a line":               {[]float64{1, 51, 101, 151, 201}, 2},
		"one step at the ends": {[]float64{0, 100, 100, 100, 200}, 1.6},
	} {
		t.Run(name, func(t *testing.T) {
			if got := slope(x, row.y); math.Abs(got-row.want) > 1e-9 {
				t.Errorf("%v, want %v", got, row.want)
			}
		})
	}
}

func TestPercentilesAreOfTheSortedTimes(t *testing.T) {
	var all times
	for i := range 100 {
		all = append(all, time.Duration(100-i)*time.Millisecond)
	}
	for p, want := range map[float64]time.Duration{0: 1, 50: 51, 99: 100, 100: 100} {
		if got := all.at(p); got != want*time.Millisecond {
			t.Errorf("the %vth is %v, want %v ms", p, got, int64(want))
		}
	}
	if got := (times{}).at(50); got != 0 {
		t.Errorf("of none it is %v", got)
	}
	if got, want := all.String(), "p50 51ms, p99 100ms"; got != want {
		t.Errorf("shown as %q, want %q", got, want)
	}
}

// TestMemoryIsReadFromTheKernel takes memory, of which the kernel must then
// know, as Go's heap.
func TestMemoryIsReadFromTheKernel(t *testing.T) {
	const size = 64 << 20
	before, err := residentOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, size)
	for i := 0; i < size; i += 4096 {
		block[i] = 1
	}
	after, err := residentOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	const slack = 8 << 20
	if got := after.goHeap - before.goHeap; got < size-slack || got > size+slack {
		t.Errorf("%d bytes were taken, %d are seen in the heap", size, got)
	}
	if after.all < after.goHeap || block[0] != 1 {
		t.Errorf("the whole (%d) is less than its part (%d)", after.all, after.goHeap)
	}
}

func TestTimeOfTheProcessorIsReadFromTheKernel(t *testing.T) {
	before, err := cpuOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	own := ownCPU()
	for ownCPU()-own < 100*time.Millisecond { // bounded by the clock that it looks at
	}
	after, err := cpuOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if got := after - before; got < 50*time.Millisecond {
		t.Errorf("100 ms of work, %v are seen", got)
	}
	if _, err := cpuOf(-1); err == nil {
		t.Error("a process that cannot be has no time")
	}
}

func TestWhatWasWrittenIsReadFromTheKernel(t *testing.T) {
	before, err := writtenBy(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	const size = 1 << 20
	if err := os.WriteFile(filepath.Join(t.TempDir(), "f"), make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	after, err := writtenBy(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if got := after - before; got < size || got > 2*size {
		t.Errorf("%d bytes were written, %d are seen", size, got)
	}
	if _, err := writtenBy(-1); err == nil {
		t.Error("a process that cannot be has written nothing")
	}
}
