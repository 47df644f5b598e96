package main

import (
	"net/http"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"cooper/internal/testbed"
)

// An equal request gives the image that is there, and only as long as nothing has changed: not the base image, not the
// context, not the registry, and not when the caller wants every step run.
func TestUnchangedRequestGivesTheSameImage(t *testing.T) {
	const dockerfile = "FROM busybox\nCOPY note /\nRUN cat /note /proc/sys/kernel/random/uuid >/made\n"
	const same = "nothing has changed since build "
	s := startServer(t, nil)
	s.pushBusybox()
	request := func(note string, fields ...string) (digest, log string) {
		r := s.mustBuild(dockerfile, append([]string{"component", "same", "context", tarOf(t, "note", note)}, fields...)...)
		img := s.image("component", "same")
		require.Equal(t, http.StatusOK, img.status)
		_, _, err := testbed.VerifyIndex(t.Context(), r.str("buildImageName"), "x", testKey)
		require.NoError(t, err, "the build's own tag")
		platforms, _ := img.body["platforms"].([]any)
		first, _ := platforms[0].(map[string]any)
		require.Equal(t, r.str("buildId"), first["buildId"])
		return first["digest"].(string), s.logText(r.str("buildId"))
	}
	first, log := request("a")
	require.NotContains(t, log, same)
	again, log := request("a")
	require.Equal(t, first, again)
	require.Contains(t, log, same)

	fresh, log := request("a", "noCache", "true")
	require.NotEqual(t, first, fresh)
	require.NotContains(t, log, same)
	other, log := request("b")
	require.NotEqual(t, fresh, other)
	require.NotContains(t, log, same)

	// Another base image under the same name.
	base, err := testbed.Busybox(t.Context())
	require.NoError(t, err)
	annotated := mutate.Annotations(base, map[string]string{"changed": "yes"})
	require.NoError(t, testbed.Push(t.Context(), s.host+"/mirror/docker.io/library/busybox:latest", annotated.(testbed.Artifact), "admin", testKey))
	_, log = request("b")
	require.NotContains(t, log, same)
	kept, log := request("b")
	require.Contains(t, log, same)

	// The registry has lost the manifest: it is made and pushed again.
	repo, err := name.NewRepository(s.host + "/same-main-image")
	require.NoError(t, err)
	require.NoError(t, remote.Delete(repo.Digest(kept), testbed.Options(t.Context(), "x", testKey)...))
	_, log = request("b")
	require.NotContains(t, log, same)
}
