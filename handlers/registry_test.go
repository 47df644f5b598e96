package handlers

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// withRegistry lets f answer for the registry.
func withRegistry(f http.HandlerFunc) func(*Config) {
	return func(c *Config) { c.Registry = f }
}

// requestLine returns what the log tells of the request.
func (a *api) requestLine(t *testing.T, requestID string) map[string]any {
	t.Helper()
	var found map[string]any
	eventually(t, "the request is in the log", func() bool {
		for text := range strings.Lines(a.log.String()) {
			var line map[string]any
			require.NoError(t, json.Unmarshal([]byte(text), &line))
			if line["msg"] == "request" && line["requestId"] == requestID {
				found = line
				return true
			}
		}
		return false
	})
	return found
}

func TestTheRegistrysPaths(t *testing.T) {
	a := serve(t, withRegistry(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Method) }))
	for path, registry := range map[string]bool{
		"/v2": true, "/v2/": true, "/v2/a/b/manifests/1": true, "/v2//x": true, "/v2/../healthz": true,
		"/v20": false, "/v1/": false, "/V2/": false, "/api/v1/v2/": false,
	} {
		got := a.call(t, http.MethodPut, path, nil, "X-API-Key", "")
		require.Equal(t, registry, string(got.body) == "PUT", path)
		require.NotEmpty(t, got.Header.Get("X-Request-Id"), path)
	}
	require.Equal(t, http.StatusNotFound, serve(t).get(t, "/v2/").StatusCode, "there is none")
}

func TestTheRegistryIsLoggedAndCounted(t *testing.T) {
	a := serve(t, withRegistry(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v2/made/up":
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, "1234567")
		case "/v2/panics":
			panic(http.ErrAbortHandler)
		}
	}))
	a.call(t, http.MethodPut, "/v2/made/up?_state=canary", nil, "X-Request-Id", "put")
	line := a.requestLine(t, "put")
	require.Equal(t, "PUT", line["method"])
	require.Equal(t, "/v2/*", line["route"])
	require.EqualValues(t, http.StatusCreated, line["status"])
	require.EqualValues(t, 7, line["bytes"])

	require.Equal(t, http.MethodHead, a.call(t, http.MethodHead, "/v2/", nil, "X-Request-Id", "head").Request.Method)
	require.EqualValues(t, http.StatusOK, a.requestLine(t, "head")["status"], "nothing was written")

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.URL+"/v2/panics", nil)
	require.NoError(t, err)
	req.Header.Set("X-Request-Id", "panic")
	_, err = a.Client().Do(req) //nolint:bodyclose // there is no answer
	require.Error(t, err)
	require.EqualValues(t, http.StatusInternalServerError, a.requestLine(t, "panic")["status"])

	metrics := string(a.get(t, "/metrics").body)
	require.Contains(t, metrics, `cooper_http_requests_total{code="201",method="PUT",route="/v2/*"} 1`)
	require.Contains(t, metrics, `cooper_http_requests_total{code="500",method="GET",route="/v2/*"} `)
	require.Contains(t, metrics, `cooper_http_request_duration_seconds_count{method="HEAD",route="/v2/*"} 1`)
	require.NotContains(t, metrics+a.log.String(), "made/up")
	require.NotContains(t, a.log.String(), "canary")
}

// TestTheRegistrysBodyMayNotStandStill is B16 at the registry: what it reads ends, and it can see why.
func TestTheRegistrysBodyMayNotStandStill(t *testing.T) {
	failed := make(chan error, 1)
	a := serve(t, func(c *Config) { c.BodyStall = 150 * time.Millisecond }, withRegistry(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		failed <- err
		w.WriteHeader(http.StatusRequestTimeout)
	}))
	conn, r := dial(t, a)
	_, err := fmt.Fprint(conn, "PATCH /v2/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
	require.NoError(t, err)
	require.Equal(t, http.StatusRequestTimeout, read(t, r).StatusCode)
	require.ErrorIs(t, <-failed, os.ErrDeadlineExceeded)
}

// TestTheRegistrysReaderMayNotStandStill is T14: a client that asks for a blob and does not read it is given up.
func TestTheRegistrysReaderMayNotStandStill(t *testing.T) {
	failed := make(chan error, 1)
	a := serve(t, func(c *Config) { c.WriteStall = 150 * time.Millisecond }, withRegistry(func(w http.ResponseWriter, _ *http.Request) {
		_, err := io.Copy(w, io.LimitReader(zeros{}, 256<<20))
		failed <- err
	}))
	conn, _ := dial(t, a)
	_, err := fmt.Fprint(conn, "GET /v2/x HTTP/1.1\r\nHost: x\r\nX-Request-Id: slow\r\n\r\n")
	require.NoError(t, err)
	select {
	case err := <-failed:
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	case <-time.After(10 * time.Second):
		require.FailNow(t, "the registry still writes to a reader that stands still")
	}
	require.Positive(t, a.requestLine(t, "slow")["bytes"])
}

// TestTheRegistryDoesNotMakeAClientSendWhatItRefuses holds that the body's guard leaves 100-continue to the registry.
func TestTheRegistryDoesNotMakeAClientSendWhatItRefuses(t *testing.T) {
	a := serve(t, withRegistry(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	conn, r := dial(t, a)
	_, err := fmt.Fprint(conn, "PATCH /v2/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n")
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, read(t, r).StatusCode, "and no 100 before it")
}
