package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
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
)

// The tests named TestHostile… try the rows B1 to B85 of the list of bad inputs against a whole server through HTTP.
// Rows that wait for a later part are left out: B4 and the scopes of B5 need keys besides the administrator's, B40 needs
// components, and the other project of B6 needs keys that are limited to names.

// trial is a row: a request and the refusal that it must get.
type trial struct {
	name   string
	send   func(*testServer) reply
	status int
	code   string
	field  string   // checked when not empty
	line   int      // checked when not 0
	says   []string // words of the message, or of the list of what is allowed
	within time.Duration
}

// Within these times every refusal is there; the second is for bodies over 100 MiB.
const (
	promptly   = time.Second
	inDueTime  = 5 * time.Second
	imagesPath = "/api/v1/images"
)

// gauntlet is a server that gets hostile requests, and what it must keep of them.
type gauntlet struct {
	*testServer
	mu       sync.Mutex
	accepted map[string]bool // builds that are meant to be
}

func startGauntlet(t *testing.T, change func(*config.Config)) *gauntlet {
	t.Helper()
	return &gauntlet{testServer: startServer(t, change), accepted: map[string]bool{}}
}

// in is the server as a subtest uses it, which fails alone.
func (s *testServer) in(t testing.TB) *testServer {
	own := *s
	own.tester = t
	return &own
}

// refuses tries every row.
func (g *gauntlet) refuses(t *testing.T, trials []trial) {
	t.Helper()
	for _, tr := range trials {
		t.Run(tr.name, func(t *testing.T) { g.refuse(t, tr) })
	}
}

// refuse tries one row. A machine that was busy with something else gets a second try: a refusal changes nothing.
func (g *gauntlet) refuse(t *testing.T, tr trial) {
	t.Helper()
	limit := tr.within
	if limit == 0 {
		limit = promptly
	}
	var r reply
	var took time.Duration
	for try := 0; try < 2 && (try == 0 || took > limit); try++ {
		start := time.Now()
		r = tr.send(g.in(t))
		took = time.Since(start)
	}
	require.Less(t, took, limit, "the refusal is late")
	g.discreet(t, r)
	require.Equal(t, tr.status, r.status, "%s", r.raw)
	require.Equal(t, tr.code, r.str("code"), "%s", r.raw)
	require.Equal(t, "error", r.str("status"), "%s", r.raw)
	require.NotEmpty(t, r.str("errorMessage"), "%s", r.raw)
	require.NotEmpty(t, r.str("requestId"), "%s", r.raw)
	if tr.field != "" {
		require.Equal(t, tr.field, r.str("field"), "%s", r.raw)
	}
	if tr.line != 0 {
		require.EqualValues(t, tr.line, r.body["line"], "%s", r.raw)
	}
	for _, word := range tr.says {
		require.Contains(t, string(r.raw), word)
	}
}

// accept notes a build that is meant to be and returns its ID.
func (g *gauntlet) accept(t *testing.T, r reply) string {
	t.Helper()
	g.discreet(t, r)
	require.Contains(t, []int{http.StatusOK, http.StatusAccepted}, r.status, "%s", r.raw)
	id := r.str("buildId")
	require.NotEmpty(t, id, "%s", r.raw)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.accepted[id] = true
	return id
}

// succeeds is a control row: normal work that must not be refused. It returns the finished build.
func (g *gauntlet) succeeds(t *testing.T, dockerfile string, fields ...string) reply {
	t.Helper()
	r := g.in(t).build(dockerfile, fields...)
	g.accept(t, r)
	require.Equal(t, "succeeded", r.str("status"), "%s", r.raw)
	return r
}

// fails is a row whose fault only the build can find.
func (g *gauntlet) fails(t *testing.T, code string, line int, dockerfile string, fields ...string) reply {
	t.Helper()
	r := g.in(t).build(dockerfile, fields...)
	id := g.accept(t, r)
	require.Equal(t, "failed", r.str("status"), "%s", r.raw)
	require.Equal(t, code, r.str("code"), "%s", r.raw)
	if line != 0 {
		require.EqualValues(t, line, r.body["line"], "%s", r.raw)
	}
	require.Contains(t, g.in(t).logText(id), code)
	return r
}

// discreet holds for every answer: nothing of the server's inside is in it.
func (g *gauntlet) discreet(t *testing.T, r reply) {
	t.Helper()
	here, err := os.Getwd()
	require.NoError(t, err)
	for _, secret := range []string{g.cfg.DataDir, filepath.Dir(filepath.Dir(here)), "goroutine", "panic", ".go:", testKey, "SQL"} {
		require.NotContains(t, string(r.raw), secret)
	}
	if r.status != http.StatusInsufficientStorage {
		require.Less(t, r.status, http.StatusInternalServerError, "%s", r.raw)
	}
}

// leavesNothing holds after all rows: what was refused is in no table and on no disk, and no handler panicked.
func (g *gauntlet) leavesNothing(t *testing.T) {
	t.Helper()
	for id := range g.accepted {
		g.wait(id)
	}
	cursor := ""
	for range 100 {
		page := g.get("/api/v1/builds?limit=500&cursor=" + url.QueryEscape(cursor))
		require.Equal(t, http.StatusOK, page.status, "%s", page.raw)
		builds, ok := page.body["builds"].([]any)
		require.True(t, ok)
		for _, b := range builds {
			id, _ := b.(map[string]any)["buildId"].(string)
			require.True(t, g.accepted[id], "a refused request became build %s: %v", id, b)
		}
		if cursor = page.str("nextCursor"); cursor == "" {
			break
		}
	}
	for _, dir := range []string{"inputs", "work", "tmp"} {
		eventually(t, "nothing is left below "+dir, func() bool { return len(filesBelow(t, filepath.Join(g.cfg.DataDir, dir))) == 0 })
	}
	require.NotContains(t, g.log.String(), "panic")
	require.NotContains(t, g.log.String(), testKey)
}

// filesBelow lists the files of a folder that may not be there.
func filesBelow(t *testing.T, dir string) (files []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return nil //nolint:nilerr // files come and go while the server runs
	}))
	return files
}

// sending is a request as it is.
func sending(method, path, contentType, body string) func(*testServer) reply {
	return func(s *testServer) reply {
		header := http.Header{}
		if contentType != "" {
			header.Set("Content-Type", contentType)
		}
		return s.call(method, path, strings.NewReader(body), header)
	}
}

func getting(path string) func(*testServer) reply {
	return sending(http.MethodGet, path, "", "")
}

func postingJSON(body string) func(*testServer) reply {
	return sending(http.MethodPost, imagesPath, "application/json", body)
}

// posting is the form of a build. A component is put in unless the fields have one.
func posting(dockerfile string, fields ...string) func(*testServer) reply {
	return func(s *testServer) reply { return s.post(dockerfile, withComponent(fields)...) }
}

func withComponent(fields []string) []string {
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == "component" {
			return fields
		}
	}
	return append([]string{"component", "hostile"}, fields...)
}

// postingParts is a multipart body made by hand.
func postingParts(write func(*multipart.Writer)) func(*testServer) reply {
	return func(s *testServer) reply {
		var body bytes.Buffer
		w := multipart.NewWriter(&body)
		write(w)
		require.NoError(s.tester, w.Close())
		return s.call(http.MethodPost, imagesPath, &body, http.Header{"Content-Type": {w.FormDataContentType()}})
	}
}

// streaming is a build whose context is written while it is sent, so that no test holds it in memory. The writer's
// errors are those of a server that answers early.
func streaming(context func(io.Writer)) func(*testServer) reply {
	return func(s *testServer) reply {
		body, to := io.Pipe()
		w := multipart.NewWriter(to)
		go func() {
			_ = w.WriteField("component", "hostile")
			if part, err := w.CreateFormFile("dockerfile", "Dockerfile"); err == nil {
				_, _ = io.WriteString(part, tiny)
			}
			if part, err := w.CreateFormFile("context", "context.tar"); err == nil {
				context(part)
			}
			_ = to.CloseWithError(w.Close())
		}()
		defer func() { _ = body.Close() }()
		return s.call(http.MethodPost, imagesPath, body, http.Header{"Content-Type": {w.FormDataContentType()}})
	}
}

// raw is for what no HTTP client would send: bytes on a connection. The answer is what can be read of it.
func raw(request string) func(*testServer) reply {
	return func(s *testServer) reply {
		c, err := new(net.Dialer).DialContext(s.tester.Context(), "tcp", s.host)
		require.NoError(s.tester, err)
		defer func() { _ = c.Close() }()
		require.NoError(s.tester, c.SetDeadline(time.Now().Add(patience)))
		go func() { _, _ = io.WriteString(c, request) }() // the server may answer and hang up before the end
		return readReply(s.tester, c)
	}
}

func readReply(t testing.TB, c net.Conn) reply {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	return replyOf(t, resp)
}

// tiny is a Dockerfile that needs no base image and no step.
const tiny = "FROM scratch\nLABEL nothing=1\n"

// replyOf reads an answer.
func replyOf(t testing.TB, resp *http.Response) reply {
	t.Helper()
	out := reply{status: resp.StatusCode, header: resp.Header}
	var err error
	out.raw, err = io.ReadAll(resp.Body)
	require.NoError(t, err)
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		require.NoError(t, json.Unmarshal(out.raw, &out.body))
	}
	return out
}
