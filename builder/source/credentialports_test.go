package source_test

import (
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/builder/source"
	"cooper/internal/model"
)

// A block without a port once gave its token to whoever listened on any port of the host, over plain HTTP, too.
func TestATokenGoesToItsPortAlone(t *testing.T) {
	const host = "git.corp.test"
	for name, tls := range map[string]bool{"http": false, "https": true} {
		t.Run(name, func(t *testing.T) {
			s := newGitServer(t, tls)
			want := s.repo(t, "r").commit("a", "1")
			_, port, err := net.SplitHostPort(s.host())
			require.NoError(t, err)
			env := []string{"PATH=" + os.Getenv("PATH")}
			if tls {
				bundle := filepath.Join(t.TempDir(), "ca.pem")
				require.NoError(t, os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600))
				env = append(env, "GIT_SSL_CAINFO="+bundle)
			}
			for pattern, sent := range map[string]bool{
				"127.0.0.1": false, "127.0.0.0/8": false, "127.0.0.1:1": false, "127.0.0.1:443": false, "127.0.0.1:80": false, host + ":" + port: false,
				"127.0.0.1:" + port: true,
			} {
				file := filepath.Join(t.TempDir(), "c.hcl")
				writeCredentials(t, file, fmt.Sprintf("host %q { token = %q }\n", pattern, canary))
				credentials, err := source.LoadCredentials(file, nil)
				require.NoError(t, err)
				seen := s.private(canary)
				g := newGit(t, func(c *source.GitConfig) { c.Credentials, c.Env = credentials, env }, s)
				src := model.Source{URL: s.URL + "/r.git", Commit: want}
				_, err = g.Resolve(t.Context(), "url", src)
				fetched := g.Fetch(t.Context(), src, t.TempDir())
				require.NotEmpty(t, seen(), pattern)
				if sent {
					require.NoError(t, err, pattern)
					require.NoError(t, fetched, pattern)
					continue
				}
				require.Equal(t, model.CodeGitAuthRequired, model.CodeOf(err), "%s: %v", pattern, err)
				require.Contains(t, model.AsError(err).Message, "add "+s.host()+" to COOPER_GIT_CREDENTIALS", pattern)
				require.Equal(t, model.CodeGitAuthRequired, model.CodeOf(fetched), "%s: %v", pattern, fetched)
				for _, token := range seen() {
					require.Empty(t, token, "%s: the token went to another port", pattern)
				}
			}
		})
	}
}

func TestASecondBlockNamesThePort(t *testing.T) {
	s := newGitServer(t, false)
	s.repo(t, "r").commit("a", "1")
	file := filepath.Join(t.TempDir(), "c.hcl")
	writeCredentials(t, file, fmt.Sprintf("host \"127.0.0.1\" { token = %q }\nhost %q { token = \"second\" }\n", canary, s.host()))
	credentials, err := source.LoadCredentials(file, nil)
	require.NoError(t, err)
	seen := s.private("second")
	g := newGit(t, func(c *source.GitConfig) { c.Credentials = credentials }, s)
	_, err = g.Resolve(t.Context(), "url", model.Source{URL: s.URL + "/r.git"})
	require.NoError(t, err)
	require.Equal(t, []string{"second"}, seen())
}

// The like for SSH: nothing connects, so that nobody is offered the key.
func TestAnSSHKeyGoesToItsPortAlone(t *testing.T) {
	const host = "git.corp.test"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	port := strconv.Itoa(int(netip.MustParseAddrPort(l.Addr().String()).Port()))
	greeted := make(chan struct{}, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			greeted <- struct{}{}
			_ = c.Close()
		}
	}()
	policy := newPolicy(t, source.PolicyConfig{Allow: []string{host}, Lookup: names(map[string]string{host: "127.0.0.1"})})
	key := keyPair(t, t.TempDir(), "k")
	ask := func(pattern string) error {
		credentials := (&sshServer{}).credentials(t, pattern, key, "x")
		g := newGit(t, func(c *source.GitConfig) { c.Policy, c.Credentials = policy, credentials })
		_, err := g.Resolve(t.Context(), "url", model.Source{URL: "ssh://git@" + host + ":" + port + "/r.git"})
		return err
	}
	for _, pattern := range []string{host, "*.corp.test", host + ":22", "*.corp.test:22", "127.0.0.1", "127.0.0.1:" + port} {
		err := ask(pattern)
		require.Equal(t, model.CodeURLSchemeNotAllowed, model.CodeOf(err), "%s: %v", pattern, err)
		require.Contains(t, model.AsError(err).Message, "no SSH key for "+host+":"+port, pattern)
	}
	require.Empty(t, greeted)
	for _, pattern := range []string{host + ":" + port, "*.corp.test:" + port} {
		require.Equal(t, model.CodeGitUnreachable, model.CodeOf(ask(pattern)), pattern) // it hangs up on everybody
	}
	require.Len(t, greeted, 2)
}
