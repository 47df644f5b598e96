package queue

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"cooper/internal/model"
)

// Cancel tells whichever worker runs the job to stop it. It does not wait and is not stored: a worker that starts the
// job later does not hear of it, and its claim must be refused.
func (c *Conn) Cancel(ctx context.Context, jobID string) error {
	if err := checkID(jobID); err != nil {
		return err
	}
	if err := c.nc.Publish(subjectCancel+jobID, nil); err != nil {
		return unavailable(ctx, err)
	}
	return nil
}

// OnCancel calls f once, when the job is to be stopped, unless stop was called before. A cancel sent after OnCancel
// returned is heard. stop may be called more than once.
func (c *Conn) OnCancel(jobID string, f func()) (stop func(), err error) {
	if err := checkID(jobID); err != nil {
		return nil, err
	}
	var once sync.Once
	sub, err := c.nc.Subscribe(subjectCancel+jobID, func(*nats.Msg) { once.Do(f) })
	if err != nil {
		return nil, unavailable(context.Background(), err)
	}
	stop = func() { _ = sub.Unsubscribe() }
	if err := c.nc.FlushTimeout(requestWait); err != nil {
		stop()
		return nil, unavailable(context.Background(), err)
	}
	return stop, nil
}

// Heartbeat tells every server that the worker lives. It is not stored.
func (c *Conn) Heartbeat(ctx context.Context, h model.Heartbeat) error {
	body, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if err := c.nc.Publish(subjectHeartbeat, body); err != nil {
		return unavailable(ctx, err)
	}
	return nil
}

// Heartbeats calls f for each heartbeat of any worker, one at a time, until ctx ends, and then returns nil.
func (c *Conn) Heartbeats(ctx context.Context, f func(model.Heartbeat)) error {
	beats := make(chan *nats.Msg, 1024)
	sub, err := c.nc.ChanSubscribe(subjectHeartbeat, beats)
	if err != nil {
		return unavailable(ctx, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.ctx.Done():
			return model.Errorf(model.CodeShuttingDown, "The queue is being closed.")
		case msg := <-beats:
			h := model.Heartbeat{Time: time.Now()}
			if err := json.Unmarshal(msg.Data, &h); err != nil {
				c.log.Warn("queue: a heartbeat cannot be read", "error", err)
				continue
			}
			f(h)
		}
	}
}
