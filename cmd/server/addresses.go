package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// addresses are where the server really listens, for scripts that let it
// choose free ports.
type addresses struct {
	HTTP  *string `json:"http"`
	CoAP  *string `json:"coap"`
	CoAPS *string `json:"coaps"` // null: not served
}

const addressesFile = "addresses.json"

// write puts the addresses into path, whole or not at all.
func (a addresses) write(path string) error {
	b, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return replaceFile(path, append(b, '\n'), 0o644)
}

// replaceFile writes a file under another name and moves it into place, so
// that nobody reads half of it.
func replaceFile(path string, content []byte, mode os.FileMode) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, content, mode); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// removeFile removes a file that may not be there.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
