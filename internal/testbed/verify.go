package testbed

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Verified is one manifest of an index whose bytes were all read back and found to have their digests.
type Verified struct {
	Platform    string // os/architecture[/variant]; unknown/unknown for attestations
	Attestation bool
	Digest      v1.Hash
	Layers      int
	Bytes       int64 // of the layers, as they were sent
	Image       v1.Image
}

// VerifyIndex pulls every manifest, configuration and layer of the index at ref, as a client would, and compares each
// layer with the digest and size in its manifest and, for images, its content with the configuration's diff IDs.
func VerifyIndex(ctx context.Context, ref, user, key string) (v1.Hash, []Verified, error) {
	tag, err := name.ParseReference(ref)
	if err != nil {
		return v1.Hash{}, nil, fmt.Errorf("verify %q: %w", ref, err)
	}
	index, err := remote.Index(tag, Options(ctx, user, key)...)
	if err != nil {
		return v1.Hash{}, nil, fmt.Errorf("pull the index: %w", err)
	}
	digest, err := index.Digest()
	if err != nil {
		return v1.Hash{}, nil, fmt.Errorf("hash the index: %w", err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return v1.Hash{}, nil, fmt.Errorf("read the index: %w", err)
	}
	found := make([]Verified, 0, len(manifest.Manifests))
	for _, descriptor := range manifest.Manifests {
		image, err := index.Image(descriptor.Digest)
		if err != nil {
			return v1.Hash{}, nil, fmt.Errorf("pull %s: %w", descriptor.Digest, err)
		}
		one, err := verifyImage(image, descriptor)
		if err != nil {
			return v1.Hash{}, nil, fmt.Errorf("manifest %s (%s): %w", descriptor.Digest, one.Platform, err)
		}
		found = append(found, one)
	}
	return digest, found, nil
}

func verifyImage(image v1.Image, descriptor v1.Descriptor) (Verified, error) {
	one := Verified{Platform: "unknown", Digest: descriptor.Digest, Image: image}
	if descriptor.Platform != nil {
		one.Platform = descriptor.Platform.String()
	}
	one.Attestation = strings.HasPrefix(one.Platform, "unknown")
	manifest, err := image.Manifest()
	if err != nil {
		return one, fmt.Errorf("read the manifest: %w", err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		return one, fmt.Errorf("read the configuration: %w", err)
	}
	if !one.Attestation && len(config.RootFS.DiffIDs) != len(manifest.Layers) {
		return one, fmt.Errorf("%d layers, but %d diff IDs", len(manifest.Layers), len(config.RootFS.DiffIDs))
	}
	for i, entry := range manifest.Layers {
		layer, err := image.LayerByDigest(entry.Digest)
		if err != nil {
			return one, fmt.Errorf("pull layer %s: %w", entry.Digest, err)
		}
		if err := verifyBytes(layer.Compressed, entry.Digest, entry.Size); err != nil {
			return one, err
		}
		if !one.Attestation {
			if err := verifyBytes(layer.Uncompressed, config.RootFS.DiffIDs[i], -1); err != nil {
				return one, err
			}
		}
		one.Layers++
		one.Bytes += entry.Size
	}
	return one, nil
}

// verifyBytes reads all that open gives and compares it with a digest, and with a size unless that is negative.
func verifyBytes(open func() (io.ReadCloser, error), want v1.Hash, size int64) (err error) {
	r, err := open()
	if err != nil {
		return fmt.Errorf("open %s: %w", want, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	got, n, err := v1.SHA256(r)
	if err != nil {
		return fmt.Errorf("read %s: %w", want, err)
	}
	if got != want {
		return fmt.Errorf("the bytes of %s hash to %s", want, got)
	}
	if size >= 0 && n != size {
		return fmt.Errorf("%s has %d bytes instead of %d", want, n, size)
	}
	return nil
}

// maxShown bounds a file that ReadFile takes into memory, in bytes.
const maxShown = 16 << 20

// ReadFile returns a regular file of the image's last state, and an error that names it when there is none or when it
// has more than 16 MiB. A link is returned as an empty file.
func ReadFile(image v1.Image, file string) ([]byte, error) {
	rootfs := mutate.Extract(image)
	defer rootfs.Close()
	files := tar.NewReader(rootfs)
	for {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("the image has no file %s", file)
		}
		if err != nil {
			return nil, fmt.Errorf("look for %s: %w", file, err)
		}
		if strings.TrimPrefix(h.Name, "./") == strings.TrimPrefix(file, "/") {
			if h.Size > maxShown {
				return nil, fmt.Errorf("%s has %d bytes, more than %d", file, h.Size, maxShown)
			}
			content, err := io.ReadAll(files)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", file, err)
			}
			return content, nil
		}
	}
}
