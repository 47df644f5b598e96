package main

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cooper/auth"
	"cooper/internal/testbed"
)

// Threat T18 at the registry of a whole server: which token may do what. A build's token pulls everything and pushes to
// one repository; catalog, deletes and mirrors are the administrator's; the immutable tags are nobody's.
func TestRegistryTokens(t *testing.T) {
	s := startServer(t, nil)
	s.pushBusybox()
	built := s.mustBuild(tiny, "component", "mine")
	s.mustBuild(tiny, "component", "other")
	digest := s.image("component", "mine").str("digest")
	require.NotEmpty(t, digest)
	_, push := s.keys.MintPush("mine-main-image", time.Hour)
	_, expired := s.keys.MintPush("mine-main-image", -time.Second)
	elsewhere, err := auth.New("the-key-of-another-server", time.Now)
	require.NoError(t, err)
	_, stranger := elsewhere.MintPush("mine-main-image", time.Hour)
	_, ownServer := elsewhere.ServerCredentials()

	manifest := s.get("/v2/mine-main-image/manifests/latest")
	require.Equal(t, http.StatusOK, manifest.status, "%s", manifest.raw)
	put := func(repository, tag, password string) int {
		return s.v2(http.MethodPut, "/v2/"+repository+"/manifests/"+tag, password, string(manifest.raw), manifest.header.Get("Content-Type"))
	}
	get := func(path, password string) int { return s.v2(http.MethodGet, path, password, "", "") }
	remove := func(path, password string) int { return s.v2(http.MethodDelete, path, password, "", "") }
	upload := func(path, password string) int { return s.v2(http.MethodPost, path, password, "", "") }

	t.Run("forged", func(t *testing.T) {
		for name, token := range forgeries(t, push) {
			require.Equal(t, http.StatusUnauthorized, get("/v2/", token), name)
			require.Equal(t, http.StatusUnauthorized, put("mine-main-image", "latest", token), name)
		}
		for name, token := range map[string]string{"none": "", "expired": expired, "of another server": stranger, "another server's own": ownServer} {
			require.Equal(t, http.StatusUnauthorized, get("/v2/mine-main-image/manifests/latest", token), name)
			require.Equal(t, http.StatusUnauthorized, put("mine-main-image", "latest", token), name)
		}
	})
	t.Run("its own repository", func(t *testing.T) {
		require.Equal(t, http.StatusOK, get("/v2/mine-main-image/manifests/latest", push))
		require.Equal(t, http.StatusOK, get("/v2/other-main-image/manifests/latest", push), "pulling is open to builds")
		require.Equal(t, http.StatusCreated, put("mine-main-image", "pushed", push))
	})
	t.Run("what is not its own", func(t *testing.T) {
		for _, repository := range []string{"other-main-image", "mirror/docker.io/library/busybox", "mine-main-image/below", "new"} {
			require.Equal(t, http.StatusForbidden, put(repository, "latest", push), repository)
			require.Equal(t, http.StatusForbidden, upload("/v2/"+repository+"/blobs/uploads/", push), repository)
			require.Equal(t, http.StatusForbidden, upload("/v2/"+repository+"/blobs/uploads/?mount="+digest+"&from=mine-main-image", push), repository)
		}
	})
	t.Run("immutable tags", func(t *testing.T) {
		for _, password := range []string{push, testKey} {
			require.Equal(t, http.StatusConflict, put("mine-main-image", "build-"+built.str("buildId"), password))
			require.Equal(t, http.StatusConflict, put("mine-main-image", "build-"+uuid.NewString(), password))
		}
	})
	t.Run("catalog and deletes are the administrator's", func(t *testing.T) {
		require.Equal(t, http.StatusForbidden, get("/v2/_catalog", push))
		require.Equal(t, http.StatusUnauthorized, get("/v2/_catalog", ""))
		for _, ref := range []string{"pushed", digest} {
			require.Equal(t, http.StatusForbidden, remove("/v2/mine-main-image/manifests/"+ref, push), ref)
			require.Equal(t, http.StatusUnauthorized, remove("/v2/mine-main-image/manifests/"+ref, ""), ref)
		}
		require.Equal(t, http.StatusForbidden, remove("/v2/mine-main-image/blobs/"+digest, push))
		require.Equal(t, http.StatusOK, get("/v2/_catalog", testKey))
		require.Equal(t, http.StatusAccepted, remove("/v2/mine-main-image/manifests/pushed", testKey))
	})
	t.Run("the API knows no such token", func(t *testing.T) {
		for _, path := range []string{"/api/v1/builds", "/api/v1/images", "/api/v1/image?component=mine"} {
			r := s.call(http.MethodGet, path, nil, http.Header{"X-Api-Key": {push}})
			require.Equal(t, "SCOPE_INSUFFICIENT", r.str("code"), "%s", r.raw)
		}
	})
	_, _, err = testbed.VerifyIndex(t.Context(), s.image("component", "mine").str("imageName"), "x", testKey)
	require.NoError(t, err, "after all of this the image is as it was")
	require.NotContains(t, s.log.String(), push)
}

// v2 is a call of the registry, whose password is left out when it is empty. It returns the status.
func (s *testServer) v2(method, path, password, body, contentType string) int {
	s.tester.Helper()
	req, err := http.NewRequestWithContext(s.tester.Context(), method, s.url+path, strings.NewReader(body))
	require.NoError(s.tester, err)
	if password != "" {
		req.SetBasicAuth("cooper", password)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(s.tester, err)
	defer resp.Body.Close()
	r := replyOf(s.tester, resp)
	require.Less(s.tester, r.status, http.StatusInternalServerError, "%s %s: %s", method, path, r.raw)
	require.NotContains(s.tester, string(r.raw), s.cfg.DataDir)
	if r.status == http.StatusUnauthorized {
		require.Contains(s.tester, r.header.Get("WWW-Authenticate"), "Basic")
		require.Contains(s.tester, string(r.raw), `"UNAUTHORIZED"`)
	}
	return r.status
}

// forgeries are tokens made of a good one, and tokens of other kinds that say what they like about themselves.
func forgeries(t *testing.T, good string) map[string]string {
	t.Helper()
	text, signature, ok := strings.Cut(good, ".")
	require.True(t, ok)
	kind, payload, ok := strings.Cut(text, "_")
	require.True(t, ok)
	raw, err := base64.RawURLEncoding.DecodeString(payload)
	require.NoError(t, err)
	encode := base64.RawURLEncoding.EncodeToString
	later := append([]byte{0x7f}, raw[1:]...)
	jwt := func(header, claims string) string { return encode([]byte(header)) + "." + encode([]byte(claims)) + "." }
	claims := `{"access":[{"type":"registry","name":"catalog","actions":["*"]}],"exp":99999999999}`
	return map[string]string{
		"no signature":         text,
		"an empty signature":   text + ".",
		"a changed signature":  text + "." + strings.ToUpper(signature),
		"a longer signature":   good + "A",
		"another expiry":       kind + "_" + encode(later) + "." + signature,
		"another repository":   kind + "_" + encode(append(raw[:8:8], "other-main-image"...)) + "." + signature,
		"every repository":     kind + "_" + encode(raw[:8]) + "." + signature,
		"the server's kind":    "cooperserver_" + payload + "." + signature,
		"alg none":             jwt(`{"alg":"none","typ":"JWT"}`, claims),
		"a key of its own":     jwt(`{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}`, claims) + "AAAA",
		"the administrator ID": "admin",
	}
}
