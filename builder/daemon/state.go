package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// muteStarts is how many children in a row may end without ever having answered before their state is to blame.
const muteStarts = 3

// damaged reports whether a database in BuildKit's state is empty, as a crash of the machine may leave it. BuildKit
// would start a new one, and then fail on the files that the old one knew.
func damaged(state string) bool {
	for _, depth := range []string{"*.db", "*/*.db", "*/*/*.db"} {
		files, _ := filepath.Glob(filepath.Join(state, depth)) // fails on a bad pattern only
		for _, f := range files {
			if st, err := os.Stat(f); err == nil && st.Size() == 0 {
				return true
			}
		}
	}
	return false
}

// discardState lets BuildKit start afresh. All that it keeps is a cache, and a daemon that starts is worth more.
func (d *Daemon) discardState() {
	d.cfg.Log.Error("BuildKit cannot use its state; discarding the build cache")
	err := os.RemoveAll(d.files.broken)
	if err == nil {
		err = os.Rename(d.files.state, d.files.broken)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.cfg.Log.Error("The build cache cannot be discarded", "error", err)
	}
	if err := os.MkdirAll(d.files.state, 0o700); err != nil {
		d.cfg.Log.Error("BuildKit's folder cannot be made", "error", err)
	}
	d.removeBroken()
}

// removeBroken deletes discarded state without making anybody wait: it may be many gigabytes.
func (d *Daemon) removeBroken() {
	go func() {
		if err := os.RemoveAll(d.files.broken); err != nil {
			d.cfg.Log.Warn("Discarded build cache stays", "error", err)
		}
	}()
}
