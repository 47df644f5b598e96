package recipe

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/builder/dockerfile"
	"cooper/internal/model"
)

var update = flag.Bool("update", false, "write the golden files anew")

const wholeBlock = `
component "zlib" {
  image   = "c"
  workdir = "/build"
  env     = { CFLAGS = "-O2 -g", PATH = "/opt/bin:$PATH" }
  args    = { VERSION = "1.3", GREETING = "it's \"$5\"", EMPTY = "", JOBS = 4, FAST = true }
  caches  = ["/root/.cache/ccache", "/build/.deps"]
  step "configure" {
    run = "./configure --prefix=/usr/local"
  }
  step "build and install" {
    run = ["make -j$(nproc)", "make install DESTDIR=/out"]
  }
  step "document" {
    run = <<-EOT
      cat >/out/usr/local/readme <<EOF
      version $${VERSION:-none}
      EOF
    EOT
  }
  step "script" {
    run = "#!/usr/bin/env python3\nprint('hello')"
  }
  output     = "/out/usr/local"
  depends_on = ["team/png@v1.6", { component = "xml", tag = "release/2", url = "https://git.example/xml.git", subdir = "c" }]
  submodules = false
}
`

func goldens() map[string]map[string]string {
	return map[string]map[string]string{
		"go":                  {"go.mod": ""},
		"go-cgo":              {"go.mod": "", ".cooper/c.hcl": "component {\n args = { CGO_ENABLED = \"1\" }\n depends_on = [\"zlib@v1.3\"]\n}"},
		"cmake":               {"CMakeLists.txt": ""},
		"cmake-depends":       {"CMakeLists.txt": "", ".cooper/c.hcl": "component {\n depends_on = [\"zlib@v1.3\", \"team/png@main\"]\n args = { CMAKE_ARGS = \"-DX=1\" }\n}"},
		"configure":           {"configure": ""},
		"autogen":             {"autogen.sh": "", "configure.ac": ""},
		"autoreconf":          {"configure.ac": ""},
		"meson":               {"meson.build": ""},
		"make":                {"GNUmakefile": ""},
		"cargo":               {"Cargo.toml": ""},
		"cargo-locked":        {"Cargo.toml": "", "Cargo.lock": ""},
		"npm":                 {"package.json": ""},
		"npm-locked":          {"package.json": "", "package-lock.json": ""},
		"python":              {"pyproject.toml": ""},
		"maven":               {"pom.xml": ""},
		"steps":               {".cooper/component.hcl": wholeBlock},
		"steps-semicolon":     {".cooper/x.hcl": `component { run = "make; make install DESTDIR=/out" }`},
		"steps-short":         {".factory/x.hcl": `component { run = ["make", "make install DESTDIR=/out"] }`},
		"stages-of-that-name": {".cooper/c.hcl": "component {\n run = \"make\"\n depends_on = [\"build@v1\", \"component@v1\"]\n}"},
	}
}

// TestGolden writes every kind of Dockerfile. Each passes what all Dockerfiles pass, and a shell takes all of its scripts.
func TestGolden(t *testing.T) {
	for name, files := range goldens() {
		t.Run(name, func(t *testing.T) {
			r := found(t, files)
			golden := filepath.Join("testdata", name+".Dockerfile")
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(r.Dockerfile), 0o600))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), r.Dockerfile)
			passes(t, r)
			for _, s := range scripts(r.Dockerfile) {
				checkSyntax(t, s)
			}
		})
	}
}

func TestGoldenFilesAreUsed(t *testing.T) {
	files, err := filepath.Glob("testdata/*.Dockerfile")
	require.NoError(t, err)
	require.Len(t, files, len(goldens()))
}

// passes holds a recipe's text against the check that every build's Dockerfile goes through.
func passes(t *testing.T, r model.Recipe) {
	t.Helper()
	var contexts []string
	for _, d := range r.DependsOn {
		contexts = append(contexts, d.Name)
	}
	checked, err := dockerfile.Check(t.Context(), []byte(r.Dockerfile), dockerfile.Options{
		Target: r.Target, BuildArgs: r.BuildArgs, Contexts: contexts, Platforms: []string{"linux/amd64", "linux/arm/v7"},
	})
	require.NoError(t, err, r.Dockerfile)
	require.Equal(t, r.Dockerfile, string(checked.Text))
	require.Empty(t, checked.Notes, "no named context takes the place of a stage")
	require.NotEmpty(t, checked.Bases)
}

// scripts returns what the text's RUN instructions give to the shell.
func scripts(text string) []string {
	var out []string
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		if !strings.HasPrefix(lines[i], "RUN ") {
			continue
		}
		for strings.HasSuffix(lines[i], `\`) {
			i++
		}
		command := strings.TrimPrefix(strings.TrimSpace(lines[i]), "RUN ")
		end, document := strings.CutPrefix(command, "<<'")
		if !document {
			out = append(out, command)
			continue
		}
		end = strings.TrimSuffix(end, "'")
		i++
		start := i
		for lines[i] != end {
			i++
		}
		out = append(out, strings.Join(lines[start:i], "\n"))
	}
	return out
}

func checkSyntax(t *testing.T, script string) {
	t.Helper()
	if strings.HasPrefix(script, "#!") {
		return
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-n")
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", out, script)
}

func TestRecipeOfWholeBlock(t *testing.T) {
	r := found(t, map[string]string{".cooper/component.hcl": wholeBlock})
	require.Equal(t, map[string]string{"VERSION": "1.3", "GREETING": `it's "$5"`, "EMPTY": "", "JOBS": "4", "FAST": "true"}, r.BuildArgs)
	require.Equal(t, []model.ComponentRef{
		{Name: "team/png", Tag: "v1.6"},
		{Name: "xml", Tag: "release/2", URL: "https://git.example/xml.git", Subdir: "c"},
	}, r.DependsOn)
	require.True(t, r.WithoutSubmodules)
	require.Equal(t, "component", r.Target)
	require.Equal(t, ".cooper/component.hcl has a component block with 4 steps.", r.Reason)
}

// TestImages: the environment's image of the language, its default one, the author's.
func TestImages(t *testing.T) {
	env := model.Environment{Images: map[string]string{"default": "base:1", "c": "cc:1", "odd": "odd:1"}, BuildArgs: map[string]string{"DEBIAN_FRONTEND": "noninteractive", "X": "a b"}}
	tests := []struct {
		name, block, file, want string
		env                     model.Environment
	}{
		{"language", "", "Makefile", "FROM cc:1 AS build", env},
		{"no image of the language", "", "go.mod", "FROM --platform=$BUILDPLATFORM base:1 AS build", env},
		{"steps", `component { run = "x" }`, "", "FROM base:1 AS build", env},
		{"language of the author", "component {\n run = \"x\"\n image = \"odd\"\n}", "", "FROM odd:1 AS build", env},
		{"image of the author", "component {\n run = \"x\"\n image = \"quay.io/a/b:2\"\n}", "", "FROM quay.io/a/b:2 AS build", env},
		{"image of the author for a detected project", "component {\n image = \"gcc:13\"\n}", "Makefile", "FROM gcc:13 AS build", env},
		{"empty environment", "", "Makefile", "FROM debian:bookworm AS build", model.Environment{}},
		{"build args of the environment", "", "Makefile", "ARG DEBIAN_FRONTEND=noninteractive\nARG X=\"a b\"\n", env},
		{"overridden by the author", "component {\n args = { X = \"c\" }\n}", "Makefile", "ARG DEBIAN_FRONTEND=noninteractive\nARG X=c\n", env},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			files := map[string]string{}
			if test.file != "" {
				files[test.file] = ""
			}
			if test.block != "" {
				files[".cooper/c.hcl"] = test.block
			}
			r, err := Finder{}.Find(t.Context(), &tree{files: files}, "x", test.env)
			require.NoError(t, err)
			require.Contains(t, r.Dockerfile, test.want)
			passes(t, r)
		})
	}
}
