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
	Failure        *model.Failure `gorm:"serializer:json"`
	Spec           spec           `gorm:"serializer:json"`
	Dockerfile     string
	ImageTag       string // in Repository
}

// spec is what a build is to make. That of an image stands in its column by itself, as the first schema had it, and
// that of a component under a name, so that each row says which it has.
type spec struct {
	*model.ImageSpec
	Component *model.ComponentSpec `json:"componentSpec,omitempty"`
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
	Due       int64          // since when it could have been taken
	Input     string         // of a component's platform
	Waits     []string       `gorm:"-"` // builds that it waits for, of job_waits
}

// TableName is GORM's way to learn it.
func (jobRow) TableName() string { return "jobs" }

// newBuildRow returns the row of a build that is queued for the first time.
func newBuildRow(b model.Build) buildRow {
	row := buildRow{
		ID: b.ID, Kind: b.Kind, Status: model.StatusQueued,
		KeyID: b.Requester.KeyID, LinuxUsername: b.Requester.LinuxUsername, GithubUsername: b.Requester.GithubUsername,
		Askers: 1, Created: micros(b.Created), Dockerfile: b.Dockerfile,
	}
	if b.Kind == model.KindComponent {
		c := b.Component
		row.Spec.Component = &c
		row.Component, row.Repository, row.Tag, row.ImageTag = c.Name, c.Repository, c.Tag, c.ImageTag
	} else {
		i := b.Image
		row.Spec.ImageSpec = &i
		row.Component, row.Branch, row.Repository, row.Tag, row.ImageTag = i.Component, i.Branch, i.Repository, i.Tag, i.Tag
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
			Due: micros(b.Created), Waits: distinct(j.WaitsFor), Input: j.Input,
		})
	}
	return rows
}

// build converts the row and its jobs.
func (r buildRow) build(jobs []jobRow) model.Build {
	b := model.Build{
		ID: r.ID, Kind: r.Kind, Dockerfile: r.Dockerfile,
		Requester: model.Requester{KeyID: r.KeyID, LinuxUsername: r.LinuxUsername, GithubUsername: r.GithubUsername},
		Status:    r.Status, Error: r.Failure, Askers: r.Askers,
		Created: moment(r.Created), Started: moment(r.Started), Finished: moment(r.Finished),
		Jobs: jobsOf(jobs),
	}
	if r.Spec.ImageSpec != nil {
		b.Image = *r.Spec.ImageSpec
	}
	if r.Spec.Component != nil {
		b.Component = *r.Spec.Component
	}
	if r.InputDigest != nil {
		b.InputDigest = *r.InputDigest
	}
	return b
}

func (r jobRow) job() model.Job {
	return model.Job{
		ID: r.ID, BuildID: r.BuildID, Platform: r.Platform, Status: r.Status, Attempt: r.Attempt, Worker: r.Worker,
		ExitCode: r.ExitCode, Error: r.Failure, Result: r.Result, LogStored: r.LogStored, WaitsFor: r.Waits, Input: r.Input,
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
