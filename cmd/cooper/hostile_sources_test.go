package main

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"

	"cooper/internal/config"
	"cooper/internal/testbed"
)

// What the check before queueing cannot see, since a base image brings it, the daemon asks about when it is about to do
// it: the rest of B64 and of T10.
func TestHostileBaseImages(t *testing.T) {
	g := startGauntlet(t, nil)
	var trap trap
	trap.open(t)
	for name, tr := range map[string]struct {
		base v1.Config
		rest string
		code string
	}{
		"B64 a URL in a variable":      {v1.Config{Env: []string{"WHERE=http://" + trap.addr + "/x"}}, "ADD $WHERE /x\n", "SOURCE_DENIED"},
		"B64 metadata in a variable":   {v1.Config{Env: []string{"WHERE=169.254.169.254"}}, "ADD http://$WHERE/latest/ /x\n", "SOURCE_DENIED"},
		"B64 ourselves in a variable":  {v1.Config{Env: []string{"WHERE=" + g.host}}, "ADD http://$WHERE/healthz /x\n", "SOURCE_DENIED"},
		"B64 a repository":             {v1.Config{Env: []string{"WHERE=https://" + trap.addr + "/r.git"}}, "ADD $WHERE /x\n", "SOURCE_DENIED"},
		"B64 a URL in a trigger":       {v1.Config{OnBuild: []string{"ADD http://" + trap.addr + "/x /x"}}, "", "SOURCE_DENIED"},
		"B64 an image in a trigger":    {v1.Config{OnBuild: []string{"COPY --from=" + trap.addr + "/private / /x"}}, "", "SOURCE_DENIED"},
		"B64 a mount in a trigger":     {v1.Config{OnBuild: []string{"RUN --mount=type=bind,from=" + trap.addr + "/private,target=/x true"}}, "", "SOURCE_DENIED"},
		"B56 insecure in a trigger":    {v1.Config{OnBuild: []string{"RUN --security=insecure id"}}, "", "ENTITLEMENT_DENIED"},
		"B57 the network in a trigger": {v1.Config{OnBuild: []string{"RUN --network=host id"}}, "", "ENTITLEMENT_DENIED"},
	} {
		t.Run(name, func(t *testing.T) {
			ref := "evil:" + strings.NewReplacer(" ", "-").Replace(strings.ToLower(name))
			g.pushBase(t, ref, func(img v1.Image) (v1.Image, error) { return mutate.Config(img, tr.base) })
			r := g.fails(t, tr.code, 0, "FROM "+ref+"\n"+tr.rest, "component", "evil")
			require.NotContains(t, r.str("errorMessage"), "BUILD_FAILED")
		})
	}
	require.Zero(t, trap.hits.Load(), "a builder connected to where builds may not reach")
	g.leavesNothing(t)
}

// pushBase puts a changed busybox for this machine where `FROM ref` finds it.
func (g *gauntlet) pushBase(t *testing.T, ref string, change func(v1.Image) (v1.Image, error)) {
	t.Helper()
	idx, err := testbed.Busybox(t.Context())
	require.NoError(t, err)
	manifest, err := idx.IndexManifest()
	require.NoError(t, err)
	img, err := idx.Image(manifest.Manifests[0].Digest)
	require.NoError(t, err)
	img, err = change(img)
	require.NoError(t, err)
	require.NoError(t, testbed.Push(t.Context(), g.host+"/mirror/docker.io/library/"+ref, img, "admin", testKey))
}

// A host that may be fetched from cannot send the builder on to one that may not.
func TestHostileRedirects(t *testing.T) {
	var trap trap
	trap.open(t)
	var asked atomic.Int64
	open := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Redirect(w, r, "http://"+trap.addr+r.URL.RequestURI(), http.StatusFound)
	}))
	defer open.Close()
	g := startGauntlet(t, func(c *config.Config) { c.SourceAllow = []string{strings.TrimPrefix(open.URL, "http://")} })
	t.Run("context", func(t *testing.T) {
		r := g.in(t).post(tiny, "component", "redirected", "contextUrl", open.URL+"/r.git")
		g.discreet(t, r)
		require.Equal(t, "REDIRECT_DENIED", r.str("code"), "%s", r.raw)
	})
	require.Positive(t, asked.Load(), "the open host was asked")
	require.Zero(t, trap.hits.Load(), "a redirect was followed to where builds may not reach")
	for name, dockerfile := range map[string]string{
		"file":       "FROM scratch\nADD " + open.URL + "/file /x\n",
		"repository": "FROM scratch\nADD " + open.URL + "/r.git /x\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := g.in(t).build(dockerfile, "component", "redirected")
			g.accept(t, r)
			require.Equal(t, "failed", r.str("status"), "%s", r.raw)
			require.Zero(t, trap.hits.Load(), "the builder followed to where builds may not reach")
		})
	}
}

// A layer that says it is to be had elsewhere is not fetched from where builds may not reach.
func TestHostileForeignLayers(t *testing.T) {
	var trap trap
	trap.open(t)
	foreign := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer foreign.Close()
	host := strings.TrimPrefix(foreign.URL, "http://")
	g := startGauntlet(t, func(c *config.Config) { c.SourceAllow = []string{host} })
	img, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1), mutate.Addendum{
		Layer: elsewhere{[]byte("content")}, URLs: []string{"http://" + trap.addr + "/layer"}, MediaType: types.OCIRestrictedLayer,
	})
	require.NoError(t, err)
	require.NoError(t, testbed.Push(t.Context(), host+"/foreign:1", img, "", ""))
	r := g.in(t).build("FROM "+host+"/foreign:1\nRUN true\n", "component", "foreign")
	g.accept(t, r)
	require.Equal(t, "failed", r.str("status"), "%s", r.raw)
	require.Zero(t, trap.hits.Load(), "a builder fetched a layer from where builds may not reach")
}

// elsewhere is a layer that no registry has.
type elsewhere struct{ content []byte }

func (l elsewhere) digest() (v1.Hash, error) {
	h, _, err := v1.SHA256(bytes.NewReader(l.content))
	return h, err
}

func (l elsewhere) Digest() (v1.Hash, error) { return l.digest() }
func (l elsewhere) DiffID() (v1.Hash, error) { return l.digest() }
func (l elsewhere) Size() (int64, error)     { return int64(len(l.content)), nil }
func (elsewhere) MediaType() (types.MediaType, error) {
	return types.OCIRestrictedLayer, nil
}

func (l elsewhere) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(l.content)), nil
}

func (l elsewhere) Uncompressed() (io.ReadCloser, error) { return l.Compressed() }
