package tarball

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"cooper/internal/model"
)

// trees is a folder of unpacked tarballs, by the digits of their digests. Names that begin with a dot are unfinished, or
// on their way out. Whoever knows a digest may read its tree, and nobody may list them: their names tell what was built.
type trees struct{ dir string }

// treesMode lets everybody through to a tree.
const treesMode = 0o711

func openTrees(dir string) (*trees, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	t := &trees{dir: dir}
	if err := os.MkdirAll(dir, treesMode); err != nil {
		return nil, fmt.Errorf("make the folder of trees: %w", err)
	}
	if err := os.Chmod(dir, treesMode); err != nil { // whatever the umask, or an older version, made it
		return nil, fmt.Errorf("make the folder of trees: %w", err)
	}
	if err := removeTree(t.work()); err != nil {
		return nil, fmt.Errorf("remove unfinished trees: %w", err)
	}
	return t, os.MkdirAll(t.work(), 0o700)
}

// work is the folder of trees that are not, or not any more, in their place.
func (t *trees) work() string { return filepath.Join(t.dir, "."+incoming) }

func treeLock(hex string) string { return "tree " + hex }

// treeMark is the object whose time tells when the tree was last asked for.
func treeMark(hex string) string { return used + "/tree-" + hex }

// TreesHere returns PATH_NOT_AVAILABLE when the store is not on this disk, so that Tree has no path of any tarball.
func (s *Store) TreesHere() error {
	if s.trees != nil {
		return nil
	}
	return model.FieldErrorf(model.CodePathNotAvailable, "format",
		"This server keeps components in an object store and has no path to give. Ask for one of the archive formats.")
}

// Tree returns the path of a folder that holds the tarball's files, unpacking it the first time. It stays for TreeAge
// after it was last asked for, less only when the disk is short; see Collect. Owner and group of the files are this
// process's, which is root's; the bits that lend rights to whoever runs a file, and the right of everybody to write, are
// taken off. Its errors are those of TreesHere and Open.
func (s *Store) Tree(ctx context.Context, t model.Tarball) (string, error) {
	if err := s.TreesHere(); err != nil {
		return "", err
	}
	hex, err := hexOf(t.Digest)
	if err != nil {
		return "", err
	}
	return share(ctx, s.shared, treeLock(hex), func(ctx context.Context) (string, error) { return s.findTree(ctx, t, hex) })
}

// findTree unpacks the tarball unless that was done before, and notes that it was asked for.
func (s *Store) findTree(ctx context.Context, t model.Tarball, hex string) (string, error) {
	unlock, err := s.locks.lock(ctx, treeLock(hex))
	if err != nil {
		return "", err
	}
	defer unlock()
	path := filepath.Join(s.trees.dir, hex)
	_, err = os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = s.growTree(ctx, t, path)
	}
	if err != nil {
		return "", err
	}
	return path, s.use(ctx, treeMark(hex), s.TreeAge)
}

// growTree unpacks the tarball beside path, when it is its turn, and moves it there once it is whole and durable.
func (s *Store) growTree(ctx context.Context, t model.Tarball, path string) error {
	done, err := s.making.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := s.Room(); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(s.trees.work(), "tree-*")
	if err != nil {
		return diskError("make the folder", err)
	}
	defer func() { _ = removeTree(temp) }() // finds nothing once the folder was moved
	r, err := s.openTar(ctx, t)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	if err := unpack(r, temp, s.Room); err != nil {
		return diskError("unpack the files", err)
	}
	if err := syncFS(temp); err != nil {
		return diskError("sync the files", err)
	}
	if err := os.Rename(temp, path); err != nil {
		return diskError("place the files", err)
	}
	return syncDir(s.trees.dir)
}

// syncFS makes a whole tree durable. One call for its file system takes less time than one for each of many files.
func syncFS(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(d.Fd())), d.Close())
}

// removeTree removes a folder, also when some of what is in it may not be written to.
func removeTree(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			err = os.Chmod(path, 0o700) //nolint:gosec // WalkDir gives no links as folders
		}
		return err
	})
	return errors.Join(err, os.RemoveAll(dir))
}
