package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// treesDir is the folder of unpacked components, the one part of the data directory that all users of the machine read.
const treesDir = "trees"

// makeDataDir makes the data directory, or closes one that is there: others may pass through it to the trees, and see
// and read nothing else.
func makeDataDir(dir string) error {
	if err := os.MkdirAll(dir, 0o711); err != nil { //nolint:gosec // passing through shows nothing
		return fmt.Errorf("make COOPER_DATA_DIR: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read COOPER_DATA_DIR: %w", err)
	}
	for _, e := range entries {
		if e.Name() == treesDir || e.Type()&fs.ModeSymlink != 0 {
			continue
		}
		mode := os.FileMode(0o600)
		if e.IsDir() {
			mode = 0o700
		}
		if err := os.Chmod(filepath.Join(dir, e.Name()), mode); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("close COOPER_DATA_DIR to others: %w", err)
		}
	}
	// SQLite gives the files that it makes beside the database the mode of the database, and would make that for all.
	f, err := os.OpenFile(filepath.Join(dir, "cooper.db"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("make the database's file: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("make the database's file: %w", err)
	}
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // passing through shows nothing
		return fmt.Errorf("open the way to the components' trees: %w", err)
	}
	return nil
}
