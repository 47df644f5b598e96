package tarball_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
	"cooper/storage/tarball"
)

// childEnv makes the test binary a program that packs without end in the folder that the variable names.
const childEnv = "TARBALL_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		packForever(dir)
	}
	os.Exit(m.Run())
}

// packForever packs, derives and unpacks, and says so once each is durable.
func packForever(dir string) {
	s, err := tarball.OpenDisk(tarball.DiskConfig{Dir: filepath.Join(dir, "tarballs"), TreesDir: filepath.Join(dir, "trees")})
	out := json.NewEncoder(os.Stdout)
	for err == nil {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		body := make([]byte, rand.IntN(2<<20))
		for i := range body {
			body[i] = byte(rand.Uint32() & 0x3f)
		}
		_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "a", Size: int64(len(body))})
		_, _ = w.Write(body)
		_ = w.Close()
		var tb model.Tarball
		if tb, _, err = s.Pack(context.Background(), &b, commitTime); err != nil {
			break
		}
		_ = out.Encode(tb)
		var d model.Download
		if d, err = s.Open(context.Background(), tb, model.FormatZip, ""); err == nil {
			_ = d.File.Close()
			_, err = s.Tree(context.Background(), tb)
		}
	}
	_, _ = fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// TestKill kills a process that packs, at any moment, and checks that all that it reported is there and whole, and that
// nothing unfinished outlives the next start.
func TestKill(t *testing.T) {
	base := t.TempDir()
	var reported []model.Tarball
	for range 20 {
		lines := runAndKill(t, base, time.Duration(100+rand.IntN(250))*time.Millisecond)
		for _, line := range lines {
			var tb model.Tarball
			require.NoError(t, json.Unmarshal(line, &tb))
			reported = append(reported, tb)
		}
	}
	require.Greater(t, len(reported), 20)
	s := onDisk(t, base, tarball.Settings{})
	require.Empty(t, files(t, s.temps))
	left, err := os.ReadDir(filepath.Join(base, "trees", ".incoming"))
	require.NoError(t, err)
	require.Empty(t, left)
	for _, tb := range reported {
		raw, err := os.ReadFile(filepath.Join(s.dir, keyOf(tb)))
		require.NoError(t, err)
		require.Equal(t, tb.Digest, digestOf(raw))
	}
	// What was finished without being reported is whole, too.
	for _, key := range s.under("") {
		if name := filepath.Base(key); !strings.HasPrefix(key, "used/") {
			raw, err := os.ReadFile(filepath.Join(s.dir, key))
			require.NoError(t, err)
			require.Equal(t, strings.TrimPrefix(name, "zip-"), strings.TrimPrefix(digestOf(raw), "sha256:"), key)
		}
	}
	trees, err := filepath.Glob(filepath.Join(base, "trees", "[0-9a-f]*", "a"))
	require.NoError(t, err)
	dirs, err := filepath.Glob(filepath.Join(base, "trees", "[0-9a-f]*"))
	require.NoError(t, err)
	require.Len(t, trees, len(dirs))
}

// runAndKill returns the whole lines that a child printed in the time that it was given after its first.
func runAndKill(t *testing.T, dir string, after time.Duration) [][]byte {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), childEnv+"="+dir)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	r := bufio.NewReader(out)
	var lines [][]byte
	var timer *time.Timer
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			break
		}
		lines = append(lines, line)
		if timer == nil {
			timer = time.AfterFunc(after, func() { _ = c.Process.Kill() })
		}
	}
	_ = c.Wait()
	require.Empty(t, stderr.String())
	return lines
}

// bigTar gives a tar of n files of a MiB each, half of it random, without holding it.
func bigTar(n int) io.Reader {
	r, w := io.Pipe()
	go func() {
		body := make([]byte, 1<<20)
		random := rand.NewChaCha8([32]byte{3})
		t := tar.NewWriter(w)
		for i := range n {
			_, _ = random.Read(body[:512<<10])
			_ = t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("%06d", i), Size: int64(len(body)), Mode: 0o644})
			if _, err := t.Write(body); err != nil {
				return
			}
		}
		_ = w.CloseWithError(t.Close())
	}()
	return r
}

// heapOf returns the most bytes of heap, above those at its start, that f takes.
func heapOf(f func()) uint64 {
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	var peak atomic.Uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-stop:
				return
			case <-tick.C:
				var now runtime.MemStats
				runtime.ReadMemStats(&now)
				peak.Store(max(peak.Load(), now.HeapInuse))
			}
		}
	}()
	f()
	close(stop)
	<-stopped
	return peak.Load() - min(peak.Load(), before.HeapInuse)
}

// TestMemoryStaysFlat looks at the heap while large tarballs are packed, derived and unpacked.
func TestMemoryStaysFlat(t *testing.T) {
	s := onDisk(t, t.TempDir(), tarball.Settings{})
	require.Less(t, heapOf(func() {
		tb, _, err := s.Pack(t.Context(), bigTar(512), commitTime)
		require.NoError(t, err)
		for _, f := range []model.Format{model.FormatTarZst, model.FormatZip} {
			d, err := s.Open(t.Context(), tb, f, "")
			require.NoError(t, err)
			require.NoError(t, d.File.Close())
		}
		_, err = s.Tree(t.Context(), tb)
		require.NoError(t, err)
	}), uint64(128<<20))
}

// TestMemoryStaysFlatWithManyAtOnce found that each of many who asked for another form had it made at the same time.
func TestMemoryStaysFlatWithManyAtOnce(t *testing.T) {
	s := onDisk(t, t.TempDir(), tarball.Settings{})
	var all []model.Tarball
	for i := range 40 {
		tb, _, err := s.Pack(t.Context(), bigTar(4), commitTime.Add(time.Duration(i)*time.Second))
		require.NoError(t, err)
		all = append(all, tb)
	}
	took := heapOf(func() {
		var made sync.WaitGroup
		for _, tb := range all {
			made.Go(func() {
				d, err := s.Open(t.Context(), tb, model.FormatTarZst, "")
				if err == nil {
					err = d.File.Close()
				}
				if err != nil {
					t.Errorf("%v", err)
				}
			})
			made.Go(func() {
				if _, err := s.Tree(t.Context(), tb); err != nil {
					t.Errorf("%v", err)
				}
			})
		}
		made.Wait()
	})
	t.Logf("%d MiB of heap", took>>20)
	require.Less(t, took, uint64(256<<20))
}

func TestFullDisk(t *testing.T) {
	full := model.Errorf(model.CodeStorageFull, "The disk is full.")
	cases := []struct {
		name string
		disk string
		room func() func() error
	}{
		{"out of space", "8m", func() func() error { return nil }},
		{"no room before", "200m", func() func() error { return func() error { return full } }},
		{"no room on the way", "200m", func() func() error {
			var asked int
			return func() error {
				if asked++; asked > 1 {
					return full
				}
				return nil
			}
		}},
	}
	for _, c := range cases {
		for _, format := range []model.Format{model.FormatTarGz, model.FormatTarZst} {
			t.Run(c.name+" "+string(format), func(t *testing.T) {
				dir := t.TempDir()
				require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+c.disk), "the tests run as root, as `make test` does")
				t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
				s := onDisk(t, dir, tarball.Settings{Compression: format, Room: c.room()})
				_, _, err := s.Pack(t.Context(), bigTar(100), commitTime)
				require.Equal(t, model.CodeStorageFull, model.CodeOf(err), "%v", err)
				require.NotContains(t, model.AsError(err).Message, dir)
				require.Empty(t, s.keys())
				// A compressor whose disk was full leaves nothing running.
				require.Eventually(t, func() bool {
					stacks := make([]byte, 1<<20)
					return !bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("klauspost"))
				}, 10*time.Second, 10*time.Millisecond)
			})
		}
	}
}

// TestFullDiskOnTheWay has room for the tarball and for nothing made of it.
func TestFullDiskOnTheWay(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"), "the tests run as root, as `make test` does")
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	s := onDisk(t, dir, tarball.Settings{})
	tb := pack(t, s, tarOf(t, file("a", strings.Repeat("zero", 4<<20)), link(tar.TypeLink, "b", "a")))
	for _, f := range []model.Format{model.FormatTar, model.FormatZip} {
		_, err := s.Open(t.Context(), tb, f, "")
		require.Equal(t, model.CodeStorageFull, model.CodeOf(err), "%s: %v", f, err)
	}
	_, err := s.Tree(t.Context(), tb)
	require.Equal(t, model.CodeStorageFull, model.CodeOf(err))
	require.Empty(t, s.under("derived/"))
	require.Empty(t, s.under("incoming/"))
	require.Empty(t, files(t, filepath.Join(dir, "trees")))
	s.fetch(t, tb, tb.Format)
}
