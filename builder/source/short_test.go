package source_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/builder/source"
	"cooper/internal/model"
)

// filtering makes the repository's server leave objects out when it is asked to.
func (w workTree) filtering() {
	w.t.Helper()
	w.git("--git-dir="+w.remote, "config", "uploadpack.allowFilter", "true")
}

func TestResolveCompletesShortCommits(t *testing.T) {
	for _, filters := range []bool{true, false} {
		t.Run(fmt.Sprintf("server filters %t", filters), func(t *testing.T) {
			s := newGitServer(t, false)
			w := s.repo(t, "r")
			if filters {
				w.filtering()
			}
			first := w.commit("a", strings.Repeat("one", 1000))
			w.git("tag", "-a", "-m", "x", "v1")
			second := w.commit("a", "2")
			w.git("checkout", "--quiet", "-b", "side", first)
			side := w.commit("b", "3")
			var cache string
			g := newGit(t, func(c *source.GitConfig) { cache = c.CacheDir }, s)
			url := s.URL + "/r.git"
			for short, want := range map[string]string{
				first[:7]: first, first[:12]: first, strings.ToUpper(second[:8]): second, second[:39]: second, side[:7]: side,
			} {
				got, err := g.Resolve(t.Context(), "tag", model.Source{URL: url, Ref: short})
				require.NoError(t, err, short)
				require.Equal(t, model.Source{URL: url, Ref: short, Commit: want, Kind: model.RefCommit}, got)
				require.NoError(t, g.Fetch(t.Context(), got, t.TempDir()))
			}
			// A commit that came later is found, too; what is no commit is not.
			later := w.commit("a", "4")
			got, err := g.Resolve(t.Context(), "tag", model.Source{URL: url, Ref: later[:10]})
			require.NoError(t, err)
			require.Equal(t, later, got.Commit)
			for _, object := range []string{w.git("rev-parse", "HEAD^{tree}"), w.git("rev-parse", "v1"), w.git("rev-parse", "HEAD:a"), strings.Repeat("e", 12)} {
				_, err := g.Resolve(t.Context(), "tag", model.Source{URL: url, Ref: object[:10]})
				require.Equal(t, model.CodeRefNotFound, model.CodeOf(err), "%v", err)
				require.Equal(t, "tag", model.AsError(err).Field)
			}
			histories, err := filepath.Glob(filepath.Join(cache, "*.history.git"))
			require.NoError(t, err)
			require.Equal(t, filters, len(histories) == 1)
		})
	}
}

func TestShortCommitsBesideATagOfATree(t *testing.T) {
	s := newGitServer(t, false)
	w := s.repo(t, "r")
	w.filtering()
	first := w.commit("a/b", "1")
	w.git("tag", "tree", first+"^{tree}")
	w.git("tag", "file", first+":a/b")
	second := w.commit("a/b", "2")
	g := newGit(t, nil, s)
	for _, want := range []string{first, second} {
		got, err := g.Resolve(t.Context(), "tag", model.Source{URL: s.URL + "/r.git", Ref: want[:9]})
		require.NoError(t, err)
		require.Equal(t, want, got.Commit)
		require.NoError(t, g.FetchComponent(t.Context(), got, t.TempDir(), false))
	}
}

func TestANameOfHexDigitsIsABranchFirst(t *testing.T) {
	s := newGitServer(t, false)
	w := s.repo(t, "r")
	first := w.commit("a", "1")
	second := w.commit("a", "2")
	w.git("branch", first[:8])
	w.push()
	got, err := newGit(t, nil, s).Resolve(t.Context(), "tag", model.Source{URL: s.URL + "/r.git", Ref: first[:8]})
	require.NoError(t, err)
	require.Equal(t, second, got.Commit)
	require.Equal(t, model.RefBranch, got.Kind)
	require.Zero(t, s.count(http.MethodPost), "the refs alone tell")
}

func TestAShortCommitThatStartsSeveralIsAmbiguous(t *testing.T) {
	s := newGitServer(t, false)
	w := s.repo(t, "r")
	w.filtering()
	// Two commits whose IDs begin with the same seven digits, found by trying messages.
	tree := w.git("hash-object", "-t", "tree", "-w", "/dev/null")
	for _, message := range []string{"209", "34817"} {
		commit := w.git("commit-tree", "-m", message, tree)
		w.git("update-ref", "refs/heads/m"+message, commit)
		require.Equal(t, "6df2c65", commit[:7])
	}
	w.push()
	_, err := newGit(t, nil, s).Resolve(t.Context(), "tag", model.Source{URL: s.URL + "/r.git", Ref: "6df2c65"})
	require.Equal(t, model.CodeRefAmbiguous, model.CodeOf(err), "%v", err)
	require.Contains(t, model.AsError(err).Message, "2 commits")
}
