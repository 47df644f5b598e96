package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"cooper/auth"
	"cooper/builder"
	"cooper/builder/buildkit"
	"cooper/builder/daemon"
	"cooper/builder/recipe"
	"cooper/builder/source"
	"cooper/builder/worker"
	"cooper/handlers"
	"cooper/internal/config"
	"cooper/queue"
	"cooper/registry"
	"cooper/registry/embedded"
	"cooper/storage/db"
	"cooper/storage/inputs"
	"cooper/storage/joblog"
	"cooper/storage/tarball"
)

// How long each part gets to end when the server stops; together they stay below half a minute.
const (
	httpGrace   = 5 * time.Second // for requests under way
	workerGrace = 10 * time.Second
)

// server is every part of `cooper serve`, wired.
type server struct {
	cfg      config.Config
	log      *slog.Logger
	keyFile  string // where a generated key is; empty when the key came from the configuration
	listener net.Listener
	local    string // host:port at which this machine reaches us

	keys         *auth.Keys
	gate         *auth.Gate
	db           *db.DB
	queue        *queue.Conn
	inputs       *inputs.Store
	logs         *joblog.Store
	tarballs     *tarball.Store
	embedded     *embedded.Registry // nil with a registry outside
	registry     *registry.Registry
	daemon       *daemon.Daemon // nil with a BuildKit outside
	buildkit     *buildkit.Client
	git          *source.Git
	environments *recipe.Environments
	service      *builder.Service
	worker       *worker.Worker
	api          *handlers.Server
	http         *http.Server
	lock         *os.File // of the data directory
	stopping     atomic.Bool
	// short gets a value when the disk was found too full.
	short chan struct{}
	// serving is the context of every request; endServing ends those that last as long as their reader likes.
	serving    context.Context //nolint:containedctx // net/http asks for it through BaseContext
	endServing context.CancelFunc
}

// open makes every part from the settings. What it opened before it failed is closed.
func open(ctx context.Context, cfg config.Config, log *slog.Logger) (_ *server, err error) {
	s := &server{cfg: cfg, log: log, short: make(chan struct{}, 1)}
	s.serving, s.endServing = context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	for _, step := range []func(context.Context) error{
		s.listen, s.openAuth, s.openStorage, s.openTarballs, s.openRecipes, s.openRegistry, s.openBuildKit, s.openBuilder, s.openAPI,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// listen takes the address first, so that the parts know the port when the settings leave it to the system.
func (s *server) listen(ctx context.Context) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen on COOPER_LISTEN=%s: %w", s.cfg.Listen, err)
	}
	s.listener = l
	if host, _, err := net.SplitHostPort(s.cfg.Listen); err == nil {
		_, port, _ := net.SplitHostPort(l.Addr().String())
		s.cfg.Listen = net.JoinHostPort(host, port)
	}
	s.local = config.LocalAddress(l.Addr())
	if err := s.cfg.Validate(); err != nil {
		return err
	}
	if err := makeDataDir(s.cfg.DataDir, s.log); err != nil {
		return err
	}
	return s.lockDataDir()
}

// lockDataDir keeps a second server off the data directory: opening the stores removes what a crash left half done,
// which would be what the first one is doing.
func (s *server) lockDataDir() error {
	f, err := os.OpenFile(s.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock COOPER_DATA_DIR: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close() // it holds nothing
		return errors.New("another cooper runs on this COOPER_DATA_DIR: stop it, or give this one a directory of its own")
	}
	s.lock = f
	return nil
}

func (s *server) path(parts ...string) string {
	return filepath.Join(append([]string{s.cfg.DataDir}, parts...)...)
}

func (s *server) openAuth(context.Context) error {
	key := s.cfg.AdminKey
	if key == "" {
		var err error
		s.keyFile = s.path("admin.key")
		if key, _, err = auth.LoadOrCreateKey(s.keyFile); err != nil {
			return err
		}
	}
	var err error
	if s.keys, err = auth.New(key, time.Now); err != nil {
		return err
	}
	s.gate = &auth.Gate{
		Keys:     s.keys,
		Failures: auth.NewLimiter(auth.Rate{PerSecond: 5, Burst: 50}, 10000, time.Now),
		Requests: auth.NewKeyLimiter(auth.Rate{PerSecond: s.cfg.RateLimit, Burst: int(2 * s.cfg.RateLimit)}, 10000, time.Now),
	}
	return nil
}

func (s *server) openStorage(ctx context.Context) error {
	var err error
	if s.db, err = db.Open(ctx, db.Config{Path: s.path("cooper.db"), Log: s.log.With("part", "database")}); err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	if s.inputs, err = inputs.New(s.path("inputs"), s.cfg.MinFreeMiB<<20); err != nil {
		return fmt.Errorf("open the store of build contexts: %w", err)
	}
	if s.logs, err = joblog.New(s.path("logs")); err != nil {
		return fmt.Errorf("open the store of logs: %w", err)
	}
	s.queue, err = queue.Start(ctx, queue.Config{
		Dir: s.path("queue"), URL: s.cfg.NATSURL, Listen: s.cfg.NATSListen, Token: s.cfg.NATSToken, Log: s.log.With("part", "queue"),
	})
	if err != nil {
		return fmt.Errorf("open the queue: %w", err)
	}
	return nil
}

// run serves until ctx ends or a part fails, and then stops every part in the order in which they need each other.
func (s *server) run(ctx context.Context) error {
	defer s.close()
	failed := make(chan error, 8)
	part := func(ctx context.Context, name string, f func(context.Context) error) (wait func()) {
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := f(ctx); err != nil {
				failed <- fmt.Errorf("%s: %w", name, err)
			}
		})
		return wg.Wait
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	lasting := context.WithoutCancel(ctx)
	daemonCtx, stopDaemon := context.WithCancel(lasting)
	serviceCtx, stopService := context.WithCancel(lasting)
	workerCtx, stopWorker := context.WithCancel(lasting)
	defer stopDaemon()
	defer stopService()
	defer stopWorker()

	waitDaemon := func() {}
	if s.daemon != nil {
		waitDaemon = part(daemonCtx, "BuildKit", s.daemon.Run)
	}
	waitService := part(serviceCtx, "builder", s.service.Run)
	waitWorker := part(workerCtx, "worker", s.worker.Run)
	waitUpkeep := part(ctx, "upkeep", s.upkeep)
	waitCollect := part(ctx, "tarballs", s.collectTarballs)
	part(ctx, "HTTP", s.serveHTTP)

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.stopping.Store(true)
	s.log.Info("stopping")
	stop()
	stopWorker()
	s.stopHTTP()
	within(workerGrace, waitWorker)
	stopService()
	waitService()
	waitUpkeep()
	waitCollect()
	stopDaemon()
	waitDaemon()
	return err
}

func (s *server) serveHTTP(context.Context) error {
	var err error
	if s.cfg.TLSCert != "" {
		err = s.http.ServeTLS(s.listener, s.cfg.TLSCert, s.cfg.TLSKey)
	} else {
		err = s.http.Serve(s.listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (s *server) stopHTTP() {
	ctx, cancel := context.WithTimeout(context.Background(), httpGrace)
	defer cancel()
	end := time.AfterFunc(httpGrace/2, s.endServing) // followers of logs and waiters
	defer end.Stop()
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close() // what still runs is a client that is too slow
	}
}

// within waits for f, but no longer than d.
func within(d time.Duration, f func()) {
	done := make(chan struct{})
	go func() {
		f()
		close(done)
	}()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// close releases whatever was opened.
func (s *server) close() {
	s.endServing()
	var err error
	if s.listener != nil {
		_ = s.listener.Close() // already closed when the server ran
	}
	if s.queue != nil {
		err = errors.Join(err, s.queue.Close())
	}
	if s.buildkit != nil {
		err = errors.Join(err, s.buildkit.Close())
	}
	if s.embedded != nil {
		err = errors.Join(err, s.embedded.Close())
	}
	if s.tarballs != nil {
		err = errors.Join(err, s.tarballs.Close())
	}
	if s.db != nil {
		err = errors.Join(err, s.db.Close())
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	if err != nil {
		s.log.Warn("not everything closed cleanly", "error", err)
	}
}

func (s *server) banner() string {
	key := "from COOPER_ADMIN_KEY"
	if s.keyFile != "" {
		key = "in the file " + s.keyFile
	}
	return fmt.Sprintf("Cooper %s\n  API and registry:          %s\n  Swagger UI:                %s/swagger/index.html\n  administrator's key:       %s\n",
		version, s.cfg.PublicURL, s.cfg.PublicURL, key)
}
