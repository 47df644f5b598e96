package embedded

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// adopting is the folder, below the root, of names that adopted files have for a moment.
const adopting = ".adopting"

// clean removes what an earlier process has left half done. It returns the time before which uploads are such: the
// clock by which the file system dates them.
func (d *durable) clean() (before time.Time, err error) {
	dir := filepath.Join(d.root, adopting)
	if err := os.RemoveAll(dir); err != nil {
		return before, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return before, err
	}
	st, err := os.Stat(dir)
	if err != nil {
		return before, err
	}
	return st.ModTime(), nil
}

// dropUploads removes the uploads that began before the time, until ctx ends. Nobody can go on with them: the secret
// that signs their state was another process's.
func (r *Registry) dropUploads(ctx context.Context, before time.Time) {
	top := r.driver.full(layoutRoot + "/repositories")
	err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return fs.SkipAll
		case errors.Is(err, fs.ErrNotExist): // it went away meanwhile
			return nil
		case err != nil || !e.IsDir():
			return err
		case e.Name() == "_layers" || e.Name() == "_manifests":
			return fs.SkipDir
		case e.Name() == "_uploads":
			return errors.Join(dropOld(path, before), fs.SkipDir)
		}
		return nil
	})
	if err != nil {
		r.cfg.Log.Warn("cannot remove uploads that broke off", "error", err)
	}
}

// dropOld removes the uploads of one repository.
func dropOld(uploads string, before time.Time) error {
	entries, err := os.ReadDir(uploads)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		st, statErr := os.Stat(filepath.Join(uploads, e.Name(), startedFile))
		if errors.Is(statErr, fs.ErrNotExist) {
			st, statErr = e.Info()
		}
		if statErr == nil && st.ModTime().Before(before) {
			statErr = os.RemoveAll(filepath.Join(uploads, e.Name()))
		}
		if !errors.Is(statErr, fs.ErrNotExist) {
			err = errors.Join(err, statErr)
		}
	}
	return err
}
