package source_test

import (
	"bytes"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/builder/source"
)

// gitServer serves the repositories below root with the real git http-backend, and counts what it is asked for.
type gitServer struct {
	*httptest.Server
	root string

	mu       sync.Mutex
	requests []string
	wrap     func(http.Handler) http.Handler // around the backend, when set
}

func newGitServer(t *testing.T, tls bool) *gitServer {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "git", "--exec-path").Output()
	require.NoError(t, err)
	s := &gitServer{root: t.TempDir()}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(dir)), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + s.root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "HOME=" + s.root},
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r.Method+" "+r.URL.Path)
		wrap := s.wrap
		s.mu.Unlock()
		var served http.Handler = backend
		if wrap != nil {
			served = wrap(backend)
		}
		served.ServeHTTP(w, r)
	})
	if tls {
		s.Server = httptest.NewTLSServer(h)
	} else {
		s.Server = httptest.NewServer(h)
	}
	t.Cleanup(s.Close)
	return s
}

// count returns how many requests of the method there were; "" counts all.
func (s *gitServer) count(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, r := range s.requests {
		if method == "" || strings.HasPrefix(r, method+" ") {
			n++
		}
	}
	return n
}

func (s *gitServer) around(wrap func(http.Handler) http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrap = wrap
}

func (s *gitServer) host() string {
	u, _ := url.Parse(s.URL)
	return u.Host
}

// workTree is a repository that a test commits to and pushes to the server as NAME.git.
type workTree struct {
	t      *testing.T
	dir    string
	remote string
}

func (s *gitServer) repo(t *testing.T, name string) workTree {
	t.Helper()
	w := workTree{t: t, dir: t.TempDir(), remote: filepath.Join(s.root, name+".git")}
	w.git("init", "--quiet", "--bare", "--initial-branch=main", w.remote)
	w.git("init", "--quiet", "--initial-branch=main", ".")
	return w
}

const commitTime = 1_600_000_000

func (w workTree) git(args ...string) string {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), "git", args...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@a.test",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@a.test", "GIT_AUTHOR_DATE=@1600000000 +0000", "GIT_COMMITTER_DATE=@1600000000 +0000")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(w.t, err, "git %v: %s", args, stderr.String())
	return strings.TrimSpace(string(out))
}

// mktree makes a tree of the lines, which git does not check.
func (w workTree) mktree(lines string) string { return w.make(lines, "mktree", "--missing") }

// blob makes a blob of the text.
func (w workTree) blob(text string) string { return w.make(text, "hash-object", "-w", "--stdin") }

func (w workTree) make(in string, args ...string) string {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), "git", args...)
	cmd.Dir, cmd.Stdin = w.dir, strings.NewReader(in)
	out, err := cmd.Output()
	require.NoError(w.t, err)
	return strings.TrimSpace(string(out))
}

// commitTree makes a tree the tip of main.
func (w workTree) commitTree(tree string) string {
	w.t.Helper()
	commit := w.git("commit-tree", "-m", "x", tree)
	w.git("update-ref", "refs/heads/main", commit)
	w.push()
	return commit
}

// commit writes the files (path, content), commits and pushes all branches and tags, and returns the commit's ID.
func (w workTree) commit(files ...string) string {
	w.t.Helper()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(w.dir, files[i])
		require.NoError(w.t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(w.t, os.WriteFile(path, []byte(files[i+1]), 0o600))
	}
	w.git("add", "--all")
	w.git("commit", "--quiet", "--allow-empty", "-m", "x")
	w.push()
	return w.git("rev-parse", "HEAD")
}

func (w workTree) push() {
	w.t.Helper()
	w.git("push", "--quiet", "--force", w.remote, "refs/*:refs/*")
}

// newGit makes a Git that may fetch from the servers.
func newGit(t *testing.T, change func(*source.GitConfig), servers ...*gitServer) *source.Git {
	t.Helper()
	var allow []string
	for _, s := range servers {
		allow = append(allow, s.host())
	}
	c := source.GitConfig{
		Policy: newPolicy(t, source.PolicyConfig{Allow: allow}), CacheDir: filepath.Join(t.TempDir(), "cache"),
		TempDir: filepath.Join(t.TempDir(), "tmp"), AnswerTimeout: 10 * time.Second, Timeout: time.Minute, Env: os.Environ(),
	}
	if change != nil {
		change(&c)
	}
	g, err := source.NewGit(c)
	require.NoError(t, err)
	return g
}
