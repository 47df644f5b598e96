package builder

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cooper/internal/model"
)

// slowestPush is what a registry takes at the least, in bytes a second.
const slowestPush = 1 << 20

// succeedComponent makes the OCI image of a tarball that a job has stored, moves the tag's index, and then records the
// value with the job's end. A crash before the record leaves what the next delivery of the outcome makes again.
func (s *Service) succeedComponent(ctx context.Context, b model.Build, job model.Job, o model.Outcome) error {
	there, err := s.Tarballs.Has(ctx, *o.Result.Tarball)
	if err != nil {
		return err
	}
	if !there {
		why := model.Failure{Code: model.CodeArtifactCorrupt, Message: "The tarball that the worker stored is not in the store."}
		return s.againOrEnd(ctx, job, why)
	}
	c := componentOf(b, job, *o.Result)
	pushing, cancel := context.WithTimeout(ctx, publishWithin+time.Duration(c.Tarball.Size/slowestPush)*time.Second)
	defer cancel()
	if c.Manifest, err = s.ComponentImages.PutComponent(pushing, c); err != nil {
		return s.publishFailed(ctx, o, err)
	}
	o.Result.Manifest = c.Manifest
	ctx, cancel = context.WithTimeout(ctx, publishWithin)
	defer cancel()
	defer s.tags.lock(c.Repository + ":" + c.ImageTag)()
	// Under the lock, the build's other platforms may have come in.
	if b, err = s.Store.Build(ctx, b.ID); err != nil {
		return err
	}
	if err := s.publishComponent(ctx, b, c); err != nil {
		return s.publishFailed(ctx, o, err)
	}
	return s.end(ctx, o, nil)
}

// componentOf is the value that a job made.
func componentOf(b model.Build, job model.Job, r model.Result) model.Component {
	spec := b.Component
	return model.Component{
		ID: job.ID, Name: spec.Name, Tag: spec.Tag, Environment: spec.Environment, Platform: job.Platform, Source: spec.Source,
		CommitTime: spec.CommitTime, Recipe: spec.Recipe.Kind, Tarball: *r.Tarball, Repository: spec.Repository, ImageTag: spec.ImageTag,
		Manifest: r.Manifest, BuildID: b.ID, Dependencies: r.Dependencies, Created: b.Created,
	}
}

// publishComponent puts a platform into the index under the component's tag, where the newest request of each platform
// wins, and into the build's own. The caller holds the tag's lock.
func (s *Service) publishComponent(ctx context.Context, b model.Build, c model.Component) error {
	current, err := s.Values.ComponentPlatforms(ctx, c.Name, c.Tag, c.Environment)
	if err != nil {
		return err
	}
	mine := []model.ImagePlatform{asImagePlatform(c)}
	var there []model.ImagePlatform
	for _, v := range current {
		there = append(there, asImagePlatform(v))
	}
	for _, j := range b.Jobs {
		if j.Platform == c.Platform || j.Status != model.StatusSucceeded {
			continue
		}
		v, err := s.Values.ComponentOfBuild(ctx, b.ID, j.Platform)
		if err != nil {
			return err
		}
		mine = append(mine, asImagePlatform(v))
	}
	sortPlatforms(mine)
	all := merge(there, mine)
	tags := []string{c.ImageTag}
	if own := s.Names.BuildTag(c.BuildID); samePlatforms(all, mine) {
		tags = append(tags, own)
	} else if _, _, err := s.Registry.PutIndex(ctx, c.Repository, []string{own}, mine, componentAnnotations(c, nil)); err != nil {
		return err
	}
	_, kept, err := s.Registry.PutIndex(ctx, c.Repository, tags, all, componentAnnotations(c, current))
	if err != nil {
		return err
	}
	for _, p := range kept {
		if p.Platform == c.Platform {
			return nil
		}
	}
	return model.Errorf(model.CodePushFailed, "The registry has lost the manifest that was just pushed for %s.", c.Platform).Wrap(errors.New("manifest gone"))
}

func asImagePlatform(c model.Component) model.ImagePlatform {
	return model.ImagePlatform{Platform: c.Platform, Result: model.Result{Manifest: c.Manifest}, BuildID: c.BuildID, Created: c.Created}
}

// componentAnnotations say of an index what holds for all of its platforms: of the commit nothing, while they differ.
// Source: OCI Image Format Specification, annotations.md.
func componentAnnotations(c model.Component, others []model.Component) map[string]string {
	out := map[string]string{
		"org.opencontainers.image.source": c.Source.URL, "org.opencontainers.image.ref.name": c.ImageTag,
		"org.opencontainers.image.title": c.Name, "org.opencontainers.image.version": c.Tag,
		"org.opencontainers.image.revision": c.Source.Commit,
	}
	for _, v := range others {
		if v.Platform != c.Platform && v.Source.Commit != c.Source.Commit {
			delete(out, "org.opencontainers.image.revision")
		}
	}
	return out
}

// contexts are the named contexts of a job, and the components in them. Each is put into the registry, which sends nothing
// but what that has lost since: that a manifest is there does not say that its layer is.
func (s *Service) contexts(ctx context.Context, b model.Build, platform string) (map[string]string, []model.Dependency, error) {
	var names map[string]string
	var used []model.Dependency
	for _, d := range b.Dependencies() {
		if d.Platform != platform {
			continue
		}
		c, err := s.Values.ComponentOfBuild(ctx, d.BuildID, platform)
		if err != nil {
			return nil, nil, fmt.Errorf("find the dependency %s@%s: %w", d.Name, d.Tag, err)
		}
		if c.Manifest, err = s.ComponentImages.PutComponent(ctx, c); err != nil {
			return nil, nil, err
		}
		if names == nil {
			names = map[string]string{}
		}
		names[d.Name] = s.ComponentImages.ContextName(c.Repository, c.Manifest.Digest)
		d.Digest, d.Commit = c.Tarball.Digest, c.Source.Commit
		used = append(used, d)
	}
	return names, used, nil
}
