package tarball

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"cooper/internal/model"
)

// longest is how long shared work may take, with its wait for a turn. It is there to end what hangs.
const longest = time.Hour

// turns bound how many at once do what takes much memory.
type turns chan struct{}

// take waits for a turn. The caller calls done once.
func (t turns) take(ctx context.Context) (done func(), err error) {
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// shared does work once for all who want it at the same time, and to its end when they have left: a client whose patience
// is shorter than the work would else begin it again and again. Only end cuts it short.
type shared struct {
	group singleflight.Group
	open  context.Context //nolint:containedctx // it ends with the store, which no request does
	shut  context.CancelCauseFunc

	mu   sync.Mutex // between work that begins and end
	busy sync.WaitGroup
}

func newShared() *shared {
	open, shut := context.WithCancelCause(context.Background())
	return &shared{open: open, shut: shut}
}

// share returns what do returns, to all who ask under the same name until it has. Whose context ends is let go at once.
// SHUTTING_DOWN when the store is being closed, UNAVAILABLE when the work took too long.
func share[T any](ctx context.Context, w *shared, name string, do func(ctx context.Context) (T, error)) (T, error) {
	var none T
	if ctx.Err() != nil {
		return none, context.Cause(ctx)
	}
	done := w.group.DoChan(name, func() (v any, err error) {
		// Nobody above this goroutine would catch it, and it would take the server down.
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		ctx, leave, err := w.enter(ctx)
		if err != nil {
			return none, err
		}
		defer leave()
		return do(ctx)
	})
	select {
	case r := <-done:
		v, _ := r.Val.(T)
		return v, r.Err
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// enter returns a context for work that the end of asker does not touch. The caller calls leave once.
func (w *shared) enter(asker context.Context) (ctx context.Context, leave func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open.Err() != nil {
		return nil, nil, context.Cause(w.open)
	}
	w.busy.Add(1)
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(asker))
	stop := context.AfterFunc(w.open, func() { cancel(context.Cause(w.open)) })
	timer := time.AfterFunc(longest, func() {
		cancel(model.Errorf(model.CodeUnavailable, "The server takes too long to make the component ready. Try again later."))
	})
	return ctx, func() {
		timer.Stop()
		stop()
		cancel(nil)
		w.busy.Done()
	}, nil
}

// end cuts all work short and waits for it. What is asked for later is refused.
func (w *shared) end() {
	w.mu.Lock()
	w.shut(model.Errorf(model.CodeShuttingDown, "The server is stopping. Try again in a moment."))
	w.mu.Unlock()
	w.busy.Wait()
}
