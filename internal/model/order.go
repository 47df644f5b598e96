package model

import "time"

// Order is what the queue carries: that a job's attempt is due. The job itself is in the database.
type Order struct {
	JobID    string `json:"jobId"`
	BuildID  string `json:"buildId"`
	Attempt  int    `json:"attempt"`
	Platform string `json:"platform"`
}

// Claim is a worker's wish to run an attempt that it was handed.
type Claim struct {
	JobID   string `json:"jobId"`
	Attempt int    `json:"attempt"`
	Worker  string `json:"worker"`
}

// Grant is the answer to a claim: all that the worker needs, secrets among it. It travels in memory only, never
// through a stream that is stored.
type Grant struct {
	JobID      string            `json:"jobId"`
	BuildID    string            `json:"buildId"`
	Attempt    int               `json:"attempt"`
	Platform   string            `json:"platform"`
	Kind       Kind              `json:"kind"`
	Image      ImageSpec         `json:"image"`     // of an image build
	Component  ComponentSpec     `json:"component"` // of a component build
	Dockerfile string            `json:"dockerfile"`
	Secrets    map[string][]byte `json:"secrets,omitempty"` // by ID
	Push       Push              `json:"push"`
	// Contexts are the named contexts of the solve: by name, an image reference with its digest. Dependencies are the
	// components that they hold.
	Contexts     map[string]string `json:"contexts,omitempty"`
	Dependencies []Dependency      `json:"dependencies,omitempty"`
	Previous     *Result           `json:"previous,omitempty"`        // of the last equal request, still in the registry
	PreviousID   string            `json:"previousBuildId,omitempty"` // the build that made Previous
	NextSeq      uint64            `json:"nextSeq"`                   // sequence of the log's next line
	Deadline     time.Time         `json:"deadline"`
}

// Push says where a job's image goes, and with which credentials.
type Push struct {
	Repository string `json:"repository"` // with the registry's host, as the worker reaches it, and its prefix
	Insecure   bool   `json:"insecure"`   // plain HTTP, or TLS that is not verified
	Host       string `json:"host"`       // of Repository, for which the credentials are
	PublicHost string `json:"publicHost"` // the same registry as the outside calls it; the credentials are for it too
	Username   string `json:"username"`
	Password   string `json:"password"`
}

// Heartbeat tells the server that a worker lives, what it can build and what it runs.
type Heartbeat struct {
	Worker    string    `json:"worker"`
	Platforms []string  `json:"platforms"`
	Slots     int       `json:"slots"`   // jobs it runs at once
	Running   []Claim   `json:"running"` // attempts that it holds
	Ready     bool      `json:"ready"`   // its BuildKit answers
	Detail    string    `json:"detail,omitempty"`
	Time      time.Time `json:"time"`
}

// Outcome is how an attempt ended, as its worker reports it.
type Outcome struct {
	JobID     string    `json:"jobId"`
	BuildID   string    `json:"buildId"`
	Attempt   int       `json:"attempt"`
	Worker    string    `json:"worker"`
	Status    Status    `json:"status"`              // succeeded, failed or canceled
	Transient bool      `json:"transient,omitempty"` // failed for a reason outside the build; another attempt may succeed
	ExitCode  *int      `json:"exitCode,omitempty"`
	Failure   *Failure  `json:"failure,omitempty"`
	Result    *Result   `json:"result,omitempty"`
	Time      time.Time `json:"time"`
}

// Frame is a run of log lines of one job's attempt, as the log stream carries them.
type Frame struct {
	JobID   string    `json:"jobId"`
	Attempt int       `json:"attempt"`
	Lines   []LogLine `json:"lines"`
	Final   bool      `json:"final,omitempty"` // nothing follows from this attempt
}
