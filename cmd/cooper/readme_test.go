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
)

// The README's commands work as pasted: every shell block below "Try it" runs, in one shell, against a server of its own.
func TestReadmeCommands(t *testing.T) {
	raw, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(raw), "## Try it")
	require.True(t, ok)
	rest, _, _ = strings.Cut(rest, "\n## ")
	var script strings.Builder
	script.WriteString("set -euo pipefail\n")
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(rest, -1) {
		script.WriteString(block[1])
	}

	dir := t.TempDir()
	s := startServerIn(t, filepath.Join(dir, "data"), func(c *config.Config) { c.AdminKey = "" })
	text := strings.ReplaceAll(script.String(), "127.0.0.1:8080", s.host)
	text = strings.ReplaceAll(text, "curl ", "curl --fail-with-body ")
	text = strings.ReplaceAll(text, "/tmp/", dir+"/")
	text = strings.ReplaceAll(text, "bin/cooper", program(t, "cooper"))
	cmd := exec.CommandContext(t.Context(), "bash", "-c", text)
	cmd.Dir, cmd.Env = dir, config.Environment()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, want := range []string{
		`"status":"available"`, "COPY note /", "/hello-main-image:latest", `"status":"succeeded"`, "linux/arm64",
	} {
		require.Contains(t, string(out), want)
	}
	require.FileExists(t, filepath.Join(dir, "hello-image", "manifest.json"))
}
