package builder

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"cooper/internal/model"
)

const (
	// planWithin bounds the planning of a build on behalf of everybody who asks for the same.
	planWithin = 2 * time.Minute
	// answerWithin is how long a caller waits for that; the planning goes on.
	answerWithin = 25 * time.Second
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
		if state.Failed, err = s.rememberedFailure(ctx, n); err != nil || state.Failed != nil {
			state.Log = s.tailOf(ctx, state.Failed, want.platform)
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
	j, _ := b.JobFor(id.platform)
	if !j.Status.Terminal() {
		return &b, nil
	}
	// This platform has ended. What it made may have come just now, or have been lost since.
	c, err := s.Values.ComponentOfBuild(ctx, b.ID, id.platform)
	switch {
	case err == nil && s.sound(ctx, c):
		return &b, nil
	case err == nil || model.CodeOf(err) == model.CodeNotFound:
		return nil, nil //nolint:nilnil // it is not coming any more
	}
	return nil, err
}

// rememberedFailure returns the last build of what is planned for one platform, when that failed for a reason that lies in
// what it is made of.
func (s *Service) rememberedFailure(ctx context.Context, n *planned) (*model.Build, error) {
	b, err := s.Values.LastOfInput(ctx, n.inputOf(n.id.platform))
	if model.CodeOf(err) == model.CodeNotFound {
		return nil, nil //nolint:nilnil // none is no error
	}
	if err != nil {
		return nil, err
	}
	j, _ := b.JobFor(n.id.platform)
	if j.Status != model.StatusFailed || j.Error == nil || !lasting(j.Error.Code) {
		return nil, nil //nolint:nilnil // not one to remember
	}
	b.Error = j.Error // the build's may be another platform's, or not there yet
	return &b, nil
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
	case b.Ended(platform):
		if j, _ := b.JobFor(platform); j.Error != nil {
			b.Error = j.Error // the build's may be another platform's, or not there yet
		}
		state.Failed = &b
		state.Log = s.tailOf(ctx, &b, platform)
	default:
		state.Build = &b
	}
	return state, nil
}

// Components returns a page of components, newest first.
func (s *Service) Components(ctx context.Context, f model.ComponentFilter) ([]model.Component, error) {
	return s.Values.Components(ctx, f)
}
