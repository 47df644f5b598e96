package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/opencontainers/go-digest"
)

// File is a file that somebody else keeps. Its methods are safe for concurrent use.
type File interface {
	// Link gives the file the further name path. False, without an error, means that the file system cannot do that;
	// fs.ErrExist that the name is taken, and fs.ErrNotExist that its folder is gone.
	Link(ctx context.Context, path string) (ok bool, err error)
	// Same reports whether path is a name of the file already.
	Same(path string) bool
}

// Adopt makes a file a blob of the repository without copying a byte: it gets a second name among the registry's blobs,
// unless it has that already; then nothing touches the file. The caller vouches that the file hashes to digest, that it is
// on disk, and that nobody writes into it; the registry does not either, and when it deletes the blob, the file stays.
// False, without an error, means that the blob has to be pushed. Adopt is safe for concurrent use, also with itself and
// with pushes of the same blob.
func (r *Registry) Adopt(ctx context.Context, repository, blobDigest string, size int64, file File) (bool, error) {
	d, err := digest.Parse(blobDigest)
	if err != nil || d.Algorithm() != digest.SHA256 {
		return false, fmt.Errorf("adopt a blob: %q is no SHA-256 digest", blobDigest)
	}
	if len(repository) > maxName || !nameForm.MatchString(repository) {
		return false, fmt.Errorf("adopt a blob: %q is no repository", repository)
	}
	blob := path.Join(layoutRoot, "blobs/sha256", d.Encoded()[:2], d.Encoded(), "data")
	linked, err := r.driver.link(ctx, file, blob)
	if err != nil {
		return false, fmt.Errorf("adopt %s: %w", d, err)
	}
	if !linked {
		return false, nil
	}
	if err := r.hasSize(r.driver.full(blob), size); err != nil { // one that was there before, or the caller was wrong
		return false, fmt.Errorf("adopt %s: %w", d, err)
	}
	layer := path.Join(layoutRoot, "repositories", repository, "_layers/sha256", d.Encoded(), "link")
	if err := r.driver.PutContent(ctx, layer, []byte(d)); err != nil {
		return false, fmt.Errorf("adopt %s: %w", d, err)
	}
	return true, nil
}

// layoutRoot is above everything that distribution stores, as a driver path. Where blobs and layers are below it is told
// in distribution's registry/storage/paths.go.
const layoutRoot = "/docker/registry/v2"

// hasSize refuses what is not a regular file of that size.
func (r *Registry) hasSize(file string, size int64) error {
	fi, err := os.Lstat(file)
	switch {
	case err != nil:
		return err
	case !fi.Mode().IsRegular():
		return errors.New("it is no regular file")
	case fi.Size() != size:
		return fmt.Errorf("the file has %d bytes instead of %d", fi.Size(), size)
	}
	return nil
}

// linkTries is how often link makes a folder that a deletion takes away again before the file is in it.
const linkTries = 10

// link has a file given the driver path sub as well, durably. Another file that is there already is replaced: the caller
// knows what is in his, and of that one nobody does. False means that it cannot be linked.
func (d *durable) link(ctx context.Context, file File, sub string) (bool, error) {
	dir := path.Dir(sub)
	for try := 1; ; try++ {
		began := d.deletions()
		ok, err := false, os.MkdirAll(d.full(dir), 0o700)
		if err == nil {
			ok, err = file.Link(ctx, d.full(sub))
		}
		if errors.Is(err, fs.ErrExist) {
			// What goes by a file's status, such as whether its bytes were checked, stays true of one that has its name.
			if ok, err = true, nil; !file.Same(d.full(sub)) {
				ok, err = d.replace(ctx, file, sub)
			}
		}
		switch {
		case err == nil && !ok:
			return false, nil
		case err == nil:
			d.trust(sub)
			if err := syncDir(d.full(dir)); err != nil {
				return false, err
			}
			return true, d.settle(dir, began)
		case errors.Is(err, fs.ErrNotExist) && try < linkTries:
		default:
			return false, fmt.Errorf("link a blob: %w", err)
		}
	}
}

// replace puts the linked file in the place of one at sub, in one step.
func (d *durable) replace(ctx context.Context, file File, sub string) (bool, error) {
	aside := filepath.Join(d.root, adopting, rand.Text())
	ok, err := file.Link(ctx, aside)
	if err != nil || !ok {
		return ok, err
	}
	defer func() { _ = os.Remove(aside) }() // finds nothing once it was moved
	return true, os.Rename(aside, d.full(sub))
}
