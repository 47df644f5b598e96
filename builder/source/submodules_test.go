package source_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/builder/source"
	"cooper/internal/model"
)

// submodule adds a gitlink and the text of its entry in .gitmodules.
func (w workTree) submodule(path, url, commit string) {
	w.t.Helper()
	require.NoError(w.t, os.MkdirAll(filepath.Join(w.dir, path), 0o755))
	w.git("update-index", "--add", "--cacheinfo", "160000,"+commit+","+path)
	f, err := os.OpenFile(filepath.Join(w.dir, ".gitmodules"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(w.t, err)
	_, err = fmt.Fprintf(f, "[submodule %q]\n\tpath = %q\n\turl = %q\n\tupdate = !touch PWNED\n\tbranch = main\n", "s"+path, path, url)
	require.NoError(w.t, err)
	require.NoError(w.t, f.Close())
}

func TestSubmodulesAreFetched(t *testing.T) {
	s := newGitServer(t, false)
	inner := s.repo(t, "lib/inner")
	innerCommit := inner.commit("i", "inner")
	inner.commit("i", "newer")
	outer := s.repo(t, "lib/outer")
	outer.submodule("deps/inner", "../inner.git", innerCommit)
	outerCommit := outer.commit("o", "outer")
	w := s.repo(t, "team/app")
	w.submodule("third/outer", s.URL+"/lib/outer.git", outerCommit)
	w.submodule("sub/inner", "../../lib/inner.git", innerCommit)
	require.NoError(t, os.MkdirAll(filepath.Join(w.dir, "loose"), 0o755))
	w.git("update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",loose")
	commit := w.commit("a", "app", "sub/f", "f")

	g := newGit(t, func(c *source.GitConfig) { c.Submodules = []string{s.host() + "/lib/*"} }, s)
	src := model.Source{URL: s.URL + "/team/app.git", Commit: commit}
	dir := t.TempDir()
	require.NoError(t, g.FetchComponent(t.Context(), src, dir, true))
	got := tree(t, dir)
	delete(got, ".gitmodules")
	delete(got, "third/outer/.gitmodules")
	require.Equal(t, map[string]string{
		"a": "644 app", "loose": "dir", "sub": "dir", "sub/f": "644 f", "sub/inner": "dir", "sub/inner/i": "644 inner", "third": "dir",
		"third/outer": "dir", "third/outer/o": "644 outer", "third/outer/deps": "dir", "third/outer/deps/inner": "dir", "third/outer/deps/inner/i": "644 inner",
	}, got)

	sub := t.TempDir()
	src.Subdir = "sub"
	require.NoError(t, g.FetchComponent(t.Context(), src, sub, true))
	require.Equal(t, map[string]string{"f": "644 f", "inner": "dir", "inner/i": "644 inner"}, tree(t, sub))

	without := t.TempDir()
	require.NoError(t, g.FetchComponent(t.Context(), src, without, false))
	require.Equal(t, map[string]string{"f": "644 f", "inner": "dir"}, tree(t, without))

	limited := newGit(t, func(c *source.GitConfig) { c.Submodules, c.MaxFiles = []string{"*"}, 4 }, s)
	require.Equal(t, model.CodeRepoTooManyFiles, model.CodeOf(limited.FetchComponent(t.Context(), model.Source{URL: src.URL, Commit: commit}, t.TempDir(), true)))
}

func TestSubmodulesThatAreDenied(t *testing.T) {
	var hits atomic.Int32
	inner := web(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	s := newGitServer(t, false)
	other := s.repo(t, "other").commit("x", "1")
	marker := filepath.Join(t.TempDir(), "PWNED")
	cases := map[string]struct{ path, url string }{
		"file":              {"m", "file:///etc"},
		"path":              {"m", "/etc"},
		"ext":               {"m", "ext::sh -c touch% " + marker},
		"git protocol":      {"m", "git://" + inner.host() + "/r"},
		"out of the host":   {"m", "../.."},
		"further out":       {"m", "../../../../etc"},
		"private host":      {"m", inner.URL + "/r"},
		"metadata":          {"m", "http://169.254.169.254/r"},
		"credentials":       {"m", "https://user:s3cret@" + s.host() + "/other.git"},
		"option":            {"m", "-u./payload"},
		"ssh option":        {"m", "ssh://-oProxyCommand=touch " + marker + "/x"},
		"ssh without a key": {"m", "git@" + "127.0.0.1:other.git"},
		"CR in the path":    {"m\r", s.URL + "/other.git"},
		"CR in the URL":     {"m", s.URL + "/other.git\r"},
		"line in the URL":   {"m", s.URL + "/other.git\nX: y"},
		"not on the list":   {"m", s.URL + "/other.git"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := s.repo(t, strings.ReplaceAll(name, " ", "-"))
			if strings.Contains(c.path, "\r") || strings.Contains(c.url, "\n") || strings.Contains(c.url, "\r") {
				require.NoError(t, os.MkdirAll(filepath.Join(w.dir, c.path), 0o755))
				w.git("update-index", "--add", "--cacheinfo", "160000,"+other+","+c.path)
				text := "[submodule \"s\"]\n\tpath = \"" + c.path + "\"\n\turl = \"" + strings.ReplaceAll(c.url, "\n", `\n`) + "\"\n"
				require.NoError(t, os.WriteFile(filepath.Join(w.dir, ".gitmodules"), []byte(text), 0o600))
			} else {
				w.submodule(c.path, c.url, other)
			}
			commit := w.commit("a", "1")
			g := newGit(t, func(gc *source.GitConfig) {
				if name != "not on the list" {
					gc.Submodules = []string{"*"}
				}
			}, s)
			err := g.FetchComponent(t.Context(), model.Source{URL: s.URL + "/" + strings.ReplaceAll(name, " ", "-") + ".git", Commit: commit}, t.TempDir(), true)
			require.Equal(t, model.CodeSubmoduleDenied, model.CodeOf(err), "%v", err)
			require.Contains(t, model.AsError(err).Message, "COOPER_SUBMODULE_ALLOW")
			require.NotContains(t, err.Error(), "s3cret")
			require.NotContains(t, err.Error(), "user:")
			if name == "not on the list" {
				require.Contains(t, model.AsError(err).Message, fmt.Sprintf("%q", s.URL+"/other.git"))
				require.Contains(t, model.AsError(err).Message, `"m"`)
			}
		})
	}
	require.Zero(t, hits.Load())
	require.NoFileExists(t, marker)
}

func TestSubmodulesEndInDepth(t *testing.T) {
	s := newGitServer(t, false)
	// A chain of ten; a repository cannot hold its own commit, but its older ones.
	w := s.repo(t, "self")
	commit := w.commit("a", "0")
	commits := []string{commit}
	for i := range 10 {
		require.NoError(t, os.RemoveAll(filepath.Join(w.dir, ".gitmodules")))
		w.submodule("m", "../self.git", commit)
		commit = w.commit("a", fmt.Sprint(i+1))
		commits = append(commits, commit)
	}
	g := newGit(t, func(c *source.GitConfig) { c.Submodules = []string{s.host() + "/self"} }, s)
	err := g.FetchComponent(t.Context(), model.Source{URL: s.URL + "/self.git", Commit: commit}, t.TempDir(), true)
	require.Equal(t, model.CodeSubmoduleDepth, model.CodeOf(err), "%v", err)
	dir := t.TempDir()
	require.NoError(t, g.FetchComponent(t.Context(), model.Source{URL: s.URL + "/self.git", Commit: commits[8]}, dir, true))
	require.FileExists(t, filepath.Join(dir, "m/m/m/m/m/m/m/m/a"))
}

func TestSubmoduleFailuresNameTheSubmodule(t *testing.T) {
	s := newGitServer(t, false)
	other := s.repo(t, "other")
	other.commit("x", "1")
	for name, c := range map[string]struct {
		url  string
		code model.Code
	}{
		"no commit":     {"../other.git", model.CodeRefNotFound},
		"no repository": {"../absent.git", model.CodeGitRepoNotFound},
	} {
		w := s.repo(t, "r")
		require.NoError(t, os.RemoveAll(filepath.Join(w.dir, ".gitmodules")))
		w.submodule("the/module", c.url, strings.Repeat("ab", 20))
		commit := w.commit("a", name)
		g := newGit(t, func(c *source.GitConfig) { c.Submodules = []string{"127.0.0.0/8"} }, s)
		err := g.FetchComponent(t.Context(), model.Source{URL: s.URL + "/r.git", Commit: commit}, t.TempDir(), true)
		require.Equal(t, c.code, model.CodeOf(err), "%v", err)
		require.Contains(t, model.AsError(err).Message, `Submodule "the/module": `)
	}
}

func TestGitmodulesThatAreHostile(t *testing.T) {
	s := newGitServer(t, false)
	other := s.repo(t, "other").commit("x", "1")
	url := s.URL + "/other.git"
	for name, write := range map[string]func(w workTree) string{
		"a link": func(w workTree) string {
			root := w.mktree("120000 blob " + w.blob("/etc/passwd") + "\t.gitmodules\n160000 commit " + other + "\tm\n")
			return w.commitTree(root)
		},
		"no configuration": func(w workTree) string { return w.commit(".gitmodules", "[[[\n") },
		"too large":        func(w workTree) string { return w.commit(".gitmodules", strings.Repeat("#", 2<<20)) },
		"path that leaves": func(w workTree) string {
			return w.commit(".gitmodules", "[submodule \"m\"]\n\tpath = ../m\n\turl = "+url+"\n")
		},
		"name that leaves": func(w workTree) string {
			return w.commit(".gitmodules", "[submodule \"../m\"]\n\tpath = m\n\turl = "+url+"\n")
		},
		"the git folder": func(w workTree) string {
			return w.commit(".gitmodules", "[submodule \"m\"]\n\tpath = .git/hooks\n\turl = "+url+"\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := s.repo(t, strings.ReplaceAll(name, " ", "-"))
			commit := write(w)
			g := newGit(t, func(c *source.GitConfig) { c.Submodules = []string{"*"} }, s)
			err := g.FetchComponent(t.Context(), model.Source{URL: s.URL + "/" + strings.ReplaceAll(name, " ", "-") + ".git", Commit: commit}, t.TempDir(), true)
			if name == "a link" {
				require.Equal(t, model.CodeSourceInvalid, model.CodeOf(err), "git knows it, too: %v", err)
				return
			}
			require.Equal(t, model.CodeSubmoduleDenied, model.CodeOf(err), "%v", err)
		})
	}
	// A tree that has a link and a gitlink below it under one name, which git itself never makes.
	outside := t.TempDir()
	for i, target := range []string{outside, ".", "nowhere"} {
		w := s.repo(t, fmt.Sprintf("collision%d", i))
		modules := w.blob("[submodule \"m\"]\n\tpath = d/m\n\turl = " + url + "\n")
		sub := w.mktree("160000 commit " + other + "\tm\n")
		commit := w.commitTree(w.mktree("100644 blob " + modules + "\t.gitmodules\n120000 blob " + w.blob(target) + "\td\n040000 tree " + sub + "\td\n"))
		g := newGit(t, func(c *source.GitConfig) { c.Submodules = []string{"*"} }, s)
		err := g.FetchComponent(t.Context(), model.Source{URL: fmt.Sprintf("%s/collision%d.git", s.URL, i), Commit: commit}, t.TempDir(), true)
		require.Contains(t, []model.Code{model.CodeSourceInvalid, model.CodeSubmoduleDenied}, model.CodeOf(err), "%s: %v", target, err)
	}
	require.Empty(t, tree(t, outside))
}

func TestSubmoduleListIsChecked(t *testing.T) {
	for _, entry := range []string{"https://h/x", "h/*/x", "h/x*", "h:0/x", "a b", "*.*"} {
		_, err := source.NewGit(source.GitConfig{
			Policy: newPolicy(t, source.PolicyConfig{}), CacheDir: t.TempDir(), TempDir: t.TempDir(), Submodules: []string{entry},
		})
		require.Error(t, err, entry)
	}
}

func TestLFSIsRefused(t *testing.T) {
	var hits atomic.Int32
	lfs := web(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	s := newGitServer(t, false)
	w := s.repo(t, "r")
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("a", 64) + "\nsize 12345\n"
	commit := w.commit(
		"a", "1", "assets/big.bin", pointer, "zz.bin", pointer, "fine/long", pointer+strings.Repeat("x", 2000), "fine/short", "version https",
		"fine/quoted", "> "+pointer, "fine/empty", "", ".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n", ".lfsconfig", "[lfs]\n\turl = "+lfs.URL+"\n",
	)
	g := newGit(t, nil, s, lfs)
	src := model.Source{URL: s.URL + "/r.git", Commit: commit}
	err := g.FetchComponent(t.Context(), src, t.TempDir(), true)
	require.Equal(t, model.CodeLFSNotSupported, model.CodeOf(err), "%v", err)
	require.Contains(t, model.AsError(err).Message, `"assets/big.bin"`)

	src.Subdir = "fine"
	dir := t.TempDir()
	require.NoError(t, g.FetchComponent(t.Context(), src, dir, true))
	require.Equal(t, map[string]string{
		"long": "644 " + pointer + strings.Repeat("x", 2000), "short": "644 version https", "quoted": "644 > " + pointer, "empty": "644 ",
	}, tree(t, dir))

	src.Subdir = "" // an image's context keeps them
	dir = t.TempDir()
	require.NoError(t, g.Fetch(t.Context(), src, dir))
	require.Equal(t, "644 "+pointer, tree(t, dir)["assets/big.bin"])
	require.Zero(t, hits.Load())
}
