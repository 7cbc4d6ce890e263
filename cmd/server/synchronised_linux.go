package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// What adjtimex(2) says of a clock that nobody keeps.
const (
	timeError  = 5    // its return value
	staUnsync  = 0x40 // a bit of its status
	timexReads = 0    // modes: nothing is to be changed
)

// systemSynchronised asks the kernel whether something keeps its clock: a time
// daemon that has found its sources, or a hypervisor's that says so.
func systemSynchronised() (bool, error) {
	t := unix.Timex{Modes: timexReads}
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return false, fmt.Errorf("adjtimex: %w", err)
	}
	return state != timeError && t.Status&staUnsync == 0, nil
}
