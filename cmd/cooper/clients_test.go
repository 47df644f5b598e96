package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"cooper/internal/config"
)

// outside runs a program that is not ours, with settings on top of the environment, and returns what it printed.
func outside(t testing.TB, settings []string, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(config.Environment(), settings...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// mustOutside is outside for what has to work.
func mustOutside(t testing.TB, settings []string, name string, args ...string) string {
	t.Helper()
	out, err := outside(t, settings, name, args...)
	require.NoError(t, err, "%s: %s", name, out)
	return out
}

// What was built is pulled by the programs that people pull with, under the name that GET /image gives.
func TestOutsideClientsPull(t *testing.T) {
	s := startServer(t, nil)
	s.pushBusybox()
	s.mustBuild("FROM busybox\nRUN echo \"a barrel for $(uname -m)\" >/said\nCMD [\"cat\", \"/said\"]\n",
		"component", "outside", "branch", "feature/x", "architecture", "amd64,arm64")
	image := s.image("component", "outside", "branch", "feature/x")
	require.Equal(t, "available", image.str("status"), "%s", image.raw)
	t.Run("skopeo", func(t *testing.T) { skopeoPulls(t, s, image.str("imageName")) })
	t.Run("Docker Engine", func(t *testing.T) { dockerPulls(t, s, image.str("imageName"), image.str("pullCommand")) })
}

func skopeoPulls(t *testing.T, s *testServer, image string) {
	ref, logins := "docker://"+image, filepath.Join(t.TempDir(), "auth.json")
	mustOutside(t, nil, "skopeo", "login", "--tls-verify=false", "--authfile", logins, "-u", "anybody", "-p", testKey, s.host)
	var seen struct{ Name, Architecture string }
	out := mustOutside(t, nil, "skopeo", "--override-arch", "arm64", "inspect", "--tls-verify=false", "--authfile", logins, ref)
	require.NoError(t, json.Unmarshal([]byte(out), &seen), out)
	require.Equal(t, "arm64", seen.Architecture)
	require.Equal(t, image, seen.Name+":latest")

	for _, arch := range []string{"amd64", "arm64"} {
		dir := filepath.Join(t.TempDir(), arch)
		mustOutside(t, nil, "skopeo", "--override-arch", arch, "copy", "-q", "--src-tls-verify=false", "--src-creds", "x:"+testKey, ref, "dir:"+dir)
		requireImageDir(t, dir, arch)
	}

	out, err := outside(t, nil, "skopeo", "login", "--tls-verify=false", "--authfile", logins, "-u", "anybody", "-p", "wrong", s.host)
	require.Error(t, err)
	require.Contains(t, out, "invalid username/password")
	for name, args := range map[string][]string{
		"wrong key": {"copy", "-q", "--src-tls-verify=false", "--src-creds", "x:wrong", ref, "dir:" + t.TempDir()},
		"no key":    {"inspect", "--no-creds", "--tls-verify=false", ref},
	} {
		out, err := outside(t, nil, "skopeo", args...)
		require.Error(t, err, "%s: %s", name, out)
		require.Regexp(t, "(?i)unauthorized|authentication required|invalid username/password", out, name)
	}
}

// requireImageDir checks that a folder that skopeo filled holds an image for arch, whole.
func requireImageDir(t *testing.T, dir, arch string) {
	t.Helper()
	blob := func(digest v1.Hash) []byte {
		raw, err := os.ReadFile(filepath.Join(dir, digest.Hex))
		require.NoError(t, err)
		sum := sha256.Sum256(raw)
		require.Equal(t, digest.Hex, hex.EncodeToString(sum[:]))
		return raw
	}
	raw, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	require.NoError(t, err)
	var manifest v1.Manifest
	require.NoError(t, json.Unmarshal(raw, &manifest))
	var c v1.ConfigFile
	require.NoError(t, json.Unmarshal(blob(manifest.Config.Digest), &c))
	require.Equal(t, arch, c.Architecture)
	require.Len(t, manifest.Layers, 2)
	for _, l := range manifest.Layers {
		require.Len(t, blob(l.Digest), int(l.Size))
	}
}

func dockerPulls(t *testing.T, s *testServer, image, pullCommand string) {
	settings := startEngine(t, s.host)
	login := func(key string) (string, error) {
		return outside(t, settings, "docker", "login", "-u", "anybody", "-p", key, s.host)
	}
	out, err := login("wrong")
	require.Error(t, err, out)
	require.Regexp(t, "(?i)unauthorized", out)
	out, err = outside(t, settings, "sh", "-c", pullCommand)
	require.Error(t, err, "pulled without a key: %s", out)

	out, err = login(testKey)
	require.NoError(t, err, out)
	require.Equal(t, "docker pull "+image, pullCommand)
	mustOutside(t, settings, "sh", "-c", pullCommand)
	out = mustOutside(t, settings, "docker", "run", "--rm", "--network=none", image)
	require.Equal(t, "a barrel for "+mustOutside(t, nil, "uname", "-m"), out)
}
