package testbed

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/stretchr/testify/require"
)

func TestDebianHasWhatABuildNeeds(t *testing.T) {
	image, err := Debian(t.Context())
	require.NoError(t, err)
	release, err := ReadFile(image, "/usr/lib/os-release")
	require.NoError(t, err)
	require.Contains(t, string(release), "bookworm")
	certificates, err := ReadFile(image, "/etc/ssl/certs/ca-certificates.crt")
	require.NoError(t, err)
	require.Contains(t, string(certificates), "BEGIN CERTIFICATE")
}

// room is the unpacked root file system of an image, in which programs are run.
type room struct {
	t   *testing.T
	dir string
}

// enter unpacks an image's layers.
func enter(t *testing.T, image v1.Image) room {
	t.Helper()
	r := room{t: t, dir: t.TempDir()}
	layers, err := image.Layers()
	require.NoError(t, err)
	for _, l := range layers {
		rc, err := l.Compressed()
		require.NoError(t, err)
		unpack := exec.CommandContext(t.Context(), "tar", "-x", "--numeric-owner", "-C", r.dir)
		mediaType, err := l.MediaType()
		require.NoError(t, err)
		if strings.HasSuffix(string(mediaType), "zstd") {
			unpack.Args = append(unpack.Args, "--zstd")
		} else {
			unpack.Args = append(unpack.Args, "--gzip")
		}
		unpack.Stdin = rc
		out, err := unpack.CombinedOutput()
		require.NoError(t, err, string(out))
		require.NoError(t, rc.Close())
	}
	for _, device := range []string{"null", "urandom"} {
		require.NoError(t, os.WriteFile(filepath.Join(r.dir, "dev", device), nil, 0o666))
		r.mount("/dev/"+device, "dev/"+device, "", syscall.MS_BIND)
	}
	r.mount("proc", "proc", "proc", 0)
	return r
}

func (r room) mount(source, at, fstype string, flags uintptr) {
	r.t.Helper()
	at = filepath.Join(r.dir, at)
	require.NoError(r.t, syscall.Mount(source, at, fstype, flags, ""), "the tests run as root, as `make test` does")
	r.t.Cleanup(func() { require.NoError(r.t, syscall.Unmount(at, syscall.MNT_DETACH)) })
}

// run runs a script and returns what it prints.
func (r room) run(script string, env ...string) string {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), "/bin/sh", "-ec", script)
	cmd.Dir, cmd.Env = "/", append([]string{searchPath}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: r.dir}
	out, err := cmd.CombinedOutput()
	require.NoError(r.t, err, string(out))
	return string(out)
}

func (r room) write(files map[string]string) {
	r.t.Helper()
	for name, content := range files {
		file := filepath.Join(r.dir, name)
		require.NoError(r.t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(r.t, os.WriteFile(file, []byte(content), 0o755))
	}
}

// requireSums holds the digests that the set-up wrote down against the bytes.
func requireSums(t *testing.T, image v1.Image) {
	t.Helper()
	layers, err := image.Layers()
	require.NoError(t, err)
	for _, l := range layers {
		want, err := l.Digest()
		require.NoError(t, err)
		size, err := l.Size()
		require.NoError(t, err)
		require.NoError(t, verifyBytes(l.Compressed, want, size))
		diffID, err := partial.BlobToDiffID(image, want)
		require.NoError(t, err)
		require.NoError(t, verifyBytes(l.Uncompressed, diffID, -1))
	}
}

// The packages of these images were never configured: what is built with them here is what components are built with.
func TestToolchainBuilds(t *testing.T) {
	index, err := Toolchain(t.Context())
	require.NoError(t, err)
	for architecture, machine := range map[string]string{"amd64": "x86_64", "arm64": "aarch64"} {
		t.Run(architecture, func(t *testing.T) {
			images, err := partial.FindImages(index, func(d v1.Descriptor) bool { return d.Platform.Architecture == architecture })
			require.NoError(t, err)
			require.Len(t, images, 1)
			requireSums(t, images[0])
			r := enter(t, images[0])
			r.write(map[string]string{
				"src/hello.c":        "#include <stdio.h>\n#include <math.h>\nint main(int n, char **v) { printf(\"hello %d\\n\", (int)sqrt(n * 16)); return 0; }\n",
				"src/hello.cc":       "#include <iostream>\nint main() { std::cout << \"hello 4\" << std::endl; }\n",
				"src/Makefile":       "hello: hello.c\n\t$(CC) -O2 -o $@ $< -lm\n",
				"src/CMakeLists.txt": "cmake_minimum_required(VERSION 3.10)\nproject(hello C CXX)\nadd_executable(hello hello.cc)\ninstall(TARGETS hello)\n",
				"src/meson.build":    "project('hello', 'c')\nm = meson.get_compiler('c').find_library('m')\nexecutable('hello', 'hello.c', dependencies: m, install: true)\n",
				"src/configure.ac":   "AC_INIT([hello], [1])\nAM_INIT_AUTOMAKE([foreign])\nLT_INIT\nAC_PROG_CC\nAC_SEARCH_LIBS([sqrt], [m])\nAC_CONFIG_FILES([Makefile])\nAC_OUTPUT\n",
				"src/Makefile.am":    "bin_PROGRAMS = hello\nhello_SOURCES = hello.c\n",
			})
			require.Equal(t, machine+"\n", r.run("uname -m"))
			scripts := map[string]string{
				"make":      "cp -r /src /make; cd /make; rm Makefile.am; make; ./hello",
				"CMake":     "cmake -S /src -B /cmake -G Ninja; cmake --build /cmake; cmake --install /cmake --prefix /usr; /usr/bin/hello",
				"Meson":     "meson setup --prefix=/usr /meson /src; DESTDIR=/m meson install -C /meson; /m/usr/bin/hello",
				"autotools": "cp -r /src /auto; cd /auto; rm Makefile; autoreconf -i; ./configure; make; make install DESTDIR=/a; /a/usr/local/bin/hello",
				"static":    "g++ -static -o /static /src/hello.cc; /static",
			}
			if architecture != runtime.GOARCH { // it takes a minute under emulation
				scripts["autotools"] = "for i in autoconf automake libtoolize; do $i --version; done; echo hello 4"
			}
			for name, script := range scripts {
				t.Run(name, func(t *testing.T) {
					r := room{t: t, dir: r.dir}
					require.True(t, strings.HasSuffix(r.run(script), "hello 4\n"))
				})
			}
			require.Equal(t, "root\n", r.run("id -un"))
			require.NotEmpty(t, r.run("which cc c++ awk file patch perl python3 aclocal libtoolize pkg-config"))
		})
	}
}

func TestGolangBuilds(t *testing.T) {
	image, err := Golang(t.Context())
	require.NoError(t, err)
	requireSums(t, image)
	config, err := image.ConfigFile()
	require.NoError(t, err)
	require.Contains(t, config.Config.Env, "GOTOOLCHAIN=local")
	r := enter(t, image)
	r.write(map[string]string{
		"src/go.mod":  "module example.com/hello\n\ngo 1.26\n",
		"src/main.go": "package main\n\nimport \"os\"\n\nfunc main() { _, _ = os.Stdout.WriteString(\"hello\\n\") }\n",
	})
	env := append(config.Config.Env, "GOCACHE=/cache", "HOME=/root", "GOFLAGS=-mod=mod")
	require.Equal(t, "hello\n", r.run("cd /src; go build -o /hello .; /hello", env...))
	require.Contains(t, r.run("cd /src; GOARCH=arm64 go build -o /hello .; go version -m /hello", env...), "GOARCH=arm64")
}
