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
	// Image is where the image of an image build is found, and Component the component of a component build.
	Image     string `json:"image,omitempty" example:"http://127.0.0.1:8080/api/v1/image?branch=main&component=shop&tag=latest"`
	Component string `json:"component,omitempty" example:"http://127.0.0.1:8080/api/v1/component?component=zlib&tag=v1.3"`
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
	Digest       string       `json:"digest,omitempty" example:"sha256:9b2c0f3f6a1e0d0c8e2f5d1b7a4c6e8f9b2c0f3f6a1e0d0c8e2f5d1b7a4c6e8f"` // of the image's manifest or the component's tarball, once succeeded
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
	WaitsFor      []string     `json:"waitsFor,omitempty" example:"019349c2-7f5a-7c31-9d8e-2b6f5a1c4d3f"` // builds of components that must succeed first
	CreatedAt     *time.Time   `json:"createdAt,omitempty"`
	StartedAt     *time.Time   `json:"startedAt,omitempty"`
	FinishedAt    *time.Time   `json:"finishedAt,omitempty"`
} // @name Job

// BuildRecord is what is known of a build.
type BuildRecord struct {
	BuildID        string            `json:"buildId" example:"019349c2-7f5a-7c31-9d8e-2b6f5a1c4d3e"`
	Kind           model.Kind        `json:"kind" example:"image"`
	Component      string            `json:"component" example:"shop"`
	Branch         string            `json:"branch,omitempty" example:"main"` // of an image
	Tag            string            `json:"tag" example:"latest"`            // of an image; of a component, the git ref as asked for
	ImageName      string            `json:"imageName" example:"127.0.0.1:8080/shop-main-image:latest"`
	BuildImageName string            `json:"buildImageName" example:"127.0.0.1:8080/shop-main-image:build-019349c2-7f5a-7c31-9d8e-2b6f5a1c4d3e"`
	Architectures  []string          `json:"architectures" example:"linux/amd64,linux/arm64"`
	Environment    string            `json:"environment,omitempty" example:"debian12-arm64"` // of a component that was asked for with one
	Context        string            `json:"context,omitempty"`                              // digest of the uploaded context
	Source         *model.Source     `json:"source,omitempty"`                               // or the git repository it came from
	Target         string            `json:"target,omitempty"`
	BuildArgs      map[string]string `json:"buildArgs,omitempty"`
	Labels         map[string]string `json:"labels,omitempty"`
	SecretIDs      []string          `json:"secretIds,omitempty"` // their values are not kept
	NoCache        bool              `json:"noCache"`
	Compression    model.Compression `json:"compression,omitempty" example:"gzip"`
	Publish        model.Publish     `json:"publish,omitempty" example:"each"`
	Timeout        string            `json:"timeout,omitempty" example:"30m0s"`
	Notes          []string          `json:"notes,omitempty"` // what was changed or ignored in the request
	// Recipe is how a component is built, and Dependencies the components that the build is given.
	Recipe       *model.Recipe      `json:"recipe,omitempty"`
	Dependencies []model.Dependency `json:"dependencies,omitempty"`
	Requester    model.Requester    `json:"requester"`
	Askers       int                `json:"askers" example:"1"` // requests that share the build
	CreatedAt    *time.Time         `json:"createdAt,omitempty"`
	StartedAt    *time.Time         `json:"startedAt,omitempty"`
	FinishedAt   *time.Time         `json:"finishedAt,omitempty"`
	Jobs         []JobBody          `json:"jobs"`
	Links        Links              `json:"links"`
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
	links := Links{Build: at, Logs: at + "/logs", Cancel: at + "/cancel"}
	if b.Kind == model.KindComponent {
		q := url.Values{"component": {b.Component.Name}, "tag": {b.Component.Tag}}
		if a := specArchitecture(b.Component); a != "" {
			q.Set("architecture", a)
		}
		links.Component = s.cfg.PublicURL + base + "/component?" + q.Encode()
		return links
	}
	q := url.Values{"component": {b.Image.Component}, "branch": {b.Image.Branch}, "tag": {b.Image.Tag}}
	links.Image = s.cfg.PublicURL + base + "/image?" + q.Encode()
	return links
}

// specArchitecture is what finds the component again: its environment, or its platform when it has one alone.
func specArchitecture(c model.ComponentSpec) string {
	if c.Environment == "" && len(c.Platforms) == 1 {
		return c.Platforms[0]
	}
	return c.Environment
}

// imageName is how clients call the image that the build makes.
func (s *Server) imageName(b model.Build) string {
	if b.Kind == model.KindComponent {
		return s.cfg.Components.Name(b.Component.Repository, b.Component.ImageTag)
	}
	return s.cfg.Images.Name(b.Image.Repository, b.Image.Tag)
}

func (s *Server) submissionBody(sub model.Submission) SubmissionBody {
	b := sub.Build
	body := SubmissionBody{
		Status: b.Status, BuildID: b.ID, Joined: sub.Joined, Links: s.links(b), Platforms: []JobBrief{},
		ImageName: s.imageName(b), BuildImageName: s.cfg.Images.BuildName(b.Repository(), b.ID),
	}
	body.Code, body.ErrorMessage, body.Line = failure(b.Error)
	for _, j := range b.Jobs {
		body.Platforms = append(body.Platforms, JobBrief{Architecture: j.Platform, Status: j.Status, Digest: digestOf(j)})
	}
	return body
}

func (s *Server) buildBody(b model.Build, waits []model.JobWait) BuildBody {
	body := BuildBody{Status: b.Status, Dockerfile: b.Dockerfile, BuildRecord: BuildRecord{
		BuildID: b.ID, Kind: b.Kind, ImageName: s.imageName(b), BuildImageName: s.cfg.Images.BuildName(b.Repository(), b.ID),
		Dependencies: b.Dependencies(), Requester: b.Requester, Askers: b.Askers,
		CreatedAt: moment(b.Created), StartedAt: moment(b.Started), FinishedAt: moment(b.Finished),
		Jobs: []JobBody{}, Links: s.links(b),
	}}
	if b.Kind == model.KindComponent {
		body.takeComponent(b.Component)
	} else {
		body.takeImage(b.Image)
	}
	if t := b.Timeout(); t > 0 {
		body.Timeout = t.String()
	}
	body.Code, body.ErrorMessage, body.Line = failure(b.Error)
	for _, j := range b.Jobs {
		body.Jobs = append(body.Jobs, jobBody(j, waits))
	}
	return body
}

func (r *BuildRecord) takeImage(i model.ImageSpec) {
	r.Component, r.Branch, r.Tag, r.Architectures = i.Component, i.Branch, i.Tag, append([]string{}, i.Platforms...)
	r.Context, r.Source, r.Target, r.BuildArgs, r.Labels, r.SecretIDs = i.Context, i.Source, i.Target, i.BuildArgs, i.Labels, i.SecretIDs
	r.NoCache, r.Compression, r.Publish, r.Notes = i.NoCache, i.Compression, i.Publish, i.Notes
}

func (r *BuildRecord) takeComponent(c model.ComponentSpec) {
	r.Component, r.Tag, r.Environment, r.Architectures = c.Name, c.Tag, c.Environment, append([]string{}, c.Platforms...)
	r.Source, r.Recipe, r.Target = &c.Source, &c.Recipe, c.Recipe.Target
	r.BuildArgs, r.NoCache, r.Notes = c.BuildArgs, c.NoCache, c.Notes
}

func jobBody(j model.Job, waits []model.JobWait) JobBody {
	body := JobBody{
		JobID: j.ID, Architecture: j.Platform, Status: j.Status, Attempt: j.Attempt, Worker: j.Worker, ExitCode: j.ExitCode, Digest: digestOf(j),
		WaitsFor: j.WaitsFor, CreatedAt: moment(j.Created), StartedAt: moment(j.Started), FinishedAt: moment(j.Finished),
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

// digestOf is the digest of what the job made: a component's tarball, or an image's manifest.
func digestOf(j model.Job) string {
	switch {
	case j.Result == nil:
		return ""
	case j.Result.Tarball != nil:
		return j.Result.Tarball.Digest
	}
	return j.Result.Manifest.Digest
}
