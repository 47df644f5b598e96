package builder

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// follower reads a build's log in the background.
type follower struct {
	mu    sync.Mutex
	lines []model.LogLine
	ended chan error
}

func follow(ctx context.Context, s *Service, buildID string, q model.LogQuery) *follower {
	f := &follower{ended: make(chan error, 1)}
	go func() {
		f.ended <- s.Follow(ctx, buildID, q, func(l model.LogLine) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.lines = append(f.lines, l)
			return nil
		})
	}()
	return f
}

func (f *follower) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return texts(f.lines)
}

func (f *follower) waitFor(t *testing.T, want ...string) {
	t.Helper()
	require.Eventually(t, func() bool { return len(f.seen()) >= len(want) }, patience, time.Millisecond, "only %q came", f.seen())
	require.Equal(t, want, f.seen())
}

func (f *follower) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-f.ended:
		return err
	case <-time.After(patience):
		t.Fatal("the follower never ended")
		return nil
	}
}

// finishLog ends a job as succeeded and archives its log.
func (p *parts) finishLog(t *testing.T, job string, attempt int) {
	t.Helper()
	require.NoError(t, p.finish(t.Context(), model.Outcome{
		JobID: job, Attempt: attempt, Worker: "node/w", Status: model.StatusSucceeded, Result: &model.Result{}, Time: time.Now(),
	}))
	require.NoError(t, p.sweepLogs(t.Context()))
}

func TestAFollowerGetsTheLiveLogAndThenTheRest(t *testing.T) {
	p := newParts(newJobs("b", "linux/amd64"))
	const job = "b/linux/amd64"
	p.queue.write(job, frame(1, false, lines(1, "a")))
	f := follow(t.Context(), p.Service, "b", model.LogQuery{Follow: true})
	f.waitFor(t, "a")
	p.queue.write(job, frame(1, false, lines(2, "b", "c")))
	f.waitFor(t, "a", "b", "c")
	p.queue.write(job, frame(1, true, lines(4, "d")))
	f.waitFor(t, "a", "b", "c", "d")
	select {
	case <-f.ended:
		t.Fatal("it ended before the job did")
	default:
	}
	p.finishLog(t, job, 1)
	require.NoError(t, f.end(t))
	require.Equal(t, []string{"a", "b", "c", "d"}, f.seen())

	late := follow(t.Context(), p.Service, "b", model.LogQuery{Follow: true, From: map[string]uint64{job: 3}})
	require.NoError(t, late.end(t))
	require.Equal(t, []string{"c", "d"}, late.seen())
}

// A worker that runs a job again goes on with its log. Who follows it sees that live, whether he was there for the first
// attempt or came in the second, and whether the first one ended properly or its worker vanished.
func TestAFollowerSeesEveryAttemptLive(t *testing.T) {
	for _, vanished := range []bool{false, true} {
		t.Run(fmt.Sprint("first worker vanished: ", vanished), func(t *testing.T) {
			p := newParts(newJobs("b", "linux/amd64"))
			const job = "b/linux/amd64"
			early := follow(t.Context(), p.Service, "b", model.LogQuery{Follow: true})
			p.queue.write(job, frame(1, !vanished, lines(1, "a", "SHUTTING_DOWN")))
			early.waitFor(t, "a", "SHUTTING_DOWN")
			b, err := p.store.Build(t.Context(), "b")
			require.NoError(t, err)
			require.NoError(t, p.again(t.Context(), b.Jobs[0], nil))
			_, err = p.store.StartJob(t.Context(), job, 2, "node/w", time.Now())
			require.NoError(t, err)
			p.watch.tell("b")

			p.queue.write(job, frame(2, false, lines(3, "b")))
			late := follow(t.Context(), p.Service, "b", model.LogQuery{Follow: true})
			early.waitFor(t, "a", "SHUTTING_DOWN", "b")
			late.waitFor(t, "a", "SHUTTING_DOWN", "b")
			now := follow(t.Context(), p.Service, "b", model.LogQuery{})
			require.NoError(t, now.end(t))
			require.Equal(t, []string{"a", "SHUTTING_DOWN", "b"}, now.seen(), "what there is without waiting")

			p.queue.write(job, frame(2, true, lines(4, "c")))
			p.finishLog(t, job, 2)
			for _, f := range []*follower{early, late} {
				require.NoError(t, f.end(t))
				require.Equal(t, []string{"a", "SHUTTING_DOWN", "b", "c"}, f.seen())
			}
		})
	}
}

func TestAFollowerThatIsSlowGoesOnInTheStoredLog(t *testing.T) {
	p := newParts(newJobs("b", "linux/amd64"))
	const job = "b/linux/amd64"
	p.queue.write(job, frame(1, false, lines(1, "a")))
	p.queue.write(job, frame(1, true, lines(2, "b", "c")))
	first, goOn := make(chan struct{}), make(chan struct{})
	var got []string
	ended := make(chan error, 1)
	go func() {
		ended <- p.Follow(t.Context(), "b", model.LogQuery{Follow: true}, func(l model.LogLine) error {
			if got = append(got, string(l.Text)); len(got) == 1 {
				close(first)
				<-goOn
			}
			return nil
		})
	}()
	<-first
	p.finishLog(t, job, 1) // the stream is dropped behind the reader's back
	close(goOn)
	require.NoError(t, <-ended)
	require.Equal(t, []string{"a", "b", "c"}, got)
}

func TestAFollowerOfAllPlatforms(t *testing.T) {
	p := newParts(newJobs("b", "linux/amd64", "linux/arm64"))
	f := follow(t.Context(), p.Service, "b", model.LogQuery{Follow: true})
	one := follow(t.Context(), p.Service, "b", model.LogQuery{Follow: true, Platform: "linux/arm64"})
	for i, platform := range []string{"linux/amd64", "linux/arm64"} {
		job := "b/" + platform
		p.queue.write(job, frame(1, true, lines(1, platform)))
		require.Eventually(t, func() bool { return len(f.seen()) == i+1 }, patience, time.Millisecond)
		p.finishLog(t, job, 1)
	}
	require.NoError(t, f.end(t))
	require.NoError(t, one.end(t))
	require.Equal(t, []string{"linux/arm64"}, one.seen())

	all := follow(t.Context(), p.Service, "b", model.LogQuery{})
	require.NoError(t, all.end(t))
	require.Equal(t, []string{"linux/amd64", "linux/arm64"}, all.seen())
}

func TestAFollowerEnds(t *testing.T) {
	closed := errors.New("connection closed")
	for _, test := range []struct {
		name string
		run  func(t *testing.T, p *parts) error
		want error
		code model.Code
	}{
		{name: "with its context", run: func(t *testing.T, p *parts) error {
			ctx, cancel := context.WithCancelCause(t.Context())
			f := follow(ctx, p.Service, "b", model.LogQuery{Follow: true})
			p.queue.waitForReaders(t, 2)
			cancel(closed)
			return f.end(t)
		}, want: closed},
		{name: "with its reader", run: func(t *testing.T, p *parts) error {
			p.queue.write("b/linux/arm64", frame(1, false, lines(1, "a")))
			return p.Follow(t.Context(), "b", model.LogQuery{Follow: true}, func(model.LogLine) error { return closed })
		}, want: closed},
		{name: "with the queue", run: func(t *testing.T, p *parts) error {
			p.queue.failing = model.Errorf(model.CodeUnavailable, "The queue does not answer.")
			return follow(t.Context(), p.Service, "b", model.LogQuery{Follow: true}).end(t)
		}, code: model.CodeUnavailable},
		{name: "before it begins, for a platform that is not built", run: func(t *testing.T, p *parts) error {
			return follow(t.Context(), p.Service, "b", model.LogQuery{Platform: "linux/s390x"}).end(t)
		}, code: model.CodeParamInvalid},
		{name: "before it begins, for a build that is not there", run: func(t *testing.T, p *parts) error {
			return follow(t.Context(), p.Service, "other", model.LogQuery{}).end(t)
		}, code: model.CodeNotFound},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newParts(newJobs("b", "linux/amd64", "linux/arm64"))
			err := test.run(t, p)
			if test.want != nil {
				require.ErrorIs(t, err, test.want)
			} else {
				require.Equal(t, test.code, model.CodeOf(err))
			}
			p.queue.failing = nil
			p.queue.waitForReaders(t, 0)
		})
	}
}
