package queue

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

const (
	amd64 = "linux/amd64"
	arm64 = "linux/arm64"

	soon = 10 * time.Second // more than anything takes that works
)

// sides are a server's and a worker's way to one queue.
type sides struct{ server, worker *Conn }

// contract is what every queue must do, embedded or outside.
func contract() map[string]func(*testing.T, sides) {
	return map[string]func(*testing.T, sides){
		"orders reach a worker once":               testOrderOnce,
		"publishing twice is one order":            testPublishTwice,
		"an order put back comes again":            testOrderReturned,
		"the oldest order of all platforms first":  testOldestFirst,
		"workers get their platforms only":         testPlatforms,
		"an order for nobody goes to who waits":    testNotKept,
		"every order goes to exactly one worker":   testManyWorkers,
		"next ends with its context":               testNextEnds,
		"depth counts by platform":                 testDepth,
		"claims are granted":                       testClaimGranted,
		"claims are refused with code and message": testClaimRefused,
		"claims without a server":                  testClaimNobody,
		"claims run side by side":                  testClaimsConcurrent,
		"cancel reaches the job's worker alone":    testCancel,
		"heartbeats arrive in order":               testHeartbeats,
		"outcomes come until taken":                testOutcomeRetried,
		"outcomes reported twice are one":          testOutcomeOnce,
		"outcomes of one job follow each other":    testOutcomesOfOneJob,
		"frames come back as written":              testFramesReplay,
		"frames of no job end at once":             testFramesNone,
		"a late follower gets all":                 testFollowLate,
		"two followers get the same":               testFollowTwo,
		"following ends with f's error":            testFollowError,
		"frames can be dropped":                    testDropFrames,
		"the next sequence":                        testNextSeq,
		"long lines and large frames":              testLargeFrames,
		"IDs that are no tokens are refused":       testBadIDs,
	}
}

func TestEmbedded(t *testing.T) {
	for name, check := range contract() {
		t.Run(name, func(t *testing.T) {
			c := startEmbedded(t, t.TempDir())
			check(t, sides{server: c, worker: c})
		})
	}
}

func TestOutside(t *testing.T) {
	for name, check := range contract() {
		t.Run(name, func(t *testing.T) {
			hub := start(t, Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", Token: "s3cret"})
			url := withToken(hub.ClientURL(), "s3cret")
			check(t, sides{server: start(t, Config{URL: url}), worker: start(t, Config{URL: url})})
		})
	}
}

// start opens a queue that is closed with the test.
func start(t testing.TB, cfg Config) *Conn {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	c, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func startEmbedded(t testing.TB, dir string) *Conn {
	t.Helper()
	return start(t, Config{Dir: dir})
}

func withToken(url, token string) string {
	return "nats://" + token + "@" + url[len("nats://"):]
}

func order(n int, platform string) model.Order {
	return model.Order{JobID: fmt.Sprintf("job-%04d", n), BuildID: "build", Attempt: 1, Platform: platform}
}

// nextOrder takes an order that must be there soon.
func nextOrder(t *testing.T, c *Conn, platforms ...string) Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	d, err := c.Next(ctx, platforms)
	require.NoError(t, err)
	return d
}

// noOrder asserts that none comes within a moment; the order that could come wrongly is there already.
func noOrder(t *testing.T, c *Conn, platforms ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	_, err := c.Next(ctx, platforms)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// receive takes a value that must come soon.
func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	var v T
	select {
	case v = <-from:
		return v
	case <-time.After(soon):
		require.FailNow(t, "nothing came")
		return v
	}
}

// during runs f, which serves until its context ends, for as long as the returned function was not called.
func during(t *testing.T, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		require.NoError(t, receive(t, done))
	}
	t.Cleanup(stop)
	return stop
}

func testBadIDs(t *testing.T, s sides) {
	for _, id := range []string{"", "a.b", "a b", "*", ">", "a\r\nPUB x", "ä"} {
		require.Equal(t, model.CodeIDInvalid, model.CodeOf(s.server.Cancel(t.Context(), id)), "%q", id)
		require.Equal(t, model.CodeIDInvalid, model.CodeOf(s.server.DropFrames(t.Context(), id)), "%q", id)
		require.Equal(t, model.CodeIDInvalid, model.CodeOf(s.worker.WriteFrame(t.Context(), model.Frame{JobID: id})), "%q", id)
		require.Equal(t, model.CodeIDInvalid, model.CodeOf(s.worker.Finish(t.Context(), model.Outcome{JobID: id})), "%q", id)
	}
	for _, platform := range []string{"", "linux.*", "linux/>", "linux arm64", "linux_arm64"} {
		err := s.server.Publish(t.Context(), model.Order{JobID: "job", Platform: platform})
		require.Equal(t, model.CodePlatformUnsupported, model.CodeOf(err), "%q", platform)
	}
}
