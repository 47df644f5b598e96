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
	"github.com/tonistiigi/fsutil/types"
)

// ContextTar returns what writes a folder as a tar, without what its .dockerignore leaves out, and without sockets, which
// no image can hold.
func ContextTar(ctx context.Context, dir string) (func(io.Writer) error, error) {
	files, err := fsutil.NewFS(dir)
	if err != nil {
		return nil, fmt.Errorf("open the build context: %w", err)
	}
	patterns, err := ignorePatterns(dir)
	if err != nil {
		return nil, err
	}
	files, err = fsutil.NewFilterFS(files, &fsutil.FilterOpt{ExcludePatterns: patterns, Map: func(_ string, st *types.Stat) fsutil.MapResult {
		if fs.FileMode(st.Mode)&fs.ModeSocket != 0 {
			return fsutil.MapResultExclude
		}
		return fsutil.MapResultKeep
	}})
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
	defer ignored.Close()
	patterns, err := ignorefile.ReadAll(ignored)
	if err != nil {
		return nil, fmt.Errorf("read .dockerignore: %w", err)
	}
	return patterns, nil
}
