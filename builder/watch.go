package builder

import (
	"context"
	"sync"
	"time"

	"cooper/internal/model"
)

// pollEvery is how often a waiter looks by itself, for changes that another server made.
const pollEvery = 2 * time.Second

// watch wakes those who wait for a build to change.
type watch struct {
	mu      sync.Mutex
	waiters map[string]map[chan struct{}]struct{}
}

func newWatch() *watch { return &watch{waiters: map[string]map[chan struct{}]struct{}{}} }

// on returns a channel that gets a value after every change of the build, until off is called. Changes that come while
// one is waiting to be taken are folded into it.
func (w *watch) on(buildID string) (changed <-chan struct{}, off func()) {
	c := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiters[buildID] == nil {
		w.waiters[buildID] = map[chan struct{}]struct{}{}
	}
	w.waiters[buildID][c] = struct{}{}
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.waiters[buildID], c)
		if len(w.waiters[buildID]) == 0 {
			delete(w.waiters, buildID)
		}
	}
}

func (w *watch) tell(buildID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.waiters[buildID] {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// until loads the build at once and after each change, until enough says so or ctx ends, and returns it as last loaded.
func (s *Service) until(ctx context.Context, buildID string, enough func(model.Build) bool) (model.Build, error) {
	changed, off := s.watch.on(buildID)
	defer off()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		b, err := s.Store.Build(context.WithoutCancel(ctx), buildID)
		if err != nil || enough(b) {
			return b, err
		}
		select {
		case <-changed:
		case <-poll.C:
		case <-ctx.Done():
			return b, nil
		}
	}
}

// Wait returns the build when the platform, or with "" all of it, has ended, or as it is when ctx ends.
func (s *Service) Wait(ctx context.Context, buildID, platform string) (model.Build, error) {
	return s.until(ctx, buildID, func(b model.Build) bool { return b.Ended(platform) })
}
