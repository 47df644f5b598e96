package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/testbed"
)

const squareHeader = "#pragma once\nint square(int n);\n"

// squareFiles are the sources of a small C library and a program that uses it.
func squareFiles(build map[string]string) map[string]string {
	files := map[string]string{
		"square.h": squareHeader,
		"square.c": "#include \"square.h\"\nint square(int n) { return n * n; }\n",
		"main.c":   "#include <stdio.h>\n#include \"square.h\"\nint main(void) { printf(\"%d\\n\", square(7)); return 0; }\n",
	}
	for name, text := range build {
		files[name] = text
	}
	return files
}

const squareMakefile = `PREFIX ?= /usr
all: libsquare.a square
libsquare.a: square.o
	$(AR) rcs $@ $^
square: main.o libsquare.a
	$(CC) -static -o $@ $^
install: all
	mkdir -p $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib $(DESTDIR)$(PREFIX)/include
	cp square $(DESTDIR)$(PREFIX)/bin/
	cp libsquare.a $(DESTDIR)$(PREFIX)/lib/
	cp square.h $(DESTDIR)$(PREFIX)/include/
`

// pushToolchains puts bases with compilers where the default environment looks for them.
func (b *componentBed) pushToolchains(key string) {
	b.tester.Helper()
	ctx := b.tester.Context()
	toolchain, err := testbed.Toolchain(ctx)
	require.NoError(b.tester, err)
	require.NoError(b.tester, testbed.Push(ctx, b.host+"/mirror/docker.io/library/gcc:14-bookworm", toolchain, "admin", key))
	golang, err := testbed.Golang(ctx)
	require.NoError(b.tester, err)
	require.NoError(b.tester, testbed.Push(ctx, b.host+"/mirror/docker.io/library/golang:1.26-bookworm", golang, "admin", key))
}

// kindOfRepository is a repository to build as it is.
type kindOfRepository struct {
	files   map[string]string
	recipe  string // that is to be found
	program string // that prints 49
	library bool   // it installs libsquare.a and square.h as well
	native  bool   // not emulated, which is slow with a build tool that is not made of machine code
}

func (k kindOfRepository) architectures() []string {
	if k.native {
		return []string{runtime.GOARCH}
	}
	return testbed.Architectures()
}

// Repositories of each kind build for two platforms as they are, and what they hold runs.
func TestKindsOfRepositories(t *testing.T) {
	b := startComponents(t, nil)
	b.pushToolchains(testKey)
	kinds := map[string]kindOfRepository{
		"plain-configure": {
			files: squareFiles(map[string]string{
				"configure": "#!/bin/sh\nprefix=/usr\nfor a; do case $a in --prefix=*) prefix=${a#--prefix=};; *) echo \"unknown option $a\" >&2; exit 1;; esac; done\n" +
					"sed \"s|^PREFIX .*|PREFIX = $prefix|\" Makefile.in >Makefile\n",
				"Makefile.in": squareMakefile,
			}), recipe: "autotools", program: "bin/square", library: true,
		},
		"cmake": {
			files: squareFiles(map[string]string{
				"CMakeLists.txt": "cmake_minimum_required(VERSION 3.10)\nproject(square C)\nadd_library(square STATIC square.c)\nadd_executable(program main.c)\n" +
					"set_target_properties(program PROPERTIES OUTPUT_NAME square)\ntarget_link_libraries(program square -static)\n" +
					"install(TARGETS square DESTINATION lib)\ninstall(TARGETS program DESTINATION bin)\ninstall(FILES square.h DESTINATION include)\n",
			}), recipe: "cmake", program: "bin/square", library: true,
		},
		"make": {files: squareFiles(map[string]string{"Makefile": squareMakefile}), recipe: "make", program: "bin/square", library: true},
		"meson": {
			files: squareFiles(map[string]string{
				"meson.build": "project('square', 'c')\nlib = static_library('square', 'square.c', install: true)\n" +
					"executable('square', 'main.c', link_with: lib, link_args: ['-static'], install: true)\ninstall_headers('square.h')\n",
			}), recipe: "meson", program: "bin/square", library: true, native: true,
		},
		"go": {
			files: map[string]string{
				"go.mod":             "module example.org/square\n\ngo 1.22\n",
				"cmd/square/main.go": "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(7 * 7) }\n",
			}, recipe: "go", program: "bin/square",
		},
	}
	for name, kind := range kinds { // all at once, so that no core idles
		b.repository(name, "v1", kind.files)
		for _, arch := range kind.architectures() {
			b.ask("", "component", name, "tag", "v1", "url", b.gitURL(name), "architecture", arch)
		}
	}
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			b := &componentBed{testServer: b.in(t), git: b.git}
			for _, arch := range kind.architectures() {
				r := b.mustComponent("component", name, "tag", "v1", "url", b.gitURL(name), "architecture", arch)
				require.Equal(t, kind.recipe, r.str("recipe"))
				tree := b.mustComponent("component", name, "tag", "v1", "architecture", arch, "format", "path").str("component")
				if kind.library {
					require.FileExists(t, filepath.Join(tree, "lib", "libsquare.a"))
					header, err := os.ReadFile(filepath.Join(tree, "include", "square.h"))
					require.NoError(t, err)
					require.Equal(t, squareHeader, string(header))
				}
				requireMachine(t, filepath.Join(tree, kind.program), arch)
				require.Equal(t, "49\n", mustOutside(t, nil, filepath.Join(tree, kind.program)), "it runs, emulated where it has to be")
			}
		})
	}
}

// requireMachine checks for which machine an ELF program is.
func requireMachine(t *testing.T, file, arch string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	machines := map[string]byte{"amd64": 62, "arm64": 183} // e_machine, of the ELF header
	require.Equal(t, machines[arch], raw[18], fmt.Sprintf("%s is for another machine than %s", file, arch))
}

// A library is built first, for the platform at hand, and found under /deps by the one that needs it.
func TestALibraryDependsOnAnother(t *testing.T) {
	b := startComponents(t, nil)
	b.pushToolchains(testKey)
	b.repository("square", "v1", squareFiles(map[string]string{"Makefile": squareMakefile}))
	b.repository("cube", "v2", map[string]string{
		".cooper/component.hcl": "component \"cube\" {\n  depends_on = [{ component = \"square\", tag = \"v1\", url = \"" + b.gitURL("square") + "\" }]\n}\n",
		"Makefile":              "install:\n\tmkdir -p $(DESTDIR)$(PREFIX)/bin\n\t$(CC) -static -o $(DESTDIR)$(PREFIX)/bin/cube cube.c -lsquare\n",
		"cube.c":                "#include <stdio.h>\n#include <square.h>\nint main(void) { printf(\"%d\\n\", 3 * square(3)); return 0; }\n",
	})
	arch := runtime.GOARCH
	r := b.mustComponent("component", "cube", "tag", "v2", "url", b.gitURL("cube"), "architecture", arch)
	require.Len(t, r.body["dependencies"], 1, "%s", r.raw)
	tree := b.mustComponent("component", "cube", "tag", "v2", "format", "path").str("component")
	require.Equal(t, "27\n", mustOutside(t, nil, filepath.Join(tree, "bin", "cube")))
	square := b.mustComponent("component", "square", "tag", "v1")
	require.Contains(t, string(r.raw), square.str("digest"), "the answer names what it was built with")
}
