package source

import (
	"context"
	"errors"
	"sync"

	"cooper/internal/model"
)

// turns lets a number of fetches run at once, and no more than half of them from one host: a slow one does not keep all
// others waiting.
type turns struct {
	mu      sync.Mutex
	free    int
	perHost int
	busy    map[string]int
	changed chan struct{} // closed when a turn is over
}

func newTurns(n int) *turns {
	return &turns{free: n, perHost: max(1, n/2), busy: map[string]int{}, changed: make(chan struct{})}
}

// take waits for a turn. The caller calls done once.
func (t *turns) take(ctx context.Context, host string) (done func(), err error) {
	for {
		t.mu.Lock()
		if t.free > 0 && t.busy[host] < t.perHost {
			t.free--
			t.busy[host]++
			t.mu.Unlock()
			return func() { t.end(host) }, nil
		}
		changed := t.changed
		t.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			if err := context.Cause(ctx); !errors.Is(err, context.DeadlineExceeded) {
				return nil, err
			}
			return nil, model.Errorf(model.CodeUnavailable, "Too many repositories are being fetched at once. Try again in a few minutes.").Wrap(context.Cause(ctx))
		}
	}
}

func (t *turns) end(host string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.free++
	if t.busy[host]--; t.busy[host] == 0 {
		delete(t.busy, host)
	}
	close(t.changed)
	t.changed = make(chan struct{})
}
