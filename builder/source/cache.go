package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	// watchEvery is how often the size of what is being downloaded is looked at.
	watchEvery = 100 * time.Millisecond
	// fullDepth fetches all of the history, also into a repository that has some of it already.
	fullDepth  = "--depth=2147483647"
	onlyCommit = "--depth=1"
	remoteName = "source"
	// attributes turn off what git archive would leave out, put in or hand to programs by a tree's own wish.
	attributes = "* -export-ignore -export-subst -filter\n"
)

// bare is a cached bare repository of one URL.
type bare struct {
	git    *Git
	dir    string
	filter string // what is left out of what is fetched into it
}

// cached returns the repository kept for the URL, which has whole trees: shallow commits, each under a ref of its own.
// Who works in it holds its lock.
func (g *Git) cached(url string) bare { return g.cachedAs(url, "", "") }

// cachedTrees has commits without their files' contents, but for those that were asked for one by one. Repositories that
// lack objects are kept apart: git takes whoever has a commit to have all of it.
func (g *Git) cachedTrees(url string) bare { return g.cachedAs(url, ".trees", "blob:none") }

// cachedHistory has all commits of all branches and tags, and nothing else.
func (g *Git) cachedHistory(url string) bare { return g.cachedAs(url, ".history", "tree:0") }

func (g *Git) cachedAs(url, kind, filter string) bare {
	sum := sha256.Sum256([]byte(url))
	return bare{git: g, dir: filepath.Join(g.config.CacheDir, hex.EncodeToString(sum[:])+kind+".git"), filter: filter}
}

func (b bare) args(args ...string) []string { return append([]string{"--git-dir=" + b.dir}, args...) }

// prepare makes the repository when it is not there. One that has grown past the limit is made anew.
func (b bare) prepare(ctx context.Context) error {
	if size, err := folderSize(b.dir); err == nil && size <= b.git.config.MaxBytes {
		if b.exists() {
			now := time.Now()
			return os.Chtimes(b.dir, now, now) // for Prune
		}
	}
	if err := b.remove(); err != nil {
		return err
	}
	if _, err := b.git.output(ctx, "init", "--quiet", "--bare", "--template=", "--end-of-options", b.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(b.dir, "info"), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.dir, "info", "attributes"), []byte(attributes), 0o600)
}

func (b bare) exists() bool {
	_, err := os.Stat(filepath.Join(b.dir, "HEAD"))
	return err == nil
}

func (b bare) remove() error {
	if err := os.RemoveAll(b.dir); err != nil {
		return fmt.Errorf("remove a cached repository: %w", err)
	}
	return nil
}

// has reports whether the commit is there. Only a commit's own ID will do, not that of a tag or a tree.
func (b bare) has(ctx context.Context, commit string) bool {
	kind, err := b.git.output(ctx, b.args("cat-file", "-t", commit)...)
	return err == nil && kind == "commit"
}

// fetching is what to download: refspecs, and how much of what they lead to.
type fetching struct {
	refspecs []string
	depth    string // an option of git; empty for what follows on what is there
	noHaves  bool   // do not tell the server what is there
	limit    int64  // bytes; 0 means GitConfig.MaxBytes
}

// fetch downloads, as soon as few enough others do, and stops when that is more than the limit.
func (b bare) fetch(ctx context.Context, e endpoint, f fetching) error {
	// The remote has a name and no address in the repository's own configuration, so that git, when it lacks an object in
	// some later command, has nowhere to get it from by itself.
	args := append(b.git.remote(e), "-c", "remote."+remoteName+".url="+e.String())
	if f.noHaves {
		args = append(args, "-c", "fetch.negotiationAlgorithm=noop")
	}
	args = append(args, b.args("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules",
		"--no-auto-maintenance", "--force", "--update-shallow")...)
	if b.filter != "" {
		args = append(args, "--filter="+b.filter)
	}
	if f.depth != "" {
		args = append(args, f.depth)
	}
	args = append(append(args, "--end-of-options", remoteName), f.refspecs...)
	if f.limit == 0 {
		f.limit = b.git.config.MaxBytes
	}

	end, err := b.git.turns.take(ctx, e.url.Host)
	if err != nil {
		return err
	}
	defer end()
	before, err := folderSize(b.dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		watchSize(b.dir, before+f.limit, done, func() { cancel(tooLarge()) })
	}()
	err = b.git.run(ctx, call{env: b.git.remoteEnv(e), out: &tail{max: maxStderr}, login: e.login}, args...)
	close(done)
	<-watched
	return fetchError(e, err)
}

// watchSize calls exceeded when the folder has more than limit bytes, until done is closed. git has no limit of its own
// for what it downloads.
func watchSize(dir string, limit int64, done <-chan struct{}, exceeded func()) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			if size, err := folderSize(dir); err == nil && size > limit {
				exceeded()
				return
			}
		}
	}
}

// folderSize adds up the files below dir. Files that go away meanwhile count nothing.
func folderSize(dir string) (int64, error) {
	var size int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var st fs.FileInfo
			if st, err = d.Info(); err == nil {
				size += st.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return size, err
}

// Prune removes the cached repositories that no Fetch has used for longer than unused.
func (g *Git) Prune(ctx context.Context, unused time.Duration) error {
	entries, err := os.ReadDir(g.config.CacheDir)
	if err != nil {
		return fmt.Errorf("list cached repositories: %w", err)
	}
	limit := time.Now().Add(-unused)
	for _, entry := range entries {
		b := bare{git: g, dir: filepath.Join(g.config.CacheDir, entry.Name())}
		if err := b.prune(ctx, limit); err != nil {
			return err
		}
	}
	return nil
}

func (b bare) prune(ctx context.Context, limit time.Time) error {
	unlock, err := b.git.locks.lock(ctx, b.dir)
	if err != nil {
		return err
	}
	defer unlock()
	st, err := os.Stat(b.dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !st.ModTime().Before(limit) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at a cached repository: %w", err)
	}
	return b.remove()
}
