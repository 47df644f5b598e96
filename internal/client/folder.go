package client

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// staging is where files are unpacked before they are put into their place in the folder around it.
const staging = ".cooper-unpacking"

// ours matches what Cooper itself leaves in a folder.
var ours = regexp.MustCompile(`^\.cooper-(unpacking|probe-[0-9]+|[0-9a-f]{16}\.[a-z.]+\.part)$`)

// Folder is where a component's files go. It is locked while it is open.
type Folder struct {
	path string
	root *os.Root
	lock *os.File
	made bool // by OpenFolder
}

// OpenFolder opens a folder, or makes it. One that holds anything but the beginning of a download is refused unless
// force is set. The caller closes it.
func OpenFolder(path string, force bool) (*Folder, error) {
	_, err := os.Stat(path)
	made := errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(path, 0o755); err != nil { //nolint:gosec // the user's umask decides
		return nil, fmt.Errorf("make the folder: %w", err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open the folder: %w", err)
	}
	f := &Folder{path: path, root: root, made: made}
	if f.lock, err = os.Open(path); err == nil {
		_, err = lock(f.lock)
	}
	if err == nil && !force {
		err = f.checkEmpty()
	}
	if err == nil {
		err = CheckWritable(path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (f *Folder) checkEmpty() error {
	entries, err := readDir(f.root, ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !ours.MatchString(e.Name()) {
			return fmt.Errorf("the folder %s is not empty; name another one, or unpack over what is there with --force", f.path)
		}
	}
	return nil
}

// CheckWritable returns an error when no file can be made in the folder, so that nothing is built or fetched for it in
// vain.
func CheckWritable(path string) error {
	f, err := os.CreateTemp(path, ".cooper-probe-*")
	if err == nil {
		err = errors.Join(f.Close(), os.Remove(f.Name()))
	}
	if err != nil {
		return fmt.Errorf("nothing can be written into the folder: %w", err)
	}
	return nil
}

// Part is the path at which the folder keeps a download of that digest, in that format, that is not complete.
func (f *Folder) Part(digest, format string) string {
	return filepath.Join(f.path, ".cooper-"+shortDigest(digest)+"."+format+".part")
}

// PartOf is the path at which a download for a file gathers, beside it.
func PartOf(path, digest string) string { return path + ".cooper-" + shortDigest(digest) + ".part" }

// shortDigest is enough of a digest to tell files apart.
func shortDigest(digest string) string {
	const enough = 16
	short := strings.TrimPrefix(digest, digestPrefix)
	return short[:min(len(short), enough)]
}

// Close gives the folder free. One that OpenFolder made and that nothing came into is removed.
func (f *Folder) Close() {
	_ = f.root.Close()
	if f.lock != nil {
		_ = f.lock.Close()
	}
	if f.made {
		_ = os.Remove(f.path) // refuses to remove what is not empty
	}
}

// tidy removes what Cooper itself has left in the folder.
func (f *Folder) tidy() error {
	entries, err := readDir(f.root, ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ours.MatchString(e.Name()) {
			if err := f.root.RemoveAll(e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

func readDir(root *os.Root, name string) ([]fs.DirEntry, error) {
	dir, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer dir.Close() //nolint:errcheck // only read
	return dir.ReadDir(-1)
}
