package queue

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

const mebibyte = 1 << 20

// frames makes count frames of a worker's usual size, 64 KiB of lines of 100 bytes, one at a time.
func frames(job string, count int, f func(model.Frame) error) error {
	const perFrame = 655
	noise := rand.NewChaCha8([32]byte{1}) // lines that do not get smaller when they are packed
	lines := make([]model.LogLine, perFrame)
	for n := range count {
		for i := range lines {
			text := make([]byte, 100)
			_, _ = noise.Read(text) // never fails
			lines[i] = model.LogLine{
				Seq: uint64(n*perFrame + i + 1), Time: time.Unix(1700000000, int64(i)), Platform: amd64,
				Step: "[2/3] RUN make", Stream: model.StreamStdout, Text: text,
			}
		}
		if err := f(model.Frame{JobID: job, Attempt: 1, Lines: lines, Final: n == count-1}); err != nil {
			return err
		}
	}
	return nil
}

// heapGrowth samples the live heap, garbage left out, until stopped and returns by how much it was higher than before,
// at most.
func heapGrowth(t *testing.T) (stop func() uint64) {
	t.Helper()
	live := func() uint64 {
		sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	for range 3 { // what pools keep outlives a collection or two
		runtime.GC()
	}
	before, peak := live(), uint64(0)
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			peak = max(peak, live())
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}()
	return func() uint64 {
		runtime.GC()
		close(done)
		<-stopped
		return max(peak, live(), before) - before
	}
}

// limitMemory has the collector keep the process within its present size and room bytes, for as long as the
// test runs, since the store's cache gives its blocks back only to the collector.
func limitMemory(t *testing.T, room int64) {
	t.Helper()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before := debug.SetMemoryLimit(int64(m.Sys-m.HeapReleased) + room)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
}

// TestBigLog sends 100 MiB of log through the queue while a follower reads it, and then reads it again: nothing is lost
// and the heap of server and worker together stays bounded: most of it are the store's blocks of 8 MiB, of which it keeps
// those of the last ten seconds. These lines cannot be packed; those of builds mostly can, and then there are few blocks.
func TestBigLog(t *testing.T) {
	const count = 1600
	c := startEmbedded(t, t.TempDir())
	limitMemory(t, 64*mebibyte)
	growth := heapGrowth(t)
	followed := make(chan uint64, 1)
	go func() { followed <- digest(t, c, true) }()
	sent := fnv.New64a()
	began := time.Now()
	require.NoError(t, frames("job", count, func(f model.Frame) error {
		for i := range f.Lines {
			fmt.Fprintf(sent, "%d %s\n", f.Lines[i].Seq, f.Lines[i].Text)
		}
		return c.WriteFrame(t.Context(), f)
	}))
	require.NoError(t, c.Flush(t.Context(), "job"))
	wrote := time.Since(began)
	require.Equal(t, sent.Sum64(), <-followed)
	began = time.Now()
	require.Equal(t, sent.Sum64(), digest(t, c, false))
	grown := growth()
	t.Logf("100 MiB: written in %v with a follower, replayed in %v, heap grew by %d MiB", wrote, time.Since(began), grown/mebibyte)
	require.Less(t, grown, uint64(192*mebibyte))
}

// digest reads the job's log to its final frame.
func digest(t *testing.T, c *Conn, follow bool) uint64 {
	sum := fnv.New64a()
	err := c.Frames(t.Context(), "job", follow, func(f model.Frame) error {
		for i := range f.Lines {
			fmt.Fprintf(sum, "%d %s\n", f.Lines[i].Seq, f.Lines[i].Text)
		}
		if f.Final {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Errorf("the log ended before its final frame: %v", err)
	}
	return sum.Sum64()
}

// TestManyFollowers has 500 followers of one job, all of them stuck at their first frame: what waits for them must not
// pile up in memory, and one more follower must not be held back.
func TestManyFollowers(t *testing.T) {
	const followers, count = 500, 320
	c := startEmbedded(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	growth := heapGrowth(t)
	var stuck atomic.Int32
	var all sync.WaitGroup
	for range followers {
		all.Go(func() {
			_ = c.Frames(ctx, "job", true, func(model.Frame) error {
				stuck.Add(1)
				<-ctx.Done()
				return ctx.Err()
			})
		})
	}
	require.NoError(t, frames("job", count, func(f model.Frame) error { return c.WriteFrame(t.Context(), f) }))
	require.NoError(t, c.Flush(t.Context(), "job"))
	require.Eventually(t, func() bool { return stuck.Load() == followers }, 4*soon, time.Millisecond)
	digest(t, c, true)
	grown := growth()
	t.Logf("%d stuck followers: heap grew by %d MiB", followers, grown/mebibyte)
	require.Less(t, grown, uint64(192*mebibyte))
	cancel()
	all.Wait()
}
