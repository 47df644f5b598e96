package embedded_test

import (
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
)

// TestDiskFull fills a small file system and checks that the client is told so, without the host's paths, and that the
// registry works again once there is room.
func TestDiskFull(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, syscall.Mount("tmpfs", root, "tmpfs", 0, "size=1m"), "the tests run as root, as `make test` does")
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(root, syscall.MNT_DETACH)) })
	s := serveAt(t, root)

	blob := strings.Repeat("large", 1<<20)
	resp, body := s.do("PUT", s.upload(adminKey)+"&digest="+digest.FromString(blob).String(), adminKey, strings.NewReader(blob))
	s.requireRefused(resp, body, http.StatusInsufficientStorage, "UNAVAILABLE")
	resp, body = s.do("GET", "/v2/a/mine/blobs/"+digest.FromString(blob).String(), adminKey, nil)
	s.requireRefused(resp, body, http.StatusNotFound, "BLOB_UNKNOWN")
	require.Contains(t, s.log.String(), "no space left on device", "the cause is for our log")

	require.NoError(t, syscall.Mount("tmpfs", root, "tmpfs", syscall.MS_REMOUNT, "size=64m"))
	resp, body = s.do("PUT", s.upload(adminKey)+"&digest="+digest.FromString(blob).String(), adminKey, strings.NewReader(blob))
	require.Equal(t, http.StatusCreated, resp.StatusCode, body)
}

// TestFailureIsNotTold makes sure that what goes wrong on the host is told to the log only.
func TestFailureIsNotTold(t *testing.T) {
	s := serve(t)
	require.NoError(t, writeFile(s.root+"/docker", "a file where a folder should be"))
	resp, body := s.do("POST", "/v2/a/b/blobs/uploads/", adminKey, nil)
	s.requireRefused(resp, body, http.StatusInternalServerError, "UNKNOWN")
	require.Contains(t, s.log.String(), "not a directory")
	require.Contains(t, s.log.String(), "level=ERROR")
}
