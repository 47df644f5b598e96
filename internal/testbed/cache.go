package testbed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrNoBase says that a base image was not made on this machine yet.
var ErrNoBase = errors.New("the base images are not in the cache folder: run `make setup-test` once")

// Cache returns the folder that deployments/setup/base-images.sh fills: cooper/base below $XDG_CACHE_HOME or ~/.cache.
// It is outside the tree, so that clones and clean checkouts share it.
func Cache() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the user's cache folder: %w", err)
	}
	return filepath.Join(dir, "cooper", "base"), nil
}

// cached returns the path of a file of the cache, or ErrNoBase when it is not there.
func cached(name string) (string, error) {
	dir, err := Cache()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s: %w", name, ErrNoBase)
	} else if err != nil {
		return "", fmt.Errorf("look for a base image: %w", err)
	}
	return path, nil
}
