package builder

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"time"

	"cooper/internal/model"
)

// Config is what a Service is made of. All fields are required but Sources and Git, without which builds have no git
// contexts.
type Config struct {
	Store    Store
	Queue    Queue
	Logs     LogStore
	Inputs   Inputs
	Registry Registry
	Names    Names
	Sources  Sources
	Git      Git
	Log      *slog.Logger
	Limits   Limits
	// Node is the prefix of the names of the workers in this process, former ones included: jobs that a former one ran
	// are lost for certain when the Service starts.
	Node string
	// Room refuses with STORAGE_FULL when the disk has too little left for another build; nil never does.
	Room func() error
}

// Limits are the bounds that the configuration sets.
type Limits struct {
	QueuedJobs   int
	QueueTimeout time.Duration // a job waits no longer for a worker
	Timeout      time.Duration // of a job whose request names none
	TimeoutMax   time.Duration
	Compression  model.Compression
}

// Sources decides what builds may fetch: source.Policy.
type Sources interface {
	CheckURL(ctx context.Context, raw string) error
	CheckImage(ctx context.Context, ref string) error
}

// Git resolves refs to commits: source.Git.
type Git interface {
	// Parse reads a context's URL, "https://host/repo.git#ref:subdir".
	Parse(field, raw string) (model.Source, error)
	// Resolve fills in the commit.
	Resolve(ctx context.Context, field string, s model.Source) (model.Source, error)
}

// Service is the one that knows what is built and why. It is safe for concurrent use.
type Service struct {
	Config
	watch   *watch
	workers *workers
	secrets *secretBox
	tags    *keyedLock
	metrics *metrics
	pauses  *pauses
	// kickLogs asks for logs to be stored now.
	kickLogs chan struct{}
	// background is for work that outlives the request that began it.
	background sync.WaitGroup
}

// New makes a Service; Run starts its loops.
func New(c Config) *Service {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // crypto/rand never fails
	s := &Service{
		Config: c, watch: newWatch(), workers: newWorkers(time.Now(), c.Node), secrets: newSecretBox(key), tags: newKeyedLock(),
		pauses: newPauses(), kickLogs: make(chan struct{}, 1),
	}
	s.metrics = newMetrics(s)
	return s
}

// Run answers workers, takes in outcomes, publishes what is due and finds what was lost, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	if err := s.recover(ctx); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	start := func(what string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				s.Log.Error("part of the builder stopped", "part", what, "error", err)
				stop(err)
			}
		})
	}
	start("claims", func(ctx context.Context) error { return s.Queue.ServeClaims(ctx, s.claim) })
	start("heartbeats", func(ctx context.Context) error { return s.Queue.Heartbeats(ctx, s.workers.heard) })
	start("outcomes", func(ctx context.Context) error { return s.Queue.Outcomes(ctx, s.finish) })
	start("sweep", s.sweepLoop)
	start("logs", s.logLoop)
	<-ctx.Done()
	wg.Wait()
	s.background.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// storeLogsSoon asks for the logs of jobs that ended to be stored now.
func (s *Service) storeLogsSoon() {
	select {
	case s.kickLogs <- struct{}{}:
	default:
	}
}
