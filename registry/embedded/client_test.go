package embedded_test

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
)

// TestSkopeo uses the registry as people do: log in, copy in, copy out, look, delete.
func TestSkopeo(t *testing.T) {
	skopeo, err := exec.LookPath("skopeo")
	require.NoError(t, err, "skopeo is needed: apt-get install skopeo")
	s := serve(t)
	dir := t.TempDir()
	authFile := filepath.Join(dir, "auth.json")
	run := func(stdin string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), skopeo, args...)
		cmd.Env = append(os.Environ(), "REGISTRY_AUTH_FILE="+authFile)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	login := []string{"login", "--tls-verify=false", "-u", "me", "--password-stdin", s.host}

	out, err := run("a-wrong-key-that-is-long", login...)
	require.Error(t, err, out)
	out, err = run(adminKey, login...)
	require.NoError(t, err, out)

	img, err := random.Image(1<<12, 2)
	require.NoError(t, err)
	in := filepath.Join(dir, "in")
	path, err := layout.Write(in, empty.Index)
	require.NoError(t, err)
	require.NoError(t, path.AppendImage(img))

	ref := "docker://" + s.host + "/team/app"
	out, err = run("", "--insecure-policy", "copy", "--dest-tls-verify=false", "oci:"+in, ref+":1")
	require.NoError(t, err, out)
	out, err = run("", "--insecure-policy", "copy", "--src-tls-verify=false", ref+":1", "oci:"+filepath.Join(dir, "out"))
	require.NoError(t, err, out)
	out, err = run("", "list-tags", "--tls-verify=false", ref)
	require.NoError(t, err, out)
	require.Contains(t, out, `"1"`)

	back, err := layout.FromPath(filepath.Join(dir, "out"))
	require.NoError(t, err)
	got, err := back.ImageIndex()
	require.NoError(t, err)
	require.NoError(t, validate.Index(got))

	out, err = run("", "delete", "--tls-verify=false", "--creds", "t:"+pushKey, ref+":1")
	require.Error(t, err, out)
	out, err = run("", "delete", "--tls-verify=false", ref+":1")
	require.NoError(t, err, out)
	_, err = remote.Head(s.tag("team/app:1"), admin())
	require.Equal(t, http.StatusNotFound, statusOf(t, err))
}

// TestLargeBlob sends 256 MiB through and back, and looks at the heap meanwhile.
func TestLargeBlob(t *testing.T) {
	const size, most = 256 << 20, 32 << 20
	s := serve(t)
	sum := digest.SHA256.Digester()
	_, err := io.Copy(sum.Hash(), io.LimitReader(&pattern{}, size))
	require.NoError(t, err)

	stop, peak := watchHeap()
	began := time.Now()
	resp, body := s.do("PATCH", s.upload(adminKey), adminKey, io.LimitReader(&pattern{}, size))
	require.Equal(t, http.StatusAccepted, resp.StatusCode, body)
	resp, body = s.do("PUT", resp.Header.Get("Location")+"&digest="+sum.Digest().String(), adminKey, nil)
	require.Equal(t, http.StatusCreated, resp.StatusCode, body)
	up := time.Since(began)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/v2/a/mine/blobs/"+sum.Digest().String(), nil)
	require.NoError(t, err)
	req.SetBasicAuth("u", adminKey)
	began = time.Now()
	down, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	got := digest.SHA256.Digester()
	n, err := io.Copy(got.Hash(), down.Body)
	require.NoError(t, err)
	require.NoError(t, down.Body.Close())
	close(stop)
	require.EqualValues(t, size, n)
	require.Equal(t, sum.Digest(), got.Digest())
	require.Less(t, peak(), uint64(most))
	t.Logf("up %.0f MiB/s, down with digest %.0f MiB/s, heap +%.1f MiB", 256/up.Seconds(), 256/time.Since(began).Seconds(), float64(peak())/(1<<20))
}

// watchHeap follows the heap until stop is closed; peak is by how much it grew.
func watchHeap() (stop chan struct{}, peak func() uint64) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	start := m.HeapInuse
	var most atomic.Uint64
	stop = make(chan struct{})
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most.Store(max(most.Load(), m.HeapInuse-min(start, m.HeapInuse)))
			}
		}
	}()
	return stop, most.Load
}

// pattern is bytes without end that do not repeat soon.
type pattern struct{ n uint64 }

func (p *pattern) Read(b []byte) (int, error) {
	for i := range b {
		p.n = p.n*6364136223846793005 + 1442695040888963407
		b[i] = byte(p.n >> 56)
	}
	return len(b), nil
}
