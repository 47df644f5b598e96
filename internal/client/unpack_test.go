package client

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

var commitTime = time.Date(2024, 2, 29, 12, 30, 0, 0, time.UTC)

// tarOf makes a tar; the texts are those of the files among the entries, in order.
func tarOf(t *testing.T, entries []tar.Header, texts ...string) []byte {
	t.Helper()
	var raw bytes.Buffer
	w := tar.NewWriter(&raw)
	for _, h := range entries {
		text := ""
		if h.Typeflag == tar.TypeReg && len(texts) > 0 {
			text, texts = texts[0], texts[1:]
		}
		h.Size = int64(len(text))
		if h.ModTime.IsZero() {
			h.ModTime = commitTime
		}
		require.NoError(t, w.WriteHeader(&h))
		_, err := io.WriteString(w, text)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return raw.Bytes()
}

func compressed(t *testing.T, raw []byte, format string) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch format {
	case "tar":
		return raw
	case "tar.gz":
		w = gzip.NewWriter(&out)
	case "tar.zst":
		z, err := zstd.NewWriter(&out)
		require.NoError(t, err)
		w = z
	}
	_, err := w.Write(raw)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

func unpackInto(t *testing.T, dir string, force bool, raw []byte, format string) error {
	t.Helper()
	f, err := OpenFolder(dir, force)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Unpack(t.Context(), bytes.NewReader(raw), format)
}

// found lists what is below dir: texts of files, targets of links, nothing of folders.
func found(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		switch {
		case e.IsDir():
			all[name+"/"] = ""
		case e.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			all[name] = "->" + target
			return err
		default:
			raw, err := os.ReadFile(path)
			all[name] = string(raw)
			return err
		}
		return nil
	}))
	return all
}

func TestUnpack(t *testing.T) {
	raw := tarOf(t, []tar.Header{
		{Typeflag: tar.TypeDir, Name: "./", Mode: 0o700},
		{Typeflag: tar.TypeDir, Name: "./bin/", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: "./bin/tool", Mode: 0o4755},
		{Typeflag: tar.TypeLink, Name: "./bin/also", Linkname: "./bin/tool", Mode: 0o4755},
		{Typeflag: tar.TypeSymlink, Name: "./bin/link", Linkname: "tool", Mode: 0o777},
		{Typeflag: tar.TypeSymlink, Name: "./bin/out", Linkname: "/etc/passwd", Mode: 0o777},
		{Typeflag: tar.TypeDir, Name: "./closed/", Mode: 0o2555},
		{Typeflag: tar.TypeReg, Name: "./closed/file", Mode: 0o444},
		{Typeflag: tar.TypeReg, Name: "no/folder/named", Mode: 0o600},
		{Typeflag: tar.TypeReg, Name: ".cooper/zlib.hcl", Mode: 0o644},
		{Typeflag: tar.TypeReg, Name: "日本 \x07", Mode: 0o644},
	}, "tool", "text", "named", "hcl", "")
	for _, format := range []string{"tar", "tar.gz", "tar.zst"} {
		t.Run(format, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new", "folder")
			require.NoError(t, unpackInto(t, dir, false, compressed(t, raw, format), format))
			t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "closed"), 0o700) })
			require.Equal(t, map[string]string{
				"bin/": "", "bin/tool": "tool", "bin/also": "tool", "bin/link": "->tool", "bin/out": "->/etc/passwd", "closed/": "", "closed/file": "text",
				"no/": "", "no/folder/": "", "no/folder/named": "named", ".cooper/": "", ".cooper/zlib.hcl": "hcl", "日本 \x07": "",
			}, found(t, dir))
			for name, mode := range map[string]fs.FileMode{
				"bin/tool": 0o755, "bin/also": 0o755, "closed": fs.ModeDir | 0o555, "closed/file": 0o444, "no/folder/named": 0o600, "bin": fs.ModeDir | 0o755,
				"no/folder": fs.ModeDir | 0o755,
			} {
				info, err := os.Lstat(filepath.Join(dir, name))
				require.NoError(t, err)
				require.Equal(t, mode, info.Mode(), name)
				if name != "no/folder" {
					require.True(t, commitTime.Equal(info.ModTime()), "%s: %s", name, info.ModTime())
				}
			}
			one, err := os.Stat(filepath.Join(dir, "bin/tool"))
			require.NoError(t, err)
			other, err := os.Stat(filepath.Join(dir, "bin/also"))
			require.NoError(t, err)
			require.True(t, os.SameFile(one, other), "a hard link is one")
		})
	}
}

// Nothing gets out of the folder, and nothing of a bad tarball is in it.
func TestTarballsThatAreRefused(t *testing.T) {
	link := func(name, target string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}
	}
	hard := func(name, target string) tar.Header {
		return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}
	}
	file := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644} }
	outside := t.TempDir()
	for _, test := range []struct {
		name    string
		entries []tar.Header
		says    string
	}{
		{"up", []tar.Header{file("../evil")}, "leave the folder"},
		{"up from within", []tar.Header{file("a/../../evil")}, "leave the folder"},
		{"up and down again", []tar.Header{file("a/../evil")}, "leave the folder"},
		{"absolute", []tar.Header{file(filepath.Join(outside, "evil"))}, "leave the folder"},
		{"a folder up", []tar.Header{{Typeflag: tar.TypeDir, Name: "../evil/"}}, "leave the folder"},
		{"a link up", []tar.Header{link("../evil", "x")}, "leave the folder"},
		{"through an absolute link", []tar.Header{link("a", outside), file("a/evil")}, `"a/evil"`},
		{"through a relative link", []tar.Header{link("a", ".."), file("a/evil")}, `"a/evil"`},
		{"through two links", []tar.Header{link("a", "b"), link("b", outside), file("a/evil")}, `"a/evil"`},
		{"through a link that stays inside", []tar.Header{{Typeflag: tar.TypeDir, Name: "d"}, link("a", "d"), file("a/evil")}, `"a/evil"`},
		{"into what a link names", []tar.Header{link("a", filepath.Join(outside, "evil")), file("a")}, `"a"`},
		{"a folder over a link", []tar.Header{link("a", outside), {Typeflag: tar.TypeDir, Name: "a", Mode: 0o777}, file("a/evil")}, `"a"`},
		{"a hard link up", []tar.Header{hard("a", "../../../etc/passwd")}, "leave the folder"},
		{"a hard link to an absolute path", []tar.Header{hard("a", "/etc/passwd")}, "leave the folder"},
		{"a hard link through a link", []tar.Header{link("l", "/etc"), hard("a", "l/passwd")}, `"a"`},
		{"a hard link to a link", []tar.Header{link("l", "/etc/passwd"), hard("a", "l")}, "is no file"},
		{"a hard link to nothing", []tar.Header{hard("a", "b")}, `"a"`},
		{"a link to nothing", []tar.Header{link("a", "")}, "link to nothing"},
		{"a file twice", []tar.Header{file("a"), file("a")}, "exists"},
		{"a file as a folder", []tar.Header{file("a"), file("a/b")}, `"a/b"`},
		{"the root as a file", []tar.Header{file("./.")}, "root is no folder"},
		{"our own name", []tar.Header{file(".cooper-unpacking/a")}, "Cooper itself"},
		{"our own part", []tar.Header{file("./.cooper-0123456789abcdef.tar.gz.part")}, "Cooper itself"},
		{"a device", []tar.Header{{Typeflag: tar.TypeBlock, Name: "sda", Devmajor: 8}}, "neither a file nor"},
		{"a character device", []tar.Header{{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}}, "neither a file nor"},
		{"a pipe", []tar.Header{{Typeflag: tar.TypeFifo, Name: "p"}}, "neither a file nor"},
	} {
		t.Run(test.name, func(t *testing.T) {
			around := t.TempDir()
			dir := filepath.Join(around, "dir")
			require.NoError(t, os.Mkdir(dir, 0o755))
			entries := append([]tar.Header{file("before")}, test.entries...)
			err := unpackInto(t, dir, false, tarOf(t, entries), "tar")
			require.ErrorContains(t, err, test.says)
			require.ErrorContains(t, err, "unpack: ")
			require.Equal(t, map[string]string{"dir/": ""}, found(t, around))
			require.Empty(t, found(t, outside))
		})
	}
}

func TestTarballsThatAreBroken(t *testing.T) {
	whole := tarOf(t, []tar.Header{{Typeflag: tar.TypeReg, Name: "file", Mode: 0o644}}, string(make([]byte, 100_000)))
	for _, format := range []string{"tar", "tar.gz", "tar.zst"} {
		raw := compressed(t, whole, format)
		for name, broken := range map[string][]byte{"cut": raw[:len(raw)/2], "empty": nil, "a page": []byte("<html><body>Not the tarball</body></html>")} {
			dir := t.TempDir()
			require.Error(t, unpackInto(t, dir, false, broken, format), "%s %s", format, name)
			require.Empty(t, found(t, dir), "%s %s", format, name)
		}
	}
	require.ErrorContains(t, unpackInto(t, t.TempDir(), false, whole, "zip"), "zip cannot be unpacked")
	flipped := compressed(t, whole, "tar.gz")
	flipped[len(flipped)-6] ^= 1
	require.ErrorIs(t, unpackInto(t, t.TempDir(), false, flipped, "tar.gz"), gzip.ErrChecksum, "the end is read, too")
}

func TestAnUnpackThatIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	raw := tarOf(t, []tar.Header{{Typeflag: tar.TypeReg, Name: "file", Mode: 0o644}}, string(make([]byte, 1<<20)))
	dir := t.TempDir()
	f, err := OpenFolder(dir, false)
	require.NoError(t, err)
	defer f.Close()
	stop := errors.New("interrupted")
	err = f.Unpack(ctx, io.MultiReader(bytes.NewReader(raw[:100_000]), readerFunc(func(b []byte) (int, error) {
		cancel(stop)
		return copy(b, make([]byte, 10)), nil
	})), "tar")
	require.ErrorIs(t, err, stop)
	require.Empty(t, found(t, dir))
}

type readerFunc func(b []byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func TestFolders(t *testing.T) {
	dir := tree(t, map[string]string{"file": "mine"})
	_, err := OpenFolder(dir, false)
	require.ErrorContains(t, err, "not empty")
	require.Equal(t, map[string]string{"file": "mine"}, found(t, dir))
	_, err = OpenFolder(filepath.Join(dir, "file"), false)
	require.Error(t, err)

	made := filepath.Join(t.TempDir(), "made")
	f, err := OpenFolder(made, false)
	require.NoError(t, err)
	_, err = OpenFolder(made, true)
	require.ErrorContains(t, err, "another cooper is at work")
	require.DirExists(t, made)
	f.Close()
	require.NoDirExists(t, made, "nothing came into it")
	f, err = OpenFolder(dir, true)
	require.NoError(t, err)
	f.Close()
	require.DirExists(t, dir)
}

// A download that has begun does not count, and is gone when another has been unpacked.
func TestAFolderWithAPartOfADownload(t *testing.T) {
	dir := tree(t, map[string]string{".cooper-unpacking/left/over": "x", ".cooper-probe-1": ""})
	f, err := OpenFolder(dir, false)
	require.NoError(t, err)
	part := f.Part("sha256:0123456789abcdef0123", "tar.gz")
	require.Equal(t, ".cooper-0123456789abcdef.tar.gz.part", filepath.Base(part))
	require.NoError(t, os.WriteFile(part, nil, 0o600))
	f.Close()
	require.NoError(t, unpackInto(t, dir, false, tarOf(t, []tar.Header{{Typeflag: tar.TypeReg, Name: "file"}}, "new"), "tar"))
	require.Equal(t, map[string]string{"file": "new"}, found(t, dir))
}

func TestUnpackOverWhatIsThere(t *testing.T) {
	outside := tree(t, map[string]string{"kept": "kept"})
	dir := tree(t, map[string]string{"bin/mine": "mine", "bin/tool": "old", "link": "->" + filepath.Join(outside, "kept"), "away": "->" + outside})
	raw := tarOf(t, []tar.Header{
		{Typeflag: tar.TypeDir, Name: "bin", Mode: 0o750},
		{Typeflag: tar.TypeReg, Name: "bin/tool", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: "link", Mode: 0o644},
	}, "new", "file now")
	require.NoError(t, unpackInto(t, dir, true, raw, "tar"))
	require.Equal(t, map[string]string{"bin/": "", "bin/mine": "mine", "bin/tool": "new", "link": "file now", "away": "->" + outside}, found(t, dir))
	info, err := os.Stat(filepath.Join(dir, "bin"))
	require.NoError(t, err)
	require.Equal(t, fs.ModeDir|0o750, info.Mode())

	// What is in the way is found before anything is moved.
	for name, entries := range map[string][]tar.Header{
		"a link to a folder":   {{Typeflag: tar.TypeReg, Name: "aaa"}, {Typeflag: tar.TypeReg, Name: "away/kept"}},
		"a file over a folder": {{Typeflag: tar.TypeReg, Name: "aaa"}, {Typeflag: tar.TypeReg, Name: "bin"}},
		"a folder over a file": {{Typeflag: tar.TypeReg, Name: "aaa"}, {Typeflag: tar.TypeDir, Name: "bin/mine"}},
	} {
		err := unpackInto(t, dir, true, tarOf(t, entries), "tar")
		require.ErrorContains(t, err, "in the way", name)
		require.NotContains(t, found(t, dir), "aaa", name)
	}
	require.Equal(t, map[string]string{"kept": "kept"}, found(t, outside))
}

// A file that is unpacked is never made with more rights than it is to have.
func TestTheUmaskDoesNotMatter(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	dir := t.TempDir()
	require.NoError(t, unpackInto(t, dir, false, tarOf(t, []tar.Header{{Typeflag: tar.TypeReg, Name: "d/file", Mode: 0o664}}, "x"), "tar"))
	info, err := os.Stat(filepath.Join(dir, "d/file"))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o664), info.Mode())
}
