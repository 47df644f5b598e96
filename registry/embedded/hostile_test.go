package embedded_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
)

const ociManifest = "application/vnd.oci.image.manifest.v1+json"

func writeFile(path, text string) error { return os.WriteFile(path, []byte(text), 0o600) }

// files returns the regular files below the registry's root.
func (s *site) files() []string {
	var found []string
	err := filepath.WalkDir(s.root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			found = append(found, strings.TrimPrefix(path, s.root))
		}
		return err
	})
	require.NoError(s.t, err)
	return found
}

func TestBadRequests(t *testing.T) {
	absent := digest.FromString("absent").String()
	manifest := func(layer string) string {
		return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":2},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":%q,"size":9}]}`, ociManifest, layer, layer)
	}
	large := `{"schemaVersion":2,"annotations":{"a":"` + strings.Repeat("x", 4<<20) + `"}}`
	index := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":%q,"digest":%q,"size":9}]}`, ociManifest, absent)
	for _, c := range []struct {
		name, method, path string
		body               io.Reader
		contentType        string
		status             int
		code               string
	}{
		{"B139 blob absent", "PUT", "/v2/a/b/manifests/1", strings.NewReader(manifest(absent)), ociManifest, 400, "MANIFEST_BLOB_UNKNOWN"},
		{"B139 manifest absent", "PUT", "/v2/a/b/manifests/1", strings.NewReader(index), "application/vnd.oci.image.index.v1+json", 400, "MANIFEST_BLOB_UNKNOWN"},
		{"B140 large", "PUT", "/v2/a/b/manifests/1", strings.NewReader(large), ociManifest, 413, "MANIFEST_INVALID"},
		{"B140 large, length not told", "PUT", "/v2/a/b/manifests/1", io.MultiReader(strings.NewReader(large)), ociManifest, 413, "MANIFEST_INVALID"},
		{"B140 not JSON", "PUT", "/v2/a/b/manifests/1", strings.NewReader("{"), ociManifest, 400, "MANIFEST_INVALID"},
		{"B140 media type", "PUT", "/v2/a/b/manifests/1", strings.NewReader("{}"), "text/plain", 400, "MANIFEST_INVALID"},
		{"B140 no media type", "PUT", "/v2/a/b/manifests/1", strings.NewReader("{}"), "", 400, "MANIFEST_INVALID"},
		{"B141 catalog", "GET", "/v2/_catalog?n=99999999999", nil, "", 400, "PAGINATION_NUMBER_INVALID"},
		{"B141 catalog, beyond int64", "GET", "/v2/_catalog?n=99999999999999999999999", nil, "", 400, "PAGINATION_NUMBER_INVALID"},
		{"B141 negative", "GET", "/v2/_catalog?n=-1", nil, "", 400, "PAGINATION_NUMBER_INVALID"},
		{"B141 tags", "GET", "/v2/a/b/tags/list?n=x", nil, "", 400, "PAGINATION_NUMBER_INVALID"},
		{"tags of nothing", "GET", "/v2/a/b/tags/list?n=99999999999", nil, "", 404, "NAME_UNKNOWN"},
		{"manifest absent", "GET", "/v2/a/b/manifests/none", nil, "", 404, "MANIFEST_UNKNOWN"},
		{"blob absent", "GET", "/v2/a/b/blobs/" + absent, nil, "", 404, "BLOB_UNKNOWN"},
		{"digest malformed", "GET", "/v2/a/b/blobs/sha256:xyz", nil, "", 400, "DIGEST_INVALID"},
		{"digest too short", "GET", "/v2/a/b/manifests/sha256:abc", nil, "", 400, "DIGEST_INVALID"},
		{"upload unknown", "PATCH", "/v2/a/b/blobs/uploads/0197?_state=x", strings.NewReader("x"), "", 404, "BLOB_UPLOAD_INVALID"},
		{"upload unknown, asked for", "GET", "/v2/a/b/blobs/uploads/0197", nil, "", 404, "BLOB_UPLOAD_UNKNOWN"},
		{"name in upper case", "GET", "/v2/A/b/manifests/1", nil, "", 400, "NAME_INVALID"},
		{"name that begins with a port", "POST", "/v2/localhost:5000/x/blobs/uploads/", nil, "", 400, "NAME_INVALID"},
		{"name with a port", "GET", "/v2/mirror/localhost:5000/x/manifests/1", nil, "", 404, "NAME_INVALID"},
		{"name too long", "GET", "/v2/" + strings.Repeat("a", 300) + "/manifests/1", nil, "", 400, "NAME_INVALID"},
		{"no such page", "GET", "/v2/a/b/nothing", nil, "", 404, "NAME_INVALID"},
		{"referrers", "GET", "/v2/a/b/referrers/" + absent, nil, "", 404, "NAME_INVALID"},
		{"method", "POST", "/v2/a/b/manifests/1", strings.NewReader("{}"), ociManifest, 405, "UNSUPPORTED"},
		{"method at the catalog", "DELETE", "/v2/_catalog", nil, "", 405, "UNSUPPORTED"},
		{"delete of nothing", "DELETE", "/v2/a/b/manifests/none", nil, "", 404, "MANIFEST_UNKNOWN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t)
			began := time.Now()
			resp, body := s.do(c.method, c.path, adminKey, c.body, "Content-Type", c.contentType)
			if strings.HasPrefix(c.name, "B139 blob") { // one line for the config, one for the layer
				body = regexp.MustCompile(`,\{"code":"MANIFEST_BLOB_UNKNOWN".*\}\]`).ReplaceAllString(body, "]")
			}
			s.requireRefused(resp, body, c.status, c.code)
			require.Empty(t, s.files())
			require.Less(t, time.Since(began), 5*time.Second)
		})
	}
}

// upload begins an upload and returns where it goes on.
func (s *site) upload(key string) string {
	s.t.Helper()
	resp, body := s.do("POST", "/v2/a/mine/blobs/uploads/", key, nil)
	require.Equal(s.t, http.StatusAccepted, resp.StatusCode, body)
	require.True(s.t, strings.HasPrefix(resp.Header.Get("Location"), "/v2/a/mine/blobs/uploads/"), "a relative URL")
	return resp.Header.Get("Location")
}

// TestWrongDigest is B138: refused, and nothing stays on the disk.
func TestWrongDigest(t *testing.T) {
	for _, chunks := range []int{0, 1, 3} {
		t.Run(fmt.Sprint(chunks, " chunks"), func(t *testing.T) {
			s := serve(t)
			next := s.upload(adminKey)
			for range chunks {
				resp, body := s.do("PATCH", next, adminKey, strings.NewReader("some bytes"), "Content-Type", "application/x-www-form-urlencoded")
				require.Equal(t, http.StatusAccepted, resp.StatusCode, body)
				next = resp.Header.Get("Location")
			}
			resp, body := s.do("PUT", next+"&digest="+digest.FromString("other bytes").String(), adminKey, strings.NewReader("the rest"))
			s.requireRefused(resp, body, http.StatusBadRequest, "DIGEST_INVALID")
			require.Empty(t, s.files())
		})
	}
}

// TestChunks is the control row of TestWrongDigest: the same with the right digest is stored and can be had.
func TestChunks(t *testing.T) {
	s := serve(t)
	next := s.upload(adminKey)
	for i, chunk := range []string{"first,", "second,"} {
		offset := i * len("first,")
		resp, body := s.do("PATCH", next, adminKey, strings.NewReader(chunk), "Content-Range", fmt.Sprintf("%d-%d", offset, offset+len(chunk)-1))
		require.Equal(t, http.StatusAccepted, resp.StatusCode, body)
		next = resp.Header.Get("Location")
	}
	want := digest.FromString("first,second,third").String()
	resp, body := s.do("PUT", next+"&digest="+want, adminKey, strings.NewReader("third"))
	require.Equal(t, http.StatusCreated, resp.StatusCode, body)
	resp, body = s.do("GET", "/v2/a/mine/blobs/"+want, adminKey, nil)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, "first,second,third", body)
	resp, body = s.do("GET", "/v2/a/mine/blobs/"+want, adminKey, nil, "Range", "bytes=6-11")
	require.Equal(t, http.StatusPartialContent, resp.StatusCode)
	require.Equal(t, "second", body)
	for _, f := range s.files() {
		require.NotContains(t, f, "_uploads", "an upload that is done leaves nothing")
	}
}

// TestBrokenBody sends half of a body and then no more: the client's fault, and the upload can be taken up again.
func TestBrokenBody(t *testing.T) {
	s := serve(t)
	next := s.upload(adminKey)
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", s.host)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	user := base64.StdEncoding.EncodeToString([]byte("u:" + adminKey))
	_, err = fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: x\r\nAuthorization: Basic %s\r\nContent-Length: 10\r\n\r\nhalf,", next, user)
	require.NoError(t, err)
	tcp, ok := conn.(*net.TCPConn)
	require.True(t, ok)
	require.NoError(t, tcp.CloseWrite())
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	s.requireRefused(answer{resp.StatusCode, resp.Header}, string(text), http.StatusBadRequest, "SIZE_INVALID")

	path, _, _ := strings.Cut(next, "?")
	again, _ := s.do("GET", path, adminKey, nil)
	require.Equal(t, http.StatusNoContent, again.StatusCode)
	require.Equal(t, "0-4", again.Header.Get("Range"))
	want := digest.FromString("half,whole").String()
	again, body := s.do("PUT", again.Header.Get("Location")+"&digest="+want, adminKey, strings.NewReader("whole"))
	require.Equal(t, http.StatusCreated, again.StatusCode, body)
}

func TestUploadRange(t *testing.T) {
	s := serve(t)
	for _, cr := range []string{"x", "1", "5-1", "7-9", "-5-1", "99999999999999999999999-1"} {
		resp, body := s.do("PATCH", s.upload(adminKey), adminKey, strings.NewReader("abc"), "Content-Range", cr)
		s.requireRefused(resp, body, http.StatusRequestedRangeNotSatisfiable, "RANGE_INVALID")
	}
}

// TestCancelUpload makes sure that whoever may push may give up an upload, which leaves nothing.
func TestCancelUpload(t *testing.T) {
	s := serve(t)
	resp, body := s.do("PATCH", s.upload(pushKey), pushKey, strings.NewReader("abc"))
	require.Equal(t, http.StatusAccepted, resp.StatusCode, body)
	resp, body = s.do("DELETE", resp.Header.Get("Location"), pushKey, nil)
	require.Equal(t, http.StatusNoContent, resp.StatusCode, body)
	require.Empty(t, s.files())
}

// TestFormIsNotKept makes sure that a form's body is neither kept nor read for somebody without a key.
func TestFormIsNotKept(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	s := serve(t)
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	part, err := w.CreateFormFile("f", "f")
	require.NoError(t, err)
	_, err = io.CopyN(part, rand.Reader, 40<<20)
	require.NoError(t, err)
	require.NoError(t, w.Close())

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/v2/a/b/blobs/uploads/", &form)
	require.NoError(t, err)
	req.Header.Set("Content-Type", w.FormDataContentType())
	req.Header.Set("Expect", "100-continue")
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
	left, err := os.ReadDir(tmp)
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestLogHasNoKey reads the whole log of good and bad requests, with debug lines, for what is secret.
func TestLogHasNoKey(t *testing.T) {
	s := serve(t)
	for _, key := range []string{adminKey, pushKey, "a-wrong-key-canary-5511"} {
		s.do("GET", "/v2/a/b/manifests/none?api_key="+adminKey, key, nil, "Referer", "http://x/?k="+adminKey)
		s.do("GET", "/v2/_catalog", "", nil, "Authorization", "Bearer "+key)
		s.do("PUT", "/v2/a/b/manifests/1", key, strings.NewReader("{"))
	}
	state := s.upload(pushKey)
	_, state, _ = strings.Cut(state, "_state=")
	log := s.log.String()
	require.Contains(t, log, "/v2/a/b/manifests/none", "the log is there at all")
	for _, secret := range []string{adminKey, pushKey, "a-wrong-key-canary-5511", state, "api_key"} {
		require.NotContains(t, log, secret)
	}
	require.NotContains(t, log, "level=ERROR", "nothing went wrong on our side")
	require.NotContains(t, log, "level=WARN")
}
