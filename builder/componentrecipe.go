package builder

import (
	"context"

	"cooper/internal/model"
)

// Recipe tells how a repository would be built.
func (s *Service) Recipe(ctx context.Context, q model.ComponentQuery) (model.RecipeReport, error) {
	if q.URL == "" && q.Component == "" {
		return model.RecipeReport{}, model.FieldErrorf(model.CodeFieldRequired, "url", "Say which repository's recipe is wanted: ?url=https://….")
	}
	id, err := s.identify(orElse(q.Component, "component"), q.Tag, q.Architecture) // a recipe need not know its name
	if err != nil {
		return model.RecipeReport{}, err
	}
	want := place{identity: id, url: q.URL, subdir: q.Subdir, field: "url"}
	src, err := s.parseSource(want)
	if err == nil && src.URL == "" {
		src, err = s.rememberedSource(ctx, want)
	}
	if err != nil {
		return model.RecipeReport{}, err
	}
	if id.tag != defaultRef {
		src.Ref = id.tag
	}
	p := s.newPlanner(q.Requester, q.Retry)
	if src, err = s.resolveOnce(ctx, "url", src, p); err != nil {
		return model.RecipeReport{}, err
	}
	env := s.environment(id.environment)
	r, err := p.recipe(ctx, src, id.name, env)
	if err != nil {
		return model.RecipeReport{}, err
	}
	n := &planned{id: id, text: r.recipe.Dockerfile, spec: model.ComponentSpec{Recipe: r.recipe, Platforms: []string{id.platform}, BuildArgs: mergeArgs(env.BuildArgs, r.recipe.BuildArgs)}}
	if err := p.check(ctx, n); err != nil {
		return model.RecipeReport{}, err
	}
	return model.RecipeReport{
		Recipe: r.recipe, Source: src, Platform: id.platform, Environment: id.environment, BuildArgs: n.spec.BuildArgs,
		Looked: s.Recipes.Looked(), Notes: n.spec.Notes,
	}, nil
}
