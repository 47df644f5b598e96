package embedded_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"cooper/internal/model"
	"cooper/registry/embedded"
)

// serveRoom starts a registry whose disk is full while the function that it returns was last called with true.
func serveRoom(t *testing.T) (s *site, full func(bool)) {
	t.Helper()
	var now atomic.Bool
	s = serveAt(t, filepath.Join(t.TempDir(), "registry"), func(c *embedded.Config) {
		c.Room = func() error {
			if now.Load() {
				return model.Errorf(model.CodeStorageFull, "The disk is full.")
			}
			return nil
		}
	})
	return s, now.Store
}

// TestNoRoom refuses every write while there is no room, and goes on with reads, deletes and, later, the same upload.
func TestNoRoom(t *testing.T) {
	s, full := serveRoom(t)
	img, err := random.Image(1<<10, 1)
	require.NoError(t, err)
	require.NoError(t, remote.Write(s.tag("a/b:1"), img, admin()))
	raw, err := img.RawManifest()
	require.NoError(t, err)
	before := s.upload(adminKey)
	path, _, _ := strings.Cut(before, "?")

	full(true)
	for name, c := range map[string]struct{ method, path, body string }{
		"begin an upload":    {"POST", "/v2/a/mine/blobs/uploads/", ""},
		"go on with one":     {"PATCH", before, "abc"},
		"end one":            {"PUT", before + "&digest=" + digest.FromString("abc").String(), "abc"},
		"a manifest":         {"PUT", "/v2/a/b/manifests/2", string(raw)},
		"a blob from beside": {"POST", "/v2/a/mine/blobs/uploads/?mount=" + digest.FromString("x").String() + "&from=a/b", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := &site{t: t, url: s.url, root: s.root}
			began := time.Now()
			resp, body := s.do(c.method, c.path, adminKey, strings.NewReader(c.body), "Content-Type", ociManifest)
			s.requireRefused(resp, body, http.StatusInsufficientStorage, "UNAVAILABLE")
			require.Less(t, time.Since(began), time.Second)
			resp, body = s.do(c.method, c.path, "wrong", strings.NewReader(c.body))
			s.requireRefused(resp, body, http.StatusUnauthorized, "UNAUTHORIZED")
		})
	}
	_, err = remote.Image(s.tag("a/b:1"), admin())
	require.NoError(t, err, "reads go on")
	resp, _ := s.do("GET", path, adminKey, nil)
	require.Equal(t, http.StatusNoContent, resp.StatusCode, "also of an upload's status")
	require.NoError(t, remote.Delete(s.tag("a/b:1"), admin()), "deletes make room")

	full(false)
	resp, body := s.do("PUT", before+"&digest="+digest.FromString("abc").String(), adminKey, strings.NewReader("abc"))
	require.Equal(t, http.StatusCreated, resp.StatusCode, body)
}

// TestRoomEndsDuringAnUpload makes sure that one large blob cannot take what must stay free.
func TestRoomEndsDuringAnUpload(t *testing.T) {
	const size, filled = 256 << 20, 32 << 20
	s, full := serveRoom(t)
	next := s.upload(adminKey)
	first := io.LimitReader(&pattern{}, filled)
	in := io.MultiReader(first, readerFunc(func([]byte) (int, error) {
		full(true)
		return 0, io.EOF
	}), io.LimitReader(&pattern{}, size-filled))
	resp, body := s.do("PATCH", next, adminKey, in)
	s.requireRefused(resp, body, http.StatusInsufficientStorage, "UNAVAILABLE")

	full(false)
	path, _, _ := strings.Cut(next, "?")
	resp, _ = s.do("GET", path, adminKey, nil)
	_, last, _ := strings.Cut(resp.Header.Get("Range"), "-")
	kept, err := strconv.Atoi(last)
	require.NoError(t, err)
	require.Greater(t, kept, filled)
	require.Less(t, kept, size-filled, "the rest is not taken")
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestStalledBody is B16: a body that stands still, on which whoever serves the registry has set a deadline, is answered
// in the OCI shape, and the upload can be taken up again where it stopped.
func TestStalledBody(t *testing.T) {
	s := serve(t)
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assertNoError(t, http.NewResponseController(w).SetReadDeadline(time.Now().Add(150*time.Millisecond)))
		s.handler.ServeHTTP(w, r)
	}))
	defer slow.Close()
	next := s.upload(adminKey)
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(slow.URL, "http://"))
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	user := base64.StdEncoding.EncodeToString([]byte("u:" + adminKey))
	_, err = fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: x\r\nAuthorization: Basic %s\r\nContent-Length: 10\r\n\r\nabc", next, user)
	require.NoError(t, err)
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	s.requireRefused(answer{resp.StatusCode, resp.Header}, string(text), http.StatusRequestTimeout, "SIZE_INVALID")
	_, err = in.ReadByte()
	require.ErrorIs(t, err, io.EOF, "the connection is closed")

	path, _, _ := strings.Cut(next, "?")
	again, _ := s.do("GET", path, adminKey, nil)
	require.Equal(t, "0-2", again.Header.Get("Range"))
	again, body := s.do("PUT", again.Header.Get("Location")+"&digest="+digest.FromString("abcdef").String(), adminKey, strings.NewReader("def"))
	require.Equal(t, http.StatusCreated, again.StatusCode, body)
}

func assertNoError(t *testing.T, err error) {
	t.Helper()
	if err != nil { // not require: this is not the test's goroutine
		t.Error(err)
	}
}
