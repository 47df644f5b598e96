package main

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/stretchr/testify/require"

	"cooper/internal/config"
	"cooper/internal/testbed"
)

// witness is an HTTP server that notes what it was asked for.
type witness struct {
	http.Handler
	mu    sync.Mutex
	asked []string
}

func (w *witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.asked = append(w.asked, r.Method+" "+r.RequestURI)
	w.mu.Unlock()
	w.Handler.ServeHTTP(rw, r)
}

// requests are those that contain a text.
func (w *witness) requests(containing string) (out []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.asked {
		if strings.Contains(a, containing) {
			out = append(out, a)
		}
	}
	return out
}

// serveWitnessed runs a handler until the test ends and returns its host:port too.
func serveWitnessed(t *testing.T, h http.Handler) (*witness, string) {
	t.Helper()
	w := &witness{Handler: h}
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	return w, strings.TrimPrefix(server.URL, "http://")
}

// memoryRegistry is an OCI registry that is not ours.
func memoryRegistry() http.Handler { return registry.New(registry.Logger(log.New(io.Discard, "", 0))) }

// closeTheInternet sends all that goes to other machines to a proxy that refuses and notes it.
func closeTheInternet(t *testing.T) *witness {
	t.Helper()
	w, host := serveWitnessed(t, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		http.Error(rw, "this test has no internet", http.StatusForbidden)
	}))
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		t.Setenv(name, "http://"+host)
	}
	for _, name := range []string{"NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"} {
		t.Setenv(name, "")
	}
	return w
}

// Base images come from what was pushed into the mirror, from mirrors of the configuration and from our own registry, and
// then nobody else is asked.
func TestBaseImagesWithoutTheInternet(t *testing.T) {
	internet := closeTheInternet(t)
	second, secondHost := serveWitnessed(t, memoryRegistry())
	s := startServer(t, func(c *config.Config) { c.RegistryMirrors = []string{"docker.io=http://" + secondHost + "/hub"} })
	busybox, err := testbed.Busybox(t.Context())
	require.NoError(t, err)
	require.NoError(t, testbed.Push(t.Context(), secondHost+"/hub/library/busybox:1", busybox, "", ""))

	t.Run("pushed into the mirror with skopeo", func(t *testing.T) {
		digest := s.pushDebian(t)
		r := s.mustBuild("FROM debian:bookworm\nRUN . /etc/os-release && echo \"on $VERSION_CODENAME\" && dpkg --version >/dev/null && echo yes >/made\n", "component", "debian")
		text := s.logText(r.str("buildId"))
		require.Contains(t, text, "\non bookworm\n")
		require.Contains(t, text, "docker.io/library/debian:bookworm@"+digest)
		require.Empty(t, second.requests("library/debian"), "the next mirror was asked although the first has it")
	})
	t.Run("mirror of the configuration", func(t *testing.T) {
		r := s.mustBuild("FROM busybox:1\nRUN echo \"on $(uname -m)\" >/made\n", "component", "second", "architecture", "amd64,arm64")
		_, read := s.imageOf(r.str("imageName"), "arm64")
		require.Equal(t, "on aarch64\n", read("made"))
		require.NotEmpty(t, second.requests("/v2/hub/library/busybox/blobs/"))
	})
	t.Run("an image of ours", func(t *testing.T) {
		first := s.mustBuild("FROM busybox:1\nRUN echo first >/first\n", "component", "first", "architecture", "amd64,arm64")
		for name, from := range map[string]string{"by tag": first.str("imageName"), "by build": first.str("buildImageName")} {
			r := s.mustBuild("FROM "+from+"\nRUN echo \"$(cat /first) of "+name+"\" >/next\n", "component", "next", "architecture", "amd64,arm64")
			for _, arch := range []string{"amd64", "arm64"} {
				_, read := s.imageOf(r.str("imageName"), arch)
				require.Equal(t, "first of "+name+"\n", read("next"))
			}
		}
	})
	require.Empty(t, internet.requests(""))
	t.Run("what no mirror has is asked of its registry", func(t *testing.T) {
		r := s.build("FROM nosuch/image:1\nRUN true\n", "component", "nosuch")
		require.Equal(t, "BASE_IMAGE_NOT_FOUND", r.str("code"), "%s", r.raw)
		require.NotEmpty(t, second.requests("/v2/hub/nosuch/image/"))
		require.NotEmpty(t, internet.requests("CONNECT registry-1.docker.io:443"))
	})
}

// pushDebian puts a Debian where `FROM debian:bookworm` finds it, as an administrator would, and returns its digest.
func (s *testServer) pushDebian(t *testing.T) string {
	t.Helper()
	image, err := testbed.Debian(t.Context())
	require.NoError(t, err)
	digest, err := image.Digest()
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "debian")
	archive, err := layout.Write(dir, empty.Index)
	require.NoError(t, err)
	require.NoError(t, archive.AppendImage(image, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "bookworm"})))
	mustOutside(t, nil, "skopeo", "copy", "-q", "--dest-tls-verify=false", "--dest-creds", "admin:"+testKey,
		"oci:"+dir+":bookworm", "docker://"+s.host+"/mirror/docker.io/library/debian:bookworm")
	return digest.String()
}
