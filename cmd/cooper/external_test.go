package main

import (
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/config"
	"cooper/internal/testbed"
)

// Any other registry can take the embedded one's place: what is built goes there, with the registry's own credentials,
// and base images come from there with them too.
func TestExternalRegistry(t *testing.T) {
	const user = "robot"
	var password atomic.Value
	password.Store("the-registry's-password")
	images := memoryRegistry()
	guarded, host := serveWitnessed(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, ok := r.BasicAuth(); !ok || u != user || p != password.Load() {
			w.Header().Set("WWW-Authenticate", `Basic realm="somebody else's"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you?"}]}`, http.StatusUnauthorized)
			return
		}
		images.ServeHTTP(w, r)
	}))
	busybox, err := testbed.Busybox(t.Context())
	require.NoError(t, err)
	require.NoError(t, testbed.Push(t.Context(), host+"/base/busybox:1", busybox, user, password.Load().(string)))
	s := startServer(t, func(c *config.Config) {
		c.Registry, c.RegistryUsername, c.RegistryPassword, c.RegistryInsecure = host+"/team/images", user, password.Load().(string), true
	})
	dockerfile := "FROM " + host + "/base/busybox:1\nRUN uname -m >/machine\n"
	// One platform after the other: the index there has to grow.
	for _, arch := range []string{"amd64", "arm64"} {
		r := s.mustBuild(dockerfile, "component", "away", "architecture", arch)
		require.Equal(t, host+"/team/images/away-main-image:latest", r.str("imageName"))
	}
	image := s.image("component", "away", "architecture", "arm64")
	digest, platforms, err := testbed.VerifyIndex(t.Context(), image.str("imageName"), user, password.Load().(string))
	require.NoError(t, err)
	require.Equal(t, image.str("digest"), digest.String())
	machines := map[string]string{}
	for _, p := range platforms {
		if !p.Attestation {
			made, err := testbed.ReadFile(p.Image, "machine")
			require.NoError(t, err)
			machines[p.Platform] = string(made)
		}
	}
	require.Equal(t, map[string]string{"linux/amd64": "x86_64\n", "linux/arm64": "aarch64\n"}, machines)
	require.NotEmpty(t, guarded.requests("PUT /v2/team/images/away-main-image/manifests/latest"))
	require.Equal(t, http.StatusNotFound, s.get("/v2/").status, "the embedded registry is there too")

	// The registry does not know us any more.
	old := password.Swap("another").(string)
	r := s.build("FROM scratch\nCOPY <<E /a\nb\nE\n", "component", "refused")
	require.Equal(t, "PUSH_FAILED", r.str("code"), "%s", r.raw)
	require.Regexp(t, "(?i)unauthorized", r.str("errorMessage"))
	ready := s.get("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, ready.status)
	require.Contains(t, string(ready.raw), "The registry does not answer")
	for _, text := range []string{s.log.String(), string(r.raw), s.logText(r.str("buildId"))} {
		require.NotContains(t, text, old)
	}
}
