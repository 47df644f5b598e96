package registry

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// tarballs is a store that counts how often it is read.
type tarballs struct {
	bytes map[string][]byte
	opens atomic.Int32
	fail  error
}

func (s *tarballs) open(_ context.Context, t model.Tarball) (io.ReadCloser, error) {
	s.opens.Add(1)
	if s.fail != nil {
		return nil, s.fail
	}
	return io.NopCloser(bytes.NewReader(s.bytes[t.Digest])), nil
}

// add keeps a component's tarball of one file and returns the component.
func (s *tarballs) add(t *testing.T, platform string, format model.Format) model.Component {
	t.Helper()
	var plain, packed bytes.Buffer
	files := tar.NewWriter(&plain)
	content := strings.Repeat("the header of "+platform+"\n", 1000)
	require.NoError(t, files.WriteHeader(&tar.Header{Name: "include/zlib.h", Mode: 0o644, Size: int64(len(content))}))
	_, err := io.WriteString(files, content)
	require.NoError(t, err)
	require.NoError(t, files.Close())
	var out io.WriteCloser = gzip.NewWriter(&packed)
	if format == model.FormatTarZst {
		out, err = zstd.NewWriter(&packed)
		require.NoError(t, err)
	}
	_, err = out.Write(plain.Bytes())
	require.NoError(t, err)
	require.NoError(t, out.Close())
	digest, size, err := v1.SHA256(bytes.NewReader(packed.Bytes()))
	require.NoError(t, err)
	diffID, _, err := v1.SHA256(&plain)
	require.NoError(t, err)
	if s.bytes == nil {
		s.bytes = map[string][]byte{}
	}
	s.bytes[digest.String()] = packed.Bytes()
	return model.Component{
		ID: "0197a1b2-c3d4-7e5f-8901-234567890abc", Name: "libs/zlib", Tag: "v1.3", Platform: platform,
		Source: model.Source{URL: "https://git.example/zlib.git", Commit: strings.Repeat("c0", 20)}, CommitTime: time.Unix(1_600_000_000, 0),
		Tarball:    model.Tarball{Digest: digest.String(), Size: size, Format: format, DiffID: diffID.String()},
		Repository: Names{}.ComponentRepository("libs/zlib"), ImageTag: Names{}.ComponentTag("v1.3", ""),
	}
}

func newComponentRegistry(t *testing.T, edit func(*Config)) (*testRegistry, *tarballs) {
	t.Helper()
	store := &tarballs{}
	return newTestRegistry(t, func(c *Config) {
		c.Tarball = store.open
		if edit != nil {
			edit(c)
		}
	}), store
}

func (r *testRegistry) image(t *testing.T, repository, digest string) v1.Image {
	t.Helper()
	ref, err := name.NewDigest(r.host+"/"+repository+"@"+digest, name.Insecure)
	require.NoError(t, err)
	image, err := remote.Image(ref)
	require.NoError(t, err)
	return image
}

func TestAComponentsImageIsItsTarball(t *testing.T) {
	for _, test := range []struct {
		name, platform string
		format         model.Format
		layer, file    string
		want           v1.Platform
	}{
		{"gzip", "linux/amd64", model.FormatTarGz, "application/vnd.oci.image.layer.v1.tar+gzip", "zlib-v1.3-linux-amd64.tar.gz", v1.Platform{OS: "linux", Architecture: "amd64"}},
		{"zstd", "linux/arm/v7", model.FormatTarZst, "application/vnd.oci.image.layer.v1.tar+zstd", "zlib-v1.3-linux-arm-v7.tar.zst", v1.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, store := newComponentRegistry(t, nil)
			c := store.add(t, test.platform, test.format)
			made, err := r.PutComponent(t.Context(), c)
			require.NoError(t, err)
			require.Equal(t, "application/vnd.oci.image.manifest.v1+json", made.MediaType)

			image := r.image(t, "components/libs/zlib", made.Digest)
			layers, err := image.Layers()
			require.NoError(t, err)
			require.Len(t, layers, 1)
			served, err := layers[0].Compressed()
			require.NoError(t, err)
			content, err := io.ReadAll(served)
			require.NoError(t, err)
			require.Equal(t, store.bytes[c.Tarball.Digest], content)
			raw, err := image.RawManifest()
			require.NoError(t, err)
			require.EqualValues(t, len(raw), made.Size)
			manifest, err := image.Manifest()
			require.NoError(t, err)
			require.Len(t, manifest.Layers, 1)
			layer := manifest.Layers[0]
			require.EqualValues(t, test.layer, layer.MediaType)
			require.Equal(t, c.Tarball.Digest, layer.Digest.String())
			require.Equal(t, c.Tarball.Size, layer.Size)
			require.Equal(t, map[string]string{"org.opencontainers.image.title": test.file}, layer.Annotations)
			require.Equal(t, map[string]string{
				"org.opencontainers.image.source": c.Source.URL, "org.opencontainers.image.revision": c.Source.Commit,
				"org.opencontainers.image.created": "2020-09-13T12:26:40Z", "org.opencontainers.image.title": "libs/zlib", "org.opencontainers.image.version": "v1.3",
			}, manifest.Annotations)

			config, err := image.ConfigFile()
			require.NoError(t, err)
			require.Equal(t, test.want, v1.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant})
			require.Equal(t, c.Tarball.DiffID, config.RootFS.DiffIDs[0].String())
			require.True(t, config.Created.Equal(c.CommitTime))
			require.Equal(t, c.Source.Commit, config.Config.Labels["org.opencontainers.image.revision"])
			require.Len(t, config.History, 1)
		})
	}
}

func TestTheSameComponentGivesTheSameManifest(t *testing.T) {
	r, store := newComponentRegistry(t, nil)
	c := store.add(t, "linux/amd64", model.FormatTarGz)
	first, err := r.PutComponent(t.Context(), c)
	require.NoError(t, err)
	// Another build of the same, elsewhere.
	c.ID, c.BuildID, c.Created, c.CommitTime = "another", "another", time.Now(), c.CommitTime.In(time.FixedZone("", 7200))
	second, err := r.PutComponent(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, first, second)
	require.EqualValues(t, 1, store.opens.Load(), "what the registry has is not sent again")

	c.Source.Commit = strings.Repeat("d1", 20)
	third, err := r.PutComponent(t.Context(), c)
	require.NoError(t, err)
	require.NotEqual(t, first.Digest, third.Digest)
	require.EqualValues(t, 1, store.opens.Load())
}

// What a registry has lost meanwhile is put there again: a client that remembers what it has sent would not.
func TestALostComponentIsPutAgain(t *testing.T) {
	r, store := newComponentRegistry(t, nil)
	c := store.add(t, "linux/amd64", model.FormatTarGz)
	made, err := r.PutComponent(t.Context(), c)
	require.NoError(t, err)
	r.remove(t, c.Repository, made.Digest)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "http://"+r.host+"/v2/"+c.Repository+"/blobs/"+c.Tarball.Digest, nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusAccepted, resp.StatusCode)
	again, err := r.PutComponent(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, made, again)
	require.NoError(t, validate.Image(r.image(t, c.Repository, made.Digest)))
	require.EqualValues(t, 2, store.opens.Load())
}

func TestComponentsOfAllPlatformsMakeAnIndex(t *testing.T) {
	r, store := newComponentRegistry(t, nil)
	var list []model.ImagePlatform
	for _, platform := range []string{"linux/amd64", "linux/arm64"} {
		c := store.add(t, platform, model.FormatTarGz)
		made, err := r.PutComponent(t.Context(), c)
		require.NoError(t, err)
		list = append(list, platformOf(platform, made, nil))
	}
	digest, kept, err := r.PutIndex(t.Context(), "components/libs/zlib", []string{"v1.3"}, list, nil)
	require.NoError(t, err)
	require.Equal(t, list, kept)
	m, got := r.index(t, "components/libs/zlib", "v1.3")
	require.Equal(t, digest, got)
	require.Len(t, m.Manifests, 2)
	for i, p := range list {
		require.Equal(t, p.Result.Manifest.Digest, m.Manifests[i].Digest.String())
		require.Equal(t, p.Platform, m.Manifests[i].Platform.String())
	}
}

func TestATarballMayBeAdopted(t *testing.T) {
	for _, test := range []struct {
		name  string
		can   bool
		err   error
		opens int32
		code  model.Code
	}{
		{"it is", true, nil, 0, ""},
		{"it cannot be", false, nil, 1, ""},
		{"it fails", false, errors.New("read /var/lib/x: no such file"), 0, model.CodePushFailed},
	} {
		t.Run(test.name, func(t *testing.T) {
			var r *testRegistry
			r, store := newComponentRegistry(t, func(c *Config) {
				c.Adopt = func(_ context.Context, repository string, tarball model.Tarball) (bool, error) {
					require.Equal(t, "components/libs/zlib", repository)
					if test.can {
						r.pushBlob(t, repository, tarball.Digest)
					}
					return test.can, test.err
				}
			})
			c := store.add(t, "linux/amd64", model.FormatTarGz)
			r.blobs = store.bytes
			made, err := r.PutComponent(t.Context(), c)
			require.Equal(t, test.code, model.CodeOf(err), "%v", err)
			require.Equal(t, test.opens, store.opens.Load())
			if test.code != "" {
				require.NotContains(t, model.AsError(err).Message, "/var/lib")
				return
			}
			require.NoError(t, validate.Image(r.image(t, c.Repository, made.Digest)))
		})
	}
}

func TestWhyAComponentIsNotPut(t *testing.T) {
	t.Run("its bytes are not what they were", func(t *testing.T) {
		r, store := newComponentRegistry(t, nil)
		c := store.add(t, "linux/amd64", model.FormatTarGz)
		changed := bytes.Clone(store.bytes[c.Tarball.Digest])
		changed[20] ^= 1
		store.bytes[c.Tarball.Digest] = changed
		_, err := r.PutComponent(t.Context(), c)
		require.Equal(t, model.CodePushFailed, model.CodeOf(err), "%v", err)
		require.Contains(t, model.AsError(err).Message, "DIGEST_INVALID")
	})
	t.Run("the store says so", func(t *testing.T) {
		r, store := newComponentRegistry(t, nil)
		c := store.add(t, "linux/amd64", model.FormatTarGz)
		store.fail = model.Errorf(model.CodeArtifactCorrupt, "The tarball has changed on the disk.")
		_, err := r.PutComponent(t.Context(), c)
		require.Equal(t, model.CodePushFailed, model.CodeOf(err))
		require.Equal(t, "Cannot store the component's image: The tarball has changed on the disk.", model.AsError(err).Message)
	})
	t.Run("the registry refuses", func(t *testing.T) {
		r, store := newComponentRegistry(t, nil)
		c := store.add(t, "linux/amd64", model.FormatTarGz)
		r.answer(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path != "/v2/" {
				w.WriteHeader(http.StatusForbidden)
			}
		})
		_, err := r.PutComponent(t.Context(), c)
		require.Equal(t, model.CodePushFailed, model.CodeOf(err))
		require.Contains(t, model.AsError(err).Message, "HTTP status 403") // a HEAD has no words
	})
}

// The layer is sent as it is read: half a GiB needs little memory.
func TestALargeTarballIsStreamed(t *testing.T) {
	const size, most = 512 << 20, 32 << 20
	digest, diffID := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}, v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("b", 64)}
	var sent atomic.Int64
	r, _ := newComponentRegistry(t, func(c *Config) {
		c.Tarball = func(context.Context, model.Tarball) (io.ReadCloser, error) {
			return io.NopCloser(io.LimitReader(zeros{}, size)), nil
		}
	})
	r.answer(sink(&sent))
	peak := peakHeap(t, func() {
		_, err := r.PutComponent(t.Context(), model.Component{
			Name: "large", Tag: "v1", Platform: "linux/amd64", Repository: "components/large", CommitTime: time.Unix(0, 0),
			Tarball: model.Tarball{Digest: digest.String(), DiffID: diffID.String(), Size: size, Format: model.FormatTarGz},
		})
		require.NoError(t, err)
	})
	require.Greater(t, sent.Load(), int64(size))
	require.Less(t, peak, uint64(most))
}

func TestTheContextNameIsOneThatBuildKitReaches(t *testing.T) {
	const digest = "sha256:0123"
	for want, c := range map[string]Config{
		"127.0.0.1:8080/components/zlib@sha256:0123":      {Address: "127.0.0.1:8080", PublicHost: "cooper.example"},
		"reg.internal/team/x/components/zlib@sha256:0123": {Address: "reg:443", PushHost: "reg.internal", PublicHost: "reg.example", Prefix: "team/x"},
	} {
		c.Server = noCredentials
		r, err := New(c)
		require.NoError(t, err)
		require.Equal(t, want, r.ContextName(Names{}.ComponentRepository("zlib"), digest))
	}
}
