package recipe

import "cooper/internal/model"

// kind is a kind of project that a file shows.
type kind struct {
	kind     model.RecipeKind
	files    []string // any of them
	looked   string   // the same in words
	language string   // of the image
	what     string
	write    func(project) work
}

// kinds lists them in the order in which they are looked for.
func kinds() []kind {
	return []kind{
		{model.RecipeGo, []string{"go.mod"}, "go.mod", "go", "a Go module", goWork},
		{model.RecipeCMake, []string{"CMakeLists.txt"}, "CMakeLists.txt", "c", "a CMake project", cmakeWork},
		{
			model.RecipeAutotools,
			[]string{"configure", "autogen.sh", "autogen", "configure.ac"},
			"configure, autogen.sh, autogen or configure.ac", "c", "a project with a configure script", autotoolsWork,
		},
		{model.RecipeMeson, []string{"meson.build"}, "meson.build", "c", "a Meson project", mesonWork},
		{
			model.RecipeMake,
			[]string{"GNUmakefile", "makefile", "Makefile"},
			"GNUmakefile, makefile or Makefile", "c",
			"a project with a Makefile", makeWork,
		},
		{model.RecipeCargo, []string{"Cargo.toml"}, "Cargo.toml", "rust", "a Rust project", cargoWork},
		{model.RecipeNPM, []string{"package.json"}, "package.json", "node", "an npm package", npmWork},
		{model.RecipePython, []string{"pyproject.toml", "setup.py"}, "pyproject.toml or setup.py", "python", "a Python package", pythonWork},
		{model.RecipeMaven, []string{"pom.xml"}, "pom.xml", "java", "a Maven project", mavenWork},
	}
}

// installed is where a project is installed to, and what becomes the component: bin, lib, include and so on stand at the
// top of the component, as they do in /usr/local.
const installed = "/out/usr/local"

// filled ends a script with an error unless something was installed.
func filled(message string) string {
	return "\n[ -n \"$(find " + installed + " ! -type d 2>/dev/null | head -n 1)\" ] || {\n  echo \"" + message + "\" >&2\n  exit 1\n}"
}
