package db

import (
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"cooper/internal/model"
)

// flight is a build and its jobs inside a transaction that moves them: what they were when read, what they became and
// how the counts change by that. Its row is locked, so that nobody else moves the build meanwhile.
type flight struct {
	build  buildRow
	jobs   []jobRow // by platform
	moved  []*jobRow
	counts counts
}

// lockBuild reads the build and its jobs for a change.
func lockBuild(tx *gorm.DB, id string) (*flight, error) {
	f := &flight{counts: counts{}}
	if err := tx.Clauses(clause.Locking{Strength: "UPDATE"}).Where("id = ?", id).Take(&f.build).Error; err != nil {
		return nil, noBuild(err, id)
	}
	var err error
	f.jobs, err = jobsOfBuild(tx, id)
	return f, err
}

// lockJob reads the job, its build and the build's other jobs for a change.
func lockJob(tx *gorm.DB, id string) (*flight, *jobRow, error) {
	var found jobRow
	if err := tx.Select("build_id").Where("id = ?", id).Take(&found).Error; err != nil {
		return nil, nil, noJob(err, id)
	}
	f, err := lockBuild(tx, found.BuildID)
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(f.jobs, func(j jobRow) bool { return j.ID == id })
	if i < 0 {
		return nil, nil, noJob(gorm.ErrRecordNotFound, id)
	}
	return f, &f.jobs[i], nil
}

// move gives the job its next status; the caller sets what goes with it.
func (f *flight) move(j *jobRow, to model.Status) {
	f.counts.add(j.Platform, j.Status, -1)
	f.counts.add(j.Platform, to, 1)
	j.Status = to
	if !slices.Contains(f.moved, j) {
		f.moved = append(f.moved, j)
	}
}

// end moves the job to a state that nothing follows. A clock that was set back makes no negative duration.
func (f *flight) end(j *jobRow, to model.Status, why *model.Failure, now time.Time) {
	f.move(j, to)
	j.Failure = why
	j.Finished = max(micros(now), j.Started, j.Created)
}

// settle gives the build the state that follows from its jobs: queued until the first starts, running until all have
// ended, then failed if any failed, else canceled if any was canceled, else succeeded.
func (f *flight) settle() {
	var failed, canceled *jobRow
	var last int64
	under := false
	for i := range f.jobs {
		j := &f.jobs[i]
		if f.build.Started == 0 && j.Started > 0 {
			f.build.Started, f.build.Status = j.Started, model.StatusRunning
		}
		if j.Status == model.StatusFailed && failed == nil {
			failed = j
		}
		if j.Status == model.StatusCanceled && canceled == nil {
			canceled = j
		}
		under = under || !j.Status.Terminal()
		last = max(last, j.Finished)
	}
	if under {
		return
	}
	f.build.Finished = last
	switch {
	case failed != nil:
		f.build.Status, f.build.Failure = model.StatusFailed, f.named(failed)
	case canceled != nil:
		f.build.Status, f.build.Failure = model.StatusCanceled, canceled.Failure
	default:
		f.build.Status = model.StatusSucceeded
	}
}

// named returns the job's failure as the build's: with the platform in front when the build has others.
func (f *flight) named(j *jobRow) *model.Failure {
	if j.Failure == nil || len(f.jobs) == 1 || strings.HasPrefix(j.Failure.Message, j.Platform+": ") {
		return j.Failure
	}
	why := *j.Failure
	why.Message = j.Platform + ": " + why.Message
	return &why
}

// save settles the build and writes all that changed.
func (f *flight) save(tx *gorm.DB) error {
	f.settle()
	for _, j := range f.moved {
		err := tx.Model(j).Select("status", "attempt", "worker", "published", "exit_code", "started", "finished", "failure", "result").
			Updates(j).Error
		if err != nil {
			return err
		}
	}
	err := tx.Model(&f.build).Select("status", "askers", "started", "finished", "failure").Updates(&f.build).Error
	if err != nil {
		return err
	}
	return f.counts.save(tx)
}

func (f *flight) model() model.Build { return f.build.build(f.jobs) }
