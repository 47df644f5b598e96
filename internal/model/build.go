package model

import "time"

// Kind is what a build makes.
type Kind string

// The kinds of a build.
const (
	KindImage     Kind = "image"
	KindComponent Kind = "component"
)

// Status is where a build or a job stands.
type Status string

// The states. A job may go from running back to queued, with its attempt one higher, when its worker is lost.
const (
	StatusQueued    Status = "queued"
	StatusRunning   Status = "running"
	StatusSucceeded Status = "succeeded"
	StatusFailed    Status = "failed"
	StatusCanceled  Status = "canceled"
)

// Terminal reports whether nothing follows s.
func (s Status) Terminal() bool {
	return s == StatusSucceeded || s == StatusFailed || s == StatusCanceled
}

// Requester says who asked, as the caller's headers put it. It is recorded and shown, never trusted for access.
type Requester struct {
	KeyID          string `json:"keyId,omitempty"`
	LinuxUsername  string `json:"linuxUsername,omitempty"`
	GithubUsername string `json:"githubUsername,omitempty"`
}

// Source is a git repository at a ref.
type Source struct {
	URL    string `json:"url"`              // without credentials
	Ref    string `json:"ref,omitempty"`    // as asked for; empty means the default branch
	Commit string `json:"commit,omitempty"` // 40 hex digits, once resolved
	Subdir string `json:"subdir,omitempty"` // slash-separated, relative, clean
	// Kind is what Ref names, once resolved.
	Kind RefKind `json:"refKind,omitempty"`
}

// Publish says when the platforms of a build are put into the index under its tag.
type Publish string

// Each platform as soon as it is built, or all at once when every one has succeeded.
const (
	PublishEach Publish = "each"
	PublishAll  Publish = "all"
)

// Compression is how new layers are compressed.
type Compression string

// The compressions that an image's layers may have.
const (
	CompressionGzip Compression = "gzip"
	CompressionZstd Compression = "zstd"
)

// ImageSpec is everything that decides an image build, but for the values of its secrets, which are never stored. It is
// kept with the build and sent to the worker.
type ImageSpec struct {
	Component   string            `json:"component"`
	Branch      string            `json:"branch"`
	Tag         string            `json:"tag"`
	Repository  string            `json:"repository"`        // in the registry, without host and prefix
	Platforms   []string          `json:"platforms"`         // normalised, sorted, no duplicates: linux/arm64
	Dockerfile  string            `json:"dockerfile"`        // digest of Build.Dockerfile
	Context     string            `json:"context,omitempty"` // digest of the uploaded tar, as it came; kept in storage/inputs under the build's ID
	Source      *Source           `json:"source,omitempty"`  // instead of Context
	Target      string            `json:"target,omitempty"`
	BuildArgs   map[string]string `json:"buildArgs,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	SecretIDs   []string          `json:"secretIds,omitempty"`
	NoCache     bool              `json:"noCache,omitempty"`
	Compression Compression       `json:"compression,omitempty"`
	Publish     Publish           `json:"publish"`
	Timeout     time.Duration     `json:"timeout,omitempty"` // nanoseconds, from the job's start
	Notes       []string          `json:"notes,omitempty"`   // what was changed or ignored; said at the head of the log
	// Dependencies are the components that the Dockerfile finds as named contexts.
	Dependencies []Dependency `json:"dependencies,omitempty"`
}

// Build is what somebody asked for.
type Build struct {
	ID          string // UUIDv7, so that IDs sort by time
	Kind        Kind
	Image       ImageSpec     // of an image build
	Component   ComponentSpec // of a component build
	Dockerfile  string        // the text to solve; left empty in listings
	Requester   Requester
	Status      Status
	Error       *Failure // set when failed or canceled
	InputDigest string   // of the spec and the secrets' MACs; equal while in flight means one build
	Askers      int      // how many requests joined; canceled when it reaches 0
	Created     time.Time
	Started     time.Time // zero until the first job starts
	Finished    time.Time // zero until terminal
	Jobs        []Job     // by platform
}

// JobFor returns the build's job for a platform.
func (b Build) JobFor(platform string) (Job, bool) {
	for _, j := range b.Jobs {
		if j.Platform == platform {
			return j, true
		}
	}
	return Job{}, false
}

// Ended reports whether the platform, or with "" all of the build, has ended.
func (b Build) Ended(platform string) bool {
	j, _ := b.JobFor(platform)
	return b.Status.Terminal() || j.Status.Terminal()
}

// Failure is an error as it is stored: its code and a message that is safe to show.
type Failure struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Line    int    `json:"line,omitempty"` // of the Dockerfile, from 1
}

// Job is one platform of a build.
type Job struct {
	ID        string // UUIDv7
	BuildID   string
	Platform  string
	Status    Status
	Attempt   int // from 1
	Worker    string
	ExitCode  *int // of the failing step
	Error     *Failure
	Result    *Result
	LogStored bool     // the whole log is in the data directory
	Input     string   // of a component: equal for jobs that would make the same of the same
	WaitsFor  []string // builds of which the same platform must succeed before it may start
	Created   time.Time
	Started   time.Time
	Finished  time.Time
}

// Descriptor names a manifest in the registry.
// Source: OCI Image Format Specification, descriptor.md.
type Descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"` // bytes
}

// Result is what a succeeded job made: the platform's image manifest, and the manifest of its attestations or, of a
// component, its tarball. A component's worker reports no manifest: the server makes it of the tarball.
type Result struct {
	Manifest    Descriptor  `json:"manifest"`
	Attestation *Descriptor `json:"attestation,omitempty"`
	// Sources are the images that it was built from, pinned by digest and sorted. They tell whether an equal request
	// would give the same; Pinned is false when something was fetched that has no digest.
	Sources []string `json:"sources,omitempty"`
	Pinned  bool     `json:"pinned,omitempty"`
	Tarball *Tarball `json:"tarball,omitempty"`
	// Dependencies are the components that it was built with.
	Dependencies []Dependency `json:"dependencies,omitempty"`
}

// Image is a tag in a repository and the platforms in its index.
type Image struct {
	Component   string
	Branch      string
	Repository  string
	Tag         string
	IndexDigest string
	Updated     time.Time
	Platforms   []ImagePlatform
}

// ImagePlatform is one platform of an image.
type ImagePlatform struct {
	Platform string
	Result   Result
	BuildID  string
	Created  time.Time
}

// Repository is the repository of the OCI image that the build makes, without host and prefix.
func (b Build) Repository() string {
	if b.Kind == KindComponent {
		return b.Component.Repository
	}
	return b.Image.Repository
}

// Timeout is how long each of the build's jobs may run.
func (b Build) Timeout() time.Duration {
	if b.Kind == KindComponent {
		return b.Component.Timeout
	}
	return b.Image.Timeout
}

// Dependencies are the components that the build's jobs are given, of every platform.
func (b Build) Dependencies() []Dependency {
	if b.Kind == KindComponent {
		return b.Component.Dependencies
	}
	return b.Image.Dependencies
}
