package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
// that nobody reads half of it. When it answers, the file is on disk.
func replaceFile(path string, content []byte, mode os.FileMode) error {
	tmp := path + ".new"
	err := removeFile(tmp) // one that was left behind may have another mode
	if err == nil {
		err = writeFile(tmp, content, mode)
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err == nil {
		err = syncDirectory(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// writeFile makes a file that was not there, and has it on disk.
func writeFile(path string, content []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDirectory has the names in a directory on disk.
func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// removeFile removes a file that may not be there.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
