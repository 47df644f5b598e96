package handlers

import (
	"net/url"
	"time"

	"cooper/internal/model"
)

// Links are where to go from a build, under the URL by which others reach the server.
type Links struct {
	Build  string `json:"build" example:"http://127.0.0.1:8080/api/v1/builds/019349c2-7f5a-7c31-9d8e-2b6f5a1c4d3e"`
	Logs   string `json:"logs" example:"http://127.0.0.1:8080/api/v1/builds/019349c2-7f5a-7c31-9d8e-2b6f5a1c4d3e/logs"`
	Cancel string `json:"cancel" example:"http://127.0.0.1:8080/api/v1/builds/019349c2-7f5a-7c31-9d8e-2b6f5a1c4d3e/cancel"`
	Image  string `json:"image" example:"http://127.0.0.1:8080/api/v1/image?branch=main&component=shop&tag=latest"`
} // @name Links

// SubmissionBody answers a request to build: with the outcome when it is known.
type SubmissionBody struct {
	Status         model.Status `json:"status" example:"queued"`
	ErrorMessage   string       `json:"errorMessage" example:""` // why the build failed; empty otherwise
	Code           model.Code   `json:"code,omitempty" example:"STEP_FAILED"`
	Line           int          `json:"line,omitempty" example:"3"` // of the Dockerfile
	BuildID        string       `json:"buildId" example:"019349c2-7f5a-7c31-9d8e-2b6f5a1c4d3e"`
	ImageName      string       `json:"imageName" example:"127.0.0.1:8080/shop-main-image:latest"`
	BuildImageName string       `json:"buildImageName" example:"127.0.0.1:8080/shop-main-image:build-019349c2-7f5a-7c31-9d8e-2b6f5a1c4d3e"` // a tag of this build alone, which never moves
	Joined         bool         `json:"joined"`                                                                                             // an equal build was in flight, and this is it
	Platforms      []JobBrief   `json:"platforms"`
	Links          Links        `json:"links"`
} // @name Submission

// JobBrief is how one platform of a build stands.
type JobBrief struct {
	Architecture string       `json:"architecture" example:"linux/arm64"`
	Status       model.Status `json:"status" example:"queued"`
	Digest       string       `json:"digest,omitempty" example:"sha256:9b2c0f3f6a1e0d0c8e2f5d1b7a4c6e8f9b2c0f3f6a1e0d0c8e2f5d1b7a4c6e8f"` // of the manifest, once succeeded
} // @name JobBrief

// JobBody is one platform of a build, whole.
type JobBody struct {
	JobID         string       `json:"jobId" example:"019349c2-7f5b-7a10-8c1d-3e5f7a9b1c2d"`
	Architecture  string       `json:"architecture" example:"linux/arm64"`
	Status        model.Status `json:"status" example:"failed"`
	Attempt       int          `json:"attempt" example:"1"` // more than 1 when its worker was lost
	Worker        string       `json:"worker,omitempty" example:"builder-1"`
	ExitCode      *int         `json:"exitCode,omitempty" example:"2"` // of the step that failed
	Code          model.Code   `json:"code,omitempty" example:"STEP_FAILED"`
	ErrorMessage  string       `json:"errorMessage" example:""`
	Line          int          `json:"line,omitempty" example:"3"`
	Digest        string       `json:"digest,omitempty" example:"sha256:9b2c0f3f6a1e0d0c8e2f5d1b7a4c6e8f9b2c0f3f6a1e0d0c8e2f5d1b7a4c6e8f"`
	QueuePosition *int         `json:"queuePosition,omitempty" example:"0"` // queued jobs of the platform before it
	WaitReason    string       `json:"waitReason,omitempty" example:"No worker for linux/arm64 is connected."`
	CreatedAt     *time.Time   `json:"createdAt,omitempty"`
	StartedAt     *time.Time   `json:"startedAt,omitempty"`
	FinishedAt    *time.Time   `json:"finishedAt,omitempty"`
} // @name Job

// BuildRecord is what is known of a build.
type BuildRecord struct {
	BuildID        string            `json:"buildId" example:"019349c2-7f5a-7c31-9d8e-2b6f5a1c4d3e"`
	Kind           model.Kind        `json:"kind" example:"image"`
	Component      string            `json:"component" example:"shop"`
	Branch         string            `json:"branch" example:"main"`
	Tag            string            `json:"tag" example:"latest"`
	ImageName      string            `json:"imageName" example:"127.0.0.1:8080/shop-main-image:latest"`
	BuildImageName string            `json:"buildImageName" example:"127.0.0.1:8080/shop-main-image:build-019349c2-7f5a-7c31-9d8e-2b6f5a1c4d3e"`
	Architectures  []string          `json:"architectures" example:"linux/amd64,linux/arm64"`
	Context        string            `json:"context,omitempty"` // digest of the uploaded context
	Source         *model.Source     `json:"source,omitempty"`  // or the git repository it came from
	Target         string            `json:"target,omitempty"`
	BuildArgs      map[string]string `json:"buildArgs,omitempty"`
	Labels         map[string]string `json:"labels,omitempty"`
	SecretIDs      []string          `json:"secretIds,omitempty"` // their values are not kept
	NoCache        bool              `json:"noCache"`
	Compression    model.Compression `json:"compression,omitempty" example:"gzip"`
	Publish        model.Publish     `json:"publish" example:"each"`
	Timeout        string            `json:"timeout,omitempty" example:"30m0s"`
	Notes          []string          `json:"notes,omitempty"` // what was changed or ignored in the request
	Requester      model.Requester   `json:"requester"`
	Askers         int               `json:"askers" example:"1"` // requests that share the build
	CreatedAt      *time.Time        `json:"createdAt,omitempty"`
	StartedAt      *time.Time        `json:"startedAt,omitempty"`
	FinishedAt     *time.Time        `json:"finishedAt,omitempty"`
	Jobs           []JobBody         `json:"jobs"`
	Links          Links             `json:"links"`
} // @name BuildRecord

// BuildBody is a build: its status and error, and what is known of it.
type BuildBody struct {
	Status       model.Status `json:"status" example:"running"`
	ErrorMessage string       `json:"errorMessage" example:""`
	Code         model.Code   `json:"code,omitempty" example:"STEP_FAILED"`
	Line         int          `json:"line,omitempty" example:"3"`
	BuildRecord
	Dockerfile string `json:"dockerfile,omitempty" example:"FROM scratch"` // left out in listings
} // @name Build

// BuildsBody is a page of builds, newest first.
type BuildsBody struct {
	Envelope
	Builds     []BuildBody `json:"builds"`
	NextCursor string      `json:"nextCursor,omitempty"` // of the next page; absent on the last
} // @name Builds

// CancelBody tells what came of a cancel.
type CancelBody struct {
	Status       model.Status `json:"status" example:"canceled"` // running or queued while others still want the build, or until it has stopped
	ErrorMessage string       `json:"errorMessage" example:""`
	BuildID      string       `json:"buildId" example:"019349c2-7f5a-7c31-9d8e-2b6f5a1c4d3e"`
	AskersLeft   int          `json:"askersLeft" example:"0"` // requests that still want the build
	Links        Links        `json:"links"`
} // @name Cancel

func (s *Server) links(b model.Build) Links {
	at := s.cfg.PublicURL + base + "/builds/" + b.ID
	image := url.Values{"component": {b.Image.Component}, "branch": {b.Image.Branch}, "tag": {b.Image.Tag}}
	return Links{Build: at, Logs: at + "/logs", Cancel: at + "/cancel", Image: s.cfg.PublicURL + base + "/image?" + image.Encode()}
}

func (s *Server) submissionBody(sub model.Submission) SubmissionBody {
	b := sub.Build
	body := SubmissionBody{
		Status: b.Status, BuildID: b.ID, Joined: sub.Joined, Links: s.links(b), Platforms: []JobBrief{},
		ImageName:      s.cfg.Images.Name(b.Image.Repository, b.Image.Tag),
		BuildImageName: s.cfg.Images.BuildName(b.Image.Repository, b.ID),
	}
	body.Code, body.ErrorMessage, body.Line = failure(b.Error)
	for _, j := range b.Jobs {
		body.Platforms = append(body.Platforms, JobBrief{Architecture: j.Platform, Status: j.Status, Digest: digestOf(j)})
	}
	return body
}

func (s *Server) buildBody(b model.Build, waits []model.JobWait) BuildBody {
	i := b.Image
	body := BuildBody{Status: b.Status, Dockerfile: b.Dockerfile, BuildRecord: BuildRecord{
		BuildID: b.ID, Kind: b.Kind, Component: i.Component, Branch: i.Branch, Tag: i.Tag,
		ImageName:      s.cfg.Images.Name(i.Repository, i.Tag),
		BuildImageName: s.cfg.Images.BuildName(i.Repository, b.ID),
		Architectures:  append([]string{}, i.Platforms...), Context: i.Context, Source: i.Source, Target: i.Target, BuildArgs: i.BuildArgs,
		Labels: i.Labels, SecretIDs: i.SecretIDs, NoCache: i.NoCache, Compression: i.Compression, Publish: i.Publish, Notes: i.Notes,
		Requester: b.Requester, Askers: b.Askers,
		CreatedAt: moment(b.Created), StartedAt: moment(b.Started), FinishedAt: moment(b.Finished),
		Jobs: []JobBody{}, Links: s.links(b),
	}}
	if i.Timeout > 0 {
		body.Timeout = i.Timeout.String()
	}
	body.Code, body.ErrorMessage, body.Line = failure(b.Error)
	for _, j := range b.Jobs {
		body.Jobs = append(body.Jobs, jobBody(j, waits))
	}
	return body
}

func jobBody(j model.Job, waits []model.JobWait) JobBody {
	body := JobBody{
		JobID: j.ID, Architecture: j.Platform, Status: j.Status, Attempt: j.Attempt, Worker: j.Worker, ExitCode: j.ExitCode, Digest: digestOf(j),
		CreatedAt: moment(j.Created), StartedAt: moment(j.Started), FinishedAt: moment(j.Finished),
	}
	body.Code, body.ErrorMessage, body.Line = failure(j.Error)
	for _, w := range waits {
		if w.JobID == j.ID {
			body.QueuePosition, body.WaitReason = &w.Position, w.Reason
		}
	}
	return body
}

func failure(f *model.Failure) (code model.Code, message string, line int) {
	if f == nil {
		return "", "", 0
	}
	return f.Code, f.Message, f.Line
}

func digestOf(j model.Job) string {
	if j.Result == nil {
		return ""
	}
	return j.Result.Manifest.Digest
}
