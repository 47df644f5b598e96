package db

import (
	"context"

	"gorm.io/gorm"

	"cooper/internal/model"
)

const (
	// defaultLimit and maxLimit bound a page.
	defaultLimit = 50
	maxLimit     = 1000
	// afterEveryID sorts after all IDs, so that a first page is the same search as a later one.
	afterEveryID = "~"
)

// Build returns the build with its jobs and its Dockerfile, or NOT_FOUND.
func (d *DB) Build(ctx context.Context, id string) (b model.Build, err error) {
	err = d.snapshot(ctx, func(tx *gorm.DB) error {
		b, err = buildByID(tx, id)
		return err
	})
	return b, err
}

// BuildOfJob returns the job's build, whole, or NOT_FOUND.
func (d *DB) BuildOfJob(ctx context.Context, jobID string) (b model.Build, err error) {
	err = d.snapshot(ctx, func(tx *gorm.DB) error {
		var job jobRow
		if err := tx.Select("build_id").Where("id = ?", jobID).Take(&job).Error; err != nil {
			return noJob(err, jobID)
		}
		b, err = buildByID(tx, job.BuildID)
		return err
	})
	return b, err
}

// InFlight returns the newest build in flight for the tag in the repository of images, or of a component's images, that
// has a job for platform ("" for any), whole, or NOT_FOUND.
func (d *DB) InFlight(ctx context.Context, repository, tag, platform string) (b model.Build, err error) {
	err = d.snapshot(ctx, func(tx *gorm.DB) error {
		q := tx.Model(&buildRow{}).Select("id").
			Where("repository = ? AND image_tag = ? AND status IN ('queued', 'running')", repository, tag)
		var found buildRow
		if err := withPlatform(q, platform).Order("id DESC").Take(&found).Error; err != nil {
			return orNotFound(err, "No build of %s:%s is under way.", repository, tag)
		}
		b, err = buildByID(tx, found.ID)
		return err
	})
	return b, err
}

// Builds returns a page, newest first, with jobs and without Dockerfiles. A limit of 0 is 50; none exceeds 1000.
// (image_tag stands behind the Dockerfile in the file, which would have to be read to reach it.)
func (d *DB) Builds(ctx context.Context, f model.BuildFilter) ([]model.Build, error) {
	var rows []buildRow
	var jobs []jobRow
	err := d.snapshot(ctx, func(tx *gorm.DB) error {
		page := tx.Omit("dockerfile", "image_tag").Where("id IN (?)", buildPage(tx, f)).Order("id DESC")
		if err := page.Find(&rows).Error; err != nil {
			return err
		}
		if err := tx.Where("build_id IN (?)", buildPage(tx, f)).Order("build_id, platform").Find(&jobs).Error; err != nil {
			return err
		}
		return fillWaits(tx, jobs)
	})
	if err != nil {
		return nil, err
	}
	of := make(map[string][]jobRow, len(rows))
	for _, j := range jobs {
		of[j.BuildID] = append(of[j.BuildID], j)
	}
	builds := make([]model.Build, 0, len(rows))
	for _, r := range rows {
		builds = append(builds, r.build(of[r.ID]))
	}
	return builds, nil
}

func buildByID(tx *gorm.DB, id string) (model.Build, error) {
	var row buildRow
	if err := tx.Where("id = ?", id).Take(&row).Error; err != nil {
		return model.Build{}, noBuild(err, id)
	}
	jobs, err := jobsOfBuild(tx, id)
	return row.build(jobs), err
}

// jobsOfBuild returns a build's jobs by platform, with what they wait for.
func jobsOfBuild(tx *gorm.DB, buildID string) ([]jobRow, error) {
	var jobs []jobRow
	if err := tx.Where("build_id = ?", buildID).Order("platform").Find(&jobs).Error; err != nil {
		return nil, err
	}
	return jobs, fillWaits(tx, jobs)
}

// buildPage selects the IDs of the page. A requester's name may be either of two columns; each is searched by itself,
// because no order serves both.
func buildPage(tx *gorm.DB, f model.BuildFilter) *gorm.DB {
	if f.Requester == "" {
		return buildIDs(tx, f)
	}
	linux := buildIDs(tx, f).Where("linux_username = ? AND linux_username <> ''", f.Requester)
	github := buildIDs(tx, f).Where("github_username = ? AND github_username <> ''", f.Requester)
	return tx.Raw("SELECT id FROM (SELECT id FROM (?) AS a UNION SELECT id FROM (?) AS b) AS c ORDER BY id DESC LIMIT ?",
		linux, github, limit(f.Limit))
}

// buildIDs selects the IDs of the page but for the requester's name. With the platform alone it starts from the jobs,
// or it would walk all builds to find the few of a rare platform.
func buildIDs(tx *gorm.DB, f model.BuildFilter) *gorm.DB {
	before := f.Before
	if before == "" {
		before = afterEveryID
	}
	if f.Platform != "" && f == (model.BuildFilter{Platform: f.Platform, Before: f.Before, Limit: f.Limit}) {
		return tx.Model(&jobRow{}).Select("build_id").Where("platform = ? AND build_id < ?", f.Platform, before).
			Order("build_id DESC").Limit(limit(f.Limit))
	}
	q := tx.Model(&buildRow{}).Select("id").Where("id < ?", before).Order("id DESC").Limit(limit(f.Limit))
	q = equal(q, "status", string(f.Status))
	q = equal(q, "kind", string(f.Kind))
	q = equal(q, "component", f.Component)
	q = equal(q, "branch", f.Branch)
	return withPlatform(q, f.Platform)
}

// equal keeps the rows whose column has the value, or all when it is empty.
func equal(q *gorm.DB, column, value string) *gorm.DB {
	if value == "" {
		return q
	}
	return q.Where(column+" = ?", value)
}

// withPlatform keeps the builds that have a job for the platform.
func withPlatform(builds *gorm.DB, platform string) *gorm.DB {
	if platform == "" {
		return builds
	}
	return builds.Where("EXISTS (SELECT 1 FROM jobs WHERE jobs.build_id = builds.id AND jobs.platform = ?)", platform)
}

func limit(n int) int {
	if n <= 0 {
		return defaultLimit
	}
	return min(n, maxLimit)
}
