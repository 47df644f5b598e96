package builder

import (
	"context"
	"sync"

	"cooper/internal/model"
)

const (
	// mostAhead is how many commits wait to be fetched ahead of their builds; more are fetched when their builds run.
	mostAhead = 64
	// prefetchers is how many are fetched at once.
	prefetchers = 4
)

// ahead is a commit to fetch for a worker of this process while its build is planned and queued.
type ahead struct {
	src  model.Source
	stop <-chan struct{}
}

// prefetch has a commit fetched ahead. stop ends that, for a plan that comes to nothing. Whether it works does not matter:
// the worker fetches it again, and says what is wrong.
func (s *Service) prefetch(src model.Source) (stop func()) {
	c := make(chan struct{})
	select {
	case s.aheads <- ahead{src: src, stop: c}:
	default:
	}
	return sync.OnceFunc(func() { close(c) })
}

func (s *Service) prefetchLoop(ctx context.Context) error {
	var wg sync.WaitGroup
	for range prefetchers {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case a := <-s.aheads:
					s.fetchAhead(ctx, a)
				}
			}
		})
	}
	wg.Wait()
	return nil
}

func (s *Service) fetchAhead(ctx context.Context, a ahead) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-a.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := s.Git.Prefetch(ctx, a.src); err != nil {
		s.Log.Debug("commit not fetched ahead of its build", "url", a.src.URL, "commit", a.src.Commit, "error", err)
	}
}
