package walls

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// File is a Go source file as far as the walls are concerned.
type File struct {
	Path    string   // relative to the module's root, with slashes
	Imports []string // import paths
	Env     []string // functions of package os that touch the environment and are used here
}

// Test reports whether the file is compiled only into tests.
func (f File) Test() bool { return strings.HasSuffix(f.Path, "_test.go") }

// Read parses every Go file below root, whatever its build constraints. Folders that the go command leaves out
// (testdata, and names that start with a dot or an underscore) are left out.
func Read(root string) ([]File, error) {
	var files []File
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != root && ignored(entry.Name()):
			return filepath.SkipDir
		case entry.IsDir() || filepath.Ext(name) != ".go":
			return nil
		}
		file, err := read(root, name)
		files = append(files, file)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the module's imports: %w", err)
	}
	return files, nil
}

func ignored(folder string) bool {
	return folder == "testdata" || folder == "vendor" || strings.HasPrefix(folder, ".") || strings.HasPrefix(folder, "_")
}

func read(root, name string) (File, error) {
	relative, err := filepath.Rel(root, name)
	if err != nil {
		return File{}, err
	}
	file := File{Path: filepath.ToSlash(relative)}
	source, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
	if err != nil {
		return File{}, err
	}
	osName := ""
	for _, spec := range source.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return File{}, err
		}
		file.Imports = append(file.Imports, imported)
		if imported == "os" {
			osName = "os"
			if spec.Name != nil {
				osName = spec.Name.Name
			}
		}
	}
	if osName != "" {
		file.Env = environment(source, osName)
	}
	return file, nil
}

// environment returns the functions through which source, which imports package os as osName, touches the environment.
func environment(source *ast.File, osName string) []string {
	var found []string
	ast.Inspect(source, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		qualifier, ok := selector.X.(*ast.Ident)
		if ok && qualifier.Name == osName && slices.Contains(environmentCalls(), selector.Sel.Name) {
			found = append(found, selector.Sel.Name)
		}
		return true
	})
	return found
}

func environmentCalls() []string {
	return []string{"Clearenv", "Environ", "ExpandEnv", "Getenv", "LookupEnv", "Setenv", "Unsetenv"}
}

// Check returns one sentence for each import, and each use of the environment, that the table forbids.
func Check(files []File) []string {
	var broken []string
	for _, file := range files {
		for _, imported := range file.Imports {
			for _, why := range forbidden(file, imported) {
				broken = append(broken, fmt.Sprintf("%s imports %s: %s", file.Path, imported, why))
			}
		}
		if !file.Test() && !below(path.Dir(file.Path), "internal/config") {
			for _, call := range file.Env {
				broken = append(broken, fmt.Sprintf("%s uses os.%s: only internal/config reads the environment", file.Path, call))
			}
		}
	}
	return broken
}

// forbidden returns why file may not import a package; nothing when it may.
func forbidden(file File, imported string) []string {
	var why []string
	folder := path.Dir(file.Path)
	if target, ok := strings.CutPrefix(imported, Module+"/"); ok {
		why = append(why, forbiddenInside(folder, target)...)
	}
	for _, rule := range Rules() {
		if rule.Tests && file.Test() || belowAny(folder, rule.Homes) {
			continue
		}
		if belowAny(imported, rule.Packages) {
			why = append(why, rule.Why)
		}
	}
	return why
}

// forbiddenInside is forbidden for packages of this module, named by their folders.
func forbiddenInside(folder, target string) []string {
	var why []string
	from, to := partOf(folder), partOf(target)
	switch {
	case from != "" && to != "" && from != to:
		why = append(why, "the parts meet only in cmd/cooper")
	case below(folder, "internal") && to != "":
		why = append(why, "internal packages import no part")
	}
	if below(folder, "internal/model") && !below(target, "internal/model") {
		why = append(why, "internal/model imports nothing of this module")
	}
	if below(target, "cmd") {
		why = append(why, "nothing imports a command")
	}
	return why
}

// partOf returns the part that a folder belongs to, or "".
func partOf(folder string) string {
	for _, part := range Parts() {
		if below(folder, part) {
			return part
		}
	}
	return ""
}

// below reports whether a slash-separated name is parent or something under it.
func below(name, parent string) bool { return name == parent || strings.HasPrefix(name, parent+"/") }

func belowAny(name string, parents []string) bool {
	return slices.ContainsFunc(parents, func(parent string) bool { return below(name, parent) })
}
