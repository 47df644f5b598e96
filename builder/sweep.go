package builder

import (
	"context"
	"fmt"
	"slices"
	"time"

	"cooper/internal/model"
)

const (
	sweepEvery  = 2 * time.Second
	sweepBatch  = 500
	inputsGrace = time.Hour // an upload whose request never came is removed after it
	inputsEvery = 10 * time.Minute
)

// recover makes the queue hold what the database says is due.
func (s *Service) recover(ctx context.Context) error {
	due, err := s.Store.QueuedOrders(ctx)
	if err != nil {
		return fmt.Errorf("find jobs that are due: %w", err)
	}
	for _, o := range due {
		if err := s.Queue.Publish(ctx, o); err != nil {
			return fmt.Errorf("queue a job that is due: %w", err)
		}
	}
	return nil
}

func (s *Service) sweepLoop(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	var inputsSwept time.Time
	for {
		s.sweep(ctx)
		if time.Since(inputsSwept) > inputsEvery {
			inputsSwept = time.Now()
			s.sweepInputs(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// sweep does what was left undone by a crash, a lost message or a worker that vanished. Each part is idempotent.
func (s *Service) sweep(ctx context.Context) {
	s.workers.tidy()
	for what, f := range map[string]func(context.Context) error{
		"publish what is due": s.sweepUnpublished,
		"find lost jobs":      s.sweepRunning,
		"expire queued jobs":  s.sweepExpired,
		"end waits":           s.sweepWaits,
		"drop waits":          s.sweepLeftWaits,
	} {
		if err := f(ctx); err != nil && ctx.Err() == nil {
			s.Log.Warn("sweep failed; it is tried again", "part", what, "error", err)
		}
	}
}

func (s *Service) sweepUnpublished(ctx context.Context) error {
	due, err := s.Store.Unpublished(ctx, sweepBatch)
	if err != nil {
		return err
	}
	for _, o := range due {
		if s.pauses.held(o.JobID) {
			continue
		}
		if err := s.publish(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) sweepRunning(ctx context.Context) error {
	running, err := s.Store.RunningJobs(ctx)
	if err != nil {
		return err
	}
	for _, j := range running {
		if s.workers.lost(j) {
			if err := s.lost(ctx, j, "The worker that ran this job was lost, or its server was restarted."); err != nil && model.CodeOf(err) != model.CodeLeaseLost {
				return err
			}
			continue
		}
		b, err := s.Store.BuildOfJob(ctx, j.ID)
		if err != nil {
			return err
		}
		if b.Askers == 0 {
			if err := s.Queue.Cancel(ctx, j.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// lost queues a job again whose worker is gone, or ends it when it has been tried often enough or nobody wants it.
func (s *Service) lost(ctx context.Context, j model.Job, why string) error {
	b, err := s.Store.BuildOfJob(ctx, j.ID)
	if err != nil {
		return err
	}
	o := model.Outcome{JobID: j.ID, BuildID: j.BuildID, Attempt: j.Attempt, Worker: j.Worker, Time: time.Now()}
	switch {
	case b.Askers == 0:
		o.Status, o.Failure = model.StatusCanceled, &model.Failure{Code: model.CodeCanceled, Message: "The build was canceled."}
	case j.Attempt >= maxAttempts:
		o.Status = model.StatusFailed
		o.Failure = &model.Failure{Code: model.CodeWorkerLost, Message: fmt.Sprintf("%s It was tried %d times.", why, j.Attempt)}
	default:
		return s.again(ctx, j, &model.Failure{Code: model.CodeWorkerLost, Message: why})
	}
	return s.end(ctx, o, nil)
}

func (s *Service) sweepExpired(ctx context.Context) error {
	due, err := s.Store.QueuedSince(ctx, time.Now().Add(-s.Limits.QueueTimeout), sweepBatch)
	if err != nil {
		return err
	}
	for _, o := range due {
		if o.Attempt > 1 {
			// It had a worker for a part of its age, of which no more is known than that it ended in time.
			b, err := s.Store.BuildOfJob(ctx, o.JobID)
			if err != nil {
				return err
			}
			if time.Since(b.Created) < 2*s.Limits.QueueTimeout+maxAttempts*b.Timeout() {
				continue
			}
		}
		failure := model.Failure{Code: model.CodeJobExpired, Message: fmt.Sprintf(
			"No worker took this job within %s. %s", s.Limits.QueueTimeout, s.reason(o.Platform, 0))}
		if !slices.Contains(s.workers.platforms(), o.Platform) {
			failure.Code = model.CodeNoWorkerForPlatform
		}
		err = s.end(ctx, model.Outcome{
			JobID: o.JobID, BuildID: o.BuildID, Attempt: o.Attempt, Status: model.StatusFailed, Failure: &failure, Time: time.Now(),
		}, nil)
		if err != nil && model.CodeOf(err) != model.CodeLeaseLost {
			return err
		}
	}
	return nil
}

// sweepInputs removes contexts whose build has ended or never came to be.
func (s *Service) sweepInputs(ctx context.Context) {
	ids, err := s.Inputs.List(inputsGrace)
	if err != nil {
		s.Log.Warn("cannot list build contexts", "error", err)
		return
	}
	for _, id := range ids {
		b, err := s.Store.Build(ctx, id)
		if model.CodeOf(err) == model.CodeNotFound || err == nil && b.Status.Terminal() {
			s.DropDraft(id)
		}
	}
}
