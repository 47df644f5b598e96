package builder

import (
	"context"
	"fmt"

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
		p, err := s.Platform(f.Platform)
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
		if n := len(j.WaitsFor); n > 0 {
			out = append(out, model.JobWait{JobID: j.ID, Reason: fmt.Sprintf("It waits for %d builds of components that it needs.", n)})
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
	_, platform, err := s.architecture(q.Architecture)
	if err != nil {
		return model.ImageState{}, err
	}
	repository := s.Names.Repository(q.Component, branch)
	state := model.ImageState{Name: s.Registry.Name(repository, tag), Platform: platform}
	if s.Names.IsBuildTag(tag) {
		err := s.buildImage(ctx, repository, tag, &state)
		return state, err
	}
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

// buildImage fills in what a build's own tag holds: the platforms of that build alone.
func (s *Service) buildImage(ctx context.Context, repository, tag string, state *model.ImageState) error {
	b, err := s.Store.Build(ctx, s.Names.BuildOfTag(tag))
	if model.CodeOf(err) == model.CodeNotFound || err == nil && b.Image.Repository != repository {
		return nil
	}
	if err != nil {
		return err
	}
	img := &model.Image{Component: b.Image.Component, Branch: b.Image.Branch, Repository: repository, Tag: tag}
	for _, j := range b.Jobs {
		switch {
		case j.Status == model.StatusSucceeded && j.Result != nil:
			img.Platforms = append(img.Platforms, model.ImagePlatform{Platform: j.Platform, Result: *j.Result, BuildID: b.ID, Created: j.Finished})
			img.Updated = j.Finished
		case j.Platform == state.Platform && !j.Status.Terminal():
			state.InFlight = &b
		}
	}
	if len(img.Platforms) == 0 {
		return nil
	}
	if img.IndexDigest, err = s.Registry.Digest(ctx, repository, tag); err != nil {
		if model.CodeOf(err) == model.CodeNotFound {
			return nil // an administrator has deleted it
		}
		return err
	}
	state.Image = img
	return nil
}

// Images returns a page of images, by repository and tag.
func (s *Service) Images(ctx context.Context, f model.ImageFilter) ([]model.Image, error) {
	if f.Platform != "" {
		p, err := s.Platform(f.Platform)
		if err != nil {
			return nil, err
		}
		f.Platform = p
	}
	return s.Store.Images(ctx, f)
}

// Name is how the outside calls a tag of a repository.
func (s *Service) Name(repository, tag string) string { return s.Registry.Name(repository, tag) }

// BuildName is how the outside calls what a build alone made: its immutable tag.
func (s *Service) BuildName(repository, buildID string) string {
	return s.Registry.Name(repository, s.Names.BuildTag(buildID))
}
