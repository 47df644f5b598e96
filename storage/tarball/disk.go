package tarball

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"cooper/internal/model"
)

const (
	// incoming is the folder of unfinished files. It is on the file system of the finished ones, so that a rename moves
	// them.
	incoming = "incoming"
	bad      = "quarantine"
	used     = "used"
	derived  = "derived"
)

// disk keeps objects as files below a folder.
type disk struct{ dir string }

// openDisk makes the folders. All of those that tarballs lie in are there from the beginning: a tarball's name is durable
// once its own folder is.
func openDisk(dir string) (*disk, error) {
	d := &disk{dir: dir}
	folders := []string{incoming, bad, used, derived}
	for i := range 256 {
		folders = append(folders, fmt.Sprintf("sha256/%02x", i))
	}
	for _, folder := range folders {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
			return nil, fmt.Errorf("make the folders of tarballs: %w", err)
		}
	}
	return d, errors.Join(syncDir(filepath.Join(dir, "sha256")), syncDir(dir), syncDir(filepath.Dir(dir)))
}

func (d *disk) path(key string) string { return filepath.Join(d.dir, filepath.FromSlash(key)) }

func (d *disk) put(ctx context.Context, f *os.File, key string) (object, error) {
	path := d.path(key)
	if err := errors.Join(f.Chmod(0o400), age(f.Name())); err != nil {
		return object{}, diskError("finish a file", err)
	}
	if err := f.Sync(); err != nil {
		return object{}, diskError("sync a file", err)
	}
	if err := ctx.Err(); err != nil {
		return object{}, context.Cause(ctx)
	}
	if err := d.move(f.Name(), path); err != nil {
		return object{}, diskError("place a file", err)
	}
	err := syncDir(filepath.Dir(path))
	if strings.HasPrefix(key, derived+"/") { // the other folders are there since the store was opened
		err = errors.Join(err, syncDir(filepath.Join(d.dir, derived)))
	}
	if err != nil {
		return object{}, diskError("sync a folder", err)
	}
	return d.stat(ctx, key)
}

// move renames a file, making its new folder. A collection may remove that while it is empty, so it is tried again.
func (d *disk) move(from, to string) error {
	var err error
	for range 3 {
		if err = os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		if err = os.Rename(from, to); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

// age gives a file a time of change that is just past. A later change of its bytes, were it in the very next tick of the
// clock, sets another one and is noticed.
func age(path string) error {
	past := time.Now().Add(-2 * time.Second).Truncate(time.Second)
	return os.Chtimes(path, past, past)
}

func (d *disk) stat(_ context.Context, key string) (object, error) {
	st, err := os.Stat(d.path(key))
	if err != nil {
		return object{}, err
	}
	return objectOf(key, st), nil
}

func objectOf(key string, st fs.FileInfo) object {
	o := object{key: key, size: st.Size(), modified: st.ModTime()}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		o.version = fmt.Sprintf("%d.%d.%d.%d.%d", sys.Dev, sys.Ino, sys.Size, sys.Mtim.Nano(), sys.Ctim.Nano())
	}
	return o
}

func (d *disk) open(_ context.Context, key string) (io.ReadCloser, object, error) {
	f, err := os.Open(d.path(key))
	if err != nil {
		return nil, object{}, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, object{}, errors.Join(err, f.Close())
	}
	return f, objectOf(key, st), nil
}

func (d *disk) list(ctx context.Context, prefix string, f func(object) error) error {
	return filepath.WalkDir(d.path(prefix), func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // it went away meanwhile
			return nil
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		st, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(d.dir, path)
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return f(object{key: filepath.ToSlash(rel), size: st.Size(), modified: st.ModTime()})
	})
}

func (d *disk) renew(ctx context.Context, o object) (object, bool, error) {
	path := d.path(o.key)
	if err := age(path); err != nil {
		return object{}, false, err
	}
	// A rename before which this process's forerunner ended may not be durable yet.
	if err := syncDir(filepath.Dir(path)); err != nil {
		return object{}, false, diskError("sync a folder", err)
	}
	o, err := d.stat(ctx, o.key)
	return o, err == nil, err
}

func (d *disk) mark(_ context.Context, key string) error {
	now := time.Now()
	err := os.Chtimes(d.path(key), now, now)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.WriteFile(d.path(key), nil, 0o600)
	}
	return err
}

// remove deletes the file, and its folder when that is a derived one that is empty now.
func (d *disk) remove(_ context.Context, key string) error {
	if err := os.Remove(d.path(key)); err != nil {
		return err
	}
	if strings.HasPrefix(key, derived+"/") {
		_ = os.Remove(filepath.Dir(d.path(key)))
	}
	return nil
}

func (d *disk) quarantine(_ context.Context, key string) error {
	to := filepath.Join(d.dir, bad, filepath.Base(key)+"."+strconv.FormatInt(time.Now().UnixNano(), 10))
	if err := os.Rename(d.path(key), to); err != nil {
		return err
	}
	now := time.Now()
	return errors.Join(os.Chtimes(to, now, now), syncDir(filepath.Dir(d.path(key))))
}

func (d *disk) link(key, path string) error { return os.Link(d.path(key), path) }

// ignoreUnlinkable returns nil for an error that says that two places cannot have one file.
func ignoreUnlinkable(err error) error {
	if errors.Is(err, syscall.EXDEV) || errors.Is(err, syscall.EMLINK) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}

func (d *disk) close() error { return nil }

// emptyFolder makes the folder if it is not there, and removes what is in it.
func emptyFolder(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.MkdirAll(dir, 0o700)
}

// diskError names what could not be done, as STORAGE_FULL when the disk or the quota is the cause.
func diskError(what string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return model.Errorf(model.CodeStorageFull,
			"The server's disk is too full to keep the component. Try again later, or ask its administrator to free space.").Wrap(err)
	}
	return fmt.Errorf("%s of a component: %w", what, err)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
