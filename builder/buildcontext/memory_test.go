package buildcontext

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// allocated returns how many bytes f allocates in all, which is more than it ever holds.
func allocated(f func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

// packedZeros streams an archive of size zero bytes through a compressor.
func packedZeros(pack func(io.Writer) io.WriteCloser, size int64) io.Reader {
	r, w := io.Pipe()
	go func() {
		z := pack(w)
		_, err := io.Copy(z, bigArchive(size))
		if err == nil {
			err = z.Close()
		}
		_ = w.CloseWithError(err)
	}()
	return r
}

func gzipPack(w io.Writer) io.WriteCloser {
	z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
	return z
}

func zstdPack(w io.Writer) io.WriteCloser {
	z, _ := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	return z
}

// TestBombs is row B78: what unpacks to far more than it is ends early, and leaves little on the disk.
func TestBombs(t *testing.T) {
	for name, pack := range map[string]func(io.Writer) io.WriteCloser{"gzip": gzipPack, "zstd": zstdPack} {
		t.Run(name, func(t *testing.T) {
			_, err := Scan(t.Context(), packedZeros(pack, 7<<30), DefaultLimits())
			require.Equal(t, model.CodeContextTooLarge, model.CodeOf(err))
			_, err = Scan(t.Context(), packedZeros(pack, 10<<30), DefaultLimits())
			require.Equal(t, model.CodeContextTooLarge, model.CodeOf(err))
			dir := t.TempDir()
			err = Extract(t.Context(), packedZeros(pack, 7<<30), dir, DefaultLimits())
			require.Equal(t, model.CodeContextTooLarge, model.CodeOf(err))
			require.Less(t, diskUse(t, dir), int64(100<<20))
		})
	}
	t.Run("behind the end", func(t *testing.T) {
		limits := DefaultLimits()
		limits.Bytes = 1 << 20
		tail := io.MultiReader(bytes.NewReader(archive(t)), &endless{left: 1 << 40})
		_, err := Scan(t.Context(), tail, limits)
		require.Equal(t, model.CodeContextTooLarge, model.CodeOf(err))
	})
	t.Run("control: small files may shrink a lot", func(t *testing.T) {
		got, err := Scan(t.Context(), packedZeros(gzipPack, 32<<20), DefaultLimits())
		require.NoError(t, err)
		require.Equal(t, int64(32<<20), got.Bytes)
	})
}

func diskUse(t *testing.T, dir string) (total int64) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		at, err := d.Info()
		total += at.Size()
		return err
	}))
	return total
}

// TestManyFiles is row B80.
func TestManyFiles(t *testing.T) {
	r, w := io.Pipe()
	defer func() { _ = r.Close() }()
	go func() {
		a := tar.NewWriter(w)
		var err error
		for i := 0; i < 1_000_000 && err == nil; i++ {
			err = a.WriteHeader(&tar.Header{Name: fmt.Sprintf("%0100d", i), Typeflag: tar.TypeReg, Mode: 0o644})
		}
		_ = w.CloseWithError(err)
	}()
	_, err := Scan(t.Context(), r, DefaultLimits())
	require.Equal(t, model.CodeContextTooManyFiles, model.CodeOf(err))
}

// TestSparseMapMemory is row B81: the map is refused before it is held.
func TestSparseMapMemory(t *testing.T) {
	p := sparseMap(t)
	got := allocated(func() {
		_, err := Scan(t.Context(), bytes.NewReader(p), DefaultLimits())
		require.Equal(t, model.CodeContextMalformed, model.CodeOf(err))
	})
	require.Less(t, got, int64(32<<20))
}

// TestLargeContextMemory: what Scan and Extract allocate does not grow with the archive.
func TestLargeContextMemory(t *testing.T) {
	for name, open := range map[string]func(size int64) io.Reader{
		"plain": bigArchive,
		"gzip":  func(size int64) io.Reader { return packedZeros(gzipPack, size) },
	} {
		t.Run(name, func(t *testing.T) {
			limits := DefaultLimits()
			limits.Ratio = 0
			measure := func(size int64) int64 {
				return allocated(func() {
					got, err := Scan(t.Context(), open(size), limits)
					require.NoError(t, err)
					require.Equal(t, size, got.Bytes)
				})
			}
			require.Less(t, measure(2<<30), measure(64<<20)+4<<20)
		})
	}
	t.Run("extract", func(t *testing.T) {
		dir := t.TempDir()
		got := allocated(func() { require.NoError(t, Extract(t.Context(), bigArchive(256<<20), dir, DefaultLimits())) })
		require.Less(t, got, int64(4<<20))
		at, err := os.Stat(filepath.Join(dir, "big"))
		require.NoError(t, err)
		require.Equal(t, int64(256<<20), at.Size())
	})
}

func BenchmarkScan(b *testing.B) {
	const size = 2 << 30
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Scan(b.Context(), bigArchive(size), DefaultLimits()); err != nil {
			b.Fatal(err)
		}
	}
}
