package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// GitConfig says how repositories are fetched. Zero limits get defaults.
type GitConfig struct {
	Policy   *Policy
	CacheDir string // bare repositories, one a URL, kept so that the next fetch is small; of one process
	TempDir  string // short-lived files
	// Timeout bounds each Resolve and Fetch; 10 minutes by default.
	Timeout time.Duration
	// AnswerTimeout bounds how long a server may take to answer, or stand still on the way; 20 seconds by default.
	AnswerTimeout time.Duration
	MaxBytes      int64 // of a tree, and of what is downloaded for it; 4 GiB by default
	MaxFiles      int   // of a tree, folders and links among them; 500,000 by default
	// MaxFetches is how many fetches run at once, half of them at most from one host. In each, git may take FetchMemory. 4 by
	// default.
	MaxFetches int
	// Env is the environment of which git gets PATH and where the trusted certificates are (SSL_CERT_FILE,
	// SSL_CERT_DIR, GIT_SSL_CAINFO, GIT_SSL_CAPATH), and nothing else.
	Env []string
	// Credentials are for private repositories and for SSH; nil means none.
	Credentials *Credentials
	// Submodules lists from where a component's submodules are fetched, as host, host:port, *.domain, address or network,
	// each with a path or, ending in /*, all paths below one behind it. * is every host that Policy allows. Empty: none.
	Submodules []string
	Log        *slog.Logger
}

func (c *GitConfig) setDefaults() {
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Minute
	}
	if c.AnswerTimeout <= 0 {
		c.AnswerTimeout = 20 * time.Second
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = 4 << 30
	}
	if c.MaxFiles <= 0 {
		c.MaxFiles = 500_000
	}
	if c.MaxFetches <= 0 {
		c.MaxFetches = 4
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Git resolves refs and fetches trees over HTTPS and SSH. It is safe for concurrent use.
type Git struct {
	config GitConfig
	binary string
	home   string // empty, so that git finds no configuration of anybody
	env    []string
	trust  trust
	locks  keyedLock
	turns  *turns // of fetches

	ssh        string // the program; empty when it is not installed
	submodules []placeRule
}

// NewGit makes the folders and checks that git is installed and new enough to be pinned to an address.
func NewGit(c GitConfig) (*Git, error) {
	c.setDefaults()
	if c.Policy == nil {
		return nil, errors.New("source: a policy is required")
	}
	home := filepath.Join(c.TempDir, "git-home")
	for _, dir := range []string{c.CacheDir, home} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make a folder for git: %w", err)
		}
	}
	binary, err := exec.LookPath("git")
	if err != nil {
		return nil, fmt.Errorf("git is not installed or not on PATH: %w", err)
	}
	t, err := loadTrust(c.Env)
	if err != nil {
		return nil, err
	}
	g := &Git{config: c, binary: binary, home: home, trust: t, turns: newTurns(c.MaxFetches)}
	if g.ssh, err = exec.LookPath("ssh"); err != nil {
		c.Log.Info("ssh is not installed: git repositories are fetched over HTTPS only")
	}
	if g.submodules, err = parsePlaces(c.Submodules); err != nil {
		return nil, err
	}
	g.env = g.environment()
	return g, g.checkVersion()
}

// checkVersion refuses a git that does not know http.curloptResolve: it would look names up again, and an answer that
// nobody checked would be connected to.
func (g *Git) checkVersion() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := g.output(ctx, "version")
	if err != nil {
		return fmt.Errorf("ask git for its version: %w", err)
	}
	m := regexp.MustCompile(`(\d+)\.(\d+)`).FindStringSubmatch(out)
	if m == nil {
		return fmt.Errorf("git says %q instead of its version", out)
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	if major < 2 || major == 2 && minor < 37 {
		return fmt.Errorf("git %s is too old: 2.37 or newer is needed", m[0])
	}
	return nil
}
