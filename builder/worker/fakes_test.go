package worker

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/builder/buildkit"
	"cooper/internal/model"
)

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

const platform = "linux/arm64"

// memoryQueue is a queue in memory, with what the tests want to look at.
type memoryQueue struct {
	orders   chan model.Order
	claim    func(model.Claim) (model.Grant, error)
	outcomes chan model.Outcome

	mu       sync.Mutex
	asked    [][]string
	done     []model.Order
	returned []model.Order
	frames   []model.Frame
	flushed  int
	beats    []model.Heartbeat
	cancels  map[string]func()
	changed  chan struct{}
}

func newMemoryQueue() *memoryQueue {
	return &memoryQueue{
		orders: make(chan model.Order, 16), outcomes: make(chan model.Outcome, 16), cancels: map[string]func(){}, changed: make(chan struct{}),
		claim: func(c model.Claim) (model.Grant, error) { return grant(c.JobID, c.Attempt), nil },
	}
}

// update changes what is seen under the lock and wakes those who wait for it.
func (q *memoryQueue) update(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	f()
	close(q.changed)
	q.changed = make(chan struct{})
}

// wait waits until ok, which is called under the lock.
func (q *memoryQueue) wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		q.mu.Lock()
		yes, changed := ok(), q.changed
		q.mu.Unlock()
		if yes {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			t.Fatal("waited in vain: " + what)
		}
	}
}

func (q *memoryQueue) outcome(t *testing.T) model.Outcome {
	t.Helper()
	select {
	case o := <-q.outcomes:
		return o
	case <-time.After(patience):
		t.Fatal("no outcome was reported")
		return model.Outcome{}
	}
}

// beat is the newest heartbeat; the caller holds the lock.
func (q *memoryQueue) beat() model.Heartbeat {
	if len(q.beats) == 0 {
		return model.Heartbeat{}
	}
	return q.beats[len(q.beats)-1]
}

func (q *memoryQueue) lines() []model.LogLine {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []model.LogLine
	for _, f := range q.frames {
		out = append(out, f.Lines...)
	}
	return out
}

func (q *memoryQueue) Next(ctx context.Context, platforms []string) (Delivery, error) {
	q.update(func() { q.asked = append(q.asked, slices.Clone(platforms)) })
	select {
	case o := <-q.orders:
		return &delivery{queue: q, order: o}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (q *memoryQueue) Claim(ctx context.Context, c model.Claim) (model.Grant, error) {
	if ctx.Err() != nil {
		return model.Grant{}, ctx.Err()
	}
	return q.claim(c)
}

func (q *memoryQueue) Heartbeat(_ context.Context, h model.Heartbeat) error {
	q.update(func() { q.beats = append(q.beats, h) })
	return nil
}

func (q *memoryQueue) Finish(ctx context.Context, o model.Outcome) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	q.outcomes <- o
	return nil
}

func (q *memoryQueue) OnCancel(jobID string, f func()) (func(), error) {
	q.update(func() { q.cancels[jobID] = f })
	return func() { q.update(func() { delete(q.cancels, jobID) }) }, nil
}

func (q *memoryQueue) WriteFrame(ctx context.Context, f model.Frame) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	q.update(func() { q.frames = append(q.frames, f) })
	return nil
}

func (q *memoryQueue) Flush(ctx context.Context, _ string) error {
	q.update(func() { q.flushed = len(q.frames) })
	return ctx.Err()
}

type delivery struct {
	queue *memoryQueue
	order model.Order
}

func (d *delivery) Order() model.Order { return d.order }

func (d *delivery) Done() error {
	d.queue.update(func() { d.queue.done = append(d.queue.done, d.order) })
	return nil
}

func (d *delivery) Return() error {
	d.queue.update(func() { d.queue.returned = append(d.queue.returned, d.order) })
	return nil
}

// scriptedBuildKit does what the test says.
type scriptedBuildKit struct {
	run       func(ctx context.Context, s buildkit.Solve, emit func(model.LogLine) error) (buildkit.Result, error)
	export    func(ctx context.Context, s buildkit.Solve, out io.Writer) error
	platforms func() ([]string, error)
}

func (b *scriptedBuildKit) Run(ctx context.Context, s buildkit.Solve, emit func(model.LogLine) error) (buildkit.Result, error) {
	return b.run(ctx, s, emit)
}

func (b *scriptedBuildKit) Export(ctx context.Context, s buildkit.Solve, out io.Writer, _ func(model.LogLine) error) (model.Result, error) {
	return model.Result{Sources: []string{"base@sha256:01"}, Pinned: true}, b.export(ctx, s, out)
}

func (b *scriptedBuildKit) Platforms(context.Context) ([]string, error) {
	if b.platforms == nil {
		return []string{platform}, nil
	}
	return b.platforms()
}

// untilStopped is a build that goes on until it is told to stop.
func untilStopped(ctx context.Context, _ buildkit.Solve, _ func(model.LogLine) error) (buildkit.Result, error) {
	<-ctx.Done()
	return buildkit.Result{}, context.Cause(ctx)
}

var pushed = model.Descriptor{MediaType: "application/vnd.oci.image.index.v1+json", Digest: "sha256:" + "ab", Size: 7}

func pushes(context.Context, buildkit.Solve, func(model.LogLine) error) (buildkit.Result, error) {
	return buildkit.Result{Pushed: model.Result{Manifest: pushed}}, nil
}

// memoryContexts holds uploaded contexts by build ID.
type memoryContexts map[string][]byte

func (c memoryContexts) Open(_ context.Context, buildID string) (io.ReadCloser, error) {
	b, ok := c[buildID]
	if !ok {
		return nil, os.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// oneFileGit fetches a tree of one file, whose text is the commit.
type oneFileGit struct{ err error }

func (g oneFileGit) Fetch(_ context.Context, s model.Source, dir string) error {
	if g.err != nil {
		return g.err
	}
	return os.WriteFile(filepath.Join(dir, "commit"), []byte(s.Commit), 0o600)
}

// FetchComponent leaves a file submodules when they are wanted.
func (g oneFileGit) FetchComponent(ctx context.Context, s model.Source, dir string, submodules bool) error {
	if submodules {
		if err := os.WriteFile(filepath.Join(dir, "submodules"), nil, 0o600); err != nil {
			return err
		}
	}
	return g.Fetch(ctx, s, dir)
}

// memoryTarballs keeps what it is given under its own text, unless it is to fail.
type memoryTarballs struct {
	pack    func(ctx context.Context, tar io.Reader) error // nil reads to the end
	skipped int
}

func (m memoryTarballs) Pack(ctx context.Context, tar io.Reader, mtime time.Time) (model.Tarball, int, error) {
	if m.pack != nil {
		if err := m.pack(ctx, tar); err != nil {
			return model.Tarball{}, 0, fmt.Errorf("pack: %w", err)
		}
		return model.Tarball{Digest: "early"}, 0, nil
	}
	text, err := io.ReadAll(tar)
	if err != nil {
		return model.Tarball{}, 0, fmt.Errorf("pack: %w", err)
	}
	return model.Tarball{Digest: string(text) + mtime.UTC().Format(" 2006-01-02"), Size: int64(len(text)), Format: model.FormatTarGz}, m.skipped, nil
}

func newWorker(t *testing.T, q *memoryQueue, b *scriptedBuildKit) *Worker {
	t.Helper()
	return New(Config{
		Name: "test/1", Slots: 2, Dir: filepath.Join(t.TempDir(), "jobs"), LogLimit: 1 << 20, Queue: q, BuildKit: b, Git: oneFileGit{},
		Contexts: memoryContexts{}, Tarballs: memoryTarballs{}, Log: slog.New(slog.DiscardHandler),
	})
}

// runWorker runs w and returns what stops it with a cause and waits until it has.
func runWorker(t *testing.T, w *Worker) (stop func(cause error)) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	var once sync.Once
	stop = func(cause error) {
		once.Do(func() {
			cancel(cause)
			select {
			case err := <-ended:
				require.NoError(t, err)
			case <-time.After(patience):
				t.Error("the worker did not stop")
			}
		})
	}
	t.Cleanup(func() { stop(nil) })
	return stop
}

func grant(jobID string, attempt int) model.Grant {
	return model.Grant{
		JobID: jobID, BuildID: "build", Attempt: attempt, Platform: platform, Dockerfile: "FROM scratch\n", NextSeq: 1,
		Deadline: time.Now().Add(time.Hour), Image: model.ImageSpec{Component: "team/app", Timeout: time.Hour},
	}
}

// componentGrant is a grant of a component's job.
func componentGrant(jobID string) model.Grant {
	g := grant(jobID, 1)
	g.Kind, g.Image = model.KindComponent, model.ImageSpec{}
	g.Component = model.ComponentSpec{
		Name: "zlib", Source: model.Source{URL: "https://host/r.git", Ref: "v1", Commit: "c0ffee", Subdir: "sub"},
		CommitTime: time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC), Timeout: time.Minute, Notes: []string{"recipe: cmake, because of CMakeLists.txt"},
		Recipe: model.Recipe{Target: "component"}, BuildArgs: map[string]string{"A": "1"}, CacheScope: "source https://host/r.git", NoCache: true,
	}
	g.Contexts = map[string]string{"dep": "host/dep@sha256:02"}
	g.Dependencies = []model.Dependency{{Name: "dep", Tag: "1", Digest: "sha256:03"}}
	return g
}

func order(jobID string) model.Order {
	return model.Order{JobID: jobID, BuildID: "build", Attempt: 1, Platform: platform}
}

func tarOf(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for name, text := range files {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text))}))
		_, err := w.Write([]byte(text))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}
