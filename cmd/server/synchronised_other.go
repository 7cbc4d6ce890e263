//go:build !linux

package main

import "errors"

// systemSynchronised cannot be asked here: the operator has to say.
func systemSynchronised() (bool, error) {
	return false, errors.New("not known on this system")
}
