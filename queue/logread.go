package queue

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"cooper/internal/model"
)

const (
	followBatch   = 64                  // messages that one request of a follower asks for
	followBytes   = chunkBytes + 16<<10 // that one request may bring, so that many slow followers fit in memory
	replayWait    = 5 * time.Second     // until a reader of what is kept looks whether it was removed
	followerGrace = time.Minute         // after which the server forgets a follower that does not ask
)

// reader is one call of Frames.
type reader struct {
	conn    *Conn
	subject string
	follow  bool
	last    uint64 // stream sequence of the last message kept at the call; unused with follow
	seen    uint64 // stream sequence of the last message given
	f       func(model.Frame) error
}

// errEnd ends a reader that has seen all that it was to see.
var errEnd = errors.New("queue: end of the kept log")

// Frames calls f with the job's log frames from the first one kept, in order, then with new ones as they come, until ctx
// ends (whose error it returns), f returns an error (which it returns), or, unless follow, the last one that was kept at
// the call was given. A slow f holds back nobody but itself, and little is fetched ahead for it.
func (c *Conn) Frames(ctx context.Context, jobID string, follow bool, f func(model.Frame) error) error {
	if err := checkID(jobID); err != nil {
		return err
	}
	r := &reader{conn: c, subject: subjectLogs + jobID, follow: follow, f: f}
	if !follow {
		last, err := c.lastFrame(ctx, jobID)
		if err != nil || last == nil {
			return err
		}
		r.last = last.Sequence
	}
	return r.run(ctx)
}

// run reads until the end, and begins again where it was when the connection or the consumer was lost.
func (r *reader) run(ctx context.Context) error {
	for failures := 1; ; failures++ {
		before := r.seen
		err := r.read(ctx)
		var given *givenError
		switch {
		case errors.Is(err, errEnd):
			return nil
		case errors.As(err, &given):
			return given.err
		case ctx.Err() != nil:
			return ctx.Err()
		case r.conn.ctx.Err() != nil:
			return model.Errorf(model.CodeShuttingDown, "The queue is being closed.")
		case errors.Is(err, jetstream.ErrStreamNotFound):
			r.conn.restoreStreams()
		}
		if r.seen > before {
			failures = 1
		}
		if !r.follow && failures > 5 {
			return unavailable(ctx, err)
		}
		r.conn.log.Debug("queue: a log reader starts again where it was", "subject", r.subject, "error", err)
		_ = pause(ctx, min(time.Duration(failures)*100*time.Millisecond, 2*time.Second))
	}
}

// givenError is what f returned, told apart from what went wrong here.
type givenError struct{ err error }

func (e *givenError) Error() string { return e.err.Error() }

// read goes on after the last message seen, with a consumer of its own, until something ends it.
func (r *reader) read(ctx context.Context) error {
	ctx, cancel := r.conn.untilClosed(ctx)
	defer cancel()
	cons, err := r.consumer(ctx)
	if err != nil {
		return err
	}
	defer r.remove(ctx, cons)
	var delivered uint64
	small := true
	for {
		batch, err := r.fetch(ctx, cons, small)
		if err != nil {
			return err
		}
		start := delivered
		if delivered, err = r.drain(ctx, batch, delivered); err != nil {
			return err
		}
		small = delivered > start // nothing came: the next message may be larger than a batch may be
		if delivered == start {
			if err := r.checkEnd(ctx); err != nil {
				return err
			}
		}
	}
}

// consumer makes one that begins after the last message seen. The server keeps it in memory and forgets it soon.
func (r *reader) consumer(ctx context.Context) (jetstream.Consumer, error) {
	cfg := jetstream.ConsumerConfig{
		FilterSubject:     r.subject,
		AckPolicy:         jetstream.AckNonePolicy,
		DeliverPolicy:     jetstream.DeliverAllPolicy,
		InactiveThreshold: followerGrace,
		MemoryStorage:     true,
		Replicas:          1,
	}
	if r.seen > 0 {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, r.seen+1
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	return r.conn.tailJS.CreateConsumer(ctx, streamLogs, cfg)
}

// remove takes the consumer off the server without waiting for ctx, which has ended mostly.
func (r *reader) remove(ctx context.Context, cons jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = r.conn.tailJS.DeleteConsumer(ctx, streamLogs, cons.CachedInfo().Name) // it goes by itself after followerGrace
}

// fetch asks for a small batch, or for one message of any size.
func (r *reader) fetch(ctx context.Context, cons jetstream.Consumer, small bool) (jetstream.MessageBatch, error) {
	opts := []jetstream.FetchOpt{jetstream.FetchHeartbeat(heartbeat)}
	if r.follow {
		opts = append(opts, jetstream.FetchContext(ctx)) // which waits half a minute at most
	} else {
		opts = append(opts, jetstream.FetchMaxWait(replayWait))
	}
	if !small {
		return cons.Fetch(1, opts...)
	}
	return cons.Fetch(followBatch, append(opts, jetstream.FetchMaxBytes(followBytes))...)
}

// drain gives a batch's messages as they come and returns how many this consumer has brought.
func (r *reader) drain(ctx context.Context, batch jetstream.MessageBatch, delivered uint64) (uint64, error) {
	for {
		select {
		case msg, ok := <-batch.Messages():
			if !ok {
				return delivered, batch.Error()
			}
			var err error
			if delivered, err = r.give(msg, delivered); err != nil {
				return delivered, err
			}
		case <-ctx.Done():
			return delivered, ctx.Err()
		}
	}
}

// give hands one message to f and returns how many this consumer has brought. A gap in that count means that a message
// was lost on its way; the error ends this consumer, and the next begins where it was.
func (r *reader) give(msg jetstream.Msg, delivered uint64) (uint64, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return delivered, err
	}
	if meta.Sequence.Consumer != delivered+1 {
		return delivered, errors.New("queue: a log message was lost on its way")
	}
	frame, _, err := decodeFrame(msg.Data(), r.conn.packer)
	if err != nil {
		r.conn.log.Error("queue: a log frame is left out", "subject", r.subject, "sequence", meta.Sequence.Stream, "error", err)
	} else if err := r.f(frame); err != nil {
		return delivered, &givenError{err: err}
	}
	r.seen = meta.Sequence.Stream
	if !r.follow && (r.seen >= r.last || meta.NumPending == 0) {
		return delivered + 1, errEnd
	}
	return delivered + 1, nil
}

// checkEnd ends a reader of kept frames when those that it had not seen were removed meanwhile.
func (r *reader) checkEnd(ctx context.Context) error {
	if r.follow {
		return nil
	}
	last, err := r.conn.lastFrame(ctx, r.subject[len(subjectLogs):])
	if err != nil {
		return err
	}
	if last == nil || last.Sequence <= r.seen {
		return errEnd
	}
	return nil
}

// lastFrame returns the job's last message, or nil when it has none.
func (c *Conn) lastFrame(ctx context.Context, jobID string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	stream, err := c.tailJS.Stream(ctx, streamLogs)
	if err != nil {
		return nil, unavailable(ctx, err)
	}
	msg, err := stream.GetLastMsgForSubject(ctx, subjectLogs+jobID)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, unavailable(ctx, err)
	}
	return msg, nil
}

// NextSeq returns the sequence number that the job's next log line gets: one past the last line kept, at least 1.
func (c *Conn) NextSeq(ctx context.Context, jobID string) (uint64, error) {
	if err := checkID(jobID); err != nil {
		return 0, err
	}
	msg, err := c.lastFrame(ctx, jobID)
	if err != nil || msg == nil {
		return 1, err
	}
	_, next, err := decodeFrame(msg.Data, c.packer)
	if err != nil {
		return 0, model.Errorf(model.CodeInternal, "The last lines of the job's log cannot be read.").Wrap(err)
	}
	return max(next, 1), nil
}

// DropFrames removes the job's frames from the stream; no error when there are none.
func (c *Conn) DropFrames(ctx context.Context, jobID string) error {
	if err := checkID(jobID); err != nil {
		return err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := c.purge(ctx, subjectLogs+jobID); err != nil {
		return unavailable(ctx, err)
	}
	return nil
}

// purge removes the log messages of a subject.
func (c *Conn) purge(ctx context.Context, subject string) error {
	stream, err := c.tailJS.Stream(ctx, streamLogs)
	if err != nil {
		return err
	}
	return stream.Purge(ctx, jetstream.WithPurgeSubject(subject))
}
