package builder

import (
	"context"
	"errors"
	"slices"
	"sync"

	"cooper/internal/model"
)

// Follow calls f, never twice at once, with the lines of the build's jobs: those of one job in order and without gaps,
// those of several one job after the other, or, with q.Follow, as they come. It ends with the last line there is, or,
// with q.Follow, when every job has ended; or with f's error, or ctx's.
func (s *Service) Follow(ctx context.Context, buildID string, q model.LogQuery, f func(model.LogLine) error) error {
	b, err := s.Store.Build(ctx, buildID)
	if err != nil {
		return err
	}
	jobs := slices.DeleteFunc(b.Jobs, func(j model.Job) bool { return q.Platform != "" && j.Platform != q.Platform })
	if len(jobs) == 0 {
		return model.FieldErrorf(model.CodeParamInvalid, "platform", "The build has no job for %s.", q.Platform)
	}
	if !q.Follow {
		for _, j := range jobs {
			if err := s.followJob(ctx, j, q.From[j.ID], false, f); err != nil {
				return err
			}
		}
		return nil
	}
	return s.followAll(ctx, jobs, q, f)
}

func (s *Service) followAll(ctx context.Context, jobs []model.Job, q model.LogQuery, f func(model.LogLine) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var (
		wg sync.WaitGroup
		mu sync.Mutex
	)
	for _, j := range jobs {
		wg.Go(func() {
			err := s.followJob(ctx, j, q.From[j.ID], true, func(l model.LogLine) error {
				mu.Lock()
				defer mu.Unlock()
				return f(l)
			})
			if err != nil {
				stop(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// followJob reads from the stream while the job runs and from the stored log once there is one, and goes from the one
// to the other at the line where it is.
func (s *Service) followJob(ctx context.Context, j model.Job, from uint64, follow bool, f func(model.LogLine) error) error {
	r := reel{next: max(from, 1), emit: f}
	for {
		if j.LogStored {
			return s.readStored(ctx, j, r.next, f)
		}
		r.attempt, r.final = j.Attempt, false // the last frames of attempts before end nothing
		live, stop := context.WithCancel(ctx)
		if follow {
			go func() {
				defer stop()
				_, _ = s.untilJob(live, j, func(j model.Job) bool { return j.LogStored })
			}()
		}
		err := s.Queue.Frames(live, j.ID, follow && !j.Status.Terminal(), r.add)
		stopped := live.Err() != nil
		stop()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && !stopped && !errors.Is(err, errFinal) && !errors.Is(err, errGap):
			return err
		case !follow && !errors.Is(err, errGap):
			// The log may have been stored while it was read, and the stream dropped right after.
			stored, err := s.logStored(ctx, j)
			if err != nil || !stored {
				return err
			}
			j.LogStored = true
			continue
		}
		// The attempt is over: what follows is either the next attempt or the stored log.
		attempt, whole := max(j.Attempt, r.newest), r.final
		over := func(j model.Job) bool { return whole && j.Status.Terminal() && j.Attempt == attempt }
		if j, err = s.untilJob(ctx, j, func(j model.Job) bool { return j.LogStored || j.Attempt > attempt || over(j) }); err != nil {
			return err
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case over(j):
			return nil // the last line was given, whether the log can be stored or not
		}
	}
}

// readStored reads a stored log from a line on. OFFSET_INVALID when the log ends before it.
func (s *Service) readStored(ctx context.Context, j model.Job, from uint64, f func(model.LogLine) error) error {
	if from <= 1 {
		return s.Logs.Read(ctx, j.ID, 1, f)
	}
	// The line before is read too: without it, nothing would tell the log's end from a place behind it.
	behind := true
	err := s.Logs.Read(ctx, j.ID, from-1, func(l model.LogLine) error {
		behind = false
		if l.Seq < from {
			return nil
		}
		return f(l)
	})
	if err == nil && behind {
		return model.FieldErrorf(model.CodeOffsetInvalid, "from", "The log of %s ends before line %d.", j.Platform, from)
	}
	return err
}

// logStored reports whether the job's log is stored by now.
func (s *Service) logStored(ctx context.Context, j model.Job) (bool, error) {
	b, err := s.Store.Build(ctx, j.BuildID)
	if err != nil {
		return false, err
	}
	now, ok := jobOf(b, j.ID)
	return ok && now.LogStored, nil
}

// untilJob returns the job as soon as enough says so, or as it is when ctx ends.
func (s *Service) untilJob(ctx context.Context, j model.Job, enough func(model.Job) bool) (model.Job, error) {
	b, err := s.until(ctx, j.BuildID, func(b model.Build) bool {
		now, ok := jobOf(b, j.ID)
		return !ok || enough(now)
	})
	if err != nil {
		return j, err
	}
	now, ok := jobOf(b, j.ID)
	if !ok {
		return j, model.Errorf(model.CodeNotFound, "The job is gone.")
	}
	return now, nil
}
