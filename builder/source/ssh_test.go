package source_test

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/builder/source"
	"cooper/internal/model"
)

// sshServer is a real sshd on loopback, of the user that runs the test.
type sshServer struct {
	port      int
	user      string
	key       string // that it lets in
	stranger  string // another key
	knownHost string // the key of its own, as known_hosts has it
}

func newSSHServer(t *testing.T) *sshServer {
	t.Helper()
	dir := t.TempDir()
	me, err := user.Current()
	require.NoError(t, err)
	s := &sshServer{user: me.Username, key: keyPair(t, dir, "client"), stranger: keyPair(t, dir, "stranger")}
	host := keyPair(t, dir, "host")
	public, err := os.ReadFile(host + ".pub")
	require.NoError(t, err)
	s.knownHost = strings.Join(strings.Fields(string(public))[:2], " ")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.port = l.Addr().(*net.TCPAddr).Port
	require.NoError(t, l.Close())
	config := filepath.Join(dir, "sshd_config")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil,
		"Port %d\nListenAddress 127.0.0.1\nHostKey %s\nAuthorizedKeysFile %s.pub\nPidFile none\nUsePAM no\nStrictModes no\n"+
			"PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nAllowUsers %s\n", s.port, host, s.key, s.user), 0o600))
	if os.Getuid() == 0 {
		require.NoError(t, os.MkdirAll("/run/sshd", 0o755)) // where sshd locks itself up when root runs it
	}
	cmd := exec.CommandContext(t.Context(), "/usr/sbin/sshd", "-D", "-e", "-f", config)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start(), "openssh-server must be installed")
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	listening := make(chan string, 1)
	go func() {
		said := ""
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			said += lines.Text() + "\n"
			if strings.Contains(lines.Text(), "listening on") {
				listening <- ""
			}
		}
		select {
		case listening <- said:
		default:
		}
	}()
	select {
	case failure := <-listening:
		require.Empty(t, failure)
	case <-time.After(20 * time.Second):
		t.Fatal("sshd does not listen")
	}
	return s
}

func keyPair(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	out, err := exec.CommandContext(t.Context(), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", path).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// credentials writes a file with the key, for a host whose known key is given.
func (s *sshServer) credentials(t *testing.T, host, key, known string) *source.Credentials {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "known_hosts"), []byte(known+"\n"), 0o600))
	file := filepath.Join(dir, "c.hcl")
	writeCredentials(t, file, fmt.Sprintf("host %q {\n  ssh_key = %q\n  known_hosts = %q\n}\n", host, key, filepath.Join(dir, "known_hosts")))
	c, err := source.LoadCredentials(file, nil)
	require.NoError(t, err)
	return c
}

func TestSSH(t *testing.T) {
	s := newSSHServer(t)
	repos := newGitServer(t, false) // for its folder
	w := repos.repo(t, "r")
	w.filtering()
	first := w.commit("a", "1", "sub/b", "b")
	w.git("tag", "-a", "-m", "x", "v1")
	second := w.commit("a", "2")
	repos.repo(t, "empty")
	module := repos.repo(t, "with module")
	require.NoError(t, os.Mkdir(filepath.Join(module.dir, "m"), 0o755))
	module.git("update-index", "--add", "--cacheinfo", "160000,"+first+",m")
	moduled := module.commit(".gitmodules", "[submodule \"m\"]\n\tpath = m\n\turl = ../r.git\n")

	// Only what the policy resolved knows the name: the client goes to the checked address.
	const host = "git.corp.test"
	name := "[" + host + "]:" + strconv.Itoa(s.port)
	policy := newPolicy(t, source.PolicyConfig{Allow: []string{host + ":" + strconv.Itoa(s.port)}, Lookup: names(map[string]string{host: "127.0.0.1"})})
	log, logged := debugLog()
	open := func(key, known string) *source.Git {
		return newGit(t, func(c *source.GitConfig) {
			c.Policy, c.Log, c.Credentials, c.Submodules = policy, log, s.credentials(t, host+":"+strconv.Itoa(s.port), key, known), []string{host + repos.root + "/*"}
		})
	}
	base := fmt.Sprintf("ssh://%s@%s:%d%s", s.user, host, s.port, repos.root)
	g := open(s.key, name+" "+s.knownHost)
	for ref, want := range map[string]model.Source{
		"": {Commit: second, Kind: model.RefBranch}, "v1": {Commit: first, Kind: model.RefTag}, first[:8]: {Commit: first, Kind: model.RefCommit},
	} {
		parsed, err := source.ParseRepository("url", base+"/r.git/")
		require.NoError(t, err)
		parsed.Ref = ref
		got, err := g.Resolve(t.Context(), "url", parsed)
		require.NoError(t, err, ref)
		require.Equal(t, model.Source{URL: base + "/r.git", Ref: ref, Commit: want.Commit, Kind: want.Kind}, got)
		if ref == "v1" {
			tr, err := g.Tree(t.Context(), got)
			require.NoError(t, err)
			require.Equal(t, "b", string(readTree(t, tr, "sub/b")))
		}
		dir := t.TempDir()
		require.NoError(t, g.FetchComponent(t.Context(), got, dir, true))
		require.Equal(t, map[string]string{first: "644 1", second: "644 2"}[got.Commit], tree(t, dir)["a"])
	}
	dir := t.TempDir()
	require.NoError(t, g.FetchComponent(t.Context(), model.Source{URL: base + "/with%20module.git", Commit: moduled}, dir, true))
	require.Equal(t, "644 b", tree(t, dir)["m/sub/b"])

	other := strings.Join(strings.Fields(readFile(t, s.stranger+".pub"))[:2], " ")
	for what, c := range map[string]struct {
		git  *source.Git
		url  string
		code model.Code
	}{
		"no such repository":   {g, base + "/absent.git", model.CodeGitRepoNotFound},
		"empty":                {g, base + "/empty.git", model.CodeRepoEmpty},
		"another key":          {open(s.stranger, name+" "+s.knownHost), base + "/r.git", model.CodeGitAuthRequired},
		"unknown host key":     {open(s.key, "else.test "+s.knownHost), base + "/r.git", model.CodeGitTLS},
		"changed host key":     {open(s.key, name+" "+other), base + "/r.git", model.CodeGitTLS},
		"no credentials":       {newGit(t, func(c *source.GitConfig) { c.Policy = policy }), base + "/r.git", model.CodeURLSchemeNotAllowed},
		"another user":         {g, strings.Replace(base, s.user+"@", "nobody-here@", 1) + "/r.git", model.CodeGitAuthRequired},
		"shell in the path":    {g, base + "/$(touch pwned)';touch pwned;'.git", model.CodeURLInvalid},
		"the same, encoded":    {g, base + "/$(touch%20" + repos.root + "/pwned)';touch%20" + repos.root + "/pwned;'.git", model.CodeGitRepoNotFound},
		"nobody at the port":   {g, fmt.Sprintf("ssh://git@%s:1/r", host), model.CodeURLHostDenied},
		"an option for a host": {g, "ssh://-oProxyCommand=touch${IFS}" + repos.root + "/pwned/y", model.CodeURLInvalid},
	} {
		_, err := c.git.Resolve(t.Context(), "url", model.Source{URL: c.url})
		require.Equal(t, c.code, model.CodeOf(err), "%s: %v", what, err)
		require.Equal(t, "url", model.AsError(err).Field, what)
	}
	require.NoFileExists(t, filepath.Join(repos.root, "pwned"))
	require.NotContains(t, logged.String(), s.key)
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

func TestSSHAsksThePolicyFirst(t *testing.T) {
	var hits atomic.Int32
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			hits.Add(1)
			_ = c.Close()
		}
	}()
	port := l.Addr().(*net.TCPAddr).Port
	s := &sshServer{}
	key := keyPair(t, t.TempDir(), "k")
	policy := newPolicy(t, source.PolicyConfig{OwnPorts: []int{2222}, Lookup: names(map[string]string{
		"inner.test": "127.0.0.1", "pub.test": "140.82.121.3", "two.test": "140.82.121.3 127.0.0.1",
	})})
	for host, code := range map[string]model.Code{
		"127.0.0.1": model.CodeURLHostDenied, "inner.test": model.CodeURLHostDenied, "two.test": model.CodeURLHostDenied, "localhost": model.CodeURLHostDenied,
	} {
		g := newGit(t, func(c *source.GitConfig) { c.Policy, c.Credentials = policy, s.credentials(t, host, key, "x") })
		_, err := g.Resolve(t.Context(), "url", model.Source{URL: fmt.Sprintf("ssh://git@%s:%d/r", host, port)})
		require.Equal(t, code, model.CodeOf(err), "%s: %v", host, err)
		_, err = g.Resolve(t.Context(), "url", model.Source{URL: "git@" + host + ":r"})
		require.Equal(t, code, model.CodeOf(err), "%s: %v", host, err)
	}
	g := newGit(t, func(c *source.GitConfig) { c.Policy, c.Credentials = policy, s.credentials(t, "pub.test", key, "x") })
	for _, port := range []string{"23", "25", "6379", "2222", "80"} {
		_, err := g.Resolve(t.Context(), "url", model.Source{URL: "ssh://pub.test:" + port + "/r"})
		require.Equal(t, model.CodeURLPortDenied, model.CodeOf(err), port)
	}
	require.Zero(t, hits.Load())
}

func TestSSHThatNeverAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	s := &sshServer{}
	host := l.Addr().String()
	g := newGit(t, func(c *source.GitConfig) {
		c.Policy = newPolicy(t, source.PolicyConfig{Allow: []string{host}})
		c.Credentials, c.AnswerTimeout = s.credentials(t, host, keyPair(t, t.TempDir(), "k"), "x"), time.Second
	})
	_, err = g.Resolve(t.Context(), "url", model.Source{URL: "ssh://git@" + host + "/r"})
	require.Equal(t, model.CodeGitTimeout, model.CodeOf(err), "%v", err)
	require.NoError(t, l.Close())
	_, err = g.Resolve(t.Context(), "url", model.Source{URL: "ssh://git@" + host + "/r"})
	require.Equal(t, model.CodeGitUnreachable, model.CodeOf(err), "%v", err)
}

func TestSSHGoesToAnAddressThatAnswers(t *testing.T) {
	s := newSSHServer(t)
	repos := newGitServer(t, false)
	want := repos.repo(t, "r").commit("a", "1")
	port := strconv.Itoa(s.port)
	policy := newPolicy(t, source.PolicyConfig{Allow: []string{"two.test:" + port}, Lookup: names(map[string]string{"two.test": netip.MustParseAddr("127.0.0.2").String() + " 127.0.0.1"})})
	g := newGit(t, func(c *source.GitConfig) {
		c.Policy, c.Credentials = policy, s.credentials(t, "two.test:"+port, s.key, "[two.test]:"+port+" "+s.knownHost)
	})
	got, err := g.Resolve(t.Context(), "url", model.Source{URL: "ssh://" + s.user + "@two.test:" + port + repos.root + "/r.git"})
	require.NoError(t, err)
	require.Equal(t, want, got.Commit)
	require.NoError(t, g.Fetch(t.Context(), got, t.TempDir()))
}
