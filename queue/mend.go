package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	mendPeriod = 2 * time.Second // between attempts
	probeWait  = 2 * time.Second // for a stream to store and remove a message
)

// mark is where probes leave their messages: no platform and no job has that name.
const mark = "_mark"

// report asks mendStore to look at the store. A nil engine is an outside server, which others mend.
func (e *engine) report() {
	if e == nil {
		return
	}
	select {
	case e.trouble <- struct{}{}:
	default:
	}
}

// mendStore opens the store again after a write to it failed. The server gives a stream up for good at its first failed
// write, and turns itself off altogether when the disk is full: without this, room on the disk would not help.
func (c *Conn) mendStore() {
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-c.engine.trouble:
		}
		for c.probeStreams(c.ctx) != nil && pause(c.ctx, mendPeriod) == nil {
			if err := c.reopen(); err != nil {
				c.log.Error("queue: the store takes no messages and cannot be opened again yet", "error", err)
			}
		}
	}
}

// reopen has the server close its store and open it again, once the directory takes writes.
func (c *Conn) reopen() error {
	if err := probeWrite(c.cfg.Dir); err != nil {
		return err
	}
	srv, o := c.engine.server, c.engine.opts
	if err := srv.ShutdownJetStream(); err != nil {
		return err
	}
	err := srv.EnableJetStream(&server.JetStreamConfig{
		StoreDir: o.StoreDir, MaxStore: o.JetStreamMaxStore, MaxMemory: o.JetStreamMaxMemory,
		SyncAlways: o.SyncAlways, SyncInterval: o.SyncInterval, Strict: true,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.ctx, requestWait)
	defer cancel()
	if err := c.openStreams(ctx); err != nil {
		return err
	}
	c.log.Warn("queue: the store had failed a write, probably on a full disk, and is open again")
	return nil
}

// openStreams makes the streams and consumers and proves that they take messages.
func (c *Conn) openStreams(ctx context.Context) error {
	if err := c.ensureStreams(ctx); err != nil {
		return fmt.Errorf("make streams: %w", err)
	}
	if err := c.orders.restoreConsumers(ctx); err != nil {
		return fmt.Errorf("make consumers: %w", err)
	}
	return c.probeStreams(ctx)
}

// probeStreams stores a message in each stream and removes it.
func (c *Conn) probeStreams(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*probeWait)
	defer cancel()
	for stream, root := range map[string]string{streamJobs: subjectJobs, streamOutcomes: subjectOutcomes, streamLogs: subjectLogs} {
		if err := c.touch(ctx, stream, root+mark); err != nil {
			return fmt.Errorf("%s: %w", stream, err)
		}
	}
	return nil
}

// touch stores a message under subject and purges the subject. A message that an earlier touch could not purge will do.
func (c *Conn) touch(ctx context.Context, stream, subject string) error {
	ctx, cancel := context.WithTimeout(ctx, probeWait)
	defer cancel()
	if _, err := c.js.Publish(ctx, subject, nil); err != nil && !isAlreadyThere(err) {
		return err
	}
	s, err := c.js.Stream(ctx, stream)
	if err == nil {
		err = s.Purge(ctx, jetstream.WithPurgeSubject(subject))
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	return err
}
