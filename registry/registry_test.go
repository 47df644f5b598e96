package registry

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	server "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

const repo = "app-main-image"

// testRegistry is go-containerregistry's registry, which checks that an index's manifests are there.
type testRegistry struct {
	*Registry
	host  string
	wrong atomic.Pointer[http.HandlerFunc] // answers instead, when set
	blobs map[string][]byte                // for pushBlob
}

func newTestRegistry(t *testing.T, edit func(*Config)) *testRegistry {
	t.Helper()
	r := &testRegistry{}
	inner := server.New(server.Logger(log.New(io.Discard, "", 0)))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if f := r.wrong.Load(); f != nil {
			(*f)(w, req)
			return
		}
		inner.ServeHTTP(w, req)
	}))
	t.Cleanup(s.Close)
	r.host = strings.TrimPrefix(s.URL, "http://")
	c := Config{Address: r.host, PublicHost: "registry.example", Insecure: true, Server: noCredentials, Worker: func(string, time.Duration) (string, string) { return "job", "pass" }}
	if edit != nil {
		edit(&c)
	}
	var err error
	r.Registry, err = New(c)
	require.NoError(t, err)
	return r
}

func noCredentials() (string, string) { return "", "" }

func (r *testRegistry) answer(f http.HandlerFunc) { r.wrong.Store(&f) }

// push puts a random image into the repository, as a job does, by digest.
func (r *testRegistry) push(t *testing.T, repository string) model.Descriptor {
	t.Helper()
	img, err := random.Image(64, 1)
	require.NoError(t, err)
	digest, err := img.Digest()
	require.NoError(t, err)
	size, err := img.Size()
	require.NoError(t, err)
	mediaType, err := img.MediaType()
	require.NoError(t, err)
	ref, err := name.NewDigest(r.host+"/"+repository+"@"+digest.String(), name.Insecure)
	require.NoError(t, err)
	require.NoError(t, remote.Write(ref, img))
	return model.Descriptor{MediaType: string(mediaType), Digest: digest.String(), Size: size}
}

func (r *testRegistry) remove(t *testing.T, repository, digest string) {
	t.Helper()
	ref, err := name.NewDigest(r.host+"/"+repository+"@"+digest, name.Insecure)
	require.NoError(t, err)
	require.NoError(t, remote.Delete(ref))
}

// index reads a tag's index back.
func (r *testRegistry) index(t *testing.T, repository, tag string) (v1.IndexManifest, string) {
	t.Helper()
	ref, err := name.NewTag(r.host+"/"+repository+":"+tag, name.Insecure)
	require.NoError(t, err)
	got, err := remote.Get(ref)
	require.NoError(t, err)
	require.EqualValues(t, "application/vnd.oci.image.index.v1+json", got.MediaType)
	var m v1.IndexManifest
	require.NoError(t, json.Unmarshal(got.Manifest, &m))
	return m, got.Digest.String()
}

func platformOf(platform string, manifest model.Descriptor, attestation *model.Descriptor) model.ImagePlatform {
	return model.ImagePlatform{Platform: platform, Result: model.Result{Manifest: manifest, Attestation: attestation}}
}

func TestAnIndexIsPutUnderAllItsTags(t *testing.T) {
	r := newTestRegistry(t, nil)
	amd, arm, attested := r.push(t, repo), r.push(t, repo), r.push(t, repo)
	list := []model.ImagePlatform{platformOf("linux/amd64", amd, &attested), platformOf("linux/arm/v7", arm, nil)}
	notes := map[string]string{"org.opencontainers.image.revision": "c0ffee"}
	digest, kept, err := r.PutIndex(t.Context(), repo, []string{"latest", "build-1"}, list, notes)
	require.NoError(t, err)
	require.Equal(t, list, kept)
	for _, tag := range []string{"latest", "build-1"} {
		m, got := r.index(t, repo, tag)
		require.Equal(t, digest, got)
		require.EqualValues(t, 2, m.SchemaVersion)
		require.Equal(t, notes, m.Annotations)
		require.Len(t, m.Manifests, 3)
		require.Equal(t, amd.Digest, m.Manifests[0].Digest.String())
		require.Equal(t, amd.Size, m.Manifests[0].Size)
		require.EqualValues(t, amd.MediaType, m.Manifests[0].MediaType)
		require.Equal(t, &v1.Platform{OS: "linux", Architecture: "amd64"}, m.Manifests[0].Platform)
		require.Equal(t, &v1.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}, m.Manifests[1].Platform)
		last := m.Manifests[2]
		require.Equal(t, attested.Digest, last.Digest.String(), "attestations stand last")
		require.Equal(t, &v1.Platform{OS: "unknown", Architecture: "unknown"}, last.Platform)
		require.Equal(t, map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": amd.Digest}, last.Annotations)
	}
	again, _, err := r.PutIndex(t.Context(), repo, []string{"latest"}, list, notes)
	require.NoError(t, err)
	require.Equal(t, digest, again, "the same platforms make the same index")
}

// A manifest may have been deleted since its build: the index is made of those that are left.
func TestAManifestThatIsGoneIsLeftOut(t *testing.T) {
	r := newTestRegistry(t, nil)
	stays, gone, attested := r.push(t, repo), r.push(t, repo), r.push(t, repo)
	r.remove(t, repo, gone.Digest)
	list := []model.ImagePlatform{platformOf("linux/amd64", stays, &attested), platformOf("linux/arm64", gone, nil)}
	digest, kept, err := r.PutIndex(t.Context(), repo, []string{"latest"}, list, nil)
	require.NoError(t, err)
	require.Equal(t, list[:1], kept)
	m, got := r.index(t, repo, "latest")
	require.Equal(t, digest, got)
	require.Len(t, m.Manifests, 2)

	r.remove(t, repo, attested.Digest)
	_, kept, err = r.PutIndex(t.Context(), repo, []string{"latest"}, list, nil)
	require.NoError(t, err)
	require.Equal(t, []model.ImagePlatform{platformOf("linux/amd64", stays, nil)}, kept)
	require.NotNil(t, list[0].Result.Attestation, "the caller's list was changed")
	m, _ = r.index(t, repo, "latest")
	require.Len(t, m.Manifests, 1)
}

func TestAnIndexOfNothingIsNotPut(t *testing.T) {
	r := newTestRegistry(t, nil)
	old, fresh := r.push(t, repo), r.push(t, repo)
	_, _, err := r.PutIndex(t.Context(), repo, []string{"latest"}, []model.ImagePlatform{platformOf("linux/amd64", old, nil)}, nil)
	require.NoError(t, err)
	_, before := r.index(t, repo, "latest")
	r.remove(t, repo, fresh.Digest)
	_, _, err = r.PutIndex(t.Context(), repo, []string{"latest"}, []model.ImagePlatform{platformOf("linux/amd64", fresh, nil)}, nil)
	require.Equal(t, model.CodePushFailed, model.CodeOf(err))
	_, after := r.index(t, repo, "latest")
	require.Equal(t, before, after)
}

func TestIndexesArePutAtTheSameTime(t *testing.T) {
	r := newTestRegistry(t, nil)
	var wg sync.WaitGroup
	for _, repository := range []string{"a-main-image", "b-main-image"} {
		for _, tag := range []string{"1", "2", "3", "4"} {
			pushed := r.push(t, repository)
			wg.Go(func() {
				digest, _, err := r.PutIndex(context.WithoutCancel(t.Context()), repository, []string{tag, tag + "-own"}, []model.ImagePlatform{platformOf("linux/amd64", pushed, nil)}, nil)
				if err != nil {
					t.Error(err)
					return
				}
				for _, tag := range []string{tag, tag + "-own"} {
					if _, got := r.index(t, repository, tag); got != digest {
						t.Errorf("%s:%s is %s, not %s", repository, tag, got, digest)
					}
				}
			})
		}
	}
	wg.Wait()
}

func TestThePlatformOfWhatAJobPushed(t *testing.T) {
	r := newTestRegistry(t, nil)
	image, attested := r.push(t, repo), r.push(t, repo)
	digest, _, err := r.PutIndex(t.Context(), repo, []string{"pushed"}, []model.ImagePlatform{platformOf("linux/arm64", image, &attested)}, nil)
	require.NoError(t, err)
	index := model.Descriptor{MediaType: "application/vnd.oci.image.index.v1+json", Digest: digest}
	got, err := r.Platform(t.Context(), repo, model.Result{Manifest: index}, "linux/arm64")
	require.NoError(t, err)
	require.Equal(t, model.Result{Manifest: image, Attestation: &attested}, got)

	got, err = r.Platform(t.Context(), repo, model.Result{Manifest: image}, "linux/arm64")
	require.NoError(t, err)
	require.Equal(t, model.Result{Manifest: image}, got, "an image without attestations")

	index.Digest = "sha256:" + strings.Repeat("0", 64)
	_, err = r.Platform(t.Context(), repo, model.Result{Manifest: index}, "linux/arm64")
	require.Equal(t, model.CodePushFailed, model.CodeOf(err))
	require.Contains(t, model.AsError(err).Message, "MANIFEST_UNKNOWN")
}

func TestWhatARegistryRefusesIsTold(t *testing.T) {
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/v2/" {
				return
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		says   string
	}{
		{
			"credentials", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				answer(http.StatusUnauthorized, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)(w, httptest.NewRequest(http.MethodGet, "/v2/x", nil))
			}, "UNAUTHORIZED authentication required",
		},
		{"rights", answer(http.StatusForbidden, `{"errors":[{"code":"DENIED","message":"requested access is denied"}]}`), "DENIED requested access is denied"},
		{"several", answer(http.StatusBadRequest, `{"errors":[{"code":"TAG_INVALID","message":"a"},{"code":"NAME_INVALID","message":"b"}]}`), "TAG_INVALID a; NAME_INVALID b"},
		{"no words", answer(http.StatusTeapot, ""), "HTTP status 418"},
		{"a page", answer(http.StatusForbidden, "<html>proxy</html>"), "HTTP status 403"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newTestRegistry(t, func(c *Config) { c.Server = func() (string, string) { return "server", "canary" } })
			manifest := r.push(t, repo)
			r.answer(test.answer)
			_, _, err := r.PutIndex(t.Context(), repo, []string{"latest"}, []model.ImagePlatform{platformOf("linux/amd64", manifest, nil)}, nil)
			e := model.AsError(err)
			require.Equal(t, model.CodePushFailed, e.Code, "%v", err)
			require.Contains(t, e.Message, test.says)
			require.NotContains(t, e.Error(), "canary")
			require.Error(t, r.Ping(t.Context()))

			r.wrong.Store(nil) // the client recovers by itself
			_, _, err = r.PutIndex(t.Context(), repo, []string{"latest"}, []model.ImagePlatform{platformOf("linux/amd64", manifest, nil)}, nil)
			require.NoError(t, err)
			require.NoError(t, r.Ping(t.Context()))
		})
	}
}

func TestARegistryThatIsDown(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	r := newTestRegistry(t, func(c *Config) { c.Address = strings.TrimPrefix(gone.URL, "http://") })
	manifest := model.Descriptor{MediaType: "application/vnd.oci.image.manifest.v1+json", Digest: "sha256:" + strings.Repeat("0", 64)}
	_, _, err := r.PutIndex(t.Context(), repo, []string{"latest"}, []model.ImagePlatform{platformOf("linux/amd64", manifest, nil)}, nil)
	e := model.AsError(err)
	require.Equal(t, model.CodePushFailed, e.Code)
	require.Equal(t, "Cannot store the image's index: the registry cannot be reached.", e.Message)
	require.Error(t, r.Ping(t.Context()))
}

func TestTheCredentialsOfTheMomentAreSent(t *testing.T) {
	var key atomic.Value
	key.Store("first")
	r := newTestRegistry(t, func(c *Config) { c.Server = func() (string, string) { return "server", key.Load().(string) } })
	var seen sync.Map
	r.answer(func(w http.ResponseWriter, req *http.Request) {
		_, password, ok := req.BasicAuth()
		if !ok {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		seen.Store(password, true)
		w.WriteHeader(http.StatusNotFound)
	})
	require.NoError(t, r.Ping(t.Context()), "a repository that is not there is an answer")
	key.Store("second")
	require.NoError(t, r.Ping(t.Context()))
	for _, password := range []string{"first", "second"} {
		_, ok := seen.Load(password)
		require.True(t, ok, password)
	}
}

func TestNamesForOthers(t *testing.T) {
	for _, test := range []struct {
		name   string
		config Config
		image  string
		push   model.Push
	}{
		{
			name: "embedded", config: Config{Address: "127.0.0.1:8080", PublicHost: "cooper.example", Insecure: true},
			image: "cooper.example/app-main-image:latest",
			push:  model.Push{Repository: "127.0.0.1:8080/app-main-image", Insecure: true, Host: "127.0.0.1:8080", PublicHost: "cooper.example", Username: "app-main-image", Password: "p"},
		},
		{
			name: "external, with a prefix", config: Config{Address: "reg:443", PushHost: "reg.internal", PublicHost: "reg.example", Prefix: "team/x"},
			image: "reg.example/team/x/app-main-image:latest",
			push:  model.Push{Repository: "reg.internal/team/x/app-main-image", Host: "reg.internal", PublicHost: "reg.example", Username: "team/x/app-main-image", Password: "p"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.config.Server = noCredentials
			test.config.Worker = func(repository string, _ time.Duration) (string, string) { return repository, "p" }
			r, err := New(test.config)
			require.NoError(t, err)
			require.Equal(t, test.image, r.Name(repo, "latest"))
			push, err := r.Push(repo, time.Hour)
			require.NoError(t, err)
			require.Equal(t, test.push, push)
		})
	}
}
