// Package builder turns requests into builds and sees them to their end: it checks and plans, records, queues, joins
// equal requests, cancels, retries what was lost, publishes results and follows logs. It knows neither HTTP nor SQL nor
// NATS: what it needs of them it declares in this file's interfaces, and cmd/cooper wires them.
package builder

import (
	"context"
	"io"
	"time"

	"cooper/internal/model"
)

// Store records builds, jobs and images: storage/db. All methods are safe for concurrent use and return NOT_FOUND for
// an ID that is unknown. A write that returned nil is durable.
type Store interface {
	// CreateBuild records b and its jobs, all queued at attempt 1 and unpublished, in one transaction. When a build with
	// the same InputDigest is in flight, that one gets one asker more and is returned with joined true, and nothing else
	// is written. With idem, the key is recorded in the same transaction; a key seen before returns the build made
	// under it (joined true, askers unchanged), or IDEMPOTENCY_KEY_REUSED when the request differed. When maxQueued
	// jobs are queued already, QUEUE_FULL.
	CreateBuild(ctx context.Context, b model.Build, idem *model.Idempotency, maxQueued int) (build model.Build, joined bool, err error)
	// Build returns the build with its jobs and its Dockerfile.
	Build(ctx context.Context, id string) (model.Build, error)
	// Builds returns a page, newest first, with jobs and without Dockerfiles.
	Builds(ctx context.Context, f model.BuildFilter) ([]model.Build, error)
	// BuildOfJob returns the job's build, whole.
	BuildOfJob(ctx context.Context, jobID string) (model.Build, error)
	// StartJob moves the job from queued to running under worker, and its build with it. LEASE_LOST unless the job is
	// queued at this attempt.
	StartJob(ctx context.Context, jobID string, attempt int, worker string, now time.Time) (model.Build, error)
	// FinishJob records the end of an attempt, the build's state that follows from it, and img when not nil (the tag's
	// whole new state: rows of platforms that it does not list are removed), in one transaction. LEASE_LOST unless the
	// job is running, or queued when the outcome is not a success, at this attempt.
	FinishJob(ctx context.Context, o model.Outcome, img *model.Image) (model.Build, error)
	// RequeueJob moves a running job back to queued, unpublished, with its attempt one higher. LEASE_LOST unless it is
	// running at this attempt.
	RequeueJob(ctx context.Context, jobID string, attempt int) (model.Job, error)
	// Leave takes one asker off a build in flight and returns how many are left; JOB_ALREADY_FINISHED when terminal.
	Leave(ctx context.Context, buildID string) (left int, err error)
	// CancelQueued ends every queued job of the build as canceled, and the build with them when none is running.
	CancelQueued(ctx context.Context, buildID string, why model.Failure, now time.Time) (model.Build, error)
	// Unpublished returns orders of queued jobs that were not marked published, oldest first.
	Unpublished(ctx context.Context, limit int) ([]model.Order, error)
	// MarkPublished notes that the attempt is in the queue; a no-op when the job has moved on.
	MarkPublished(ctx context.Context, jobID string, attempt int) error
	// QueuedOrders returns orders of all queued jobs, oldest first: what the queue must hold.
	QueuedOrders(ctx context.Context) ([]model.Order, error)
	// QueuedSince returns orders of queued jobs that were created before the time, oldest first.
	QueuedSince(ctx context.Context, before time.Time, limit int) ([]model.Order, error)
	// RunningJobs returns every running job.
	RunningJobs(ctx context.Context) ([]model.Job, error)
	// JobsWithoutLog returns terminal jobs whose log is not stored yet, oldest first.
	JobsWithoutLog(ctx context.Context, limit int) ([]model.Job, error)
	// MarkLogStored notes that the job's whole log is in the data directory.
	MarkLogStored(ctx context.Context, jobID string) error
	// QueuePosition returns how many queued jobs of the platform stand before the job.
	QueuePosition(ctx context.Context, jobID string) (int, error)
	// JobCounts counts all jobs by platform and status.
	JobCounts(ctx context.Context) ([]model.JobCount, error)
	// Image returns the tag with its platforms.
	Image(ctx context.Context, repository, tag string) (model.Image, error)
	// Images returns a page of tags with their platforms, ordered by repository and tag.
	Images(ctx context.Context, f model.ImageFilter) ([]model.Image, error)
	// InFlight returns the newest build in flight for the tag that has a job for platform ("" for any), or NOT_FOUND.
	InFlight(ctx context.Context, repository, tag, platform string) (model.Build, error)
}

// Queue carries orders, claims, cancels, outcomes and log frames between the server and its workers: queue.
type Queue interface {
	// Publish puts an order into the queue, durably. Publishing the same attempt twice is one order.
	Publish(ctx context.Context, o model.Order) error
	// Cancel tells whichever worker runs the job to stop it. It does not wait and is not stored.
	Cancel(ctx context.Context, jobID string) error
	// ServeClaims answers workers' claims with f until ctx ends. f runs concurrently; its error's code and message reach
	// the worker.
	ServeClaims(ctx context.Context, f func(context.Context, model.Claim) (model.Grant, error)) error
	// Heartbeats calls f for each heartbeat of any worker until ctx ends, one at a time.
	Heartbeats(ctx context.Context, f func(model.Heartbeat)) error
	// Outcomes calls f for each outcome until ctx ends, several at once for different jobs. An outcome is delivered
	// again until f returns nil, also after a restart.
	Outcomes(ctx context.Context, f func(context.Context, model.Outcome) error) error
	// Frames calls f with the job's log frames from the first one kept, in order, then with new ones as they come, until
	// ctx ends, f returns an error (which Frames returns), or, unless follow, the last one kept was given.
	Frames(ctx context.Context, jobID string, follow bool, f func(model.Frame) error) error
	// DropFrames removes the job's frames from the stream.
	DropFrames(ctx context.Context, jobID string) error
	// NextSeq returns the sequence number that the job's next log line gets: one past the last line kept, at least 1.
	NextSeq(ctx context.Context, jobID string) (uint64, error)
}

// LogStore keeps the whole logs of jobs that ended: storage/joblog.
type LogStore interface {
	// Create starts a job's log. Lines are added in order; Commit makes it durable and visible at once; Abort, also
	// after Commit, removes what was not committed.
	Create(jobID string) (LogWriter, error)
	// Read calls f with every line of the job's log whose sequence is at least from, in order. NOT_FOUND when there is
	// no such log. Memory does not grow with the log.
	Read(ctx context.Context, jobID string, from uint64, f func(model.LogLine) error) error
	// Remove deletes the job's log; no error when there is none.
	Remove(jobID string) error
}

// LogWriter adds lines to a log that is being stored. It is not safe for concurrent use.
type LogWriter interface {
	Add(model.LogLine) error
	Commit() error
	Abort()
}

// Inputs keeps uploaded build contexts by build ID until the build has ended: storage/inputs.
type Inputs interface {
	// Save streams r into the build's context, durably, and returns the digest and size of what came. Nothing is left
	// when r or the disk fails. STORAGE_FULL when the disk is full.
	Save(ctx context.Context, buildID string, r io.Reader) (digest string, size int64, err error)
	// Remove deletes the build's context; no error when there is none.
	Remove(buildID string) error
	// List returns the IDs of builds that have a context older than age.
	List(age time.Duration) ([]string, error)
}

// Registry names images and puts their indexes into the OCI registry: registry.
type Registry interface {
	// PutIndex pushes an index of the platforms under each of the tags and returns its digest. Platforms whose
	// manifests the registry no longer has are left out and not in the returned list. PUSH_FAILED when it cannot.
	PutIndex(ctx context.Context, repository string, tags []string, platforms []model.ImagePlatform, annotations map[string]string) (digest string, kept []model.ImagePlatform, err error)
	// Platform finds a platform's manifest and attestations in what a job pushed and named as the result's manifest. A
	// result that names them already comes back as it is. PUSH_FAILED when it cannot.
	Platform(ctx context.Context, repository string, pushed model.Result, platform string) (model.Result, error)
	// Digest returns the digest of what a tag names; NOT_FOUND when there is none.
	Digest(ctx context.Context, repository, tag string) (string, error)
	// Has reports whether the manifests of a result are in the registry; false when it cannot tell.
	Has(ctx context.Context, repository string, r model.Result) bool
	// Push says where workers push to, with credentials for that repository alone that last for a while.
	Push(repository string, life time.Duration) (model.Push, error)
	// Name is how the outside calls a tag: host/repository:tag.
	Name(repository, tag string) string
}

// Names holds the rules of names: registry.
type Names interface {
	// CheckComponent: NAME_INVALID, NAME_TOO_LONG.
	CheckComponent(name string) error
	// CheckTag: TAG_INVALID.
	CheckTag(tag string) error
	// IsBuildTag reports whether a tag is of the immutable kind that every build gets for itself.
	IsBuildTag(tag string) bool
	// BuildTag is the tag of a build's own, BuildOfTag the build of such a tag.
	BuildTag(buildID string) string
	BuildOfTag(tag string) string
	// ComponentRepository is the repository of a component's OCI images, ComponentTag the tag in it of a git ref as an
	// environment ("" for the default one) makes it; no two pairs share a tag.
	ComponentRepository(name string) string
	ComponentTag(ref, environment string) string
	// Repository maps a component and a legal git branch name to the repository of its images; no two pairs share one.
	Repository(component, branch string) string
}
