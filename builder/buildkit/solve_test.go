package buildkit

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

func TestFrontendAttributes(t *testing.T) {
	for _, test := range []struct {
		name  string
		solve Solve
		want  map[string]string // "-" where there must be none
	}{
		{
			name: "plain", solve: Solve{Platform: "linux/arm64"},
			want: map[string]string{
				"platform": "linux/arm64", "cmdline": "dockerfile.v0", "attest:provenance": "mode=max", "target": "-", "no-cache": "-",
				"build-arg:BUILDKIT_CACHE_MOUNT_NS": "-",
			},
		},
		{
			name:  "all",
			solve: Solve{Target: "t", NoCache: true, BuildArgs: map[string]string{"A": "1"}, Labels: map[string]string{"l.m": "2"}, CacheScope: "app"},
			want: map[string]string{
				"target": "t", "no-cache": "", "build-arg:A": "1", "label:l.m": "2", "build-arg:BUILDKIT_CACHE_MOUNT_NS": "app",
				"attest:provenance": "mode=max",
			},
		},
		{
			name: "a build arg does not change the cache's scope", solve: Solve{CacheScope: "mine", BuildArgs: map[string]string{"BUILDKIT_CACHE_MOUNT_NS": "theirs"}},
			want: map[string]string{"build-arg:BUILDKIT_CACHE_MOUNT_NS": "mine"},
		},
		{
			name: "a label does not pass for an attribute", solve: Solve{Labels: map[string]string{"platform": "x", "build-arg:A": "1"}, Platform: "linux/amd64"},
			want: map[string]string{"platform": "linux/amd64", "label:platform": "x", "build-arg:A": "-"},
		},
		{
			name: "a secret's name keeps build args out of the provenance", solve: Solve{BuildArgs: map[string]string{"NPM_TOKEN": "x", "A": "1"}},
			want: map[string]string{"attest:provenance": "mode=min", "build-arg:NPM_TOKEN": "x"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := test.solve.attrs()
			for k, v := range test.want {
				if v == "-" {
					require.NotContains(t, got, k)
				} else {
					require.Equal(t, v, got[k], k)
				}
			}
		})
	}
}

// The Dockerfile frontend names a cache mount's place by the scope, a slash and the mount's ID. The ID is the user's, so
// the scope must end where the first slash is.
func TestNoCacheMountReachesAnotherScope(t *testing.T) {
	place := func(scope, id string) string {
		return Solve{CacheScope: scope}.attrs()["build-arg:BUILDKIT_CACHE_MOUNT_NS"] + "/" + id
	}
	require.NotEqual(t, place("a", "b/c"), place("a/b", "c"))
	require.NotEqual(t, place("a", "b:c"), place("a:b", "c"))
	scopes := []string{"a", "a/b", "a/b/c", "a.b", "a-b", "a_b"}
	for _, one := range scopes {
		for _, other := range scopes {
			if one == other {
				continue
			}
			prefix, _, _ := strings.Cut(place(other, ""), "/")
			require.False(t, strings.HasPrefix(place(one, "../../"+other+"/x"), prefix+"/"), "%s reaches %s", one, other)
		}
	}
}

func TestSecretBuildArg(t *testing.T) {
	for name, secret := range map[string]bool{
		"PASSWORD": true, "db_passwd": true, "GITHUB_TOKEN": true, "AWS_SECRET_ACCESS_KEY": true, "ApiKey": true, "API_KEY": true,
		"PRIVATE_KEY": true, "NPM_AUTH": true, "GOOGLE_APPLICATION_CREDENTIALS": true,
		"VERSION": false, "DEBIAN_FRONTEND": false, "GOFLAGS": false, "COMPASS": false, "KEYBOARD": false,
		"AUTHOR": false, "GOPRIVATE": false, "TOKENIZER": false,
	} {
		require.Equal(t, secret, SecretBuildArg(name, ""), name)
	}
	require.True(t, SecretBuildArg("HTTP_PROXY", "http://user:pass@proxy:3128"))
	require.False(t, SecretBuildArg("HTTP_PROXY", "http://proxy:3128/a@b"))
}

func TestExportAttributes(t *testing.T) {
	s := Solve{Push: model.Push{Repository: "host:5000/app-main-image", Insecure: true}}
	a := s.exportAttrs()
	for k, v := range map[string]string{
		"name": "host:5000/app-main-image", "push": "true", "push-by-digest": "true", "oci-mediatypes": "true",
		"registry.insecure": "true", "compression": "gzip", "compression-level": "1",
	} {
		require.Equal(t, v, a[k], k)
	}
	s.Compression, s.Push.Insecure = model.CompressionZstd, false
	a = s.exportAttrs()
	require.Equal(t, "zstd", a["compression"])
	require.NotContains(t, a, "compression-level", "level 3 is gzip's")
	require.NotContains(t, a, "registry.insecure")
}

// The daemon takes a file of the same size and time for unchanged.
func TestDockerfilesOfOneSizeDifferInTime(t *testing.T) {
	seen := map[int64]string{}
	for _, text := range []string{"FROM a\n", "FROM b\n", "FROM c\n", "", "\n", "FROM scratch\nRUN a\n", "FROM scratch\nRUN b\n"} {
		at := contentTime([]byte(text))
		require.Equal(t, at, contentTime([]byte(text)), "the same file has the same time")
		require.NotContains(t, seen, at, "%q and %q share a time", text, seen[at])
		require.Positive(t, at)
		seen[at] = text
	}
}

func TestSolveOptions(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600))
	s := Solve{Dockerfile: []byte("FROM scratch\n"), ContextDir: dir, ContextDigest: "sha256:ctx"}
	opt, err := s.options(&sources{})
	require.NoError(t, err)
	require.Equal(t, "dockerfile.v0", opt.Frontend)
	require.Equal(t, "sha256:ctx", opt.SharedKey)
	require.Empty(t, opt.AllowedEntitlements, "no build is ever given more rights")
	require.Nil(t, opt.SourcePolicyProvider)
	f, err := opt.LocalMounts["dockerfile"].Open("Dockerfile")
	require.NoError(t, err)
	defer f.Close()
	_, err = opt.LocalMounts["context"].Open("file")
	require.NoError(t, err)

	s.Sources = scriptedSources{}
	opt, err = s.options(&sources{})
	require.NoError(t, err)
	require.NotNil(t, opt.SourcePolicyProvider)

	s.ContextDir = filepath.Join(dir, "gone")
	_, err = s.options(&sources{})
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestCredentialsGoToTheirRegistryAlone(t *testing.T) {
	give := credentials(model.Push{Host: "127.0.0.1:5000", PublicHost: "registry.example", Username: "u", Password: "p"})
	for host, given := range map[string]bool{
		"127.0.0.1:5000": true, "registry.example": true, "127.0.0.1:5001": false, "registry.example.evil.test": false, "docker.io": false, "": false,
	} {
		got, err := give(t.Context(), host, nil, nil)
		require.NoError(t, err)
		require.Equal(t, given, got.Password == "p", host)
		require.Equal(t, given, got.Username == "u", host)
	}
}

func TestReadResult(t *testing.T) {
	enc := func(s string) map[string]string {
		return map[string]string{"containerimage.descriptor": base64.StdEncoding.EncodeToString([]byte(s))}
	}
	const index = "application/vnd.oci.image.index.v1+json"
	digest := "sha256:" + strings.Repeat("ab", 32)
	got, err := readDescriptor(enc(`{"mediaType":"` + index + `","digest":"` + digest + `","size":857}`))
	require.NoError(t, err)
	require.Equal(t, model.Descriptor{MediaType: index, Digest: digest, Size: 857}, got)
	for name, r := range map[string]map[string]string{
		"nothing": {}, "no base64": {"containerimage.descriptor": "%"}, "no JSON": enc("x"), "no digest": enc("{}"),
	} {
		_, err := readDescriptor(r)
		require.Error(t, err, name)
	}
}

var errRefused = model.Errorf(model.CodeSourceDenied, "Refused.")

// scriptedSources refuses what it is told to and remembers what it was asked.
type scriptedSources map[string]bool

func (s scriptedSources) CheckURL(_ context.Context, raw string) error { return s.check("url " + raw) }

func (s scriptedSources) CheckImage(_ context.Context, ref string) error {
	return s.check("image " + ref)
}

func (s scriptedSources) check(what string) error {
	if _, known := s[what]; !known {
		return errors.New("asked about " + what)
	}
	if s[what] {
		return nil
	}
	return errRefused
}

func TestEverySourceIsAskedAbout(t *testing.T) {
	for _, test := range []struct {
		name, id string
		attrs    map[string]string
		sources  scriptedSources
		code     model.Code
	}{
		{name: "image", id: "docker-image://docker.io/library/debian:bookworm", sources: scriptedSources{"image docker.io/library/debian:bookworm": true}},
		{name: "image refused", id: "docker-image://192.0.2.1/x:1", sources: scriptedSources{"image 192.0.2.1/x:1": false}, code: model.CodeSourceDenied},
		{name: "our own registry", id: "docker-image://own:5000/app:1"},
		{name: "our own registry's public name", id: "docker-image://own.example/app:1"},
		{
			name: "a host that begins like ours", id: "docker-image://own.example.evil.test/app:1",
			sources: scriptedSources{"image own.example.evil.test/app:1": false}, code: model.CodeSourceDenied,
		},
		{name: "https", id: "https://host/file", sources: scriptedSources{"url https://host/file": true}},
		{name: "http refused", id: "http://169.254.169.254/", sources: scriptedSources{"url http://169.254.169.254/": false}, code: model.CodeSourceDenied},
		{name: "git", id: "git://host/r.git#main", sources: scriptedSources{"url https://host/r.git": true}},
		{
			name: "git says how it is reached", id: "git://host/r.git#main", attrs: map[string]string{"git.fullurl": "http://host:81/r.git"},
			sources: scriptedSources{"url http://host:81/r.git": false}, code: model.CodeSourceDenied,
		},
		{name: "the context", id: "local://context"},
		{name: "a layout on the daemon's disk", id: "oci-layout://x@sha256:0", code: model.CodeSourceDenied},
		{name: "something new", id: "blob://x", code: model.CodeSourceDenied},
		{name: "nothing", id: "", code: model.CodeSourceDenied},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := checkSource(t.Context(), test.sources, []string{"own:5000", "own.example", ""}, test.id, test.attrs)
			require.Equal(t, test.code, model.CodeOf(err), "%v", err)
		})
	}
}
