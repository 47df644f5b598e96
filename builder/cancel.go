package builder

import (
	"context"
	"time"

	"cooper/internal/model"
)

// cancelWithin is how long a cancel waits for the workers to stop before it answers with what is so far.
const cancelWithin = 5 * time.Second

// Cancel takes one asker off the build. When none is left its queued jobs end at once and its running ones are stopped.
// It returns the build and how many still want it.
func (s *Service) Cancel(ctx context.Context, buildID string) (model.Build, int, error) {
	// A caller who leaves now must not leave a build behind that nobody wants and nobody stops.
	left, err := s.Store.Leave(context.WithoutCancel(ctx), buildID)
	if err != nil {
		return model.Build{}, 0, err
	}
	if left > 0 {
		b, err := s.Store.Build(ctx, buildID)
		return b, left, err
	}
	if err := s.stop(context.WithoutCancel(ctx), buildID); err != nil {
		return model.Build{}, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, cancelWithin)
	defer cancel()
	b, err := s.Wait(ctx, buildID, "")
	return b, 0, err
}

// stop ends a build that nobody wants any more.
func (s *Service) stop(ctx context.Context, buildID string) error {
	why := model.Failure{Code: model.CodeCanceled, Message: "The build was canceled."}
	b, err := s.Store.CancelQueued(ctx, buildID, why, time.Now())
	if err != nil {
		return err
	}
	s.ended(ctx, b)
	s.storeLogsSoon()
	for _, j := range b.Jobs {
		if j.Status != model.StatusRunning {
			continue
		}
		// Nobody may hear it (the worker is about to subscribe, or cut off): the sweep says it again.
		if err := s.Queue.Cancel(ctx, j.ID); err != nil {
			s.Log.Warn("cannot tell a worker to stop; the sweep tries again", "job", j.ID, "error", err)
		}
	}
	return nil
}
