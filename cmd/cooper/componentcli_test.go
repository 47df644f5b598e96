package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The commands against a whole server: from a repository to files, in every form that they offer.
func TestComponentCommands(t *testing.T) {
	b := startComponents(t, nil)
	b.repository("base", "v1", map[string]string{"Dockerfile": "FROM scratch AS component\nCOPY data /share/base\n", "data": "base"})
	b.repository("top", "v2", map[string]string{
		"Dockerfile":      "FROM scratch AS component\nCOPY --from=base /share /share\nCOPY data /share/top\n",
		"data":            "top",
		".cooper/top.hcl": "component {\n  depends_on = [{ component = \"base\", tag = \"v1\", url = \"" + b.gitURL("base") + "\" }]\n}\n",
	})
	t.Setenv("COOPER_URL", b.url)
	t.Setenv("COOPER_API_KEY", testKey)
	cooper := func(args ...string) (stdout, stderr string) {
		t.Helper()
		var out, said bytes.Buffer
		require.Equal(t, 0, run(t.Context(), append([]string{"component"}, args...), &out, &said), "%v: %s", args, said.String())
		return out.String(), said.String()
	}

	built, log := cooper("build", b.gitURL("base"), "--tag", "v1", "--architecture", "amd64")
	require.Contains(t, log, "COPY data /share/base")
	require.Regexp(t, `^linux/amd64 sha256:[0-9a-f]{64}\n127\.0\.0\.1:[0-9]+/components/base:v1\n$`, built)

	dir := filepath.Join(t.TempDir(), "out")
	got, log := cooper("get", "top@v2", "--url", b.gitURL("top"), "--architecture", "amd64", "-o", dir)
	require.Contains(t, log, "COPY data /share/top")
	lines := strings.Split(got, "\n")
	require.Equal(t, dir, lines[0])
	for name, text := range map[string]string{"base": "base", "top": "top"} {
		raw, err := os.ReadFile(filepath.Join(dir, "share", name))
		require.NoError(t, err)
		require.Equal(t, text, string(raw))
	}
	for _, format := range []string{"tar.gz", "tar.zst", "tar", "zip"} {
		file := filepath.Join(t.TempDir(), "top."+format)
		again, _ := cooper("get", "top@v2", "--architecture", "amd64", "--file", file)
		require.Equal(t, lines[1:], strings.Split(again, "\n")[1:], "one digest, of one commit")
		require.FileExists(t, file)
	}
	path, _ := cooper("get", "top@v2", "--architecture", "amd64", "--path")
	require.FileExists(t, filepath.Join(strings.Split(path, "\n")[0], "share", "top"))

	table, _ := cooper("list", "--component", "top")
	require.Contains(t, table, lines[1][7:19])
	tree, _ := cooper("graph", "top@v2", "--architecture", "amd64")
	require.Regexp(t, `^top@v2 .*\n  base@v1 .*\n$`, tree)
	drawing, _ := cooper("graph", "top@v2", "--architecture", "amd64", "--svg", "-")
	require.Contains(t, drawing, "<svg")
	dockerfile, why := cooper("recipe", b.gitURL("base"), "--tag", "v1")
	require.Equal(t, "FROM scratch AS component\nCOPY data /share/base\n", dockerfile)
	require.Contains(t, why, "component")
}
