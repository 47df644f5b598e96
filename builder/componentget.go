package builder

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode"

	"cooper/internal/model"
)

const (
	// planWithin bounds the planning of a build on behalf of everybody who asks for the same.
	planWithin = 2 * time.Minute
	// answerWithin is how long a caller waits for that; the planning goes on.
	answerWithin = 25 * time.Second
	tailLines    = 50  // of the log of a build that failed before
	mostLookedAt = 100 // values of one commit
)

// Component returns a component; or the build that is making it, which it begins when there is none and the caller may;
// or how the same failed before. Equal requests that come while one is planned share its answer.
func (s *Service) Component(ctx context.Context, q model.ComponentQuery) (model.ComponentState, error) {
	id, err := s.identify(q.Component, q.Tag, q.Architecture)
	if err != nil {
		return model.ComponentState{}, err
	}
	if q.Commit != "" || q.Digest != "" {
		return s.componentAt(ctx, id, q)
	}
	want := place{identity: id, url: q.URL, subdir: q.Subdir, field: "url"}
	if !q.Retry {
		state, err := s.settled(ctx, want)
		if err != nil || state.Component != nil {
			return state, err
		}
	}
	key := strings.Join([]string{
		id.name, id.tag, id.environment, id.platform, q.URL, q.Subdir, fmt.Sprint(q.Retry, q.MayBuild),
	}, "\x00")
	shared := s.asking.DoChan(key, func() (got any, err error) {
		defer func() { // nobody above would
			if r := recover(); r != nil {
				err = fmt.Errorf("panic while a component was planned: %v\n%s", r, debug.Stack())
			}
		}()
		// Who asked first may leave; the others still want the answer.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), planWithin)
		defer cancel()
		state, err := s.findOrBuild(ctx, want, q)
		return state, gitPatience(err)
	})
	patience := time.NewTimer(answerWithin)
	defer patience.Stop()
	select {
	case <-ctx.Done():
		return model.ComponentState{}, ctx.Err()
	case <-patience.C:
		return model.ComponentState{}, model.Errorf(model.CodeUnavailable, "The repository is still being looked at. Ask again in a moment.")
	case got := <-shared:
		state, _ := got.Val.(model.ComponentState)
		return state, got.Err
	}
}

// settled answers a request that needs no git server: a value of a tag or a commit.
func (s *Service) settled(ctx context.Context, want place) (model.ComponentState, error) {
	src, err := s.parseSource(want)
	if err != nil {
		return model.ComponentState{}, err
	}
	c, err := s.kept(ctx, want.identity)
	if err != nil || c == nil || c.Source.Kind == model.RefBranch || !sameSource(src, *c) {
		return model.ComponentState{}, err
	}
	return s.stateOf(*c), nil
}

func (s *Service) stateOf(c model.Component) model.ComponentState {
	return model.ComponentState{
		Component: &c, Platform: c.Platform, Environment: c.Environment, ImageName: s.Registry.Name(c.Repository, c.ImageTag),
	}
}

// componentAt returns a value that is kept: the one of a digest, or the newest of a commit. Nothing is built.
func (s *Service) componentAt(ctx context.Context, id identity, q model.ComponentQuery) (model.ComponentState, error) {
	src, err := s.parseSource(place{identity: id, url: q.URL, subdir: q.Subdir, field: "url"})
	if err != nil {
		return model.ComponentState{}, err
	}
	f := model.ComponentFilter{
		Component: id.name, Platform: id.platform, Environment: &id.environment, Commit: strings.ToLower(q.Commit), Digest: q.Digest,
		History: true, Limit: mostLookedAt,
	}
	found, err := s.Values.Components(ctx, f)
	if err != nil {
		return model.ComponentState{}, err
	}
	// Of several, the one that was asked for under this tag.
	slices.SortStableFunc(found, func(a, b model.Component) int {
		return cmp.Compare(boolToInt(b.Tag == id.tag), boolToInt(a.Tag == id.tag))
	})
	for _, c := range found {
		if !sameSource(src, c) {
			continue
		}
		if there, err := s.Tarballs.Has(ctx, c.Tarball); err != nil || there {
			return s.stateOf(c), err
		}
	}
	return model.ComponentState{}, model.Errorf(model.CodeNotFound,
		"No such value of %s is kept for %s. Ask for it without commit and digest to have it built.", id.name, id.platform)
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// findOrBuild answers a request of which no value is at hand.
func (s *Service) findOrBuild(ctx context.Context, want place, q model.ComponentQuery) (state model.ComponentState, err error) {
	p := s.newPlanner(q.Requester, q.Retry)
	found, src, err := s.locate(ctx, want, p)
	if err != nil {
		return state, err
	}
	if found != nil {
		return s.stateOf(*found), nil
	}
	state = model.ComponentState{
		Platform: want.platform, Environment: want.environment,
		ImageName: s.Registry.Name(s.Names.ComponentRepository(want.name), s.Names.ComponentTag(want.tag, want.environment)),
	}
	if state.Build, err = s.building(ctx, want.identity, src); err != nil || state.Build != nil {
		return state, err
	}
	if !q.MayBuild {
		return state, model.Errorf(model.CodeScopeInsufficient, "There is no %s for %s yet, and this key may not build it: it lacks components:write.", want.at(), want.platform)
	}
	stop := s.prefetch(src)
	defer func() {
		if state.Build == nil {
			stop()
		}
	}()
	n, err := p.component(ctx, wish{
		identity: want.identity, source: src, env: s.environment(want.environment), platforms: []string{want.platform},
	})
	if err != nil {
		return state, err
	}
	if !q.Retry {
		if state.Failed, err = s.rememberedFailure(ctx, n.inputOf()); err != nil || state.Failed != nil {
			state.Log = s.tailOf(ctx, state.Failed)
			return state, err
		}
	}
	if err := s.roomForBuild(); err != nil {
		return state, err
	}
	sub, err := p.submit(ctx, n, nil)
	if err != nil {
		return state, err
	}
	state.Build = &sub.Build
	return state, nil
}

// building returns a build in flight that makes the platform of that very commit, or nil.
func (s *Service) building(ctx context.Context, id identity, src model.Source) (*model.Build, error) {
	b, err := s.Store.InFlight(ctx, s.Names.ComponentRepository(id.name), s.Names.ComponentTag(id.tag, id.environment), id.platform)
	if model.CodeOf(err) == model.CodeNotFound {
		return nil, nil //nolint:nilnil // none is no error
	}
	if err != nil || b.Kind != model.KindComponent || b.Askers == 0 {
		return nil, err
	}
	made := b.Component.Source
	if made.URL != src.URL || made.Subdir != src.Subdir || made.Commit != src.Commit {
		return nil, nil //nolint:nilnil // another one
	}
	for _, j := range b.Jobs {
		if j.Platform == id.platform && j.Status.Terminal() && j.Status != model.StatusSucceeded {
			return nil, nil //nolint:nilnil // this platform is not coming any more
		}
	}
	return &b, nil
}

// rememberedFailure returns the last build of an input when it failed for a reason that lies in the input.
func (s *Service) rememberedFailure(ctx context.Context, input string) (*model.Build, error) {
	b, err := s.Values.LastOfInput(ctx, input)
	if model.CodeOf(err) == model.CodeNotFound {
		return nil, nil //nolint:nilnil // none is no error
	}
	if err != nil {
		return nil, err
	}
	if b.Status != model.StatusFailed || b.Error == nil || !lasting(b.Error.Code) {
		return nil, nil //nolint:nilnil // not one to remember
	}
	return &b, nil
}

// tailOf returns the last lines of a failed build's log.
func (s *Service) tailOf(ctx context.Context, b *model.Build) []string {
	if b == nil {
		return nil
	}
	var out []string
	err := s.Follow(ctx, b.ID, model.LogQuery{}, func(l model.LogLine) error {
		out = append(out, plainText(l.Text))
		if len(out) > 2*tailLines {
			out = append(out[:0], out[len(out)-tailLines:]...)
		}
		return nil
	})
	if err != nil {
		s.Log.Warn("cannot read the log of a build that failed", "build", b.ID, "error", err)
	}
	return out[max(0, len(out)-tailLines):]
}

// plainText is a log line without what would do something to a terminal.
func plainText(line []byte) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(string(line), "\uFFFD"))
}

// Made returns what a build has made for a platform, or how it stands.
func (s *Service) Made(ctx context.Context, buildID, platform string) (model.ComponentState, error) {
	b, err := s.Store.Build(ctx, buildID)
	if err != nil {
		return model.ComponentState{}, err
	}
	state := model.ComponentState{
		Platform: platform, Environment: b.Component.Environment, ImageName: s.Registry.Name(b.Component.Repository, b.Component.ImageTag),
	}
	c, err := s.Values.ComponentOfBuild(ctx, buildID, platform)
	switch {
	case err == nil:
		state.Component = &c
	case model.CodeOf(err) != model.CodeNotFound:
		return state, err
	case b.Status.Terminal():
		state.Failed = &b
		state.Log = s.tailOf(ctx, &b)
	default:
		state.Build = &b
	}
	return state, nil
}

// Components returns a page of components, newest first.
func (s *Service) Components(ctx context.Context, f model.ComponentFilter) ([]model.Component, error) {
	return s.Values.Components(ctx, f)
}

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
