package db

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"

	"cooper/internal/model"
)

// StartJob moves the job from queued to running under worker, and its build with it. LEASE_LOST unless the job is
// queued at this attempt and waits for no build, NOT_FOUND when there is none.
func (d *DB) StartJob(ctx context.Context, jobID string, attempt int, worker string, now time.Time) (model.Build, error) {
	return d.moveJob(ctx, jobID, func(_ *gorm.DB, f *flight, j *jobRow) error {
		if j.Status != model.StatusQueued || j.Attempt != attempt {
			return leaseLost(j, attempt)
		}
		if len(j.Waits) > 0 {
			return model.Errorf(model.CodeLeaseLost, "Job %s is not due: it waits for %d builds. Drop this attempt.", j.ID, len(j.Waits))
		}
		f.move(j, model.StatusRunning)
		j.Worker = worker
		j.Started = max(micros(now), j.Created)
		return nil
	})
}

// FinishJob records the end of an attempt, the build's state that follows from it, img when not nil, and the value of a
// component that has a tarball now, in one transaction. What the job waits for stays until DropWaits. LEASE_LOST unless
// the job is running, or queued when the outcome is not a success, at this attempt; NOT_FOUND when there is none.
func (d *DB) FinishJob(ctx context.Context, o model.Outcome, img *model.Image) (model.Build, error) {
	if !o.Status.Terminal() || (o.Status == model.StatusSucceeded && o.Result == nil) {
		return model.Build{}, fmt.Errorf("an outcome %q, result present: %t, ends no job", o.Status, o.Result != nil)
	}
	return d.moveJob(ctx, o.JobID, func(tx *gorm.DB, f *flight, j *jobRow) error {
		due := j.Status == model.StatusRunning || (j.Status == model.StatusQueued && o.Status != model.StatusSucceeded)
		if !due || j.Attempt != o.Attempt {
			return leaseLost(j, o.Attempt)
		}
		f.end(j, o.Status, reason(o), o.Time)
		j.ExitCode = o.ExitCode
		if o.Status == model.StatusSucceeded {
			j.Result = o.Result
			if err := putComponent(tx, f.build, *j); err != nil {
				return err
			}
		}
		if img == nil {
			return nil
		}
		return putImage(tx, *img)
	})
}

// reason is what an outcome says of its cause; one that is not a success always has one.
func reason(o model.Outcome) *model.Failure {
	switch {
	case o.Status == model.StatusSucceeded:
		return nil
	case o.Failure != nil:
		return o.Failure
	case o.Status == model.StatusCanceled:
		return &model.Failure{Code: model.CodeCanceled, Message: "The build was canceled."}
	}
	return &model.Failure{Code: model.CodeBuildFailed, Message: "The build failed and its worker gave no reason. Its log may tell more."}
}

// RequeueJob moves a running job back to queued, unpublished, with its attempt one higher. LEASE_LOST unless it is
// running at this attempt, NOT_FOUND when there is none.
func (d *DB) RequeueJob(ctx context.Context, jobID string, attempt int) (model.Job, error) {
	var job model.Job
	_, err := d.moveJob(ctx, jobID, func(_ *gorm.DB, f *flight, j *jobRow) error {
		if j.Status != model.StatusRunning || j.Attempt != attempt {
			return leaseLost(j, attempt)
		}
		f.move(j, model.StatusQueued)
		j.Attempt++
		j.Worker = ""
		j.Published = false
		j.Started = 0
		job = j.job()
		return nil
	})
	if err != nil {
		return model.Job{}, err
	}
	return job, nil
}

// Leave takes one asker off a build in flight and returns how many are left; JOB_ALREADY_FINISHED when it has ended,
// NOT_FOUND when there is none.
func (d *DB) Leave(ctx context.Context, buildID string) (int, error) {
	b, err := d.moveBuild(ctx, buildID, func(f *flight) error {
		if f.build.Status.Terminal() {
			return model.Errorf(model.CodeBuildAlreadyFinished, "Build %s has already %s, there is nothing to cancel.", buildID, ended(f.build.Status))
		}
		f.build.Askers = max(0, f.build.Askers-1)
		return nil
	})
	return b.Askers, err
}

func ended(s model.Status) string {
	if s == model.StatusCanceled {
		return "been canceled"
	}
	return string(s)
}

// CancelQueued ends every queued job of the build as canceled, and the build with them when none is running. What those
// jobs wait for stays until DropWaits. A build without queued jobs is returned as it is; NOT_FOUND when there is none.
func (d *DB) CancelQueued(ctx context.Context, buildID string, why model.Failure, now time.Time) (model.Build, error) {
	return d.moveBuild(ctx, buildID, func(f *flight) error {
		for i := range f.jobs {
			if j := &f.jobs[i]; j.Status == model.StatusQueued {
				f.end(j, model.StatusCanceled, &why, now)
			}
		}
		return nil
	})
}

// moveJob runs change on the job and its build, and records what came of it.
func (d *DB) moveJob(ctx context.Context, id string, change func(*gorm.DB, *flight, *jobRow) error) (model.Build, error) {
	var b model.Build
	err := d.update(ctx, func(tx *gorm.DB) error {
		f, j, err := lockJob(tx, id)
		if err != nil {
			return err
		}
		if err := change(tx, f, j); err != nil {
			return err
		}
		if err := f.save(tx); err != nil {
			return err
		}
		b = f.model()
		return nil
	})
	if err != nil {
		return model.Build{}, err
	}
	return b, nil
}

// moveBuild runs change on the build, and records what came of it.
func (d *DB) moveBuild(ctx context.Context, id string, change func(*flight) error) (model.Build, error) {
	var b model.Build
	err := d.update(ctx, func(tx *gorm.DB) error {
		f, err := lockBuild(tx, id)
		if err != nil {
			return err
		}
		if err := change(f); err != nil {
			return err
		}
		if err := f.save(tx); err != nil {
			return err
		}
		b = f.model()
		return nil
	})
	if err != nil {
		return model.Build{}, err
	}
	return b, nil
}

func leaseLost(j *jobRow, attempt int) error {
	return model.Errorf(model.CodeLeaseLost, "Attempt %d of job %s is not due: the job is %s at attempt %d. Drop this attempt.",
		attempt, j.ID, j.Status, j.Attempt)
}
