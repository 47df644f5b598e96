package client

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// tree makes files, folders (names that end in a slash) and links (texts that begin with ->).
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		target, isLink := strings.CutPrefix(text, "->")
		switch {
		case strings.HasSuffix(name, "/"):
			require.NoError(t, os.MkdirAll(path, 0o755))
		case isLink:
			require.NoError(t, os.Symlink(target, path))
		default:
			require.NoError(t, os.WriteFile(path, []byte(text), 0o640))
		}
	}
	return dir
}

func readTar(t *testing.T, write func(io.Writer) error) map[string]string {
	t.Helper()
	var raw bytes.Buffer
	require.NoError(t, write(&raw))
	got := map[string]string{}
	for r := tar.NewReader(&raw); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return got
		}
		require.NoError(t, err)
		text, err := io.ReadAll(r)
		require.NoError(t, err)
		if h.Typeflag == tar.TypeSymlink {
			text = []byte("->" + h.Linkname)
		}
		got[h.Name] = string(text)
	}
}

func TestContextTar(t *testing.T) {
	files := map[string]string{
		"Dockerfile": "FROM scratch\n", "main.go": "package main\n", "logs/a.log": "a", "logs/keep.log": "b", "logs/deep/c.log": "c",
		"node_modules/x/index.js": "x", "link": "->main.go", "dangling": "->/etc/passwd", "empty/": "", "ünï\ncode": "u",
	}
	for _, test := range []struct {
		name, ignore string
		gone         []string
	}{
		{name: "no .dockerignore"},
		{name: "an empty one", ignore: "# nothing\n\n"},
		{name: "patterns", ignore: "node_modules\n**/*.log\n", gone: []string{"node_modules/", "node_modules/x/", "node_modules/x/index.js", "logs/a.log", "logs/keep.log", "logs/deep/c.log"}},
		{name: "an exception", ignore: "logs\n!logs/keep.log\n", gone: []string{"logs/a.log", "logs/deep/", "logs/deep/c.log"}},
		{name: "CRLF and a BOM", ignore: "\ufefflink\r\ndangling\r\n", gone: []string{"link", "dangling"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := tree(t, files)
			want := map[string]string{"logs/": "", "logs/deep/": "", "node_modules/": "", "node_modules/x/": ""}
			for name, text := range files {
				want[name] = text
			}
			if test.ignore != "" {
				require.NoError(t, os.WriteFile(filepath.Join(dir, ".dockerignore"), []byte(test.ignore), 0o600))
				want[".dockerignore"] = test.ignore
			}
			for _, name := range test.gone {
				delete(want, name)
			}
			write, err := ContextTar(t.Context(), dir)
			require.NoError(t, err)
			require.Equal(t, want, readTar(t, write))
		})
	}
}

// Editors and file watchers leave sockets in folders, and no build fails for it.
func TestASocketIsAnEmptyFile(t *testing.T) {
	dir := tree(t, map[string]string{"file": "f"})
	t.Chdir(dir) // a socket's path must be short
	l, err := net.Listen("unix", "s.sock")
	require.NoError(t, err)
	defer l.Close()
	write, err := ContextTar(t.Context(), ".")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"file": "f", "s.sock": ""}, readTar(t, write))
}

func TestContextsThatCannotBe(t *testing.T) {
	dir := tree(t, map[string]string{"file": "f"})
	for name, path := range map[string]string{"absent": filepath.Join(dir, "nosuch"), "a file": filepath.Join(dir, "file")} {
		_, err := ContextTar(t.Context(), path)
		require.ErrorContains(t, err, "open the build context", name)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".dockerignore"), []byte("[\n"), 0o600))
	_, err := ContextTar(t.Context(), dir)
	require.ErrorContains(t, err, "read .dockerignore")

	ctx, cancel := context.WithCancel(t.Context())
	write, err := ContextTar(ctx, tree(t, map[string]string{"file": "f"}))
	require.NoError(t, err)
	cancel()
	require.ErrorIs(t, write(io.Discard), context.Canceled)
}

func TestAContextNamedByALink(t *testing.T) {
	dir := tree(t, map[string]string{"real/file": "f", "link": "->real"})
	write, err := ContextTar(t.Context(), filepath.Join(dir, "link"))
	require.NoError(t, err)
	got := readTar(t, write)
	require.True(t, slices.Equal([]string{"file"}, keys(got)), "%v", got)
}

func keys(m map[string]string) (out []string) {
	for k := range m {
		out = append(out, k)
	}
	return out
}
