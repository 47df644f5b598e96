package builder

import (
	"context"

	"cooper/builder/source"
	"cooper/internal/model"
)

// Build returns a build with its jobs.
func (s *Service) Build(ctx context.Context, id string) (model.Build, error) {
	return s.Store.Build(ctx, id)
}

// Builds returns a page of builds, newest first.
func (s *Service) Builds(ctx context.Context, f model.BuildFilter) ([]model.Build, error) {
	if f.Platform != "" {
		p, err := s.parsePlatform(f.Platform)
		if err != nil {
			return nil, err
		}
		f.Platform = p
	}
	return s.Store.Builds(ctx, f)
}

// Waits says of each queued job of the build why it has not started.
func (s *Service) Waits(ctx context.Context, b model.Build) ([]model.JobWait, error) {
	var out []model.JobWait
	for _, j := range b.Jobs {
		if j.Status != model.StatusQueued {
			continue
		}
		before, err := s.Store.QueuePosition(ctx, j.ID)
		if err != nil {
			return nil, err
		}
		out = append(out, model.JobWait{JobID: j.ID, Position: before, Reason: s.reason(j.Platform, before)})
	}
	return out, nil
}

// Image tells whether a platform of an image can be pulled, under which name, and which build is on its way.
func (s *Service) Image(ctx context.Context, q model.ImageQuery) (model.ImageState, error) {
	branch, tag := orElse(q.Branch, defaultBranch), orElse(q.Tag, defaultTag)
	if err := s.Names.CheckComponent(q.Component); err != nil {
		return model.ImageState{}, err
	}
	if err := source.CheckRef("branch", branch); err != nil {
		return model.ImageState{}, err
	}
	if err := s.Names.CheckTag(tag); err != nil {
		return model.ImageState{}, err
	}
	platform := ownPlatform()
	if q.Architecture != "" {
		p, err := s.parsePlatform(q.Architecture)
		if err != nil {
			return model.ImageState{}, err
		}
		platform = p
	}
	repository := s.Names.Repository(q.Component, branch)
	state := model.ImageState{Name: s.Registry.Name(repository, tag), Platform: platform}
	img, err := s.Store.Image(ctx, repository, tag)
	switch {
	case err == nil:
		state.Image = &img
	case model.CodeOf(err) != model.CodeNotFound:
		return state, err
	}
	b, err := s.Store.InFlight(ctx, repository, tag, platform)
	switch {
	case err == nil:
		state.InFlight = &b
	case model.CodeOf(err) != model.CodeNotFound:
		return state, err
	}
	return state, nil
}

// Images returns a page of images, by repository and tag.
func (s *Service) Images(ctx context.Context, f model.ImageFilter) ([]model.Image, error) {
	if f.Platform != "" {
		p, err := s.parsePlatform(f.Platform)
		if err != nil {
			return nil, err
		}
		f.Platform = p
	}
	return s.Store.Images(ctx, f)
}

// Name is how the outside calls a tag of a repository.
func (s *Service) Name(repository, tag string) string { return s.Registry.Name(repository, tag) }
