package source

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"cooper/internal/model"
)

// extract writes the commit's tree, or its folder s.Subdir, into dir. The tree is read from git's objects, never from a
// checkout, so that nothing in it can run.
func (b bare) extract(ctx context.Context, s model.Source, dir string, left *room) error {
	args := b.args("archive", "--format=tar", s.Commit)
	if s.Subdir != "" {
		kind, err := b.git.output(ctx, b.args("cat-file", "-t", s.Commit+":"+s.Subdir)...)
		if err != nil && ctx.Err() != nil {
			return err
		}
		if kind != "tree" {
			return noFolder(s)
		}
		args = append(args, "--", s.Subdir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open the folder to fetch into: %w", err)
	}
	defer func() { _ = root.Close() }()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pr, pw := io.Pipe()
	archived := make(chan error, 1)
	go func() {
		err := b.git.stream(ctx, pw, args...)
		pw.CloseWithError(err)
		archived <- err
	}()
	counted, most := make(chan struct{}), left.files
	go func() {
		b.countFiles(ctx, s, most, cancel)
		close(counted)
	}()
	x := &extraction{root: root, dir: dir, prefix: s.Subdir, room: left}
	err = x.all(ctx, pr)
	if cause := context.Cause(ctx); isCoded(cause) {
		err = cause // there are too many files, or the time is up: what broke off with it does not matter
	}
	cancel(err) // stops git when the tree was refused
	pr.CloseWithError(io.ErrClosedPipe)
	if ended := <-archived; err == nil {
		err = ended
	}
	<-counted
	if failed, ok := asGitError(err); ok && failed.says("over limit") {
		return tooLarge().Wrap(err)
	}
	if failed, ok := asGitError(err); ok && failed.says("error: invalid path '") {
		return model.Errorf(model.CodeSourceInvalid, "The commit %s holds a path that git itself forbids.", s.Commit).Wrap(err)
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return storageFull().Wrap(err)
	}
	return err
}

func noFolder(s model.Source) *model.Error {
	return model.Errorf(model.CodeSourceInvalid, "The commit %s has no folder %q.", s.Commit, s.Subdir)
}

// room is what a fetch may still write, and whether that may be pointers of Git LFS.
type room struct {
	bytes     int64
	files     int
	modules   int
	refuseLFS bool
}

// extraction writes a tar's entries below root.
type extraction struct {
	*room
	root    *os.Root
	dir     string
	prefix  string    // of the entries, not written
	folders []string  // whose time is set when all of their entries have been written
	commit  time.Time // which every entry has
}

func (x *extraction) all(ctx context.Context, r io.Reader) error {
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the tree: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := x.entry(h, tr); err != nil {
			return err
		}
	}
	// The tar's end is padded; git must not meet a closed pipe on it.
	if _, err := io.Copy(io.Discard, r); err != nil {
		return fmt.Errorf("read the tree: %w", err)
	}
	for _, path := range slices.Backward(x.folders) {
		if err := x.setTime(path); err != nil {
			return err
		}
	}
	return x.setTime(".")
}

func (x *extraction) entry(h *tar.Header, r io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, inside := x.name(h.Name)
	if !inside {
		return nil
	}
	if !filepath.IsLocal(name) || hasGitFolder(name) {
		return model.Errorf(model.CodeSourceInvalid, "The commit holds the path %q, which git itself forbids.", name)
	}
	x.commit = h.ModTime
	x.files--
	x.bytes -= h.Size
	if x.files < 0 {
		return tooManyFiles()
	}
	if x.bytes < 0 {
		return tooLarge()
	}
	if err := x.write(name, h, r); isCoded(err) {
		return err
	} else if err != nil && x.collides(name) {
		return model.Errorf(model.CodeSourceInvalid, "The commit holds the path %q twice, which git itself never makes.", limited(name)).Wrap(err)
	} else if err != nil {
		return fmt.Errorf("write %q: %w", name, err)
	}
	return nil
}

// collides reports whether something is in the way of the path: another entry of its name, or a file or link where a
// folder of it should be.
func (x *extraction) collides(name string) bool {
	for i, c := range name {
		if st, err := x.root.Lstat(name[:i]); c == '/' && i > 0 && err == nil && !st.IsDir() {
			return true
		}
	}
	st, err := x.root.Lstat(name)
	return err == nil && !st.IsDir()
}

// hasGitFolder reports whether a part of the path is what git keeps for itself.
func hasGitFolder(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if strings.EqualFold(part, ".git") {
			return true
		}
	}
	return false
}

// name returns an entry's path below the folder that was asked for, and whether it is in there.
func (x *extraction) name(path string) (string, bool) {
	path = strings.TrimSuffix(path, "/")
	if x.prefix == "" || path == x.prefix {
		if path == x.prefix {
			path = "."
		}
		return path, true
	}
	return strings.CutPrefix(path, x.prefix+"/")
}

func (x *extraction) write(name string, h *tar.Header, r io.Reader) error {
	switch h.Typeflag {
	case tar.TypeDir:
		return x.folder(name)
	case tar.TypeSymlink:
		if err := x.root.Symlink(h.Linkname, name); err != nil {
			return err
		}
	case tar.TypeReg:
		if err := x.file(name, h, r); err != nil {
			return err
		}
	default:
		return model.Errorf(model.CodeSourceInvalid, "The commit holds %q, which is neither a file, a folder nor a link.", name)
	}
	return x.setTime(name)
}

func (x *extraction) folder(name string) error {
	x.folders = append(x.folders, name)
	if name == "." {
		return nil
	}
	if err := x.root.MkdirAll(name, 0o755); err != nil {
		return err
	}
	return x.root.Chmod(name, 0o755) // whatever the umask says
}

func (x *extraction) file(name string, h *tar.Header, r io.Reader) error {
	mode := os.FileMode(0o644)
	if h.Mode&0o100 != 0 {
		mode = 0o755
	}
	f, err := x.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if x.refuseLFS && h.Size <= maxPointer {
		if r, err = refusePointer(name, r); err != nil {
			_ = f.Close()
			return err
		}
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Chmod(mode), f.Close()) // whatever the umask says
}

// setTime sets the time of an entry itself, also of a link.
func (x *extraction) setTime(name string) error {
	ts := unix.NsecToTimespec(x.commit.UnixNano())
	return unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(x.dir, name), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}
