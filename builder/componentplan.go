package builder

import (
	"context"
	"slices"
	"strings"
	"time"

	"cooper/builder/dockerfile"
	"cooper/internal/model"
)

const (
	deepestDependency = 32
	mostComponents    = 256 // in one request, dependencies of dependencies included
)

// planner works out what one request needs: a component or an image, and the components below it. Nothing is recorded
// until all of it is known to be sound.
type planner struct {
	s       *Service
	retry   bool // failures that are remembered are tried again, and refs resolved again
	fresh   bool // a request to build: what was refused before is looked at again
	request model.Requester
	path    []identity // what is being planned, from the top down
	planned map[identity]*planned
	sources map[string]model.Source // by name of component, of what was planned
	resolve map[string]model.Source
	recipes map[string]recipeOf
}

// planned is a component that is there, or is to be built.
type planned struct {
	id    identity
	have  *model.Component    // it is there
	input string              // of the job that makes, made or is to make it, where that is known
	spec  model.ComponentSpec // it is to be built, or under way
	text  string              // of the Dockerfile
	needs []*planned
	build *model.Build // it is under way, or has been recorded
}

type recipeOf struct {
	recipe model.Recipe
	time   time.Time // of the commit
}

func (s *Service) newPlanner(who model.Requester, retry bool) *planner {
	return &planner{s: s, retry: retry, request: who, planned: map[identity]*planned{}, sources: map[string]model.Source{}, resolve: map[string]model.Source{}, recipes: map[string]recipeOf{}}
}

// wish is a component to be built, of a commit that is known.
type wish struct {
	identity  // of one of the platforms
	source    model.Source
	env       model.Environment
	platforms []string
	buildArgs map[string]string // of the request
}

// component plans a build and what it needs.
func (p *planner) component(ctx context.Context, w wish) (*planned, error) {
	p.path = append(p.path, w.identity)
	defer func() { p.path = p.path[:len(p.path)-1] }()
	p.sources[w.name] = w.source
	r, err := p.recipe(ctx, w.source, w.name, w.env)
	if err != nil {
		return nil, p.of(w.identity, err)
	}
	n := &planned{id: w.identity, text: r.recipe.Dockerfile, spec: model.ComponentSpec{
		Name: w.name, Tag: w.tag, Environment: w.environment, Platforms: w.platforms, Source: w.source, CommitTime: r.time,
		Repository: p.s.Names.ComponentRepository(w.name), ImageTag: p.s.Names.ComponentTag(w.tag, w.environment),
		Recipe: r.recipe, BuildArgs: mergeArgs(w.env.BuildArgs, r.recipe.BuildArgs, w.buildArgs), Timeout: p.s.Limits.Timeout,
		CacheScope: cacheScope(w), Notes: []string{r.recipe.Reason},
	}}
	if err := p.check(ctx, n); err != nil {
		return nil, p.of(w.identity, err)
	}
	for _, platform := range w.platforms {
		needs, err := p.dependencies(ctx, "", r.recipe.DependsOn, w.env, platform)
		if err != nil {
			return nil, err
		}
		n.needs = append(n.needs, needs...)
	}
	return n, nil
}

// check passes the Dockerfile through what every Dockerfile passes through.
func (p *planner) check(ctx context.Context, n *planned) error {
	var names []string
	for _, d := range n.spec.Recipe.DependsOn {
		names = append(names, d.Name)
	}
	checked, err := dockerfile.Check(ctx, []byte(n.text), dockerfile.Options{
		Target: n.spec.Recipe.Target, Platforms: n.spec.Platforms, BuildArgs: n.spec.BuildArgs, Sources: p.s.Sources, Contexts: names,
	})
	if err != nil {
		return err
	}
	n.text = string(checked.Text)
	n.spec.Dockerfile = digestOf(checked.Text)
	n.spec.Notes = append(n.spec.Notes, checked.Notes...)
	return nil
}

// dependencies plans components that something needs, for one platform. field is what errors about the list name.
func (p *planner) dependencies(ctx context.Context, field string, refs []model.ComponentRef, env model.Environment, platform string) ([]*planned, error) {
	seen := map[string]bool{}
	for _, ref := range refs {
		if err := contextName(field, ref.Name); err != nil {
			return nil, err
		}
		if seen[ref.Name] {
			return nil, model.FieldErrorf(model.CodeDependencyInvalid, field, "The component %s is named twice, and can be there only once.", ref.Name)
		}
		seen[ref.Name] = true
	}
	out := make([]*planned, len(refs))
	// Those of which the place is given come first: their recipes may say where the others come from.
	for _, placed := range []bool{true, false} {
		for i, ref := range refs {
			if placed != (ref.URL != "") {
				continue
			}
			n, err := p.dependency(ctx, field, ref, env, platform)
			if err != nil {
				return nil, err
			}
			out[i] = n
		}
	}
	return out, nil
}

// contextName refuses components whose names BuildKit does not take for named contexts: digits alone are the index of a
// stage.
func contextName(field, name string) error {
	_, err := dockerfile.ContextName(name)
	if err == nil && strings.Trim(name, "0123456789") != "" {
		return nil
	}
	return model.FieldErrorf(model.CodeDependencyInvalid, field, "A Dockerfile cannot name the component %q, so nothing can be built with it.", name)
}

func (p *planner) dependency(ctx context.Context, field string, ref model.ComponentRef, env model.Environment, platform string) (*planned, error) {
	id, err := p.s.identify(ref.Name, ref.Tag, "")
	if err != nil {
		return nil, model.FieldErrorf(model.CodeDependencyInvalid, field, "%s%s", p.where(), model.AsError(err).Message)
	}
	id.environment, id.platform = shortName(env), platform
	if err := p.cycle(id, field); err != nil {
		return nil, err
	}
	if n := p.planned[id]; n != nil {
		return n, p.agree(field, ref, n.from())
	}
	if len(p.path) > deepestDependency || len(p.planned) >= mostComponents {
		return nil, model.FieldErrorf(model.CodeDependencyInvalid, field, "%sToo many components depend on each other: at most %d, %d deep.", p.where(), mostComponents, deepestDependency)
	}
	if err := p.known(ctx, field, ref); err != nil {
		return nil, err
	}
	found, src, err := p.s.locate(ctx, place{identity: id, url: ref.URL, subdir: ref.Subdir, field: field}, p)
	if err != nil {
		return nil, p.of(id, err)
	}
	n, err := p.haveOrPlan(ctx, found, wish{identity: id, source: src, env: env, platforms: []string{platform}})
	if err != nil {
		return nil, err
	}
	p.planned[id] = n
	return n, nil
}

// haveOrPlan takes what is there, or what somebody else is having built, or plans to build it.
func (p *planner) haveOrPlan(ctx context.Context, found *model.Component, w wish) (n *planned, err error) {
	if found != nil && p.s.sound(ctx, *found) {
		n = &planned{id: w.identity, have: found}
		n.input, err = p.s.inputOfJob(ctx, found.BuildID, found.Platform)
		return n, err
	}
	b, err := p.s.building(ctx, w.identity, w.source)
	if err != nil {
		return nil, err
	}
	if b != nil {
		job, _ := b.JobFor(w.platform)
		return &planned{id: w.identity, spec: b.Component, input: job.Input, build: b}, nil
	}
	if n, err = p.component(ctx, w); err != nil {
		return nil, err
	}
	n.input = n.inputOf(w.platform) // once, however many need it
	return n, p.failedBefore(ctx, n)
}

// failedBefore refuses what needs a component of which it is known that it cannot be built.
func (p *planner) failedBefore(ctx context.Context, n *planned) error {
	if p.retry {
		return nil
	}
	b, err := p.s.rememberedFailure(ctx, n)
	if err != nil || b == nil {
		return err
	}
	return model.Errorf(model.CodeDependencyFailed, "%s%s could not be built before (build %s): %s: %s Ask for it with retry=1 to try again.",
		p.where(), n.id.at(), b.ID, b.Error.Code, b.Error.Message)
}

// cycle refuses a component that is needed, indirectly, by itself.
func (p *planner) cycle(id identity, field string) error {
	i := slices.IndexFunc(p.path, func(up identity) bool { return up.name == id.name && up.tag == id.tag })
	if i < 0 {
		return nil
	}
	var names []string
	for _, up := range p.path[i:] {
		names = append(names, up.at())
	}
	return model.FieldErrorf(model.CodeDependencyCycle, field, "These components need each other: %s.", strings.Join(append(names, id.at()), " -> "))
}

// where says for whom something is needed, unless it is what was asked for.
func (p *planner) where() string {
	if len(p.path) == 0 {
		return ""
	}
	return "Needed by " + p.path[len(p.path)-1].at() + ": "
}

// of makes an error about a dependency name it. One of what was asked for stays as it is.
func (p *planner) of(id identity, err error) error {
	if len(p.path) == 0 || len(p.path) == 1 && p.path[0] == id {
		return err
	}
	e := *model.AsError(err)
	var names []string
	for _, up := range p.path {
		names = append(names, up.at())
	}
	if names[len(names)-1] != id.at() {
		names = append(names, id.at())
	}
	if e.Code == model.CodeComponentNotFound { // what was asked for is there to be built
		e.Code = model.CodeDependencyInvalid
	}
	if prefix := strings.Join(names, " -> ") + ": "; !strings.Contains(e.Message, " -> ") && e.Code != model.CodeInternal {
		e.Message = prefix + e.Message
	}
	return &e
}

// recipe reads a commit's recipe, once for all platforms.
func (p *planner) recipe(ctx context.Context, src model.Source, name string, env model.Environment) (recipeOf, error) {
	key := strings.Join([]string{src.URL, src.Commit, src.Subdir, name, env.Name}, "\x00")
	if r, ok := p.recipes[key]; ok {
		return r, nil
	}
	if err := p.s.refusals.recall(key); err != nil && !p.retry && !p.fresh {
		return recipeOf{}, asRemembered(err)
	}
	r, err := p.s.readRecipe(ctx, src, name, env)
	p.s.refusals.note(key, err, planMemory)
	if err != nil {
		return recipeOf{}, err
	}
	p.recipes[key] = r
	return r, nil
}

func (s *Service) readRecipe(ctx context.Context, src model.Source, name string, env model.Environment) (recipeOf, error) {
	tree, err := s.Git.Tree(ctx, src)
	if err != nil {
		return recipeOf{}, err
	}
	defer func() { _ = tree.Close() }() // it was only read
	r, err := s.Recipes.Find(ctx, tree, name, env)
	if err != nil {
		return recipeOf{}, err
	}
	return recipeOf{recipe: r, time: tree.Time().UTC()}, nil
}

// from is where the component comes from.
func (n *planned) from() model.Source {
	if n.have != nil {
		return n.have.Source
	}
	return n.spec.Source
}

func (n *planned) commit() string { return n.from().Commit }
