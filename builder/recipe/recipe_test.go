package recipe

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// TestOrder takes away the file that decided, again and again, and sees which is next.
func TestOrder(t *testing.T) {
	files := map[string]string{
		".cooper/component.hcl":  `component { run = "make" }`,
		".factory/component.hcl": `component { run = "make" }`,
		"Dockerfile":             "FROM scratch AS component\n",
		"Containerfile":          "FROM scratch\n",
		"go.mod":                 "", "CMakeLists.txt": "", "configure": "", "autogen.sh": "", "autogen": "", "configure.ac": "",
		"meson.build": "", "GNUmakefile": "", "makefile": "", "Makefile": "", "Cargo.toml": "", "package.json": "", "pyproject.toml": "",
		"setup.py": "", "pom.xml": "", "README.md": "", "sub/go.mod": "",
	}
	want := []struct {
		file string
		kind model.RecipeKind
	}{
		{".cooper/component.hcl", model.RecipeHCL},
		{".factory/component.hcl", model.RecipeHCL},
		{"Dockerfile", model.RecipeStage},
		{"Containerfile", model.RecipeDockerfile},
		{"go.mod", model.RecipeGo},
		{"CMakeLists.txt", model.RecipeCMake},
		{"configure", model.RecipeAutotools},
		{"autogen.sh", model.RecipeAutotools},
		{"autogen", model.RecipeAutotools},
		{"configure.ac", model.RecipeAutotools},
		{"meson.build", model.RecipeMeson},
		{"GNUmakefile", model.RecipeMake},
		{"makefile", model.RecipeMake},
		{"Makefile", model.RecipeMake},
		{"Cargo.toml", model.RecipeCargo},
		{"package.json", model.RecipeNPM},
		{"pyproject.toml", model.RecipePython},
		{"setup.py", model.RecipePython},
		{"pom.xml", model.RecipeMaven},
	}
	for _, w := range want {
		r := found(t, files)
		require.Equal(t, w.file, r.File)
		require.Equal(t, w.kind, r.Kind, w.file)
		require.Contains(t, r.Reason, w.file)
		require.NotEmpty(t, r.Dockerfile)
		delete(files, w.file)
	}
	_, err := find(t, files)
	e := model.AsError(err)
	require.Equal(t, model.CodeRecipeNotFound, e.Code)
	require.Equal(t, Finder{}.Looked(), e.Allowed)
	require.Len(t, e.Allowed, 12)
	require.Contains(t, e.Message, "subdir")
}

func TestDockerfileStages(t *testing.T) {
	tests := []struct {
		name, text string
		kind       model.RecipeKind
		target     string
	}{
		{"named", "FROM debian AS build\nFROM scratch AS component\nCOPY --from=build /x /\nFROM debian\n", model.RecipeStage, "component"},
		{"in capitals", "FROM scratch AS Component\n", model.RecipeStage, "component"},
		{"none", "FROM debian AS build\nFROM scratch AS components\n", model.RecipeDockerfile, ""},
		{"in a document only", "FROM debian\nRUN <<EOF\nFROM scratch AS component\nEOF\n", model.RecipeDockerfile, ""},
		{"in a comment only", "FROM debian\n# FROM scratch AS component\n", model.RecipeDockerfile, ""},
		{"with a secret", "FROM debian AS component\nRUN --mount=type=secret,id=x,required true\n", model.RecipeStage, "component"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := found(t, map[string]string{"Dockerfile": test.text, "go.mod": ""})
			require.Equal(t, test.kind, r.Kind)
			require.Equal(t, test.target, r.Target)
			require.Equal(t, test.text, r.Dockerfile, "the author's text stays as it is")
			require.Equal(t, "Dockerfile", r.File)
		})
	}
}

// TestReads holds Find to what it says of how much of the tree it looks at.
func TestReads(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		asked []string
	}{
		{"detected", map[string]string{"go.mod": "", "main.go": "", "a/b.go": ""}, []string{"list ."}},
		{"nothing", map[string]string{"README": ""}, []string{"list ."}},
		{"Dockerfile", map[string]string{"Dockerfile": "FROM scratch", "go.mod": ""}, []string{"list .", "read Dockerfile"}},
		{"block", ofBlock(`component { run = "make" }`), []string{"list .", "list .cooper", "read .cooper/component.hcl"}},
		{
			"folder without a block",
			map[string]string{".cooper/x.yaml": "", ".factory/ci.hcl": `pipeline "x" {}`, "Makefile": ""},
			[]string{"list .", "list .cooper", "list .factory", "read .factory/ci.hcl"},
		},
		{
			"named Dockerfile",
			map[string]string{".cooper/c.hcl": `component { dockerfile = "b/D" }`, "b/D": "FROM scratch", "Dockerfile": ""},
			[]string{"list .", "list .cooper", "read .cooper/c.hcl", "read b/D"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tr := &tree{files: test.files}
			_, _ = Finder{}.Find(t.Context(), tr, "x", defaults(t)) // only what it asks for matters
			require.Equal(t, test.asked, tr.asked)
		})
	}
}

// TestLinks: what is no regular file is told, and not passed over for something further down the list.
func TestLinks(t *testing.T) {
	for _, file := range []string{"Dockerfile", ".cooper/component.hcl"} {
		e := refused(t, map[string]string{file: link, "go.mod": ""})
		require.Contains(t, e.Message, file)
		require.Contains(t, e.Message, "not a regular file")
	}
	e := refused(t, map[string]string{".cooper/c.hcl": `component { dockerfile = "b/D" }`, "b/D": link})
	require.Contains(t, e.Message, ".cooper/c.hcl:1,13")
	r := found(t, map[string]string{".cooper": link, "Makefile": ""})
	require.Equal(t, model.RecipeMake, r.Kind, "a link in the folder's place is no folder")
}

// TestSame: the same tree gives the same text.
func TestSame(t *testing.T) {
	files := ofBlock(`component {
  args = { A = "1", B = "2", C = "3", D = "4" }
  env  = { E = "1", F = "2", G = "3", H = "4" }
}`)
	first := found(t, files)
	for range 20 {
		require.Equal(t, first, found(t, files))
	}
}

// TestTreeFails: what the tree fails with comes through.
func TestTreeFails(t *testing.T) {
	gone := model.Errorf(model.CodeGitUnreachable, "The repository cannot be reached.")
	for _, name := range []string{"list .", "list .cooper", "read .cooper/c.hcl", "read b/D"} {
		tr := &failing{tree: tree{files: map[string]string{".cooper/c.hcl": `component { dockerfile = "b/D" }`, "b/D": ""}}, at: name, err: gone}
		_, err := Finder{}.Find(t.Context(), tr, "x", defaults(t))
		require.ErrorIs(t, err, gone, name)
	}
}

// failing is a tree that fails when it is asked for one thing.
type failing struct {
	tree
	at  string
	err error
}

func (f *failing) List(ctx context.Context, dir string) ([]string, error) {
	if f.at == "list "+dir {
		return nil, f.err
	}
	return f.tree.List(ctx, dir)
}

func (f *failing) Read(ctx context.Context, path string) ([]byte, error) {
	if f.at == "read "+path {
		return nil, f.err
	}
	return f.tree.Read(ctx, path)
}
