package buildcontext

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

func extract(t *testing.T, members ...member) string {
	t.Helper()
	dir := t.TempDir()
	p := archive(t, members...)
	_, err := Scan(t.Context(), bytes.NewReader(p), DefaultLimits())
	require.NoError(t, err)
	require.NoError(t, Extract(t.Context(), bytes.NewReader(p), dir, DefaultLimits()))
	return dir
}

func TestExtractKeeps(t *testing.T) {
	when := time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
	dir := extract(t,
		member{typ: tar.TypeXGlobalHeader, body: "a commit"},
		member{name: "d/e/", typ: tar.TypeDir, mode: 0o555},
		member{name: "d/e/run", body: "#!/bin/sh\n", mode: 0o751, time: when},
		member{name: "line\nbreak ü", body: "B83"},
		member{name: "hard", typ: tar.TypeLink, link: "./d/e/run"},
		member{name: "up/soft", typ: tar.TypeSymlink, link: "../d/e/run"},
		member{name: "out", typ: tar.TypeSymlink, link: "/etc/passwd"},
		member{name: "loop", typ: tar.TypeSymlink, link: "loop"},
	)
	read := func(name string) string {
		p, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return string(p)
	}
	require.Equal(t, "#!/bin/sh\n", read("d/e/run"))
	require.Equal(t, "#!/bin/sh\n", read("hard"))
	require.Equal(t, "#!/bin/sh\n", read("up/soft"))
	require.Equal(t, "B83", read("line\nbreak ü"))
	at, err := os.Stat(filepath.Join(dir, "d/e/run"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o751), at.Mode())
	require.True(t, at.ModTime().Equal(when), at.ModTime())
	folder, err := os.Stat(filepath.Join(dir, "d/e"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o755), folder.Mode().Perm(), "its owner may remove what is in it")
	other, err := os.Stat(filepath.Join(dir, "hard"))
	require.NoError(t, err)
	require.True(t, os.SameFile(at, other))
	for name, target := range map[string]string{"out": "/etc/passwd", "loop": "loop", "up/soft": "../d/e/run"} {
		got, err := os.Readlink(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, target, got)
	}
}

// TestExtractNormalises is row B84.
func TestExtractNormalises(t *testing.T) {
	dir := extract(t,
		member{name: "old", mode: 0o6755, time: time.Unix(-5_000_000_000, 0), uid: 1 << 31, body: "x"},
		member{name: "new", mode: 0o1644, time: time.Unix(1<<40, 0)},
		member{name: "d/", typ: tar.TypeDir, mode: 0o3775},
	)
	for name, want := range map[string]struct {
		mode os.FileMode
		time int64
	}{
		"old": {0o755, 0},
		"new": {0o644, 1 << 33},
	} {
		at, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, want.mode, at.Mode(), name)
		require.Equal(t, want.time, at.ModTime().Unix(), name)
	}
	at, err := os.Stat(filepath.Join(dir, "d"))
	require.NoError(t, err)
	require.Equal(t, os.ModeDir|0o775, at.Mode())
}

// TestExtractModesAreTheArchives: the same archive must give the same image whatever the server's umask is.
func TestExtractModesAreTheArchives(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	dir := extract(t, member{name: "implied/listed/", typ: tar.TypeDir, mode: 0o775}, member{name: "implied/listed/file", mode: 0o666})
	for name, mode := range map[string]os.FileMode{"implied": 0o755, "implied/listed": 0o775, "implied/listed/file": 0o666} {
		at, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, mode, at.Mode().Perm(), name)
	}
}

// TestExtractReplaces: of two entries with one name the later counts, and nothing is written through the earlier.
func TestExtractReplaces(t *testing.T) {
	beside := filepath.Join(t.TempDir(), "victim")
	require.NoError(t, os.WriteFile(beside, []byte("intact"), 0o600))
	dir := extract(t,
		member{name: "a", typ: tar.TypeSymlink, link: beside},
		member{name: "a", body: "file now"},
		member{name: "h", body: "first"},
		member{name: "g", typ: tar.TypeLink, link: "h"},
		member{name: "h", body: "second"},
		member{name: "d", typ: tar.TypeSymlink, link: filepath.Dir(beside)},
		member{name: "d/", typ: tar.TypeDir, mode: 0o755},
		member{name: "d/victim", body: "inside"},
		member{name: "d/", typ: tar.TypeDir, mode: 0o700},
	)
	for name, want := range map[string]string{"a": "file now", "h": "second", "g": "first", "d/victim": "inside"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, want, string(got), name)
	}
	got, err := os.ReadFile(beside)
	require.NoError(t, err)
	require.Equal(t, "intact", string(got))
}

// TestExtractStaysInsideWithoutRules writes past all rules, to see that the folder alone holds as well.
func TestExtractStaysInsideWithoutRules(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "in")
	require.NoError(t, os.Mkdir(dir, 0o700))
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer func() { _ = root.Close() }()
	f := &folder{root: root, buffer: make([]byte, 10)}
	require.NoError(t, f.put(&entry{name: "l", kind: kindSymlink, target: ".."}, nil))
	for _, e := range []*entry{
		{name: "l/p", kind: kindFile},
		{name: "../p", kind: kindFile},
		{name: "l/d", kind: kindDir},
		{name: "l/s", kind: kindSymlink, target: "x"},
		{name: "h", kind: kindHardlink, target: "l/in"},
	} {
		require.Error(t, f.put(e, bytes.NewReader(nil)), e.name)
	}
	left, err := os.ReadDir(top)
	require.NoError(t, err)
	require.Len(t, left, 1)
}

func TestExtractNeedsItsFolder(t *testing.T) {
	err := Extract(t.Context(), bytes.NewReader(archive(t)), filepath.Join(t.TempDir(), "absent"), DefaultLimits())
	require.Error(t, err)
	require.Equal(t, model.CodeInternal, model.CodeOf(err))
}
