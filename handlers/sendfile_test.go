package handlers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// spyListener hands out connections that note what net/http gives them to send.
type spyListener struct {
	net.Listener
	mu    sync.Mutex
	files int64 // bytes that came straight from a file
	other []string
}

type spyConn struct {
	*net.TCPConn
	l *spyListener
}

func (l *spyListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &spyConn{c.(*net.TCPConn), l}, nil
}

// ReadFrom is the kernel's sendfile when what it gets is a bounded *os.File, and a copy otherwise.
func (c *spyConn) ReadFrom(r io.Reader) (int64, error) {
	n, err := c.TCPConn.ReadFrom(r)
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	limited, ok := r.(*io.LimitedReader)
	if ok {
		if _, ok = limited.R.(*os.File); ok {
			c.l.files += n
			return n, err
		}
	}
	c.l.other = append(c.l.other, fmt.Sprintf("%T", r))
	return n, err
}

// TestFilesGoOutBySendfile: what is behind the first few hundred bytes, which net/http looks at, goes from the file to
// the connection by itself, for whole downloads and for parts.
func TestFilesGoOutBySendfile(t *testing.T) {
	const size = 20 << 20
	a := serve(t)
	f := a.store(t, size)
	spy := &spyListener{}
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	spy.Listener = l
	srv := &http.Server{Handler: a.server}
	Limits(srv)
	go func() { _ = srv.Serve(spy) }()
	t.Cleanup(func() { _ = srv.Close() })
	a.URL = "http://" + l.Addr().String()
	want := int64(0)
	for i, tt := range []struct{ ranges, from int }{{0, 0}, {1, 5 << 20}} {
		headers := []string{"Range", fmt.Sprintf("bytes=%d-", tt.from)}
		got := a.get(t, tarGz, headers[:2*tt.ranges]...)
		require.True(t, bytes.Equal(f.bytes[tt.from:], got.body), i)
		want += int64(size - tt.from)
		eventually(t, "the file went out by sendfile", func() bool {
			spy.mu.Lock()
			defer spy.mu.Unlock()
			return spy.files > want-2048 && spy.files <= want
		})
	}
	spy.mu.Lock()
	require.Empty(t, spy.other)
	spy.mu.Unlock()
	a.logged(t, fmt.Sprintf(`"bytes":%d`, size)) // what passed Gin by is counted, too
}

// TestFilesGoOutWhereNothingSendsThem: with HTTP/2 net/http has no way around a copy.
func TestFilesGoOutWhereNothingSendsThem(t *testing.T) {
	for _, protocol := range []string{"h2", "http/1.1"} {
		a := serve(t)
		f := a.store(t, 5<<20)
		a.Close()
		a.Server = httptest.NewUnstartedServer(a.server)
		a.EnableHTTP2 = protocol == "h2"
		a.StartTLS()
		t.Cleanup(a.Close)
		got := a.get(t, tarGz)
		require.Equal(t, protocol == "h2", got.ProtoMajor == 2)
		require.True(t, bytes.Equal(f.bytes, got.body))
		a.logged(t, fmt.Sprintf(`"bytes":%d`, 5<<20))
		require.Equal(t, f.bytes[7:9], a.get(t, tarGz, "Range", "bytes=7-8").body)
	}
}

// TestAStalledDownloadIsDropped: a client that reads nothing does not hold a connection and a file for ever.
func TestAStalledDownloadIsDropped(t *testing.T) {
	a := serve(t, func(c *Config) { c.WriteStall = 200 * time.Millisecond })
	a.store(t, 64<<20)
	conn, _ := dial(t, a)
	_, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\n\r\n", tarGz, fullKey)
	require.NoError(t, err)
	a.logged(t, `"route":"/api/v1/component"`) // the handler has ended
	n, err := io.Copy(io.Discard, conn)
	require.Less(t, n, int64(64<<20), "%v", err)
	a.logged(t, "download broken off")
}

// TestASlowDownloadThatMovesGoesOn reads slower than the stall allows for a piece, and gets every byte.
func TestASlowDownloadThatMovesGoesOn(t *testing.T) {
	const size, stall = 24 << 20, 150 * time.Millisecond
	a := serve(t, func(c *Config) { c.WriteStall = stall })
	f := a.store(t, size)
	conn, r := dial(t, a)
	require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(64<<10))
	_, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\n\r\n", tarGz, fullKey)
	require.NoError(t, err)
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	tick := time.NewTicker(stall / 10)
	defer tick.Stop()
	sum, n := sha256.New(), int64(0)
	for err == nil {
		<-tick.C
		var m int64
		m, err = io.CopyN(sum, resp.Body, 256<<10)
		n += m
	}
	require.ErrorIs(t, err, io.EOF)
	require.EqualValues(t, size, n)
	require.Equal(t, f.digest, "sha256:"+hex.EncodeToString(sum.Sum(nil)))
}

// TestASlowDownloadOfSeveralRanges reads them slower than the stall allows for what a file would be sent in at once. They
// come through a pipe, from which what was read and not sent is gone: the connection may break, but all that came is right.
func TestASlowDownloadOfSeveralRanges(t *testing.T) {
	const size, half, stall = 24 << 20, 12 << 20, 150 * time.Millisecond
	a := serve(t, func(c *Config) { c.WriteStall = stall })
	f := a.store(t, size)
	conn, r := dial(t, a)
	require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(64<<10))
	_, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nRange: bytes=0-%d,%d-\r\n\r\n", tarGz, fullKey, half-1, half)
	require.NoError(t, err)
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusPartialContent, resp.StatusCode)
	tick := time.NewTicker(stall / 10)
	defer tick.Stop()
	var got bytes.Buffer
	for err == nil {
		<-tick.C
		_, err = io.CopyN(&got, resp.Body, 256<<10)
	}
	whole := int64(got.Len()) == resp.ContentLength
	require.Equal(t, !whole, strings.Contains(a.log.String(), "download broken off"))
	_, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	require.NoError(t, err)
	parts := multipart.NewReader(&got, params["boundary"])
	for _, want := range [][]byte{f.bytes[:half], f.bytes[half:]} {
		p, err := parts.NextPart()
		if !whole && err != nil {
			break
		}
		require.NoError(t, err)
		b, err := io.ReadAll(p)
		require.True(t, bytes.HasPrefix(want, b), "%d bytes that are not those of the file", len(b))
		require.True(t, !whole || err == nil && len(b) == half, "%v", err)
	}
}

// TestOnlyFilesGoOn: a source that is no file loses what was read of it when a write stops in the middle.
func TestOnlyFilesGoOn(t *testing.T) {
	file, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer file.Close()
	pipe, _ := io.Pipe()
	for name, tt := range map[string]struct {
		src     io.Reader
		plain   bool
		size    int64
		resumes bool
	}{
		"a file":           {file, true, filePiece, true},
		"a file encrypted": {file, false, copyPiece, false},
		"a pipe":           {pipe, true, copyPiece, false},
		"another reader":   {&counted{File: file}, true, copyPiece, false},
	} {
		size, resumes := (&fileWriter{plain: tt.plain}).pieceOf(tt.src)
		require.Equal(t, tt.size, size, name)
		require.Equal(t, tt.resumes, resumes, name)
	}
}

// TestAShorterFileBreaksTheConnection: a client must not take a part for the whole.
func TestAShorterFileBreaksTheConnection(t *testing.T) {
	a := serve(t)
	a.found(zlib())
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(path, make([]byte, 1<<20), 0o600))
	a.tarballs.open = func(model.Tarball, model.Format) (model.Download, error) {
		f, err := os.Open(path)
		return model.Download{Digest: "sha256:x", Size: 2 << 20, File: &shrinking{f}}, err
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.URL+tarGz, nil)
	require.NoError(t, err)
	r.Header.Set("X-API-Key", fullKey)
	resp, err := a.Client().Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// shrinking says that it is twice as long as it is.
type shrinking struct{ *os.File }

func (s *shrinking) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekEnd {
		return 2 << 20, nil
	}
	return s.File.Seek(offset, whence)
}

// TestDownloadsAreClosed counts the files that were opened against those that were closed, whatever came of the request.
func TestDownloadsAreClosed(t *testing.T) {
	a := serve(t)
	f := a.store(t, 1000)
	var mu sync.Mutex
	open := 0
	a.tarballs.open = func(model.Tarball, model.Format) (model.Download, error) {
		file, err := os.Open(f.path)
		mu.Lock()
		defer mu.Unlock()
		open++
		return model.Download{Digest: f.digest, Size: 1000, File: &counted{file, func() { mu.Lock(); open--; mu.Unlock() }}}, err
	}
	for _, headers := range [][]string{nil, {"Range", "bytes=5-1"}, {"Range", "bytes=0-1,4-5"}, {"If-None-Match", "*"}, {"If-Match", `"x"`}} {
		a.get(t, tarGz, headers...)
		a.call(t, http.MethodHead, tarGz, nil, headers...)
	}
	eventually(t, "every file is closed", func() bool { mu.Lock(); defer mu.Unlock(); return open == 0 })
}

type counted struct {
	*os.File
	closed func()
}

func (c *counted) Close() error {
	c.closed()
	return c.File.Close()
}

// TestALeavingClientEndsADownload: the handler does not go on sending to nobody.
func TestALeavingClientEndsADownload(t *testing.T) {
	a := serve(t)
	a.store(t, 64<<20)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL+tarGz, nil)
	require.NoError(t, err)
	r.Header.Set("X-API-Key", fullKey)
	resp, err := a.Client().Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	cancel()
	a.logged(t, `"route":"/api/v1/component"`) // the handler has ended
}
