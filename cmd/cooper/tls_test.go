package main

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// With a certificate the server speaks TLS and nothing else: the API, the pushes of its own BuildKit, what others pull,
// and its own images as base images.
func TestServerSpeaksTLS(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.issue("server")
	s := startProgram(t, a, "COOPER_TLS_CERT="+cert, "COOPER_TLS_KEY="+key)
	s.ready(t)
	dir := t.TempDir()
	build := func(component, dockerfile string) string {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o600))
		mustOutside(t, s.settings, program(t, "cooper"), "image", "build", "--component", component, "--platform", "amd64,arm64", dir)
		// The name of the image is all that is on standard output; read it the way a script does.
		out := mustOutside(t, s.settings, "sh", "-c", `"$0" image get --platform arm64 --component "$1" 2>/dev/null`, program(t, "cooper"), component)
		return strings.TrimSpace(out)
	}
	image := build("private", "FROM scratch\nCOPY <<E /kept\nprivate\nE\n")
	require.Equal(t, s.host+"/private-main-image:latest", image)
	next := build("next", "FROM "+image+"\nCOPY --from="+image+" /kept /again\n")

	for _, arch := range []string{"amd64", "arm64"} {
		var seen struct{ Architecture string }
		out := mustOutside(t, nil, "skopeo", "--override-arch", arch, "inspect", "--tls-verify=false", "--creds", "x:"+testKey, "docker://"+next)
		require.NoError(t, json.Unmarshal([]byte(out), &seen), out)
		require.Equal(t, arch, seen.Architecture)
		mustOutside(t, nil, "skopeo", "--override-arch", arch, "copy", "-q", "--src-tls-verify=false", "--src-creds", "x:"+testKey, "docker://"+next, "dir:"+filepath.Join(dir, arch))
	}
	out, err := outside(t, nil, "skopeo", "inspect", "--creds", "x:"+testKey, "docker://"+next)
	require.Error(t, err, "the certificate is not one that everybody trusts")
	require.Contains(t, out, "certificate")

	resp, err := http.Get("http://" + s.host + "/readyz")
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusBadRequest, resp.StatusCode, "plain HTTP is answered")
	_, err = tls.Dial("tcp", s.host, &tls.Config{RootCAs: a.pool(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	require.ErrorContains(t, err, "protocol version", "TLS 1.1 is spoken")
}
