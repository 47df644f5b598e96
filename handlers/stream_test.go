package handlers

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// dial opens a bare connection to the server, with a deadline for the whole test.
func dial(t *testing.T, a *api) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", a.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	return conn, bufio.NewReader(conn)
}

// send writes the head of a POST and what is given of its body.
func send(t *testing.T, conn net.Conn, key, headers, body string) {
	t.Helper()
	_, err := fmt.Fprintf(conn, "POST /api/v1/images HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\n%s\r\n%s", key, headers, body)
	require.NoError(t, err)
}

func read(t *testing.T, r *bufio.Reader) answer {
	t.Helper()
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answer{resp, b}
}

func TestTooLongABodyIsRefusedUnread(t *testing.T) {
	for name, contentType := range map[string]string{"form": "multipart/form-data; boundary=B", "json": "application/json"} {
		t.Run(name, func(t *testing.T) {
			a := serve(t)
			conn, r := dial(t, a)
			send(t, conn, fullKey, "Content-Type: "+contentType+"\r\nContent-Length: 3221225472\r\nExpect: 100-continue\r\n", "")
			read(t, r).requireCode(t, http.StatusRequestEntityTooLarge, model.CodeBodyTooLarge) // and no 100 before it
			requireDropped(t, a)
		})
	}
}

func TestAWrongKeyIsRefusedBeforeTheBody(t *testing.T) {
	a := serve(t)
	conn, r := dial(t, a)
	send(t, conn, "wrong", "Content-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n", "")
	read(t, r).requireCode(t, http.StatusUnauthorized, model.CodeAuthInvalid)
}

func TestAStalledBodyTimesOut(t *testing.T) {
	for name, tt := range map[string]struct{ contentType, body string }{
		"json":    {"application/json", `{"component`},
		"form":    {"multipart/form-data; boundary=B", "--B\r\nContent-Disp"},
		"context": {"multipart/form-data; boundary=B", "--B\r\nContent-Disposition: form-data; name=\"context\"\r\n\r\n0123456789"},
	} {
		t.Run(name, func(t *testing.T) {
			a := serve(t, func(c *Config) { c.BodyStall = 150 * time.Millisecond })
			conn, r := dial(t, a)
			send(t, conn, fullKey, "Content-Type: "+tt.contentType+"\r\nContent-Length: 1000\r\n", tt.body)
			read(t, r).requireCode(t, http.StatusRequestTimeout, model.CodeBodyTimeout)
			requireDropped(t, a)
			_, err := r.ReadByte()
			require.ErrorIs(t, err, io.EOF, "the connection is closed")
		})
	}
}

func TestABodyNobodyWantsDoesNotHoldTheConnection(t *testing.T) {
	a := serve(t, func(c *Config) { c.BodyStall = 150 * time.Millisecond })
	conn, r := dial(t, a)
	send(t, conn, "wrong", "Content-Type: application/json\r\nContent-Length: 1000\r\n", "{")
	read(t, r).requireCode(t, http.StatusUnauthorized, model.CodeAuthInvalid)
	_, err := r.ReadByte()
	require.ErrorIs(t, err, io.EOF)
}

func TestASlowBodyThatMovesIsRead(t *testing.T) {
	const stall = 400 * time.Millisecond
	a := serve(t, func(c *Config) { c.BodyStall = stall })
	conn, r := dial(t, a)
	body := `{"dockerfile":"FROM scratch"}`
	send(t, conn, fullKey, fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n", len(body)), "")
	tick := time.NewTicker(stall / 8)
	defer tick.Stop()
	for i := range body { // longer than the stall in all
		<-tick.C
		_, err := io.WriteString(conn, body[i:i+1])
		require.NoError(t, err)
	}
	require.Equal(t, http.StatusAccepted, read(t, r).StatusCode)
}

// TestWaitingOutlivesTheBodysDeadline holds that a deadline for the body does not cancel a request that waits.
func TestWaitingOutlivesTheBodysDeadline(t *testing.T) {
	a := serve(t, func(c *Config) { c.BodyStall = 50 * time.Millisecond })
	a.builds.wait = func(ctx context.Context, _, _ string) (model.Build, error) {
		select {
		case <-ctx.Done():
			return sampleBuild(model.StatusRunning), nil
		case <-time.After(400 * time.Millisecond):
			return sampleBuild(model.StatusSucceeded), nil
		}
	}
	body, contentType := form(t, dockerfile(), part{"context", "c", "xyz"})
	for _, tail := range []string{"", "\r\n"} { // of the form: what follows the last boundary
		got := a.call(t, http.MethodPost, base+"/images", strings.NewReader(body+tail), "Content-Type", contentType, "Prefer", "wait=5")
		require.Equal(t, http.StatusOK, got.StatusCode, string(got.body))
	}
	require.Equal(t, http.StatusOK, a.postJSON(t, `{"dockerfile":"FROM scratch"}`, "Prefer", "wait=5").StatusCode)
}

func TestAClientThatLeavesStopsWaiting(t *testing.T) {
	a := serve(t)
	waiting, left := make(chan struct{}), make(chan struct{})
	a.builds.wait = func(ctx context.Context, _, _ string) (model.Build, error) {
		close(waiting)
		<-ctx.Done()
		close(left)
		return sampleBuild(model.StatusRunning), nil
	}
	body, contentType := form(t, dockerfile())
	conn, _ := dial(t, a)
	send(t, conn, fullKey, fmt.Sprintf("Content-Type: %s\r\nPrefer: wait=3600\r\nContent-Length: %d\r\n", contentType, len(body)), body)
	<-waiting
	require.NoError(t, conn.Close())
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Fatal("the handler still waits for a build that nobody waits for")
	}
	_, dropped := a.builds.drafted()
	require.Zero(t, dropped, "the build goes on")
}

func TestHeadersOverTheLimitAre431(t *testing.T) {
	a := serve(t)
	conn, r := dial(t, a)
	go func() {
		_, _ = fmt.Fprintf(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n", strings.Repeat("a", 2<<20))
	}()
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, resp.StatusCode)
}

// TestALargeContextTakesNoMemory streams 256 MiB and holds the heap against it.
func TestALargeContextTakesNoMemory(t *testing.T) {
	const size = 256 << 20
	a := serve(t)
	var peak atomic.Uint64
	a.builds.save = func(_ context.Context, r io.Reader) (model.Upload, error) {
		var n int64
		buf := make([]byte, 64<<10)
		for i := 0; ; i++ {
			m, err := r.Read(buf)
			n += int64(m)
			if i%512 == 0 {
				var s runtime.MemStats
				runtime.ReadMemStats(&s)
				peak.Store(max(peak.Load(), s.HeapAlloc))
			}
			if err == io.EOF {
				return model.Upload{Size: n}, nil
			}
			if err != nil {
				return model.Upload{}, err
			}
		}
	}
	pr, pw := io.Pipe()
	w := multipart.NewWriter(pw)
	go func() {
		_ = w.WriteField("dockerfile", "FROM scratch")
		p, _ := w.CreateFormFile("context", "context.tar")
		_, err := io.CopyN(p, zeros{}, size)
		_ = w.Close()
		_ = pw.CloseWithError(err)
	}()
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	got := a.call(t, http.MethodPost, base+"/images", pr, "Content-Type", w.FormDataContentType())
	require.Equal(t, http.StatusAccepted, got.StatusCode, string(got.body))
	require.EqualValues(t, size, a.builds.request(t).Upload.Size)
	require.Less(t, peak.Load(), before.HeapAlloc+32<<20)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
