package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/config"
	"cooper/internal/testbed"
)

const (
	testKey = "test-administrator-key-0123456789"
	// patience is how long a test waits for what must happen; builds under emulation on a busy machine are slow.
	patience = 2 * time.Minute
)

// testServer is a whole Cooper in this process, with a real buildkitd, in a data directory of its own.
type testServer struct {
	*server
	url    string
	host   string
	stop   func() // stops it and waits; called at the end of the test anyway
	log    *lockedBuffer
	tester testing.TB
}

// lockedBuffer is a log that tests read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startServer runs a server on a free port until the test ends. change may alter its settings.
func startServer(t testing.TB, change func(*config.Config)) *testServer {
	t.Helper()
	return startServerIn(t, t.TempDir(), change)
}

// startServerIn is startServer with a data directory that may have been used before.
func startServerIn(t testing.TB, dir string, change func(*config.Config)) *testServer {
	t.Helper()
	cfg, err := config.Load()
	require.NoError(t, err)
	cfg.Listen, cfg.DataDir, cfg.AdminKey = "127.0.0.1:0", dir, testKey
	cfg.BuildKitBinary = program(t, "buildkitd")
	cfg.RateLimit = 0
	if change != nil {
		change(&cfg)
	}
	ts := &testServer{log: &lockedBuffer{}, tester: t}
	s, err := open(t.Context(), cfg, slog.New(slog.NewTextHandler(ts.log, &slog.HandlerOptions{Level: slog.LevelInfo})))
	require.NoError(t, err)
	ts.server, ts.url, ts.host = s, "http://"+s.local, s.local
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.run(ctx) }()
	var once sync.Once
	ts.stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-done, "the server did not end cleanly")
		})
	}
	t.Cleanup(func() {
		ts.stop()
		if t.Failed() {
			t.Log(lastLines(ts.log.String(), 60))
		}
	})
	ts.waitReady()
	return ts
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// program finds a program that `make build` made.
func program(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "bin", name))
	require.NoError(t, err)
	require.FileExists(t, path, "run `make build` first")
	return path
}

// eventually waits until f is true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-deadline.C:
			require.FailNow(t, "it never came to be: "+what)
		case <-tick.C:
		}
	}
}

func (s *testServer) waitReady() {
	s.tester.Helper()
	eventually(s.tester, "the server is ready", func() bool {
		resp, err := http.Get(s.url + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// reply is an answer of the API.
type reply struct {
	status int
	header http.Header
	raw    []byte
	body   map[string]any
}

func (r reply) str(field string) string {
	s, _ := r.body[field].(string)
	return s
}

// call makes a request with the administrator's key and reads the answer.
func (s *testServer) call(method, path string, body io.Reader, header http.Header) reply {
	s.tester.Helper()
	target := path
	if !strings.HasPrefix(path, "http") {
		target = s.url + path
	}
	req, err := http.NewRequestWithContext(s.tester.Context(), method, target, body)
	require.NoError(s.tester, err)
	for k, v := range header {
		req.Header[k] = v
	}
	if req.Header.Get("X-Api-Key") == "" {
		req.Header.Set("X-Api-Key", testKey)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(s.tester, err)
	defer resp.Body.Close()
	out := reply{status: resp.StatusCode, header: resp.Header}
	out.raw, err = io.ReadAll(resp.Body)
	require.NoError(s.tester, err)
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		require.NoError(s.tester, json.Unmarshal(out.raw, &out.body))
	}
	return out
}

func (s *testServer) get(path string) reply {
	s.tester.Helper()
	return s.call(http.MethodGet, path, nil, nil)
}

// form is a multipart POST /images. Fields are name, value, name, value; "context" takes the bytes of a tar.
func form(t testing.TB, dockerfile string, fields ...string) (io.Reader, http.Header) {
	t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for i := 0; i < len(fields); i += 2 {
		var part io.Writer
		var err error
		if fields[i] == "context" {
			part, err = w.CreateFormFile("context", "context.tar")
		} else {
			part, err = w.CreateFormField(fields[i])
		}
		require.NoError(t, err)
		_, err = io.WriteString(part, fields[i+1])
		require.NoError(t, err)
	}
	part, err := w.CreateFormFile("dockerfile", "Dockerfile")
	require.NoError(t, err)
	_, err = io.WriteString(part, dockerfile)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return &body, http.Header{"Content-Type": {w.FormDataContentType()}}
}

// post submits a build and returns the answer at once.
func (s *testServer) post(dockerfile string, fields ...string) reply {
	s.tester.Helper()
	body, header := form(s.tester, dockerfile, fields...)
	return s.call(http.MethodPost, "/api/v1/images", body, header)
}

// build submits a build, waits for its end and returns the outcome, whatever it is.
func (s *testServer) build(dockerfile string, fields ...string) reply {
	s.tester.Helper()
	body, header := form(s.tester, dockerfile, fields...)
	header.Set("Prefer", fmt.Sprintf("wait=%d", int(patience.Seconds())))
	return s.call(http.MethodPost, "/api/v1/images", body, header)
}

// mustBuild is build for one that has to succeed.
func (s *testServer) mustBuild(dockerfile string, fields ...string) reply {
	s.tester.Helper()
	r := s.build(dockerfile, fields...)
	require.Equal(s.tester, "succeeded", r.str("status"), "%s", r.raw)
	return r
}

// wait waits for a build's end and returns its record.
func (s *testServer) wait(buildID string) reply {
	s.tester.Helper()
	var r reply
	eventually(s.tester, "build "+buildID+" ends", func() bool {
		r = s.get("/api/v1/builds/" + buildID)
		switch r.str("status") {
		case "succeeded", "failed", "canceled":
			return true
		}
		return false
	})
	return r
}

// logText is a build's whole log, as text.
func (s *testServer) logText(buildID string, query ...string) string {
	s.tester.Helper()
	path := "/api/v1/builds/" + buildID + "/logs"
	if len(query) > 0 {
		path += "?" + strings.Join(query, "&")
	}
	r := s.get(path)
	require.Equal(s.tester, http.StatusOK, r.status, "%s", r.raw)
	return string(r.raw)
}

// image asks for an image.
func (s *testServer) image(pairs ...string) reply {
	s.tester.Helper()
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return s.get("/api/v1/image?" + q.Encode())
}

// pushBusybox puts a busybox for amd64 and arm64 where `FROM busybox` finds it.
func (s *testServer) pushBusybox() {
	s.tester.Helper()
	idx, err := testbed.Busybox(s.tester.Context())
	require.NoError(s.tester, err)
	require.NoError(s.tester, testbed.Push(s.tester.Context(), s.host+"/mirror/docker.io/library/busybox:latest", idx, "admin", testKey))
}

// freePort returns a port that was free a moment ago.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// dirHas reports whether any file below dir holds the bytes.
func dirHas(t testing.TB, dir string, needle []byte) (file string, found bool) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || found || !d.Type().IsRegular() {
			return nil //nolint:nilerr // files come and go while the server runs
		}
		raw, err := os.ReadFile(path)
		if err == nil && bytes.Contains(raw, needle) {
			file, found = path, true
		}
		return nil
	})
	require.NoError(t, err)
	return file, found
}
