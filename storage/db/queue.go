package db

import (
	"context"
	"time"

	"gorm.io/gorm"

	"cooper/internal/model"
)

// notWaiting keeps the jobs that wait for no build: the others are not due.
const notWaiting = "NOT EXISTS (SELECT 1 FROM job_waits WHERE job_waits.job_id = jobs.id)"

// Unpublished returns orders of queued jobs that are due and were not marked published, oldest first.
func (d *DB) Unpublished(ctx context.Context, limit int) ([]model.Order, error) {
	rows, err := d.jobs(ctx, limit, "status = 'queued' AND NOT published AND "+notWaiting)
	return ordersOf(rows), err
}

// QueuedOrders returns orders of all queued jobs that are due, oldest first: what the queue must hold.
func (d *DB) QueuedOrders(ctx context.Context) ([]model.Order, error) {
	rows, err := d.jobs(ctx, 0, "status = 'queued' AND "+notWaiting)
	return ordersOf(rows), err
}

// QueuedSince returns orders of queued jobs that have been due since before the time, oldest first; at most limit. A job
// is due from its creation, or from when it had to wait for no build any more.
func (d *DB) QueuedSince(ctx context.Context, before time.Time, limit int) ([]model.Order, error) {
	rows, err := d.jobs(ctx, limit, "status = 'queued' AND due < ? AND "+notWaiting, micros(before))
	return ordersOf(rows), err
}

// RunningJobs returns every running job, oldest first.
func (d *DB) RunningJobs(ctx context.Context) ([]model.Job, error) {
	rows, err := d.jobs(ctx, 0, "status = 'running'")
	return jobsOf(rows), err
}

// JobsWithoutLog returns jobs that ended and whose log is not stored yet, oldest first.
func (d *DB) JobsWithoutLog(ctx context.Context, limit int) ([]model.Job, error) {
	rows, err := d.jobs(ctx, limit, "finished > 0 AND NOT log_stored")
	return jobsOf(rows), err
}

// jobs returns the jobs that meet the condition of one of the partial indexes, oldest first; a limit of 0 is none.
// Job IDs sort by the time they were made, also when a job was queued again.
func (d *DB) jobs(ctx context.Context, limit int, condition string, vars ...any) ([]jobRow, error) {
	var rows []jobRow
	q := d.read.WithContext(ctx).Where("id > ''").Where(condition, vars...).Order("id")
	if limit > 0 {
		q = q.Limit(limit)
	}
	return rows, translate(q.Find(&rows).Error)
}

// MarkPublished notes that the attempt is in the queue; a no-op when the job has moved on, NOT_FOUND when there is
// none.
func (d *DB) MarkPublished(ctx context.Context, jobID string, attempt int) error {
	return d.mark(ctx, jobID, "published", func(q *gorm.DB) *gorm.DB {
		return q.Where("status = 'queued' AND attempt = ?", attempt)
	})
}

// MarkLogStored notes that the job's whole log is in the data directory; NOT_FOUND when there is no such job.
func (d *DB) MarkLogStored(ctx context.Context, jobID string) error {
	return d.mark(ctx, jobID, "log_stored", func(q *gorm.DB) *gorm.DB { return q })
}

// mark sets the job's column to true when it is due. That moves nothing, so the build is not locked for it.
func (d *DB) mark(ctx context.Context, id, column string, due func(*gorm.DB) *gorm.DB) error {
	return d.update(ctx, func(tx *gorm.DB) error {
		res := due(tx.Model(&jobRow{}).Where("id = ?", id)).Update(column, true)
		if res.Error != nil || res.RowsAffected > 0 {
			return res.Error
		}
		return noJob(tx.Select("id").Where("id = ?", id).Take(&jobRow{}).Error, id)
	})
}

// QueuePosition returns how many queued jobs of the platform stand before the job, those that wait for builds not
// counted: 0 when it is next or not queued, NOT_FOUND when there is none.
func (d *DB) QueuePosition(ctx context.Context, jobID string) (int, error) {
	var before int64
	err := d.snapshot(ctx, func(tx *gorm.DB) error {
		var j jobRow
		if err := tx.Select("platform", "status").Where("id = ?", jobID).Take(&j).Error; err != nil {
			return noJob(err, jobID)
		}
		if j.Status != model.StatusQueued {
			before = 0
			return nil
		}
		return tx.Model(&jobRow{}).Where("platform = ? AND id < ? AND status = 'queued'", j.Platform, jobID).Where(notWaiting).
			Count(&before).Error
	})
	return int(before), err
}
