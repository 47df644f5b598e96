package source_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/builder/source"
	"cooper/internal/model"
)

// tree lists what is below dir: its kind, and a file's content or a link's target.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		if err != nil || rel == "." {
			return err
		}
		st, err := d.Info()
		require.NoError(t, err)
		require.Equal(t, int64(commitTime), st.ModTime().Unix(), "time of %s", rel)
		switch {
		case d.IsDir():
			found[rel] = "dir"
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			require.NoError(t, err)
			found[rel] = "-> " + to
		default:
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			found[rel] = fmt.Sprintf("%o %s", st.Mode().Perm(), b)
		}
		return nil
	}))
	return found
}

func TestFetchGivesTheTreeAsItIs(t *testing.T) {
	s := newGitServer(t, false)
	w := s.repo(t, "r")
	marker := filepath.Join(t.TempDir(), "PWNED")
	for link, to := range map[string]string{"evil": "/etc/passwd", "loop": ".", "up": "../../..", "sub/out": "/etc"} {
		require.NoError(t, os.MkdirAll(filepath.Join(w.dir, "sub"), 0o755))
		require.NoError(t, os.Symlink(to, filepath.Join(w.dir, link)))
	}
	require.NoError(t, os.WriteFile(filepath.Join(w.dir, "run.sh"), []byte("#!/bin/sh\n"), 0o755))
	require.NoError(t, os.Mkdir(filepath.Join(w.dir, "module"), 0o755))
	w.git("update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",module")
	commit := w.commit(
		"sub/deep/f", "deep", "long/"+strings.Repeat("n", 200)+"/"+strings.Repeat("m", 200), "long", "name\nwith newline", "x", "*", "star",
		".gitattributes", "hidden export-ignore\nversion export-subst\n*.lfs filter=lfs\n* filter=pwn\n", "hidden", "here", "version", "$Format:%H$",
		"big.lfs", "version https://git-lfs.github.com/spec/v1\n", ".lfsconfig", "[lfs]\n\turl = http://127.0.0.1:1/\n",
		".gitmodules", "[submodule \"module\"]\n\tpath = module\n\turl = file:///etc\n\tupdate = !touch "+marker+"\n",
	)
	g := newGit(t, nil, s)
	dir := t.TempDir()
	require.NoError(t, g.Fetch(t.Context(), model.Source{URL: s.URL + "/r.git", Commit: commit}, dir))
	got := tree(t, dir)
	for path, want := range map[string]string{
		"evil": "-> /etc/passwd", "loop": "-> .", "up": "-> ../../..", "sub/out": "-> /etc", "run.sh": "755 #!/bin/sh\n", "module": "dir",
		"sub/deep/f": "644 deep", "hidden": "644 here", "version": "644 $Format:%H$", "name\nwith newline": "644 x", "*": "644 star",
		"big.lfs": "644 version https://git-lfs.github.com/spec/v1\n", "long/" + strings.Repeat("n", 200) + "/" + strings.Repeat("m", 200): "644 long",
	} {
		require.Equal(t, want, got[path], path)
	}
	require.NotContains(t, got, ".git")
	require.NoFileExists(t, marker)

	sub := t.TempDir()
	require.NoError(t, g.Fetch(t.Context(), model.Source{URL: s.URL + "/r.git", Commit: commit, Subdir: "sub"}, sub))
	require.Equal(t, map[string]string{"out": "-> /etc", "deep": "dir", "deep/f": "644 deep"}, tree(t, sub))
	for _, subdir := range []string{"absent", "run.sh", "evil", "loop", "su", "module", "..", "sub/../../x"} {
		err := g.Fetch(t.Context(), model.Source{URL: s.URL + "/r.git", Commit: commit, Subdir: subdir}, t.TempDir())
		require.Equal(t, model.CodeSourceInvalid, model.CodeOf(err), "%s: %v", subdir, err)
	}
}

func TestRefsThatAreOptionsRunNothing(t *testing.T) {
	s := newGitServer(t, false)
	w := s.repo(t, "r")
	commit := w.commit("a", "1")
	marker := filepath.Join(t.TempDir(), "PWNED")
	evil := "--upload-pack=touch${IFS}" + marker
	w.git("update-ref", "refs/heads/"+evil, commit)
	w.push()
	g := newGit(t, nil, s)
	for _, ref := range []string{evil, "--upload-pack=touch " + marker + "; git-upload-pack", "-x"} {
		_, err := g.Resolve(t.Context(), "url", model.Source{URL: s.URL + "/r.git", Ref: ref})
		require.Equal(t, model.CodeRefInvalid, model.CodeOf(err))
		require.Error(t, g.Fetch(t.Context(), model.Source{URL: s.URL + "/r.git", Commit: ref}, t.TempDir()))
	}
	// Under its full name it is an ordinary branch, and no more than that.
	got, err := g.Resolve(t.Context(), "url", model.Source{URL: s.URL + "/r.git", Ref: "refs/heads/" + evil})
	require.NoError(t, err)
	require.NoError(t, g.Fetch(t.Context(), got, t.TempDir()))
	require.NoFileExists(t, marker)
}

func TestFetchIsIncrementalAndHealsItsCache(t *testing.T) {
	s := newGitServer(t, false)
	w := s.repo(t, "r")
	first := w.commit("a", "1", "d/b", "b")
	second := w.commit("a", "2")
	var cache string
	g := newGit(t, func(c *source.GitConfig) { cache = c.CacheDir }, s)
	url := s.URL + "/r.git"
	for _, commit := range []string{first, second, first} {
		dir := t.TempDir()
		require.NoError(t, g.Fetch(t.Context(), model.Source{URL: url, Commit: commit}, dir))
		want := map[string]string{first: "644 1", second: "644 2"}[commit]
		require.Equal(t, map[string]string{"a": want, "d": "dir", "d/b": "644 b"}, tree(t, dir))
	}
	requests := s.count("POST")
	require.NoError(t, g.Fetch(t.Context(), model.Source{URL: url, Commit: second}, t.TempDir()))
	require.Equal(t, requests, s.count("POST"), "a commit that is there is not fetched again")

	repos, err := filepath.Glob(filepath.Join(cache, "*.git"))
	require.NoError(t, err)
	require.Len(t, repos, 1)
	damage := map[string]func(){
		"packs truncated": func() {
			packs, err := filepath.Glob(filepath.Join(repos[0], "objects", "pack", "*"))
			require.NoError(t, err)
			require.NotEmpty(t, packs)
			for _, p := range packs {
				require.NoError(t, os.Chmod(p, 0o600))
				require.NoError(t, os.Truncate(p, 20))
			}
		},
		"HEAD gone":    func() { require.NoError(t, os.Remove(filepath.Join(repos[0], "HEAD"))) },
		"objects gone": func() { require.NoError(t, os.RemoveAll(filepath.Join(repos[0], "objects"))) },
		"config broken": func() {
			require.NoError(t, os.WriteFile(filepath.Join(repos[0], "config"), []byte("[[["), 0o600))
		},
	}
	for name, breakIt := range damage {
		t.Run(name, func(t *testing.T) {
			breakIt()
			dir := t.TempDir()
			require.NoError(t, g.Fetch(t.Context(), model.Source{URL: url, Commit: first}, dir))
			require.Equal(t, "644 1", tree(t, dir)["a"])
		})
	}
	require.NoError(t, g.Prune(t.Context(), time.Hour))
	require.DirExists(t, repos[0])
	require.NoError(t, g.Prune(t.Context(), -time.Hour))
	require.NoDirExists(t, repos[0])
}

func TestFetchFromServersThatGiveOnlyWhatTheyAdvertise(t *testing.T) {
	s := newGitServer(t, false)
	w := s.repo(t, "r")
	old := w.commit("a", "1")
	tip := w.commit("a", "2")
	// Version 0 of the protocol is the one that refuses other commits.
	s.around(func(backend http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			r.Header.Del("Git-Protocol")
			backend.ServeHTTP(rw, r)
		})
	})
	url := s.URL + "/r.git"
	for name, src := range map[string]model.Source{
		"tip by branch": {URL: url, Ref: "main", Commit: tip}, "tip by default": {URL: url, Commit: tip}, "tip by ID": {URL: url, Ref: tip, Commit: tip},
		"branch moved on": {URL: url, Ref: "main", Commit: old}, "default moved on": {URL: url, Commit: old}, "old by ID": {URL: url, Ref: old, Commit: old},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, newGit(t, nil, s).Fetch(t.Context(), src, dir))
			require.Equal(t, map[string]string{old: "644 1", tip: "644 2"}[src.Commit], tree(t, dir)["a"])
		})
	}
	absent := strings.Repeat("ab", 20)
	for _, src := range []model.Source{{URL: url, Ref: absent, Commit: absent}, {URL: url, Ref: "main", Commit: absent}} {
		err := newGit(t, nil, s).Fetch(t.Context(), src, t.TempDir())
		require.Equal(t, model.CodeRefNotFound, model.CodeOf(err), "%v", err)
	}
}

func TestFetchRefusesWhatIsNoCommit(t *testing.T) {
	s := newGitServer(t, false)
	w := s.repo(t, "r")
	w.commit("a", "1")
	w.git("tag", "-a", "-m", "x", "v1")
	w.push()
	g := newGit(t, nil, s)
	for _, object := range []string{strings.Repeat("ab", 20), w.git("rev-parse", "HEAD^{tree}"), w.git("rev-parse", "HEAD:a"), w.git("rev-parse", "v1"), "main", ""} {
		err := g.Fetch(t.Context(), model.Source{URL: s.URL + "/r.git", Ref: object, Commit: object}, t.TempDir())
		require.Equal(t, model.CodeRefNotFound, model.CodeOf(err), "%s: %v", object, err)
	}
}

func TestFetchLimits(t *testing.T) {
	s := newGitServer(t, false)
	bomb := s.repo(t, "bomb") // 24 MiB of zeros in a pack of some 24 KiB
	bombed := bomb.commit("zeros", string(make([]byte, 24<<20)))
	big := s.repo(t, "big")
	noise := make([]byte, 6<<20)
	_, _ = rand.Read(noise)
	bigged := big.commit("noise", string(noise))
	many := s.repo(t, "many")
	var files []string
	for i := range 50 {
		files = append(files, fmt.Sprintf("f%d", i), "")
	}
	manied := many.commit(files...)
	cases := map[string]struct {
		repo, commit string
		bytes        int64
		files        int
		code         model.Code
	}{
		"unfolds too large": {"bomb", bombed, 8 << 20, 0, model.CodeRepoTooLarge},
		"too large":         {"big", bigged, 2 << 20, 0, model.CodeRepoTooLarge},
		"fits":              {"big", bigged, 8 << 20, 1, ""},
		"too many files":    {"many", manied, 0, 49, model.CodeRepoTooManyFiles},
		"as many as may be": {"many", manied, 0, 50, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			g := newGit(t, func(gc *source.GitConfig) { gc.MaxBytes, gc.MaxFiles = c.bytes, c.files }, s)
			err := g.Fetch(t.Context(), model.Source{URL: s.URL + "/" + c.repo + ".git", Commit: c.commit}, t.TempDir())
			require.Equal(t, c.code, model.CodeOf(err), "%v", err)
		})
	}
}

func TestADownloadWithoutEndIsStopped(t *testing.T) {
	s := newGitServer(t, false)
	commit := s.repo(t, "r").commit("a", "1")
	s.around(func(backend http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				endlessPack(w, r)
				return
			}
			r.Header.Del("Git-Protocol")
			backend.ServeHTTP(w, r)
		})
	})
	g := newGit(t, func(c *source.GitConfig) { c.MaxBytes = 8 << 20 }, s)
	err := g.Fetch(t.Context(), model.Source{URL: s.URL + "/r.git", Commit: commit}, t.TempDir())
	require.Equal(t, model.CodeRepoTooLarge, model.CodeOf(err), "%v", err)
}

// endlessPack answers a fetch with a pack whose one blob, stored without compression, never ends.
func endlessPack(w http.ResponseWriter, r *http.Request) {
	asked, err := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
	send := func(b []byte) error {
		_, err := fmt.Fprintf(w, "%04x\x01%s", len(b)+5, b)
		return err
	}
	shallow := "shallow " + strings.Repeat("1", 40)
	_, _ = fmt.Fprintf(w, "%04x%s0000", len(shallow)+4, shallow)
	if err != nil || !bytes.Contains(asked, []byte("0009done")) {
		return // the client has more to say
	}
	_, _ = fmt.Fprint(w, "0008NAK\n")
	// A pack of one object: a blob of 2^40 bytes; a zlib stream of stored blocks.
	head := append([]byte("PACK\x00\x00\x00\x02\x00\x00\x00\x01"), 0xb0, 0x80, 0x80, 0x80, 0x80, 0x40, 0x78, 0x01)
	block := append([]byte{0x00, 0x00, 0xf0, 0xff, 0x0f}, bytes.Repeat([]byte("x"), 0xf000)...)
	for err = send(head); err == nil && r.Context().Err() == nil; {
		err = send(block)
	}
}

func TestFetchEndsWithItsContext(t *testing.T) {
	s := newGitServer(t, false)
	commit := s.repo(t, "r").commit("a", "1")
	reached := make(chan struct{})
	var once sync.Once
	s.around(func(backend http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				_, _ = io.Copy(io.Discard, r.Body) // else the server does not see its client go
				once.Do(func() { close(reached) })
				<-r.Context().Done()
				return
			}
			backend.ServeHTTP(w, r)
		})
	})
	g := newGit(t, nil, s)
	gone := errors.New("build was canceled")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-reached
		cancel(gone)
	}()
	require.ErrorIs(t, g.Fetch(ctx, model.Source{URL: s.URL + "/r.git", Commit: commit}, t.TempDir()), gone)

	impatient := newGit(t, func(c *source.GitConfig) { c.Timeout = time.Second }, s)
	err := impatient.Fetch(t.Context(), model.Source{URL: s.URL + "/r.git", Commit: commit}, t.TempDir())
	require.Equal(t, model.CodeGitTimeout, model.CodeOf(err), "%v", err)
	slow := newGit(t, func(c *source.GitConfig) { c.AnswerTimeout = time.Second }, s)
	err = slow.Fetch(t.Context(), model.Source{URL: s.URL + "/r.git", Commit: commit}, t.TempDir())
	require.Equal(t, model.CodeGitTimeout, model.CodeOf(err), "%v", err)
}

func TestConcurrentFetches(t *testing.T) {
	s := newGitServer(t, false)
	w := s.repo(t, "r")
	commits := []string{w.commit("a", "0"), w.commit("a", "1"), w.commit("a", "2")}
	g := newGit(t, nil, s)
	var wg sync.WaitGroup
	for i := range 9 {
		dir := t.TempDir()
		wg.Go(func() {
			if err := g.Fetch(t.Context(), model.Source{URL: s.URL + "/r.git", Commit: commits[i%3]}, dir); err != nil {
				t.Errorf("fetch %d: %v", i, err)
				return
			}
			if b, _ := os.ReadFile(filepath.Join(dir, "a")); string(b) != fmt.Sprint(i%3) {
				t.Errorf("fetch %d got %q", i, b)
			}
		})
	}
	wg.Wait()
}

// TestFetchesAtOnce counts the fetches that reach the server together: what git may take is taken a few times only.
func TestFetchesAtOnce(t *testing.T) {
	s := newGitServer(t, false)
	var sources []model.Source
	for i := range 6 {
		name := fmt.Sprintf("r%d", i)
		sources = append(sources, model.Source{URL: s.URL + "/" + name + ".git", Commit: s.repo(t, name).commit("a", name)})
	}
	var now, most atomic.Int32
	both := make(chan struct{})
	s.around(func(backend http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				n := now.Add(1)
				defer now.Add(-1)
				if most.CompareAndSwap(n-1, n) && n == 2 {
					close(both)
				}
				select {
				case <-both:
				case <-r.Context().Done():
				}
			}
			backend.ServeHTTP(w, r)
		})
	})
	g := newGit(t, func(c *source.GitConfig) { c.MaxFetches = 4 }, s) // two from one host
	var wg sync.WaitGroup
	errs := make([]error, len(sources))
	for i, src := range sources {
		dir := t.TempDir()
		wg.Go(func() { errs[i] = g.Fetch(t.Context(), src, dir) })
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	require.Equal(t, int32(2), most.Load())
}

// TestFetchFromAServerThatSendsRubbish: what a server sends is its fault, not this one's.
func TestFetchFromAServerThatSendsRubbish(t *testing.T) {
	for name, answer := range map[string]string{
		"no packets": "rubbish", "an end too early": "0008NAK\n", "a broken pack": "0008NAK\nPACK\x00\x00\x00\x02\x00\x00\x00\x01rubbish rubbish rubbish",
	} {
		t.Run(name, func(t *testing.T) {
			s := newGitServer(t, false)
			w := s.repo(t, "r")
			commit := w.commit("a", "1")
			s.around(func(backend http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method != http.MethodPost {
						backend.ServeHTTP(w, r)
						return
					}
					w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
					_, _ = w.Write([]byte(answer))
				})
			})
			err := newGit(t, nil, s).Fetch(t.Context(), model.Source{URL: s.URL + "/r.git", Commit: commit}, t.TempDir())
			require.Equal(t, model.CodeGitUnreachable, model.CodeOf(err), "%v", err)
		})
	}
}

// TestFetchThatFailsHere: what this machine lacks is told to its administrator, not to the server's.
func TestFetchThatFailsHere(t *testing.T) {
	git, err := exec.LookPath("git")
	require.NoError(t, err)
	s := newGitServer(t, false)
	src := model.Source{URL: s.URL + "/r.git", Commit: s.repo(t, "r").commit("a", "1")}
	path := os.Getenv("PATH")
	for _, end := range []string{
		"echo 'fatal: Out of memory, malloc failed (tried to allocate 1048576 bytes)' >&2; exit 128", "kill -9 $$",
		"echo 'error: unable to create temporary file: Permission denied' >&2; exit 128",
	} {
		dir := t.TempDir()
		script := "#!/bin/sh\ncase \" $* \" in *' fetch '*) " + end + ";; esac\nexec " + git + " \"$@\"\n"
		require.NoError(t, os.WriteFile(filepath.Join(dir, "git"), []byte(script), 0o755))
		t.Setenv("PATH", dir+":"+path)
		err := newGit(t, nil, s).Fetch(t.Context(), src, t.TempDir())
		require.Equal(t, model.CodeInternal, model.CodeOf(err), "%s: %v", end, err)
	}
}
