package recipe

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

func load(t *testing.T, text string) (*Environments, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "environments.hcl")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return LoadEnvironments(path)
}

func TestBuiltInEnvironment(t *testing.T) {
	e, err := LoadEnvironments("")
	require.NoError(t, err)
	require.Equal(t, []model.Environment{{Name: "default", Images: builtInImages()}}, e.All())
	for _, k := range kinds() {
		require.NotEmpty(t, builtInImages()[k.language])
	}
	empty, err := load(t, "")
	require.NoError(t, err)
	require.Equal(t, e.All(), empty.All())
}

func TestEnvironments(t *testing.T) {
	e, err := load(t, `
environment "trixie-arm64" {
  platform = "aarch64"
  images   = { default = "debian:trixie", erlang = "erlang:28" }
}
environment "debian12-arm64" {
  platform   = "linux/arm64"
  images     = { c = "gcc:13-bookworm" }
  build_args = { DEBIAN_FRONTEND = "noninteractive", JOBS = 4 }
}
environment "default" { # may stand anywhere
  platform = "arm64"
  images     = { go = "golang:1.25", c = "registry.example:5000/gcc@sha256:0123456789012345678901234567890123456789012345678901234567890123" }
}
`)
	require.NoError(t, err)
	all := e.All()
	require.Len(t, all, 3)
	require.Equal(t, []string{"default", "debian12-arm64", "trixie-arm64"}, []string{all[0].Name, all[1].Name, all[2].Name})
	require.Equal(t, "linux/arm64", all[0].Platform, "what the architecture default means")
	require.Equal(t, "golang:1.25", all[0].Images["go"])
	require.Equal(t, "rust:1-bookworm", all[0].Images["rust"], "what the file leaves out stays")
	require.Equal(t, "linux/arm64", all[1].Platform)
	require.Equal(t, "gcc:13-bookworm", all[1].Images["c"])
	require.Equal(t, "golang:1.25", all[1].Images["go"], "images come from the default environment")
	require.Equal(t, map[string]string{"DEBIAN_FRONTEND": "noninteractive", "JOBS": "4"}, all[1].BuildArgs)
	require.Equal(t, "linux/arm64", all[2].Platform, "platforms have one name")
	require.Equal(t, "erlang:28", all[2].Images["erlang"])
	require.NotContains(t, all[0].Images, "erlang")

	all[0].Images["go"] = "changed"
	require.Equal(t, "golang:1.25", e.All()[0].Images["go"], "the caller's copy is the caller's own")
}

func TestEnvironmentFaults(t *testing.T) {
	tests := []struct {
		name, text, says string
	}{
		{"syntax", "environment \"a\" {", "environments.hcl:1,17"},
		{"unknown block", "environs \"a\" {\n}", "environments.hcl:1,1: Unsupported block type"},
		{"attribute outside", "x = 1", "environments.hcl:1,1"},
		{"unknown attribute", "environment \"a\" {\n  platforms = \"arm64\"\n}", `environments.hcl:2,3: Unsupported argument: An argument named "platforms" is not expected here. Did you mean "platform"?` + "\n   2:   platforms = \"arm64\"\n        ^^^^^^^^^"},
		{"no name", "environment {\n}", "environments.hcl:1,13"},
		{"name in capitals", "environment \"A\" {\n  platform = \"arm64\"\n}", "environments.hcl:1,13: Wrong name"},
		{"name of a platform", "environment \"amd64\" {\n  platform = \"arm64\"\n}", "environments.hcl:1,13: Wrong name: amd64 is a platform"},
		{"other name of a platform", "environment \"x86_64\" {\n  platform = \"arm64\"\n}", "x86_64 is a platform"},
		{"name of a whole platform", "environment \"linux/arm64\" {\n  platform = \"arm64\"\n}", "environments.hcl:1,13: Wrong name"},
		{"twice", "environment \"a\" {\n  platform = \"arm64\"\n}\nenvironment \"a\" {\n  platform = \"arm64\"\n}", "environments.hcl:4,1: Two environments of one name"},
		{"no platform", "environment \"a\" {\n}", "environments.hcl:1,1: No platform"},
		{"platform of another system", "environment \"a\" {\n  platform = \"windows/amd64\"\n}", "environments.hcl:2,14"},
		{"platform that is none", "environment \"a\" {\n  platform = \"z80\"\n}", "environments.hcl:2,14"},
		{"image that is none", "environment \"default\" {\n  images = { c = \"a b\" }\n}", "environments.hcl:2,14: Wrong value in images: c: "},
		{"language that is none", "environment \"default\" {\n  images = { \"C++\" = \"gcc\" }\n}", "environments.hcl:2,14"},
		{"build arg that is none", "environment \"default\" {\n  build_args = { \"A-B\" = \"x\" }\n}", "environments.hcl:2,18"},
		{"variable", "environment \"default\" {\n  images = { c = local.c }\n}", "environments.hcl:2,18"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(t, test.text)
			require.ErrorContains(t, err, test.says)
			require.NotContains(t, err.Error(), os.TempDir(), "a message names no folder of the machine")
		})
	}
	_, err := LoadEnvironments(filepath.Join(t.TempDir(), "none.hcl"))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "none.hcl")
	require.NotContains(t, err.Error(), os.TempDir())
}
