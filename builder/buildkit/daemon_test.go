package buildkit

import (
	"bytes"
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"cooper/internal/model"
	"cooper/internal/testbed"
)

// native is a platform that BuildKit builds without emulation.
const native = "linux/amd64"

// bench is a real BuildKit, with a registry that has busybox.
type bench struct {
	*Client
	host    string // of the registry
	busybox string // reference with digest
	kill    func() // ends the daemon at once
}

// newBench starts both and ends them with the test.
func newBench(t *testing.T) *bench {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	b := &bench{host: strings.TrimPrefix(server.URL, "http://")}
	index, err := testbed.Busybox(t.Context())
	require.NoError(t, err)
	b.busybox = b.host + "/busybox@" + b.push(t, "busybox", index)
	var address string
	address, b.kill = startBuildKit(t)
	b.Client, err = New(t.Context(), Config{Address: address})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	require.Eventually(t, func() bool {
		_, err := b.Platforms(t.Context())
		return err == nil
	}, 30*time.Second, 50*time.Millisecond, "BuildKit does not answer")
	return b
}

// behind gives the same BuildKit with a registry that answers nobody but u, whose password is p.
func (b *bench) behind(t *testing.T) *bench {
	t.Helper()
	open := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "u" || password != "p" {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		open.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return &bench{Client: b.Client, host: strings.TrimPrefix(server.URL, "http://"), busybox: b.busybox, kill: b.kill}
}

func (b *bench) push(t *testing.T, repository string, index v1.ImageIndex) (digest string) {
	t.Helper()
	d, err := index.Digest()
	require.NoError(t, err)
	ref, err := name.NewDigest(b.host + "/" + repository + "@" + d.String())
	require.NoError(t, err)
	require.NoError(t, remote.WriteIndex(ref, index, remote.WithAuth(&authn.Basic{Username: "u", Password: "p"})))
	return d.String()
}

// solve is one of a Dockerfile, in which BUSYBOX stands for the base image.
func (b *bench) solve(dockerfile string) Solve {
	return Solve{
		Platform: native, Dockerfile: []byte(strings.ReplaceAll(dockerfile, "BUSYBOX", b.busybox)), CacheScope: "test",
		Push: model.Push{Host: b.host, Repository: b.host + "/out", Insecure: true}, Sources: scriptedSources{},
	}
}

// startBuildKit runs a buildkitd until the test ends.
func startBuildKit(t *testing.T) (address string, kill func()) {
	t.Helper()
	require.Zero(t, os.Geteuid(), "BuildKit needs root: run the tests as root or with sudo")
	program := os.Getenv("COOPER_TEST_BUILDKITD")
	if program == "" {
		program = filepath.Join("..", "..", "bin", "buildkitd")
	}
	require.FileExists(t, program, "buildkitd is missing: run make build")
	dir := t.TempDir()
	socket, err := os.MkdirTemp("", "bk") //nolint:usetesting // The path of a socket must be short.
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(socket)) })
	address = "unix://" + filepath.Join(socket, "s")
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program,
		"--config", filepath.Join(dir, "none.toml"), "--root", filepath.Join(dir, "root"), "--otel-socket-path", filepath.Join(socket, "t"),
		"--containerd-worker=false", "--oci-worker-net=host", "--addr", address)
	cmd.Env = append(os.Environ(), "TMPDIR="+socket) // where it mounts what it exports
	out := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have been killed
		_ = cmd.Wait()                          // its exit status tells nothing
		unmountBelow(t, socket)
		if t.Failed() {
			t.Log(out.String())
		}
	})
	return address, func() { _ = cmd.Process.Kill() }
}

// unmountBelow takes away what a daemon that was killed left mounted.
func unmountBelow(t *testing.T, dir string) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	require.NoError(t, err)
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); strings.HasPrefix(fields[1], dir+"/") {
			require.NoError(t, syscall.Unmount(fields[1], 0))
		}
	}
}

// lockedBuffer is written to by a process while it is read.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
