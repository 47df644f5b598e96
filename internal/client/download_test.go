package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// store serves a file as Cooper does: with ranges, and its digest in the header.
type store struct {
	*Client
	mu      sync.Mutex
	data    []byte
	silent  bool                                                               // says no digest
	breaks  func(n int, w http.ResponseWriter, r *http.Request) (handled bool) // may answer the n-th request, from 0, itself
	ranges  []string                                                           // Range of each request
	headers []http.Header
}

func newStore(t *testing.T, size int) *store {
	t.Helper()
	s := &store{data: make([]byte, size)}
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(s.data)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.Client = &Client{URL: server.URL, Key: "k"}
	return s
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	n := len(s.ranges)
	s.ranges = append(s.ranges, r.Header.Get("Range"))
	s.headers = append(s.headers, r.Header)
	s.mu.Unlock()
	if s.breaks != nil && s.breaks(n, w, r) {
		return
	}
	s.send(w, r)
}

func (s *store) send(w http.ResponseWriter, r *http.Request) {
	if !s.silent {
		w.Header().Set("Etag", `"`+s.digest()+`"`)
		w.Header().Set("X-Cooper-Digest", s.digest())
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.data))
}

func (s *store) digest() string {
	sum := sha256.Sum256(s.data)
	return sha256Digest(sum[:])
}

func (s *store) download(t *testing.T) Download {
	t.Helper()
	return Download{
		Query: url.Values{"component": {"c"}, "format": {"tar.gz"}}, Part: filepath.Join(t.TempDir(), "part"),
		Digest: s.digest(), Size: int64(len(s.data)), retryAfter: time.Millisecond,
	}
}

func (s *store) mustFetch(t *testing.T, d Download) {
	t.Helper()
	f, err := s.Download(t.Context(), d)
	require.NoError(t, err)
	defer f.Close()
	got, err := io.ReadAll(f)
	require.NoError(t, err)
	require.True(t, bytes.Equal(s.data, got), "%d bytes instead of %d", len(got), len(s.data))
}

// cutAfter lets at most n bytes of each answer through and then drops the connection.
func (s *store) cutAfter(n int) func(int, http.ResponseWriter, *http.Request) bool {
	return func(_ int, w http.ResponseWriter, r *http.Request) bool {
		s.send(&cutter{ResponseWriter: w, left: n}, r)
		return true
	}
}

type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b[:min(len(b), c.left)])
	if c.left -= n; c.left <= 0 && err == nil {
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

func TestADownload(t *testing.T) {
	s := newStore(t, 3<<20)
	d := s.download(t)
	var have, whole int64
	d.Progress = func(h, w int64) { have, whole = h, w }
	s.mustFetch(t, d)
	require.Equal(t, []string{""}, s.ranges)
	require.Equal(t, d.Size, have)
	require.Equal(t, d.Size, whole)
	require.Equal(t, "k", s.headers[0].Get("X-Api-Key"))
	require.Equal(t, "identity", s.headers[0].Get("Accept-Encoding"), "what is unpacked on the way has other bytes")
	s.mustFetch(t, d)
	require.Len(t, s.ranges, 1, "what is whole is not asked for again")
}

// TestADownloadOfWhatWasBuiltAgain: a commit that was built again meanwhile has other bytes, and what was asked for is
// still got.
func TestADownloadOfWhatWasBuiltAgain(t *testing.T) {
	s, again := newStore(t, 1000), newStore(t, 2000)
	s.breaks = func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("digest") == s.digest() {
			return false
		}
		again.send(w, r)
		return true
	}
	d := s.download(t)
	d.Query = Component{Name: "c", Tag: "v1", Architecture: "linux/amd64", Commit: "c0ffee", Digest: d.Digest}.Pinned("tar.gz")
	s.mustFetch(t, d)
	require.Len(t, s.ranges, 1)
}

// However short the connections live, each goes on where the one before broke.
func TestADownloadWhoseConnectionsBreak(t *testing.T) {
	for _, test := range []struct {
		name string
		size int
		cut  int
	}{
		{"at every byte", 97, 1},
		{"at every second byte", 97, 2},
		{"at every seventh byte", 300, 7},
		{"at a buffer's end", 4 << 10, 256},
		{"before the last byte", 1000, 999},
		{"in the middle of a large one", 5 << 20, 700_001},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStore(t, test.size)
			s.breaks = s.cutAfter(test.cut)
			d := s.download(t)
			broken := 0
			d.Broken = func(error, int64) { broken++ }
			s.mustFetch(t, d)
			for i, r := range s.ranges[1:] {
				require.Equal(t, "bytes="+strconv.Itoa((i+1)*test.cut)+"-", r)
				require.Equal(t, `"`+s.digest()+`"`, s.headers[i+1].Get("If-Range"))
			}
			require.GreaterOrEqual(t, broken, (test.size-1)/test.cut)
		})
	}
}

// A download that was given up is taken up by the next run.
func TestADownloadInTwoRuns(t *testing.T) {
	s := newStore(t, 1<<20)
	s.breaks = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n == 0 {
			return s.cutAfter(300_000)(n, w, r)
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	d := s.download(t)
	_, err := s.Download(t.Context(), d)
	require.ErrorContains(t, err, "300000 bytes that have come are kept")
	require.Len(t, s.ranges, 1+mostTries)
	s.breaks = nil
	s.ranges = nil
	s.mustFetch(t, d)
	require.Equal(t, []string{"bytes=300000-"}, s.ranges)
}

func TestADownloadThatIsInterruptedIsKept(t *testing.T) {
	s := newStore(t, 1<<20)
	ctx, cancel := context.WithCancelCause(t.Context())
	s.breaks = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Length", strconv.Itoa(len(s.data)))
		_, _ = w.Write(s.data[:1000])
		_ = http.NewResponseController(w).Flush()
		<-ctx.Done()
		return true
	}
	d := s.download(t)
	d.Progress = func(int64, int64) { cancel(errors.New("interrupted")) }
	_, err := s.Download(ctx, d)
	require.ErrorContains(t, err, "interrupted")
	raw, err := os.ReadFile(d.Part)
	require.NoError(t, err)
	require.True(t, bytes.Equal(s.data[:1000], raw))
}

// Whatever a server makes of a range, what comes out is whole or not at all.
func TestServersThatDoNotResumeWell(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer func(s *store, w http.ResponseWriter, r *http.Request)
	}{
		{"no ranges", func(s *store, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(s.data) }},
		{"another range", func(s *store, w http.ResponseWriter, r *http.Request) {
			r.Header.Set("Range", "bytes=10-")
			s.send(w, r)
		}},
		{"no Content-Range", func(s *store, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(s.data[100:])
		}},
		{"other bytes", func(_ *store, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 100-1999/2000")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(make([]byte, 1900))
		}},
		{"not satisfiable", func(_ *store, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStore(t, 2000)
			s.breaks = func(n int, w http.ResponseWriter, r *http.Request) bool {
				if n == 0 {
					test.answer(s, w, r)
				}
				return n == 0
			}
			d := s.download(t)
			require.NoError(t, os.WriteFile(d.Part, s.data[:100], 0o600))
			s.mustFetch(t, d)
			require.Equal(t, "bytes=100-", s.ranges[0])
		})
	}
}

// A part that does not belong to the file costs one more download, not the download.
func TestAPartOfSomethingElse(t *testing.T) {
	for name, part := range map[string][]byte{"shorter": make([]byte, 50), "as long": make([]byte, 2000), "longer": make([]byte, 3000)} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, 2000)
			d := s.download(t)
			require.NoError(t, os.WriteFile(d.Part, part, 0o600))
			s.mustFetch(t, d)
		})
	}
}

func TestWrongBytesAreNotKept(t *testing.T) {
	for _, test := range []struct {
		name  string
		serve func(s *store, w http.ResponseWriter)
		says  string
		tries int
	}{
		{"a flipped bit", func(s *store, w http.ResponseWriter) {
			data := bytes.Clone(s.data)
			data[1000] ^= 1
			_, _ = w.Write(data)
		}, "the digest is wrong", 1},
		{"fewer", func(s *store, w http.ResponseWriter) { _, _ = w.Write(s.data[:1999]) }, "1999 bytes where it had said 2000", 1},
		{"more", func(s *store, w http.ResponseWriter) { _, _ = w.Write(append(bytes.Clone(s.data), 0)) }, "2001 bytes where it had said 2000", 1},
		{"without end", func(_ *store, w http.ResponseWriter) {
			for {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}, "more than the 2000 bytes", 1},
		{"of another digest", func(s *store, w http.ResponseWriter) {
			w.Header().Set("X-Cooper-Digest", sha256Digest(make([]byte, 32)))
			_, _ = w.Write(s.data)
		}, "run the command again", 1},
		{"a page", func(_ *store, w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }, "204 No Content", 1},
		{"being built again", func(_ *store, w http.ResponseWriter) { w.WriteHeader(http.StatusAccepted) }, "is building it again", 1},
		{"refused", func(_ *store, w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, "404 Not Found", 1},
		{"corrupt", func(_ *store, w http.ResponseWriter) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `{"code":"ARTIFACT_CORRUPT","errorMessage":"It is damaged."}`)
		}, "ARTIFACT_CORRUPT: It is damaged.", 1},
		{"always cut at the same byte", func(s *store, w http.ResponseWriter) {
			w.Header().Set("Content-Length", "2000")
			_, _ = w.Write(s.data[:0])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, "unexpected EOF", 1 + mostTries},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStore(t, 2000)
			s.breaks = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
				test.serve(s, w)
				return true
			}
			d := s.download(t)
			_, err := s.Download(t.Context(), d)
			require.ErrorContains(t, err, test.says)
			require.Len(t, s.ranges, test.tries)
			require.NoFileExists(t, d.Part)
		})
	}
}

// A body that ends early without having said how long it is looks whole to net/http.
func TestABodyThatEndsEarlyIsGoneOnWith(t *testing.T) {
	s := newStore(t, 500_000)
	s.breaks = func(n int, w http.ResponseWriter, _ *http.Request) bool {
		if n == 0 {
			_, _ = w.Write(s.data[:1000])
			_ = http.NewResponseController(w).Flush() // chunked
		}
		return n == 0
	}
	s.mustFetch(t, s.download(t))
	require.Equal(t, []string{"", "bytes=1000-"}, s.ranges)
}

func TestAServerThatStalls(t *testing.T) {
	s := newStore(t, 2000)
	release := make(chan struct{})
	defer close(release)
	s.breaks = func(n int, w http.ResponseWriter, _ *http.Request) bool {
		if n == 0 {
			w.Header().Set("Content-Length", "2000")
			_, _ = w.Write(s.data[:500])
			_ = http.NewResponseController(w).Flush()
			<-release
		}
		return n == 0
	}
	d := s.download(t)
	d.stallAfter = 50 * time.Millisecond
	var why error
	d.Broken = func(err error, _ int64) { why = err }
	s.mustFetch(t, d)
	require.ErrorIs(t, why, errStalled)
	require.Equal(t, []string{"", "bytes=500-"}, s.ranges)
}

// The digest of a derived form is what the server says of it.
func TestADerivedForm(t *testing.T) {
	s := newStore(t, 2000)
	s.breaks = s.cutAfter(1500)
	d := s.download(t)
	d.Digest, d.Size = "", 0
	s.mustFetch(t, d)
	require.Equal(t, []string{"", "bytes=1500-"}, s.ranges)

	s.breaks, s.silent = nil, true
	d.Part += "2"
	_, err := s.Download(t.Context(), d)
	require.ErrorContains(t, err, "cannot be checked")
}

// A store elsewhere sends the bytes: it gets the range, and neither the key nor our entity tag.
func TestADownloadFromAStoreElsewhere(t *testing.T) {
	bucket := newStore(t, 300_000)
	bucket.silent = true
	bucket.breaks = bucket.cutAfter(100_000)
	s := newStore(t, 300_000)
	s.breaks = func(_ int, w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("X-Cooper-Digest", s.digest())
		http.Redirect(w, r, bucket.URL+"/bucket/key?X-Amz-Signature=x", http.StatusTemporaryRedirect)
		return true
	}
	for _, known := range []bool{true, false} {
		bucket.ranges, bucket.headers, s.headers = nil, nil, nil
		d := s.download(t)
		if !known {
			d.Digest, d.Size = "", 0
		}
		s.mustFetch(t, d)
		require.Equal(t, []string{"", "bytes=100000-", "bytes=200000-"}, bucket.ranges[:3])
		for i, h := range bucket.headers {
			require.Empty(t, h.Get("X-Api-Key"))
			require.Empty(t, h.Get("If-Range"))
			require.Equal(t, "k", s.headers[i].Get("X-Api-Key"))
		}
	}
	bucket.data[7] ^= 1
	_, err := s.Download(t.Context(), s.download(t))
	require.ErrorIs(t, err, errWrongBytes)
}

func TestTwoDownloadsOfOneFile(t *testing.T) {
	s := newStore(t, 2000)
	d := s.download(t)
	f, err := s.Download(t.Context(), d)
	require.NoError(t, err)
	_, err = s.Download(t.Context(), d)
	require.ErrorContains(t, err, "another cooper is at work")
	require.NoError(t, f.Close())
	s.mustFetch(t, d)
}

func TestAPartThatIsALink(t *testing.T) {
	s := newStore(t, 2000)
	d := s.download(t)
	victim := filepath.Join(t.TempDir(), "victim")
	require.NoError(t, os.WriteFile(victim, []byte("mine"), 0o600))
	require.NoError(t, os.Symlink(victim, d.Part))
	_, err := s.Download(t.Context(), d)
	require.Error(t, err)
	raw, err := os.ReadFile(victim)
	require.NoError(t, err)
	require.Equal(t, "mine", string(raw))
}
