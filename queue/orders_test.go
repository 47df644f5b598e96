package queue

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

func testOrderOnce(t *testing.T, s sides) {
	want := model.Order{JobID: "job", BuildID: "build", Attempt: 3, Platform: "linux/arm/v7"}
	require.NoError(t, s.server.Publish(t.Context(), want))
	d := nextOrder(t, s.worker, "linux/arm/v7")
	require.Equal(t, want, d.Order())
	require.NoError(t, d.Done())
	noOrder(t, s.worker, "linux/arm/v7")
}

func testPublishTwice(t *testing.T, s sides) {
	require.NoError(t, s.server.Publish(t.Context(), order(1, amd64)))
	require.NoError(t, s.server.Publish(t.Context(), order(1, amd64)))
	d := nextOrder(t, s.worker, amd64)
	require.NoError(t, s.server.Publish(t.Context(), order(1, amd64)), "while it is being handed out")
	require.NoError(t, d.Done())
	require.NoError(t, s.server.Publish(t.Context(), order(1, amd64)), "after it was taken")
	noOrder(t, s.worker, amd64)

	again := order(1, amd64)
	again.Attempt = 2
	require.NoError(t, s.server.Publish(t.Context(), again))
	require.Equal(t, again, nextOrder(t, s.worker, amd64).Order())
}

func testOrderReturned(t *testing.T, s sides) {
	require.NoError(t, s.server.Publish(t.Context(), order(1, amd64)))
	d := nextOrder(t, s.worker, amd64)
	require.NoError(t, d.Return())
	returned := time.Now()
	again := nextOrder(t, s.worker, amd64)
	require.Equal(t, d.Order(), again.Order())
	require.Greater(t, time.Since(returned), returnDelay/2)
	require.NoError(t, again.Done())
}

func testOldestFirst(t *testing.T, s sides) {
	for n := range 20 {
		require.NoError(t, s.server.Publish(t.Context(), order(n, []string{amd64, arm64}[n/3%2])))
	}
	for n := range 20 {
		d := nextOrder(t, s.worker, arm64, amd64)
		require.Equal(t, order(n, "").JobID, d.Order().JobID)
		require.NoError(t, d.Done())
	}
}

func testPlatforms(t *testing.T, s sides) {
	require.NoError(t, s.server.Publish(t.Context(), order(1, "linux/arm/v7")))
	noOrder(t, s.worker, amd64, "linux/arm", "linux/arm/v6")
	require.Equal(t, order(1, "linux/arm/v7"), nextOrder(t, s.worker, amd64, "linux/arm/v7").Order())
}

// testNotKept has a worker ask for two platforms and take an order of one: what it had asked of the other must not
// withhold the next order there from who waits for it.
func testNotKept(t *testing.T, s sides) {
	require.NoError(t, s.server.Publish(t.Context(), order(1, amd64)))
	require.NoError(t, nextOrder(t, s.worker, amd64, arm64).Done())
	noOrder(t, s.worker, arm64)
	got := make(chan Delivery, 1)
	go func() {
		d, err := s.server.Next(t.Context(), []string{arm64})
		if err == nil {
			got <- d
		}
	}()
	began := time.Now()
	require.NoError(t, s.server.Publish(t.Context(), order(2, arm64)))
	require.Equal(t, order(2, arm64), receive(t, got).Order())
	require.Less(t, time.Since(began), 5*time.Second, "not only when its time ran out")
}

func testManyWorkers(t *testing.T, s sides) {
	const orders, workers = 200, 8
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	seen := map[string]int{}
	all := make(chan struct{})
	var wg sync.WaitGroup
	for n := range workers {
		c := []*Conn{s.server, s.worker}[n%2]
		wg.Go(func() {
			for {
				d, err := c.Next(ctx, []string{amd64, arm64})
				if err != nil || d.Done() != nil {
					return
				}
				mu.Lock()
				seen[d.Order().JobID]++
				if len(seen) == orders {
					close(all)
				}
				mu.Unlock()
			}
		})
	}
	for n := range orders {
		require.NoError(t, s.server.Publish(t.Context(), order(n, []string{amd64, arm64}[n%2])))
	}
	receive(t, all)
	cancel()
	wg.Wait()
	for id, times := range seen {
		require.Equal(t, 1, times, id)
	}
}

func testNextEnds(t *testing.T, s sides) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := s.worker.Next(ctx, []string{amd64})
		ended <- err
	}()
	cancel()
	require.ErrorIs(t, receive(t, ended), context.Canceled)

	_, err := s.worker.Next(t.Context(), nil)
	require.Equal(t, model.CodeFieldRequired, model.CodeOf(err))
}

func testDepth(t *testing.T, s sides) {
	for n := range 5 {
		require.NoError(t, s.server.Publish(t.Context(), order(n, []string{amd64, "linux/arm/v7"}[n%2])))
	}
	depth, err := s.server.Depth(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]uint64{amd64: 3, "linux/arm/v7": 2}, depth)

	d := nextOrder(t, s.worker, amd64)
	depth, err = s.server.Depth(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(3), depth[amd64], "one that is being handed out counts")
	require.NoError(t, d.Done())
	depth, err = s.server.Depth(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(2), depth[amd64])
}
