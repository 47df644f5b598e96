package recipe

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// tree is a commit's files by path. A file whose text is link is none that can be read.
type tree struct {
	files map[string]string
	asked []string // lists and reads, in order
}

const link = "\x00link"

func (t *tree) List(_ context.Context, dir string) ([]string, error) {
	t.asked = append(t.asked, "list "+dir)
	var names []string
	for p := range t.files {
		if dir != "." {
			below, ok := strings.CutPrefix(p, dir+"/")
			if !ok {
				continue
			}
			p = below
		}
		name, _, folder := strings.Cut(p, "/")
		if folder {
			name += "/"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func (t *tree) Read(_ context.Context, path string) ([]byte, error) {
	t.asked = append(t.asked, "read "+path)
	text, ok := t.files[path]
	if !ok || text == link {
		return nil, model.Errorf(model.CodeNotFound, "There is no such file.")
	}
	return []byte(text), nil
}

// defaults is the built-in environment.
func defaults(t *testing.T) model.Environment {
	t.Helper()
	e, err := LoadEnvironments("")
	require.NoError(t, err)
	return e.All()[0]
}

func find(t *testing.T, files map[string]string) (model.Recipe, error) {
	t.Helper()
	return Finder{}.Find(t.Context(), &tree{files: files}, "zlib", defaults(t))
}

// found is find for a tree that has a recipe.
func found(t *testing.T, files map[string]string) model.Recipe {
	t.Helper()
	r, err := find(t, files)
	require.NoError(t, err)
	return r
}

// ofBlock is a tree with the block and a CMake project.
func ofBlock(hcl string) map[string]string {
	return map[string]string{".cooper/component.hcl": hcl, "CMakeLists.txt": ""}
}

// refused returns the error about a tree whose recipe is wrong.
func refused(t *testing.T, files map[string]string) *model.Error {
	t.Helper()
	_, err := find(t, files)
	var e *model.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, model.CodeRecipeInvalid, e.Code, e.Message)
	return e
}
