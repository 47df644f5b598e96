package source_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/builder/source"
	"cooper/internal/model"
)

const canary = "c4n4ry-T0ken-93af"

// lockedBuffer is a log that may be written to by several at once.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func debugLog() (*slog.Logger, *lockedBuffer) {
	var b lockedBuffer
	return slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug})), &b
}

// private lets nobody in but with the token, and notes which tokens it saw.
func (s *gitServer) private(token string) (seen func() []string) {
	var mu sync.Mutex
	var tokens []string
	s.around(func(backend http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, got, _ := r.BasicAuth()
			mu.Lock()
			tokens = append(tokens, got)
			mu.Unlock()
			if got != token {
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				w.WriteHeader(http.StatusUnauthorized)
				_, _ = w.Write([]byte(r.Header.Get("Authorization") + " " + got))
				return
			}
			backend.ServeHTTP(w, r)
		})
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return tokens
	}
}

// writeCredentials replaces the file as an editor does: by renaming.
func writeCredentials(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".new", []byte(text), 0o600))
	require.NoError(t, os.Rename(path+".new", path))
}

func TestPrivateRepositories(t *testing.T) {
	s, other := newGitServer(t, false), newGitServer(t, false)
	w := s.repo(t, "r")
	w.filtering()
	commit := w.commit("a", "1")
	other.repo(t, "r").commit("a", "1")
	seen, otherSeen := s.private(canary), other.private("another")
	file := filepath.Join(t.TempDir(), "credentials.hcl")
	writeCredentials(t, file, `host "`+s.host()+`" { token = "`+canary+`" }`)
	log, logged := debugLog()
	credentials, err := source.LoadCredentials(file, log)
	require.NoError(t, err)
	cache := filepath.Join(t.TempDir(), "cache")
	g := newGit(t, func(c *source.GitConfig) { c.Credentials, c.Log, c.CacheDir = credentials, log, cache }, s, other)
	src := model.Source{URL: s.URL + "/r.git"}

	got, err := g.Resolve(t.Context(), "url", src)
	require.NoError(t, err)
	require.Equal(t, commit, got.Commit)
	short, err := g.Resolve(t.Context(), "url", model.Source{URL: src.URL, Ref: commit[:9]})
	require.NoError(t, err)
	require.Equal(t, commit, short.Commit)
	tr, err := g.Tree(t.Context(), got)
	require.NoError(t, err)
	text, err := tr.Read(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, "1", string(text))
	require.NoError(t, g.FetchComponent(t.Context(), got, t.TempDir(), true))
	for _, token := range seen() {
		require.Equal(t, canary, token)
	}

	_, denied := g.Resolve(t.Context(), "url", model.Source{URL: other.URL + "/r.git"})
	require.Equal(t, model.CodeGitAuthRequired, model.CodeOf(denied))
	require.Contains(t, model.AsError(denied).Message, "COOPER_GIT_CREDENTIALS")
	for _, token := range otherSeen() {
		require.Empty(t, token, "a token went to another host")
	}

	// The server takes the token no more: the words are others, and repeat nothing that it says.
	s.private("new")
	_, refused := g.Resolve(t.Context(), "url", src)
	require.Equal(t, model.CodeGitAuthRequired, model.CodeOf(refused))
	require.Contains(t, model.AsError(refused).Message, "refuses")
	fetched := g.Fetch(t.Context(), model.Source{URL: src.URL, Commit: strings.Repeat("ab", 20)}, t.TempDir())
	require.Error(t, fetched)
	everything := logged.String() + denied.Error() + refused.Error() + fetched.Error()
	require.NoError(t, filepath.Walk(cache, func(path string, st os.FileInfo, err error) error {
		if err == nil && st.Mode().IsRegular() {
			b, _ := os.ReadFile(path)
			everything += string(b)
		}
		return err
	}))
	require.NotContains(t, everything, canary)
	require.NotContains(t, everything, "Basic ")
}

func TestTheTokenIsInNoArgument(t *testing.T) {
	s := newGitServer(t, false)
	commit := s.repo(t, "r").commit("a", "1")
	var looked string
	s.around(func(backend http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				lists, _ := filepath.Glob("/proc/[0-9]*/cmdline")
				for _, l := range lists {
					b, _ := os.ReadFile(l)
					looked += string(b) + "\n"
				}
			}
			backend.ServeHTTP(w, r)
		})
	})
	file := filepath.Join(t.TempDir(), "c.hcl")
	writeCredentials(t, file, `host "`+s.host()+`" {
  username = "x"
  token    = "`+canary+`"
}`)
	credentials, err := source.LoadCredentials(file, nil)
	require.NoError(t, err)
	g := newGit(t, func(c *source.GitConfig) { c.Credentials = credentials }, s)
	require.NoError(t, g.Fetch(t.Context(), model.Source{URL: s.URL + "/r.git", Commit: commit}, t.TempDir()))
	require.Contains(t, looked, "/r.git", "git was seen at work")
	require.NotContains(t, looked, canary)
	require.NotContains(t, looked, "Basic ")
}

func TestATokenDoesNotFollowARedirect(t *testing.T) {
	s, target := newGitServer(t, false), newGitServer(t, false)
	seen := target.private("x")
	s.around(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, target.URL+r.URL.RequestURI(), http.StatusFound)
		})
	})
	file := filepath.Join(t.TempDir(), "c.hcl")
	writeCredentials(t, file, `host "`+s.host()+`" { token = "`+canary+`" }`)
	credentials, err := source.LoadCredentials(file, nil)
	require.NoError(t, err)
	g := newGit(t, func(c *source.GitConfig) { c.Credentials = credentials }, s, target)
	_, err = g.Resolve(t.Context(), "url", model.Source{URL: s.URL + "/r.git"})
	require.Equal(t, model.CodeRedirectDenied, model.CodeOf(err), "%v", err)
	require.Empty(t, seen())
}

func TestCredentialsAreReadAgain(t *testing.T) {
	s := newGitServer(t, false)
	s.repo(t, "r").commit("a", "1")
	host := s.host()
	dir := t.TempDir()
	file := filepath.Join(dir, "c.hcl")
	token := filepath.Join(dir, "token")
	require.NoError(t, os.WriteFile(token, []byte("third\n"), 0o600))
	writeCredentials(t, file, "")
	log, logged := debugLog()
	credentials, err := source.LoadCredentials(file, log)
	require.NoError(t, err)
	g := newGit(t, func(c *source.GitConfig) { c.Credentials = credentials }, s)
	for _, step := range []struct{ text, wants, logs string }{
		{`host "` + host + `" { token = "first" }`, "first", "read again"},
		{"host \"*.else.test\" { token = \"no\" }\nhost \"" + host + "\" { token = \"second\" }\nhost \"" + host + "\" { token = \"later\" }", "second", ""},
		{`host "` + host + `" { token = "` + canary + `", `, "second", "ones from before stay"},
		{`host "` + host + `" { tokn = "` + canary + `" }`, "second", "Unsupported argument"},
		{`host "` + host + `" { token_file = "` + token + `" }`, "third", ""},
	} {
		writeCredentials(t, file, step.text)
		seen := s.private(step.wants)
		_, err := g.Resolve(t.Context(), "url", model.Source{URL: s.URL + "/r.git"})
		require.NoError(t, err, step.text)
		require.Equal(t, []string{step.wants}, seen())
		require.Contains(t, logged.String(), step.logs)
	}
	// A token file is read at each use; the file of credentials may go away.
	require.NoError(t, os.WriteFile(token, []byte("fourth"), 0o600))
	s.private("fourth")
	_, err = g.Resolve(t.Context(), "url", model.Source{URL: s.URL + "/r.git"})
	require.NoError(t, err)
	require.NoError(t, os.Remove(file))
	_, err = g.Resolve(t.Context(), "url", model.Source{URL: s.URL + "/r.git"})
	require.NoError(t, err)
	require.NoError(t, os.Remove(token))
	_, err = g.Resolve(t.Context(), "url", model.Source{URL: s.URL + "/r.git"})
	require.Equal(t, model.CodeGitAuthRequired, model.CodeOf(err))
	require.NotContains(t, model.AsError(err).Message, dir)
	require.NotContains(t, logged.String(), canary)
}

func TestLoadCredentialsRefuses(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	require.NoError(t, os.WriteFile(key, []byte("k"), 0o600))
	for name, text := range map[string]string{
		"no HCL": "host {{{", "nothing in it": `host "h.test" {}`, "two tokens": `host "h.test" { token = "` + canary + `"` + "\n" + `token_file = "` + key + `"` + "\n}",
		"unknown setting": `host "h.test" { password = "` + canary + `" }`, "no host": `host "https://h" { token = "` + canary + `" }`,
		"all hosts": `host "*" { token = "` + canary + `" }`, "line in a token": `host "h.test" { token = "` + canary + `\nX: y" }`,
		"key without known hosts": `host "h.test" { ssh_key = "` + key + `" }`, "absent key": "host \"h.test\" {\nssh_key = \"" + key + "x\"\nknown_hosts = \"" + key + "\"\n}",
		"relative path": `host "h.test" { token_file = "token" }`, "spaces in a path": `host "h.test" { token_file = "/a b" }`, "number": `host "h.test" { token = ["` + canary + `"] }`,
		"colon in a name": "host \"h.test\" {\nusername = \"a:b\"\ntoken = \"" + canary + "\"\n}", "no label": `host { token = "` + canary + `" }`,
	} {
		file := filepath.Join(dir, "c.hcl")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		_, err := source.LoadCredentials(file, nil)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), canary, name)
	}
	_, err := source.LoadCredentials(filepath.Join(dir, "absent"), nil)
	require.Error(t, err)
	none, err := source.LoadCredentials("", nil)
	require.NoError(t, err)
	require.NotNil(t, none)
}
