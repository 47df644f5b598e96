package queue

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"cooper/internal/model"
)

const (
	ackWait     = 30 * time.Second // after which an order that nobody answered for is handed out again
	returnDelay = time.Second      // so that an order put back does not come straight to the worker that cannot run it
)

// orders keeps one durable consumer per platform, shared by all workers: a work-queue stream allows one reader per
// subject.
type orders struct {
	conn      *Conn
	mu        sync.Mutex
	consumers map[string]jetstream.Consumer // by platform
}

// Publish puts an order into the queue, durably. An attempt that is there already, or was within the last two minutes,
// is not put in again.
func (c *Conn) Publish(ctx context.Context, o model.Order) error {
	if err := checkID(o.JobID); err != nil {
		return err
	}
	token, err := platformToken(o.Platform)
	if err != nil {
		return err
	}
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if _, err := c.orders.consumer(ctx, o.Platform); err != nil {
		return err
	}
	id := attemptID(o.JobID, o.Attempt)
	return c.publish(ctx, subjectJobs+token+"."+id, id, body)
}

// attemptID names an attempt; it is the message ID and the end of the subject.
func attemptID(jobID string, attempt int) string { return jobID + "." + strconv.Itoa(attempt) }

// Depth returns how many orders wait or are being handed out, by platform.
func (c *Conn) Depth(ctx context.Context) (map[string]uint64, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	stream, err := c.js.Stream(ctx, streamJobs)
	if err != nil {
		return nil, unavailable(ctx, err)
	}
	depth := map[string]uint64{}
	list := stream.ListConsumers(ctx)
	for info := range list.Info() {
		depth[tokenPlatform(info.Name)] = info.NumPending + uint64(max(info.NumAckPending, 0))
	}
	if err := list.Err(); err != nil {
		return nil, unavailable(ctx, err)
	}
	return depth, nil
}

// consumer returns the platform's consumer and makes it when this process sees the platform for the first time.
func (o *orders) consumer(ctx context.Context, platform string) (jetstream.Consumer, error) {
	o.mu.Lock()
	cons, ok := o.consumers[platform]
	o.mu.Unlock()
	if ok {
		return cons, nil
	}
	token, err := platformToken(platform)
	if err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	cons, err = o.conn.js.CreateOrUpdateConsumer(ctx, streamJobs, jetstream.ConsumerConfig{
		Durable:       token,
		FilterSubject: subjectJobs + token + ".>",
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       ackWait,
		MaxAckPending: 10000,
		MaxWaiting:    10000,
	})
	if err != nil {
		return nil, unavailable(ctx, err)
	}
	o.mu.Lock()
	o.consumers[platform] = cons
	o.mu.Unlock()
	return cons, nil
}

// forget drops what is known of the platform's consumer: it may be gone, and is made again on the next use.
func (o *orders) forget(platform string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.consumers, platform)
}

// restoreConsumers makes the consumers of all platforms that have orders, so that Depth counts them before anybody asks
// for one.
func (o *orders) restoreConsumers(ctx context.Context) error {
	stream, err := o.conn.js.Stream(ctx, streamJobs)
	if err != nil {
		return err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(subjectJobs+">"))
	if err != nil {
		return err
	}
	for subject := range info.State.Subjects {
		token, _, isOrder := strings.Cut(strings.TrimPrefix(subject, subjectJobs), ".")
		if !isOrder {
			continue // a mark
		}
		if _, err := o.consumer(ctx, tokenPlatform(token)); err != nil {
			return err
		}
	}
	return nil
}
