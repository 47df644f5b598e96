package tarball_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/s3blob"

	"cooper/internal/model"
	"cooper/storage/tarball"
)

var commitTime = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

// site is a store of one kind, with the means to look behind it.
type site struct {
	*tarball.Store
	reopen  func() *tarball.Store
	temps   string
	dir     string // of a store on disk; empty on S3
	keys    func() []string
	rewrite func(key string, f func([]byte) []byte) // nil from f deletes
}

// onEachKind runs a test on a store of every kind.
func onEachKind(t *testing.T, set tarball.Settings, f func(t *testing.T, s *site)) {
	t.Helper()
	for name, format := range map[string]model.Format{"disk tar.gz": model.FormatTarGz, "disk tar.zst": model.FormatTarZst} {
		t.Run(name, func(t *testing.T) {
			set.Compression = format
			f(t, onDisk(t, t.TempDir(), set))
		})
	}
	t.Run("s3", func(t *testing.T) { f(t, onS3(t, set)) })
}

func onDisk(t *testing.T, base string, set tarball.Settings) *site {
	t.Helper()
	s := &site{dir: filepath.Join(base, "tarballs"), temps: filepath.Join(base, "tarballs", "incoming")}
	s.reopen = func() *tarball.Store {
		store, err := tarball.OpenDisk(tarball.DiskConfig{Dir: s.dir, TreesDir: filepath.Join(base, "trees"), Settings: set})
		require.NoError(t, err)
		return store
	}
	s.keys = func() []string { return files(t, s.dir) }
	s.rewrite = func(key string, f func([]byte) []byte) {
		path := filepath.Join(s.dir, key)
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		if raw = f(raw); raw == nil {
			require.NoError(t, os.Remove(path))
			return
		}
		require.NoError(t, os.Chmod(path, 0o600))
		require.NoError(t, os.WriteFile(path, raw, 0o600))
	}
	s.Store = s.reopen()
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func onS3(t *testing.T, set tarball.Settings) *site {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	backend := s3mem.New()
	require.NoError(t, backend.CreateBucket("components"))
	server := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(server.Close)
	address := "s3://components?region=us-east-1&use_path_style=true&prefix=site/&endpoint=" + url.QueryEscape(server.URL)
	bucket, err := blob.OpenBucket(t.Context(), address)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, bucket.Close()) })

	temps := t.TempDir()
	s := &site{temps: filepath.Join(temps, "incoming")}
	s.reopen = func() *tarball.Store {
		store, err := tarball.OpenS3(t.Context(), tarball.S3Config{URL: address, TempDir: temps, Settings: set})
		require.NoError(t, err)
		return store
	}
	s.keys = func() []string {
		var keys []string
		for all := bucket.List(nil); ; {
			o, err := all.Next(context.Background())
			if err == io.EOF { //nolint:errorlint // as the library documents it
				return keys
			}
			require.NoError(t, err)
			keys = append(keys, o.Key)
		}
	}
	s.rewrite = func(key string, f func([]byte) []byte) {
		raw, err := bucket.ReadAll(t.Context(), key)
		require.NoError(t, err)
		if raw = f(raw); raw == nil {
			require.NoError(t, bucket.Delete(t.Context(), key))
			return
		}
		require.NoError(t, bucket.WriteAll(t.Context(), key, raw, nil))
	}
	s.Store = s.reopen()
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// files returns the regular files below dir, relative to it.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			found = append(found, rel)
		}
		return err
	}))
	return found
}

// under returns the keys that begin with the prefix.
func (s *site) under(prefix string) []string {
	var found []string
	for _, k := range s.keys() {
		if strings.HasPrefix(k, prefix) {
			found = append(found, k)
		}
	}
	return found
}

// get returns the bytes of a download, or of a stretch of them, the way that a client gets them.
func get(t *testing.T, d model.Download, from, to int64) []byte {
	t.Helper()
	if d.URL == "" {
		defer d.File.Close()
		require.IsType(t, (*os.File)(nil), d.File, "else no sendfile")
		_, err := d.File.Seek(from, io.SeekStart)
		require.NoError(t, err)
		b, err := io.ReadAll(io.LimitReader(d.File, to-from))
		require.NoError(t, err)
		return b
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.URL, nil)
	require.NoError(t, err)
	r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to-1))
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusPartialContent, resp.StatusCode)
	require.Contains(t, resp.Header.Get("Content-Disposition"), "attachment")
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return b
}

// fetch opens a tarball in a format, and checks what came against its digest and size.
func (s *site) fetch(t *testing.T, tb model.Tarball, f model.Format) []byte {
	t.Helper()
	d, err := s.Open(t.Context(), tb, f, "")
	require.NoError(t, err)
	b := get(t, d, 0, d.Size)
	require.Equal(t, d.Size, int64(len(b)))
	require.Equal(t, d.Digest, digestOf(b))
	return b
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func keyOf(tb model.Tarball) string {
	digits := strings.TrimPrefix(tb.Digest, "sha256:")
	return "sha256/" + digits[:2] + "/" + digits
}

// entry is one entry of a tar.
type entry struct {
	tar.Header
	body string
}

func file(name, body string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(body)), Uid: 1000, Uname: "joe", ModTime: time.Now()}, body}
}

func folder(name string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, ModTime: time.Now()}}
}

func link(kind byte, name, to string) entry {
	return entry{Header: tar.Header{Typeflag: kind, Name: name, Linkname: to, Mode: 0o644}}
}

func tarOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		require.NoError(t, w.WriteHeader(&e.Header))
		_, err := io.WriteString(w, e.body)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// sample is a tar with one of everything that a component may have.
func sample(t *testing.T) []byte {
	t.Helper()
	random := make([]byte, 3<<20)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(random)
	tool := file("bin/tool", string(random))
	tool.Mode = 0o755
	setuid := file("bin/zsu", "#!/bin/sh\n")
	setuid.Mode = 0o4755
	return tarOf(t, folder("bin/"), link(tar.TypeSymlink, "bin/sh", "/bin/busybox"), tool, link(tar.TypeLink, "bin/tool2", "bin/tool"), setuid,
		folder("empty/"), folder("lib/"), file("lib/"+strings.Repeat("long", 60)+".txt", strings.Repeat("text ", 300_000)), file("lib/empty", ""), file("lib/ünï", "x"))
}

func pack(t *testing.T, s *site, raw []byte) model.Tarball {
	t.Helper()
	tb, _, err := s.Pack(t.Context(), bytes.NewReader(raw), commitTime)
	require.NoError(t, err)
	return tb
}

// run runs a program in a folder and returns what it printed.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	c.Dir = dir
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s: %s", name, out)
	return string(out)
}
