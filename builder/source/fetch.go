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

// options say what of a tree is wanted beside its files.
type options struct {
	submodules bool
	refuseLFS  bool
}

// Fetch puts the tree of s.Commit, or its folder s.Subdir, into dir, which is there and empty. Links stay links, wherever
// they lead; submodules are not fetched and become empty folders; LFS pointers stay pointers; there is no .git; files
// have the commit's time. Fetches of one URL wait for each other. Beside the codes of Resolve: SOURCE_INVALID when the
// folder is not there, REPO_TOO_LARGE, REPO_TOO_MANY_FILES, STORAGE_FULL. What dir holds after an error is undefined.
func (g *Git) Fetch(ctx context.Context, s model.Source, dir string) error {
	return g.fetch(ctx, s, dir, options{})
}

// FetchComponent is Fetch for a component: pointers of Git LFS are LFS_NOT_SUPPORTED, and with submodules those of the
// folder are fetched, too, at the commits that the tree names, and theirs. SUBMODULE_DENIED when one comes from where
// GitConfig.Submodules does not allow, SUBMODULE_DEPTH when they are nested too deeply.
func (g *Git) FetchComponent(ctx context.Context, s model.Source, dir string, submodules bool) error {
	return g.fetch(ctx, s, dir, options{submodules: submodules, refuseLFS: true})
}

// Prefetch gets s.Commit into the cache for a Fetch that is about to come, which waits for it.
func (g *Git) Prefetch(ctx context.Context, s model.Source) error {
	if !isCommit(s.Commit) || s.Commit == nullID {
		return refNotFound("", s.Commit)
	}
	s.Commit = strings.ToLower(s.Commit)
	ctx, cancel := context.WithTimeout(ctx, g.config.Timeout)
	defer cancel()
	repo := g.cached(s.URL)
	return g.healing(ctx, repo, s.URL, func(bool) error {
		_, err := g.bring(ctx, repo, s)
		return err
	})
}

func (g *Git) fetch(ctx context.Context, s model.Source, dir string, o options) error {
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
	room := &room{bytes: g.config.MaxBytes, files: g.config.MaxFiles, modules: maxSubmodules, refuseLFS: o.refuseLFS}
	if !o.submodules {
		return g.fetchTree(ctx, s, dir, room, nil)
	}
	return g.fetchModules(ctx, s, dir, room, 0)
}

// fetchTree gets one commit's tree. then, when set, may look into the repository once the tree is there.
func (g *Git) fetchTree(ctx context.Context, s model.Source, dir string, left *room, then func(bare) error) error {
	repo := g.cached(s.URL)
	before := *left
	return g.healing(ctx, repo, s.URL, func(again bool) error {
		if again {
			*left = before
			if err := clearFolder(dir); err != nil {
				return err
			}
		}
		if err := g.fetchInto(ctx, repo, s, dir, left); err != nil || then == nil {
			return err
		}
		return then(repo)
	})
}

// healing works in a cached repository that nobody else works in meanwhile. When that fails and is neither the user's nor
// the server's fault, the repository is broken: it is made anew and the work done again, once. When git then fails to
// fetch again, it was the server.
func (g *Git) healing(ctx context.Context, repo bare, url string, work func(again bool) error) error {
	unlock, err := g.locks.lock(ctx, repo.dir)
	if err != nil {
		return err
	}
	defer unlock()
	err = work(false)
	if err == nil || ctx.Err() != nil || isCoded(err) || errors.Is(err, errMissing) {
		return err
	}
	g.config.Log.WarnContext(ctx, "cached repository is made anew", "url", url, "error", err)
	if err := repo.remove(); err != nil {
		return err
	}
	return badAnswer(work(true))
}

func isCoded(err error) bool {
	var coded *model.Error
	return errors.As(err, &coded)
}

func (g *Git) fetchInto(ctx context.Context, repo bare, s model.Source, dir string, left *room) error {
	start := time.Now()
	cached, err := g.bring(ctx, repo, s)
	if err != nil {
		return err
	}
	if err := repo.extract(ctx, s, dir, left); err != nil {
		return err
	}
	g.config.Log.DebugContext(ctx, "tree fetched", "url", s.URL, "commit", s.Commit, "cached", cached, "took", time.Since(start))
	return nil
}

// bring gets the commit into the repository, unless it is there already.
func (g *Git) bring(ctx context.Context, repo bare, s model.Source) (cached bool, err error) {
	if err := repo.prepare(ctx); err != nil {
		return false, err
	}
	if repo.has(ctx, s.Commit) {
		return true, nil
	}
	e, found, err := g.discover(ctx, "", s.URL, candidates(s.Ref))
	if err != nil {
		return false, err
	}
	return false, g.download(ctx, repo, s, e, found)
}

// download gets the commit into the repository: by its ID, or from a server that gives only what it advertises, by the
// refs that may hold it, as they are now and then with their history.
func (g *Git) download(ctx context.Context, repo bare, s model.Source, e endpoint, found *refs) error {
	err := repo.fetch(ctx, e, commitOnly(s.Commit))
	for _, shallow := range []bool{true, false} {
		if !errors.Is(err, errMissing) {
			break
		}
		if specs := refspecs(found, s, shallow); len(specs) > 0 {
			depth := onlyCommit
			if !shallow {
				depth = fullDepth
			}
			err = repo.fetch(ctx, e, fetching{refspecs: specs, depth: depth})
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

func commitOnly(commit string) fetching {
	return fetching{refspecs: []string{"+" + commit + ":refs/cooper/" + commit}, depth: onlyCommit}
}

// refspecs name what to fetch in place of a commit's ID: the refs that s.Ref may stand for, or, with history, every
// branch and tag when it is a commit itself.
func refspecs(found *refs, s model.Source, shallow bool) []string {
	var specs []string
	for name := range found.ids {
		specs = append(specs, "+"+name+":refs/cooper/by-name/"+name)
	}
	if (isCommit(s.Ref) || isShortCommit(s.Ref)) && !shallow {
		specs = allRefs()
	}
	return specs
}

func allRefs() []string {
	return []string{"+refs/heads/*:refs/cooper/by-name/refs/heads/*", "+refs/tags/*:refs/cooper/by-name/refs/tags/*"}
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
