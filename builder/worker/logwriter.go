package worker

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"cooper/internal/model"
)

// A frame goes out when it holds frameBytes, or frameDelay after its first line; at once when the log was quiet. Of a log
// over its limit, the last tailBytes are kept.
const (
	frameBytes = 128 << 10
	frameDelay = 20 * time.Millisecond
	tailBytes  = 256 << 10
)

// frameQueue is the part of Queue that a log needs.
type frameQueue interface {
	WriteFrame(ctx context.Context, f model.Frame) error
	Flush(ctx context.Context, jobID string) error
}

// logWriter numbers a job's lines and sends them in frames. It is safe for concurrent use.
type logWriter struct {
	ctx   context.Context
	queue frameQueue
	grant model.Grant
	limit int64

	mu      sync.Mutex
	seq     uint64
	lines   []model.LogLine
	size    int
	written int64
	sent    time.Time
	timer   *time.Timer
	err     error

	tail    []model.LogLine
	tailLen int64
	cut     int64 // bytes that were left out between head and tail
}

func newLogWriter(ctx context.Context, q frameQueue, g model.Grant, limit int64) *logWriter {
	return &logWriter{ctx: context.WithoutCancel(ctx), queue: q, grant: g, limit: limit, seq: max(g.NextSeq, 1)}
}

// say adds what Cooper itself has to say; each line of it is a line of the log.
func (w *logWriter) say(format string, args ...any) {
	for text := range bytes.SplitSeq(fmt.Appendf(nil, format, args...), []byte("\n")) {
		// An error stays in w.err and comes out of close.
		_ = w.add(model.LogLine{Time: time.Now(), Platform: w.grant.Platform, Stream: model.StreamCooper, Text: text})
	}
}

// add appends a line. It blocks while the queue is behind.
func (w *logWriter) add(l model.LogLine) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := int64(len(l.Text)) + 1
	// Once a line went to the tail all others follow it, short ones too: lines keep their order.
	if w.limit > 0 && (len(w.tail) > 0 || w.written+n > w.limit) {
		w.keepTail(l, n)
		return w.err
	}
	w.written += n
	return w.push(l)
}

func (w *logWriter) push(l model.LogLine) error {
	l.Seq = w.seq
	w.seq++
	w.lines = append(w.lines, l)
	w.size += len(l.Text) + 64
	switch {
	case w.size >= frameBytes || time.Since(w.sent) > frameDelay:
		w.send(false)
	case w.timer == nil:
		w.timer = time.AfterFunc(frameDelay, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.timer = nil
			w.send(false)
		})
	}
	return w.err
}

func (w *logWriter) keepTail(l model.LogLine, n int64) {
	w.tail = append(w.tail, l)
	w.tailLen += n
	for w.tailLen > tailBytes && len(w.tail) > 1 {
		first := int64(len(w.tail[0].Text)) + 1
		w.cut += first
		w.tailLen -= first
		w.tail = w.tail[1:]
	}
}

func (w *logWriter) send(final bool) {
	if w.err != nil || len(w.lines) == 0 && !final {
		return
	}
	w.err = w.queue.WriteFrame(w.ctx, model.Frame{JobID: w.grant.JobID, Attempt: w.grant.Attempt, Lines: w.lines, Final: final})
	w.lines, w.size, w.sent = nil, 0, time.Now()
}

// close sends what is left, the end of a log that was cut among it, and waits until all is stored.
func (w *logWriter) close(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
	if w.cut > 0 {
		_ = w.push(model.LogLine{
			Time: time.Now(), Platform: w.grant.Platform, Stream: model.StreamCooper,
			Text: fmt.Appendf(nil, "[%d bytes of the log were left out here: a job's log holds %d bytes]", w.cut, w.limit),
		})
	}
	for _, l := range w.tail {
		_ = w.push(l)
	}
	w.send(true)
	if w.err != nil {
		return w.err
	}
	return w.queue.Flush(ctx, w.grant.JobID)
}
