package embedded_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"cooper/registry/embedded"
)

// blobFile writes a file as the store of tarballs keeps one, and returns its path and digest.
func blobFile(t *testing.T, dir, content string) (file, sum string) {
	t.Helper()
	file = filepath.Join(dir, "tarball")
	require.NoError(t, os.WriteFile(file, []byte(content), 0o400))
	return file, digest.FromString(content).String()
}

func (s *site) blobPath(sum string) string {
	hex := strings.TrimPrefix(sum, "sha256:")
	return filepath.Join(s.root, "docker/registry/v2/blobs/sha256", hex[:2], hex, "data")
}

func inode(t *testing.T, file string) uint64 {
	t.Helper()
	fi, err := os.Stat(file)
	require.NoError(t, err)
	stat, ok := fi.Sys().(*syscall.Stat_t)
	require.True(t, ok)
	return stat.Ino
}

// TestAdoptedBlobIsLikeAnyOther follows a blob that was never pushed through all that the registry does with blobs.
func TestAdoptedBlobIsLikeAnyOther(t *testing.T) {
	s := serve(t)
	content := strings.Repeat("a component's tarball\n", 1000)
	file, sum := blobFile(t, t.TempDir(), content)
	before := inode(t, file)
	path := "/v2/components/zlib/blobs/" + sum

	resp, body := s.do("GET", path, adminKey, nil)
	s.requireRefused(resp, body, http.StatusNotFound, "BLOB_UNKNOWN")
	for range 2 {
		ok, err := s.registry.Adopt(t.Context(), "components/zlib", sum, int64(len(content)), linkTo(file))
		require.NoError(t, err)
		require.True(t, ok)
	}
	require.Equal(t, before, inode(t, s.blobPath(sum)), "it is the same file, not a copy")

	resp, body = s.do("GET", path, adminKey, nil)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, content, body)
	require.Equal(t, sum, resp.Header.Get("Docker-Content-Digest"))
	resp, body = s.do("GET", path, adminKey, nil, "Range", "bytes=2-10")
	require.Equal(t, http.StatusPartialContent, resp.StatusCode)
	require.Equal(t, content[2:11], body)
	resp, body = s.do("GET", "/v2/components/other/blobs/"+sum, adminKey, nil)
	s.requireRefused(resp, body, http.StatusNotFound, "BLOB_UNKNOWN")

	resp, body = s.do("POST", "/v2/a/mine/blobs/uploads/?mount="+sum+"&from=components/zlib", adminKey, nil)
	require.Equal(t, http.StatusCreated, resp.StatusCode, body)
	resp, body = s.do("PUT", s.upload(adminKey)+"&digest="+sum, adminKey, strings.NewReader(content))
	require.Equal(t, http.StatusCreated, resp.StatusCode, body)
	require.Equal(t, before, inode(t, s.blobPath(sum)), "a push of what is there does not touch it")

	resp, body = s.do("DELETE", path, adminKey, nil)
	require.Equal(t, http.StatusAccepted, resp.StatusCode, body)
	resp, body = s.do("GET", path, adminKey, nil)
	s.requireRefused(resp, body, http.StatusNotFound, "BLOB_UNKNOWN")
	kept, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, content, string(kept))

	ok, err := s.registry.Adopt(t.Context(), "components/zlib", sum, int64(len(content)), linkTo(file))
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, os.Remove(file), "the store may drop its own name for it")
	resp, body = s.do("GET", path, adminKey, nil)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, content, body)
}

// TestAdoptSurvivesRestart opens the registry's files anew.
func TestAdoptSurvivesRestart(t *testing.T) {
	root := filepath.Join(t.TempDir(), "registry")
	file, sum := blobFile(t, t.TempDir(), "content")
	ok, err := serveAt(t, root).registry.Adopt(t.Context(), "components/a/b", sum, 7, linkTo(file))
	require.NoError(t, err)
	require.True(t, ok)
	_, body := serveAt(t, root).do("GET", "/v2/components/a/b/blobs/"+sum, adminKey, nil)
	require.Equal(t, "content", body)
}

// linkTo is a file that is linked where the file system can.
type linkTo string

var _ embedded.File = linkTo("")

func (file linkTo) Link(_ context.Context, path string) (bool, error) {
	err := os.Link(string(file), path)
	if errors.Is(err, syscall.EXDEV) {
		return false, nil
	}
	return err == nil, err
}

func (file linkTo) Same(path string) bool {
	mine, err := os.Stat(string(file))
	theirs, err2 := os.Lstat(path)
	return err == nil && err2 == nil && os.SameFile(mine, theirs)
}

// TestAdoptingAgainTouchesNothing had the file linked and unlinked each time, which changes its status: who goes by that
// took it for another file and read it anew.
func TestAdoptingAgainTouchesNothing(t *testing.T) {
	s := serve(t)
	file, sum := blobFile(t, t.TempDir(), "content")
	adopt := func(repository, file string) {
		ok, err := s.registry.Adopt(t.Context(), repository, sum, 7, linkTo(file))
		require.NoError(t, err)
		require.True(t, ok)
	}
	adopt("components/a", file)
	before := status(t, file)
	adopt("components/a", file)
	adopt("components/b", file)
	require.Equal(t, before, status(t, file))

	other, _ := blobFile(t, t.TempDir(), "content")
	adopt("components/a", other)
	require.Equal(t, inode(t, other), inode(t, s.blobPath(sum)), "another file takes its place")
	_, body := s.do("GET", "/v2/components/b/blobs/"+sum, adminKey, nil)
	require.Equal(t, "content", body)
}

// status is what tells a file from what it was before: its number of names, and when anything of it changed.
func status(t *testing.T, file string) [3]int64 {
	t.Helper()
	var stat syscall.Stat_t
	require.NoError(t, syscall.Stat(file, &stat))
	return [3]int64{int64(stat.Nlink), stat.Ctim.Sec, stat.Ctim.Nsec}
}

func TestAdoptRefuses(t *testing.T) {
	s := serve(t)
	dir := t.TempDir()
	file, sum := blobFile(t, dir, "content")
	for name, c := range map[string]struct {
		repository, sum, file, says string
		size                        int64
	}{
		"another size":      {"components/a", sum, file, "7 bytes instead of 8", 8},
		"no file":           {"components/a", sum, file + "x", "no such file", 7},
		"no digest":         {"components/a", "sha256:../../x", file, "no SHA-256 digest", 7},
		"another algorithm": {"components/a", digest.SHA512.FromString("content").String(), file, "no SHA-256 digest", 7},
		"no repository":     {"../a", sum, file, "no repository", 7},
		"a long repository": {strings.Repeat("a", 256), sum, file, "no repository", 7},
	} {
		t.Run(name, func(t *testing.T) {
			ok, err := s.registry.Adopt(t.Context(), c.repository, c.sum, c.size, linkTo(c.file))
			require.ErrorContains(t, err, c.says)
			require.False(t, ok)
		})
	}
}

// TestAdoptFromAnotherFileSystem says that the blob has to be pushed, and leaves nothing behind that looks like it.
func TestAdoptFromAnotherFileSystem(t *testing.T) {
	s := serve(t)
	other := t.TempDir()
	require.NoError(t, syscall.Mount("tmpfs", other, "tmpfs", 0, "size=1m"), "the tests run as root, as `make test` does")
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(other, syscall.MNT_DETACH)) })
	file, sum := blobFile(t, other, "content")
	ok, err := s.registry.Adopt(t.Context(), "a/mine", sum, 7, linkTo(file))
	require.NoError(t, err)
	require.False(t, ok)
	resp, body := s.do("GET", "/v2/a/mine/blobs/"+sum, adminKey, nil)
	s.requireRefused(resp, body, http.StatusNotFound, "BLOB_UNKNOWN")

	resp, body = s.do("PUT", s.upload(adminKey)+"&digest="+sum, adminKey, strings.NewReader("content"))
	require.Equal(t, http.StatusCreated, resp.StatusCode, body)
}

// TestAdoptTogether has several adopt and push one blob into several repositories at once.
func TestAdoptTogether(t *testing.T) {
	s := serve(t)
	content := strings.Repeat("together", 10_000)
	file, sum := blobFile(t, t.TempDir(), content)
	var wg sync.WaitGroup
	for i := range 16 {
		repository := "components/" + string(rune('a'+i%4))
		wg.Go(func() {
			ok, err := s.registry.Adopt(t.Context(), repository, sum, int64(len(content)), linkTo(file))
			if err != nil || !ok {
				t.Errorf("%s: %v, %v", repository, ok, err)
			}
		})
	}
	for range 4 {
		at := s.upload(adminKey)
		wg.Go(func() {
			resp, body := s.do("PUT", at+"&digest="+sum, adminKey, strings.NewReader(content))
			if resp.StatusCode != http.StatusCreated {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
		})
	}
	wg.Wait()
	for _, repository := range []string{"a/mine", "components/a", "components/b", "components/c", "components/d"} {
		_, body := s.do("GET", "/v2/"+repository+"/blobs/"+sum, adminKey, nil)
		require.Equal(t, content, body, repository)
	}
}
