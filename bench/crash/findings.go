package main

import (
	"fmt"
	"sync"
)

// class is a kind of fault.
type class uint8

const (
	lost class = iota
	wrong
	double
	classes
)

func (c class) String() string { return [...]string{"lost", "wrong", "double"}[c] }

// findings are the faults that were found. Its methods may be called from any
// goroutine.
type findings struct {
	mu     sync.Mutex
	count  [classes]int
	told   map[string]bool // a fault that is met again is the same fault
	listed []string        // the first of them
}

// findingsListed is how many faults are told in words.
const findingsListed = 20

func newFindings() *findings { return &findings{told: map[string]bool{}} }

func (f *findings) add(c class, format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text := fmt.Sprintf("%-6v %s", c, fmt.Sprintf(format, args...))
	if f.told[text] {
		return
	}
	f.told[text] = true
	f.count[c]++
	if len(f.listed) < findingsListed {
		f.listed = append(f.listed, text)
	}
}

func (f *findings) lost(format string, args ...any)   { f.add(lost, format, args...) }
func (f *findings) wrong(format string, args ...any)  { f.add(wrong, format, args...) }
func (f *findings) double(format string, args ...any) { f.add(double, format, args...) }

// counts are the faults by class.
func (f *findings) counts() [classes]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// first are the first faults, in words.
func (f *findings) first() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.listed...)
}
