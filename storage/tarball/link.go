package tarball

import (
	"context"
	"os"

	"cooper/internal/model"
)

// Link makes path another name of the tarball's file, having checked the bytes if that was not done before. ok is false
// where that cannot be: on S3, or when path is on another file system. A name that is taken is fs.ErrExist.
func (s *Store) Link(ctx context.Context, t model.Tarball, path string) (ok bool, err error) {
	key, err := blobKey(t.Digest)
	if err != nil || s.disk == nil {
		return false, err
	}
	if _, err := s.verified(ctx, key, t.Digest); err != nil {
		return false, err
	}
	unlock, err := s.locks.lock(ctx, key)
	if err != nil {
		return false, err
	}
	defer unlock()
	before, err := s.disk.stat(ctx, key)
	if err != nil || !s.known.has(before) {
		return false, err
	}
	if err := s.disk.link(key, path); err != nil {
		return false, ignoreUnlinkable(err)
	}
	// A link changes the file's status and none of its bytes: what was checked stays checked.
	after, err := s.disk.stat(ctx, key)
	if err == nil {
		s.known.add(after)
	}
	return true, nil
}

// Same reports whether path is a name of the tarball's file, as Link makes one. It looks at neither's bytes.
func (s *Store) Same(t model.Tarball, path string) bool {
	key, err := blobKey(t.Digest)
	if err != nil || s.disk == nil {
		return false
	}
	mine, err := os.Stat(s.disk.path(key))
	if err != nil {
		return false
	}
	theirs, err := os.Lstat(path)
	return err == nil && os.SameFile(mine, theirs)
}
