package testbed

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"runtime"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// searchPath is where programs are looked for in the images made here.
const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Architectures returns what Busybox has images for.
func Architectures() []string { return []string{"amd64", "arm64"} }

// Busybox returns an OCI index with a busybox image for each of Architectures: /bin/sh and every applet as a link, a
// root user, /tmp. It is made anew at each call and has the same digest each time. ErrNoBase when the set-up has not run.
func Busybox(ctx context.Context) (v1.ImageIndex, error) {
	applets, err := busyboxApplets(ctx)
	if err != nil {
		return nil, err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, architecture := range Architectures() {
		program, err := readBusybox(architecture)
		if err != nil {
			return nil, err
		}
		rootfs, err := busyboxRootfs(program, applets)
		if err != nil {
			return nil, err
		}
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(rootfs)), nil
		}, tarball.WithMediaType(types.OCILayer))
		if err != nil {
			return nil, fmt.Errorf("make the layer: %w", err)
		}
		image, err := imageOf(architecture, v1.Config{Env: []string{searchPath}, Cmd: []string{"sh"}}, layer)
		if err != nil {
			return nil, err
		}
		index = appendPlatform(index, image, architecture)
	}
	return index, nil
}

func readBusybox(architecture string) ([]byte, error) {
	file, err := cached("busybox-" + architecture)
	if err != nil {
		return nil, err
	}
	program, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read busybox: %w", err)
	}
	return program, nil
}

// busyboxApplets asks the busybox that runs here. One release is built alike for all architectures, so that the answer
// holds for the others too.
func busyboxApplets(ctx context.Context) ([]string, error) {
	program, err := cached("busybox-" + runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, program, "--list").Output() //nolint:gosec // As above.
	if err != nil {
		return nil, fmt.Errorf("ask busybox for its applets: %w", err)
	}
	return strings.Fields(string(out)), nil
}

// busyboxRootfs returns the image's files as a tar.
func busyboxRootfs(program []byte, applets []string) ([]byte, error) {
	var out bytes.Buffer
	rootfs := tarWriter{tar.NewWriter(&out)}
	for _, dir := range []string{"bin", "dev", "etc", "home", "proc", "root", "run", "sys", "usr", "usr/bin", "usr/local", "var"} {
		rootfs.add(tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}, nil)
	}
	rootfs.add(tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}, nil)
	rootfs.add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n"))
	rootfs.add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/group", Mode: 0o644}, []byte("root:x:0:\nnogroup:x:65534:\n"))
	rootfs.add(tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, program)
	for _, applet := range applets {
		if applet != "busybox" {
			rootfs.add(tar.Header{Typeflag: tar.TypeSymlink, Name: path.Join("bin", applet), Linkname: "/bin/busybox", Mode: 0o777}, nil)
		}
	}
	rootfs.add(tar.Header{Typeflag: tar.TypeSymlink, Name: "usr/bin/env", Linkname: "/bin/busybox", Mode: 0o777}, nil)
	if err := rootfs.Close(); err != nil {
		return nil, fmt.Errorf("write the root file system: %w", err)
	}
	return out.Bytes(), nil
}

// tarWriter writes into memory; what could go wrong (a file longer or shorter than its header says) is kept by the
// writer and comes out of Close.
type tarWriter struct{ *tar.Writer }

func (w tarWriter) add(h tar.Header, content []byte) {
	h.Size = int64(len(content))
	h.ModTime = epoch()
	if w.WriteHeader(&h) == nil {
		_, _ = w.Write(content) // Close reports it.
	}
}

// epoch is the time of everything in the images, so that their digests stay the same.
func epoch() time.Time { return time.Unix(0, 0).UTC() }

// imageOf returns an OCI image of the layers.
func imageOf(architecture string, config v1.Config, layers ...v1.Layer) (v1.Image, error) {
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.ConfigFile(image, &v1.ConfigFile{
		OS: "linux", Architecture: architecture, Created: v1.Time{Time: epoch()}, RootFS: v1.RootFS{Type: "layers"}, Config: config,
	})
	if err != nil {
		return nil, fmt.Errorf("make the image's configuration: %w", err)
	}
	for _, layer := range layers {
		mediaType, err := layer.MediaType()
		if err != nil {
			return nil, fmt.Errorf("put a layer into the image: %w", err)
		}
		image, err = mutate.Append(image, mutate.Addendum{Layer: layer, MediaType: mediaType, History: v1.History{
			Created: v1.Time{Time: epoch()}, CreatedBy: "base image of Cooper's tests",
		}})
		if err != nil {
			return nil, fmt.Errorf("put a layer into the image: %w", err)
		}
	}
	return image, nil
}
