package queue

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

func outcome(job string, attempt int) model.Outcome {
	code := 2
	return model.Outcome{
		JobID: job, BuildID: "build", Attempt: attempt, Worker: "w", Status: model.StatusFailed, ExitCode: &code,
		Failure: &model.Failure{Code: model.CodeStepFailed, Message: "make: *** [all] Error 2"}, Time: time.Now().UTC().Round(0),
	}
}

func testOutcomeRetried(t *testing.T, s sides) {
	want := outcome("job", 1)
	require.NoError(t, s.worker.Finish(t.Context(), want))
	var calls atomic.Int32
	taken := make(chan model.Outcome, 8)
	during(t, func(ctx context.Context) error {
		return s.server.Outcomes(ctx, func(_ context.Context, o model.Outcome) error {
			if calls.Add(1) < 4 {
				return errors.New("database is away")
			}
			taken <- o
			return nil
		})
	})
	require.Equal(t, want, receive(t, taken))
	require.NoError(t, s.worker.Finish(t.Context(), outcome("other", 1)))
	require.Equal(t, "other", receive(t, taken).JobID)
	require.Empty(t, taken)
	require.Equal(t, int32(5), calls.Load(), "taken is taken")
}

func testOutcomeOnce(t *testing.T, s sides) {
	for range 3 {
		require.NoError(t, s.worker.Finish(t.Context(), outcome("job", 1)))
	}
	require.NoError(t, s.worker.Finish(t.Context(), outcome("job", 2)))
	require.NoError(t, s.worker.Finish(t.Context(), outcome("last", 1)))
	got := make(chan string, 8)
	stop := during(t, func(ctx context.Context) error {
		return s.server.Outcomes(ctx, func(_ context.Context, o model.Outcome) error {
			got <- attemptID(o.JobID, o.Attempt)
			return nil
		})
	})
	require.ElementsMatch(t, []string{"job.1", "job.2", "last.1"}, []string{receive(t, got), receive(t, got), receive(t, got)})
	require.NoError(t, s.worker.Finish(t.Context(), outcome("job", 1)), "after it was taken")
	stop()
	require.Empty(t, got)
}

// testOutcomesOfOneJob has f wait for another job's outcome, and fail when two of one job are in it at once.
func testOutcomesOfOneJob(t *testing.T, s sides) {
	for n := 1; n <= 3; n++ {
		require.NoError(t, s.worker.Finish(t.Context(), outcome("slow", n)))
	}
	require.NoError(t, s.worker.Finish(t.Context(), outcome("fast", 1)))
	fast := make(chan struct{})
	var inside atomic.Int32
	got := make(chan string, 8)
	during(t, func(ctx context.Context) error {
		return s.server.Outcomes(ctx, func(ctx context.Context, o model.Outcome) error {
			if o.JobID == "fast" {
				close(fast)
				return nil
			}
			if inside.Add(1) > 1 {
				got <- "two at once"
			}
			defer inside.Add(-1)
			select {
			case <-fast:
				got <- strconv.Itoa(o.Attempt)
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	require.ElementsMatch(t, []string{"1", "2", "3"}, []string{receive(t, got), receive(t, got), receive(t, got)})
}
