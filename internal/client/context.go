package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/moby/patternmatcher/ignorefile"
	"github.com/tonistiigi/fsutil"
)

// ContextTar returns what writes a folder as a tar, without what its .dockerignore leaves out.
func ContextTar(ctx context.Context, dir string) (func(io.Writer) error, error) {
	files, err := fsutil.NewFS(dir)
	if err != nil {
		return nil, fmt.Errorf("open the build context: %w", err)
	}
	patterns, err := ignorePatterns(dir)
	if err != nil {
		return nil, err
	}
	files, err = fsutil.NewFilterFS(files, &fsutil.FilterOpt{ExcludePatterns: patterns})
	if err != nil {
		return nil, fmt.Errorf("read .dockerignore: %w", err)
	}
	return func(w io.Writer) error { return fsutil.WriteTar(ctx, files, w) }, nil
}

// ignorePatterns reads the folder's .dockerignore; none when it has none.
func ignorePatterns(dir string) ([]string, error) {
	ignored, err := os.Open(filepath.Join(dir, ".dockerignore"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open .dockerignore: %w", err)
	}
	defer ignored.Close() //nolint:errcheck // only read
	patterns, err := ignorefile.ReadAll(ignored)
	if err != nil {
		return nil, fmt.Errorf("read .dockerignore: %w", err)
	}
	return patterns, nil
}
