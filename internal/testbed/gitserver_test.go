package testbed

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func serveGit(t *testing.T) *GitServer {
	t.Helper()
	s, err := ServeGit(t.Context(), t.TempDir(), "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// git runs git as a user does.
func git(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", args...).CombinedOutput()
	require.NoError(t, err, "git %v: %s", args, out)
	return strings.TrimSpace(string(out))
}

func TestARepositoryIsServedAsItIsCommitted(t *testing.T) {
	s := serveGit(t)
	r, err := s.Repository(t.Context(), "team/zlib")
	require.NoError(t, err)
	require.Equal(t, "http://"+s.Host+"/team/zlib.git", r.URL)
	first, err := r.Commit(t.Context(), map[string]string{"configure": "#!/bin/sh\n", "src/a.c": "int a;\n"})
	require.NoError(t, err)
	require.NoError(t, r.Tag(t.Context(), "v1"))
	require.NoError(t, r.Branch(t.Context(), "feature/x"))
	second, err := r.Commit(t.Context(), map[string]string{"src/a.c": Gone, "b": "b\n"})
	require.NoError(t, err)

	refs := git(t, "ls-remote", r.URL)
	for _, ref := range []string{first + "\trefs/tags/v1", first + "\trefs/heads/main", second + "\trefs/heads/feature/x", first + "\tHEAD"} {
		require.Contains(t, refs, ref)
	}
	require.NoError(t, r.Tag(t.Context(), "v1"))
	require.Contains(t, git(t, "ls-remote", r.URL, "refs/tags/v1"), second, "the tag has moved")

	clone := filepath.Join(t.TempDir(), "clone")
	git(t, "clone", "--quiet", "--branch", "feature/x", r.URL, clone)
	require.NoFileExists(t, filepath.Join(clone, "src/a.c"))
	fi, err := os.Stat(filepath.Join(clone, "configure"))
	require.NoError(t, err)
	require.NotZero(t, fi.Mode()&0o100)

	// What BuildKit does: a commit alone, by its ID.
	git(t, "-C", clone, "fetch", "--quiet", "--depth=1", r.URL, first)
	_, err = r.Git(t.Context(), "nosuch")
	require.ErrorContains(t, err, "nosuch")
	require.Error(t, exec.CommandContext(t.Context(), "git", "-C", clone, "push", r.URL, "HEAD:refs/heads/evil").Run())
}

func TestTheSameCommitsHaveTheSameIDs(t *testing.T) {
	var ids []string
	for range 2 {
		r, err := serveGit(t).Repository(t.Context(), "r")
		require.NoError(t, err)
		for _, content := range []string{"one", "two"} {
			id, err := r.Commit(t.Context(), map[string]string{"file": content})
			require.NoError(t, err)
			ids = append(ids, id)
		}
	}
	require.Equal(t, ids[:2], ids[2:])
	require.NotEqual(t, ids[0], ids[1])
}
