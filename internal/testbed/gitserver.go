package testbed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/cgi" //nolint:gosec // what is said against it was mended in Go 1.6.3
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// GitServer serves git repositories over plain HTTP with git's own http-backend. Anybody may read, nobody may push. Make
// it with ServeGit and Close it.
type GitServer struct {
	// URL is the server's, without a slash at its end; Host is host:port of it.
	URL  string
	Host string

	root   string
	server *http.Server
	done   chan struct{}
}

// ServeGit serves the bare repositories below root (an absolute path) as URL/NAME.git, on listen: 127.0.0.1:0 for a free
// port.
func ServeGit(ctx context.Context, root, listen string) (*GitServer, error) {
	dir, err := exec.CommandContext(ctx, "git", "--exec-path").Output()
	if err != nil {
		return nil, fmt.Errorf("ask git where its programs are: %w", err)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("serve git: %w", err)
	}
	env := []string{
		"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "HOME=" + root, "GIT_CONFIG_COUNT=3",
		// Repositories of any owner are served.
		"GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		// What GitHub and GitLab answer, too: fetches of any commit by its ID, and partial ones.
		"GIT_CONFIG_KEY_1=uploadpack.allowAnySHA1InWant", "GIT_CONFIG_VALUE_1=true",
		"GIT_CONFIG_KEY_2=uploadpack.allowFilter", "GIT_CONFIG_VALUE_2=true",
	}
	s := &GitServer{root: root, Host: l.Addr().String(), URL: "http://" + l.Addr().String(), done: make(chan struct{})}
	s.server = &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler:           &cgi.Handler{Path: filepath.Join(strings.TrimSpace(string(dir)), "git-http-backend"), Env: env},
	}
	go func() {
		defer close(s.done)
		_ = s.server.Serve(l) // it ends when Close is called
	}()
	return s, nil
}

// Close ends the server, and the answers that it is giving.
func (s *GitServer) Close() error {
	err := s.server.Close()
	<-s.done
	return err
}

// GitRepository is a repository that tests write to: a work tree, whose commits the server has as soon as a method here
// has returned. It is not safe for concurrent use.
type GitRepository struct {
	// URL is where the server has it; Dir is the work tree.
	URL string
	Dir string

	bare    string
	commits int64
}

// firstCommit is the time of a repository's first commit, in Unix seconds; each further one is a minute later. With the
// same files, commits have the same IDs each time.
const firstCommit = 1_600_000_000

// Repository makes the repository NAME.git, which may have folders in its name, with a branch main that has no commit.
func (s *GitServer) Repository(ctx context.Context, name string) (*GitRepository, error) {
	dir := filepath.Join(s.root, ".trees", name) // no repository, so that the backend does not serve it
	r := &GitRepository{URL: s.URL + "/" + name + ".git", Dir: dir, bare: filepath.Join(s.root, name+".git")}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // tests of other users read it, too
		return nil, fmt.Errorf("make a work tree: %w", err)
	}
	_, err := r.Git(ctx, "init", "--quiet", "--bare", "--initial-branch=main", r.bare)
	if err == nil {
		_, err = r.Git(ctx, "init", "--quiet", "--initial-branch=main", ".")
	}
	return r, err
}

// Commit writes the files, by path, on top of what is there, commits everything and returns the commit's ID. A file whose
// content begins with "#!" may be executed; one with the content Gone is removed.
func (r *GitRepository) Commit(ctx context.Context, files map[string]string) (string, error) {
	for name, content := range files {
		if err := r.write(name, content); err != nil {
			return "", fmt.Errorf("write %s: %w", name, err)
		}
	}
	if _, err := r.Git(ctx, "add", "--all", "--force"); err != nil {
		return "", err
	}
	r.commits++
	if _, err := r.Git(ctx, "commit", "--quiet", "--allow-empty", "--message", fmt.Sprintf("Commit %d", r.commits)); err != nil {
		return "", err
	}
	id, err := r.Git(ctx, "rev-parse", "HEAD")
	return id, errors.Join(err, r.Publish(ctx))
}

// Gone is the content of a file that a commit removes.
const Gone = "\x00gone"

func (r *GitRepository) write(name, content string) error {
	file := filepath.Join(r.Dir, filepath.FromSlash(name))
	if content == Gone {
		return os.Remove(file)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // as above
		return err
	}
	mode := os.FileMode(0o644)
	if strings.HasPrefix(content, "#!") {
		mode = 0o755
	}
	if err := os.WriteFile(file, []byte(content), mode); err != nil {
		return err
	}
	return os.Chmod(file, mode)
}

// Tag makes the tag, or moves it, to the newest commit.
func (r *GitRepository) Tag(ctx context.Context, name string) error {
	if _, err := r.Git(ctx, "tag", "--force", "--", name); err != nil {
		return err
	}
	return r.Publish(ctx)
}

// Branch makes the branch, or moves it, to the newest commit; the commits that follow are on it.
func (r *GitRepository) Branch(ctx context.Context, name string) error {
	if _, err := r.Git(ctx, "checkout", "--quiet", "-B", name); err != nil {
		return err
	}
	return r.Publish(ctx)
}

// Publish gives the server all refs as they are in the work tree, after use of Git.
func (r *GitRepository) Publish(ctx context.Context) error {
	_, err := r.Git(ctx, "push", "--quiet", "--force", "--prune", r.bare, "refs/*:refs/*")
	return err
}

// Git runs git in the work tree, with no settings of the user's or the machine's, and returns its output without the
// white space at its end.
func (r *GitRepository) Git(ctx context.Context, args ...string) (string, error) {
	date := fmt.Sprintf("@%d +0000", firstCommit+60*max(r.commits-1, 0))
	cmd := exec.CommandContext(ctx, "git", args...) //nolint:gosec // tests say what
	cmd.Dir = r.Dir
	cmd.Env = []string{
		searchPath, "HOME=" + r.Dir, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=A Tester", "GIT_AUTHOR_EMAIL=tester@example.com", "GIT_AUTHOR_DATE=" + date,
		"GIT_COMMITTER_NAME=A Tester", "GIT_COMMITTER_EMAIL=tester@example.com", "GIT_COMMITTER_DATE=" + date,
	}
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return strings.TrimSpace(string(out)), nil
}
