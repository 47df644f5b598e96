package tarball_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
	"cooper/storage/tarball"
)

// unzip unpacks a zip with the modes and links that it has.
const unzip = `
import os, stat, sys, zipfile
z = zipfile.ZipFile("c.zip")
assert z.testzip() is None
for i in z.infolist():
    mode = i.external_attr >> 16
    if stat.S_ISLNK(mode):
        os.symlink(z.read(i).decode(), i.filename)
    else:
        z.extract(i)
        os.chmod(i.filename, stat.S_IMODE(mode))
    assert i.date_time == (2024, 5, 6, 7, 8, 9 // 2 * 2), i.date_time
`

// TestDerivedFormatsWithRealPrograms unpacks every format with the program that people use for it, and looks for the
// same files.
func TestDerivedFormatsWithRealPrograms(t *testing.T) {
	programs := map[model.Format][]string{
		model.FormatTarGz:  {"tar", "-xzpf"},
		model.FormatTarZst: {"tar", "--zstd", "-xpf"},
		model.FormatTar:    {"tar", "-xpf"},
		model.FormatZip:    {"python3", "-c", unzip},
	}
	onEachKind(t, tarball.Settings{}, func(t *testing.T, s *site) {
		want := t.TempDir()
		raw := filepath.Join(t.TempDir(), "raw.tar")
		require.NoError(t, os.WriteFile(raw, sample(t), 0o600))
		run(t, want, "tar", "-xpf", raw)
		tb := pack(t, s, sample(t))
		for f, program := range programs {
			dir := t.TempDir()
			name := "c." + string(f)
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), s.fetch(t, tb, f), 0o600))
			if f == model.FormatZip {
				run(t, dir, "unzip", "-tq", name)
			}
			run(t, dir, program[0], append(program[1:], name)...)
			require.NoError(t, os.Remove(filepath.Join(dir, name)))
			require.Empty(t, run(t, dir, "diff", "-r", "--no-dereference", want, dir), f)
			modes := []string{"-c", "find . -mindepth 1 ! -type l -printf '%m %y %p %l\n' | sort"}
			require.Equal(t, run(t, want, "sh", modes...), run(t, dir, "sh", modes...), f)
		}
		require.Len(t, s.under("derived/"), 3)
		require.Empty(t, files(t, s.temps))

		first := s.under("derived/")
		s.Store = s.reopen()
		for f := range programs {
			s.fetch(t, tb, f)
		}
		require.Equal(t, first, s.under("derived/"), "derived once")
	})
}

func TestManyDeriveOnce(t *testing.T) {
	onEachKind(t, tarball.Settings{}, func(t *testing.T, s *site) {
		tb := pack(t, s, sample(t))
		var wg sync.WaitGroup
		for range 20 {
			for _, f := range []model.Format{model.FormatZip, model.FormatTar} {
				wg.Go(func() {
					d, err := s.Open(t.Context(), tb, f, "")
					if err != nil {
						t.Errorf("%s: %v", f, err)
						return
					}
					if d.File != nil {
						_ = d.File.Close()
					}
				})
			}
		}
		wg.Wait()
		require.Len(t, s.under("derived/"), 2)
	})
}

func TestADamagedDerivedFormIsDerivedAgain(t *testing.T) {
	onEachKind(t, tarball.Settings{}, func(t *testing.T, s *site) {
		tb := pack(t, s, sample(t))
		for _, f := range []model.Format{model.FormatZip, model.FormatTar} {
			want := s.fetch(t, tb, f)
			for _, k := range s.under("derived/") {
				s.rewrite(k, func(b []byte) []byte { b[len(b)/3] ^= 1; return b })
			}
			require.True(t, bytes.Equal(want, s.fetch(t, tb, f)))
		}
	})
}

// TestARecordThatDoesNotFitTheBytes asks with another digest of the tar inside.
func TestARecordThatDoesNotFitTheBytes(t *testing.T) {
	s := onDisk(t, t.TempDir(), tarball.Settings{})
	tb := pack(t, s, sample(t))
	tb.DiffID = "sha256:" + strings.Repeat("0", 64)
	_, err := s.Open(t.Context(), tb, model.FormatTar, "")
	require.ErrorContains(t, err, "as recorded")
	require.Empty(t, s.under("derived/"))
	require.Empty(t, files(t, s.temps))
}

func TestFormats(t *testing.T) {
	s := onDisk(t, t.TempDir(), tarball.Settings{})
	_, err := s.Open(t.Context(), pack(t, s, sample(t)), "rar", "")
	require.Error(t, err)
	_, err = tarball.OpenDisk(tarball.DiskConfig{Dir: t.TempDir(), TreesDir: t.TempDir(), Settings: tarball.Settings{Compression: model.FormatZip}})
	require.Error(t, err)
	for _, u := range []string{"", "file:///tmp", "s3://", "gs://bucket", "://"} {
		_, err = tarball.OpenS3(t.Context(), tarball.S3Config{URL: u, TempDir: t.TempDir()})
		require.Error(t, err, u)
	}
}

func TestLink(t *testing.T) {
	s := onDisk(t, t.TempDir(), tarball.Settings{})
	tb := pack(t, s, sample(t))
	path, ok := s.Path(tb)
	require.True(t, ok)
	to := filepath.Join(s.dir, "linked")
	ok, err := s.Link(t.Context(), tb, to)
	require.NoError(t, err)
	require.True(t, ok)
	a, err := os.Stat(path)
	require.NoError(t, err)
	b, err := os.Stat(to)
	require.NoError(t, err)
	require.True(t, os.SameFile(a, b))
	require.Equal(t, os.FileMode(0o400), a.Mode())
	require.True(t, s.Same(tb, to))
	require.False(t, s.Same(tb, to+"2"))
	require.NoError(t, os.WriteFile(to+"4", s.fetch(t, tb, tb.Format), 0o600))
	require.False(t, s.Same(tb, to+"4"), "a copy")
	require.False(t, s.Same(model.Tarball{Digest: "sha256:../../x"}, to))
	_, err = s.Link(t.Context(), tb, to)
	require.ErrorIs(t, err, os.ErrExist)
	s.fetch(t, tb, tb.Format)

	s.rewrite(keyOf(tb), func(b []byte) []byte { b[9] ^= 1; return b })
	_, err = s.Link(t.Context(), tb, to+"2")
	require.Equal(t, model.CodeArtifactCorrupt, model.CodeOf(err))
	require.NoFileExists(t, to+"2")

	s3 := onS3(t, tarball.Settings{})
	tb = pack(t, s3, sample(t))
	_, ok = s3.Path(tb)
	require.False(t, ok)
	ok, err = s3.Link(t.Context(), tb, to+"3")
	require.NoError(t, err)
	require.False(t, ok)
	require.False(t, s3.Same(tb, to))
}
