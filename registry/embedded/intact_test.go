package embedded_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
)

// blobFile is where the bytes of a blob lie.
func (s *site) blobFile(blob string) string {
	hex := strings.TrimPrefix(blob, "sha256:")
	return filepath.Join(s.root, "docker/registry/v2/blobs/sha256", hex[:2], hex, "data")
}

// damage changes one byte of a file, and hides that from whoever looks at its size and time.
func damage(t *testing.T, file string) {
	t.Helper()
	before, err := os.Stat(file)
	require.NoError(t, err)
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	content[len(content)/2] ^= 1
	require.NoError(t, os.WriteFile(file, content, 0o600))
	require.NoError(t, os.Chtimes(file, before.ModTime(), before.ModTime()))
}

// TestNoDamagedBlobIsServed damages what is kept, under a registry that has handed it out before and under one that is
// new: it is as if it were not there, and pushing it again heals it.
func TestNoDamagedBlobIsServed(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		t.Run(fmt.Sprintf("restarted=%t", restarted), func(t *testing.T) {
			s := serve(t)
			img, err := random.Image(1<<20, 1)
			require.NoError(t, err)
			repository := func() name.Tag { return s.tag("a/mine:1") }
			require.NoError(t, remote.Write(repository(), img, admin()))
			layers, err := img.Layers()
			require.NoError(t, err)
			layer, err := layers[0].Digest()
			require.NoError(t, err)
			manifest, err := img.Digest()
			require.NoError(t, err)
			for _, c := range []struct{ path, blob, code string }{
				{"/v2/a/mine/blobs/", layer.String(), "BLOB_UNKNOWN"},
				{"/v2/a/mine/manifests/", manifest.String(), "MANIFEST_UNKNOWN"},
			} {
				resp, body := s.do("GET", c.path+c.blob, adminKey, nil)
				require.Equal(t, http.StatusOK, resp.StatusCode)
				require.Equal(t, c.blob, digest.FromString(body).String())
				damage(t, s.blobFile(c.blob))
				if restarted {
					s = serveAt(t, s.root)
				}
				for range 2 {
					resp, body = s.do("GET", c.path+c.blob, adminKey, nil)
					s.requireRefused(resp, body, http.StatusNotFound, c.code)
					resp, _ = s.do("GET", c.path+c.blob, adminKey, nil, "Range", "bytes=1-2")
					require.Equal(t, http.StatusNotFound, resp.StatusCode)
					resp, _ = s.do("HEAD", c.path+c.blob, adminKey, nil)
					require.Equal(t, http.StatusNotFound, resp.StatusCode)
				}
				require.Equal(t, 1, strings.Count(s.log.String(), "do not match its digest"), "it is read once")
				// A client that finds the manifest would take the layer for granted.
				require.NoError(t, remote.WriteLayer(repository().Context(), layers[0], admin()))
				require.NoError(t, remote.Write(repository(), img, admin()))
				again, err := remote.Image(repository(), admin())
				require.NoError(t, err)
				require.NoError(t, validate.Image(again))
				s = serveAt(t, s.root) // with a log of its own
			}
		})
	}
}

// TestPullsTogetherAfterARestart has many ask for a blob that nobody has read yet.
func TestPullsTogetherAfterARestart(t *testing.T) {
	s := serve(t)
	img, err := random.Image(8<<20, 1)
	require.NoError(t, err)
	require.NoError(t, remote.Write(s.tag("a/mine:1"), img, admin()))
	layers, err := img.Layers()
	require.NoError(t, err)
	layer, err := layers[0].Digest()
	require.NoError(t, err)
	s = serveAt(t, s.root)
	got := make([]string, 16)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			_, body := s.do("GET", "/v2/a/mine/blobs/"+layer.String(), adminKey, nil)
			got[i] = digest.FromString(body).String()
		})
	}
	wg.Wait()
	for _, g := range got {
		require.Equal(t, layer.String(), g)
	}
}
