package builder

import (
	"context"
	"errors"
	"strings"
	"time"

	"cooper/internal/model"
)

const (
	// maxAttempts is how often a job runs at the most when it fails for reasons outside of it.
	maxAttempts = 3
	// publishPatience is how long the index of a built platform is tried to be stored.
	publishPatience = 10 * time.Minute
	publishWithin   = 30 * time.Second
)

// finish takes in how an attempt ended. An error means that it could not be recorded now and is to be given again.
func (s *Service) finish(ctx context.Context, o model.Outcome) error {
	b, err := s.Store.BuildOfJob(ctx, o.JobID)
	if model.CodeOf(err) == model.CodeNotFound {
		s.Log.Warn("outcome of a job that is not known", "job", o.JobID)
		return nil
	}
	if err != nil {
		return err
	}
	job, _ := jobOf(b, o.JobID)
	if job.Attempt != o.Attempt || job.Worker != o.Worker || job.Status.Terminal() {
		s.Log.Info("outcome of an attempt that is over", "job", o.JobID, "attempt", o.Attempt, "current", job.Attempt, "status", job.Status)
		return nil
	}
	if o.Status == model.StatusSucceeded && !whole(b, o.Result) {
		o.Status, o.Failure = model.StatusFailed, &model.Failure{Code: model.CodeInternal, Message: "The worker reported a success and nothing that it made. Submit the build again."}
	}
	s.workers.reported(o)
	switch {
	case o.Status == model.StatusSucceeded:
		err = s.succeed(ctx, b, job, o)
	case o.Transient && b.Askers > 0 && (o.Attempt < maxAttempts || o.Failure != nil && o.Failure.Code == model.CodeShuttingDown):
		err = s.again(ctx, job, o.Failure)
	default:
		err = s.end(ctx, o, nil)
	}
	if model.CodeOf(err) == model.CodeLeaseLost {
		return nil
	}
	return err
}

// whole reports whether a result has what its build is to make.
func whole(b model.Build, r *model.Result) bool {
	return r != nil && (b.Kind != model.KindComponent || r.Tarball != nil)
}

// succeed publishes what the job pushed and then records it: a crash between the two leaves an index that the next
// delivery of the outcome makes again.
func (s *Service) succeed(ctx context.Context, b model.Build, job model.Job, o model.Outcome) error {
	if b.Kind == model.KindComponent {
		return s.succeedComponent(ctx, b, job, o)
	}
	ctx, cancel := context.WithTimeout(ctx, publishWithin)
	defer cancel()
	res, err := s.Registry.Platform(ctx, b.Image.Repository, *o.Result, job.Platform)
	if err != nil {
		return s.publishFailed(ctx, o, err)
	}
	o.Result = &res
	defer s.tags.lock(b.Image.Repository + ":" + b.Image.Tag)()
	// Under the lock, the build's other platforms may have come in.
	if b, err = s.Store.Build(ctx, b.ID); err != nil {
		return err
	}
	img, err := s.publishImage(ctx, b, job, res)
	if err != nil {
		return s.publishFailed(ctx, o, err)
	}
	return s.end(ctx, o, img)
}

// publishFailed gives the registry time to come back, and then gives the job up.
func (s *Service) publishFailed(ctx context.Context, o model.Outcome, err error) error {
	if model.CodeOf(err) != model.CodePushFailed || time.Since(o.Time) < publishPatience {
		return err
	}
	e := model.AsError(err)
	o.Status, o.Result, o.Failure = model.StatusFailed, nil, &model.Failure{Code: e.Code, Message: e.Message}
	return s.end(ctx, o, nil)
}

// end records the end of an attempt and lets go of what the build needed.
func (s *Service) end(ctx context.Context, o model.Outcome, img *model.Image) error {
	b, err := s.Store.FinishJob(ctx, o, img)
	if err != nil {
		return err
	}
	if job, ok := jobOf(b, o.JobID); ok {
		s.metrics.finished(job)
	}
	s.ended(ctx, b)
	s.storeLogsSoon()
	return nil
}

// ended lets go of a build's inputs once it is over, and wakes those who wait for it.
func (s *Service) ended(ctx context.Context, b model.Build) {
	s.watch.tell(b.ID)
	if b.Kind == model.KindComponent { // somebody may wait for one of its platforms
		s.endWaitsSoon()
	}
	if !b.Status.Terminal() {
		return
	}
	s.dropWaits(ctx, b)
	s.secrets.forget(b.ID)
	if err := s.Inputs.Remove(b.ID); err != nil {
		s.Log.Warn("cannot remove a build's context; the sweep tries again", "build", b.ID, "error", err)
	}
	s.Log.Info("build ended", "build", b.ID, "status", b.Status, "seconds", b.Finished.Sub(b.Created).Seconds())
}

// again puts a job back into the queue for its next attempt, at once when what failed was its worker, after a pause when
// it was something that the next attempt needs too.
func (s *Service) again(ctx context.Context, job model.Job, why *model.Failure) error {
	next, err := s.Store.RequeueJob(ctx, job.ID, job.Attempt)
	if err != nil {
		return err
	}
	s.Log.Warn("job runs again", "job", job.ID, "attempt", next.Attempt, "why", why)
	s.watch.tell(job.BuildID)
	if why != nil && pausedBefore(why.Code) {
		s.pauses.hold(job.ID, pauseBefore(next.Attempt)) // the sweep publishes it then
		return nil
	}
	err = s.publish(ctx, model.Order{JobID: next.ID, BuildID: next.BuildID, Attempt: next.Attempt, Platform: next.Platform})
	if err != nil {
		s.Log.Warn("cannot queue a job now; the sweep tries again", "job", job.ID, "error", err)
	}
	return nil
}

// againOrEnd is again for a job that has not been tried too often yet; one that has ends with that failure.
func (s *Service) againOrEnd(ctx context.Context, job model.Job, why model.Failure) error {
	if job.Attempt < maxAttempts {
		return s.again(ctx, job, &why)
	}
	return s.end(ctx, model.Outcome{
		JobID: job.ID, BuildID: job.BuildID, Attempt: job.Attempt, Worker: job.Worker, Status: model.StatusFailed, Failure: &why, Time: time.Now(),
	}, nil)
}

// pausedBefore reports whether a failure of that code is worth waiting after. A worker that is lost or stopped is not,
// and one whose BuildKit is gone takes no order before it is back.
func pausedBefore(code model.Code) bool {
	switch code {
	case model.CodeShuttingDown, model.CodeWorkerLost, model.CodeBuilderUnavailable:
		return false
	default:
		return true
	}
}

// publishImage puts a platform into the index under the build's tag, and into the build's own index, and returns the
// tag's new state; nil when the tag does not move. The caller holds the tag's lock.
func (s *Service) publishImage(ctx context.Context, b model.Build, job model.Job, res model.Result) (*model.Image, error) {
	now := time.Now()
	mine := []model.ImagePlatform{{Platform: job.Platform, Result: res, BuildID: b.ID, Created: now}}
	waiting := false
	for _, j := range b.Jobs {
		switch {
		case j.ID == job.ID:
		case j.Status == model.StatusSucceeded && j.Result != nil:
			mine = append(mine, model.ImagePlatform{Platform: j.Platform, Result: *j.Result, BuildID: b.ID, Created: j.Finished})
		default:
			waiting = true
		}
	}
	sortPlatforms(mine)
	spec := b.Image
	own := s.Names.BuildTag(b.ID)
	if spec.Publish == model.PublishAll && waiting {
		_, err := s.putIndex(ctx, b, []string{own}, mine, job.Platform)
		return nil, err
	}
	current, err := s.Store.Image(ctx, spec.Repository, spec.Tag)
	if err != nil && model.CodeOf(err) != model.CodeNotFound {
		return nil, err
	}
	all := merge(current.Platforms, mine)
	tags := []string{spec.Tag}
	if samePlatforms(all, mine) {
		tags = append(tags, own)
	} else if _, err := s.putIndex(ctx, b, []string{own}, mine, job.Platform); err != nil {
		return nil, err
	}
	img, err := s.putIndex(ctx, b, tags, all, job.Platform)
	if err != nil {
		return nil, err
	}
	img.Tag = spec.Tag
	img.Updated = now
	return img, nil
}

func (s *Service) putIndex(ctx context.Context, b model.Build, tags []string, platforms []model.ImagePlatform, newest string) (*model.Image, error) {
	spec := b.Image
	digest, kept, err := s.Registry.PutIndex(ctx, spec.Repository, tags, platforms, annotations(b))
	if err != nil {
		return nil, err
	}
	for _, p := range kept {
		if p.Platform == newest {
			return &model.Image{Component: spec.Component, Branch: spec.Branch, Repository: spec.Repository, IndexDigest: digest, Platforms: kept}, nil
		}
	}
	return nil, model.Errorf(model.CodePushFailed, "The registry has lost the manifest that was just pushed for %s.", newest).Wrap(errors.New("manifest gone"))
}

// annotations say of an index what is known of the image, and the standard labels that were asked for.
// Source: OCI Image Format Specification, annotations.md.
func annotations(b model.Build) map[string]string {
	out := facts(b)
	for k, v := range b.Image.Labels {
		if strings.HasPrefix(k, "org.opencontainers.image.") {
			out[k] = v
		}
	}
	out["org.opencontainers.image.ref.name"] = b.Image.Tag
	return out
}
