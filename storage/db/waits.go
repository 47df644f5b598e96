package db

import (
	"context"
	"slices"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"cooper/internal/model"
)

// waitRow is a row of job_waits: the job may not start before the build's job of its platform has succeeded. The rows of a job that has ended
// stay until DropWaits, so that whoever ended it can still learn which builds it wanted.
type waitRow struct {
	JobID   string `gorm:"primaryKey"`
	BuildID string `gorm:"primaryKey"`
}

// TableName is GORM's way to learn it.
func (waitRow) TableName() string { return "job_waits" }

// distinct returns the IDs sorted, each once.
func distinct(ids []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(ids)))
}

// saveWaits records what new jobs wait for.
func saveWaits(tx *gorm.DB, jobs []jobRow) error {
	var rows []waitRow
	for _, j := range jobs {
		for _, id := range j.Waits {
			rows = append(rows, waitRow{JobID: j.ID, BuildID: id})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return tx.Create(&rows).Error
}

// fillWaits reads what the jobs wait for.
func fillWaits(tx *gorm.DB, jobs []jobRow) error {
	ids := make([]string, 0, len(jobs))
	for _, j := range jobs {
		ids = append(ids, j.ID)
	}
	var rows []waitRow
	if err := tx.Where("job_id IN ?", ids).Order("job_id, build_id").Find(&rows).Error; err != nil {
		return err
	}
	of := make(map[string][]string, len(rows))
	for _, r := range rows {
		of[r.JobID] = append(of[r.JobID], r.BuildID)
	}
	for i := range jobs {
		jobs[i].Waits = of[jobs[i].ID]
	}
	return nil
}

// EndedWaits returns waits of queued jobs for builds whose job of the same platform is terminal, those of the oldest jobs
// first; at most limit.
func (d *DB) EndedWaits(ctx context.Context, limit int) ([]model.Wait, error) {
	var waits []model.Wait
	err := d.read.WithContext(ctx).Table("job_waits").Select("job_waits.job_id, job_waits.build_id, needed.status").
		Joins("JOIN jobs ON jobs.id = job_waits.job_id").
		Joins("JOIN jobs AS needed ON needed.id = (SELECT id FROM jobs AS same WHERE same.build_id = job_waits.build_id AND same.platform = jobs.platform)").
		Where("job_waits.job_id > '' AND jobs.status = 'queued' AND needed.status NOT IN ('queued', 'running')").
		Order("job_waits.job_id, job_waits.build_id").Limit(limit).Scan(&waits).Error
	return waits, translate(err)
}

// LeftWaits returns jobs that have ended and of which waits are still there, at most limit.
func (d *DB) LeftWaits(ctx context.Context, limit int) ([]string, error) {
	var jobs []string
	err := d.read.WithContext(ctx).Table("job_waits").Distinct("job_waits.job_id").
		Joins("JOIN jobs ON jobs.id = job_waits.job_id").
		Where("job_waits.job_id > '' AND jobs.status NOT IN ('queued', 'running')").
		Order("job_waits.job_id").Limit(limit).Scan(&jobs).Error
	return jobs, translate(err)
}

// EndWait notes that the job waits for the build no more, takes the asker that it was off the build if that is in flight,
// and returns how many builds the job still waits for, and whether that was the build's last asker. A queued job that waits
// for none is due from then on; its order is unpublished. A wait that was ended before is no error and changes nothing;
// NOT_FOUND when there is no such job.
func (d *DB) EndWait(ctx context.Context, jobID, buildID string) (waits int, abandoned bool, err error) {
	var left int64
	err = d.update(ctx, func(tx *gorm.DB) error {
		abandoned = false
		if err := lockWaits(tx, jobID); err != nil {
			return err
		}
		ended := tx.Where("job_id = ? AND build_id = ?", jobID, buildID).Delete(&waitRow{})
		if ended.Error != nil {
			return ended.Error
		}
		if err := tx.Model(&waitRow{}).Where("job_id = ?", jobID).Count(&left).Error; err != nil {
			return err
		}
		if ended.RowsAffected == 0 {
			return nil
		}
		var err error
		if abandoned, err = takeAsker(tx, buildID); err != nil || left > 0 {
			return err
		}
		now := micros(time.Now())
		return tx.Model(&jobRow{}).Where("id = ? AND due < ?", jobID, now).Update("due", now).Error
	})
	return int(left), abandoned, err
}

// takeAsker takes one asker off a build in flight and reports whether it was the last. A build that is being stopped, or
// has ended, stays as it is.
func takeAsker(tx *gorm.DB, buildID string) (last bool, err error) {
	inFlight := tx.Model(&buildRow{}).Where("id = ? AND status IN ('queued', 'running') AND askers > 0", buildID)
	taken := inFlight.Update("askers", gorm.Expr("askers - 1"))
	if taken.Error != nil || taken.RowsAffected == 0 {
		return false, taken.Error
	}
	var row buildRow
	err = tx.Select("askers").Where("id = ?", buildID).Take(&row).Error
	return row.Askers == 0, err
}

// DropWaits forgets all that the job waits for and returns it. The job must have ended: a queued one would be due. That
// there is nothing, or no such job, is no error.
func (d *DB) DropWaits(ctx context.Context, jobID string) ([]string, error) {
	var ids []string
	err := d.update(ctx, func(tx *gorm.DB) error {
		ids = nil
		if err := lockWaits(tx, jobID); model.CodeOf(err) == model.CodeNotFound {
			return nil
		} else if err != nil {
			return err
		}
		if err := tx.Model(&waitRow{}).Where("job_id = ?", jobID).Order("build_id").Pluck("build_id", &ids).Error; err != nil {
			return err
		}
		if len(ids) == 0 {
			return nil
		}
		return tx.Where("job_id = ?", jobID).Delete(&waitRow{}).Error
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

// lockWaits keeps others from changing what the job waits for.
func lockWaits(tx *gorm.DB, jobID string) error {
	err := tx.Clauses(clause.Locking{Strength: "UPDATE"}).Select("id").Where("id = ?", jobID).Take(&jobRow{}).Error
	return noJob(err, jobID)
}
