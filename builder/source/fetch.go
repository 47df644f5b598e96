package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"cooper/internal/model"
)

// Fetch puts the tree of s.Commit, or its folder s.Subdir, into dir, which is there and empty. Links stay links, wherever
// they lead; submodules are not fetched and become empty folders; LFS pointers stay pointers; there is no .git; files
// have the commit's time. Fetches of one URL wait for each other. Beside the codes of Resolve: SOURCE_INVALID when the
// folder is not there, REPO_TOO_LARGE, REPO_TOO_MANY_FILES, STORAGE_FULL. What dir holds after an error is undefined.
func (g *Git) Fetch(ctx context.Context, s model.Source, dir string) error {
	if !isCommit(s.Commit) || s.Commit == nullID {
		return fmt.Errorf("fetch %s: %w", s.URL, refNotFound("", s.Commit))
	}
	subdir, err := cleanSubdir("", s.Subdir)
	if err != nil {
		return err
	}
	s.Commit, s.Subdir = strings.ToLower(s.Commit), subdir
	ctx, cancel := context.WithTimeoutCause(ctx, g.config.Timeout,
		model.Errorf(model.CodeGitTimeout, "The repository could not be fetched in %s.", g.config.Timeout))
	defer cancel()
	repo := g.cached(s.URL)
	unlock, err := g.locks.lock(ctx, repo.dir)
	if err != nil {
		return err
	}
	defer unlock()

	err = g.fetchInto(ctx, repo, s, dir)
	if err == nil || ctx.Err() != nil || isCoded(err) {
		return err
	}
	// Not the user's or the server's fault: the cached repository is broken, so it is made anew, once.
	g.config.Log.WarnContext(ctx, "cached repository is made anew", "url", s.URL, "error", err)
	if err := errors.Join(repo.remove(), clearFolder(dir)); err != nil {
		return err
	}
	return g.fetchInto(ctx, repo, s, dir)
}

func isCoded(err error) bool {
	var coded *model.Error
	return errors.As(err, &coded)
}

func (g *Git) fetchInto(ctx context.Context, repo bare, s model.Source, dir string) error {
	start := time.Now()
	if err := repo.prepare(ctx); err != nil {
		return err
	}
	cached := repo.has(ctx, s.Commit)
	if !cached {
		if err := g.download(ctx, repo, s); err != nil {
			return err
		}
	}
	if err := repo.extract(ctx, s, dir); err != nil {
		return err
	}
	g.config.Log.DebugContext(ctx, "tree fetched", "url", s.URL, "commit", s.Commit, "cached", cached, "took", time.Since(start))
	return nil
}

// download gets the commit into the repository: by its ID, or from a server that gives only what it advertises, by the
// refs that may hold it, as they are now and then with their history.
func (g *Git) download(ctx context.Context, repo bare, s model.Source) error {
	e, found, err := g.discover(ctx, "", s.URL, candidates(s.Ref))
	if err != nil {
		return err
	}
	err = repo.fetch(ctx, e, true, "+"+s.Commit+":refs/cooper/"+s.Commit)
	for _, shallow := range []bool{true, false} {
		if !errors.Is(err, errMissing) {
			break
		}
		if specs := refspecs(found, s, shallow); len(specs) > 0 {
			err = repo.fetch(ctx, e, shallow, specs...)
		}
		if err == nil && !repo.has(ctx, s.Commit) {
			err = errMissing
		}
	}
	if errors.Is(err, errMissing) || err == nil && !repo.has(ctx, s.Commit) {
		return refNotFound("", s.Commit).Wrap(err)
	}
	return err
}

// refspecs name what to fetch in place of a commit's ID: the refs that s.Ref may stand for, or, with history, every
// branch and tag when it is a commit itself.
func refspecs(found *refs, s model.Source, shallow bool) []string {
	var specs []string
	for name := range found.ids {
		specs = append(specs, "+"+name+":refs/cooper/by-name/"+name)
	}
	if isCommit(s.Ref) && !shallow {
		specs = []string{"+refs/heads/*:refs/cooper/by-name/refs/heads/*", "+refs/tags/*:refs/cooper/by-name/refs/tags/*"}
	}
	return specs
}

// clearFolder removes what is in dir, and keeps dir.
func clearFolder(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open the folder to fetch into: %w", err)
	}
	defer func() { _ = root.Close() }()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list the folder to fetch into: %w", err)
	}
	for _, entry := range entries {
		if err := root.RemoveAll(entry.Name()); err != nil {
			return fmt.Errorf("clear the folder to fetch into: %w", err)
		}
	}
	return nil
}
