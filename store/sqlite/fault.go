package sqlite

import (
	"errors"
	"fmt"
	"time"

	"github.com/mattn/go-sqlite3"

	"behest/command"
)

// retryAfter is what a refused caller is told. A reopening takes less.
const retryAfter = time.Second

// fullAfter is likewise for a full disk, which takes a person.
const fullAfter = 30 * time.Second

// errNo is SQLite's code behind err, or zero.
func errNo(err error) sqlite3.ErrNo {
	var e sqlite3.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// isDuplicate reports whether err is a row that is there already.
func isDuplicate(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && e.Code == sqlite3.ErrConstraint &&
		(e.ExtendedCode == sqlite3.ErrConstraintUnique || e.ExtendedCode == sqlite3.ErrConstraintPrimaryKey)
}

// isOurs reports whether err is about what was asked of the database, and
// not about the database, its file or its disk.
func isOurs(err error) bool {
	switch errNo(err) {
	case 0, sqlite3.ErrConstraint, sqlite3.ErrError, sqlite3.ErrTooBig, sqlite3.ErrMismatch, sqlite3.ErrRange, sqlite3.ErrMisuse:
		return true
	}
	return false
}

func unavailable(after time.Duration, cause error, format string, args ...any) *command.Error {
	return &command.Error{Code: command.CodeUnavailable, Msg: fmt.Sprintf(format, args...), RetryAfter: after, Err: cause}
}

func inDoubt() error {
	return unavailable(retryAfter, nil, "the store recovers from a failed write")
}

func unknown(cause error) *command.Error {
	return &command.Error{Code: command.CodeOutcomeUnknown, Msg: "the store cannot tell whether it was written", Err: cause}
}
