package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"

	"cooper/internal/config"
)

// With COOPER_BLOB_URL the tarballs are in a bucket: downloads are sent there, and every door that needs no disk works.
func TestTarballsInABucket(t *testing.T) {
	backend := s3mem.New()
	require.NoError(t, backend.CreateBucket("cooper"))
	bucket := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(bucket.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "access")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	b := startComponents(t, func(c *config.Config) {
		c.BlobURL = "s3://cooper?region=eu-west-1&use_path_style=true&endpoint=" + url.QueryEscape(bucket.URL)
	})
	b.repository("greet", "v1.0", greetFiles("hello"))
	want := b.mustComponent("component", "greet", "tag", "v1.0", "url", b.gitURL("greet"))
	digest := want.str("digest")
	for _, format := range []string{"tar.gz", "zip"} {
		client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+"/api/v1/component?"+query("component", "greet", "tag", "v1.0", "format", format), nil)
		require.NoError(t, err)
		req.Header.Set("X-Api-Key", testKey)
		resp, err := client.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusTemporaryRedirect, resp.StatusCode)
		require.True(t, strings.HasPrefix(resp.Header.Get("Location"), bucket.URL), resp.Header.Get("Location"))
		require.Contains(t, resp.Header.Get("Location"), "greet-v1.0-linux-"+runtime.GOARCH+"."+format, "what it is saved as")
	}
	whole := b.mustComponent("component", "greet", "tag", "v1.0", "format", "tar.gz") // the client follows
	require.Equal(t, digest, digestOf(whole.raw))
	half(t, b, digest, whole.raw)
	path := b.component("component", "greet", "tag", "v1.0", "format", "path")
	require.Equal(t, "PATH_NOT_AVAILABLE", path.str("code"), "%s", path.raw)
	path = b.component("component", "pathless", "tag", "v1.0", "format", "path", "url", b.gitURL("greet"))
	require.Equal(t, "PATH_NOT_AVAILABLE", path.str("code"), "%s", path.raw)
	require.Empty(t, b.get("/api/v1/builds?component=pathless").body["builds"], "nothing is built for that")
	skopeoCopies(t, want.str("imageName"), digest)
	r := b.mustBuild("FROM scratch\nCOPY --from=greet /share /share\n", "component", "named", "components", "greet@v1.0")
	require.Equal(t, "hello\n", b.fileIn(r.str("imageName"), "share/greet"))
	got := filepath.Join(t.TempDir(), "got")
	mustOutside(t, []string{"COOPER_URL=" + b.url, "COOPER_API_KEY=" + testKey}, program(t, "cooper"), "component", "get", "greet@v1.0", "-o", got)
	require.FileExists(t, filepath.Join(got, "share", "greet"))
}

func TestZstandardTarballs(t *testing.T) {
	b := startComponents(t, func(c *config.Config) { c.TarballCompression = "zstd" })
	b.repository("greet", "v1.0", greetFiles("hello"))
	want := b.mustComponent("component", "greet", "tag", "v1.0", "url", b.gitURL("greet"))
	require.Equal(t, "tar.zst", want.str("format"))
	r := b.mustComponent("component", "greet", "tag", "v1.0", "format", "tar.zst")
	require.Equal(t, want.str("digest"), digestOf(r.raw))
	skopeoCopies(t, want.str("imageName"), want.str("digest"))
	otherFormats(t, b)
}

// An OS environment is an architecture of its own: its platform, its images and its build args.
func TestEnvironments(t *testing.T) {
	file := filepath.Join(t.TempDir(), "environments.hcl")
	require.NoError(t, os.WriteFile(file, []byte(`
environment "small-arm64" {
  platform   = "linux/arm64"
  images     = { default = "busybox" }
  build_args = { FLAVOR = "small" }
}
environment "default" {
  images = { default = "busybox:latest" }
}
`), 0o600))
	b := startComponents(t, func(c *config.Config) { c.Environments = file })
	b.pushBusybox()
	listed := b.get("/api/v1/environments")
	var seen struct {
		Environments []struct{ Name, Platform string }
	}
	require.NoError(t, json.Unmarshal(listed.raw, &seen))
	require.Len(t, seen.Environments, 2)
	require.Equal(t, "default", seen.Environments[0].Name)
	require.Equal(t, "linux/arm64", seen.Environments[1].Platform)

	b.repository("where", "v1", map[string]string{
		".cooper/where.hcl": "component {\n  run = [\"mkdir -p /out\", \"echo $(uname -m) $FLAVOR >/out/where\"]\n  args = { FLAVOR = \"plain\" }\n}\n",
	})
	says := func(arch string) (reply, string) {
		r := b.mustComponent("component", "where", "tag", "v1", "url", b.gitURL("where"), "architecture", arch)
		tree := b.mustComponent("component", "where", "tag", "v1", "architecture", arch, "format", "path")
		raw, err := os.ReadFile(filepath.Join(tree.str("component"), "where"))
		require.NoError(t, err)
		return r, string(raw)
	}
	plain, said := says("arm64")
	require.Equal(t, "aarch64 plain\n", said)
	small, _ := says("small-arm64")
	require.Equal(t, "linux/arm64", small.str("architecture"))
	require.Equal(t, "small-arm64", small.str("environment"))
	require.NotEqual(t, plain.str("imageName"), small.str("imageName"), "the two do not share a tag")

	r := b.mustBuild("FROM busybox\nARG FLAVOR\nRUN echo $(uname -m) $FLAVOR >/where\n", "component", "where", "architecture", "small-arm64")
	_, read := b.imageOf(r.str("imageName"), "arm64")
	require.Equal(t, "aarch64 small\n", read("where"))

	unknown := b.component("component", "where", "tag", "v1", "architecture", "z80")
	require.Equal(t, "PLATFORM_UNSUPPORTED", unknown.str("code"))
	require.Contains(t, unknown.body["allowed"], "small-arm64", "%s", unknown.raw)
}

// A private repository is cloned with the token of the configuration, which is found nowhere else.
func TestAPrivateRepository(t *testing.T) {
	const token = "canary-token-5fbb1f0d7a"
	file := filepath.Join(t.TempDir(), "credentials.hcl")
	var private *httptest.Server
	login := func(password string) { // for that very port: no other server of the address is shown the token
		text := `host "` + private.Listener.Addr().String() + `" { token = "` + password + `" }` + "\n"
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
	b := startComponents(t, func(c *config.Config) {
		private = httptest.NewUnstartedServer(nil)
		login("not-yet")
		c.SourceAllow = append(c.SourceAllow, private.Listener.Addr().String())
		c.GitCredentials, c.LogLevel = file, "debug"
	})
	inside, err := url.Parse(b.git.URL)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(inside)
	private.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, ok := r.BasicAuth(); !ok || password != token {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		proxy.ServeHTTP(w, r)
	})
	private.Start()
	t.Cleanup(private.Close)
	b.repository("secret", "v1", greetFiles("hush"))
	pairs := []string{"component", "secret", "tag", "v1", "url", private.URL + "/secret.git"}
	refused := b.component(pairs...)
	require.Equal(t, "GIT_AUTH_REQUIRED", refused.str("code"), "%s", refused.raw)

	login(token)
	r := b.mustComponent(pairs...)
	require.NotContains(t, string(r.raw), token)
	require.NotContains(t, b.logText(r.str("buildId")), token)
	require.NotContains(t, b.log.String(), token)
	where, found := dirHas(t, b.cfg.DataDir, []byte(token))
	require.False(t, found, where)
	_, read := b.imageOf(r.str("imageName"), "amd64")
	require.Equal(t, "hush\n", read("share/greet"))
}
