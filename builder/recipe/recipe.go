// Package recipe finds the build instructions of a repository and turns them into a Dockerfile: those that its author
// wrote for Cooper, those of a Dockerfile, or those that its build files suggest. It also reads the file of OS
// environments, which say what images builds start from. It reads a tree through an interface, builds nothing and fetches
// nothing.
package recipe

import (
	"context"
	"fmt"
	"slices"

	"cooper/builder/dockerfile"
	"cooper/internal/model"
)

// Tree is a commit's files, read without a checkout.
type Tree interface {
	// List returns the names in a folder, those of folders with a slash at their end; none when there is no such folder.
	// Links are not followed and count as files. The top is ".".
	List(ctx context.Context, dir string) ([]string, error)
	// Read returns a regular file, or NOT_FOUND.
	Read(ctx context.Context, path string) ([]byte, error)
}

// stageName is the stage that a Dockerfile's author gives to the component.
const stageName = "component"

// Finder finds recipes. It has no state.
type Finder struct{}

// search is one look through a tree.
type search struct {
	tree      Tree
	component string
	env       model.Environment
	top       []string // names in the source's folder
}

// Find returns the recipe of the tree, the first that Looked lists and the tree has. RECIPE_NOT_FOUND, with what was
// looked for in Allowed; RECIPE_INVALID, with file, line and column in its message. Errors of the tree itself come as they
// are. It lists one folder, or up to three when there are folders of recipes, and reads no file but those of a recipe.
func (Finder) Find(ctx context.Context, tree Tree, component string, env model.Environment) (model.Recipe, error) {
	top, err := tree.List(ctx, ".")
	if err != nil {
		return model.Recipe{}, err
	}
	s := &search{tree: tree, component: component, env: env, top: top}
	b, err := s.authored(ctx)
	if err != nil {
		return model.Recipe{}, err
	}
	if b != nil {
		return s.fromBlock(ctx, b)
	}
	return s.detect(ctx, nil)
}

// Looked lists what Find looks for, in order.
func (Finder) Looked() []string {
	looked := []string{
		".cooper/*.hcl or .factory/*.hcl with a component block",
		"a Dockerfile with a stage named " + stageName,
		"a Dockerfile",
	}
	for _, k := range kinds() {
		looked = append(looked, k.looked)
	}
	return looked
}

// detect finds what the tree shows itself to be. b is the component block that left this open, or nil.
func (s *search) detect(ctx context.Context, b *block) (model.Recipe, error) {
	for _, name := range []string{"Dockerfile", "Containerfile"} {
		if slices.Contains(s.top, name) {
			return s.fromDockerfile(ctx, name, b)
		}
	}
	for _, k := range kinds() {
		for _, name := range k.files {
			if slices.Contains(s.top, name) {
				return s.fromKind(k, name, b), nil
			}
		}
	}
	e := model.Errorf(model.CodeRecipeNotFound,
		"There are no build instructions at the top of the source's folder. Add .cooper/component.hcl with a component block, or a Dockerfile, or name the folder that has them with subdir.")
	e.Allowed = Finder{}.Looked()
	return model.Recipe{}, e
}

// fromDockerfile uses a Dockerfile of the tree as it is.
func (s *search) fromDockerfile(ctx context.Context, name string, b *block) (model.Recipe, error) {
	if b != nil {
		if err := b.refuse(fmt.Sprintf("%s is what builds this component, and it", name), "image", "env", "caches"); err != nil {
			return model.Recipe{}, err
		}
	}
	text, err := s.read(ctx, name)
	if err != nil {
		return model.Recipe{}, err
	}
	r := model.Recipe{
		Kind: model.RecipeDockerfile, File: name, Dockerfile: string(text),
		Reason: fmt.Sprintf("%s has no stage named %s, so its last stage is the component.", name, stageName),
	}
	if hasStage(ctx, text) {
		r.Kind, r.Target = model.RecipeStage, stageName
		r.Reason = fmt.Sprintf("%s has a stage named %s.", name, stageName)
	}
	return b.complete(r), nil
}

// hasStage reports whether the Dockerfile has a stage for the component. Of one that cannot be parsed it does not matter:
// whoever checks the recipe says what is wrong.
func hasStage(ctx context.Context, text []byte) bool {
	_, err := dockerfile.Check(ctx, text, dockerfile.Options{Target: stageName})
	return model.CodeOf(err) != model.CodeTargetNotFound
}

// fromKind writes the Dockerfile for what the tree shows itself to be.
func (s *search) fromKind(k kind, name string, b *block) model.Recipe {
	p := project{search: s, file: name, block: b}
	w := k.write(p)
	w.made = append(w.made, fmt.Sprintf("Cooper wrote this for %s, because there is a file %s.", k.what, name))
	return b.complete(model.Recipe{
		Kind: k.kind, File: name, Written: true, Dockerfile: p.assemble(k.language, w), Target: stageOf(stageName, p.dependencies()),
		Reason: fmt.Sprintf("%s shows %s; there is no Dockerfile and nothing before it in the list of recipes.", name, k.what),
	})
}

// read reads a file that the tree lists.
func (s *search) read(ctx context.Context, name string) ([]byte, error) {
	text, err := s.tree.Read(ctx, name)
	if model.CodeOf(err) == model.CodeNotFound {
		return nil, model.Errorf(model.CodeRecipeInvalid,
			"%s is not a regular file. Links are not followed: put the file itself there, or name it with dockerfile in a component block of .cooper/component.hcl.", plain(name, longestName)).Wrap(err)
	}
	return text, err
}
