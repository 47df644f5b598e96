package testbed

import (
	"fmt"
	"io"
	"os"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// cachedLayer is an archive of the cache as a layer. Its digests come from the file that the set-up has put beside it: to
// compute them anew in every test would take longer than most tests.
type cachedLayer struct {
	file      string
	digest    v1.Hash
	diffID    v1.Hash
	size      int64
	mediaType types.MediaType
}

// layerOf returns an archive of the cache, .tar.gz or .tar.zst, or ErrNoBase when it is not there.
func layerOf(name string) (v1.Layer, error) {
	file, err := cached(name)
	if err != nil {
		return nil, err
	}
	sumFile, err := cached(name + ".sums")
	if err != nil {
		return nil, err
	}
	sums, err := os.ReadFile(sumFile)
	if err != nil {
		return nil, fmt.Errorf("read the digests of a base image: %w", err)
	}
	fi, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("look for a base image: %w", err)
	}
	l := cachedLayer{file: file, size: fi.Size(), mediaType: types.OCILayer}
	if strings.HasSuffix(name, ".zst") {
		l.mediaType = types.OCILayerZStd
	}
	of := []*v1.Hash{&l.digest, &l.diffID}
	for i, hex := range strings.Fields(string(sums)) {
		if i < len(of) {
			*of[i] = v1.Hash{Algorithm: "sha256", Hex: hex}
		}
	}
	return partial.CompressedToLayer(l)
}

// Digest implements partial.CompressedLayer.
func (l cachedLayer) Digest() (v1.Hash, error) { return l.digest, nil }

// DiffID implements partial.WithDiffID.
func (l cachedLayer) DiffID() (v1.Hash, error) { return l.diffID, nil }

// Size implements partial.CompressedLayer.
func (l cachedLayer) Size() (int64, error) { return l.size, nil }

// MediaType implements partial.CompressedLayer.
func (l cachedLayer) MediaType() (types.MediaType, error) { return l.mediaType, nil }

// Compressed implements partial.CompressedLayer.
func (l cachedLayer) Compressed() (io.ReadCloser, error) { return os.Open(l.file) }
