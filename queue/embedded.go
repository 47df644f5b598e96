package queue

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"cooper/internal/model"
)

// engine is the NATS server inside this process and the lock on its directory.
type engine struct {
	server  *server.Server
	opts    *server.Options
	lock    *os.File
	broken  chan string   // why the server could not start
	trouble chan struct{} // of capacity 1: something went wrong, see mendStore
}

// openEmbedded starts the server on cfg.Dir. When the store cannot be used, it is set aside and the start is tried once
// more on an empty one.
func openEmbedded(ctx context.Context, cfg Config) (*Conn, error) {
	opts, err := serverOptions(cfg)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, model.Errorf(model.CodeUnavailable, "The queue's directory cannot be made; check its owner and mode.").Wrap(err)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	c, err := startOn(ctx, cfg, opts, lock)
	if err == nil || ctx.Err() != nil {
		return c, errors.Join(err, releaseOn(err, lock))
	}
	if probeErr := probeWrite(cfg.Dir); probeErr != nil {
		return nil, errors.Join(probeErr, lock.Close())
	}
	if moveErr := setAside(opts.StoreDir); moveErr != nil {
		return nil, errors.Join(err, moveErr, lock.Close())
	}
	cfg.Log.Error("queue: the store could not be opened; it was set aside and an empty one is used. Orders come back from the database, "+
		"log lines of jobs that had not ended are lost", "kept", opts.StoreDir+asideSuffix, "error", err)
	c, err = startOn(ctx, cfg, opts, lock)
	return c, errors.Join(err, releaseOn(err, lock))
}

// releaseOn closes the lock when the start failed.
func releaseOn(err error, lock *os.File) error {
	if err == nil {
		return nil
	}
	return lock.Close()
}

// startOn runs a server with opts, connects to it and proves that its streams take a message.
func startOn(ctx context.Context, cfg Config, opts *server.Options, lock *os.File) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialWait)
	defer cancel()
	if err := forgetDeliveries(opts.StoreDir); err != nil {
		return nil, errUnreachable.Wrap(err)
	}
	e, err := runServer(ctx, cfg, opts)
	if err != nil {
		return nil, errUnreachable.Wrap(err)
	}
	c, err := connect(cfg, e, "", nats.InProcessServer(e.server), nats.Token(cfg.Token))
	if err != nil {
		return nil, errors.Join(errUnreachable.Wrap(err), e.stop(ctx))
	}
	if err := c.openStreams(ctx); err != nil {
		return nil, errors.Join(errUnreachable.Wrap(err), c.Close())
	}
	e.lock = lock
	go c.mendStore()
	return c, nil
}

// runServer starts a server and waits until it takes connections.
func runServer(ctx context.Context, cfg Config, opts *server.Options) (*engine, error) {
	e := &engine{opts: opts, broken: make(chan string, 1), trouble: make(chan struct{}, 1)}
	srv, err := server.NewServer(opts.Clone())
	if err != nil {
		return nil, err
	}
	e.server = srv
	srv.SetLoggerV2(serverLog{log: cfg.Log, fatal: e.broken, trouble: e.report}, false, false, false)
	started := make(chan struct{})
	go func() {
		defer close(started)
		srv.Start()
	}()
	select {
	case <-started:
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), e.stop(ctx))
	}
	select {
	case why := <-e.broken:
		return nil, errors.Join(errors.New(why), e.stop(ctx))
	default:
	}
	if !srv.ReadyForConnections(dialWait) || !srv.JetStreamEnabled() {
		return nil, errors.Join(errors.New("the server did not get ready"), e.stop(ctx))
	}
	return e, nil
}

// stop shuts the server down and gives the directory free.
func (e *engine) stop(ctx context.Context) error {
	e.server.Shutdown()
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.server.WaitForShutdown()
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = errors.New("queue: the embedded server did not stop in time")
	}
	if e.lock != nil {
		err = errors.Join(err, e.lock.Close())
	}
	return err
}

// serverOptions are those of the embedded server: orders and outcomes are synced, since what was acknowledged must survive,
// and nothing is reachable from outside unless a listener was asked for.
func serverOptions(cfg Config) (*server.Options, error) {
	if cfg.Dir == "" {
		return nil, model.Errorf(model.CodeFieldRequired, "The embedded queue needs a directory.")
	}
	maxLog := cfg.MaxLogBytes
	if maxLog == 0 {
		maxLog = defaultMaxLogBytes
	}
	opts := &server.Options{
		ServerName:             "cooper",
		DontListen:             cfg.Listen == "",
		JetStream:              true,
		StoreDir:               filepath.Join(cfg.Dir, "store"),
		SyncAlways:             true,
		SyncInterval:           2 * time.Second, // of log frames, the only ones that are not synced one by one
		JetStreamMaxStore:      maxLog + 64<<30, // only the log stream is limited; the disk limits the rest
		JetStreamMaxMemory:     256 << 20,       // where followers' consumers keep their state
		MaxPayload:             maxPayload,
		MaxPending:             256 << 20, // on the way to one client: as much as a few thousand followers ask for at once
		NoSigs:                 true,
		NoLog:                  true,
		DisableJetStreamBanner: true,
		Authorization:          cfg.Token,
	}
	if cfg.Listen == "" {
		return opts, nil
	}
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return nil, model.Errorf(model.CodeFieldInvalid, "The queue's listen address %q is not host:port.", cfg.Listen).Wrap(err)
	}
	if ip := net.ParseIP(host); cfg.Token == "" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, model.Errorf(model.CodeFieldRequired, "The queue listens on %s, beyond this machine: set a token for it.", cfg.Listen)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, model.Errorf(model.CodeFieldInvalid, "The queue's listen port %q is not a number up to 65535.", port).Wrap(err)
	}
	opts.Host, opts.Port = host, int(number)
	if number == 0 {
		opts.Port = server.RANDOM_PORT
	}
	return opts, nil
}
