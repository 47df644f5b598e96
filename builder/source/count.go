package source

import (
	"context"
	"strings"

	"cooper/internal/model"
)

// countFiles calls stop with REPO_TOO_MANY_FILES as soon as it knows that the tree has more files and folders than most.
// To list them takes a second where to write them takes minutes: a tree that names itself many times over has a million
// files in a handful of objects. Whatever else goes wrong is for who reads the tree to find.
func (b bare) countFiles(ctx context.Context, s model.Source, most int, stop context.CancelCauseFunc) {
	args := []string{"-r", "-t", s.Commit}
	if s.Subdir != "" {
		args = append(args, "--", s.Subdir+"/")
	}
	count := 0
	counting, enough := context.WithCancel(ctx)
	defer enough()
	_, _ = b.entries(counting, func(e entry) bool {
		if s.Subdir != "" && !strings.HasPrefix(e.path, s.Subdir+"/") {
			return false // the folder itself
		}
		if count++; count > most {
			enough()
		}
		return false
	}, args...)
	if count > most {
		stop(tooManyFiles())
	}
}
