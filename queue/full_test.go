package queue

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// TestFullDisk fills the queue's disk, a small one of its own, and makes room again: no call hangs meanwhile, and after
// that orders, outcomes and logs go on without a restart.
func TestFullDisk(t *testing.T) {
	disk := t.TempDir()
	require.NoError(t, syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=48m"), "the tests run as root, as `make test` does")
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(disk, 0)) })
	c := startEmbedded(t, filepath.Join(disk, "queue"))
	require.NoError(t, c.Publish(t.Context(), order(1, amd64)))
	write(t, c, "before", logLines(1, 20))

	fillDisk(t, filepath.Join(disk, "full"))
	require.Error(t, frames("job", 100, func(f model.Frame) error {
		if err := c.WriteFrame(t.Context(), f); err != nil {
			return err
		}
		return c.Flush(t.Context(), "job")
	}))
	require.Equal(t, model.CodeUnavailable, model.CodeOf(c.Publish(t.Context(), order(2, arm64))))

	require.NoError(t, os.Remove(filepath.Join(disk, "full")))
	freed := time.Now()
	require.Eventually(t, func() bool { return c.Publish(t.Context(), order(2, arm64)) == nil }, soon, 10*time.Millisecond)
	require.Eventually(t, func() bool { return c.Finish(t.Context(), outcome("job", 1)) == nil }, soon, 10*time.Millisecond)
	require.Eventually(t, func() bool {
		return c.WriteFrame(t.Context(), model.Frame{JobID: "after", Lines: logLines(1, 10)}) == nil && c.Flush(t.Context(), "after") == nil
	}, 2*soon, 10*time.Millisecond)
	t.Logf("all goes on %v after there was room", time.Since(freed))
	require.Equal(t, order(1, amd64), nextOrder(t, c, amd64).Order())
	require.Equal(t, order(2, arm64), nextOrder(t, c, arm64).Order())
	lines, _ := replay(t, c, "before")
	require.Equal(t, logLines(1, 20), lines)
}

func fillDisk(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	require.NoError(t, err)
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	require.NoError(t, f.Close())
}
