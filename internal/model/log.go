package model

import "time"

// Stream is where a log line came from.
type Stream string

// The streams: a step's two outputs, and what Cooper itself says about the job.
const (
	StreamStdout Stream = "stdout"
	StreamStderr Stream = "stderr"
	StreamCooper Stream = "cooper"
)

// LogLine is one line of a job's log. Text is exactly what the step wrote, without the newline that ended it.
type LogLine struct {
	Seq      uint64    `json:"seq"` // from 1, per job, without gaps; goes on over attempts
	Time     time.Time `json:"time"`
	Platform string    `json:"platform"`
	Step     string    `json:"step"` // the step's name, as BuildKit puts it: [2/3] RUN make
	Stream   Stream    `json:"stream"`
	Text     []byte    `json:"text"`
	Partial  bool      `json:"partial,omitempty"` // no newline ended it: a very long line was cut, or the step ended
}
