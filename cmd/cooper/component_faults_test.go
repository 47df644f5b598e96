package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/config"
	"cooper/internal/testbed"
)

// blobFile is where the store has a tarball, and layerFile is where the registry has it, as a second name of the file.
func (b *componentBed) blobFile(digest string) string {
	hex := strings.TrimPrefix(digest, "sha256:")
	return filepath.Join(b.cfg.DataDir, "tarballs", "sha256", hex[:2], hex)
}

func (b *componentBed) layerFile(digest string) string {
	hex := strings.TrimPrefix(digest, "sha256:")
	return filepath.Join(b.cfg.DataDir, "registry", "docker", "registry", "v2", "blobs", "sha256", hex[:2], hex, "data")
}

// flip changes one byte of a file in its place.
func flip(t *testing.T, file string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	require.NoError(t, err)
	b := make([]byte, 1)
	_, err = f.ReadAt(b, 40)
	require.NoError(t, err)
	b[0] ^= 0xff
	_, err = f.WriteAt(b, 40)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func truncate(t *testing.T, file string) {
	t.Helper()
	require.NoError(t, os.Truncate(file, 50))
}

func remove(t *testing.T, file string) {
	t.Helper()
	require.NoError(t, os.Remove(file))
}

// takes gets a component's bytes as often as it takes. Before it has them it is told that they are damaged, once, and it
// is given no others.
func (b *componentBed) takes(t *testing.T, digest string, pairs ...string) {
	t.Helper()
	bed := *b
	bed.testServer = b.in(t)
	for try := range 2 {
		r := bed.component(pairs...)
		if r.status == http.StatusOK {
			require.Equal(t, digest, digestOf(r.raw))
			return
		}
		require.Equal(t, "ARTIFACT_CORRUPT", r.str("code"), "%s", r.raw)
		require.Zero(t, try, "asking again does not help: %s", r.raw)
		require.NotContains(t, string(r.raw), b.cfg.DataDir)
	}
}

// served holds that the registry gives the component as it was.
func (b *componentBed) served(t *testing.T, name, digest string) {
	t.Helper()
	blob := b.in(t).get("/v2/components/" + name + "/blobs/" + digest)
	require.Equal(t, http.StatusOK, blob.status, "%s", blob.raw)
	require.Equal(t, digest, digestOf(blob.raw), "the registry serves other bytes")
}

// used holds that a build that is given the component has it as it was.
func (b *componentBed) used(t *testing.T, name string) {
	t.Helper()
	s := b.in(t)
	r := s.mustBuild("FROM scratch\nCOPY --from="+name+" /share /share\n", "component", "user-of-"+name, "components", name+"@v1", "noCache", "true")
	_, read := s.imageOf(r.str("imageName"), "amd64")
	require.Equal(t, name+"\n", read("share/greet"))
}

// Row F22: a tarball that is flipped, cut, gone or another's is never served, and the next to ask gets the right one, at
// each door.
func TestDamagedTarballs(t *testing.T) {
	b := startComponents(t, nil)
	for name, damage := range map[string]func(*testing.T, string){"flipped": flip, "cut": truncate, "gone": remove} {
		t.Run(name, func(t *testing.T) {
			b.repository(name, "v1", greetFiles(name))
			digest := b.mustComponent("component", name, "tag", "v1", "url", b.gitURL(name)).str("digest")
			damage(t, b.blobFile(digest))
			b.takes(t, digest, "component", name, "tag", "v1", "format", "tar.gz")
			b.served(t, name, digest)
			b.used(t, name)
			neighbour := b.component("component", name, "tag", "v1")
			require.Equal(t, digest, neighbour.str("digest"), "the same inputs give the same digest")
		})
	}
	t.Run("flipped, and built with", func(t *testing.T) {
		b.repository("part", "v1", greetFiles("part"))
		digest := b.mustComponent("component", "part", "tag", "v1", "url", b.gitURL("part")).str("digest")
		flip(t, b.blobFile(digest))
		b.used(t, "part")
		b.served(t, "part", digest)
	})
	t.Run("flipped, and pulled", func(t *testing.T) {
		b.repository("pulled", "v1", greetFiles("pulled"))
		digest := b.mustComponent("component", "pulled", "tag", "v1", "url", b.gitURL("pulled")).str("digest")
		layer := func() int {
			return b.in(t).call(http.MethodGet, "/v2/components/pulled/blobs/"+digest, nil, basic("x", testKey)).status
		}
		require.Equal(t, http.StatusOK, layer())
		flip(t, b.blobFile(digest))
		require.Equal(t, http.StatusNotFound, layer())
		b.takes(t, digest, "component", "pulled", "tag", "v1", "format", "tar.gz")
		require.Equal(t, http.StatusOK, layer())
	})
	t.Run("swapped", func(t *testing.T) {
		digests := map[string]string{}
		for _, name := range []string{"left", "right"} {
			b.repository(name, "v1", greetFiles(name))
			digests[name] = b.mustComponent("component", name, "tag", "v1", "url", b.gitURL(name)).str("digest")
		}
		left, right := b.blobFile(digests["left"]), b.blobFile(digests["right"])
		require.NoError(t, os.Rename(left, left+".away"))
		require.NoError(t, os.Rename(right, left))
		require.NoError(t, os.Rename(left+".away", right))
		for name, digest := range digests {
			b.takes(t, digest, "component", name, "tag", "v1", "format", "tar.gz")
			b.served(t, name, digest)
			b.used(t, name)
		}
	})
	t.Run("what a tree grows from", func(t *testing.T) {
		b.repository("treeless", "v1", greetFiles("treeless"))
		digest := b.mustComponent("component", "treeless", "tag", "v1", "url", b.gitURL("treeless")).str("digest")
		flip(t, b.blobFile(digest))
		r := b.component("component", "treeless", "tag", "v1", "format", "path")
		require.Equal(t, "ARTIFACT_CORRUPT", r.str("code"), "%s", r.raw)
		require.Empty(t, filesBelow(t, filepath.Join(b.cfg.DataDir, "trees", ".incoming")))
		r = b.mustComponent("component", "treeless", "tag", "v1", "format", "path")
		got, err := os.ReadFile(filepath.Join(r.str("component"), "share", "greet"))
		require.NoError(t, err)
		require.Equal(t, "treeless\n", string(got))
	})
}

// A derived format that is damaged is derived again, also when its tarball is damaged, too.
func TestDamagedFormats(t *testing.T) {
	b := startComponents(t, nil)
	b.repository("many", "v1", greetFiles("many"))
	digest := b.mustComponent("component", "many", "tag", "v1", "url", b.gitURL("many")).str("digest")
	for _, format := range []string{"tar", "tar.zst", "zip"} {
		pairs := []string{"component", "many", "tag", "v1", "format", format}
		want := digestOf(b.mustComponent(pairs...).raw)
		files, err := filepath.Glob(filepath.Join(b.cfg.DataDir, "tarballs", "derived", "*", format+"-*"))
		require.NoError(t, err)
		require.Len(t, files, 1)
		for name, damage := range map[string]func(*testing.T, string){"flipped": flip, "cut": truncate, "gone": remove} {
			t.Run(format+" "+name, func(t *testing.T) {
				damage(t, files[0])
				b.takes(t, want, pairs...)
			})
		}
		t.Run(format+" and its tarball", func(t *testing.T) {
			flip(t, files[0])
			flip(t, b.blobFile(digest))
			b.takes(t, want, pairs...)
			b.takes(t, digest, "component", "many", "tag", "v1", "format", "tar.gz")
		})
	}
}

// What the registry has lost of a component is put there again by who builds with it, and by who has it built again.
func TestAComponentThatTheRegistryLost(t *testing.T) {
	b := startComponents(t, nil)
	for name, damage := range map[string]func(*testing.T, string){
		"gone": func(t *testing.T, digest string) { remove(t, b.layerFile(digest)) },
		"cut": func(t *testing.T, digest string) { // another file than the store's
			remove(t, b.layerFile(digest))
			require.NoError(t, os.WriteFile(b.layerFile(digest), []byte("short"), 0o600))
		},
		"unlinked": func(t *testing.T, digest string) {
			hex := strings.TrimPrefix(digest, "sha256:")
			remove(t, filepath.Join(b.cfg.DataDir, "registry/docker/registry/v2/repositories/components/unlinked/_layers/sha256", hex, "link"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b.repository(name, "v1", greetFiles(name))
			pairs := []string{"component", name, "tag", "v1", "url", b.gitURL(name)}
			digest := b.mustComponent(pairs...).str("digest")
			damage(t, digest)
			b.takes(t, digest, append(pairs, "format", "tar.gz")...)
			b.used(t, name)
			b.served(t, name, digest)

			damage(t, digest)
			require.Equal(t, "succeeded", b.post(t, name, "v1", true).str("status"))
			b.served(t, name, digest)
		})
	}
}

// Row F12: a disk that fills up while a component is packed fails its build in words, leaves nothing, and the build works
// once there is room.
func TestDiskFullOfComponents(t *testing.T) {
	dir := t.TempDir()
	disk := filepath.Join(dir, "tarballs")
	require.NoError(t, os.MkdirAll(disk, 0o700))
	require.NoError(t, syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=8m"), "the tests run as root, as `make test` does")
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	b := startComponentsIn(t, dir, nil)
	b.pushBusybox()
	b.repository("small", "v1", greetFiles("small"))
	small := b.mustComponent("component", "small", "tag", "v1", "url", b.gitURL("small")).str("digest")
	b.repository("big", "v1", map[string]string{"Dockerfile": "FROM busybox AS make\nRUN head -c 24000000 /dev/urandom >/big\nFROM scratch AS component\nCOPY --from=make /big /big\n"})
	pairs := []string{"component", "big", "tag", "v1", "url", b.gitURL("big")}
	for range 2 { // it is not remembered
		r := b.component(pairs...)
		require.Equal(t, http.StatusInsufficientStorage, r.status, "%s", r.raw)
		require.Equal(t, "STORAGE_FULL", r.str("code"), "%s", r.raw)
		require.Contains(t, r.str("errorMessage"), "too full")
		require.NotContains(t, string(r.raw), dir)
		for _, left := range []string{"tarballs/incoming", "work", "tmp"} {
			eventually(t, "nothing is left below "+left, func() bool { return len(filesBelow(t, filepath.Join(dir, left))) == 0 })
		}
		b.takes(t, small, "component", "small", "tag", "v1", "format", "tar.gz")
	}
	require.NoError(t, syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "size=64m"))
	big := b.mustComponent(pairs...).str("digest")

	// And while another format is derived.
	require.NoError(t, syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "size=32m"))
	r := b.component("component", "big", "tag", "v1", "format", "tar")
	require.Equal(t, "STORAGE_FULL", r.str("code"), "%.200s", r.raw)
	require.Empty(t, filesBelow(t, filepath.Join(dir, "tarballs/incoming")))
	require.NoError(t, syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "size=128m"))
	require.Equal(t, http.StatusOK, b.component("component", "big", "tag", "v1", "format", "tar").status)
	b.takes(t, big, "component", "big", "tag", "v1", "format", "tar.gz")
}

// startComponentsIn is startComponents with a data directory that is there.
func startComponentsIn(t *testing.T, dir string, change func(*config.Config)) *componentBed {
	t.Helper()
	b := &componentBed{git: gitHost(t)}
	b.testServer = startServerIn(t, dir, func(c *config.Config) {
		c.SourceAllow = []string{b.git.Host}
		if change != nil {
			change(c)
		}
	})
	return b
}

// gitHost serves git until the test ends.
func gitHost(t *testing.T) *testbed.GitServer {
	t.Helper()
	git, err := testbed.ServeGit(t.Context(), t.TempDir(), "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, git.Close()) })
	return git
}
