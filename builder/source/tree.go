package source

import (
	"context"
	"errors"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cooper/internal/model"
)

// Tree is a commit's files, read without a checkout. From a server that can leave files out, only the commit, its folders
// and the files that are read are fetched; from others the shallow commit that a build fetches anyway. It holds nothing
// open, and is not safe for concurrent use.
type Tree struct {
	git    *Git
	source model.Source
	repo   bare
	time   time.Time
	place  *place // once the server was asked
}

// place is where a repository was found, and what its server said.
type place struct {
	at   endpoint
	refs *refs
}

// find asks the server once: what it says is good for the short life of a Tree.
func (t *Tree) find(ctx context.Context) (*place, error) {
	if t.place != nil {
		return t.place, nil
	}
	e, found, err := t.git.discover(ctx, "", t.source.URL, candidates(t.source.Ref))
	if err != nil {
		return nil, err
	}
	t.place = &place{at: e, refs: found}
	return t.place, nil
}

// Tree opens the files of s.Commit below s.Subdir. The codes are those of Fetch.
func (g *Git) Tree(ctx context.Context, s model.Source) (*Tree, error) {
	if !isCommit(s.Commit) || s.Commit == nullID {
		return nil, refNotFound("", s.Commit)
	}
	subdir, err := cleanSubdir("", s.Subdir)
	if err != nil {
		return nil, err
	}
	s.Commit, s.Subdir = strings.ToLower(s.Commit), subdir
	t := &Tree{git: g, source: s, repo: g.cachedTrees(s.URL)}
	ctx, cancel := t.bounded(ctx)
	defer cancel()
	if t.wholeIsThere(ctx) {
		t.repo = g.cached(s.URL)
	}
	return t, t.work(ctx, func(repo bare) (err error) {
		t.time, err = repo.commitTime(ctx, s.Commit)
		if err != nil || s.Subdir == "" {
			return err
		}
		folder, ok, err := repo.at(ctx, s.Commit, s.Subdir)
		if err == nil && (!ok || folder.kind != "tree") {
			err = noFolder(s)
		}
		return err
	})
}

func (t *Tree) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, t.git.config.Timeout,
		model.Errorf(model.CodeGitTimeout, "The repository could not be read in %s.", t.git.config.Timeout))
}

// wholeIsThere reports whether a build has fetched the commit already. While one is fetching, which may take long, the
// answer is no: a small fetch of its own is over sooner.
func (t *Tree) wholeIsThere(ctx context.Context) bool {
	whole := t.git.cached(t.source.URL)
	unlock, free := t.git.locks.try(whole.dir)
	if !free {
		return false
	}
	defer unlock()
	return whole.exists() && whole.has(ctx, t.source.Commit)
}

// work does something in the repository that has the commit, which is fetched when it is not, or no more, there.
func (t *Tree) work(ctx context.Context, do func(bare) error) error {
	if t.repo.filter != "" {
		err := t.git.healing(ctx, t.repo, t.source.URL, func(bool) error {
			if err := t.fetchTrees(ctx); err != nil {
				return err
			}
			return do(t.repo)
		})
		if !errors.Is(err, errMissing) {
			return err
		}
		t.repo = t.git.cached(t.source.URL) // the server does not filter, or gives only what it advertises
	}
	return t.git.healing(ctx, t.repo, t.source.URL, func(bool) error {
		if err := t.fetchWhole(ctx); err != nil {
			return err
		}
		return do(t.repo)
	})
}

// fetchTrees gets the commit and its folders. errMissing when the server cannot give just that.
func (t *Tree) fetchTrees(ctx context.Context) error {
	if t.repo.exists() && t.repo.has(ctx, t.source.Commit) {
		return nil
	}
	p, err := t.find(ctx)
	if err != nil {
		return err
	}
	if !p.refs.filters {
		return errMissing
	}
	if err := t.repo.prepare(ctx); err != nil {
		return err
	}
	if err := t.repo.fetch(ctx, p.at, commitOnly(t.source.Commit)); err != nil {
		return err
	}
	if !t.repo.has(ctx, t.source.Commit) {
		return errMissing
	}
	return nil
}

func (t *Tree) fetchWhole(ctx context.Context) error {
	if err := t.repo.prepare(ctx); err != nil || t.repo.has(ctx, t.source.Commit) {
		return err
	}
	p, err := t.find(ctx)
	if err != nil {
		return err
	}
	return t.git.download(ctx, t.repo, t.source, p.at, p.refs)
}

// Time is the commit's.
func (t *Tree) Time() time.Time { return t.time }

// Close does nothing: a Tree holds nothing.
func (t *Tree) Close() error { return nil }

// List returns the names in a folder, sorted, those of folders and submodules with a slash at their end; none when there
// is no such folder.
func (t *Tree) List(ctx context.Context, dir string) ([]string, error) {
	ctx, cancel := t.bounded(ctx)
	defer cancel()
	folder, ok := t.below(dir)
	if !ok {
		return nil, nil
	}
	args := []string{t.source.Commit}
	if folder != "" {
		folder += "/"
		args = append(args, "--", folder)
	}
	var names []string
	err := t.work(ctx, func(repo bare) error {
		names = names[:0]
		list, err := repo.entries(ctx, func(e entry) bool { return strings.HasPrefix(e.path, folder) && e.path != folder }, args...)
		for _, e := range list {
			name := strings.TrimPrefix(e.path, folder)
			if e.kind != "blob" {
				name += "/"
			}
			names = append(names, name)
		}
		return err
	})
	slices.Sort(names)
	return names, err
}

// Read returns a file. NOT_FOUND when there is none, or it is no regular file; SOURCE_INVALID when it is larger than
// 1 MiB.
func (t *Tree) Read(ctx context.Context, file string) ([]byte, error) {
	ctx, cancel := t.bounded(ctx)
	defer cancel()
	missing := model.Errorf(model.CodeNotFound, "The repository has no file %q.", limited(file))
	full, ok := t.below(file)
	if !ok || full == "" {
		return nil, missing
	}
	var content []byte
	err := t.work(ctx, func(repo bare) error {
		found, there, err := repo.at(ctx, t.source.Commit, full)
		if err != nil {
			return err
		}
		if !there || !found.isFile() {
			return missing
		}
		content, err = t.blob(ctx, repo, found)
		return err
	})
	return content, err
}

// below returns a path of the caller's as one in the repository; "" is its root.
func (t *Tree) below(name string) (string, bool) {
	name = path.Clean(name)
	if !filepath.IsLocal(name) {
		return "", false
	}
	full := path.Join(t.source.Subdir, name)
	if full == "." {
		full = ""
	}
	return full, true
}
