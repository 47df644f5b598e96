package queue

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// BenchmarkPublishToNext measures from the start of Publish until a waiting worker has the order.
func BenchmarkPublishToNext(b *testing.B) {
	c := startEmbedded(b, b.TempDir())
	platforms := []string{amd64, arm64}
	got := make(chan time.Time)
	go func() {
		for {
			d, err := c.Next(b.Context(), platforms)
			if err != nil {
				return
			}
			got <- time.Now()
			_ = d.Done()
		}
	}()
	took := make([]time.Duration, 0, b.N)
	for n := 0; b.Loop(); n++ {
		began := time.Now()
		require.NoError(b, c.Publish(b.Context(), order(n, platforms[n%2])))
		took = append(took, (<-got).Sub(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkWriteFrame measures how fast log frames are stored.
func BenchmarkWriteFrame(b *testing.B) {
	c := startEmbedded(b, b.TempDir())
	b.SetBytes(655 * 100)
	require.NoError(b, frames("job", b.N, func(f model.Frame) error { return c.WriteFrame(b.Context(), f) }))
	require.NoError(b, c.Flush(b.Context(), "job"))
}

// BenchmarkDecodeFrame measures what a reader pays for a frame.
func BenchmarkDecodeFrame(b *testing.B) {
	var body []byte
	p := testPacker(b)
	require.NoError(b, frames("job", 1, func(f model.Frame) error {
		s := &splitter{frame: f, pack: p, limit: maxLineBytes}
		var err error
		body, err = s.message()
		return err
	}))
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, _, err := decodeFrame(body, p); err != nil {
			b.Fatal(err)
		}
	}
}
