package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/config"
	"cooper/internal/testbed"
)

// languageEnvironments are two that differ in a build arg alone, so that neither takes a step of the other from the cache.
func languageEnvironments() string {
	text := "environment \"default\" {\n  images = { rust = \"languages\", node = \"languages\", python = \"languages\", java = \"languages\" }\n}\n"
	for _, name := range []string{"first", "second"} {
		text += fmt.Sprintf("environment %q {\n  platform = \"linux/%s\"\n  build_args = { ROUND = %q }\n}\n", name, runtime.GOARCH, name)
	}
	return text
}

// languageRepository is a repository of a language that has a package manager. It depends on nothing but the language.
type languageRepository struct {
	files map[string]string
	kind  string   // of the recipe
	holds []string // among others
	run   string   // prints 49 where the component is unpacked in /usr/local; empty when what it holds says enough
	twice bool     // it is built again
}

func languageRepositories() map[string]languageRepository {
	python := map[string]string{"square/__init__.py": "def main():\n    print(7 * 7)\n"}
	return map[string]languageRepository{
		"cargo-workspace": {
			kind: "cargo", run: "square", twice: true, holds: []string{"bin/square", "lib/libsquares.so"},
			files: map[string]string{
				"Cargo.toml":         "[workspace]\nmembers = [\"program\", \"squares\"]\n",
				"Cargo.lock":         "version = 3\n\n[[package]]\nname = \"program\"\nversion = \"1.0.0\"\ndependencies = [\n \"squares\",\n]\n\n[[package]]\nname = \"squares\"\nversion = \"1.0.0\"\n",
				"program/Cargo.toml": "[package]\nname = \"program\"\nversion = \"1.0.0\"\n[[bin]]\nname = \"square\"\npath = \"main.rs\"\n[dependencies]\nsquares = { path = \"../squares\" }\n",
				"program/main.rs":    "fn main() { println!(\"{}\", squares::square(7)); }\n",
				"squares/Cargo.toml": "[package]\nname = \"squares\"\nversion = \"1.0.0\"\n[lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n",
				"squares/src/lib.rs": "#[no_mangle]\npub extern \"C\" fn square(n: i32) -> i32 { n * n }\n",
				".cargo/config.toml": "[build]\ntarget = \"" + rustTarget() + "\"\n",
				"program/build.rs":   "fn main() {}\n",
			},
		},
		"cargo-sources": {
			kind: "cargo", holds: []string{"src/square/Cargo.toml", "src/square/src/lib.rs"},
			files: map[string]string{
				"Cargo.toml": "[package]\nname = \"square\"\nversion = \"1.0.0\"\n",
				"src/lib.rs": "pub const SQUARE: i32 = 7 * 7;\n",
			},
		},
		"npm": {
			kind: "npm", run: "square", twice: true, holds: []string{"lib/node_modules/@example/square/dist/square.js"},
			files: map[string]string{
				"package.json": `{"name": "@example/square", "version": "1.0.0", "bin": "./dist/square.js", "files": ["dist"],
  "scripts": {"build": "mkdir dist && cp square.js dist/"}, "dependencies": {"times": "file:./times"}}`,
				".npmrc":             "install-links=false\n", // as in npm 10, which leaves links to such dependencies
				"square.js":          "#!/usr/bin/env node\nconsole.log(require('times')(7, 7))\n",
				"times/package.json": `{"name": "times", "version": "1.0.0", "main": "times.js"}`,
				"times/times.js":     "module.exports = (a, b) => a * b\n",
			},
		},
		"npm-locked": {
			kind: "npm", holds: []string{"bin/square", "lib/node_modules/square/square.js"},
			files: map[string]string{
				"package.json":      `{"name": "square", "version": "1.0.0", "bin": {"square": "square.js"}}`,
				"package-lock.json": `{"name": "square", "version": "1.0.0", "lockfileVersion": 3, "packages": {"": {"name": "square", "version": "1.0.0", "bin": {"square": "square.js"}}}}`,
				"square.js":         "#!/usr/bin/env node\nconsole.log(7 * 7)\n",
			},
		},
		"setup.py": {
			kind: "python", run: "square", holds: []string{"bin/square"},
			files: with(python, "setup.py", "from setuptools import setup\nsetup(name='square', version='1.0', packages=['square'], entry_points={'console_scripts': ['square=square:main']})\n"),
		},
		"pyproject": {
			kind: "python", run: "square", twice: true, holds: []string{"bin/square"},
			files: with(python, "pyproject.toml", "[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n"+
				"[project]\nname = 'square'\nversion = '1.0'\n[project.scripts]\nsquare = 'square:main'\n"),
		},
		"maven": {
			kind: "maven", run: "java -cp '/usr/local/share/java/*' org.example.Square", twice: true,
			holds: []string{"share/java/square-1.0.jar", "share/java/times-1.0.jar"},
			files: map[string]string{
				"pom.xml": mavenModule("<artifactId>all</artifactId><packaging>pom</packaging><modules><module>times</module><module>square</module></modules>"+
					"<properties><maven.compiler.source>11</maven.compiler.source><maven.compiler.target>11</maven.compiler.target></properties>", ""),
				"times/pom.xml": mavenModule("<artifactId>times</artifactId>", "all"),
				"times/src/main/java/org/example/Times.java": "package org.example;\npublic class Times { public static int of(int a, int b) { return a * b; } }\n",
				"square/pom.xml": mavenModule("<artifactId>square</artifactId><dependencies><dependency><groupId>org.example</groupId>"+
					"<artifactId>times</artifactId><version>1.0</version></dependency></dependencies>", "all"),
				"square/src/main/java/org/example/Square.java": "package org.example;\npublic class Square { public static void main(String[] a) { System.out.println(Times.of(7, 7)); } }\n",
			},
		},
	}
}

// with returns the files and one more.
func with(files map[string]string, name, text string) map[string]string {
	all := map[string]string{name: text}
	maps.Copy(all, files)
	return all
}

func rustTarget() string {
	return map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH] + "-unknown-linux-gnu"
}

// mavenModule is the pom.xml of a module; parent is empty at the top.
func mavenModule(content, parent string) string {
	version := "<groupId>org.example</groupId><version>1.0</version>"
	if parent != "" {
		version = "<parent><groupId>org.example</groupId><artifactId>" + parent + "</artifactId><version>1.0</version></parent>"
	}
	return "<project><modelVersion>4.0.0</modelVersion>" + version + content + "</project>\n"
}

// Repositories of languages with a package manager build with what the base holds where they depend on nothing, what they
// install works where it is unpacked, and another build of them gives the same bytes.
func TestLanguagesOfRepositories(t *testing.T) {
	environments := filepath.Join(t.TempDir(), "environments.hcl")
	require.NoError(t, os.WriteFile(environments, []byte(languageEnvironments()), 0o600))
	b := startComponents(t, func(c *config.Config) { c.Environments = environments })
	base, err := testbed.Languages(t.Context())
	require.NoError(t, err)
	require.NoError(t, testbed.Push(t.Context(), b.host+"/mirror/docker.io/library/languages:latest", base, "admin", testKey))
	repositories := languageRepositories()
	for name, r := range repositories {
		b.repository(name, "v1", r.files)
		b.ask("", "component", name, "tag", "v1", "url", b.gitURL(name), "architecture", "first")
		if r.twice {
			b.ask("", "component", name, "tag", "v1", "url", b.gitURL(name), "architecture", "second")
		}
	}
	for name, r := range repositories {
		t.Run(name, func(t *testing.T) {
			b := &componentBed{testServer: b.in(t), git: b.git}
			built := b.mustComponent("component", name, "tag", "v1", "architecture", "first")
			require.Equal(t, r.kind, built.str("recipe"))
			tree := b.mustComponent("component", name, "tag", "v1", "architecture", "first", "format", "path").str("component")
			for _, file := range r.holds {
				require.FileExists(t, filepath.Join(tree, file))
			}
			if r.run != "" {
				b.mustBuild("FROM languages AS run\nCOPY --from="+name+" / /usr/local\nRUN "+r.run+" >/said && grep -x 49 /said\nFROM scratch\nCOPY --from=run /said /\n",
					"component", "run-"+name, "components", name+"@v1", "architecture", "first")
			}
			if r.twice {
				again := b.mustComponent("component", name, "tag", "v1", "architecture", "second")
				require.NotEqual(t, built.str("buildId"), again.str("buildId"))
				require.Equal(t, built.str("digest"), again.str("digest"), "the same source gives the same bytes")
			}
		})
	}
}
