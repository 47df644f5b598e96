package db

import (
	"cmp"
	"context"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"cooper/internal/model"
)

// countRow is a row of job_counts.
type countRow struct {
	Platform string       `gorm:"primaryKey"`
	Status   model.Status `gorm:"primaryKey"`
	Total    int
}

// TableName is GORM's way to learn it.
func (countRow) TableName() string { return "job_counts" }

// counts is by how much a transaction changes the number of jobs per platform and status. Counting the jobs themselves
// would take longer with every build ever made.
type counts map[countRow]int

func (c counts) add(platform string, status model.Status, by int) {
	c[countRow{Platform: platform, Status: status}] += by
}

// save adds the changes up, in the one order that keeps two transactions from waiting for each other's rows.
func (c counts) save(tx *gorm.DB) error {
	var rows []countRow
	for key, by := range c {
		if by != 0 {
			key.Total = by
			rows = append(rows, key)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	slices.SortFunc(rows, func(a, b countRow) int {
		return cmp.Or(cmp.Compare(a.Platform, b.Platform), cmp.Compare(a.Status, b.Status))
	})
	return tx.Clauses(clause.OnConflict{
		Columns:   []clause.Column{{Name: "platform"}, {Name: "status"}},
		DoUpdates: clause.Assignments(map[string]any{"total": gorm.Expr("job_counts.total + excluded.total")}),
	}).Create(&rows).Error
}

// JobCounts counts all jobs by platform and status.
func (d *DB) JobCounts(ctx context.Context) ([]model.JobCount, error) {
	var rows []countRow
	err := d.read.WithContext(ctx).Where("platform > '' AND total > 0").Order("platform, status").Find(&rows).Error
	if err != nil {
		return nil, translate(err)
	}
	list := make([]model.JobCount, 0, len(rows))
	for _, r := range rows {
		list = append(list, model.JobCount{Platform: r.Platform, Status: r.Status, Count: r.Total})
	}
	return list, nil
}

// queuedJobs counts the jobs that wait, of all platforms.
func queuedJobs(tx *gorm.DB) (int, error) {
	var n int
	err := tx.Model(&countRow{}).Select("COALESCE(SUM(total), 0)").
		Where("platform > '' AND status = ?", model.StatusQueued).Scan(&n).Error
	return n, err
}
