package handlers

import (
	"context"
	"io"
	"net/http"

	"cooper/internal/model"
)

// Builds submits, shows, waits for and cancels builds. All methods are safe for concurrent use, and return NOT_FOUND
// for an ID that is unknown.
type Builds interface {
	// Draft returns the ID that a request, and the build that comes of it, will have. Nothing is written yet.
	Draft() string
	// SaveContext streams an uploaded build context into the draft, checks it and makes it durable. When r fails, or what
	// it gives is refused, nothing is kept but what DropDraft removes.
	SaveContext(ctx context.Context, draftID string, r io.Reader) (model.Upload, error)
	// DropDraft removes what the draft holds. It is called after every refusal, also when nothing was saved.
	DropDraft(draftID string)
	// SubmitImage checks the request and records a build, or joins one in flight. An error means that nothing was
	// recorded; without one the draft belongs to the service.
	SubmitImage(ctx context.Context, r model.ImageRequest) (model.Submission, error)
	// Build returns the build with its jobs and its Dockerfile.
	Build(ctx context.Context, id string) (model.Build, error)
	// Builds returns a page, newest first.
	Builds(ctx context.Context, f model.BuildFilter) ([]model.Build, error)
	// Waits says for each queued job of b why it has not started.
	Waits(ctx context.Context, b model.Build) ([]model.JobWait, error)
	// Wait returns the build once the platform's job, or with "" all of it, is terminal, or as it stands when ctx ends,
	// which is no error.
	Wait(ctx context.Context, id, platform string) (model.Build, error)
	// Cancel takes one asker off the build, ends it when none is left, and returns it with the number left.
	// JOB_ALREADY_FINISHED when it is terminal.
	Cancel(ctx context.Context, id string) (b model.Build, left int, err error)
}

// Images finds images by name. All methods are safe for concurrent use.
type Images interface {
	// Image returns the state of one platform of an image. That it is not there is no error.
	Image(ctx context.Context, q model.ImageQuery) (model.ImageState, error)
	// Images returns a page of tags, by repository and tag.
	Images(ctx context.Context, f model.ImageFilter) ([]model.Image, error)
	// Name returns how clients call the tag: registry/repository:tag.
	Name(repository, tag string) string
	// BuildName returns how clients call what the build alone made, under a tag that never moves.
	BuildName(repository, buildID string) string
}

// Components finds components and builds them when they are asked for. All methods are safe for concurrent use.
type Components interface {
	// SubmitComponent checks the request and records a build, or joins one in flight.
	SubmitComponent(ctx context.Context, r model.ComponentRequest) (model.Submission, error)
	// Component returns a component, or the build that is making it, which it starts when there is none and the caller
	// may, or how the same build failed before. SCOPE_INSUFFICIENT when there is none and the caller may not build it;
	// NOT_FOUND when the value of a commit or digest is not kept; COMPONENT_NOT_FOUND when it is not known where the
	// component comes from.
	Component(ctx context.Context, q model.ComponentQuery) (model.ComponentState, error)
	// Made returns what a build has made for a platform, or how it stands.
	Made(ctx context.Context, buildID, platform string) (model.ComponentState, error)
	// Components returns a page, newest first.
	Components(ctx context.Context, f model.ComponentFilter) ([]model.Component, error)
	// Recipe tells how a repository would be built.
	Recipe(ctx context.Context, q model.ComponentQuery) (model.RecipeReport, error)
	// Graph returns what a component was built with. COMPONENT_NOT_FOUND when it was never built.
	Graph(ctx context.Context, q model.ComponentQuery) (model.Graph, error)
	// Environments lists the OS environments, the default one first.
	Environments() []model.Environment
	// Name returns how clients call the tag: registry/repository:tag.
	Name(repository, tag string) string
}

// Tarballs hands out the bytes of components. All methods are safe for concurrent use.
type Tarballs interface {
	// Open readies a tarball in a format, deriving it the first time. The caller closes the download's file, if it has
	// one; of a URL, browsers and curl -J save the bytes as fileName. ARTIFACT_CORRUPT when the bytes are not what they
	// were; NOT_FOUND when they are gone.
	Open(ctx context.Context, t model.Tarball, f model.Format, fileName string) (model.Download, error)
	// TreesHere returns nil where Tree can give paths, and PATH_NOT_AVAILABLE when the store is not on this disk. It looks
	// at no tarball.
	TreesHere() error
	// Tree returns the path of a folder on this machine that holds the tarball's files, unpacking it the first time. It
	// stays for a day after it was last asked for, and less only when the disk is nearly full. The error of TreesHere
	// where that returns one.
	Tree(ctx context.Context, t model.Tarball) (path string, err error)
}

// Logs follows the logs of builds. It is safe for concurrent use.
type Logs interface {
	// Follow calls f, one call at a time, with the lines that q chooses. Lines of several jobs interleave; those of one
	// job are in order. It returns f's error, or ctx's when it ends, and nil when there is nothing more to come. An error
	// with OFFSET_INVALID says that q starts beyond the end of a log that is complete.
	Follow(ctx context.Context, buildID string, q model.LogQuery, f func(model.LogLine) error) error
}

// Principal is who a key belongs to and what it may do.
type Principal struct {
	KeyID  string
	Name   string
	Scopes []string // the scope "admin" stands for every other
}

// Authenticator knows the API keys, where in a request they stand, and how often they, and wrong ones, were used. It is
// safe for concurrent use.
type Authenticator interface {
	// Enter returns whose key a request with these headers from that address carries. AUTH_MISSING, AUTH_INVALID,
	// AUTH_EXPIRED or AUTH_REVOKED when nobody's; RATE_LIMITED when the key, or wrong ones from the address, came too
	// often: that error has a method RetryAfter() time.Duration.
	Enter(ctx context.Context, h http.Header, clientIP string) (Principal, error)
}

// Health tells which parts of the service work.
type Health interface {
	// Readiness returns a line for every part. It answers within a few seconds.
	Readiness(ctx context.Context) []model.Readiness
}
