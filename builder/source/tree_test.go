package source_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/builder"
	"cooper/builder/source"
	"cooper/internal/model"
)

var _ builder.Tree = (*source.Tree)(nil)

// counted counts the bytes that the server sends.
func (s *gitServer) counted() *atomic.Int64 {
	var sent atomic.Int64
	s.around(func(backend http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { backend.ServeHTTP(&countingWriter{w, &sent}, r) })
	})
	return &sent
}

type countingWriter struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (w *countingWriter) Write(b []byte) (int, error) {
	w.sent.Add(int64(len(b)))
	return w.ResponseWriter.Write(b)
}

// recipeRepo is a repository of some megabytes, in which the recipe's files are small.
func recipeRepo(t *testing.T, s *gitServer, filters bool) (w workTree, commit string) {
	t.Helper()
	w = s.repo(t, "r")
	if filters {
		w.filtering()
	}
	w.commit("old", noise(t, 1<<20))
	require.NoError(t, os.MkdirAll(filepath.Join(w.dir, "sub"), 0o755))
	require.NoError(t, os.Symlink("Dockerfile", filepath.Join(w.dir, "link")))
	require.NoError(t, os.Symlink("sub", filepath.Join(w.dir, "linked")))
	require.NoError(t, os.Mkdir(filepath.Join(w.dir, "module"), 0o755))
	w.git("update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",module")
	return w, w.commit("Dockerfile", "FROM scratch\n", ".cooper/a.hcl", "component {}\n", "sub/go.mod", "module x\n", "sub/deep/f", "f",
		"big", noise(t, 4<<20), "*", "star", "a b", "space", "long", noise(t, 1<<20+1))
}

func readTree(t *testing.T, tr *source.Tree, file string) []byte {
	t.Helper()
	b, err := tr.Read(t.Context(), file)
	require.NoError(t, err)
	return b
}

func noise(t *testing.T, size int64) string {
	t.Helper()
	f, err := os.Open("/dev/urandom")
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, size))
	require.NoError(t, err)
	return string(b)
}

func TestTreeReadsRecipeFilesAlone(t *testing.T) {
	for name, c := range map[string]struct {
		filters, old bool
		least, most  int64 // bytes that are sent
	}{
		"server that filters":                    {filters: true, most: 32 << 10},
		"server that does not":                   {least: 4 << 20, most: 7 << 20},
		"one that gives only what it advertises": {filters: true, old: true, least: 4 << 20, most: 8 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			s := newGitServer(t, false)
			_, commit := recipeRepo(t, s, c.filters)
			sent := s.counted()
			if c.old {
				s.around(func(backend http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						r.Header.Del("Git-Protocol")
						backend.ServeHTTP(&countingWriter{w, sent}, r)
					})
				})
			}
			g := newGit(t, nil, s)
			tr, err := g.Tree(t.Context(), model.Source{URL: s.URL + "/r.git", Ref: "main", Commit: commit})
			require.NoError(t, err)
			require.Equal(t, time.Unix(commitTime, 0).UTC(), tr.Time())
			for dir, want := range map[string][]string{
				".": {"*", ".cooper/", "Dockerfile", "a b", "big", "link", "linked", "long", "module/", "old", "sub/"}, ".cooper": {"a.hcl"},
				"sub": {"deep/", "go.mod"}, "./sub/": {"deep/", "go.mod"}, "sub/deep": {"f"}, "absent": nil, "Dockerfile": nil, "linked": nil,
				"su": nil, "..": nil, "../x": nil, "/": nil, "/etc": nil, "module": nil, "s*": nil, ".git": nil,
			} {
				got, err := tr.List(t.Context(), dir)
				require.NoError(t, err, dir)
				require.Equal(t, want, append([]string(nil), got...), dir)
			}
			for file, want := range map[string]string{"Dockerfile": "FROM scratch\n", ".cooper/a.hcl": "component {}\n", "./sub/go.mod": "module x\n", "*": "star", "a b": "space"} {
				got, err := tr.Read(t.Context(), file)
				require.NoError(t, err, file)
				require.Equal(t, want, string(got))
			}
			for _, file := range []string{"absent", "sub", "link", "linked/go.mod", "module", ".", "", "../x", "/etc/passwd", "D*"} {
				_, err := tr.Read(t.Context(), file)
				require.Equal(t, model.CodeNotFound, model.CodeOf(err), "%s: %v", file, err)
			}
			require.LessOrEqual(t, sent.Load(), c.most)
			require.GreaterOrEqual(t, sent.Load(), c.least)
			_, err = tr.Read(t.Context(), "long")
			require.Equal(t, model.CodeSourceInvalid, model.CodeOf(err), "%v", err)
			require.NoError(t, tr.Close())

			// The build's own fetch is whole, and after it nothing more is asked for.
			dir := t.TempDir()
			require.NoError(t, g.Fetch(t.Context(), model.Source{URL: s.URL + "/r.git", Ref: "main", Commit: commit}, dir))
			require.FileExists(t, filepath.Join(dir, "sub/deep/f"))
			before := s.count("")
			again, err := g.Tree(t.Context(), model.Source{URL: s.URL + "/r.git", Commit: commit, Subdir: "sub"})
			require.NoError(t, err)
			got, err := again.Read(t.Context(), "go.mod")
			require.NoError(t, err)
			require.Equal(t, "module x\n", string(got))
			_, err = again.Read(t.Context(), "../Dockerfile")
			require.Equal(t, model.CodeNotFound, model.CodeOf(err))
			require.Equal(t, before, s.count(""))
		})
	}
}

func TestTreeDoesNotWaitForABuildsFetch(t *testing.T) {
	s := newGitServer(t, false)
	_, commit := recipeRepo(t, s, true)
	reached, goOn := make(chan struct{}), make(chan struct{})
	var posts atomic.Int32
	s.around(func(backend http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost && posts.Add(1) == 1 {
				close(reached)
				<-goOn
			}
			backend.ServeHTTP(w, r)
		})
	})
	g := newGit(t, nil, s)
	src := model.Source{URL: s.URL + "/r.git", Commit: commit}
	dir, fetched := t.TempDir(), make(chan error, 1)
	go func() { fetched <- g.FetchComponent(t.Context(), src, dir, true) }()
	<-reached
	tr, err := g.Tree(t.Context(), src)
	require.NoError(t, err)
	require.Equal(t, "FROM scratch\n", string(readTree(t, tr, "Dockerfile")))
	close(goOn)
	require.NoError(t, <-fetched)
}

func TestTreeRefuses(t *testing.T) {
	for _, filters := range []bool{true, false} {
		s := newGitServer(t, false)
		_, commit := recipeRepo(t, s, filters)
		g := newGit(t, nil, s)
		for subdir, code := range map[string]model.Code{
			"sub": "", "sub/deep/": "", "absent": model.CodeSourceInvalid, "Dockerfile": model.CodeSourceInvalid, "linked": model.CodeSourceInvalid,
			"module": model.CodeSourceInvalid, "..": model.CodeSourceInvalid, "/sub": model.CodeSourceInvalid, "sub/../sub": model.CodeSourceInvalid,
		} {
			_, err := g.Tree(t.Context(), model.Source{URL: s.URL + "/r.git", Commit: commit, Subdir: subdir})
			require.Equal(t, code, model.CodeOf(err), "%s: %v", subdir, err)
		}
		for _, commit := range []string{strings.Repeat("ab", 20), strings.Repeat("0", 40), "main", ""} {
			_, err := g.Tree(t.Context(), model.Source{URL: s.URL + "/r.git", Ref: "main", Commit: commit})
			require.Equal(t, model.CodeRefNotFound, model.CodeOf(err), "%s: %v", commit, err)
		}
	}
}

func TestTreeHealsItsCacheAndSurvivesPrune(t *testing.T) {
	s := newGitServer(t, false)
	_, commit := recipeRepo(t, s, true)
	var cache string
	g := newGit(t, func(c *source.GitConfig) { cache = c.CacheDir }, s)
	tr, err := g.Tree(t.Context(), model.Source{URL: s.URL + "/r.git", Commit: commit})
	require.NoError(t, err)
	repos, err := filepath.Glob(filepath.Join(cache, "*.trees.git"))
	require.NoError(t, err)
	require.Len(t, repos, 1)
	config, err := os.ReadFile(filepath.Join(repos[0], "config"))
	require.NoError(t, err)
	require.NotContains(t, string(config), s.URL, "git could fetch what is missing by itself")
	for _, breakIt := range []func(){
		func() { require.NoError(t, os.RemoveAll(filepath.Join(repos[0], "objects"))) },
		func() { require.NoError(t, g.Prune(t.Context(), -time.Hour)) },
		func() {
			require.NoError(t, os.WriteFile(filepath.Join(repos[0], "config"), []byte("[[["), 0o600))
		},
	} {
		breakIt()
		got, err := tr.Read(t.Context(), "Dockerfile")
		require.NoError(t, err)
		require.Equal(t, "FROM scratch\n", string(got))
	}
}
