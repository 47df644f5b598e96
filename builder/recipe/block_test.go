package recipe

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// TestFaults: what is wrong is told with file, line and column, and with the line itself.
func TestFaults(t *testing.T) {
	tests := []struct {
		name, hcl string
		at        string   // line,column
		says      []string // parts of the message, the line at fault among them
	}{
		{"syntax", "component {\n  image = \n}", "2,11", []string{"   2:   image =", "^"}},
		{"block that is not closed", "component {\n  run = \"x\"\n", "1,11", []string{"Unclosed configuration block"}},
		{"unknown attribute", "component {\n  imge = \"c\"\n}", "2,3", []string{"   2:   imge = \"c\"", "      " + "  ^^^^", `Did you mean "image"?`}},
		{"unknown block", "component {\n  stage \"x\" {}\n}", "2,3", []string{"Unsupported block type"}},
		{"attribute twice", "component {\n  run = \"a\"\n  run = \"b\"\n}", "3,3", []string{"Attribute redefined"}},
		{"variable", "component {\n  image = var.image\n}", "2,11", []string{"No variables here", "^^^^^^^^^"}},
		{"variable without quotes", "component {\n  image = c\n}", "2,11", []string{"a string stands in quotes"}},
		{"interpolation", "component {\n  run = \"echo ${HOME}\"\n}", "2,17", []string{"$NAME, or $${NAME}"}},
		{"interpolation alone", "component {\n  run = \"${HOME}\"\n}", "2,9", []string{"$NAME, or $${NAME}"}},
		{"function", "component {\n  run = upper(\"x\")\n}", "2,9", []string{"no functions"}},
		{"loop", "component {\n  run = [for x in [\"a\"]: x]\n}", "2,9", []string{"no functions, operators or loops"}},
		{"operator", "component {\n  submodules = !true\n}", "2,16", []string{"operators"}},
		{"condition", "component {\n  image = true ? \"a\" : \"b\"\n}", "2,11", []string{"Not a plain value"}},
		{"image of another type", "component {\n  image = [\"c\"]\n}", "2,11", []string{"not a string"}},
		{"null", "component {\n  image = null\n}", "2,11", []string{"null"}},
		{"empty image", "component {\n  image = \"\"\n}", "2,11", []string{"empty"}},
		{"image that is none", "component {\n  image = \"a b\"\n}", "2,11", []string{"image reference"}},
		{"image in capitals", "component {\n  image = \"Debian\"\n}", "2,11", []string{"image reference"}},
		{"scratch", "component {\n  image = \"scratch\"\n  run = \"x\"\n}", "2,11", []string{"no step can run"}},
		{"image with a line in it", "component {\n  image = \"a\\nRUN x\"\n}", "2,11", []string{"image reference"}},
		{"relative output", "component {\n  run = \"x\"\n  output = \"out\"\n}", "3,12", []string{"absolute path"}},
		{"output with dots", "component {\n  run = \"x\"\n  output = \"/out/../etc\"\n}", "3,12", []string{"absolute path"}},
		{"cache with a comma", "component {\n  caches = [\"/a\", \"/b,from=x\"]\n}", "2,19", []string{"absolute path"}},
		{"caches that are no list", "component {\n  caches = \"/a\"\n}", "2,12", []string{"it is a list"}},
		{"env that is no map", "component {\n  env = [\"A=b\"]\n}", "2,9", []string{"it is a map"}},
		{"env with a wrong name", "component {\n  env = { \"A B\" = \"x\" }\n}", "2,11", []string{"A B", "letters, digits"}},
		{"env with lines", "component {\n  env = {\n    A = \"x\\nRUN y\"\n  }\n}", "3,5", []string{"more than one line"}},
		{"key that is computed", "component {\n  env = { (x) = \"y\" }\n}", "2,11", []string{"Not a plain key"}},
		{"key that is a number", "component {\n  args = { 1e9999999 = \"y\" }\n}", "2,12", []string{"Not a plain key"}},
		{"arg that chooses a frontend", "component {\n  args = { BUILDKIT_SYNTAX = \"evil\" }\n}", "2,12", []string{"frontend"}},
		{"enormous number", "component {\n  args = { A = 1e999999999 }\n}", "2,12", []string{"quotes"}},
		{"fraction", "component {\n  args = { A = 1.5 }\n}", "2,12", []string{"quotes"}},
		{"NUL", "component {\n  run = \"a\\u0000b\"\n}", "2,9", []string{"control characters"}},
		{"submodules in quotes", "component {\n  submodules = \"no\"\n}", "2,16", []string{"without quotes"}},
		{"empty run", "component {\n  run = \" \"\n}", "2,9", []string{"empty"}},
		{"empty step", "component {\n  step \"a\" {\n    run = []\n  }\n}", "2,3", []string{"Empty step"}},
		{"step without run", "component {\n  step \"a\" {}\n}", "2,12", []string{"run"}},
		{"step without a name", "component {\n  step {\n    run = \"x\"\n  }\n}", "2,8", []string{"name"}},
		{"step with a name of two lines", "component {\n  step \"a\\nRUN x\" {\n    run = \"x\"\n  }\n}", "2,8", []string{"few words"}},
		{"run and step", "component {\n  run = \"x\"\n  step \"a\" { run = \"x\" }\n}", "3,3", []string{"Keep either"}},
		{"dockerfile and run", "component {\n  dockerfile = \"D\"\n  run = \"x\"\n}", "3,3", []string{"no use for run"}},
		{"dockerfile and step", "component {\n  dockerfile = \"D\"\n  step \"a\" { run = \"x\" }\n}", "3,3", []string{"no use for step"}},
		{"dockerfile outside", "component {\n  dockerfile = \"../D\"\n}", "2,16", []string{"source's folder"}},
		{"dockerfile by absolute path", "component {\n  dockerfile = \"/etc/passwd\"\n}", "2,16", []string{"source's folder"}},
		{"dockerfile that is not there", "component {\n  dockerfile = \"D\"\n}", "2,3", []string{"no regular file D"}},
		{"target alone", "component {\n  target = \"x\"\n}", "2,3", []string{"without dockerfile", "target"}},
		{"target that is none", "component {\n  dockerfile = \"D\"\n  target = \"a b\"\n}", "3,12", []string{"name of a stage"}},
		{"output without steps", "component {\n  output = \"/x\"\n}", "2,3", []string{"without steps"}},
		{"two names", "component \"a\" \"b\" {\n}", "1,15", []string{"one name at most"}},
		{"no block of the name", "component \"a\" {\n}\ncomponent \"b\" {\n}\ncomponent {\n}", "1,1", []string{`none is named "zlib"`, "a, b, one without a name"}},
		{"two of one name", "component \"zlib\" {\n}\ncomponent \"zlib\" {\n}", "3,1", []string{"Two blocks of one name"}},
		{"dependency without tag", "component {\n  depends_on = [\"a@v1\", \"png\"]\n}", "2,25", []string{"needs a tag"}},
		{"dependency with an option for a tag", "component {\n  depends_on = [\"png@--upload-pack=x\"]\n}", "2,17", []string{"no hyphen"}},
		{"dependency with a space", "component {\n  depends_on = [\"png@a b\"]\n}", "2,17", []string{"no spaces"}},
		{"dependency in capitals", "component {\n  depends_on = [\"PNG@v1\"]\n}", "2,17", []string{"lower-case"}},
		{"dependency with dots", "component {\n  depends_on = [\"../png@v1\"]\n}", "2,17", []string{"lower-case"}},
		{"dependency named like an image's long form", "component {\n  depends_on = [\"library/png@v1\"]\n}", "2,17", []string{"something else"}},
		{"dependency named scratch", "component {\n  depends_on = [\"scratch@v1\"]\n}", "2,17", []string{"something else"}},
		{"dependency twice", "component {\n  depends_on = [\"a@v1\", \"a@v2\"]\n}", "2,25", []string{"named twice"}},
		{"dependency within another", "component {\n  depends_on = [\"a@v1\", \"a/b@v2\"]\n}", "2,3", []string{"a and a/b"}},
		{"dependency with an unknown key", "component {\n  depends_on = [{ component = \"a\", version = \"v1\" }]\n}", "2,17", []string{"no version"}},
		{"dependency of another type", "component {\n  depends_on = [5]\n}", "2,17", []string{"neither a string"}},
		{"dependency with a folder outside", "component {\n  depends_on = [{ component = \"a\", tag = \"v1\", subdir = \"../x\" }]\n}", "2,17", []string{"subdir"}},
		{"depends_on that is no list", "component {\n  depends_on = \"a@v1\"\n}", "2,16", []string{"it is a list"}},
		{"nested too deeply", "component {\n  run = " + strings.Repeat("[", 100000) + "\n}", "2,72", []string{"Too complex"}},
		{"signs in a row", "pipeline {\n  component = " + strings.Repeat("-", 100000) + "1\n}", "2,31", []string{"Too complex"}},
		{"conditions in a row", "component {\n  run = " + strings.Repeat("a?b:", 1000) + "c\n}", "2,2010", []string{"Too complex"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := refused(t, ofBlock(test.hcl))
			require.True(t, strings.HasPrefix(e.Message, ".cooper/component.hcl:"+test.at+": "), e.Message)
			for _, s := range test.says {
				require.Contains(t, e.Message, s)
			}
			require.Positive(t, e.Line)
			require.Less(t, len(e.Message), 4000)
		})
	}
}

// TestSeveralFaults: a few are told at once, in the order of the text.
func TestSeveralFaults(t *testing.T) {
	e := refused(t, ofBlock("component {\n  target = 1\n  run = [1.5, 2.5, \"\"]\n  image = \"A\"\n}"))
	require.Equal(t, `.cooper/component.hcl:2,3: This has no effect: A component without dockerfile has no use for target. Take it out.
   2:   target = 1
        ^^^^^^^^^^
.cooper/component.hcl:2,12: Wrong value of target: it is the name of a stage: letters, digits and . _ -, starting with a letter.
   2:   target = 1
                 ^
.cooper/component.hcl:3,10: Wrong value in run: numbers other than integers stand in quotes.
   3:   run = [1.5, 2.5, ""]
               ^^^
There are 3 more such problems.`, e.Message)
	require.Equal(t, 2, e.Line)
}

// TestOneConfiguration: the files of a folder are read together, and what is not ours is not even evaluated.
func TestOneConfiguration(t *testing.T) {
	others := `
variables { x = nowhere.to_be_found }
pipeline "ci" {
  stage "build" { run = undefined_function(var.a, 1 / 0) }
  component "inner" { nonsense = true }
}
threshold = 5
`
	t.Run("beside others", func(t *testing.T) {
		r := found(t, map[string]string{".factory/a.hcl": others, ".factory/b.hcl": others + `component { run = "make" }`})
		require.Equal(t, ".factory/b.hcl", r.File)
	})
	t.Run("none of ours", func(t *testing.T) {
		r := found(t, map[string]string{".factory/a.hcl": others, "Makefile": ""})
		require.Equal(t, model.RecipeMake, r.Kind)
	})
	t.Run("a broken file that is not ours", func(t *testing.T) {
		r := found(t, map[string]string{".factory/a.hcl": "{{ template }}", ".factory/b.hcl": `component { run = "make" }`})
		require.Equal(t, ".factory/b.hcl", r.File)
	})
	t.Run("a broken file that may be ours", func(t *testing.T) {
		e := refused(t, map[string]string{".factory/a.hcl": "component {{", ".factory/b.hcl": `component { run = "make" }`})
		require.Contains(t, e.Message, ".factory/a.hcl:1,12")
	})
	t.Run("blocks in two files", func(t *testing.T) {
		files := map[string]string{".cooper/a.hcl": "component \"png\" {\n run = \"png\"\n}", ".cooper/b.hcl": "component \"zlib\" {\n run = \"zlib\"\n}"}
		require.Equal(t, ".cooper/b.hcl", found(t, files).File)
	})
	t.Run("one block with another name", func(t *testing.T) {
		require.Equal(t, model.RecipeHCL, found(t, map[string]string{".cooper/a.hcl": `component "png" { run = "x" }`}).Kind)
	})
	t.Run("the first folder that has one", func(t *testing.T) {
		r := found(t, map[string]string{".cooper/a.hcl": others, ".factory/b.hcl": `component { run = "x" }`})
		require.Equal(t, ".factory/b.hcl", r.File)
	})
	t.Run("not in folders below", func(t *testing.T) {
		r := found(t, map[string]string{".cooper/x/a.hcl": `component { run = "x" }`, ".cooper/a.hcl.orig": "component {", "Makefile": ""})
		require.Equal(t, model.RecipeMake, r.Kind)
	})
}

func TestBlockWithDockerfile(t *testing.T) {
	text := "FROM debian AS dist\nFROM scratch AS component\nFROM debian AS last\n"
	tests := []struct {
		name, hcl, target string
	}{
		{"target", "component {\n dockerfile = \"build/Dockerfile\"\n target = \"dist\"\n args = { A = \"b\" }\n}", "dist"},
		{"stage of the component", `component { dockerfile = "build/Dockerfile" }`, "component"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := found(t, map[string]string{".cooper/c.hcl": test.hcl, "build/Dockerfile": text, "Dockerfile": "FROM x"})
			require.Equal(t, model.RecipeHCL, r.Kind)
			require.Equal(t, ".cooper/c.hcl", r.File)
			require.Equal(t, text, r.Dockerfile)
			require.Equal(t, test.target, r.Target)
			require.Contains(t, r.Reason, "build/Dockerfile")
		})
	}
}

// TestFoldersOfDependencies: a folder may be spelled as requests may spell it, and means the same.
func TestFoldersOfDependencies(t *testing.T) {
	for spelled, want := range map[string]string{"lib/png": "lib/png", "lib/png/": "lib/png", "./lib//png": "lib/png", ".": "", "./": "", "": ""} {
		r := found(t, ofBlock(`component {
  run = "make"
  depends_on = [{ component = "png", tag = "v1", url = "https://git.example/libs.git", subdir = "`+spelled+`" }]
}`))
		require.Equal(t, []model.ComponentRef{{Name: "png", Tag: "v1", URL: "https://git.example/libs.git", Subdir: want}}, r.DependsOn, spelled)
	}
	for _, outside := range []string{"/lib", "..", "../lib", "lib/../..", "lib/../png", "lib/.git", "lib\\\\png", "a\\nb"} {
		e := refused(t, ofBlock("component {\n  run = \"make\"\n  depends_on = [{ component = \"png\", tag = \"v1\", subdir = \""+outside+"\" }]\n}"))
		require.Contains(t, e.Message, ".cooper/component.hcl:3,17: Wrong dependency: subdir is", outside)
	}
}

// TestOpenBlock: a block that says nothing about how to build adds to what is detected.
func TestOpenBlock(t *testing.T) {
	open := "component {\n depends_on = [\"png@v1\"]\n args = { A = \"b\" }\n submodules = false\n}"
	t.Run("Dockerfile", func(t *testing.T) {
		r := found(t, map[string]string{".cooper/c.hcl": open, "Dockerfile": "FROM scratch AS component\n", "Makefile": ""})
		require.Equal(t, model.Recipe{
			Kind: model.RecipeHCL, File: ".cooper/c.hcl", Dockerfile: "FROM scratch AS component\n", Target: "component",
			Reason:    ".cooper/c.hcl has a component block that leaves open how to build. Dockerfile has a stage named component.",
			BuildArgs: map[string]string{"A": "b"}, DependsOn: []model.ComponentRef{{Name: "png", Tag: "v1"}}, WithoutSubmodules: true,
		}, r)
	})
	t.Run("Dockerfile, and what only a project can use", func(t *testing.T) {
		e := refused(t, map[string]string{".cooper/c.hcl": "component {\n  image = \"c\"\n}", "Dockerfile": "FROM scratch"})
		require.Contains(t, e.Message, ".cooper/c.hcl:2,3: This has no effect: Dockerfile is what builds this component, and it has no use for image.")
	})
	t.Run("project", func(t *testing.T) {
		r := found(t, map[string]string{".cooper/c.hcl": open, "Makefile": ""})
		require.Equal(t, model.RecipeHCL, r.Kind)
		require.Contains(t, r.Reason, "Makefile")
		require.Contains(t, r.Dockerfile, "ARG A=b\n")
		require.Contains(t, r.Dockerfile, "from=png,target=/deps/png")
	})
	t.Run("nothing", func(t *testing.T) {
		e := refused(t, map[string]string{".cooper/c.hcl": "\ncomponent {\n}"})
		require.Contains(t, e.Message, ".cooper/c.hcl:2,1: Nothing says how to build")
	})
}
