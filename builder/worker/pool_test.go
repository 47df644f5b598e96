package worker

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/builder/buildkit"
	"cooper/internal/model"
)

func TestAnOrderIsClaimedBuiltAndReported(t *testing.T) {
	q := newMemoryQueue()
	running := make(chan struct{})
	w := newWorker(t, q, &scriptedBuildKit{run: func(_ context.Context, s buildkit.Solve, emit func(model.LogLine) error) (buildkit.Result, error) {
		<-running
		return buildkit.Result{Pushed: model.Result{Manifest: pushed}}, emit(logLine("built for " + s.Platform))
	}})
	runWorker(t, w)
	q.orders <- order("job")

	q.wait(t, "orders for what BuildKit builds are asked for", func() bool { return len(q.asked) > 0 && slices.Equal(q.asked[0], []string{platform}) })
	q.wait(t, "the order is off the queue", func() bool { return slices.Contains(q.done, order("job")) })
	q.wait(t, "a heartbeat names the attempt", func() bool {
		h := q.beat()
		return h.Ready && slices.Equal(h.Running, []model.Claim{{JobID: "job", Attempt: 1, Worker: "test/1"}})
	})
	close(running)
	o := q.outcome(t)
	require.Equal(t, model.StatusSucceeded, o.Status)
	require.Equal(t, &model.Result{Manifest: pushed}, o.Result)
	require.Equal(t, "test/1", o.Worker)
	require.Equal(t, 1, o.Attempt)
	require.Nil(t, o.Failure)
	q.wait(t, "the log's last frame", func() bool { return len(q.frames) > 0 && q.frames[len(q.frames)-1].Final })
	require.Contains(t, texts(q.lines()), "built for "+platform)
	q.wait(t, "the attempt is no longer named", func() bool { return len(q.beat().Running) == 0 })
}

func TestNoOrderIsTakenBeforeBuildKitAnswers(t *testing.T) {
	q := newMemoryQueue()
	var ready atomic.Bool
	var asked atomic.Int32
	w := newWorker(t, q, &scriptedBuildKit{run: pushes, platforms: func() ([]string, error) {
		asked.Add(1)
		if !ready.Load() {
			return nil, errors.New("connection refused")
		}
		return []string{platform}, nil
	}})
	runWorker(t, w)
	q.orders <- order("job")
	q.wait(t, "servers hear that it is not ready", func() bool {
		return q.beat().Detail == "BuildKit does not answer"
	})
	require.Eventually(t, func() bool { return asked.Load() > 2 }, patience, time.Millisecond)
	q.mu.Lock()
	require.Empty(t, q.asked)
	q.mu.Unlock()
	ready.Store(true)
	require.Equal(t, model.StatusSucceeded, q.outcome(t).Status)
}

func TestAnOrderIsPutBack(t *testing.T) {
	for _, test := range []struct {
		name   string
		ready  bool
		claim  error
		ended  bool
		back   bool
		claims int32
	}{
		{name: "BuildKit is gone", back: true},
		{name: "the server does not answer", ready: true, claim: model.Errorf(model.CodeUnavailable, "No server answers."), back: true, claims: 1},
		{name: "the worker is stopping", ready: true, ended: true, back: true},
		{name: "the attempt is no longer due", ready: true, claim: model.Errorf(model.CodeLeaseLost, "Not due."), claims: 1},
		{name: "the job is not known", ready: true, claim: model.Errorf(model.CodeNotFound, "No such job."), claims: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := newMemoryQueue()
			var claims atomic.Int32
			q.claim = func(model.Claim) (model.Grant, error) {
				claims.Add(1)
				return model.Grant{}, test.claim
			}
			w := newWorker(t, q, &scriptedBuildKit{run: pushes})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if test.ready {
				w.probe(ctx)
			}
			if test.ended {
				cancel()
			}
			w.handle(ctx, &delivery{queue: q, order: order("job")})
			require.Equal(t, test.back, len(q.returned) == 1)
			require.Equal(t, !test.back, len(q.done) == 1)
			require.Equal(t, test.claims, claims.Load())
			require.Empty(t, q.outcomes)
		})
	}
}

func TestJobsThatAreStopped(t *testing.T) {
	for _, test := range []struct {
		name      string
		deadline  time.Duration
		stop      func(q *memoryQueue, stopWorker func(error))
		status    model.Status
		code      model.Code
		transient bool
	}{
		{
			name: "canceled", stop: func(q *memoryQueue, _ func(error)) {
				q.mu.Lock()
				f := q.cancels["job"]
				q.mu.Unlock()
				f()
			}, status: model.StatusCanceled, code: model.CodeCanceled,
		},
		{name: "past its deadline", deadline: 20 * time.Millisecond, status: model.StatusFailed, code: model.CodeBuildTimeout},
		{
			name: "by the worker's end", stop: func(_ *memoryQueue, stopWorker func(error)) { stopWorker(nil) },
			status: model.StatusFailed, code: model.CodeShuttingDown, transient: true,
		},
		{
			name:   "by the end of another part of the server",
			stop:   func(_ *memoryQueue, stopWorker func(error)) { stopWorker(errors.New("the listener died")) },
			status: model.StatusFailed, code: model.CodeShuttingDown, transient: true,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := newMemoryQueue()
			q.claim = func(c model.Claim) (model.Grant, error) {
				g := grant(c.JobID, c.Attempt)
				if test.deadline > 0 {
					g.Deadline, g.Image.Timeout = time.Now().Add(test.deadline), test.deadline
				}
				return g, nil
			}
			w := newWorker(t, q, &scriptedBuildKit{run: untilStopped})
			stop := runWorker(t, w)
			q.orders <- order("job")
			if test.stop != nil {
				q.wait(t, "the job runs", func() bool { return q.cancels["job"] != nil })
				test.stop(q, stop)
			}
			o := q.outcome(t)
			require.Equal(t, test.status, o.Status)
			require.Equal(t, test.code, o.Failure.Code)
			require.Equal(t, test.transient, o.Transient)
			q.wait(t, "the log's last frame", func() bool { return len(q.frames) > 0 && q.frames[len(q.frames)-1].Final })
			require.Contains(t, texts(q.lines()), string(test.code)+": "+o.Failure.Message, "the log says why it ended")
			q.wait(t, "nobody listens for a cancel any more", func() bool { return len(q.cancels) == 0 })
		})
	}
}

func TestAWorkerWhoseTimeIsOverEnds(t *testing.T) {
	q := newMemoryQueue()
	w := newWorker(t, q, &scriptedBuildKit{run: pushes})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	select {
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(patience):
		t.Fatal("it goes on asking for orders")
	}
}

func TestAJobThatLostItsBuilderLeavesTheNextOnesToOthers(t *testing.T) {
	q := newMemoryQueue()
	var gone atomic.Bool
	w := newWorker(t, q, &scriptedBuildKit{
		run: func(context.Context, buildkit.Solve, func(model.LogLine) error) (buildkit.Result, error) {
			gone.Store(true)
			return buildkit.Result{}, model.Errorf(model.CodeBuilderUnavailable, "BuildKit went away while it was building.")
		},
		platforms: func() ([]string, error) {
			if gone.Load() {
				return nil, errors.New("connection refused")
			}
			return []string{platform}, nil
		},
	})
	runWorker(t, w)
	q.orders <- order("job")
	o := q.outcome(t)
	require.Equal(t, model.CodeBuilderUnavailable, o.Failure.Code)
	require.True(t, o.Transient)
	_, ready, _ := w.state()
	require.False(t, ready)
	// The worker may have been waiting for an order already: that one goes back.
	q.orders <- order("next")
	q.wait(t, "a heartbeat says so", func() bool { return q.beat().Detail != "" })
	require.Empty(t, q.outcomes)
}

func TestAWorkerRunsNoMoreJobsThanItHasSlots(t *testing.T) {
	q := newMemoryQueue()
	var now, tooMany atomic.Int32
	started, release := make(chan struct{}, 8), make(chan struct{})
	w := newWorker(t, q, &scriptedBuildKit{run: func(context.Context, buildkit.Solve, func(model.LogLine) error) (buildkit.Result, error) {
		if n := now.Add(1); n > 2 {
			tooMany.Store(n)
		}
		started <- struct{}{}
		<-release
		now.Add(-1)
		return buildkit.Result{Pushed: model.Result{Manifest: pushed}}, nil
	}})
	runWorker(t, w)
	for i := range 6 {
		q.orders <- order(string(rune('a' + i)))
	}
	<-started
	<-started
	q.mu.Lock()
	taken := len(q.asked)
	q.mu.Unlock()
	require.Equal(t, 2, taken, "an order is taken only when a slot is free")
	close(release)
	for range 6 {
		require.Equal(t, model.StatusSucceeded, q.outcome(t).Status)
	}
	require.Zero(t, tooMany.Load(), "jobs ran at once")
}
