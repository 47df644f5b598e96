package embedded_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"cooper/registry/embedded"
)

// uploads lists what is below the uploads of a repository.
func (s *site) uploads(repository string) []string {
	s.t.Helper()
	list, err := filepath.Glob(filepath.Join(s.root, "docker/registry/v2/repositories", repository, "_uploads", "*"))
	require.NoError(s.t, err)
	return list
}

// TestUploadsThatBrokeOffAreRemoved: nobody can go on with the uploads of another process, unless both have one secret.
func TestUploadsThatBrokeOffAreRemoved(t *testing.T) {
	root := t.TempDir()
	secret := func(c *embedded.Config) { c.HTTPSecret = "shared" }
	first := serveAt(t, root, secret)
	first.upload(adminKey)
	require.Len(t, first.uploads("a/mine"), 1)

	second := serveAt(t, root, secret)
	at := first.upload(adminKey)
	blob := "content"
	resp, body := second.do("PUT", at+"&digest="+digest.FromString(blob).String(), adminKey, strings.NewReader(blob))
	require.Equal(t, http.StatusCreated, resp.StatusCode, body)
	require.Len(t, second.uploads("a/mine"), 1, "who shares the secret may go on")

	third := serveAt(t, root)
	began := third.upload(adminKey)
	require.Eventually(t, func() bool { return len(third.uploads("a/mine")) == 1 }, 10*time.Second, 5*time.Millisecond)
	resp, body = third.do("PUT", began+"&digest="+digest.FromString(blob).String(), adminKey, strings.NewReader(blob))
	require.Equal(t, http.StatusCreated, resp.StatusCode, "its own go on: %s", body)
	require.Empty(t, third.uploads("a/mine"))
}

// TestAdoptReplacesAnotherFile: what is there already may be damaged, and what the caller has is not.
func TestAdoptReplacesAnotherFile(t *testing.T) {
	for name, damaged := range map[string]string{"the same size": "CONTENT", "cut": "con", "longer": "content and more"} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			file, sum := blobFile(t, t.TempDir(), "content")
			require.NoError(t, os.MkdirAll(filepath.Dir(s.blobPath(sum)), 0o700))
			require.NoError(t, os.WriteFile(s.blobPath(sum), []byte(damaged), 0o600))
			ok, err := s.registry.Adopt(t.Context(), "components/a", sum, 7, linkTo(file))
			require.NoError(t, err)
			require.True(t, ok)
			resp, body := s.do("GET", "/v2/components/a/blobs/"+sum, adminKey, nil)
			require.Equal(t, http.StatusOK, resp.StatusCode)
			require.Equal(t, "content", body)
			left, err := filepath.Glob(filepath.Join(s.root, ".adopting", "*"))
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}
