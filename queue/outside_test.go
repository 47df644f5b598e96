package queue

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// TestOutsideComesBack restarts the server under a worker and a server that wait: all goes on by itself.
func TestOutsideComesBack(t *testing.T) {
	dir := t.TempDir()
	hub := start(t, Config{Dir: dir, Listen: "127.0.0.1:0"})
	url := hub.ClientURL()
	server, worker := start(t, Config{URL: url}), start(t, Config{URL: url})
	write(t, worker, "job", logLines(1, 30))
	followed := follow(t, server, "job", 60)
	got := make(chan Delivery, 1)
	go func() {
		if d, err := worker.Next(t.Context(), []string{amd64}); err == nil {
			got <- d
		}
	}()
	outcomes := make(chan model.Outcome, 8)
	during(t, func(ctx context.Context) error {
		return server.Outcomes(ctx, func(_ context.Context, o model.Outcome) error {
			outcomes <- o
			return nil
		})
	})
	require.NoError(t, worker.Finish(t.Context(), outcome("before", 1)))
	require.Equal(t, "before", receive(t, outcomes).JobID)

	require.NoError(t, hub.Close())
	require.Equal(t, model.CodeUnavailable, model.CodeOf(within(t, 200*time.Millisecond, server.Ready)))
	start(t, Config{Dir: dir, Listen: strings.TrimPrefix(url, "nats://")})

	require.Eventually(t, func() bool { return server.Ready(t.Context()) == nil && worker.Ready(t.Context()) == nil }, soon, 10*time.Millisecond)
	require.NoError(t, server.Publish(t.Context(), order(1, amd64)))
	require.Equal(t, order(1, amd64), receive(t, got).Order())
	require.NoError(t, worker.Finish(t.Context(), outcome("after", 1)))
	require.Equal(t, "after", receive(t, outcomes).JobID)
	write(t, worker, "job", logLines(31, 30))
	require.Equal(t, logLines(1, 60), receive(t, followed))
}

func within(t *testing.T, d time.Duration, f func(context.Context) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	return f(ctx)
}

func TestStartRefused(t *testing.T) {
	for name, test := range map[string]struct {
		cfg  Config
		code model.Code
	}{
		"no directory":              {Config{}, model.CodeFieldRequired},
		"listener without port":     {Config{Dir: t.TempDir(), Listen: "127.0.0.1"}, model.CodeFieldInvalid},
		"port that is none":         {Config{Dir: t.TempDir(), Listen: "127.0.0.1:http"}, model.CodeFieldInvalid},
		"open to all":               {Config{Dir: t.TempDir(), Listen: "0.0.0.0:0"}, model.CodeFieldRequired},
		"open to all, without host": {Config{Dir: t.TempDir(), Listen: ":0"}, model.CodeFieldRequired},
		"address that is none":      {Config{URL: "nats://u:s3cret@h:port%zz"}, model.CodeURLInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Start(t.Context(), test.cfg)
			require.Equal(t, test.code, model.CodeOf(err))
			require.NotContains(t, err.Error(), "s3cret")
		})
	}
}

// TestNobodyThere asserts that a server that does not answer, or not to us, ends the start with the caller's patience.
func TestNobodyThere(t *testing.T) {
	hub := start(t, Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", Token: "s3cret"})
	for name, url := range map[string]string{
		"nobody":      "nats://127.0.0.1:1",
		"wrong token": withToken(hub.ClientURL(), "guess"),
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			err := within(t, 300*time.Millisecond, func(ctx context.Context) error {
				_, err := Start(ctx, Config{URL: url})
				return err
			})
			require.Equal(t, model.CodeUnavailable, model.CodeOf(err))
			require.Less(t, time.Since(began), 5*time.Second)
		})
	}
}

// TestClosed asserts that what waits ends with Close, and that closing twice is harmless.
func TestClosed(t *testing.T) {
	c := startEmbedded(t, t.TempDir())
	ended := make(chan error, 8)
	go func() {
		_, err := c.Next(t.Context(), []string{amd64})
		ended <- err
	}()
	go func() { ended <- c.Frames(t.Context(), "job", true, func(model.Frame) error { return nil }) }()
	go func() { ended <- c.Heartbeats(t.Context(), func(model.Heartbeat) {}) }()
	go func() { ended <- c.Outcomes(t.Context(), func(context.Context, model.Outcome) error { return nil }) }()
	noOrder(t, c, arm64)
	began := time.Now()
	require.NoError(t, c.Close())
	require.NoError(t, c.Close())
	require.Less(t, time.Since(began), closeWait)
	for range 4 {
		require.Equal(t, model.CodeShuttingDown, model.CodeOf(receive(t, ended)))
	}
	require.Error(t, c.Publish(t.Context(), order(1, amd64)))
	require.Error(t, c.Ready(t.Context()))
}
