package queue

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// childDir is the environment variable that makes this test binary a process to be killed, on the directory it names.
const childDir = "COOPER_TEST_QUEUE_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		runChild(dir)
	}
	os.Exit(m.Run())
}

// runChild fills a queue, says so and waits to be killed.
func runChild(dir string) {
	c, err := Start(context.Background(), Config{Dir: dir})
	if err == nil {
		err = fill(context.Background(), c)
	}
	fmt.Println("filled:", err) //nolint:forbidigo // the parent reads it
	select {}
}

// fill puts ten orders into c, of which one is taken for good, one handed out and one put back; an outcome; and a log.
func fill(ctx context.Context, c *Conn) error {
	for n := range 10 {
		if err := c.Publish(ctx, order(n, amd64)); err != nil {
			return err
		}
	}
	taken, err := c.Next(ctx, []string{amd64})
	if err == nil {
		err = taken.Done()
	}
	if err == nil {
		_, err = c.Next(ctx, []string{amd64})
	}
	if err != nil {
		return err
	}
	err = errors.Join(c.Finish(ctx, outcome("done", 1)), c.WriteFrame(ctx, model.Frame{JobID: "log", Lines: logLines(1, 25)}))
	return errors.Join(err, c.Flush(ctx, "log"))
}

// requireFilled asserts that what fill left is all there: the order that was handed out comes again at once.
func requireFilled(t *testing.T, c *Conn) {
	t.Helper()
	depth, err := c.Depth(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]uint64{amd64: 9}, depth)
	got := map[string]bool{}
	for range 9 {
		d := nextOrder(t, c, amd64)
		require.NoError(t, d.Done())
		got[d.Order().JobID] = true
	}
	require.Len(t, got, 9)
	require.NotContains(t, got, order(0, amd64).JobID, "it was taken")
	noOrder(t, c, amd64)

	outcomes := make(chan model.Outcome, 8)
	during(t, func(ctx context.Context) error {
		return c.Outcomes(ctx, func(_ context.Context, o model.Outcome) error {
			outcomes <- o
			return nil
		})
	})
	require.Equal(t, "done", receive(t, outcomes).JobID)
	lines, _ := replay(t, c, "log")
	require.Equal(t, logLines(1, 25), lines)
	next, err := c.NextSeq(t.Context(), "log")
	require.NoError(t, err)
	require.Equal(t, uint64(26), next)
}

func TestRestart(t *testing.T) {
	dir := t.TempDir()
	c := startEmbedded(t, dir)
	require.NoError(t, fill(t.Context(), c))
	require.NoError(t, c.Close())
	requireFilled(t, startEmbedded(t, dir))
}

func TestKill(t *testing.T) {
	dir := t.TempDir()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childDir+"="+dir)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, child.Process.Kill())
	_ = child.Wait()
	require.NoError(t, err)
	require.Equal(t, "filled: <nil>\n", line)
	requireFilled(t, startEmbedded(t, dir))
}

func TestOutcomeAfterRestart(t *testing.T) {
	dir := t.TempDir()
	c := startEmbedded(t, dir)
	require.NoError(t, c.Finish(t.Context(), outcome("job", 1)))
	failed := make(chan struct{}, 64)
	stop := during(t, func(ctx context.Context) error {
		return c.Outcomes(ctx, func(context.Context, model.Outcome) error {
			failed <- struct{}{}
			return errors.New("database is away")
		})
	})
	receive(t, failed)
	stop()
	require.NoError(t, c.Close())

	c = startEmbedded(t, dir)
	got := make(chan model.Outcome, 8)
	during(t, func(ctx context.Context) error {
		return c.Outcomes(ctx, func(_ context.Context, o model.Outcome) error {
			got <- o
			return nil
		})
	})
	require.Equal(t, "job", receive(t, got).JobID)
}

// damage maps a name to what happens to every file of the store.
func damage() map[string]func(t *testing.T, path string) {
	return map[string]func(*testing.T, string){
		"removed":   func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) },
		"emptied":   func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 0)) },
		"truncated": func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, size(t, path)/2)) },
		"zeroed": func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path, make([]byte, size(t, path)), 0o600))
		},
		"one bit flipped": func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			if len(b) > 0 {
				b[rand.IntN(len(b))] ^= 1 << rand.IntN(8)
			}
			require.NoError(t, os.WriteFile(path, b, 0o600))
		},
		"made a directory": func(t *testing.T, path string) {
			require.NoError(t, os.Remove(path))
			require.NoError(t, os.Mkdir(path, 0o700))
		},
	}
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.Size()
}

// TestDamagedStore asserts that a server starts on whatever is left of its store, and that after everything was
// published again every order reaches a worker.
func TestDamagedStore(t *testing.T) {
	for name, ruin := range damage() {
		for _, part := range []string{"", ".blk", ".inf", ".sum", ".dat", ".db"} {
			t.Run(name+" "+part, func(t *testing.T) {
				dir := t.TempDir()
				c := startEmbedded(t, dir)
				require.NoError(t, fill(t.Context(), c))
				require.NoError(t, c.Close())
				require.NoError(t, filepath.WalkDir(filepath.Join(dir, "store"), func(path string, d fs.DirEntry, err error) error {
					if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, part) {
						ruin(t, path)
					}
					return err
				}))
				requireWorks(t, dir)
			})
		}
	}
}

func TestStoreIsAFile(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "store"), []byte("no"), 0o600))
	var log strings.Builder
	c := start(t, Config{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, c.Ready(t.Context()))
	require.Contains(t, log.String(), "set aside")
	kept, err := os.ReadFile(filepath.Join(dir, "store"+asideSuffix))
	require.NoError(t, err)
	require.Equal(t, "no", string(kept))
}

// requireWorks asserts that the queue in dir starts and carries orders, outcomes and logs.
func requireWorks(t *testing.T, dir string) {
	t.Helper()
	c := start(t, Config{Dir: dir, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	require.NoError(t, c.Ready(t.Context()))
	missing := map[string]bool{}
	for n := range 20 {
		o := order(n, amd64)
		o.Attempt = 2
		missing[o.JobID] = true
		require.NoError(t, c.Publish(t.Context(), o))
	}
	for len(missing) > 0 {
		d := nextOrder(t, c, amd64)
		if d.Order().Attempt == 2 {
			delete(missing, d.Order().JobID)
		}
		require.NoError(t, d.Done())
	}
	require.NoError(t, c.Finish(t.Context(), outcome("new", 1)))
	got := make(chan string, 8)
	during(t, func(ctx context.Context) error {
		return c.Outcomes(ctx, func(_ context.Context, o model.Outcome) error {
			got <- o.JobID
			return nil
		})
	})
	for job := ""; job != "new"; {
		job = receive(t, got)
	}
	write(t, c, "new", logLines(1, 50))
	lines, _ := replay(t, c, "new")
	require.Equal(t, logLines(1, 50), lines)
	_, err := c.Depth(t.Context())
	require.NoError(t, err)
}

func TestOneServerPerDirectory(t *testing.T) {
	dir := t.TempDir()
	c := startEmbedded(t, dir)
	require.NoError(t, c.Publish(t.Context(), order(1, amd64)))
	_, err := Start(t.Context(), Config{Dir: dir})
	require.Equal(t, model.CodeUnavailable, model.CodeOf(err))
	require.NoDirExists(t, filepath.Join(dir, "store"+asideSuffix))
	require.Equal(t, order(1, amd64), nextOrder(t, c, amd64).Order())
}
