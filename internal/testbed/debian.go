package testbed

import (
	"context"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Debian returns an image of a minimal Debian 12 for this machine's architecture, with apt and this machine's
// certificates (46 MB compressed, 130 MB unpacked). ErrNoBase when the set-up has not run.
func Debian(ctx context.Context) (v1.Image, error) {
	return stacked(ctx, v1.Config{Env: []string{searchPath}, Cmd: []string{"bash"}}, "debian.tar.gz")
}

// Toolchain returns an OCI index with a Debian 12 for each of Architectures that has what components in C and C++ are
// built with: gcc, g++, make, CMake, Ninja, Meson, autotools, pkg-config (115 MB compressed, 360 MB unpacked, each). There
// is no package manager in it. ErrNoBase when the set-up has not run.
func Toolchain(ctx context.Context) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, architecture := range Architectures() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		rootfs, err := layerOf("toolchain-" + architecture + ".tar.zst")
		if err != nil {
			return nil, err
		}
		image, err := imageOf(architecture, v1.Config{Env: []string{searchPath}, Cmd: []string{"bash"}}, rootfs)
		if err != nil {
			return nil, err
		}
		index = appendPlatform(index, image, architecture)
	}
	return index, nil
}

// Languages returns an image of the toolchain with what Rust, Node.js, Python and Java are built with: Cargo, npm, pip, Maven
// (360 MB compressed, 1.1 GB unpacked), for this machine's architecture. It needs no network for a project that depends on
// nothing: packages that pip and Maven build with are in it. ErrNoBase when the set-up has not run.
func Languages(ctx context.Context) (v1.Image, error) {
	return stacked(ctx, v1.Config{
		Env: []string{
			searchPath, "PIP_NO_INDEX=1", "PIP_FIND_LINKS=/usr/share/python-wheels",
			"MAVEN_OPTS=-XX:TieredStopAtLevel=1", // a short run does not earn back what the better compiler takes
		},
		Cmd: []string{"bash"},
	}, "toolchain-"+runtime.GOARCH+".tar.zst", "languages.tar.zst")
}

// Golang returns an image of Debian with this machine's Go, for this machine's architecture. Go compiles for any other
// from there. ErrNoBase when the set-up has not run.
func Golang(ctx context.Context) (v1.Image, error) {
	return stacked(ctx, v1.Config{
		Env: []string{searchPath + ":/usr/local/go/bin:/go/bin", "GOPATH=/go", "GOTOOLCHAIN=local"},
		Cmd: []string{"bash"}, WorkingDir: "/go",
	}, "debian.tar.gz", "golang.tar.zst")
}

// stacked returns an image for this machine's architecture of archives of the cache, the lowest first.
func stacked(ctx context.Context, config v1.Config, archives ...string) (v1.Image, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var layers []v1.Layer
	for _, name := range archives {
		l, err := layerOf(name)
		if err != nil {
			return nil, err
		}
		layers = append(layers, l)
	}
	return imageOf(runtime.GOARCH, config, layers...)
}

// appendPlatform puts an image into an index.
func appendPlatform(index v1.ImageIndex, image v1.Image, architecture string) v1.ImageIndex {
	return mutate.AppendManifests(index, mutate.IndexAddendum{
		Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: architecture}},
	})
}
