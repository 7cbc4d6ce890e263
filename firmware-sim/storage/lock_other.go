//go:build !unix

package storage

import "os"

// lock does nothing where there is no flock: two processes on one state file
// are then the user's mistake to see.
func lock(*os.File) error { return nil }
