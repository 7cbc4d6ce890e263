package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticksPerSecond is USER_HZ, in which /proc counts CPU time: 100 on every Linux
// that Go runs on.
const ticksPerSecond = 100

// cpuOf is the CPU time that a process has used.
func cpuOf(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name in parentheses may hold anything; after it come the fields from 3 on.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	user, errUser := strconv.ParseInt(fields[11], 10, 64)
	system, errSystem := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / ticksPerSecond, errors.Join(errUser, errSystem)
}

// writtenBy is how many bytes a process has written to files, whether the disk
// saw them or the system's cache did. HTTP is in it too, CoAP is not.
func writtenBy(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if n, ok := strings.CutPrefix(line, "wchar: "); ok {
			return strconv.ParseInt(strings.TrimSpace(n), 10, 64)
		}
	}
	return 0, fmt.Errorf("/proc/%d/io says nothing of what was written", pid)
}

// resident is the memory of a process, in bytes.
type resident struct {
	all    int64
	goHeap int64 // in the arenas of Go's heap; the rest is SQLite's, the runtime's and the program's text
}

// Go draws the address of its heap within 46 bits on 64-bit Linux. The program
// itself lies below 4 GiB, and what C and the runtime map lies at the top of 47.
const (
	heapLow  = 1 << 32
	heapHigh = 1 << 46
)

// residentOf reads a process's mappings.
func residentOf(pid int) (resident, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps", pid))
	if err != nil {
		return resident{}, err
	}
	defer f.Close()
	var r resident
	heap := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		if value, ok := strings.CutPrefix(line, "Rss:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			if err != nil {
				return resident{}, err
			}
			r.all += kib << 10
			if heap {
				r.goHeap += kib << 10
			}
			continue
		}
		if from, _, ok := strings.Cut(line, "-"); ok {
			if at, err := strconv.ParseUint(from, 16, 64); err == nil {
				heap = heapLow <= at && at < heapHigh
			}
		}
	}
	return r, nil
}

// load is the load average of the last minute: how many processes wanted to run.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	one, _, _ := strings.Cut(string(b), " ")
	return one
}

// describe names the machine.
func describe() string {
	model := "unknown CPU"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, after, ok := strings.Cut(string(b), "model name"); ok {
			line, _, _ := strings.Cut(after, "\n")
			model = strings.TrimLeft(line, "\t: ")
		}
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		kernel = []byte("unknown")
	}
	return fmt.Sprintf("%d x %s, Linux %s, %s", runtime.NumCPU(), model, strings.TrimSpace(string(kernel)), runtime.Version())
}

// syncs is how often the disk is asked.
const syncs = 200

// syncTimes measures a write of a page and its fdatasync, in dir.
func syncTimes(dir string) (times, error) {
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	page := make([]byte, 4096)
	var t times
	for range syncs {
		begun := time.Now()
		if _, err := f.Write(page); err != nil {
			return nil, err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return nil, err
		}
		t = append(t, time.Since(begun))
	}
	return t, nil
}

// times are durations of which one wants percentiles.
type times []time.Duration

// at is the p-th percentile.
func (t times) at(p float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(t))
	return sorted[min(int(float64(len(sorted))*p/100), len(sorted)-1)]
}

// String is what one wants to know of them.
func (t times) String() string {
	return fmt.Sprintf("p50 %v, p99 %v", shown(t.at(50)), shown(t.at(99)))
}

// shown rounds to three digits or so.
func shown(d time.Duration) time.Duration {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond)
	case d < time.Second:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(10 * time.Millisecond)
}

// slope is the straight line through points, by least squares: y per x.
func slope(x, y []float64) float64 {
	var mx, my float64
	for i := range x {
		mx, my = mx+x[i]/float64(len(x)), my+y[i]/float64(len(x))
	}
	var above, below float64
	for i := range x {
		above, below = above+(x[i]-mx)*(y[i]-my), below+(x[i]-mx)*(x[i]-mx)
	}
	return above / below
}

// median is the middle of values.
func median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	return sorted[len(sorted)/2]
}
