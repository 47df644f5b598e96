package client

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Unpack unpacks a tarball of that format, tar.gz, tar.zst or tar, into the folder. Nothing gets out of the folder, and
// nothing is in it when the tarball cannot be unpacked. Permissions, links and the times of files and folders are
// kept; owners, set-user-ID and the like are not. Afterwards nothing that earlier tries left is there any more.
func (f *Folder) Unpack(ctx context.Context, in io.Reader, format string) error {
	err := f.unpack(ctx, in, format)
	if err == nil {
		return f.tidy()
	}
	_ = f.root.RemoveAll(staging)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return fmt.Errorf("unpack: %w", err)
}

func (f *Folder) unpack(ctx context.Context, in io.Reader, format string) error {
	if err := f.root.RemoveAll(staging); err != nil { // of a run that was killed
		return err
	}
	if err := f.root.Mkdir(staging, 0o700); err != nil {
		return err
	}
	stage, err := f.root.OpenRoot(staging)
	if err != nil {
		return err
	}
	defer stage.Close() //nolint:errcheck // nothing is written through it
	raw, err := decompressed(untilDone{ctx, in}, format)
	if err != nil {
		return err
	}
	defer raw.Close()
	u := &unpacking{stage: stage, folders: map[string]attributes{}}
	if err := u.entries(tar.NewReader(raw)); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, raw); err != nil { // the checksum is at the end
		return err
	}
	if err := f.settle(".", true); err != nil {
		return err
	}
	if err := f.settle(".", false); err != nil {
		return err
	}
	return f.finish(u.folders)
}

func decompressed(in io.Reader, format string) (io.ReadCloser, error) {
	switch format {
	case "tar.gz":
		return gzip.NewReader(in)
	case "tar.zst":
		d, err := zstd.NewReader(in)
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	case "tar":
		return io.NopCloser(in), nil
	}
	return nil, fmt.Errorf("a file of the format %s cannot be unpacked here", format)
}

// attributes of a folder are set when everything is in its place: before, it must be open to us, and its time changes.
type attributes struct {
	mode fs.FileMode
	time time.Time
}

// unpacking is one tarball on its way into an empty folder.
type unpacking struct {
	stage   *os.Root
	folders map[string]attributes
}

func (u *unpacking) entries(in *tar.Reader) error {
	for empty := true; ; empty = false {
		h, err := in.Next()
		if errors.Is(err, io.EOF) && empty {
			return errors.New("there is nothing in it")
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		name, err := entryName(h.Name)
		if err == nil {
			err = u.entry(h, name, in)
		}
		if err != nil {
			return fmt.Errorf("the entry %q: %w", h.Name, err)
		}
	}
}

// entryName returns the path of an entry below the folder; "." is the folder itself.
func entryName(name string) (string, error) {
	switch {
	case name == "" || strings.ContainsRune(name, 0):
		return "", errors.New("it has no proper name")
	case path.IsAbs(name) || slices.Contains(strings.Split(name, "/"), ".."):
		return "", errors.New("it would leave the folder")
	}
	clean := path.Clean(name)
	if first, _, _ := strings.Cut(clean, "/"); ours.MatchString(first) {
		return "", errors.New("Cooper itself uses that name while it unpacks") //nolint:staticcheck // a proper name
	}
	return clean, nil
}

func (u *unpacking) entry(h *tar.Header, name string, in io.Reader) error {
	if name == "." {
		if h.Typeflag != tar.TypeDir {
			return errors.New("the root is no folder")
		}
		return nil // whose folder it is decides about it
	}
	if err := u.parents(path.Dir(name)); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return u.folder(name, attributes{permissions(h), h.ModTime})
	case tar.TypeReg, tar.TypeGNUSparse:
		return u.file(h, name, in)
	case tar.TypeSymlink:
		if h.Linkname == "" {
			return errors.New("it is a link to nothing")
		}
		return u.stage.Symlink(h.Linkname, name)
	case tar.TypeLink:
		return u.hardLink(h, name)
	}
	return fmt.Errorf("it is neither a file nor a folder nor a link, but of the type %q", h.Typeflag)
}

// permissions drops set-user-ID, set-group-ID and the sticky bit.
func permissions(h *tar.Header) fs.FileMode { return h.FileInfo().Mode().Perm() }

// parents makes the folders above an entry that the tarball did not name. What lies in their way is no folder: nothing is
// ever written through a link.
func (u *unpacking) parents(dir string) error {
	if _, there := u.folders[dir]; there || dir == "." {
		return nil
	}
	if err := u.parents(path.Dir(dir)); err != nil {
		return err
	}
	return u.folder(dir, attributes{mode: 0o755})
}

func (u *unpacking) folder(name string, a attributes) error {
	if _, there := u.folders[name]; !there {
		if err := u.stage.Mkdir(name, 0o700); err != nil {
			return err
		}
	}
	u.folders[name] = a
	return nil
}

func (u *unpacking) file(h *tar.Header, name string, in io.Reader) error {
	out, err := u.stage.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Chmod(permissions(h))
	}
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return u.stage.Chtimes(name, h.ModTime, h.ModTime)
}

// hardLink links to a file that came before.
func (u *unpacking) hardLink(h *tar.Header, name string) error {
	target, err := entryName(h.Linkname)
	if err != nil {
		return fmt.Errorf("its target %q: %w", h.Linkname, err)
	}
	info, err := u.stage.Lstat(target)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("its target %q is no file", h.Linkname)
	}
	return u.stage.Link(target, name)
}
