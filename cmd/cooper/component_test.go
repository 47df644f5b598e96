package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/client"
)

// componentAPI answers as the server does for one component, v1 of team/zlib, whose build takes as long as it is told.
type componentAPI struct {
	url     string
	tarball []byte
	commit  string

	mu       sync.Mutex
	built    bool
	end      string             // data of the end event; the build succeeds when it is empty
	hold     chan struct{}      // when set, the log goes on until it is closed
	failed   string             // body of the answer 422 to GET /component
	requests []*http.Request    // in order
	bodies   []string           // of each
	cut      int                // of each download, bytes that get through; 0 for all
	onLog    context.CancelFunc // called when the log is followed
}

func newComponentAPI(t *testing.T) *componentAPI {
	t.Helper()
	a := &componentAPI{commit: strings.Repeat("c0ffee00", 5)}
	var raw bytes.Buffer
	z := gzip.NewWriter(&raw)
	w := tar.NewWriter(z)
	text := strings.Repeat("library ", 20_000)
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "lib/libz.a", Mode: 0o644, Size: int64(len(text)), ModTime: time.Unix(1, 0)}))
	_, err := io.WriteString(w, text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	a.tarball = raw.Bytes()
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	a.url = server.URL
	t.Setenv("COOPER_URL", a.url)
	t.Setenv("COOPER_API_KEY", "k")
	return a
}

func (a *componentAPI) digest() string {
	sum := sha256.Sum256(a.tarball)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (a *componentAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	a.requests, a.bodies = append(a.requests, r), append(a.bodies, string(body))
	a.mu.Unlock()
	switch strings.TrimPrefix(r.URL.Path, "/api/v1") {
	case "/component":
		a.component(w, r)
	case "/components":
		if r.Method == http.MethodPost {
			a.accepted(w)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"components": []any{a.record()}})
	case "/builds/b":
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "succeeded", "buildId": "b", "imageName": "h/components/zlib:v1", "jobs": []any{
			map[string]any{"architecture": "linux/amd64", "digest": "sha256:amd"}, map[string]any{"architecture": "linux/arm64", "digest": "sha256:arm"},
		}})
	case "/builds/b/logs":
		a.log(w, r)
	case "/recipe":
		_, _ = io.WriteString(w, `{"kind":"make","reason":"Makefile: built with make.","dockerfile":"FROM gcc\nRUN make\n","target":"component",
			"dependsOn":[{"component":"zlib","tag":"v1"}],"notes":["Take care."]}`)
	case "/components/team/zlib/graph":
		a.graph(w, r)
	case "/builds/b/cancel":
		_, _ = io.WriteString(w, `{}`)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (a *componentAPI) accepted(w http.ResponseWriter) {
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, `{"status":"queued","buildId":"b","imageName":"h/components/zlib:v1"}`)
}

func (a *componentAPI) record() map[string]any {
	return map[string]any{
		"status": "available", "component": a.url + "/download", "name": "team/zlib", "tag": "v1", "architecture": "linux/amd64",
		"environment": "default", "format": "tar.gz", "digest": a.digest(), "size": len(a.tarball), "commit": a.commit, "moved": true,
		"previousCommit": "0ld", "createdAt": "2024-02-29T12:30:00Z",
	}
}

func (a *componentAPI) component(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	built, failed := a.built, a.failed
	a.mu.Unlock()
	format := r.URL.Query().Get("format")
	switch {
	case failed != "" && r.URL.Query().Get("retry") == "":
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = io.WriteString(w, failed)
	case !built:
		a.accepted(w)
	case format == "" || format == "path":
		record := a.record()
		if format == "path" {
			record["component"] = "/srv/trees/1"
		}
		_ = json.NewEncoder(w).Encode(record)
	default:
		w.Header().Set("Etag", `"`+a.digest()+`"`)
		if a.cut > 0 {
			w = &cuttingWriter{ResponseWriter: w, left: a.cut}
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.tarball))
	}
}

type cuttingWriter struct {
	http.ResponseWriter
	left int
}

func (c *cuttingWriter) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b[:min(len(b), c.left)])
	if c.left -= n; c.left <= 0 && err == nil {
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

func (a *componentAPI) log(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, "id: 1\ndata: {\"seq\":1,\"platform\":\"linux/amd64\",\"text\":\"compiling\"}\n\n")
	_ = http.NewResponseController(w).Flush()
	if a.onLog != nil {
		a.onLog()
	}
	if a.hold != nil {
		select {
		case <-a.hold:
		case <-r.Context().Done():
		}
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	end := a.end
	if end == "" {
		a.built, a.failed, end = true, "", `{"status":"succeeded"}`
	}
	_, _ = fmt.Fprintf(w, "event: end\ndata: %s\n\n", end)
}

func (a *componentAPI) graph(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("format") == "svg" {
		_, _ = io.WriteString(w, "<svg/>")
		return
	}
	_, _ = io.WriteString(w, `{"nodes":[
		{"id":"a","component":"team/zlib","tag":"v1","architecture":"linux/amd64","commit":"aaaaaaaaaaaaaaaa","digest":"sha256:1"},
		{"id":"b","component":"b","tag":"2","architecture":"linux/amd64","commit":"b","digest":"sha256:2"},
		{"id":"c","component":"c\u001b","tag":"3","architecture":"linux/amd64","commit":"c","digest":"sha256:3"}],
		"edges":[{"from":"a","to":"b"},{"from":"a","to":"c"},{"from":"b","to":"c"},{"from":"c","to":"b"}]}`)
}

func (a *componentAPI) run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, said bytes.Buffer
	code = run(t.Context(), append([]string{"component"}, args...), &out, &said)
	return code, out.String(), said.String()
}

func (a *componentAPI) calls() (calls []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.requests {
		calls = append(calls, r.Method+" "+strings.TrimPrefix(r.RequestURI, "/api/v1"))
	}
	return calls
}

func TestComponentBuild(t *testing.T) {
	a := newComponentAPI(t)
	code, stdout, stderr := a.run(t, "build", "https://git.example.com/team/Zlib.git", "--tag", "v1", "--architecture", "amd64,arm64", "--build-arg", "A=b,c", "--subdir", "d", "--no-cache", "--timeout", "1m")
	require.Equal(t, 0, code, stderr)
	require.Equal(t, "linux/amd64 sha256:amd\nlinux/arm64 sha256:arm\nh/components/zlib:v1\n", stdout)
	require.Equal(t, "build b of h/components/zlib:v1\n==> linux/amd64\ncompiling\n", stderr)
	require.JSONEq(t, `{"url":"https://git.example.com/team/Zlib.git","component":"zlib","tag":"v1","architecture":["amd64","arm64"],
		"buildArg":["A=b,c"],"subdir":"d","noCache":true,"timeout":"1m"}`, a.bodies[0])

	a.end = `{"status":"failed","code":"STEP_FAILED","errorMessage":"make: exit code 2"}`
	code, stdout, stderr = a.run(t, "build", "--component", "z", "https://git.example.com/x")
	require.Equal(t, 1, code)
	require.Empty(t, stdout)
	require.Contains(t, stderr, "cooper: the build failed: STEP_FAILED: make: exit code 2\n")

	code, stdout, stderr = a.run(t, "build", "-d", "https://git.example.com/x")
	require.Equal(t, 0, code)
	require.Equal(t, "b\n", stdout)
	require.Empty(t, stderr)
}

func TestAnInterruptedComponentBuildIsCanceled(t *testing.T) {
	a := newComponentAPI(t)
	a.hold = make(chan struct{})
	defer close(a.hold)
	ctx, cancel := context.WithCancel(t.Context())
	a.onLog = cancel
	var out, said bytes.Buffer
	require.Equal(t, 1, run(ctx, []string{"component", "build", "https://git.example.com/x"}, &out, &said))
	require.Contains(t, said.String(), "interrupted; the build was canceled")
	require.Contains(t, a.calls(), "POST /builds/b/cancel")
}

// It is built, downloaded over connections that break, checked and unpacked.
func TestComponentGetIntoAFolder(t *testing.T) {
	a := newComponentAPI(t)
	a.cut = len(a.tarball)/3 + 1
	dir := filepath.Join(t.TempDir(), "out")
	code, stdout, stderr := a.run(t, "get", "team/zlib@v1", "--url", "https://h/z.git", "--architecture", "amd64", "-o", dir)
	require.Equal(t, 0, code, stderr)
	require.Equal(t, dir+"\n"+a.digest()+"\n"+a.commit+"\n", stdout)
	require.Contains(t, stderr, "compiling\n")
	require.Contains(t, stderr, "the download broke off")
	require.Contains(t, stderr, "v1 has moved: it was 0ld before\n")
	const asked = "GET /component?architecture=amd64&component=team%2Fzlib&tag=v1&url=https%3A%2F%2Fh%2Fz.git"
	pinned := "GET /component?architecture=linux%2Famd64&component=team%2Fzlib&digest=" + url.QueryEscape(a.digest()) + "&format=tar.gz&tag=v1"
	require.Equal(t, []string{asked, "GET /builds/b/logs?follow=1", asked, pinned, pinned, pinned}, a.calls())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "%v", entries)
	require.FileExists(t, filepath.Join(dir, "lib/libz.a"))

	code, _, stderr = a.run(t, "get", "team/zlib@v1", "-o", dir)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "not empty")
	code, _, stderr = a.run(t, "get", "team/zlib@v1", "-o", dir, "--force")
	require.Equal(t, 0, code, stderr)
}

func TestComponentGetIntoAFile(t *testing.T) {
	a := newComponentAPI(t)
	a.built = true
	dir := t.TempDir()
	file := filepath.Join(dir, "z.tgz")
	code, stdout, stderr := a.run(t, "get", "team/zlib", "--file", file)
	require.Equal(t, 0, code, stderr)
	require.Equal(t, file+"\n"+a.digest()+"\n"+a.commit+"\n", stdout)
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	require.True(t, bytes.Equal(a.tarball, raw))
	code, _, stderr = a.run(t, "get", "team/zlib", "--file", file)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "--force")
	code, _, stderr = a.run(t, "get", "team/zlib", "--file", file, "--force", "--format", "zip")
	require.Equal(t, 0, code, stderr)
	calls := a.calls()
	require.Contains(t, calls[len(calls)-1], "format=zip")

	a.tarball = append(bytes.Clone(a.tarball), 0) // longer than it was
	code, _, stderr = a.run(t, "get", "team/zlib", "--file", filepath.Join(dir, "new.zip"))
	require.Equal(t, 0, code, stderr)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2, "%v", entries)
	calls = a.calls()
	require.Contains(t, calls[len(calls)-1], "format=zip", "the name says it")
}

// TestComponentGetLooksFirst had a component built for hours before it said that there is no place for it.
func TestComponentGetLooksFirst(t *testing.T) {
	a := newComponentAPI(t)
	for _, args := range [][]string{
		{"-o", "/proc", "--force"}, {"-o", "/proc/out"}, {"--file", "/proc/z.tgz"}, {"--file", filepath.Join(t.TempDir(), "none", "z.tgz")},
	} {
		code, _, stderr := a.run(t, append([]string{"get", "team/zlib@v1"}, args...)...)
		require.Equal(t, 1, code, "%v", args)
		require.Contains(t, stderr, "folder", "%v", args)
	}
	require.Empty(t, a.calls())
}

// A file that is saved is for those whom the umask lets read it.
func TestComponentGetKeepsToTheUmask(t *testing.T) {
	a := newComponentAPI(t)
	a.built = true
	for mask, mode := range map[int]os.FileMode{0o077: 0o600, 0o022: 0o644, 0o002: 0o664} {
		old := syscall.Umask(mask)
		defer syscall.Umask(old)
		file := filepath.Join(t.TempDir(), "z.tgz")
		code, _, stderr := a.run(t, "get", "team/zlib", "--file", file)
		require.Equal(t, 0, code, stderr)
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode(), "%o", mask)
	}
}

func TestComponentGetOtherForms(t *testing.T) {
	a := newComponentAPI(t)
	a.built = true
	for _, test := range []struct {
		name, want string
		args       []string
	}{
		{"URL", a.url + "/download\n" + a.digest() + "\n" + a.commit + "\n", nil},
		{"path", "/srv/trees/1\n" + a.digest() + "\n" + a.commit + "\n", []string{"--path"}},
	} {
		code, stdout, stderr := a.run(t, append([]string{"get", "team/zlib"}, test.args...)...)
		require.Equal(t, 0, code, stderr)
		require.Equal(t, test.want, stdout, test.name)
	}
	code, stdout, stderr := a.run(t, "get", "team/zlib", "--json")
	require.Equal(t, 0, code, stderr)
	want, err := json.Marshal(a.record())
	require.NoError(t, err)
	require.JSONEq(t, string(want), stdout)
}

// A failure that is remembered comes with the end of its log; to try again is the caller's choice.
func TestComponentGetOfWhatFails(t *testing.T) {
	a := newComponentAPI(t)
	a.failed = `{"status":"error","code":"STEP_FAILED","errorMessage":"make: exit code 2","buildId":"b","log":["cc: no such file\u001b[2J"]}`
	dir := filepath.Join(t.TempDir(), "out")
	code, stdout, stderr := a.run(t, "get", "team/zlib", "-o", dir)
	require.Equal(t, 1, code)
	require.Empty(t, stdout)
	require.Equal(t, "cc: no such file␛[2J\ncooper: the build b failed: STEP_FAILED: make: exit code 2\n", stderr)
	require.NoDirExists(t, dir)

	a.end = `{"status":"failed","code":"STEP_FAILED","errorMessage":"again"}`
	code, _, stderr = a.run(t, "get", "team/zlib", "--retry", "-o", dir)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "the build failed: STEP_FAILED: again")
	a.end = ""
	code, _, stderr = a.run(t, "get", "team/zlib", "--retry", "-o", dir)
	require.Equal(t, 0, code, stderr)
	require.Equal(t, 2, strings.Count(strings.Join(a.calls(), "\n"), "retry=1"), "only the first request of each run tries again")
}

func TestComponentGetDoesNotWaitForEver(t *testing.T) {
	a := newComponentAPI(t)
	a.hold = make(chan struct{})
	defer close(a.hold)
	code, _, stderr := a.run(t, "get", "team/zlib", "--wait", "0")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "it is being built: b is queued")
	require.Len(t, a.calls(), 1)
	code, _, stderr = a.run(t, "get", "team/zlib", "--wait", "100ms")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "the build b has not ended within 100ms; it goes on")

	ctx, cancel := context.WithCancel(t.Context())
	a.onLog = cancel
	var out, said bytes.Buffer
	require.Equal(t, 1, run(ctx, []string{"component", "get", "team/zlib"}, &out, &said))
	require.Contains(t, said.String(), "interrupted; the build b goes on")
	require.NotContains(t, strings.Join(a.calls(), "\n"), "cancel")
}

func TestComponentList(t *testing.T) {
	a := newComponentAPI(t)
	code, stdout, stderr := a.run(t, "list", "--component", "team/zlib", "--tag", "v1", "--architecture", "arm64", "--history", "--limit", "7")
	require.Equal(t, 0, code, stderr)
	lines := strings.Split(stdout, "\n")
	require.Equal(t, []string{"COMPONENT", "TAG", "ARCHITECTURE", "COMMIT", "DIGEST", "MIB", "CREATED"}, strings.Fields(lines[0]))
	require.Equal(t, []string{"team/zlib", "v1", "linux/amd64", "c0ffee00c0ff", a.digest()[7:19], "0.0"}, strings.Fields(lines[1])[:6])
	require.Equal(t, []string{"GET /components?architecture=arm64&component=team%2Fzlib&history=true&limit=7&tag=v1"}, a.calls())
	code, stdout, _ = a.run(t, "list", "--json")
	require.Equal(t, 0, code)
	var list []map[string]any
	require.NoError(t, json.Unmarshal([]byte(stdout), &list))
	require.Equal(t, a.digest(), list[0]["digest"])
}

// `> Dockerfile` takes the recipe over: nothing else is on standard output.
func TestComponentRecipe(t *testing.T) {
	a := newComponentAPI(t)
	code, stdout, stderr := a.run(t, "recipe", "https://h/r.git", "--tag", "v1", "--subdir", "d", "--architecture", "arm64", "--component", "r")
	require.Equal(t, 0, code, stderr)
	require.Equal(t, "FROM gcc\nRUN make\n", stdout)
	require.Equal(t, "Makefile: built with make.\nTake care.\nThe component is the stage component.\nIt needs zlib@v1.\n", stderr)
	require.Equal(t, []string{"GET /recipe?architecture=arm64&component=r&subdir=d&tag=v1&url=https%3A%2F%2Fh%2Fr.git"}, a.calls())
	code, stdout, stderr = a.run(t, "recipe", "https://h/r.git", "--json")
	require.Equal(t, 0, code)
	require.Contains(t, stdout, `  "kind": "make"`)
	require.Empty(t, stderr)
}

func TestComponentGraph(t *testing.T) {
	a := newComponentAPI(t)
	code, stdout, stderr := a.run(t, "graph", "team/zlib@v1", "--architecture", "amd64")
	require.Equal(t, 0, code, stderr)
	require.Equal(t, "team/zlib@v1  linux/amd64  aaaaaaaaaaaa  sha256:1\n"+
		"  b@2  linux/amd64  b  sha256:2\n    c␛@3  linux/amd64  c  sha256:3\n      b@2  *\n  c␛@3  *\n", stdout)
	require.Equal(t, []string{"GET /components/team/zlib/graph?architecture=amd64&tag=v1"}, a.calls())
	file := filepath.Join(t.TempDir(), "graph.svg")
	code, stdout, stderr = a.run(t, "graph", "team/zlib", "--svg", file)
	require.Equal(t, 0, code, stderr)
	require.Empty(t, stdout)
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "<svg/>", string(raw))
	code, stdout, _ = a.run(t, "graph", "team/zlib", "--svg", "-")
	require.Equal(t, 0, code)
	require.Equal(t, "<svg/>", stdout)
	code, stdout, _ = a.run(t, "graph", "team/zlib", "--json")
	require.Equal(t, 0, code)
	require.Contains(t, stdout, `"edges"`)
}

func TestAnImageBuiltWithComponents(t *testing.T) {
	b := imageBuild{component: "app", components: []string{"zlib@v1", "team/ssl@feature/x"}}
	var req client.ImageBuild
	b.fields(t.Context(), "https://h/app.git", true, &req)
	require.Equal(t, []string{"zlib@v1", "team/ssl@feature/x"}, req.Fields["components"])
}

func TestNamesOfSources(t *testing.T) {
	for source, want := range map[string]string{
		"https://git.example.com/team/Zlib.git":  "zlib",
		"https://git.example.com/team/zlib.git/": "zlib",
		"ssh://git@git.example.com:2222/zlib":    "zlib",
		"git@git.example.com:team/my_lib.git":    "my-lib",
		"https://git.example.com/":               "",
		"https://git.example.com":                "",
	} {
		require.Equal(t, want, sourceName(source), source)
	}
}
