package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/config"
)

// startEngine runs a Docker Engine of the test's own, which speaks plain HTTP to the registry, until the test ends. It
// returns the settings with which the docker command uses it, and with logins of its own.
func startEngine(t *testing.T, registry string) []string {
	t.Helper()
	dir := t.TempDir()
	socket := "unix://" + filepath.Join(dir, "d.sock")
	cgroup := "cooper-test-" + filepath.Base(filepath.Dir(dir))
	settings := []string{"DOCKER_HOST=" + socket, "DOCKER_CONFIG=" + filepath.Join(dir, "client")}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "dockerd",
		"--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"), "-H", socket, "-p", filepath.Join(dir, "pid"),
		"--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false", "--userland-proxy=false",
		"--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", "/"+cgroup, "--insecure-registry", registry)
	cmd.Env = config.Environment()
	log := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start(), "needs a Docker Engine: make setup-test")
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		require.NoError(t, <-ended, "the engine did not end cleanly: %s", lastLines(log.String(), 20))
		removeCgroups(t, cgroup)
	})
	eventually(t, "the Docker Engine answers", func() bool {
		select {
		case err := <-ended:
			ended <- err
			require.FailNow(t, "the Docker Engine ended", "%v: %s", err, lastLines(log.String(), 20))
		default:
		}
		_, err := outside(t, settings, "docker", "version")
		return err == nil
	})
	return settings
}

// removeCgroups removes what an engine leaves in each hierarchy: the parent of its containers' cgroups, and its own.
func removeCgroups(t *testing.T, name string) {
	t.Helper()
	for _, pattern := range []string{"/sys/fs/cgroup/" + name, "/sys/fs/cgroup/*/" + name} {
		left, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, dir := range left {
			require.NoError(t, os.Remove(dir))
		}
	}
}
