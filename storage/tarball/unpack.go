package tarball

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// unpacker writes the entries of a canonical tar below a folder, which nothing leads out of.
type unpacker struct {
	root    *os.Root
	room    func() error
	buf     []byte
	written int64 // since the last look at the free space
	folders []*tar.Header
}

// unpack writes the tar r into the empty folder dir.
func unpack(r io.Reader, dir string, room func() error) error {
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // everybody may read the trees
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	u := &unpacker{root: root, room: room, buf: make([]byte, copyBuffer)}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return u.finish()
		}
		if err != nil {
			return err
		}
		h.Name = strings.TrimSuffix(h.Name, "/")
		if err := u.add(h, tr); err != nil {
			return err
		}
	}
}

// add writes an entry. A tarball need not have an entry for every folder.
func (u *unpacker) add(h *tar.Header, body io.Reader) error {
	err := u.write(h, body)
	if errors.Is(err, fs.ErrNotExist) && h.Typeflag != tar.TypeLink {
		if err := u.root.MkdirAll(path.Dir(h.Name), 0o755); err != nil {
			return err
		}
		err = u.write(h, body)
	}
	return err
}

func (u *unpacker) write(h *tar.Header, body io.Reader) error {
	switch h.Typeflag {
	case tar.TypeDir:
		u.folders = append(u.folders, h)
		return u.root.Mkdir(h.Name, 0o700)
	case tar.TypeSymlink:
		if err := u.root.Symlink(h.Linkname, h.Name); err != nil {
			return err
		}
		return u.dateLink(h.Name, h.ModTime)
	case tar.TypeLink:
		return u.root.Link(h.Linkname, h.Name)
	default:
		return u.file(h, body)
	}
}

func (u *unpacker) file(h *tar.Header, body io.Reader) error {
	f, err := u.root.OpenFile(h.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, body, u.buf)
	err = errors.Join(err, f.Chmod(treeMode(h)), f.Close())
	if err != nil {
		return err
	}
	if u.written += h.Size; u.written >= checkEvery {
		u.written = 0
		if err := u.room(); err != nil {
			return err
		}
	}
	return u.root.Chtimes(h.Name, h.ModTime, h.ModTime)
}

// finish gives folders their modes and times, the inner ones first: until then they could be written to.
func (u *unpacker) finish() error {
	for i := len(u.folders) - 1; i >= 0; i-- {
		h := u.folders[i]
		if err := errors.Join(u.root.Chmod(h.Name, treeMode(h)), u.root.Chtimes(h.Name, h.ModTime, h.ModTime)); err != nil {
			return err
		}
	}
	return nil
}

// treeMode is the entry's mode without what would lend rights, or let others change a tree that many use.
func treeMode(h *tar.Header) os.FileMode {
	return h.FileInfo().Mode() & (os.ModePerm | os.ModeSticky) &^ 0o002
}

// dateLink sets the time of a symbolic link itself.
func (u *unpacker) dateLink(name string, t time.Time) error {
	folder, err := u.root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }()
	ts := unix.NsecToTimespec(t.UnixNano())
	return unix.UtimesNanoAt(int(folder.Fd()), path.Base(name), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}
