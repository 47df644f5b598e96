package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
)

// treesDir is the folder of unpacked components, the one part of the data directory that all users of the machine read.
const treesDir = "trees"

// makeDataDir makes the data directory. Others may pass through it to the trees, and see and read nothing else: what is
// Cooper's own in it is for its user alone. A directory that was there keeps what it had before, but for the right to pass
// through; where that is not ours to give, paths of components are of no use to other users, and the log says so.
func makeDataDir(dir string, log *slog.Logger) error {
	if err := os.MkdirAll(dir, 0o711); err != nil { //nolint:gosec // passing through shows nothing
		return fmt.Errorf("make COOPER_DATA_DIR: %w", err)
	}
	if err := closeOwn(dir); err != nil {
		return err
	}
	// SQLite gives the files that it makes beside the database the mode of the database, and would make that for all.
	f, err := os.OpenFile(filepath.Join(dir, "cooper.db"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("make the database's file: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("make the database's file: %w", err)
	}
	st, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("look at COOPER_DATA_DIR: %w", err)
	}
	if pass := st.Mode().Perm() | 0o111; pass != st.Mode().Perm() {
		if err := os.Chmod(dir, pass|st.Mode()&(fs.ModeSticky|fs.ModeSetgid)); err != nil {
			log.Warn("other users of this machine cannot pass through COOPER_DATA_DIR to unpacked components", "error", err)
		}
	}
	return nil
}

// closeOwn takes from others what they could do with Cooper's own files: a former version relied on the directory alone.
func closeOwn(dir string) error {
	own := map[string]fs.FileMode{
		"cooper.db": 0o600, "cooper.db-wal": 0o600, "cooper.db-shm": 0o600, "admin.key": 0o600, "node": 0o600, "lock": 0o600,
		"buildkit": 0o700, "git": 0o700, "inputs": 0o700, "logs": 0o700, "queue": 0o700, "registry": 0o700, "tarballs": 0o700,
		"tmp": 0o700, "work": 0o700,
	}
	for name, mode := range own {
		file := filepath.Join(dir, name)
		st, err := os.Lstat(file)
		if errors.Is(err, fs.ErrNotExist) || err == nil && (st.Mode().Perm()&0o077 == 0 || st.Mode()&fs.ModeSymlink != 0) {
			continue
		}
		if err == nil {
			err = os.Chmod(file, mode)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("keep %s in COOPER_DATA_DIR from others: %w", name, err)
		}
	}
	return nil
}
