package buildcontext

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"cooper/internal/model"
)

const (
	// newDir is the mode of folders that the archive does not list.
	newDir = 0o755
	// ownDir is what the owner may always do with a folder, so that it can be filled and removed again.
	ownDir = 0o700
)

// Extract unpacks r into dir, which must exist and be empty. All files belong to the caller. It holds every rule of Scan and
// writes through an os.Root, so that even a rule that fails leads to nothing outside of dir. After an error dir holds a
// part of the archive; the caller removes it. Errors are those of Scan, STORAGE_FULL, or what the file system said.
func Extract(ctx context.Context, r io.Reader, dir string, l Limits) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open the folder of a build context: %w", err)
	}
	defer func() { _ = root.Close() }()
	_, err = each(ctx, r, l, &folder{root: root, buffer: make([]byte, bufferSize)})
	return err
}

// folder is a sink that writes below root.
type folder struct {
	root   *os.Root
	buffer []byte
}

func (f *folder) take(e *entry, content io.Reader) error {
	err := f.put(e, content)
	var broken *contentError
	switch {
	case err == nil, errors.As(err, &broken):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return model.Errorf(model.CodeStorageFull, "The builder's disk is full. Try again later.").Wrap(err)
	case errors.Is(err, syscall.ENAMETOOLONG):
		return refuse(model.CodeContextMalformed, "The build context has a name that is too long: %q. Rename the file.", show(e.name)).Wrap(err)
	default:
		return fmt.Errorf("unpack a build context: %w", err)
	}
}

func (f *folder) put(e *entry, content io.Reader) error {
	for _, parent := range e.implied {
		if err := f.mkdir(parent, newDir); err != nil {
			return err
		}
	}
	if e.kind == kindDir {
		return f.dir(e)
	}
	if e.replace {
		if err := f.root.Remove(e.name); err != nil {
			return err
		}
	}
	switch e.kind {
	case kindSymlink:
		return f.root.Symlink(e.target, e.name)
	case kindHardlink:
		return f.root.Link(e.target, e.name)
	default:
		return f.file(e, content)
	}
}

func (f *folder) dir(e *entry) error {
	if e.replace {
		if at, err := f.root.Lstat(e.name); err == nil && !at.IsDir() {
			if err := f.root.Remove(e.name); err != nil {
				return err
			}
		}
	}
	return f.mkdir(e.name, e.mode|ownDir)
}

// mkdir makes a folder, or takes the one that is there, with exactly this mode: the process's umask is not the archive's.
func (f *folder) mkdir(name string, mode fs.FileMode) error {
	if err := f.root.Mkdir(name, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return f.root.Chmod(name, mode)
}

func (f *folder) file(e *entry, content io.Reader) error {
	w, err := f.root.OpenFile(e.name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(writeOnly{w}, readOnly{content}, f.buffer)
	if err == nil {
		err = w.Chmod(e.mode)
	}
	if closed := w.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return f.root.Chtimes(e.name, e.time, e.time)
}

// writeOnly hides ReadFrom, which would bring a buffer of its own for every file.
type writeOnly struct{ io.Writer }

// readOnly marks failures to read apart from failures to write.
type readOnly struct{ r io.Reader }

func (r readOnly) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &contentError{err}
	}
	return n, err
}
