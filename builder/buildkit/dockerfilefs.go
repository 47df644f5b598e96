package buildkit

import (
	"context"
	"io/fs"
	"strings"

	"github.com/moby/buildkit/util/staticfs"
	fstypes "github.com/tonistiigi/fsutil/types"
)

// dockerfileFS is the folder in which the frontend finds the Dockerfile, and the ignore file that goes with it.
func (s Solve) dockerfileFS() exactFS {
	out := staticfs.NewFS()
	out.Add("Dockerfile", &fstypes.Stat{Mode: 0o644, ModTime: contentTime(s.Dockerfile)}, s.Dockerfile)
	if s.Written {
		// The frontend looks for a Dockerfile's own ignore file first. It must not be empty, or it does not count.
		ignore := []byte("# Nothing is left out.\n")
		out.Add("Dockerfile.dockerignore", &fstypes.Stat{Mode: 0o644, ModTime: contentTime(ignore)}, ignore)
	}
	return exactFS{out}
}

// exactFS takes the target of a walk for a path. What it wraps takes it for the beginning of names, so that a walk to
// Dockerfile comes to Dockerfile.dockerignore too.
type exactFS struct{ *staticfs.FS }

// Walk calls f for the target and for what is below it.
func (e exactFS) Walk(ctx context.Context, target string, f fs.WalkDirFunc) error {
	target = strings.TrimPrefix(target, "/")
	return e.FS.Walk(ctx, target, func(p string, d fs.DirEntry, err error) error {
		if target != "" && p != target && !strings.HasPrefix(p, target+"/") {
			return nil
		}
		return f(p, d, err)
	})
}
