package tarball_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
	"cooper/storage/tarball"
)

func TestTheSameTarTwice(t *testing.T) {
	onEachKind(t, tarball.Settings{}, func(t *testing.T, s *site) {
		raw := sample(t)
		first, err := s.Keep(t.Context(), iotest.HalfReader(bytes.NewReader(raw)), commitTime)
		require.NoError(t, err)
		require.Equal(t, 10, first.Entries)
		second := pack(t, s, raw)
		require.Equal(t, first.Tarball, second)
		require.Len(t, s.under("sha256/"), 1)
		require.Empty(t, files(t, s.temps))

		has, err := s.Has(t.Context(), second)
		require.NoError(t, err)
		require.True(t, has)
		b := s.fetch(t, second, second.Format)
		require.Equal(t, second.Size, int64(len(b)))
		require.Equal(t, second.Digest, digestOf(b))
		require.Equal(t, second.DiffID, digestOf(s.fetch(t, second, model.FormatTar)))

		r, err := s.Blob(t.Context(), second)
		require.NoError(t, err)
		whole, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		require.True(t, bytes.Equal(b, whole))

		s.Store = s.reopen() // another process has the same
		require.True(t, bytes.Equal(b, s.fetch(t, second, second.Format)))
		require.Equal(t, second, pack(t, s, raw))
	})
}

func TestRanges(t *testing.T) {
	onEachKind(t, tarball.Settings{}, func(t *testing.T, s *site) {
		tb := pack(t, s, sample(t))
		whole := s.fetch(t, tb, tb.Format)
		for _, r := range [][2]int64{{0, 1}, {0, tb.Size}, {1000, 70_000}, {tb.Size - 1, tb.Size}} {
			d, err := s.Open(t.Context(), tb, tb.Format, "")
			require.NoError(t, err)
			require.True(t, bytes.Equal(whole[r[0]:r[1]], get(t, d, r[0], r[1])), "%v", r)
		}
	})
}

func TestAThousandAtOnceKeepOne(t *testing.T) {
	onEachKind(t, tarball.Settings{}, func(t *testing.T, s *site) {
		raw := tarOf(t, file("a", "the same"), file("b", "for all"))
		want := pack(t, s, raw)
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				got, _, err := s.Pack(context.WithoutCancel(t.Context()), bytes.NewReader(raw), commitTime)
				if err != nil || got != want {
					t.Errorf("got %v, %v", got, err)
				}
			})
		}
		wg.Wait()
		require.Len(t, s.under("sha256/"), 1)
		require.Empty(t, files(t, s.temps))
		s.fetch(t, want, want.Format)
	})
}

func TestUnknownTarballs(t *testing.T) {
	onEachKind(t, tarball.Settings{}, func(t *testing.T, s *site) {
		for _, digest := range []string{"sha256:" + strings.Repeat("0", 64), "", "sha256:../../etc/passwd", "md5:00", "sha256:" + strings.Repeat("A", 64)} {
			tb := model.Tarball{Digest: digest, Size: 1, Format: model.FormatTarGz, DiffID: digest}
			has, _ := s.Has(t.Context(), tb)
			require.False(t, has)
			for _, f := range []model.Format{model.FormatTarGz, model.FormatZip, model.FormatTar} {
				_, err := s.Open(t.Context(), tb, f, "")
				require.Equal(t, model.CodeNotFound, model.CodeOf(err), "%q %s: %v", digest, f, err)
			}
			_, err := s.Tree(t.Context(), tb)
			require.Contains(t, []model.Code{model.CodeNotFound, model.CodePathNotAvailable}, model.CodeOf(err))
			_, ok := s.Path(tb)
			require.False(t, ok)
		}
	})
}

// TestCorruption changes the bytes behind the store's back, before and after it has read them.
func TestCorruption(t *testing.T) {
	damage := map[string]func([]byte) []byte{
		"flip":     func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"truncate": func(b []byte) []byte { return b[:len(b)/2] },
		"delete":   func([]byte) []byte { return nil },
	}
	for name, f := range damage {
		for _, when := range []string{"just packed", "read before", "opened anew"} {
			t.Run(name+" "+when, func(t *testing.T) {
				onEachKind(t, tarball.Settings{}, func(t *testing.T, s *site) {
					raw := sample(t)
					tb := pack(t, s, raw)
					switch when {
					case "read before":
						s.fetch(t, tb, tb.Format)
					case "opened anew":
						s.Store = s.reopen()
					}
					s.rewrite(keyOf(tb), f)
					want := model.CodeArtifactCorrupt
					if name == "delete" {
						want = model.CodeNotFound
					}
					_, err := s.Open(t.Context(), tb, tb.Format, "")
					require.Equal(t, want, model.CodeOf(err))
					has, err := s.Has(t.Context(), tb)
					require.NoError(t, err)
					require.False(t, has)
					for _, format := range []model.Format{tb.Format, model.FormatZip} {
						_, err = s.Open(t.Context(), tb, format, "")
						require.Equal(t, model.CodeNotFound, model.CodeOf(err), "it is in quarantine")
					}
					if name != "delete" {
						require.Len(t, s.under("quarantine/"), 1)
					}
					require.Equal(t, tb, pack(t, s, raw), "built again, it is there again")
					s.fetch(t, tb, tb.Format)
				})
			})
		}
	}
}

// TestPackingMendsWhatIsCorrupt packs the same again where nobody has noticed yet.
func TestPackingMendsWhatIsCorrupt(t *testing.T) {
	onEachKind(t, tarball.Settings{}, func(t *testing.T, s *site) {
		raw := sample(t)
		tb := pack(t, s, raw)
		s.rewrite(keyOf(tb), func(b []byte) []byte { b[100] ^= 1; return b })
		require.Equal(t, tb, pack(t, s, raw))
		s.fetch(t, tb, tb.Format)
	})
}

func TestNothingIsLeftOfAFailedPack(t *testing.T) {
	reset := errors.New("connection reset")
	raw := sample(t)
	cases := []struct {
		name string
		in   func(cancel func()) io.Reader
		want error
	}{
		{"source fails", func(func()) io.Reader { return io.MultiReader(bytes.NewReader(raw[:2<<20]), iotest.ErrReader(reset)) }, reset},
		{"source fails after the last entry", func(func()) io.Reader {
			return io.MultiReader(bytes.NewReader(raw[:len(raw)-1024]), iotest.ErrReader(reset))
		}, reset},
		{"cut in an entry", func(func()) io.Reader { return bytes.NewReader(raw[:2<<20]) }, io.ErrUnexpectedEOF},
		{"cut between entries", func(func()) io.Reader { return bytes.NewReader(raw[:len(raw)-1024]) }, io.ErrUnexpectedEOF},
		{"nothing came", func(func()) io.Reader { return bytes.NewReader(nil) }, io.ErrUnexpectedEOF},
		{"canceled", func(cancel func()) io.Reader {
			return io.MultiReader(bytes.NewReader(raw[:2<<20]), readerFunc(func([]byte) (int, error) { cancel(); return 0, nil }), bytes.NewReader(raw[2<<20:]))
		}, context.Canceled},
	}
	onEachKind(t, tarball.Settings{}, func(t *testing.T, s *site) {
		for _, c := range cases {
			ctx, cancel := context.WithCancel(t.Context())
			_, _, err := s.Pack(ctx, c.in(cancel), commitTime)
			cancel()
			require.ErrorIs(t, err, c.want, c.name)
			require.Empty(t, s.keys(), c.name)
			require.Empty(t, files(t, s.temps), c.name)
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func TestOpeningRemovesWhatACrashLeft(t *testing.T) {
	onEachKind(t, tarball.Settings{}, func(t *testing.T, s *site) {
		tb := pack(t, s, sample(t))
		require.NoError(t, os.WriteFile(filepath.Join(s.temps, "pack-1"), []byte("half"), 0o600))
		s.Store = s.reopen()
		require.Empty(t, files(t, s.temps))
		s.fetch(t, tb, tb.Format)
	})
}

func TestCollect(t *testing.T) {
	settings := tarball.Settings{Grace: time.Hour, DerivedAge: time.Hour, TreeAge: time.Hour}
	onEachKind(t, settings, func(t *testing.T, s *site) {
		pack(t, s, tarOf(t, file("young", "y")))
		named := pack(t, s, tarOf(t, file("named", "n")))
		s.fetch(t, named, model.FormatZip)
		names := func(_ context.Context, digest string) (bool, error) { return digest == named.Digest, nil }
		require.NoError(t, s.Collect(t.Context(), names))
		require.Len(t, s.under("sha256/"), 2)
		require.Len(t, s.under("derived/"), 1)
	})
	onEachKind(t, tarball.Settings{Grace: time.Nanosecond, DerivedAge: time.Nanosecond}, func(t *testing.T, s *site) {
		old, named := pack(t, s, tarOf(t, file("old", "o"))), pack(t, s, tarOf(t, file("named", "n")))
		s.fetch(t, named, model.FormatZip)
		d, err := s.Open(t.Context(), named, model.FormatTar, "")
		require.NoError(t, err)
		asked := errors.New("the database does not answer")
		err = s.Collect(t.Context(), func(context.Context, string) (bool, error) { return false, asked })
		require.ErrorIs(t, err, asked)
		require.Len(t, s.under("sha256/"), 2, "what nobody can tell is kept")

		names := func(_ context.Context, digest string) (bool, error) { return digest == named.Digest, nil }
		require.NoError(t, s.Collect(t.Context(), names))
		require.Equal(t, []string{keyOf(named)}, s.under("sha256/"))
		require.Empty(t, s.under("derived/"))
		if d.File != nil {
			require.Equal(t, d.Digest, digestOf(get(t, d, 0, d.Size)), "who reads goes on reading")
		}
		_, err = s.Open(t.Context(), old, old.Format, "")
		require.Equal(t, model.CodeNotFound, model.CodeOf(err))
		s.fetch(t, named, model.FormatZip)
		s.fetch(t, named, named.Format)
	})
}

func TestDerivedFormatsKeepToTheirRoom(t *testing.T) {
	onEachKind(t, tarball.Settings{DerivedMax: 3000}, func(t *testing.T, s *site) {
		var all []model.Tarball
		for i := range 3 {
			tb := pack(t, s, tarOf(t, file("a", strings.Repeat(string(rune('a'+i)), 500))))
			s.fetch(t, tb, model.FormatTar) // 2,048 bytes each
			all = append(all, tb)
		}
		require.NoError(t, s.Collect(t.Context(), func(context.Context, string) (bool, error) { return true, nil }))
		require.Len(t, s.under("derived/"), 1)
		require.Contains(t, s.under("derived/")[0], strings.TrimPrefix(all[2].Digest, "sha256:"), "the one asked for last stays")
	})
}
