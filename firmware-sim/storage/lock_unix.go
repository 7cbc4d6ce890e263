//go:build unix

package storage

import (
	"os"
	"syscall"
)

// lock takes the file for this process. The lock goes with the file or with the
// process, also when that is killed.
func lock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
