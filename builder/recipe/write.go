package recipe

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"cooper/internal/model"
)

// work is what there is to do in a Dockerfile that Cooper writes. All of it is done by the image's shell.
type work struct {
	made   []string // sentences for the head
	native bool     // the steps run on the worker's own platform, and make something for another
	tools  []tool   // programs that the steps need
	env    []setting
	args   map[string]string // build args and their defaults
	caches []cache
	steps  []step
	source string // the folder that the source is put into; /src when empty
	output string // the folder that becomes the component
	ready  bool   // the output is made before the steps
}

// step is a script and what it is called.
type step struct{ name, script string }

// setting is a variable of the environment. $NAME in its value is expanded.
type setting struct{ name, value string }

// cache is a folder that lasts from build to build.
type cache struct {
	path  string
	alone bool // for one build at a time
}

// author writes one Dockerfile.
type author struct {
	strings.Builder
	work
	image string
	first map[string]string // build args of the environment
	deps  []model.ComponentRef
}

// dockerfile writes all of it. What changes least stands first, so that it stays in the cache longest.
func (a *author) dockerfile() string {
	build, final := stageOf("build", a.deps), stageOf(stageName, a.deps)
	a.head(final)
	platform := ""
	if a.native {
		platform = "--platform=$BUILDPLATFORM "
	}
	a.line("FROM %s%s AS %s", platform, a.image, build)
	a.argLines(a.first)
	a.line("ENV LC_ALL=C.UTF-8 TZ=UTC")
	if len(a.tools) > 0 {
		a.line("\nRUN %s", runnable(step{"Tools that the image may lack", toolScript(a.tools)}))
	}
	a.dependencyLines()
	for _, s := range a.env {
		a.line("ENV %s=%s", s.name, quote(s.value, true))
	}
	a.line("")
	if a.ready {
		a.line("RUN mkdir -p %s", a.output)
	}
	a.line("WORKDIR %s\nCOPY . .", orDefault(a.source, "/src"))
	a.line("ARG SOURCE_DATE_EPOCH")
	if a.native {
		a.line("ARG TARGETOS TARGETARCH TARGETVARIANT")
	}
	a.argLines(a.args)
	for _, s := range a.steps {
		a.step(s)
	}
	a.line("\nFROM scratch AS %s\nCOPY --from=%s %s /", final, build, a.output)
	return a.String()
}

func (a *author) line(format string, args ...any) {
	a.WriteString(fmt.Sprintf(format, args...) + "\n")
}

func (a *author) head(final string) {
	for _, m := range a.made {
		a.line("# %s", m)
	}
	a.line("# To take over, commit it as Dockerfile. The stage %s holds the component's files and nothing else.", final)
	for _, d := range a.deps {
		a.line("# It needs a named context %s: the component %s at %s.", d.Name, d.Name, plain(d.Tag, longestName))
	}
	a.line("")
}

func (a *author) argLines(args map[string]string) {
	for _, n := range slices.Sorted(maps.Keys(args)) {
		a.line("ARG %s=%s", n, quote(args[n], false))
	}
}

// dependencyLines lets compilers and tools find the dependencies, each in a folder of its own.
func (a *author) dependencyLines() {
	if len(a.deps) == 0 {
		return
	}
	libs := []string{"/lib", "/lib64", "/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu"}
	a.line("\n# Where steps find what this component depends on.")
	a.line("ENV CMAKE_PREFIX_PATH=%s", a.paths(""))
	a.line("ENV PKG_CONFIG_PATH=%s", a.paths("/lib/pkgconfig", "/lib64/pkgconfig", "/share/pkgconfig", "/lib/x86_64-linux-gnu/pkgconfig", "/lib/aarch64-linux-gnu/pkgconfig"))
	a.line("ENV CPATH=%s", a.paths("/include"))
	a.line("ENV LIBRARY_PATH=%s", a.paths(libs...))
	a.line("ENV LD_LIBRARY_PATH=%s", a.paths(libs...))
	a.line("ENV PATH=%s:$PATH", a.paths("/bin"))
}

// paths lists folders of all dependencies.
func (a *author) paths(below ...string) string {
	var out []string
	for _, d := range a.deps {
		for _, b := range below {
			out = append(out, "/deps/"+d.Name+b)
		}
	}
	return strings.Join(out, ":")
}

// step writes a RUN that sees dependencies and caches.
func (a *author) step(s step) {
	var flags []string
	for _, d := range a.deps {
		flags = append(flags, fmt.Sprintf("--mount=type=bind,from=%s,target=/deps/%s", d.Name, d.Name))
	}
	for _, c := range a.caches {
		flag := "--mount=type=cache,target=" + c.path
		if c.alone {
			flag += ",sharing=locked"
		}
		flags = append(flags, flag)
	}
	a.line("")
	if oneCommand.MatchString(s.script) && s.name != "" {
		a.line("# %s", s.name)
	}
	a.line("RUN %s", strings.Join(append(flags, runnable(s)), " \\\n    "))
}

// oneCommand is a script that means the same as shell text behind RUN, where a backslash at the end would go on with the
// next line and << would begin a document. Of several commands that semicolons part, the shell would only heed how the last
// one ends.
var oneCommand = regexp.MustCompile(`^[A-Za-z./][^\n;]*[^\\\s;]$`)

// runnable puts a script into a form in which no character of it means anything to the Dockerfile's parser. One of several
// commands ends at the first that fails, unless it says itself what runs it. Its first line is what logs call it by.
func runnable(s step) string {
	text := strings.TrimRight(s.script, "\n")
	if oneCommand.MatchString(text) && !strings.Contains(text, "<<") {
		return text
	}
	if !strings.HasPrefix(text, "#!") {
		text = strings.TrimRight("set -e # "+s.name, " #") + "\n" + text
	}
	end := "EOF"
	for i := 1; slices.Contains(strings.Split(text, "\n"), end); i++ {
		end = fmt.Sprintf("EOF%d", i)
	}
	return fmt.Sprintf("<<'%s'\n%s\n%s", end, text, end)
}

// script makes lines one script.
func script(lines []string) string { return strings.Join(lines, "\n") }

var needsNoQuotes = regexp.MustCompile(`^[A-Za-z0-9._/@:+,=~%^-]+$`)

// quote writes a value as one word of an instruction.
func quote(value string, expand bool) string {
	if needsNoQuotes.MatchString(value) {
		return value
	}
	value = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value)
	if !expand {
		value = strings.ReplaceAll(value, `$`, `\$`)
	}
	return `"` + value + `"`
}

// stageOf is the name of a stage that no dependency has: BuildKit puts a named context in the place of a stage of its name.
func stageOf(wanted string, deps []model.ComponentRef) string {
	for slices.ContainsFunc(deps, func(d model.ComponentRef) bool { return d.Name == wanted }) {
		wanted += "-stage"
	}
	return wanted
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
