package handlers

import (
	"strconv"
	"strings"

	"cooper/internal/model"
)

// logCursor is a place in the logs of some jobs: for each, the sequence of the next line. Its text joins them with
// dots in the order of the build's jobs, so that with one job it is a plain number.
type logCursor struct {
	jobs []model.Job
	next []uint64
}

// maxCursor is far longer than any cursor of ours.
const maxCursor = 4096

// newLogCursor reads where to start. An empty text, and 0, are the beginning.
func newLogCursor(jobs []model.Job, text string) (*logCursor, error) {
	c := &logCursor{jobs: jobs, next: make([]uint64, len(jobs))}
	for i := range c.next {
		c.next[i] = 1
	}
	if text == "" || text == "0" {
		return c, nil
	}
	numbers := strings.Split(text, ".")
	if len(text) > maxCursor || len(numbers) != len(jobs) {
		return nil, offsetInvalid(len(jobs))
	}
	for i, n := range numbers {
		seq, err := strconv.ParseUint(n, 10, 63)
		if err != nil {
			return nil, offsetInvalid(len(jobs))
		}
		c.next[i] = max(seq, 1)
	}
	return c, nil
}

func offsetInvalid(jobs int) error {
	if jobs == 1 {
		return model.FieldErrorf(model.CodeOffsetInvalid, "from", "from is the sequence of the first line wanted: a number from 0.")
	}
	return model.FieldErrorf(model.CodeOffsetInvalid, "from",
		"from is the ID of an event of this log, or 0: this build's has %d numbers with dots between, one for each of its jobs.", jobs)
}

// passed moves the cursor behind a line.
func (c *logCursor) passed(l model.LogLine) {
	for i, j := range c.jobs {
		if j.Platform == l.Platform {
			c.next[i] = l.Seq + 1
		}
	}
}

// from returns the cursor as a query wants it.
func (c *logCursor) from() map[string]uint64 {
	m := make(map[string]uint64, len(c.jobs))
	for i, j := range c.jobs {
		m[j.ID] = c.next[i]
	}
	return m
}

// append adds the cursor's text to b.
func (c *logCursor) append(b []byte) []byte {
	for i, n := range c.next {
		if i > 0 {
			b = append(b, '.')
		}
		b = strconv.AppendUint(b, n, 10)
	}
	return b
}
