package recipe

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"

	"cooper/internal/model"
)

// project is a tree of a kind that is known, or one whose author says what to run.
type project struct {
	*search
	file  string // that shows its kind
	block *block // nil when there is none
}

func (p project) dependencies() []model.ComponentRef {
	if p.block == nil {
		return nil
	}
	return p.block.dependsOn
}

// has reports whether the source's folder has the file.
func (p project) has(name string) bool { return slices.Contains(p.top, name) }

// wants reports whether the author gives a build arg or a variable that value.
func (p project) wants(name, value string) bool {
	return p.block != nil && (p.block.args[name] == value || p.block.env[name] == value)
}

// image is what the build starts from: what the author names, else what the environment has for the language.
func (p project) image(language string) string {
	if p.block != nil && p.block.image != "" {
		language = p.block.image
		if p.env.Images[language] == "" {
			return language
		}
	}
	for _, image := range []string{p.env.Images[language], p.env.Images[defaultLanguage]} {
		if image != "" {
			return image
		}
	}
	return builtInImages()[defaultLanguage]
}

// assemble writes the Dockerfile for the work, with what the author adds.
func (p project) assemble(language string, w work) string {
	args := map[string]string{}
	maps.Copy(args, w.args)
	first := maps.Clone(p.env.BuildArgs)
	if p.block != nil {
		maps.Copy(args, p.block.args)
		for _, n := range slices.Sorted(maps.Keys(p.block.env)) {
			w.env = append(w.env, setting{n, p.block.env[n]})
		}
		for _, c := range p.block.caches {
			if !slices.ContainsFunc(w.caches, func(have cache) bool { return have.path == c }) {
				w.caches = append(w.caches, cache{path: c})
			}
		}
	}
	for n := range first {
		if v, ok := args[n]; ok {
			first[n] = v
			delete(args, n)
		}
	}
	w.args = args
	a := &author{work: w, image: p.image(language), first: first, deps: p.dependencies()}
	return a.dockerfile()
}

// fromBlock makes a recipe of what the author wrote.
func (s *search) fromBlock(ctx context.Context, b *block) (model.Recipe, error) {
	switch {
	case b.dockerfile != "":
		return s.fromNamed(ctx, b)
	case len(b.steps) > 0:
		return s.fromSteps(b), nil
	}
	r, err := s.detect(ctx, b)
	if model.CodeOf(err) == model.CodeRecipeNotFound {
		return r, b.files.invalid(hcl.Diagnostics{problem(b.at, "Nothing says how to build",
			"The block has neither steps nor dockerfile, and there is neither a Dockerfile nor a known build file at the top of the source's folder.")})
	}
	return r, err
}

// fromNamed uses the Dockerfile that the author names.
func (s *search) fromNamed(ctx context.Context, b *block) (model.Recipe, error) {
	text, err := s.tree.Read(ctx, b.dockerfile)
	if model.CodeOf(err) == model.CodeNotFound {
		return model.Recipe{}, b.files.invalid(hcl.Diagnostics{problem(b.set["dockerfile"], "No such file",
			"There is no regular file %s in the source's folder. Links are not followed.", b.dockerfile)})
	}
	if err != nil {
		return model.Recipe{}, err
	}
	target, which := b.target, "its last stage"
	if target == "" && hasStage(ctx, text) {
		target = stageName
	}
	if target != "" {
		which = "its stage " + target
	}
	return b.common(model.Recipe{
		Kind: model.RecipeHCL, File: b.file, Dockerfile: string(text), Target: target,
		Reason: fmt.Sprintf("%s has a component block that names %s; %s is the component.", b.file, b.dockerfile, which),
	}), nil
}

// fromSteps writes the Dockerfile for the steps that the author gives.
func (s *search) fromSteps(b *block) model.Recipe {
	p := project{search: s, file: b.file, block: b}
	output := orDefault(b.output, "/out")
	w := work{
		made:   []string{fmt.Sprintf("Cooper wrote this from the component block in %s.", b.file)},
		source: b.workdir, output: output, ready: true, steps: b.steps,
	}
	return b.common(model.Recipe{
		Kind: model.RecipeHCL, File: b.file, Written: true, Dockerfile: p.assemble(defaultLanguage, w), Target: stageOf(stageName, b.dependsOn),
		Reason: fmt.Sprintf("%s has a component block with %d steps.", b.file, len(b.steps)),
	})
}
