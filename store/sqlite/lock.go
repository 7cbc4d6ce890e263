package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lock takes the lock beside the database, so that no second server opens
// it. The kernel drops it when the process ends, however that happens; the
// file stays, and says who had it last.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		err = sign(f)
	}
	if err != nil {
		owner, _ := os.ReadFile(f.Name())
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("it is in use by %s", strings.TrimSpace(string(owner)))
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return f, nil
}

// share takes the lock beside the database in common with others who only
// look, so that no server begins to write meanwhile. It answers false when a
// server has it. Where no server ever was, there is no lock, and none is made.
func share(path string) (held *os.File, free bool) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR, 0)
	if errors.Is(err, syscall.EROFS) || errors.Is(err, os.ErrPermission) {
		f, err = os.Open(path + ".lock")
	}
	if err != nil {
		return nil, errors.Is(err, os.ErrNotExist)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, false
	}
	_ = sign(f) // only the name in a message depends on it
	return f, true
}

// sign writes who has the lock, for the message to whoever wants it too.
func sign(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := fmt.Fprintf(f, "process %d (%s)\n", os.Getpid(), filepath.Base(os.Args[0]))
	return err
}
