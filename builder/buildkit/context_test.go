package buildkit

import (
	"archive/tar"
	"bytes"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

func TestContextAttributes(t *testing.T) {
	for _, test := range []struct {
		name     string
		contexts map[string]string
		want     map[string]string
		code     model.Code
	}{
		{name: "none", want: map[string]string{}},
		{
			name: "as BuildKit looks them up", contexts: map[string]string{"zlib": "h:1/zlib@sha256:01", "library/curl": "h:1/curl@sha256:02", "team/x": "h:1/x@sha256:03"},
			want: map[string]string{
				"context:zlib": "docker-image://h:1/zlib@sha256:01", "context:curl": "docker-image://h:1/curl@sha256:02", "context:team/x": "docker-image://h:1/x@sha256:03",
			},
		},
		{name: "two that are one", contexts: map[string]string{"zlib": "a", "library/zlib": "b"}, code: model.CodeDependencyInvalid},
		{name: "no name for a Dockerfile", contexts: map[string]string{"Zlib": "a"}, code: model.CodeDependencyInvalid},
		{name: "scratch", contexts: map[string]string{"scratch": "a"}, code: model.CodeDependencyInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Solve{Contexts: test.contexts}.contextAttrs()
			require.Equal(t, test.want, got)
			if test.code != "" {
				require.Equal(t, test.code, model.CodeOf(err))
			}
		})
	}
}

// component pushes an image of one file, /made-of, and returns its reference.
func (b *bench) component(t *testing.T, name, text string) (ref string) {
	t.Helper()
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "made-of", Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text))}))
	_, err := io.WriteString(w, text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files.Bytes())), nil })
	require.NoError(t, err)
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers"}})
	require.NoError(t, err)
	image, err = mutate.AppendLayers(image, layer)
	require.NoError(t, err)
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}})
	b.push(t, name, index)
	d, err := image.Digest()
	require.NoError(t, err)
	return b.host + "/" + name + "@" + d.String() // the platform's, as the server gives it
}

// What dockerfile.Check takes for granted about named contexts, and what a second build with the same ones is.
func namedContexts(t *testing.T, b *bench) {
	zlib, curl := b.component(t, "components/zlib", "zlib"), b.component(t, "components/curl", "curl")
	build := func(t *testing.T, text string) (string, model.Result) {
		s := b.solve(text)
		s.Contexts = map[string]string{"zlib": zlib, "team/curl": curl, "context": curl}
		var out bytes.Buffer
		result, err := b.Export(t.Context(), s, &out, silent)
		require.NoError(t, err)
		return contentOf(t, &out, "made-of"), result
	}
	for _, test := range []struct {
		name, text, want string
		sources          []string
	}{
		{name: "FROM", text: "FROM zlib\n", want: "zlib", sources: []string{zlib}},
		{name: "FROM with a tag", text: "FROM zlib:latest\n", want: "zlib", sources: []string{zlib}},
		{name: "FROM in full", text: "FROM docker.io/library/zlib\n", want: "zlib", sources: []string{zlib}},
		{name: "FROM another platform's", text: "FROM --platform=linux/arm64 zlib\n", want: "zlib", sources: []string{zlib}},
		{name: "COPY", text: "FROM scratch\nCOPY --from=team/curl / /\n", want: "curl", sources: []string{curl}},
		{name: "COPY from one called context", text: "FROM scratch\nCOPY --from=context / /\n", want: "curl", sources: []string{curl}},
		{name: "RUN", text: "FROM BUSYBOX\nRUN --mount=from=zlib,target=/z cp /z/made-of /\n", want: "zlib", sources: []string{b.busybox, zlib}},
		{
			name: "in place of a stage", text: "FROM nobody/has-this AS zlib\nRUN false\nFROM scratch\nCOPY --from=zlib / /\n", want: "zlib",
			sources: []string{zlib},
		},
		{name: "in place of the target", text: "FROM nobody/has-this AS zlib\n", want: "zlib", sources: []string{zlib}},
		{name: "with the stage's triggers", text: "FROM scratch AS zlib\nONBUILD COPY --from=team/curl / /\nFROM zlib\n", want: "curl", sources: []string{curl, zlib}},
		{name: "not in place of a stage called context", text: "FROM zlib AS context\nFROM context\n", want: "zlib", sources: []string{zlib}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, result := build(t, test.text)
			require.Equal(t, test.want, got)
			require.ElementsMatch(t, test.sources, result.Sources)
			require.True(t, result.Pinned)
		})
	}
	t.Run("the images of a stage that is replaced", func(t *testing.T) {
		s := b.solve("FROM scratch AS zlib\nCOPY --from=nobody/has-this / /\nFROM zlib\n")
		s.Contexts = map[string]string{"zlib": zlib}
		_, err := b.Export(t.Context(), s, io.Discard, silent)
		require.Equal(t, model.CodeSourceDenied, model.CodeOf(err), "%v", err)
	})
	t.Run("with the credentials of the push", func(t *testing.T) {
		locked := b.behind(t)
		ref := locked.component(t, "components/zlib", "locked")
		s := locked.solve("FROM zlib\n")
		s.Contexts = map[string]string{"zlib": ref}
		_, err := b.Export(t.Context(), s, io.Discard, silent)
		require.Error(t, err, "the registry lets everybody in")
		s.Push.Username, s.Push.Password = "u", "p"
		_, err = b.Export(t.Context(), s, io.Discard, silent)
		require.NoError(t, err)
	})
	t.Run("that the registry has lost", func(t *testing.T) {
		s := b.solve("FROM scratch\nCOPY --from=zlib / /\n")
		s.Contexts = map[string]string{"zlib": strings.Replace(zlib, "zlib", "gone", 1)}
		_, err := b.Export(t.Context(), s, io.Discard, silent)
		require.Equal(t, model.CodeUnavailable, model.CodeOf(err), "%v", err)
		require.Contains(t, model.AsError(err).Message, "component zlib")
		require.NotContains(t, model.AsError(err).Message, b.host)
	})
	t.Run("unchanged", func(t *testing.T) { unchangedContexts(t, b, zlib, curl) })
}

// An image is the same again while its contexts are, even when the steps that use them are cached.
func unchangedContexts(t *testing.T, b *bench, zlib, curl string) {
	run := func(ref string, previous *model.Result) Result {
		s := b.solve("FROM scratch\nCOPY --from=dep / /\n")
		s.Contexts, s.Previous = map[string]string{"dep": ref}, previous
		r, err := b.Run(t.Context(), s, silent)
		require.NoError(t, err)
		return r
	}
	first := run(zlib, nil)
	require.Equal(t, []string{zlib}, first.Pushed.Sources)
	require.True(t, strings.HasPrefix(first.Pushed.Manifest.Digest, "sha256:"))
	require.True(t, run(zlib, &first.Pushed).Unchanged)
	other := run(curl, &first.Pushed)
	require.False(t, other.Unchanged)
	require.Equal(t, []string{curl}, other.Pushed.Sources)
	require.False(t, run(zlib, &other.Pushed).Unchanged)
}
