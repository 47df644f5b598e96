package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/config"
	"cooper/internal/testbed"
)

// The README's commands work as pasted: every shell block from "Try it" on runs, in one shell, against a server of its
// own. The repository that they name is one of the same name and tag here.
func TestReadmeCommands(t *testing.T) {
	raw, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(raw), "## Try it")
	require.True(t, ok)
	rest, _, _ = strings.Cut(rest, "\n## What it does")
	var script strings.Builder
	script.WriteString("set -euo pipefail\n")
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(rest, -1) {
		script.WriteString(block[1])
	}

	dir := t.TempDir()
	git, err := testbed.ServeGit(t.Context(), t.TempDir(), "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, git.Close()) })
	s := startServerIn(t, filepath.Join(dir, "data"), func(c *config.Config) {
		c.AdminKey, c.SourceAllow = "", []string{git.Host}
	})
	key, err := os.ReadFile(filepath.Join(dir, "data", "admin.key"))
	require.NoError(t, err)
	b := &componentBed{testServer: s, git: git}
	b.pushToolchains(strings.TrimSpace(string(key)))
	b.repository("zlib", "v1.3.1", squareFiles(map[string]string{"Makefile": squareMakefile}))
	text := strings.ReplaceAll(script.String(), "127.0.0.1:8080", s.host)
	text = strings.ReplaceAll(text, "https://github.com/madler/zlib.git", git.URL+"/zlib.git")
	text = strings.ReplaceAll(text, "curl ", "curl --fail-with-body ")
	text = strings.ReplaceAll(text, "/tmp/", dir+"/")
	text = strings.ReplaceAll(text, "bin/cooper", program(t, "cooper"))
	cmd := exec.CommandContext(t.Context(), "bash", "-c", text)
	cmd.Dir, cmd.Env = dir, config.Environment()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, want := range []string{
		`"status":"available"`, "COPY note /", "/hello-main-image:latest", `"status":"succeeded"`, "linux/arm64",
		"FROM scratch AS component", "Makefile", "/components/zlib:v1.3.1", "/with-zlib-main-image:latest", "zlib@v1.3.1",
	} {
		require.Contains(t, string(out), want)
	}
	require.FileExists(t, filepath.Join(dir, "hello-image", "manifest.json"))
	require.FileExists(t, filepath.Join(dir, "zlib", "include", "square.h"))
}
