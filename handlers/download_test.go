package handlers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// stored is a file that the store has.
type stored struct {
	path   string
	bytes  []byte
	digest string
}

// store puts size bytes into a file and lets the API hand them out as zlib, in every format.
func (a *api) store(t *testing.T, size int) stored {
	t.Helper()
	f := stored{path: filepath.Join(t.TempDir(), "tarball"), bytes: make([]byte, size)}
	_, _ = rand.NewChaCha8([32]byte{1}).Read(f.bytes)
	sum := sha256.Sum256(f.bytes)
	f.digest = "sha256:" + hex.EncodeToString(sum[:])
	require.NoError(t, os.WriteFile(f.path, f.bytes, 0o600))
	a.found(zlib())
	a.tarballs.open = func(model.Tarball, model.Format) (model.Download, error) {
		file, err := os.Open(f.path)
		return model.Download{Digest: f.digest, Size: int64(size), File: file}, err
	}
	return f
}

const tarGz = base + "/component?component=team/zlib&tag=v1.3&format=tar.gz"

func TestDownload(t *testing.T) {
	a := serve(t)
	f := a.store(t, 3<<20)
	for format, contentType := range map[string]string{
		"tar.gz": "application/gzip", "tar.zst": "application/zstd", "tar": "application/x-tar", "zip": "application/zip",
	} {
		got := a.get(t, base+"/component?component=team/zlib&format="+format)
		require.Equal(t, 200, got.StatusCode)
		require.True(t, bytes.Equal(f.bytes, got.body))
		h := got.Header
		require.Equal(t, contentType, h.Get("Content-Type"))
		require.Equal(t, `"`+f.digest+`"`, h.Get("ETag"))
		require.Equal(t, digestField(f.digest), h.Get("Content-Digest"))
		require.Equal(t, digestField(f.digest), h.Get("Repr-Digest"))
		require.Equal(t, f.digest, h.Get("X-Cooper-Digest"))
		require.Equal(t, zlib().Source.Commit, h.Get("X-Cooper-Commit"))
		require.Equal(t, `attachment; filename="team-zlib-v1.3-linux-amd64.`+format+`"`, h.Get("Content-Disposition"))
		require.Equal(t, "bytes", h.Get("Accept-Ranges"))
		require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"))
		require.Equal(t, "private, no-cache", h.Get("Cache-Control"))
		require.EqualValues(t, len(f.bytes), got.ContentLength)
		require.Empty(t, got.TransferEncoding)
		require.Empty(t, h.Get("Last-Modified"))
	}
	a.logged(t, fmt.Sprintf(`"bytes":%d`, len(f.bytes)))
}

func TestDigestField(t *testing.T) {
	empty := "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	require.Equal(t, "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:", digestField(empty))
	for _, odd := range []string{"", "sha256:", "sha256:zz", "sha512:" + empty[7:], empty + "00"} {
		require.Empty(t, digestField(odd), odd)
	}
}

// TestWhatADigestNamesIsKept: a commit that is built again may have other bytes, so only a digest names what stays.
func TestWhatADigestNamesIsKept(t *testing.T) {
	a := serve(t)
	f := a.store(t, 10)
	c := zlib()
	c.Source.Kind, c.Tag = model.RefCommit, c.Source.Commit
	a.found(c)
	for query, want := range map[string]string{
		"&digest=" + zlib().Tarball.Digest: "private, max-age=31536000, immutable",
		"&commit=" + zlib().Source.Commit:  "private, no-cache",
		"":                                 "private, no-cache",
	} {
		got := a.get(t, tarGz+query)
		require.Equal(t, want, got.Header.Get("Cache-Control"), query)
		require.Equal(t, `"`+f.digest+`"`, got.Header.Get("ETag"))
	}
}

// TestDownloadURLsNameTheBytes: the URL that an answer gives leads to the very value that the answer is about, also when
// the same commit was built again since.
func TestDownloadURLsNameTheBytes(t *testing.T) {
	a := serve(t)
	a.found(zlib())
	m := a.get(t, base+"/component?component=team/zlib&tag=v1.3").json(t)
	links, ok := m["links"].(map[string]any)
	require.True(t, ok)
	require.Equal(t, m["component"], links["tarball"])
	at, err := url.Parse(fmt.Sprint(m["component"]))
	require.NoError(t, err)
	require.Equal(t, zlib().Tarball.Digest, at.Query().Get("digest"))
	require.False(t, at.Query().Has("commit"))
	a.get(t, at.RequestURI())
	require.Equal(t, zlib().Tarball.Digest, a.components.queries[1].Digest)
	require.Equal(t, "linux/amd64", a.components.queries[1].Architecture)
}

func TestFileNames(t *testing.T) {
	for tag, want := range map[string]string{
		"v1.3":              "team-zlib-v1.3-linux-amd64.tar",
		"feature/x":         "team-zlib-feature-x-linux-amd64.tar",
		"a\"; x=\"\r\né/..": "team-zlib-a---x------..-linux-amd64.tar",
	} {
		c := zlib()
		c.Tag = tag
		require.Equal(t, want, fileName(c, model.FormatTar))
	}
	c := zlib()
	c.Name, c.Tag = ".-.hidden", strings.Repeat("x", 300)
	name := fileName(c, model.FormatTarZst)
	require.True(t, strings.HasPrefix(name, "hidden-xxx"))
	require.LessOrEqual(t, len(name), 208)
}

func TestRanges(t *testing.T) {
	a := serve(t)
	f := a.store(t, 1000)
	for name, tt := range map[string]struct {
		ranges string
		status int
		from   int
		to     int
	}{
		"first":           {"bytes=0-99", 206, 0, 99},
		"last":            {"bytes=-10", 206, 990, 999},
		"from":            {"bytes=500-", 206, 500, 999},
		"to past the end": {"bytes=990-2000", 206, 990, 999},
		"last of many":    {"bytes=-99999999999999999999", 206, 0, 999},
		"spaces":          {"Bytes= 5 - 6 ", 206, 5, 6},
		"one is there":    {"bytes=5-6,2000-", 206, 5, 6},
		"all twice":       {"bytes=0-,0-", 200, 0, 999},
		"unknown unit":    {"lines=1-2", 200, 0, 999},
		"no unit":         {"1-2", 200, 0, 999},
		"backwards":       {"bytes=5-1", 416, 0, 0},
		"last none":       {"bytes=-0", 416, 0, 0},
		"beyond":          {"bytes=99999999999-", 416, 0, 0},
		"just beyond":     {"bytes=1000-", 416, 0, 0},
		"far beyond":      {"bytes=99999999999999999999-99999999999999999999", 416, 0, 0},
		"no number":       {"bytes=a-b", 416, 0, 0},
		"signs":           {"bytes=+1-+2", 416, 0, 0},
		"minus":           {"bytes=--5", 416, 0, 0},
		"nothing":         {"bytes=", 416, 0, 0},
		"a dash":          {"bytes=-", 416, 0, 0},
		"one is wrong":    {"bytes=0-5,x", 416, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := a.get(t, tarGz, "Range", tt.ranges)
			require.Equal(t, tt.status, got.StatusCode, string(got.body))
			if tt.status == 416 {
				got.requireCode(t, 416, model.CodeRangeNotSatisfiable)
				require.Equal(t, "bytes */1000", got.Header.Get("Content-Range"))
				for _, h := range []string{"Content-Disposition", "Content-Digest", "Repr-Digest", "ETag"} {
					require.Empty(t, got.Header.Get(h), h)
				}
				require.Equal(t, "no-store", got.Header.Get("Cache-Control"))
				return
			}
			require.Equal(t, string(f.bytes[tt.from:tt.to+1]), string(got.body))
			require.Equal(t, digestField(f.digest), got.Header.Get("Repr-Digest"))
			if tt.status == 206 {
				require.Equal(t, fmt.Sprintf("bytes %d-%d/1000", tt.from, tt.to), got.Header.Get("Content-Range"))
				require.Empty(t, got.Header.Get("Content-Digest"), "it would be that of the part")
				require.EqualValues(t, len(got.body), got.ContentLength)
			}
		})
	}
}

func TestSeveralRanges(t *testing.T) {
	a := serve(t)
	f := a.store(t, 1000)
	got := a.get(t, tarGz, "Range", "bytes=0-9, 100-109, -10")
	require.Equal(t, 206, got.StatusCode)
	mediaType, params, err := mime.ParseMediaType(got.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/byteranges", mediaType)
	require.Empty(t, got.Header.Get("Content-Digest"))
	r := multipart.NewReader(bytes.NewReader(got.body), params["boundary"])
	for _, want := range [][]byte{f.bytes[:10], f.bytes[100:110], f.bytes[990:]} {
		p, err := r.NextPart()
		require.NoError(t, err)
		b, err := io.ReadAll(p)
		require.NoError(t, err)
		require.Equal(t, want, b)
		require.Equal(t, "application/gzip", p.Header.Get("Content-Type"))
	}
	require.EqualValues(t, len(got.body), got.ContentLength)
}

func TestConditions(t *testing.T) {
	a := serve(t)
	f := a.store(t, 1000)
	tag := `"` + f.digest + `"`
	for name, tt := range map[string]struct {
		headers []string
		status  int
	}{
		"has it":                {[]string{"If-None-Match", tag}, 304},
		"has it, weak":          {[]string{"If-None-Match", `"x", W/` + tag}, 304},
		"has any":               {[]string{"If-None-Match", "*"}, 304},
		"has another":           {[]string{"If-None-Match", `"x"`}, 200},
		"has it, and wrong":     {[]string{"If-None-Match", tag, "Range", "bytes=5-1"}, 304},
		"resumes":               {[]string{"If-Range", tag, "Range", "bytes=10-"}, 206},
		"resumes another":       {[]string{"If-Range", `"old"`, "Range", "bytes=10-"}, 200},
		"resumes another wrong": {[]string{"If-Range", `"old"`, "Range", "bytes=5-1"}, 200},
		"resumes by time":       {[]string{"If-Range", time.Now().UTC().Format(http.TimeFormat), "Range", "bytes=10-"}, 200},
		"this one":              {[]string{"If-Match", tag}, 200},
		"not this one":          {[]string{"If-Match", `"x"`}, 412},
	} {
		t.Run(name, func(t *testing.T) {
			got := a.get(t, tarGz, tt.headers...)
			require.Equal(t, tt.status, got.StatusCode)
			switch tt.status {
			case 304:
				require.Empty(t, got.body)
				require.Equal(t, tag, got.Header.Get("ETag"))
				require.Empty(t, got.Header.Get("Content-Digest"))
			case 206:
				require.Equal(t, f.bytes[10:], got.body)
			case 200:
				require.Equal(t, f.bytes, got.body)
			case 412:
				got.requireCode(t, 412, model.CodePreconditionFailed)
			}
		})
	}
}

func TestAnEmptyTarball(t *testing.T) {
	a := serve(t)
	a.store(t, 0)
	for _, ranges := range []string{"", "bytes=0-", "bytes=-5"} {
		got := a.get(t, tarGz, "Range", ranges)
		require.Equal(t, 200, got.StatusCode, ranges)
		require.Zero(t, got.ContentLength)
	}
}

func TestHeadOfADownload(t *testing.T) {
	a := serve(t)
	f := a.store(t, 3<<20)
	got := a.call(t, http.MethodHead, tarGz, nil)
	require.Equal(t, 200, got.StatusCode)
	require.EqualValues(t, len(f.bytes), got.ContentLength)
	require.Equal(t, digestField(f.digest), got.Header.Get("Repr-Digest"))
	require.Empty(t, got.Header.Get("Content-Digest"), "nothing is sent")
	a.logged(t, `"bytes":0`)
	part := a.call(t, http.MethodHead, tarGz, nil, "Range", "bytes=1-2")
	require.Equal(t, 206, part.StatusCode)
	require.EqualValues(t, 2, part.ContentLength)
	require.Equal(t, 416, a.call(t, http.MethodHead, tarGz, nil, "Range", "bytes=5-1").StatusCode)
	require.Equal(t, 304, a.call(t, http.MethodHead, tarGz, nil, "If-None-Match", `"`+f.digest+`"`).StatusCode)
	require.Equal(t, 200, a.get(t, tarGz).StatusCode, "the connection is still good")
}

func TestDownloadFromTheStoreItself(t *testing.T) {
	a := serve(t)
	a.found(zlib())
	digest := zlib().Tarball.Digest
	a.tarballs.open = func(model.Tarball, model.Format) (model.Download, error) {
		return model.Download{Digest: digest, Size: 10, URL: "https://store.example/b?X-Amz-Signature=s3cret&x=1"}, nil
	}
	a.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	got := a.get(t, tarGz, "Range", "bytes=1-")
	require.Equal(t, http.StatusTemporaryRedirect, got.StatusCode)
	require.Equal(t, "https://store.example/b?X-Amz-Signature=s3cret&x=1", got.Header.Get("Location"))
	require.Equal(t, "no-store", got.Header.Get("Cache-Control"))
	require.Equal(t, digest, got.Header.Get("X-Cooper-Digest"))
	require.Equal(t, zlib().Source.Commit, got.Header.Get("X-Cooper-Commit"))
	require.Empty(t, got.Header.Get("Content-Digest"), "the body that it would be of is not here")
	require.Empty(t, got.body)
	require.Zero(t, got.ContentLength)
	require.NotContains(t, a.log.String(), "s3cret")

	head := a.call(t, http.MethodHead, tarGz, nil) // the URL is for GET alone
	require.Equal(t, 200, head.StatusCode)
	require.EqualValues(t, 10, head.ContentLength)
	require.Equal(t, `"`+digest+`"`, head.Header.Get("ETag"))
}

// TestConditionsOfWhatTheStoreSends: the store does not know our entity tags, so it never gets to see a request that
// they settle.
func TestConditionsOfWhatTheStoreSends(t *testing.T) {
	a := serve(t)
	a.found(zlib())
	tag := `"` + zlib().Tarball.Digest + `"`
	a.tarballs.open = func(model.Tarball, model.Format) (model.Download, error) {
		return model.Download{Digest: zlib().Tarball.Digest, Size: 10, URL: "https://store.example/b"}, nil
	}
	a.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for name, tt := range map[string]struct {
		headers []string
		get     int
		head    int
	}{
		"none":             {nil, 307, 200},
		"has it":           {[]string{"If-None-Match", tag}, 304, 304},
		"has it, weak":     {[]string{"If-None-Match", `"x,", W/` + tag}, 304, 304},
		"has any":          {[]string{"If-None-Match", " *"}, 304, 304},
		"has another":      {[]string{"If-None-Match", `"x"`}, 307, 200},
		"no tag":           {[]string{"If-None-Match", "x, " + tag}, 307, 200},
		"not closed":       {[]string{"If-None-Match", tag[:9]}, 307, 200},
		"this one":         {[]string{"If-Match", `"x" ,` + tag}, 307, 200},
		"any":              {[]string{"If-Match", "*"}, 307, 200},
		"not this one":     {[]string{"If-Match", `"x"`}, 412, 412},
		"this one, weak":   {[]string{"If-Match", "W/" + tag}, 412, 412},
		"another, has it":  {[]string{"If-Match", `"x"`, "If-None-Match", tag}, 412, 412},
		"this one, has it": {[]string{"If-Match", tag, "If-None-Match", tag}, 304, 304},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.head, a.call(t, http.MethodHead, tarGz, nil, tt.headers...).StatusCode)
			got := a.get(t, tarGz, tt.headers...)
			require.Equal(t, tt.get, got.StatusCode)
			require.Equal(t, tt.get == 307, got.Header.Get("Location") != "")
			switch tt.get {
			case 304:
				require.Empty(t, got.body)
				require.Equal(t, tag, got.Header.Get("ETag"))
				require.Equal(t, "private, no-cache", got.Header.Get("Cache-Control"))
			case 412:
				got.requireCode(t, 412, model.CodePreconditionFailed)
				require.Equal(t, "no-store", got.Header.Get("Cache-Control"))
			}
		})
	}
}

// bearerAuth takes the key from the header Authorization, too.
type bearerAuth struct{ Authenticator }

func (a bearerAuth) Enter(ctx context.Context, h http.Header, clientIP string) (Principal, error) {
	if key, ok := strings.CutPrefix(h.Get("Authorization"), "Bearer "); ok {
		h = http.Header{"X-Api-Key": {key}}
	}
	return a.Authenticator.Enter(ctx, h, clientIP)
}

// TestCurlDownloadsFromTheStoreItself runs the README's way to download: curl takes up what it has, and the store is not
// given the key.
func TestCurlDownloadsFromTheStoreItself(t *testing.T) {
	a := serve(t, func(c *Config) { c.Auth = bearerAuth{c.Auth} })
	f := a.store(t, 100_000)
	var got http.Header
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		http.ServeFile(w, r, f.path)
	}))
	t.Cleanup(store.Close)
	elsewhere := strings.Replace(store.URL, "127.0.0.1", "localhost", 1)
	a.tarballs.open = func(model.Tarball, model.Format) (model.Download, error) {
		return model.Download{Digest: f.digest, Size: int64(len(f.bytes)), URL: elsewhere + "/b"}, nil
	}
	file := filepath.Join(t.TempDir(), "zlib.tar.gz")
	require.NoError(t, os.WriteFile(file, f.bytes[:40_000], 0o600))
	args := []string{"--silent", "--show-error", "--fail-with-body", "-L", "-H", "Authorization: Bearer " + fullKey, "-C", "-", "-o", file, a.URL + tarGz}
	out, err := exec.CommandContext(t.Context(), "curl", args...).CombinedOutput()
	require.NoError(t, err, string(out))
	have, err := os.ReadFile(file)
	require.NoError(t, err)
	require.True(t, bytes.Equal(f.bytes, have))
	require.Equal(t, "bytes=40000-", got.Get("Range"))
	require.NotContains(t, fmt.Sprint(got), fullKey)
}

func TestDownloadRefuses(t *testing.T) {
	for code, status := range map[model.Code]int{model.CodeArtifactCorrupt: 500, model.CodeNotFound: 404, model.CodeStorageFull: 507} {
		a := serve(t)
		a.found(zlib())
		a.tarballs.open = func(model.Tarball, model.Format) (model.Download, error) {
			return model.Download{}, model.Errorf(code, "No.")
		}
		got := a.get(t, tarGz)
		got.requireCode(t, status, code)
		require.Empty(t, got.Header.Get("Content-Disposition"))
	}
	a := serve(t)
	a.found(zlib())
	a.tarballs.open = func(model.Tarball, model.Format) (model.Download, error) {
		return model.Download{Digest: "sha256:x", Size: 4, File: unseekable{}}, nil
	}
	a.get(t, tarGz).requireCode(t, 500, model.CodeInternal)
}

type unseekable struct{}

func (unseekable) Read([]byte) (int, error)       { return 0, io.EOF }
func (unseekable) Seek(int64, int) (int64, error) { return 0, os.ErrInvalid }
func (unseekable) Close() error                   { return nil }
