package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"cooper/internal/testbed"
)

func tarOf(t testing.TB, files ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1]))}))
		_, err := w.Write([]byte(files[i+1]))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.String()
}

// A Dockerfile becomes an index for two platforms, every layer of which is what its digest says.
func TestImageForTwoPlatforms(t *testing.T) {
	s := startServer(t, nil)
	s.pushBusybox()
	r := s.mustBuild("FROM busybox\nCOPY greeting /\nRUN uname -m >/machine && cat /greeting\nLABEL mine=1\n",
		"component", "hello", "branch", "feature/x", "architecture", "linux/amd64,arm64", "label", "team=blue",
		"context", tarOf(t, "greeting", "hello there\n", "left-out", "secret", ".dockerignore", "left-out\n"))

	img := s.image("component", "hello", "branch", "feature/x", "architecture", "aarch64")
	require.Equal(t, http.StatusOK, img.status, "%s", img.raw)
	require.Equal(t, r.str("imageName"), img.str("imageName"))
	require.Equal(t, "docker pull "+img.str("imageName"), img.str("pullCommand"))

	digest, platforms, err := testbed.VerifyIndex(t.Context(), img.str("imageName"), "x", testKey)
	require.NoError(t, err)
	require.Equal(t, img.str("digest"), digest.String())
	var built, attested []string
	for _, p := range platforms {
		if p.Attestation {
			attested = append(attested, p.Platform)
			continue
		}
		built = append(built, p.Platform)
	}
	require.Equal(t, []string{"linux/amd64", "linux/arm64"}, built)
	require.Len(t, attested, 2, "each platform has its provenance")

	_, own, _ := strings.Cut(r.str("buildImageName"), "-image:")
	byBuild := s.image("component", "hello", "branch", "feature/x", "architecture", "arm64", "tag", own)
	require.Equal(t, http.StatusOK, byBuild.status, "%s", byBuild.raw)
	require.Equal(t, digest.String(), byBuild.str("digest"), "the first build of a tag has both in common")

	for arch, machine := range map[string]string{"amd64": "x86_64", "arm64": "aarch64"} {
		config, read := s.imageOf(img.str("imageName"), arch)
		require.Equal(t, machine+"\n", read("machine"))
		require.Equal(t, "hello there\n", read("greeting"))
		require.Equal(t, "blue", config["team"])
		require.Equal(t, "1", config["mine"])
		require.NotEmpty(t, config["org.opencontainers.image.created"])
	}
	require.Contains(t, s.logText(r.str("buildId"), "platform=arm64"), "hello there\n")
}

// imageOf returns one platform's labels and a reader of its files.
func (s *testServer) imageOf(ref, arch string) (labels map[string]string, read func(file string) string) {
	s.tester.Helper()
	parsed, err := name.ParseReference(ref)
	require.NoError(s.tester, err)
	idx, err := remote.Index(parsed, testbed.Options(s.tester.Context(), "x", testKey)...)
	require.NoError(s.tester, err)
	manifest, err := idx.IndexManifest()
	require.NoError(s.tester, err)
	for _, m := range manifest.Manifests {
		if m.Platform.Architecture != arch {
			continue
		}
		img, err := idx.Image(m.Digest)
		require.NoError(s.tester, err)
		config, err := img.ConfigFile()
		require.NoError(s.tester, err)
		return config.Config.Labels, func(file string) string {
			raw, err := testbed.ReadFile(img, file)
			require.NoError(s.tester, err)
			return string(raw)
		}
	}
	require.FailNow(s.tester, "no platform "+arch+" in "+ref)
	return nil, nil
}

// Two builds for different platforms of one tag that end together never lose a platform.
func TestPlatformsEndingTogetherAreBothInTheIndex(t *testing.T) {
	s := startServer(t, nil)
	for i := range 50 {
		tag := fmt.Sprintf("t%d", i)
		var wg sync.WaitGroup
		for _, arch := range []string{"amd64", "arm64"} {
			wg.Go(func() {
				r := s.build(fmt.Sprintf("FROM scratch\nCOPY <<E /a\n%d\nE\n", i), "component", "race", "tag", tag, "architecture", arch)
				if r.str("status") != "succeeded" {
					t.Errorf("%s", r.raw)
				}
			})
		}
		wg.Wait()
		img := s.image("component", "race", "tag", tag, "architecture", "amd64")
		ref, err := name.ParseReference(img.str("imageName"))
		require.NoError(t, err)
		idx, err := remote.Index(ref, testbed.Options(t.Context(), "x", testKey)...)
		require.NoError(t, err)
		m, err := idx.IndexManifest()
		require.NoError(t, err)
		var got []string
		for _, d := range m.Manifests {
			if d.Platform.OS == "linux" {
				got = append(got, d.Platform.Architecture)
			}
		}
		require.Equal(t, []string{"amd64", "arm64"}, got, "round %d", i)
	}
}

// Equal requests are one build; it ends when the last of its askers cancels, also while a step runs.
func TestEqualRequestsJoinAndTheLastAskerCancels(t *testing.T) {
	s := startServer(t, nil)
	s.pushBusybox()
	const dockerfile = "FROM busybox\nRUN echo begun && sleep 600\n"
	first := s.post(dockerfile, "component", "joined")
	require.Equal(t, http.StatusAccepted, first.status, "%s", first.raw)
	second := s.post(dockerfile, "component", "joined")
	require.Equal(t, first.str("buildId"), second.str("buildId"))
	require.Equal(t, true, second.body["joined"])

	id := first.str("buildId")
	eventually(t, "the step runs", func() bool { return strings.Contains(s.logText(id), "\nbegun\n") })
	r := s.call(http.MethodPost, "/api/v1/builds/"+id+"/cancel", nil, nil)
	require.Equal(t, "running", r.str("status"), "%s", r.raw)
	asked := time.Now()
	r = s.call(http.MethodPost, "/api/v1/builds/"+id+"/cancel", nil, nil)
	require.Equal(t, http.StatusOK, r.status, "%s", r.raw)
	require.Equal(t, "canceled", s.wait(id).str("status"))
	require.Less(t, time.Since(asked), 10*time.Second)
	require.Contains(t, s.logText(id), "CANCELED")
	require.Equal(t, "JOB_ALREADY_FINISHED", s.call(http.MethodPost, "/api/v1/builds/"+id+"/cancel", nil, nil).str("code"))
}

// A secret reaches its step and nothing else: not the log, the image, the provenance or the disk.
func TestSecretIsSeenByItsStepOnly(t *testing.T) {
	s := startServer(t, nil)
	s.pushBusybox()
	const canary = "CANARY-8d1f3c-of-the-secret"
	r := s.mustBuild("FROM busybox\nRUN --mount=type=secret,id=token,required=true wc -c </run/secrets/token >/size\n",
		"component", "secret", "secret", "token="+canary)
	_, read := s.imageOf(r.str("imageName"), "amd64")
	require.Equal(t, fmt.Sprintf("%d\n", len(canary)), read("size"))
	require.NotContains(t, s.logText(r.str("buildId")), canary)
	require.NotContains(t, s.log.String(), canary)
	file, found := dirHas(t, s.cfg.DataDir, []byte(canary))
	require.False(t, found, "the secret is in %s", file)
}

// With publish=all, a tag moves only when every platform has been built.
func TestPublishAllMovesTheTagOnlyWhenAllSucceed(t *testing.T) {
	s := startServer(t, nil)
	s.pushBusybox()
	const failsOnArm = "FROM busybox\nRUN test $(uname -m) = x86_64\n"
	r := s.build(failsOnArm, "component", "all", "architecture", "amd64,arm64", "publish", "all")
	require.Equal(t, "failed", r.str("status"))
	require.Equal(t, "STEP_FAILED", r.str("code"))
	require.Equal(t, http.StatusNotFound, s.image("component", "all", "architecture", "amd64").status)

	r = s.build(failsOnArm, "component", "each", "architecture", "amd64,arm64")
	require.Equal(t, "failed", r.str("status"))
	require.Equal(t, http.StatusOK, s.image("component", "each", "architecture", "amd64").status)
	require.Equal(t, http.StatusNotFound, s.image("component", "each", "architecture", "arm64").status)

	s.mustBuild("FROM busybox\nRUN true\n", "component", "all", "architecture", "amd64,arm64", "publish", "all")
	require.Equal(t, http.StatusOK, s.image("component", "all", "architecture", "arm64").status)
}
