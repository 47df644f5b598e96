package queue

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"cooper/internal/model"
)

const (
	closeWait   = 10 * time.Second // all that Close may take
	dialWait    = 10 * time.Second // until Start gives up on an outside server, or on its own
	heartbeat   = 2 * time.Second  // of the server while it lets us wait; two that do not come mean that it forgot us
	requestWait = 10 * time.Second // for one answer, when the caller set no deadline
	maxPayload  = 8 << 20          // of one message on the embedded server, bytes
)

// Config says where the queue lives.
type Config struct {
	Dir         string // of the embedded server's store; unused with URL
	URL         string // of a NATS server outside, credentials included; empty means the embedded one
	Listen      string // host:port where the embedded server takes workers from other machines; empty: nowhere
	Token       string // what clients of Listen must show; needed unless Listen is a loopback address
	MaxLogBytes int64  // that the log stream keeps, the oldest go first; 0: 8 GiB, or what an outside server has already
	Replicas    int    // of each stream on an outside cluster; 0 means 1
	Log         *slog.Logger
}

// Conn is the server's and the worker's way to the queue. All methods are safe for concurrent use.
type Conn struct {
	cfg    Config
	log    *slog.Logger
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	engine *engine // nil with an outside server
	closed sync.Once

	// Logs have connections of their own, so that a flood of them delays neither orders nor heartbeats, and readers who
	// cannot keep up disturb no writer.
	nc     *nats.Conn
	bulk   *nats.Conn          // log frames on their way in
	tail   *nats.Conn          // log frames on their way out
	js     jetstream.JetStream // over nc
	bulkJS jetstream.JetStream
	tailJS jetstream.JetStream

	orders *orders
	desk   *desk
	writer *logWriter
	packer *packer
}

// Start opens the embedded queue in cfg.Dir, or connects to the one at cfg.URL. The context bounds the start alone.
// An embedded store that cannot be used is set aside, loudly, and an empty one takes its place. UNAVAILABLE when
// nothing answers.
func Start(ctx context.Context, cfg Config) (*Conn, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.URL != "" {
		return dialOutside(ctx, cfg)
	}
	return openEmbedded(ctx, cfg)
}

// dialOutside connects to a server that somebody else runs. It keeps trying until the server answers or dialWait ends.
func dialOutside(ctx context.Context, cfg Config) (*Conn, error) {
	for part := range strings.SplitSeq(cfg.URL, ",") {
		if _, err := url.Parse(strings.TrimSpace(part)); err != nil { // not wrapped: it holds the credentials
			return nil, model.Errorf(model.CodeURLInvalid, "The queue's address is not a URL; write it like nats://host:4222.")
		}
	}
	c, err := connect(cfg, nil, cfg.URL)
	if err != nil {
		return nil, errUnreachable.Wrap(err)
	}
	ctx, cancel := context.WithTimeout(ctx, dialWait)
	defer cancel()
	for {
		err = c.ensureStreams(ctx)
		if err == nil {
			return c, nil
		}
		if waitErr := pause(ctx, 100*time.Millisecond); waitErr != nil {
			return nil, errors.Join(errUnreachable.Wrap(err), c.Close())
		}
	}
}

// connect makes the connections and what hangs on them. It makes no streams.
func connect(cfg Config, e *engine, address string, opts ...nats.Option) (*Conn, error) {
	packer, err := newPacker()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &Conn{cfg: cfg, log: cfg.Log, ctx: ctx, cancel: cancel, engine: e, packer: packer}
	c.orders = &orders{conn: c, consumers: map[string]jetstream.Consumer{}}
	c.desk = newDesk(c)
	c.writer = newLogWriter(c)
	for _, open := range []struct {
		name string
		nc   **nats.Conn
		js   *jetstream.JetStream
		opts []jetstream.JetStreamOpt
	}{
		{name: "cooper", nc: &c.nc, js: &c.js},
		{name: "cooper log writer", nc: &c.bulk, js: &c.bulkJS, opts: []jetstream.JetStreamOpt{
			jetstream.WithPublishAsyncMaxPending(2 * maxInFlight), jetstream.WithPublishAsyncTimeout(storeWait),
		}},
		{name: "cooper log reader", nc: &c.tail, js: &c.tailJS},
	} {
		var err error
		if *open.nc, err = nats.Connect(address, append(c.options(open.name), opts...)...); err == nil {
			*open.js, err = jetstream.New(*open.nc, open.opts...)
		}
		if err != nil {
			c.cancel()
			c.disconnect()
			return nil, err
		}
	}
	return c, nil
}

// disconnect sends what is still here and closes the connections.
func (c *Conn) disconnect() {
	for _, nc := range []*nats.Conn{c.nc, c.bulk, c.tail} {
		if nc == nil {
			continue
		}
		if nc.IsConnected() {
			_ = nc.FlushTimeout(time.Second) // what could not be sent in time is published again after the next start
		}
		nc.Close()
	}
}

// options are those of every connection: they come back for ever, and say in the log when they were gone.
func (c *Conn) options(name string) []nats.Option {
	return []nats.Option{
		nats.Name(name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.RetryOnFailedConnect(true),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if c.ctx.Err() == nil {
				c.log.Warn("queue: connection lost, trying again", "connection", name, "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) {
			c.log.Info("queue: connected again", "connection", name)
			go c.restoreStreams()
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if c.ctx.Err() == nil {
				c.log.Warn("queue: error of the connection", "connection", name, "error", err)
			}
		}),
	}
}

// restoreStreams makes the streams again on a server that came back without them.
func (c *Conn) restoreStreams() {
	ctx, cancel := context.WithTimeout(c.ctx, requestWait)
	defer cancel()
	if err := c.ensureStreams(ctx); err != nil && c.ctx.Err() == nil {
		c.log.Warn("queue: streams cannot be made yet", "error", err)
	}
}

// Ready returns nil when the queue can take orders now, and UNAVAILABLE when it cannot.
func (c *Conn) Ready(ctx context.Context) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	for _, name := range []string{streamJobs, streamOutcomes, streamLogs} {
		if _, err := c.js.Stream(ctx, name); err != nil {
			return unavailable(ctx, err)
		}
	}
	return nil
}

// ClientURL returns the address at which clients reach the embedded server, without its token; empty when it does not
// listen.
func (c *Conn) ClientURL() string {
	if c.engine == nil || c.cfg.Listen == "" {
		return ""
	}
	return c.engine.server.ClientURL()
}

// Close waits for frames under way, closes the connections and stops the embedded server, within 10 seconds. Calls
// that still wait end with an error. Closing twice is closing once.
func (c *Conn) Close() error {
	var err error
	c.closed.Do(func() { err = c.close() })
	return err
}

func (c *Conn) close() error {
	deadline, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	if c.bulk.IsConnected() {
		select {
		case <-c.bulkJS.PublishAsyncComplete():
		case <-time.After(closeWait / 3):
		}
	}
	c.cancel()
	c.desk.wait(deadline)
	c.disconnect()
	if c.engine == nil {
		return nil
	}
	return c.engine.stop(deadline)
}

// bounded gives ctx a deadline when it has none, so that no request waits for ever on a server that went away.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, requestWait)
}

// untilClosed returns a context that ends with ctx or with Close.
func (c *Conn) untilClosed(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// pause waits for d, or returns ctx's error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errUnreachable = model.Errorf(model.CodeUnavailable,
	"The queue does not answer; check that its server runs and that its address is right.")

// unavailable says that the queue did not do what was asked. A caller that gave up gets its own context's error.
func unavailable(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return model.Errorf(model.CodeUnavailable, "The queue did not answer in time; try again in a few seconds.").Wrap(err)
	}
	return model.Errorf(model.CodeUnavailable, "The queue does not answer; try again in a few seconds.").Wrap(err)
}
