package model

import "time"

// ImageRequest is a request to build an image, as the caller put it and before any check.
type ImageRequest struct {
	ID             string // the draft's ID, which becomes the build's
	Component      string
	Branch         string
	Tag            string
	Architectures  []string
	Dockerfile     []byte
	Upload         *Upload // the context, when one was uploaded into the draft
	ContextURL     string
	Target         string
	BuildArgs      []string // K=V
	Labels         []string // K=V
	Secrets        map[string][]byte
	NoCache        bool
	Compression    string
	Publish        string
	Timeout        string   // a Go duration; empty for the server's
	Components     []string // name@tag: components that the Dockerfile finds as named contexts
	IdempotencyKey string
	Requester      Requester
}

// Upload is a build context that was received, checked and made durable.
type Upload struct {
	Digest       string // of the bytes as they came
	Size         int64  // bytes, as they came
	Files        int
	Dockerignore []byte // of the context's root, nil when it has none
}

// Submission is the answer to a request to build.
type Submission struct {
	Build  Build
	Joined bool // an equal build was in flight, and this one joined it
}

// Idempotency is a caller's key for a request and the digest of what was asked under it.
type Idempotency struct {
	Key           string // with the API key's ID in front, so that callers do not meet
	RequestDigest string
}

// BuildFilter chooses builds for a page, newest first.
type BuildFilter struct {
	Status    Status
	Kind      Kind
	Component string
	Branch    string
	Platform  string
	Requester string // linux or github user name
	Before    string // ID; builds older than it
	Limit     int
}

// ImageFilter chooses images for a page, by repository and tag.
type ImageFilter struct {
	Component       string
	Branch          string
	Tag             string
	Platform        string
	AfterRepository string // keyset of the last row of the page before
	AfterTag        string
	Limit           int
}

// JobCount counts jobs by status and platform.
type JobCount struct {
	Platform string
	Status   Status
	Count    int
}

// WorkerState is a worker as the server last heard of it.
type WorkerState struct {
	Heartbeat
	Seen time.Time
}

// ImageQuery asks for one platform of one image.
type ImageQuery struct {
	Component    string
	Branch       string
	Tag          string // empty means latest
	Architecture string // empty means the server's own platform
}

// ImageState is the answer to an ImageQuery.
type ImageState struct {
	Name     string // registry/repository:tag, ready to pull
	Platform string // the platform asked for, normalised
	Image    *Image // nil when the tag has no platform yet
	InFlight *Build // the newest build under way for this tag and platform, nil when there is none
}

// Has reports whether the platform asked for can be pulled.
func (s ImageState) Has() bool {
	if s.Image == nil {
		return false
	}
	for _, p := range s.Image.Platforms {
		if p.Platform == s.Platform {
			return true
		}
	}
	return false
}

// JobWait says why a queued job has not started.
type JobWait struct {
	JobID    string
	Position int    // queued jobs of the platform before it
	Reason   string // a sentence for people
}

// LogQuery chooses lines of a build's log.
type LogQuery struct {
	Platform string            // normalised; empty means every platform
	From     map[string]uint64 // first sequence wanted, by job ID; from the start where absent
	Follow   bool              // wait for lines to come until every job has ended
}

// Readiness is one line of /readyz.
type Readiness struct {
	Part   string // database, queue, registry, buildkit, network, disk
	Ready  bool
	Detail string // what is wrong and what to do, or a note
}
