package queue

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"cooper/internal/model"
)

const (
	outcomeReader  = "servers" // the durable consumer that all servers share
	maxOutcomes    = 16        // handled at once
	progressPeriod = 10 * time.Second
	firstRetry     = 100 * time.Millisecond
	lastRetry      = 15 * time.Second
)

// Finish reports an outcome; nil means that it is stored and will reach a server. Reporting it twice is reporting it
// once.
func (c *Conn) Finish(ctx context.Context, o model.Outcome) error {
	if err := checkID(o.JobID); err != nil {
		return err
	}
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	id := attemptID(o.JobID, o.Attempt)
	return c.publish(ctx, subjectOutcomes+id, id, body)
}

// outcomes is one call of Outcomes.
type outcomes struct {
	conn  *Conn
	f     func(context.Context, model.Outcome) error
	slots chan struct{}
	tasks sync.WaitGroup
	mu    sync.Mutex
	jobs  map[string]bool // being handled
}

// Outcomes calls f for each outcome until ctx ends, several at once for different jobs, and then returns nil once those
// under way have ended. An outcome whose f fails comes again, sooner at first and every 15 seconds at last, also after
// a restart.
func (c *Conn) Outcomes(ctx context.Context, f func(context.Context, model.Outcome) error) error {
	r := &outcomes{conn: c, f: f, slots: make(chan struct{}, maxOutcomes), jobs: map[string]bool{}}
	defer r.tasks.Wait()
	var cons jetstream.Consumer
	failures := 0
	for ctx.Err() == nil && c.ctx.Err() == nil {
		var err error
		if cons == nil {
			cons, err = r.consumer(ctx)
		}
		if err == nil {
			err = r.pull(ctx, cons)
		}
		if err == nil {
			failures = 0
			continue
		}
		cons = nil
		if ctx.Err() != nil || c.ctx.Err() != nil {
			break
		}
		failures++
		c.log.Warn("queue: outcomes cannot be fetched, trying again", "error", err)
		_ = pause(ctx, min(time.Duration(failures)*firstRetry, 2*time.Second))
	}
	if ctx.Err() == nil {
		return model.Errorf(model.CodeShuttingDown, "The queue is being closed.")
	}
	return nil
}

// consumer makes or finds the durable consumer.
func (r *outcomes) consumer(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	return r.conn.js.CreateOrUpdateConsumer(ctx, streamOutcomes, jetstream.ConsumerConfig{
		Durable:       outcomeReader,
		FilterSubject: subjectOutcomes + "*.*", // no marks
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       ackWait,
		MaxAckPending: 10000,
	})
}

// pull waits for a free slot, then for an outcome, and has it handled. Nothing is fetched ahead: an outcome that waited
// here would be lost to other servers until its time ran out.
func (r *outcomes) pull(ctx context.Context, cons jetstream.Consumer) error {
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	waiting, cancel := r.conn.untilClosed(ctx)
	defer cancel()
	batch, err := cons.Fetch(1, jetstream.FetchContext(waiting), jetstream.FetchHeartbeat(heartbeat))
	if err != nil {
		<-r.slots
		return err
	}
	msg, ok := <-batch.Messages()
	if !ok {
		<-r.slots
		return batch.Error()
	}
	r.tasks.Go(func() {
		defer func() { <-r.slots }()
		r.handle(ctx, msg)
	})
	return nil
}

// handle gives one outcome to f and tells the stream how it went.
func (r *outcomes) handle(ctx context.Context, msg jetstream.Msg) {
	var o model.Outcome
	if err := json.Unmarshal(msg.Data(), &o); err != nil {
		r.conn.log.Error("queue: an outcome cannot be read and is dropped", "subject", msg.Subject(), "error", err)
		_ = msg.Term()
		return
	}
	if !r.begin(o.JobID) {
		_ = msg.NakWithDelay(firstRetry)
		return
	}
	err := r.callAlive(ctx, msg, o)
	r.end(o.JobID)
	switch {
	case err == nil:
		err = msg.Ack()
	case ctx.Err() != nil:
		err = errors.Join(err, msg.Nak())
	default:
		err = errors.Join(err, msg.NakWithDelay(retryDelay(msg)))
	}
	if err != nil {
		r.conn.log.Warn("queue: an outcome was not taken and comes again", "job", o.JobID, "attempt", o.Attempt, "error", err)
	}
}

// callAlive calls f and meanwhile tells the server that the outcome is being handled, however long that takes.
func (r *outcomes) callAlive(ctx context.Context, msg jetstream.Msg, o model.Outcome) error {
	tick := time.NewTicker(progressPeriod)
	defer tick.Stop()
	done := make(chan error, 1)
	go func() { done <- r.f(ctx, o) }()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			_ = msg.InProgress() // when it is lost, the outcome comes again and f is called again
		}
	}
}

// begin reports whether no outcome of the job is being handled, and notes that one is.
func (r *outcomes) begin(jobID string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.jobs[jobID] {
		return false
	}
	r.jobs[jobID] = true
	return true
}

func (r *outcomes) end(jobID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.jobs, jobID)
}

// retryDelay doubles with each delivery.
func retryDelay(msg jetstream.Msg) time.Duration {
	meta, err := msg.Metadata()
	if err != nil || meta.NumDelivered > 8 {
		return lastRetry
	}
	return min(firstRetry<<max(meta.NumDelivered, 1)-firstRetry, lastRetry)
}
