package builder

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// memoryQueue keeps frames and gives them out as the real one does.
type memoryQueue struct {
	Queue
	mu        sync.Mutex
	frames    map[string][]model.Frame
	published []model.Order
	canceled  []string
	failing   error // what Frames returns instead of the first frame
	reading   int   // calls of Frames that wait for more
	changed   chan struct{}
}

func newMemoryQueue() *memoryQueue {
	return &memoryQueue{frames: map[string][]model.Frame{}, changed: make(chan struct{})}
}

func (q *memoryQueue) update(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	f()
	close(q.changed)
	q.changed = make(chan struct{})
}

func (q *memoryQueue) write(jobID string, frames ...model.Frame) {
	q.update(func() { q.frames[jobID] = append(q.frames[jobID], frames...) })
}

// waitForReaders waits until n calls of Frames have seen all there is.
func (q *memoryQueue) waitForReaders(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.reading == n
	}, patience, time.Millisecond)
}

func (q *memoryQueue) Publish(_ context.Context, o model.Order) error {
	q.update(func() { q.published = append(q.published, o) })
	return nil
}

func (q *memoryQueue) Cancel(_ context.Context, jobID string) error {
	q.update(func() { q.canceled = append(q.canceled, jobID) })
	return nil
}

func (q *memoryQueue) Frames(ctx context.Context, jobID string, follow bool, f func(model.Frame) error) error {
	for i := 0; ; {
		q.mu.Lock()
		frames, changed, failing := q.frames[jobID], q.changed, q.failing
		q.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case failing != nil:
			return failing
		case i < len(frames):
			if err := f(frames[i]); err != nil {
				return err
			}
			i++
			continue
		case !follow:
			return nil
		}
		q.mu.Lock()
		q.reading++
		q.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		q.mu.Lock()
		q.reading--
		q.mu.Unlock()
	}
}

func (q *memoryQueue) DropFrames(_ context.Context, jobID string) error {
	q.update(func() { delete(q.frames, jobID) })
	return nil
}

func (q *memoryQueue) NextSeq(_ context.Context, jobID string) (uint64, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	next := uint64(1)
	for _, f := range q.frames[jobID] {
		for _, l := range f.Lines {
			next = l.Seq + 1
		}
	}
	return next, nil
}

// memoryLogs keeps logs of jobs that ended.
type memoryLogs struct {
	mu      sync.Mutex
	logs    map[string][]model.LogLine
	failing map[string]error // what adding to a job's log gives
}

func newMemoryLogs() *memoryLogs { return &memoryLogs{logs: map[string][]model.LogLine{}} }

func (l *memoryLogs) Create(jobID string) (LogWriter, error) {
	return &memoryLog{logs: l, jobID: jobID}, nil
}

func (l *memoryLogs) Read(_ context.Context, jobID string, from uint64, f func(model.LogLine) error) error {
	l.mu.Lock()
	lines, ok := l.logs[jobID]
	l.mu.Unlock()
	if !ok {
		return model.Errorf(model.CodeNotFound, "No such log.")
	}
	for _, line := range lines {
		if line.Seq >= from {
			if err := f(line); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *memoryLogs) Remove(string) error { return nil }

type memoryLog struct {
	logs  *memoryLogs
	jobID string
	lines []model.LogLine
}

func (w *memoryLog) Add(l model.LogLine) error {
	if n := len(w.lines); n > 0 && w.lines[n-1].Seq >= l.Seq {
		return fmt.Errorf("line %d after line %d", l.Seq, w.lines[n-1].Seq)
	}
	w.lines = append(w.lines, l)
	return w.logs.failing[w.jobID]
}

func (w *memoryLog) Commit() error {
	w.logs.mu.Lock()
	defer w.logs.mu.Unlock()
	w.logs.logs[w.jobID] = w.lines
	return nil
}

func (w *memoryLog) Abort() {}

// publishedBuilds are the builds of which a job is in the queue, in the order of their jobs.
func (q *memoryQueue) publishedBuilds() []string {
	var out []string
	q.update(func() {
		for _, o := range q.published {
			out = append(out, o.BuildID)
		}
	})
	return out
}
