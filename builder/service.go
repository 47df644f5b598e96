package builder

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"cooper/internal/model"
)

// Config is what a Service is made of. All fields are required but OSEnvironments, without which there is the default
// one alone.
type Config struct {
	Store           Store
	Values          ComponentStore
	Queue           Queue
	Logs            LogStore
	Inputs          Inputs
	Tarballs        Tarballs
	Registry        Registry
	ComponentImages ComponentImages
	Names           Names
	Sources         Sources
	Git             Git
	Recipes         Recipes
	OSEnvironments  Environments
	Log             *slog.Logger
	Limits          Limits
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

// Git resolves refs to commits and reads what is in them: source.Git.
type Git interface {
	// Parse reads a context's URL, "https://host/repo.git#ref:subdir".
	Parse(field, raw string) (model.Source, error)
	// ParseRepository reads a component's URL, which has neither ref nor folder, and gives it its one spelling.
	ParseRepository(field, raw string) (model.Source, error)
	// CheckSubdir cleans the path of a folder in a repository; empty stays empty.
	CheckSubdir(field, subdir string) (string, error)
	// Resolve fills in the commit and what kind of ref it was. No ref is the default branch.
	Resolve(ctx context.Context, field string, s model.Source) (model.Source, error)
	// Prefetch gets s.Commit to where the workers of this process fetch it from.
	Prefetch(ctx context.Context, s model.Source) error
	// Tree opens the files of s.Commit below s.Subdir. The caller closes it.
	Tree(ctx context.Context, s model.Source) (Tree, error)
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
	// refusals are requests for components that failed in a way that lasts; asking are those being planned.
	refusals *memo
	asking   singleflight.Group
	// kickLogs asks for logs to be stored now.
	kickLogs chan struct{}
	// kickWaits asks for jobs to be looked for whose dependencies have ended.
	kickWaits chan struct{}
	aheads    chan ahead // commits to fetch ahead of their builds
	// background is for work that outlives the request that began it.
	background sync.WaitGroup
}

// New makes a Service; Run starts its loops.
func New(c Config) *Service {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // crypto/rand never fails
	s := &Service{
		Config: c, watch: newWatch(), workers: newWorkers(time.Now(), c.Node), secrets: newSecretBox(key), tags: newKeyedLock(),
		pauses: newPauses(), refusals: newMemo(), kickLogs: make(chan struct{}, 1), kickWaits: make(chan struct{}, 1), aheads: make(chan ahead, mostAhead),
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
	start("waits", s.waitLoop)
	start("prefetch", s.prefetchLoop)
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
