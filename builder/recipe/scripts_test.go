package recipe

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// machine is a folder that stands for the image of a build: the scripts of a recipe run in it with the machine's own
// programs, without a container.
type machine struct {
	t    *testing.T
	root string
}

// build writes the source, finds its recipe and runs all of its scripts but the first, which installs tools. It returns
// what they print and how they end.
func build(t *testing.T, files map[string]string) (m machine, output string, err error) {
	t.Helper()
	m = machine{t: t, root: t.TempDir()}
	for name, text := range files {
		path := filepath.Join(m.root, "src", name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	r := found(t, files)
	for _, s := range scripts(r.Dockerfile)[1:] {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.NewReplacer("/out", m.root+"/out", "/build", m.root+"/build").Replace(s))
		cmd.Dir = filepath.Join(m.root, "src")
		cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000", "TARGETOS=linux", "TARGETARCH="+runtime.GOARCH, "TARGETVARIANT=",
			"CGO_ENABLED=0", "GOFLAGS=", "GO_PACKAGES=./...", "GOTOOLCHAIN=local", "GOWORK=off")
		out, err := cmd.CombinedOutput()
		if output += string(out); err != nil {
			return m, output, err
		}
	}
	return m, output, nil
}

// files lists what was installed.
func (m machine) files() []string {
	m.t.Helper()
	var names []string
	top := filepath.Join(m.root, installed)
	require.NoError(m.t, filepath.WalkDir(top, func(path string, _ os.DirEntry, err error) error {
		if err == nil && path != top {
			names = append(names, strings.TrimPrefix(path, top+"/"))
		}
		return err
	}))
	return names
}

const goProgram = "package main\n\nfunc main() { println(\"hello\") }\n"

func TestGoScripts(t *testing.T) {
	module := "module example.org/team/hello\n\ngo 1.24\n"
	t.Run("programs", func(t *testing.T) {
		m, out, err := build(t, map[string]string{"go.mod": module, "main.go": goProgram, "cmd/other/main.go": goProgram, "lib/lib.go": "package lib\n"})
		require.NoError(t, err, out)
		require.Equal(t, []string{"bin", "bin/hello", "bin/other"}, m.files())
	})
	t.Run("library", func(t *testing.T) {
		m, out, err := build(t, map[string]string{"go.mod": module, "lib/lib.go": "package lib\n"})
		require.NoError(t, err, out)
		require.Contains(t, m.files(), "src/example.org/team/hello/lib/lib.go")
		require.Contains(t, out, "/usr/local/src/example.org/team/hello.")
	})
	t.Run("two of one name", func(t *testing.T) {
		_, out, err := build(t, map[string]string{"go.mod": module, "a/x/main.go": goProgram, "b/x/main.go": goProgram})
		require.Error(t, err)
		require.Contains(t, out, "are called x. Choose with the build arg GO_PACKAGES.")
	})
	t.Run("does not compile", func(t *testing.T) {
		_, out, err := build(t, map[string]string{"go.mod": module, "main.go": "package main\n\nfunc main() { x }\n"})
		require.Error(t, err)
		require.Contains(t, out, "undefined: x")
	})
}

func TestMakeScripts(t *testing.T) {
	all := "all:\n\techo hello >greet\n"
	t.Run("install", func(t *testing.T) {
		m, out, err := build(t, map[string]string{"Makefile": all + "install: all\n\tcp greet $(DESTDIR)$(PREFIX)/bin/\n"})
		require.NoError(t, err, out)
		require.Equal(t, []string{"bin", "bin/greet"}, m.files(), "folders that stayed empty are gone")
	})
	t.Run("no install", func(t *testing.T) {
		_, out, err := build(t, map[string]string{"Makefile": all})
		require.Error(t, err)
		require.Contains(t, out, "Makefile has no install target that works. Add one that puts files below $(DESTDIR)$(PREFIX)")
	})
	t.Run("ignores DESTDIR", func(t *testing.T) {
		m, out, err := build(t, map[string]string{"Makefile": "PREFIX = /elsewhere\n" + all + "install: all\n\tif [ -n \"$(DESTDIR)\" ] && [ $(PREFIX) = /usr/local ]; then exit 0; fi; " +
			"cp greet $(PREFIX)/bin/ && ln -s $(PREFIX)/bin/greet $(PREFIX)/bin/hello && echo prefix=$(PREFIX) >$(PREFIX)/lib/greet.pc\n"})
		require.NoError(t, err, out)
		require.Contains(t, out, "Nothing is below DESTDIR")
		require.Equal(t, []string{"bin", "bin/greet", "bin/hello", "lib", "lib/greet.pc"}, m.files())
	})
	t.Run("installs nothing there", func(t *testing.T) {
		_, out, err := build(t, map[string]string{"Makefile": all + "install:\n\ttrue\n"})
		require.Error(t, err)
		require.Contains(t, out, "is empty after the install step")
		require.Contains(t, out, "DESTDIR")
	})
	t.Run("fails", func(t *testing.T) {
		_, out, err := build(t, map[string]string{"Makefile": "all:\n\tfalse\n"})
		require.Error(t, err)
		require.NotContains(t, out, "install")
	})
}

// A configure script that was written by hand knows --prefix and nothing else.
const configureScript = `#!/bin/sh
[ "$*" = --prefix=/usr/local ] || { echo "unknown options: $*"; exit 2; }
printf 'all:\n\ttouch built\ninstall:\n\tmkdir -p $(DESTDIR)/usr/local/lib\n\tcp built $(DESTDIR)/usr/local/lib/\n' >Makefile
`

func TestAutotoolsScripts(t *testing.T) {
	t.Run("configure", func(t *testing.T) {
		m, out, err := build(t, map[string]string{"configure": configureScript})
		require.NoError(t, err, out)
		require.Equal(t, []string{"lib", "lib/built"}, m.files())
	})
	t.Run("autogen", func(t *testing.T) {
		m, out, err := build(t, map[string]string{"autogen.sh": "#!/bin/sh\n[ -n \"$NOCONFIGURE\" ] && cp script configure\n", "script": configureScript})
		require.NoError(t, err, out)
		require.Equal(t, []string{"lib", "lib/built"}, m.files())
	})
	t.Run("autogen that makes none", func(t *testing.T) {
		_, out, err := build(t, map[string]string{"autogen.sh": "#!/bin/sh\n"})
		require.Error(t, err)
		require.Contains(t, out, "autogen.sh made no configure script")
	})
}

// TestToolScript: an image that has everything is left alone; one that lacks something is told so.
func TestToolScript(t *testing.T) {
	run := func(tools ...tool) (string, error) {
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "set -e\n"+toolScript(tools))
		cmd.Env = []string{"PATH=" + t.TempDir()} // neither apt-get nor apk: nothing is ever installed
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := run(tool{"echo", "none", "none"})
	require.NoError(t, err, out)
	require.Empty(t, out)
	out, err = run(tool{"echo", "none", "none"}, tool{"no-such-program", "none", "none"})
	require.Error(t, err)
	require.Contains(t, out, "The image lacks no-such-program")
	require.Contains(t, out, "no-such-program is not in the image and could not be installed. Name an image that has it")
}
