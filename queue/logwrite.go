package queue

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"cooper/internal/model"
)

const (
	maxInFlight = 32               // messages of log frames that wait for their acknowledgement, of all jobs
	storeWait   = 15 * time.Second // for one acknowledgement
)

// logWriter sends log frames without waiting for each to be stored.
type logWriter struct {
	conn  *Conn
	slots chan struct{}
	mu    sync.Mutex
	jobs  map[string]*jobLog
}

// jobLog is what is under way for one job. Its fields are guarded by logWriter.mu, but for turn.
type jobLog struct {
	turn    chan struct{} // of capacity 1: one frame is cut and sent at a time
	users   int           // calls that hold this
	pending int           // messages under way
	next    uint64        // sequence after the last line sent; 0 when not known
	scratch []byte        // for cutting frames; belongs to whoever has the turn
	err     error         // of a message since the last call that returned it
	idle    chan struct{} // closed when pending gets 0; nil when nobody waits
}

func newLogWriter(c *Conn) *logWriter {
	return &logWriter{conn: c, slots: make(chan struct{}, maxInFlight), jobs: map[string]*jobLog{}}
}

// WriteFrame appends a frame to the job's log stream; large ones become several. It returns before the frame is stored
// and blocks while too many are under way, so that memory stays bounded. A frame that could not be stored is reported
// by the next WriteFrame or Flush of the job: UNAVAILABLE. BODY_TOO_LARGE when a line has more than a mebibyte.
func (c *Conn) WriteFrame(ctx context.Context, f model.Frame) error {
	if err := checkID(f.JobID); err != nil {
		return err
	}
	w := c.writer
	j := w.take(f.JobID)
	defer w.release(f.JobID, j)
	select {
	case j.turn <- struct{}{}:
		defer func() { <-j.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := w.failed(j); err != nil {
		return err
	}
	s := &splitter{frame: f, pack: c.packer, next: j.next, lines: j.scratch, limit: min(maxLineBytes, int(c.bulk.MaxPayload())-payloadMargin)}
	if f.Final && len(f.Lines) == 0 && s.next == 0 {
		var err error
		if s.next, err = c.NextSeq(ctx, f.JobID); err != nil {
			return err
		}
	}
	for s.more() {
		body, err := s.message()
		if err != nil {
			return err
		}
		if err := w.send(ctx, j, f.JobID, body); err != nil {
			return err
		}
		j.next, j.scratch = s.next, s.lines
	}
	return nil
}

// Flush waits until every frame of the job that was written is stored, and returns the error of one that was not.
// What it waited for survives the end of the server's process.
func (c *Conn) Flush(ctx context.Context, jobID string) error {
	if err := c.writer.settle(ctx, jobID); err != nil {
		return err
	}
	return c.barrier(ctx)
}

// barrier has the log stream write out what it took so far. Log frames are acknowledged before they are written, since
// a sync for each would slow a chatty build and every order beside it; a purge writes everything out before it returns.
func (c *Conn) barrier(ctx context.Context) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	_, err := c.bulkJS.Publish(ctx, subjectLogs+mark, nil)
	if err == nil {
		err = c.purge(ctx, subjectLogs+mark)
	}
	if err != nil {
		c.engine.report()
		return unavailable(ctx, err)
	}
	return nil
}

// settle waits until nothing of the job is under way, and takes its error.
func (w *logWriter) settle(ctx context.Context, jobID string) error {
	j := w.take(jobID)
	defer w.release(jobID, j)
	for {
		w.mu.Lock()
		if j.pending == 0 {
			err := j.err
			j.err, j.next = nil, 0
			w.mu.Unlock()
			return err
		}
		if j.idle == nil {
			j.idle = make(chan struct{})
		}
		idle := j.idle
		w.mu.Unlock()
		select {
		case <-idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// send publishes one message as soon as there is room for it.
func (w *logWriter) send(ctx context.Context, j *jobLog, jobID string, body []byte) error {
	select {
	case w.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-w.conn.ctx.Done():
		return model.Errorf(model.CodeShuttingDown, "The queue is being closed.")
	}
	ack, err := w.conn.bulkJS.PublishMsgAsync(&nats.Msg{Subject: subjectLogs + jobID, Data: body})
	if err != nil {
		<-w.slots
		return unavailable(ctx, err)
	}
	w.mu.Lock()
	j.pending++
	w.mu.Unlock()
	go w.await(j, jobID, ack)
	return nil
}

// await notes how a message fared. The acknowledgement always comes, or the time for it ends.
func (w *logWriter) await(j *jobLog, jobID string, ack jetstream.PubAckFuture) {
	var err error
	select {
	case <-ack.Ok():
	case err = <-ack.Err():
	}
	<-w.slots
	w.mu.Lock()
	defer w.mu.Unlock()
	j.pending--
	if err != nil {
		w.conn.engine.report()
	}
	if err != nil && j.err == nil {
		j.err = model.Errorf(model.CodeUnavailable, "Lines of the job's log could not be stored in the queue.").Wrap(err)
	}
	if j.pending == 0 && j.idle != nil {
		close(j.idle)
		j.idle = nil
	}
	w.tidy(jobID, j)
}

// failed takes the job's error.
func (w *logWriter) failed(j *jobLog) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := j.err
	j.err = nil
	return err
}

// take returns the job's state and keeps it from being forgotten.
func (w *logWriter) take(jobID string) *jobLog {
	w.mu.Lock()
	defer w.mu.Unlock()
	j := w.jobs[jobID]
	if j == nil {
		j = &jobLog{turn: make(chan struct{}, 1)}
		w.jobs[jobID] = j
	}
	j.users++
	return j
}

func (w *logWriter) release(jobID string, j *jobLog) {
	w.mu.Lock()
	defer w.mu.Unlock()
	j.users--
	w.tidy(jobID, j)
}

// tidy forgets a job of which nothing is left to know: Flush cleared it. Callers hold mu.
func (w *logWriter) tidy(jobID string, j *jobLog) {
	if j.users == 0 && j.pending == 0 && j.err == nil && j.next == 0 {
		delete(w.jobs, jobID)
	}
}
