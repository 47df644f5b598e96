package main

import (
	"context"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/config"
)

// A BuildKit that is already there is used through its socket. It is somebody else's, who does not know our mirror: base
// images are named in full. Its owner has to let it reach us.
func TestExternalBuildKitOnASocket(t *testing.T) {
	ours := net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))
	owner := startServer(t, func(c *config.Config) { c.SourceAllow = []string{ours} })
	owner.pushBusybox()
	s := startServer(t, func(c *config.Config) { c.BuildKitAddr, c.Listen = owner.daemon.Address(), ours })
	require.Nil(t, s.daemon)
	s.pushBusybox()
	r := s.mustBuild("FROM "+s.host+"/mirror/docker.io/library/busybox\nRUN uname -m >/machine\n", "component", "elsewhere", "architecture", "amd64,arm64")
	require.Contains(t, r.str("imageName"), s.host)
	for arch, machine := range map[string]string{"amd64": "x86_64\n", "arm64": "aarch64\n"} {
		_, read := s.imageOf(r.str("imageName"), arch)
		require.Equal(t, machine, read("machine"))
	}
	s.mustBuild("FROM "+r.str("imageName")+"\nRUN test -s /machine\n", "component", "onward")

	// We have no right to what its owner's mirror has, and say so; the owner is not harmed by our going.
	refused := s.build("FROM busybox\nRUN true\n", "component", "refused")
	require.Equal(t, "BASE_IMAGE_NOT_FOUND", refused.str("code"), "%s", refused.raw)
	require.Contains(t, refused.str("errorMessage"), "401")
	s.stop()
	owner.mustBuild("FROM busybox\nRUN true\n", "component", "mine")
}

// A BuildKit on another machine is used by mutual TLS, and by nobody whom its authority does not know.
func TestExternalBuildKitByMutualTLS(t *testing.T) {
	a := newAuthority(t)
	address := startBuildKit(t, a)
	use := func(t *testing.T, known *authority) *servingProgram {
		cert, key := known.issue("client")
		return startProgram(t, nil, "COOPER_BUILDKIT_ADDR="+address, "COOPER_BUILDKIT_CACERT="+a.file, "COOPER_BUILDKIT_CERT="+cert, "COOPER_BUILDKIT_KEY="+key)
	}
	t.Run("known", func(t *testing.T) {
		s := use(t, a)
		s.ready(t)
		r := s.mustBuild("FROM scratch\nCOPY <<E /far\naway\nE\n", "component", "far", "architecture", "amd64,arm64")
		_, read := s.imageOf(r.str("imageName"), "arm64")
		require.Equal(t, "away\n", read("far"))
	})
	t.Run("unknown", func(t *testing.T) {
		s := use(t, newAuthority(t))
		var body string
		eventually(t, "the worker has asked BuildKit", func() bool {
			var status int
			status, body = s.readiness(t)
			require.Equal(t, http.StatusServiceUnavailable, status, body)
			return strings.Contains(body, "BuildKit does not answer")
		})
		require.Regexp(t, `"buildkit","ready":false`, strings.ReplaceAll(body, " ", ""))
		// What the refusal looks like from here depends on who closes the connection first.
		require.Regexp(t, `detail="BuildKit does not answer" error=".*(tls: |broken pipe|connection reset|EOF)`, s.log.String())
	})
}

// startBuildKit runs a buildkitd of nobody's until the test ends, for those who have a certificate of a's.
func startBuildKit(t *testing.T, a *authority) (address string) {
	t.Helper()
	dir := t.TempDir()
	address = "tcp://127.0.0.1:" + strconv.Itoa(freePort(t))
	cert, key := a.issue("buildkitd")
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program(t, "buildkitd"),
		"--config", filepath.Join(dir, "none.toml"), "--root", filepath.Join(dir, "root"), "--otel-socket-path", filepath.Join(dir, "trace.sock"),
		"--containerd-worker=false", "--addr", address, "--tlscacert", a.file, "--tlscert", cert, "--tlskey", key)
	cmd.Env = config.Environment()
	log := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		_ = cmd.Wait() // its exit status tells nothing
		if t.Failed() {
			t.Log(lastLines(log.String(), 20))
		}
	})
	eventually(t, "BuildKit listens", func() bool { return strings.Contains(log.String(), "running server on") })
	return address
}
