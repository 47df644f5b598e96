package tarball_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
	"cooper/storage/tarball"
)

// list describes the entries of a tar, in order.
func list(t *testing.T, raw []byte) []string {
	t.Helper()
	var all []string
	for r := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := r.Next()
		if err == io.EOF { //nolint:errorlint // as the library documents it
			return all
		}
		require.NoError(t, err)
		require.Equal(t, commitTime, h.ModTime.UTC(), h.Name)
		require.Empty(t, []string{h.Uname, h.Gname}[h.Uid+h.Gid], "owner of %s", h.Name)
		body, err := io.ReadAll(r)
		require.NoError(t, err)
		xattrs := slices.DeleteFunc(keysOf(h.PAXRecords), func(k string) bool { return !strings.Contains(k, "xattr") })
		all = append(all, strings.TrimSpace(fmt.Sprintf("%c %o %s %s %s %s", h.Typeflag, h.Mode, h.Name, h.Linkname, body, strings.Join(xattrs, ","))))
	}
}

func keysOf(m map[string]string) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	return all
}

func TestCanonicalForm(t *testing.T) {
	setuid := file("./a", "A")
	setuid.Mode, setuid.Devmajor = 0o104755, 7
	caps := file("caps", "c")
	caps.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "\x01\x00", "SCHILY.xattr.user.note": "n", "VENDOR.x": "y"}
	device := entry{Header: tar.Header{Typeflag: tar.TypeChar, Name: "dev/null", Mode: 0o666, Devmajor: 1, Devminor: 3}}
	cases := []struct {
		name    string
		in      []entry
		want    []string
		skipped int
	}{
		{"owners, times, roots", []entry{folder("./"), setuid, file("/b", "B")}, []string{"0 4755 a  A", "0 644 b  B"}, 0},
		{
			"a walk's order is kept",
			[]entry{folder("a"), file("a/b", "1"), file("a.txt", "2"), file("b", "3")},
			[]string{"5 755 a/", "0 644 a/b  1", "0 644 a.txt  2", "0 644 b  3"},
			0,
		},
		{
			"any other order becomes it",
			[]entry{file("b", "3"), file("a.txt", "2"), file("a/b", "1"), folder("a")},
			[]string{"5 755 a/", "0 644 a/b  1", "0 644 a.txt  2", "0 644 b  3"},
			0,
		},
		{"the last of a name counts", []entry{file("a", "old"), file("b", "B"), file("a", "new")}, []string{"0 644 a  new", "0 644 b  B"}, 0},
		{
			"links",
			[]entry{file("a", "A"), link(tar.TypeLink, "b", "./a"), link(tar.TypeSymlink, "c", "../../x")},
			[]string{"0 644 a  A", "1 644 b a", "2 777 c ../../x"},
			0,
		},
		{
			"a hard link that sorts before its file",
			[]entry{file("z", "Z"), link(tar.TypeLink, "a", "z"), link(tar.TypeLink, "m", "a")},
			[]string{"0 644 a  Z", "1 644 m a", "1 644 z a"},
			0,
		},
		{"capabilities", []entry{caps}, []string{"0 644 caps  c SCHILY.xattr.security.capability"}, 0},
		{
			"devices and pipes are left out",
			[]entry{
				folder("dev"), device, link(tar.TypeLink, "dev/null2", "dev/null"),
				{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "dev/pipe"}},
				file("x", ""),
			},
			[]string{"5 755 dev/", "0 644 x"},
			3,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := onDisk(t, t.TempDir(), tarball.Settings{})
			k, err := s.Keep(t.Context(), bytes.NewReader(tarOf(t, c.in...)), commitTime.Add(999*time.Millisecond))
			require.NoError(t, err)
			require.Equal(t, c.want, list(t, s.fetch(t, k.Tarball, model.FormatTar)))
			require.Equal(t, c.skipped, k.Skipped)
			require.Equal(t, len(c.want), k.Entries)
			require.Equal(t, k.Tarball, pack(t, s, s.fetch(t, k.Tarball, model.FormatTar)), "a canonical tar stays as it is")
		})
	}
}

func TestRefusedTars(t *testing.T) {
	cases := []struct {
		name string
		in   []byte
		want model.Code
	}{
		{"nothing in it", tarOf(t), model.CodeComponentEmpty},
		{"only the root", tarOf(t, folder("./")), model.CodeComponentEmpty},
		{"only a device", tarOf(t, entry{Header: tar.Header{Typeflag: tar.TypeBlock, Name: "sda"}}), model.CodeComponentEmpty},
		{"a path that leads out", tarOf(t, file("a/../../etc/passwd", "x")), model.CodeComponentEntryType},
		{"a hard link that leads out", tarOf(t, link(tar.TypeLink, "a", "../etc/passwd")), model.CodeComponentEntryType},
		{"a hard link to nothing", tarOf(t, file("a", "x"), link(tar.TypeLink, "b", "c")), model.CodeComponentEntryType},
		{"a hard link to nothing, unsorted", tarOf(t, file("b", "x"), link(tar.TypeLink, "a", "c")), model.CodeComponentEntryType},
		{"a file below a link", tarOf(t, link(tar.TypeSymlink, "a", "/etc"), file("a/passwd", "x")), model.CodeComponentEntryType},
		{"a file below a link, unsorted", tarOf(t, file("a/passwd", "x"), link(tar.TypeSymlink, "a", "/etc")), model.CodeComponentEntryType},
		{"an unknown kind", tarOf(t, entry{Header: tar.Header{Typeflag: 'Z', Name: "a"}}), model.CodeComponentEntryType},
		{"too large", tarOf(t, file("a", strings.Repeat("x", 2<<20))), model.CodeComponentTooLarge},
		{"too large, unsorted", tarOf(t, file("b", "x"), file("a", strings.Repeat("x", 2<<20))), model.CodeComponentTooLarge},
		{"no tar", bytes.Repeat([]byte("no tar "), 1000), model.CodeBuildFailed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := onDisk(t, t.TempDir(), tarball.Settings{MaxSize: 1 << 20})
			_, _, err := s.Pack(t.Context(), bytes.NewReader(c.in), commitTime)
			require.Equal(t, c.want, model.CodeOf(err), "%v", err)
			require.NotContains(t, model.AsError(err).Message, s.dir)
			require.Empty(t, s.keys())
		})
	}
}

// TestTheSameBytesOnAnyMachine packs with one core and with several.
func TestTheSameBytesOnAnyMachine(t *testing.T) {
	var entries []entry
	random := rand.NewChaCha8([32]byte{1})
	for i := range 400 {
		b := make([]byte, 50_000)
		_, _ = random.Read(b[:random.Uint64()%50_000])
		entries = append(entries, file(fmt.Sprintf("%03d", i), string(b)+strings.Repeat(fmt.Sprint("line of text ", i), 2000)))
	}
	raw := tarOf(t, entries...)
	backwards := slices.Clone(entries)
	slices.Reverse(backwards)
	for _, format := range []model.Format{model.FormatTarGz, model.FormatTarZst} {
		t.Run(string(format), func(t *testing.T) {
			before := runtime.GOMAXPROCS(0)
			defer runtime.GOMAXPROCS(before)
			var want model.Tarball
			for i, cores := range []int{1, 2, 8, 1, 2, 3} {
				runtime.GOMAXPROCS(cores)
				s := onDisk(t, t.TempDir(), tarball.Settings{Compression: format})
				got := pack(t, s, raw)
				if i == 0 {
					want = got
				}
				require.Equal(t, want, got, "%d cores", cores)
				if i == 3 {
					require.Equal(t, want, pack(t, s, tarOf(t, backwards...)), "of any order")
				}
			}
		})
	}
}

func TestGzipHeaderSaysNothing(t *testing.T) {
	s := onDisk(t, t.TempDir(), tarball.Settings{})
	tb := pack(t, s, sample(t))
	b := s.fetch(t, tb, model.FormatTarGz)
	require.Equal(t, []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}, b[:10])
	z, err := gzip.NewReader(bytes.NewReader(b))
	require.NoError(t, err)
	plain, err := io.ReadAll(z)
	require.NoError(t, err)
	require.Equal(t, tb.DiffID, digestOf(plain))
}
