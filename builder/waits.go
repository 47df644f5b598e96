package builder

import (
	"context"
	"fmt"
	"time"

	"cooper/internal/model"
)

// endWaitsSoon asks for jobs to be looked for whose dependencies have ended.
func (s *Service) endWaitsSoon() {
	select {
	case s.kickWaits <- struct{}{}:
	default:
	}
}

// waitLoop lets jobs go on as soon as what they wait for has ended. What it cannot do now, the sweep does.
func (s *Service) waitLoop(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.kickWaits:
		}
		if err := s.sweepWaits(ctx); err != nil && ctx.Err() == nil {
			s.Log.Warn("cannot look for jobs whose dependencies have ended; the sweep tries again", "error", err)
		}
	}
}

// sweepWaits lets jobs go on that waited for others that have ended: into the queue when they have all that they need,
// to their end when something that they need cannot be had.
func (s *Service) sweepWaits(ctx context.Context) error {
	ended, err := s.Values.EndedWaits(ctx, sweepBatch)
	if err != nil {
		return err
	}
	for _, w := range ended {
		if w.Status == model.StatusSucceeded {
			err = s.endWait(ctx, w)
		} else {
			err = s.dependencyFailed(ctx, w)
		}
		if err != nil && model.CodeOf(err) != model.CodeLeaseLost && model.CodeOf(err) != model.CodeNotFound {
			return err
		}
	}
	return nil
}

// sweepLeftWaits takes back what jobs asked of others whose end was recorded right before a crash.
func (s *Service) sweepLeftWaits(ctx context.Context) error {
	left, err := s.Values.LeftWaits(ctx, sweepBatch)
	if err != nil {
		return err
	}
	for _, id := range left {
		s.dropWaitsOf(ctx, id)
	}
	return nil
}

func (s *Service) endWait(ctx context.Context, w model.Wait) error {
	left, abandoned, err := s.Values.EndWait(ctx, w.JobID, w.BuildID)
	if err != nil {
		return err
	}
	if abandoned { // but for the platform that is there, nobody wanted it
		if err := s.stop(ctx, w.BuildID); err != nil {
			s.Log.Warn("cannot stop a build that nobody wants; it runs to its end", "build", w.BuildID, "error", err)
		}
	}
	if left > 0 {
		return nil
	}
	b, err := s.Store.BuildOfJob(ctx, w.JobID)
	if err != nil {
		return err
	}
	s.watch.tell(b.ID)
	job, _ := jobOf(b, w.JobID)
	if job.Status != model.StatusQueued {
		return nil
	}
	return s.publish(ctx, model.Order{JobID: job.ID, BuildID: b.ID, Attempt: job.Attempt, Platform: job.Platform})
}

// dependencyFailed ends a job that can never run.
func (s *Service) dependencyFailed(ctx context.Context, w model.Wait) error {
	dep, err := s.Store.Build(ctx, w.BuildID)
	if err != nil {
		return err
	}
	b, err := s.Store.BuildOfJob(ctx, w.JobID)
	if err != nil {
		return err
	}
	job, _ := jobOf(b, w.JobID)
	why := "it was canceled."
	if needed, _ := dep.JobFor(job.Platform); needed.Error != nil {
		why = fmt.Sprintf("%s: %s", needed.Error.Code, needed.Error.Message)
	}
	failure := model.Failure{Code: model.CodeDependencyFailed, Message: fmt.Sprintf(
		"%s@%s, which this needs, could not be built (build %s): %s", dep.Component.Name, dep.Component.Tag, dep.ID, why)}
	return s.end(ctx, model.Outcome{
		JobID: w.JobID, BuildID: b.ID, Attempt: job.Attempt, Status: model.StatusFailed, Failure: &failure, Time: time.Now(),
	}, nil)
}

// dropWaits takes back what the jobs of a build that has ended asked of others.
func (s *Service) dropWaits(ctx context.Context, b model.Build) {
	for _, j := range b.Jobs {
		if len(j.WaitsFor) == 0 {
			continue
		}
		s.dropWaitsOf(ctx, j.ID)
	}
}

func (s *Service) dropWaitsOf(ctx context.Context, jobID string) {
	ids, err := s.Values.DropWaits(ctx, jobID)
	if err != nil {
		s.Log.Warn("cannot take back what a job waited for; the sweep tries again", "job", jobID, "error", err)
		return
	}
	for _, id := range ids {
		s.leave(ctx, id)
	}
}

// leave takes one asker off a build, which is stopped when nobody wants it any more.
func (s *Service) leave(ctx context.Context, buildID string) {
	left, err := s.Store.Leave(ctx, buildID)
	if err == nil && left == 0 {
		err = s.stop(ctx, buildID)
	}
	if err != nil && model.CodeOf(err) != model.CodeBuildAlreadyFinished {
		s.Log.Warn("cannot leave a build; it runs to its end", "build", buildID, "error", err)
	}
}
