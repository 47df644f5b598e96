package db

import (
	"time"

	"cooper/internal/model"
)

// buildRow is a row of builds. The columns that repeat a part of the spec are there to be searched.
type buildRow struct {
	ID             string `gorm:"primaryKey"`
	Kind           model.Kind
	Status         model.Status
	Component      string
	Branch         string
	Repository     string
	Tag            string
	KeyID          string
	LinuxUsername  string
	GithubUsername string
	InputDigest    *string // NULL when the build is not to be joined
	Askers         int
	Created        int64
	Started        int64
	Finished       int64
	Failure        *model.Failure  `gorm:"serializer:json"`
	Spec           model.ImageSpec `gorm:"serializer:json"`
	Dockerfile     string
}

// TableName is GORM's way to learn it.
func (buildRow) TableName() string { return "builds" }

// jobRow is a row of jobs.
type jobRow struct {
	ID        string `gorm:"primaryKey"`
	BuildID   string
	Platform  string
	Status    model.Status
	Attempt   int
	Worker    string
	Published bool
	LogStored bool
	ExitCode  *int
	Created   int64
	Started   int64
	Finished  int64
	Failure   *model.Failure `gorm:"serializer:json"`
	Result    *model.Result  `gorm:"serializer:json"`
}

// TableName is GORM's way to learn it.
func (jobRow) TableName() string { return "jobs" }

// newBuildRow returns the row of a build that is queued for the first time.
func newBuildRow(b model.Build) buildRow {
	row := buildRow{
		ID: b.ID, Kind: b.Kind, Status: model.StatusQueued,
		Component: b.Image.Component, Branch: b.Image.Branch, Repository: b.Image.Repository, Tag: b.Image.Tag,
		KeyID: b.Requester.KeyID, LinuxUsername: b.Requester.LinuxUsername, GithubUsername: b.Requester.GithubUsername,
		Askers: 1, Created: micros(b.Created), Spec: b.Image, Dockerfile: b.Dockerfile,
	}
	if b.InputDigest != "" {
		row.InputDigest = &b.InputDigest
	}
	return row
}

// newJobRows returns the rows of b's jobs, queued at attempt 1 and unpublished.
func newJobRows(b model.Build) []jobRow {
	rows := make([]jobRow, 0, len(b.Jobs))
	for _, j := range b.Jobs {
		rows = append(rows, jobRow{
			ID: j.ID, BuildID: b.ID, Platform: j.Platform, Status: model.StatusQueued, Attempt: 1, Created: micros(b.Created),
		})
	}
	return rows
}

// build converts the row and its jobs.
func (r buildRow) build(jobs []jobRow) model.Build {
	b := model.Build{
		ID: r.ID, Kind: r.Kind, Image: r.Spec, Dockerfile: r.Dockerfile,
		Requester: model.Requester{KeyID: r.KeyID, LinuxUsername: r.LinuxUsername, GithubUsername: r.GithubUsername},
		Status:    r.Status, Error: r.Failure, Askers: r.Askers,
		Created: moment(r.Created), Started: moment(r.Started), Finished: moment(r.Finished),
		Jobs: jobsOf(jobs),
	}
	if r.InputDigest != nil {
		b.InputDigest = *r.InputDigest
	}
	return b
}

func (r jobRow) job() model.Job {
	return model.Job{
		ID: r.ID, BuildID: r.BuildID, Platform: r.Platform, Status: r.Status, Attempt: r.Attempt, Worker: r.Worker,
		ExitCode: r.ExitCode, Error: r.Failure, Result: r.Result, LogStored: r.LogStored,
		Created: moment(r.Created), Started: moment(r.Started), Finished: moment(r.Finished),
	}
}

func (r jobRow) order() model.Order {
	return model.Order{JobID: r.ID, BuildID: r.BuildID, Attempt: r.Attempt, Platform: r.Platform}
}

func jobsOf(rows []jobRow) []model.Job {
	jobs := make([]model.Job, 0, len(rows))
	for _, r := range rows {
		jobs = append(jobs, r.job())
	}
	return jobs
}

func ordersOf(rows []jobRow) []model.Order {
	orders := make([]model.Order, 0, len(rows))
	for _, r := range rows {
		orders = append(orders, r.order())
	}
	return orders
}

// micros is how a time is stored: an integer sorts and compares alike in every database.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// moment is the time that micros stored.
func moment(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
