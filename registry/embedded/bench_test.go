package embedded_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"
)

// BenchmarkPush pushes an image of five small layers: what it costs to have everything on the disk before it is
// acknowledged.
func BenchmarkPush(b *testing.B) {
	s := serve(b)
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		img, err := random.Image(10<<10, 5)
		require.NoError(b, err)
		b.StartTimer()
		require.NoError(b, remote.Write(s.tag(fmt.Sprintf("team/app%d:1", i%10)), img, admin()))
	}
}

// BenchmarkHead asks for a blob that is there, as every push does for what it may leave out.
func BenchmarkHead(b *testing.B) {
	s := serve(b)
	img, err := random.Image(10<<10, 1)
	require.NoError(b, err)
	require.NoError(b, remote.Write(s.tag("a/b:1"), img, admin()))
	layers, err := img.Layers()
	require.NoError(b, err)
	digest, err := layers[0].Digest()
	require.NoError(b, err)
	for b.Loop() {
		resp, _ := s.do("HEAD", "/v2/a/b/blobs/"+digest.String(), adminKey, nil)
		require.Equal(b, http.StatusOK, resp.StatusCode)
	}
}
