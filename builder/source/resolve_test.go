package source_test

import (
	"context"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/builder/source"
	"cooper/internal/model"
)

func TestResolve(t *testing.T) {
	s := newGitServer(t, false)
	w := s.repo(t, "r")
	first := w.commit("a", "1")
	w.git("tag", "-a", "-m", "x", "v1") // annotated: must be peeled
	w.git("tag", "same")
	w.git("branch", "same")
	w.git("branch", "both")
	w.git("branch", "feature/😀")
	second := w.commit("a", "2")
	w.git("tag", "both")
	w.git("update-ref", "refs/pull/7/head", first)
	w.push()
	s.repo(t, "empty")
	noDefault := s.repo(t, "nodefault")
	noDefault.git("checkout", "--quiet", "-b", "other")
	noDefault.commit("a", "1")
	g := newGit(t, nil, s)

	url := s.URL + "/r.git"
	for ref, want := range map[string]struct {
		commit string
		kind   model.RefKind
	}{
		"": {second, model.RefBranch}, "HEAD": {second, model.RefBranch}, "main": {second, model.RefBranch}, "refs/heads/main": {second, model.RefBranch},
		"v1": {first, model.RefTag}, "refs/tags/v1": {first, model.RefTag}, "same": {first, model.RefBranch}, "feature/😀": {first, model.RefBranch},
		"refs/heads/both": {first, model.RefBranch}, "refs/tags/both": {second, model.RefTag}, "pull/7/head": {first, model.RefBranch},
		"refs/pull/7/head": {first, model.RefBranch}, first: {first, model.RefCommit}, strings.ToUpper(first): {first, model.RefCommit},
	} {
		got, err := g.Resolve(t.Context(), "contextUrl", model.Source{URL: url, Ref: ref, Subdir: "x"})
		require.NoError(t, err, ref)
		require.Equal(t, model.Source{URL: url, Ref: ref, Subdir: "x", Commit: want.commit, Kind: want.kind}, got, ref)
	}
	for _, c := range []struct {
		url, ref string
		code     model.Code
		says     string
	}{
		{url, "both", model.CodeRefAmbiguous, "refs/heads/both"},
		{url, "absent", model.CodeRefNotFound, "absent"},
		{url, first[:6], model.CodeRefNotFound, "at least 7 digits"},
		{url, "abcdef012", model.CodeRefNotFound, "none of them holds"},
		{url, first + "a", model.CodeRefNotFound, first + "a"},
		{url, strings.Repeat("0", 40), model.CodeRefNotFound, "no commit"},
		{url, "--upload-pack=touch /tmp/x", model.CodeRefInvalid, ""},
		{s.URL + "/empty.git", "", model.CodeRepoEmpty, ""},
		{s.URL + "/nodefault.git", "", model.CodeRefNotFound, "default branch"},
		{s.URL + "/absent.git", "", model.CodeGitRepoNotFound, ""},
	} {
		_, err := g.Resolve(t.Context(), "contextUrl", model.Source{URL: c.url, Ref: c.ref})
		require.Equal(t, c.code, model.CodeOf(err), "%s %q: %v", c.url, c.ref, err)
		shown := model.AsError(err)
		require.Equal(t, "contextUrl", shown.Field)
		require.Contains(t, shown.Message, c.says)
	}
}

// web is a server that is no git server.
func web(t *testing.T, f http.HandlerFunc) *gitServer {
	t.Helper()
	s := &gitServer{Server: httptest.NewServer(f)}
	t.Cleanup(s.Close)
	return s
}

func TestResolveTellsWhatIsNoRepository(t *testing.T) {
	advert := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
	}
	cases := map[string]struct {
		f    http.HandlerFunc
		code model.Code
	}{
		"web page":     {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>hello")) }, model.CodeGitNotARepo},
		"401":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, model.CodeGitAuthRequired},
		"403":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, model.CodeGitAuthRequired},
		"404":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, model.CodeGitRepoNotFound},
		"500":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, model.CodeGitUnreachable},
		"429":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) }, model.CodeGitUnreachable},
		"302 to login": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) }, model.CodeGitNotARepo},
		"not packets":  {func(w http.ResponseWriter, _ *http.Request) { advert(w); _, _ = w.Write([]byte("zzzzz")) }, model.CodeGitNotARepo},
		"cut short": {func(w http.ResponseWriter, _ *http.Request) {
			advert(w)
			_, _ = w.Write([]byte("001e# service=git-upload-pack\n0000004a" + strings.Repeat("a", 20)))
		}, model.CodeGitNotARepo},
		"never answers": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, model.CodeGitTimeout},
		"stops in the middle": {func(w http.ResponseWriter, r *http.Request) {
			advert(w)
			_, _ = w.Write([]byte("001e"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, model.CodeGitTimeout},
		"breaks the line": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, model.CodeGitUnreachable},
		"redirect to file": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "file:///etc/info/refs")
			w.WriteHeader(http.StatusFound)
		}, model.CodeRedirectDenied},
		"redirect to metadata": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/info/refs", http.StatusFound)
		}, model.CodeRedirectDenied},
		"redirect loop": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/a/info/refs", http.StatusFound) }, model.CodeRedirectDenied},
		"credentials added": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://u:p@"+r.Host+"/a/info/refs", http.StatusFound)
		}, model.CodeRedirectDenied},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := web(t, c.f)
			g := newGit(t, func(c *source.GitConfig) { c.AnswerTimeout = 300 * time.Millisecond }, s)
			_, err := g.Resolve(t.Context(), "contextUrl", model.Source{URL: s.URL + "/r"})
			require.Equal(t, c.code, model.CodeOf(err), "%v", err)
			require.NotContains(t, model.AsError(err).Message, "tmp")
		})
	}
}

func TestRedirectsStayAtTheirHost(t *testing.T) {
	var inner atomic.Int32
	target := web(t, func(http.ResponseWriter, *http.Request) { inner.Add(1) })
	s := newGitServer(t, false)
	want := s.repo(t, "r").commit("a", "1")
	// The inner server is one that the policy allows: what refuses it is that a redirect leads there.
	g := newGit(t, nil, s, target)

	s.around(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, target.URL+r.URL.RequestURI(), http.StatusFound)
		})
	})
	_, err := g.Resolve(t.Context(), "url", model.Source{URL: s.URL + "/r.git"})
	require.Equal(t, model.CodeRedirectDenied, model.CodeOf(err))

	// A redirect that comes only after the refs were listed is git's to meet.
	s.around(func(backend http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost || s.count("GET") > 2 {
				http.Redirect(w, r, target.URL+r.URL.RequestURI(), http.StatusTemporaryRedirect)
				return
			}
			backend.ServeHTTP(w, r)
		})
	})
	err = g.Fetch(t.Context(), model.Source{URL: s.URL + "/r.git", Commit: want}, t.TempDir())
	require.Equal(t, model.CodeRedirectDenied, model.CodeOf(err), "%v", err)
	require.Zero(t, inner.Load())

	s.around(func(backend http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.URL.Path, "/r.git") {
				http.Redirect(w, r, strings.Replace(r.URL.RequestURI(), "/r", "/r.git", 1), http.StatusMovedPermanently)
				return
			}
			backend.ServeHTTP(w, r)
		})
	})
	got, err := g.Resolve(t.Context(), "url", model.Source{URL: s.URL + "/r"})
	require.NoError(t, err)
	require.Equal(t, want, got.Commit)
	dir := t.TempDir()
	require.NoError(t, g.Fetch(t.Context(), got, dir))
	require.FileExists(t, filepath.Join(dir, "a"))
}

func TestTLSAndTheCheckedAddress(t *testing.T) {
	s := newGitServer(t, true)
	want := s.repo(t, "r").commit("a", "1")
	_, port, err := net.SplitHostPort(s.host())
	require.NoError(t, err)
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600))
	// The machine's own resolver has other addresses for the name, or none: only what the policy resolved can answer.
	policy := newPolicy(t, source.PolicyConfig{Allow: []string{"example.com:" + port, "other.test:" + port}, Lookup: names(map[string]string{
		"example.com": "127.0.0.1", "other.test": "127.0.0.1",
	})})
	path := "PATH=" + os.Getenv("PATH")
	trusting := newGit(t, func(c *source.GitConfig) { c.Policy, c.Env = policy, []string{path, "GIT_SSL_CAINFO=" + bundle} })
	got, err := trusting.Resolve(t.Context(), "url", model.Source{URL: "https://example.com:" + port + "/r.git"})
	require.NoError(t, err)
	require.Equal(t, want, got.Commit)
	dir := t.TempDir()
	require.NoError(t, trusting.Fetch(t.Context(), got, dir))
	require.FileExists(t, filepath.Join(dir, "a"))

	_, err = trusting.Resolve(t.Context(), "url", model.Source{URL: "https://other.test:" + port + "/r.git"})
	require.Equal(t, model.CodeGitTLS, model.CodeOf(err), "another name's certificate: %v", err)
	wary := newGit(t, func(c *source.GitConfig) { c.Policy, c.Env = policy, []string{path} })
	_, err = wary.Resolve(t.Context(), "url", model.Source{URL: "https://example.com:" + port + "/r.git"})
	require.Equal(t, model.CodeGitTLS, model.CodeOf(err), "unknown authority: %v", err)
	plain := newGitServer(t, false)
	_, err = newGit(t, nil, plain).Resolve(t.Context(), "url", model.Source{URL: strings.Replace(plain.URL, "http:", "https:", 1) + "/r.git"})
	require.Equal(t, model.CodeGitTLS, model.CodeOf(err), "no TLS at all: %v", err)
}

func TestANameThatChangesItsAddressReachesNothing(t *testing.T) {
	var hits atomic.Int32
	s := web(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	_, port, err := net.SplitHostPort(s.host())
	require.NoError(t, err)
	var lookups atomic.Int32
	policy := newPolicy(t, source.PolicyConfig{Lookup: func(context.Context, string) ([]netip.Addr, error) {
		if lookups.Add(1) == 1 {
			return []netip.Addr{netip.MustParseAddr("140.82.121.3")}, nil
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}})
	g := newGit(t, func(c *source.GitConfig) { c.Policy = policy })
	_, err = g.Resolve(t.Context(), "url", model.Source{URL: "https://rebind.test:" + port + "/r"})
	require.Equal(t, model.CodeURLHostDenied, model.CodeOf(err))
	require.Zero(t, hits.Load())
	require.GreaterOrEqual(t, lookups.Load(), int32(2))
}

func TestTheCallersEndIsTheCallersError(t *testing.T) {
	s := web(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	g := newGit(t, nil, s)
	gone := errors.New("asker went away")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(gone) })
	_, err := g.Resolve(ctx, "url", model.Source{URL: s.URL + "/r"})
	require.ErrorIs(t, err, gone)
}
