package registry

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
	"cooper/registry/embedded"
)

type open struct{}

func (open) Authorize(context.Context, *http.Request, []embedded.Access) (string, error) {
	return "server", nil
}

// onDisk is the path of a file that the registry adopts.
type onDisk string

func (f onDisk) Link(_ context.Context, path string) (bool, error) {
	return true, os.Link(string(f), path)
}

func (f onDisk) Same(path string) bool {
	mine, err := os.Stat(string(f))
	there, missing := os.Stat(path)
	return err == nil && missing == nil && os.SameFile(mine, there)
}

// A component whose tarball was adopted by the registry inside the process is fetched by another program.
func TestAnAdoptedComponentIsPulled(t *testing.T) {
	inside, err := embedded.New(embedded.Config{Root: filepath.Join(t.TempDir(), "registry"), Authorizer: open{}, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	server := httptest.NewServer(inside.Handler())
	t.Cleanup(func() {
		server.Close()
		require.NoError(t, inside.Close())
	})
	host := strings.TrimPrefix(server.URL, "http://")
	store, file := &tarballs{}, filepath.Join(t.TempDir(), "tarball")
	c := store.add(t, "linux/arm64", model.FormatTarGz)
	require.NoError(t, os.WriteFile(file, store.bytes[c.Tarball.Digest], 0o400))
	r, err := New(Config{
		Address: host, PublicHost: host, Insecure: true, Server: noCredentials, Worker: func(string, time.Duration) (string, string) { return "", "" },
		Tarball: store.open,
		Adopt: func(ctx context.Context, repository string, tarball model.Tarball) (bool, error) {
			return inside.Adopt(ctx, repository, tarball.Digest, tarball.Size, onDisk(file))
		},
	})
	require.NoError(t, err)
	for range 2 {
		made, err := r.PutComponent(t.Context(), c)
		require.NoError(t, err)
		_, _, err = r.PutIndex(t.Context(), c.Repository, []string{c.ImageTag, "build-" + c.ID}, []model.ImagePlatform{platformOf(c.Platform, made, nil)}, nil)
		require.NoError(t, err)
	}
	require.Zero(t, store.opens.Load(), "no byte was sent")

	out := filepath.Join(t.TempDir(), "out")
	skopeo, err := exec.LookPath("skopeo")
	require.NoError(t, err, "skopeo is needed: apt-get install skopeo")
	said, err := exec.CommandContext(t.Context(), skopeo, "--insecure-policy", "--override-arch=arm64", "copy", "--src-tls-verify=false",
		"docker://"+host+"/components/libs/zlib:v1.3", "dir:"+out).CombinedOutput()
	require.NoError(t, err, string(said))
	layer, err := os.ReadFile(filepath.Join(out, strings.TrimPrefix(c.Tarball.Digest, "sha256:")))
	require.NoError(t, err)
	require.Equal(t, store.bytes[c.Tarball.Digest], layer)
}
