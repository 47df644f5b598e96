package embedded_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/require"

	"cooper/internal/model"
	"cooper/registry/embedded"
)

// The keys that the tests' authorizer knows.
const (
	adminKey   = "the-administrators-key-canary-7f3a"
	serverKey  = "the-servers-own-key-canary-90bb"
	pushKey    = "a-key-to-push-into-one-repository-canary-1c2d" // pulls from everywhere but private/, pushes into a/mine
	expiredKey = "a-key-of-yesterday"
	busyKey    = "a-key-that-was-used-too-often"
	brokenKey  = "a-key-that-breaks-the-authorizer"
)

// site is a registry on a port.
type site struct {
	t    testing.TB
	url  string
	host string
	root string
	log  *safeBuffer

	handler  http.Handler
	registry *embedded.Registry
}

// door is an Authorizer with a fixed list of keys.
type door struct{}

type tooOften struct{ error }

func (tooOften) RetryAfter() time.Duration { return 1500 * time.Millisecond }

func (e tooOften) Unwrap() error { return e.error }

func (door) Authorize(_ context.Context, r *http.Request, access []embedded.Access) (string, error) {
	_, key, ok := r.BasicAuth()
	if !ok {
		return "", model.Errorf(model.CodeAuthMissing, "A key is needed.")
	}
	switch key {
	case adminKey:
		return "admin", nil
	case serverKey:
		return "server", nil
	case expiredKey:
		return "", model.Errorf(model.CodeAuthExpired, "The key's time is over.")
	case busyKey:
		return "", tooOften{model.Errorf(model.CodeRateLimited, "Too often.")}
	case brokenKey:
		return "", errors.New("connect to /var/run/db.sock: refused")
	case pushKey:
		for _, a := range access {
			mayPull := a.Action == "pull" && !strings.HasPrefix(a.Name, "private/")
			if a.Type != "repository" || !mayPull && (a.Action != "push" || a.Name != "a/mine") {
				return "", model.Errorf(model.CodeScopeInsufficient, "This key may not do that.")
			}
		}
		return "push", nil
	}
	return "", model.Errorf(model.CodeAuthInvalid, "The key is not known.")
}

func serve(t testing.TB) *site { return serveAt(t, filepath.Join(t.TempDir(), "registry")) }

// serveAt starts a registry; change may adjust its configuration.
func serveAt(t testing.TB, root string, change ...func(*embedded.Config)) *site {
	t.Helper()
	s := &site{t: t, root: root, log: &safeBuffer{}}
	cfg := embedded.Config{
		Root:       root,
		Authorizer: door{},
		Immutable:  func(_, tag, user string) bool { return strings.HasPrefix(tag, "build-") && user != "server" },
		Log:        slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&cfg)
	}
	reg, err := embedded.New(cfg)
	require.NoError(t, err)
	s.handler, s.registry = reg.Handler(), reg
	srv := httptest.NewServer(s.handler)
	t.Cleanup(func() {
		srv.Close()
		require.NoError(t, reg.Close())
	})
	s.url, s.host = srv.URL, strings.TrimPrefix(srv.URL, "http://")
	return s
}

func (s *site) tag(ref string) name.Tag {
	s.t.Helper()
	tag, err := name.NewTag(s.host+"/"+ref, name.Insecure)
	require.NoError(s.t, err)
	return tag
}

// as returns the option of a client with this key.
func as(key string) remote.Option {
	return remote.WithAuth(&authn.Basic{Username: "anyone", Password: key})
}

func admin() remote.Option { return as(adminKey) }

// answer is a response whose body was read.
type answer struct {
	StatusCode int
	Header     http.Header
}

// do sends a request and returns the answer and its body. A key of "" sends none.
func (s *site) do(method, path, key string, body io.Reader, header ...string) (answer, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, body)
	require.NoError(s.t, err)
	if key != "" {
		req.SetBasicAuth("u", key)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(s.t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	require.NoError(s.t, resp.Body.Close())
	return answer{resp.StatusCode, resp.Header}, string(text)
}

// requireRefused checks an answer against the OCI error shape.
func (s *site) requireRefused(resp answer, body string, status int, code string) {
	s.t.Helper()
	require.Equal(s.t, status, resp.StatusCode, body)
	var refused struct {
		Errors []struct{ Code, Message string }
	}
	require.NoError(s.t, json.Unmarshal([]byte(body), &refused), body)
	require.Len(s.t, refused.Errors, 1, body)
	require.Equal(s.t, code, refused.Errors[0].Code, body)
	require.NotEmpty(s.t, refused.Errors[0].Message)
	require.NotContains(s.t, body, s.root)
}

// safeBuffer is a log that is read while it is written.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestPushPull(t *testing.T) {
	s := serve(t)
	img, err := random.Image(1<<20, 3)
	require.NoError(t, err)
	tag := s.tag("team/app-main-image:latest")
	require.NoError(t, remote.Write(tag, img, admin()))

	got, err := remote.Image(tag, admin())
	require.NoError(t, err)
	require.NoError(t, validate.Image(got))
	want, err := img.Digest()
	require.NoError(t, err)
	have, err := got.Digest()
	require.NoError(t, err)
	require.Equal(t, want, have)

	index, err := random.Index(1<<10, 2, 2)
	require.NoError(t, err)
	require.NoError(t, remote.WriteIndex(s.tag("team/app-main-image:multi"), index, admin()))
	back, err := remote.Index(s.tag("team/app-main-image:multi"), admin())
	require.NoError(t, err)
	require.NoError(t, validate.Index(back))

	tags, err := remote.List(tag.Repository, admin())
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"latest", "multi"}, tags)
	resp, body := s.do("GET", "/v2/team/app-main-image/tags/list?n=99999999999", adminKey, nil)
	require.Equal(t, http.StatusOK, resp.StatusCode, body)
	require.JSONEq(t, `{"name":"team/app-main-image","tags":["latest","multi"]}`, body)
	repos, err := remote.Catalog(t.Context(), tag.Registry, admin())
	require.NoError(t, err)
	require.Equal(t, []string{"team/app-main-image"}, repos)
}

func TestSurvivesRestart(t *testing.T) {
	root := filepath.Join(t.TempDir(), "registry")
	img, err := random.Image(1<<10, 2)
	require.NoError(t, err)
	require.NoError(t, remote.Write(serveAt(t, root).tag("a/b:1"), img, admin()))

	got, err := remote.Image(serveAt(t, root).tag("a/b:1"), admin())
	require.NoError(t, err)
	require.NoError(t, validate.Image(got))
}

func TestMirror(t *testing.T) {
	s := serve(t)
	index, err := random.Index(1<<10, 1, 2)
	require.NoError(t, err)
	for _, host := range []string{"docker.io", "localhost:5000", "GHCR.io", "[::1]:5000"} {
		repository := embedded.MirrorPath(host) + "/library/debian"
		require.NoError(t, remote.WriteIndex(s.tag(repository+":bookworm"), index, admin()), host)
		// What containerd's resolver asks for, given 127.0.0.1:5000/mirror/docker.io as a mirror.
		resp, _ := s.do("HEAD", "/v2/"+repository+"/manifests/bookworm?ns="+host, adminKey, nil,
			"Accept", "application/vnd.oci.image.index.v1+json, */*")
		require.Equal(t, http.StatusOK, resp.StatusCode, host)
		require.NotEmpty(t, resp.Header.Get("Docker-Content-Digest"))
	}
}

func TestNewRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, writeFile(file, "x"))
	for name, c := range map[string]embedded.Config{
		"nothing set":          {},
		"root is not a folder": {Root: file, Authorizer: door{}, Log: slog.New(slog.DiscardHandler)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := embedded.New(c)
			require.ErrorContains(t, err, "embedded registry")
		})
	}
}
