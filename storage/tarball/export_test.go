package tarball

import (
	"os"

	"cooper/internal/model"
)

// Path returns the file that holds the tarball. ok is false when there is none
// on this disk.
func (s *Store) Path(t model.Tarball) (path string, ok bool) {
	key, err := blobKey(t.Digest)
	if err != nil || s.disk == nil {
		return "", false
	}
	path = s.disk.path(key)
	st, err := os.Stat(path)
	return path, err == nil && st.Size() == t.Size
}
