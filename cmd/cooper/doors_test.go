package main

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/config"
	"cooper/internal/model"
)

// standing is a server whose parts are open and whose work has not begun: enough for what only its doors decide.
func standing(t *testing.T, change func(*config.Config)) (handler http.Handler, log *lockedBuffer) {
	t.Helper()
	cfg, err := config.Load()
	require.NoError(t, err)
	cfg.Listen, cfg.DataDir, cfg.AdminKey, cfg.BuildKitBinary = "127.0.0.1:0", t.TempDir(), testKey, program(t, "buildkitd")
	if change != nil {
		change(&cfg)
	}
	log = &lockedBuffer{}
	s, err := open(t.Context(), cfg, slog.New(slog.NewTextHandler(log, nil)))
	require.NoError(t, err)
	t.Cleanup(s.close)
	return s.http.Handler, log
}

// knock sends a request to a standing server.
func knock(t *testing.T, door http.Handler, method, path string, header http.Header) reply {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	r.Header = header
	w := httptest.NewRecorder()
	door.ServeHTTP(w, r)
	return replyOf(t, w.Result())
}

func basic(user, password string) http.Header {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return r.Header
}

// The API and the registry take a key in the same ways, and tell who has none how to send it there.
func TestKeysAtBothDoors(t *testing.T) {
	door, _ := standing(t, nil)
	for name, tt := range map[string]struct {
		header http.Header
		status int
	}{
		"X-API-Key":                 {http.Header{"X-Api-Key": {testKey}}, http.StatusOK},
		"bearer":                    {http.Header{"Authorization": {"Bearer " + testKey}}, http.StatusOK},
		"bearer in any case":        {http.Header{"Authorization": {"bearer " + testKey}}, http.StatusOK},
		"basic, any user":           {basic("x", testKey), http.StatusOK},
		"none":                      {http.Header{}, http.StatusUnauthorized},
		"the key as the user":       {basic(testKey, ""), http.StatusUnauthorized},
		"another scheme":            {http.Header{"Authorization": {"Digest " + testKey}}, http.StatusUnauthorized},
		"an empty key beside a key": {http.Header{"X-Api-Key": {""}, "Authorization": {"Bearer " + testKey}}, http.StatusUnauthorized},
		"two keys":                  {http.Header{"X-Api-Key": {testKey, testKey}}, http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			api, v2 := knock(t, door, http.MethodGet, "/api/v1/builds", tt.header), knock(t, door, http.MethodGet, "/v2/", tt.header)
			require.Equal(t, tt.status, api.status, "%s", api.raw)
			require.Equal(t, tt.status, v2.status, "%s", v2.raw)
			if tt.status == http.StatusUnauthorized {
				require.Equal(t, `Bearer realm="cooper"`, api.header.Get("WWW-Authenticate"))
				require.Equal(t, `Basic realm="cooper"`, v2.header.Get("WWW-Authenticate"))
				require.Contains(t, string(v2.raw), "any user name and an API key as the password")
			}
		})
	}
}

// What is unclear about a key counts as an attempt, at one door as at the other.
func TestUnclearKeysCountAsAttempts(t *testing.T) {
	door, _ := standing(t, nil)
	unclear := http.Header{"X-Api-Key": {testKey, "another"}}
	seen := map[int]int{}
	for range 60 {
		seen[knock(t, door, http.MethodGet, "/api/v1/builds", unclear).status]++
	}
	require.GreaterOrEqual(t, seen[http.StatusUnauthorized], 50)
	require.Positive(t, seen[http.StatusTooManyRequests])
	for range 60 {
		seen[knock(t, door, http.MethodGet, "/v2/", unclear).status]++
	}
	require.Greater(t, seen[http.StatusTooManyRequests], 30, "%v", seen)
	r := knock(t, door, http.MethodGet, "/api/v1/builds", unclear)
	require.Equal(t, "RATE_LIMITED", r.str("code"), "%s", r.raw)
	require.Equal(t, "1", r.header.Get("Retry-After"))
	require.Equal(t, http.StatusOK, knock(t, door, http.MethodGet, "/api/v1/builds", http.Header{"X-Api-Key": {testKey}}).status)
}

// Row F12 at the registry: with too little free, pushes are refused at once and pulls go on.
func TestPushesNeedRoom(t *testing.T) {
	key := basic("x", testKey)
	door, log := standing(t, func(c *config.Config) { c.MinFreeMiB = 1 << 40 })
	for _, method := range []string{http.MethodPost, http.MethodPatch, http.MethodPut} {
		path := "/v2/a/b/blobs/uploads/"
		if method != http.MethodPost {
			path += "0197"
		}
		r := knock(t, door, method, path, key)
		require.Equal(t, http.StatusInsufficientStorage, r.status, "%s %s", method, r.raw)
		require.Contains(t, string(r.raw), `"errors":[{"code":"UNAVAILABLE"`)
	}
	require.Equal(t, http.StatusOK, knock(t, door, http.MethodGet, "/v2/", key).status)
	require.Equal(t, http.StatusOK, knock(t, door, http.MethodGet, "/v2/_catalog", key).status)
	require.Contains(t, log.String(), "method=POST route=/v2/* status=507")
	metrics := knock(t, door, http.MethodGet, "/metrics", http.Header{})
	require.Contains(t, string(metrics.raw), `cooper_http_requests_total{code="507",method="PATCH",route="/v2/*"} 1`)

	door, _ = standing(t, func(c *config.Config) { c.MinFreeMiB = 1 })
	require.Equal(t, http.StatusAccepted, knock(t, door, http.MethodPost, "/v2/a/b/blobs/uploads/", key).status, "control")
}

func TestRoom(t *testing.T) {
	dir := t.TempDir()
	s := &server{cfg: config.Config{DataDir: dir}}
	require.NoError(t, s.room())
	s.cfg.MinFreeMiB = 1 << 40
	require.Equal(t, model.CodeStorageFull, model.CodeOf(s.room()))
	require.NotContains(t, model.AsError(s.room()).Message, dir)
	s.cfg.DataDir = filepath.Join(dir, "gone")
	require.ErrorIs(t, s.room(), os.ErrNotExist)
	require.False(t, strings.Contains(model.AsError(s.room()).Message, dir))
}
