package builder

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

// These parts are in memory, and only as good as the tests of this package need: what the real ones promise is tested
// where they live, and all of them together in cmd/cooper. A method that is not here is not called.

type memoryStore struct {
	Store
	mu     sync.Mutex
	builds map[string]model.Build
	images map[string]model.Image
	marked []string // orders marked as published, "job.attempt"
}

func newMemoryStore(builds ...model.Build) *memoryStore {
	s := &memoryStore{builds: map[string]model.Build{}, images: map[string]model.Image{}}
	for _, b := range builds {
		s.builds[b.ID] = b
	}
	return s
}

// change edits a job as the database would.
func (s *memoryStore) change(jobID string, f func(b *model.Build, j *model.Job)) model.Build {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, b := range s.builds {
		b.Jobs = slices.Clone(b.Jobs)
		for i := range b.Jobs {
			if b.Jobs[i].ID == jobID {
				f(&b, &b.Jobs[i])
				s.builds[id] = b
				return b
			}
		}
	}
	panic("no job " + jobID)
}

func (s *memoryStore) Build(_ context.Context, id string) (model.Build, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.builds[id]
	if !ok {
		return b, model.Errorf(model.CodeNotFound, "No such build.")
	}
	b.Jobs = slices.Clone(b.Jobs)
	return b, nil
}

func (s *memoryStore) BuildOfJob(ctx context.Context, jobID string) (model.Build, error) {
	for _, b := range s.all() {
		if _, ok := jobOf(b, jobID); ok {
			return s.Build(ctx, b.ID)
		}
	}
	return model.Build{}, model.Errorf(model.CodeNotFound, "No such job.")
}

func (s *memoryStore) all() []model.Build {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []model.Build
	for _, b := range s.builds {
		out = append(out, b)
	}
	return out
}

func (s *memoryStore) jobs(ok func(model.Job) bool) []model.Job {
	var out []model.Job
	for _, b := range s.all() {
		for _, j := range b.Jobs {
			if ok(j) {
				out = append(out, j)
			}
		}
	}
	slices.SortFunc(out, func(a, b model.Job) int { return a.Created.Compare(b.Created) })
	return out
}

func (s *memoryStore) orders(ok func(model.Job) bool) []model.Order {
	var out []model.Order
	for _, j := range s.jobs(ok) {
		out = append(out, model.Order{JobID: j.ID, BuildID: j.BuildID, Attempt: j.Attempt, Platform: j.Platform})
	}
	return out
}

func (s *memoryStore) CreateBuild(_ context.Context, b model.Build, _ *model.Idempotency, _ int) (model.Build, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.builds {
		if other.InputDigest == b.InputDigest && !other.Status.Terminal() {
			return other, true, nil
		}
	}
	s.builds[b.ID] = b
	return b, false, nil
}

func (s *memoryStore) FinishJob(_ context.Context, o model.Outcome, img *model.Image) (model.Build, error) {
	lost := false
	b := s.change(o.JobID, func(b *model.Build, j *model.Job) {
		if lost = j.Attempt != o.Attempt || j.Status.Terminal(); lost {
			return
		}
		j.Status, j.Error, j.Result, j.Finished = o.Status, o.Failure, o.Result, o.Time
		if img != nil {
			s.images[img.Repository+":"+img.Tag] = *img
		}
		if !slices.ContainsFunc(b.Jobs, func(j model.Job) bool { return !j.Status.Terminal() }) {
			b.Status, b.Error, b.Finished = o.Status, o.Failure, o.Time
		}
	})
	if lost {
		return b, model.Errorf(model.CodeLeaseLost, "Not due.")
	}
	return b, nil
}

func (s *memoryStore) RequeueJob(_ context.Context, jobID string, attempt int) (model.Job, error) {
	var next model.Job
	s.change(jobID, func(_ *model.Build, j *model.Job) {
		if j.Attempt == attempt && j.Status == model.StatusRunning {
			j.Attempt, j.Status, j.Worker, j.Started = j.Attempt+1, model.StatusQueued, "", time.Time{}
			next = *j
		}
	})
	if next.ID == "" {
		return next, model.Errorf(model.CodeLeaseLost, "Not due.")
	}
	return next, nil
}

func (s *memoryStore) StartJob(_ context.Context, jobID string, attempt int, worker string, now time.Time) (model.Build, error) {
	started := false
	b := s.change(jobID, func(b *model.Build, j *model.Job) {
		if j.Attempt == attempt && j.Status == model.StatusQueued {
			j.Status, j.Worker, j.Started, b.Status, started = model.StatusRunning, worker, now, model.StatusRunning, true
		}
	})
	if !started {
		return b, model.Errorf(model.CodeLeaseLost, "Not due.")
	}
	return b, nil
}

func (s *memoryStore) MarkLogStored(_ context.Context, jobID string) error {
	s.change(jobID, func(_ *model.Build, j *model.Job) { j.LogStored = true })
	return nil
}

func (s *memoryStore) JobsWithoutLog(context.Context, int) ([]model.Job, error) {
	return s.jobs(func(j model.Job) bool { return j.Status.Terminal() && !j.LogStored }), nil
}

func (s *memoryStore) RunningJobs(context.Context) ([]model.Job, error) {
	return s.jobs(func(j model.Job) bool { return j.Status == model.StatusRunning }), nil
}

func (s *memoryStore) QueuedOrders(context.Context) ([]model.Order, error) {
	return s.orders(func(j model.Job) bool { return j.Status == model.StatusQueued }), nil
}

func (s *memoryStore) QueuedSince(_ context.Context, before time.Time, _ int) ([]model.Order, error) {
	return s.orders(func(j model.Job) bool { return j.Status == model.StatusQueued && j.Created.Before(before) }), nil
}

func (s *memoryStore) MarkPublished(_ context.Context, jobID string, attempt int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marked = append(s.marked, leaseKey(jobID, attempt))
	return nil
}

func (s *memoryStore) Image(_ context.Context, repository, tag string) (model.Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	img, ok := s.images[repository+":"+tag]
	if !ok {
		return img, model.Errorf(model.CodeNotFound, "No such image.")
	}
	return img, nil
}

// memoryQueue keeps frames and gives them out as the real one does.
type memoryQueue struct {
	Queue
	mu        sync.Mutex
	frames    map[string][]model.Frame
	published []model.Order
	canceled  []string
	failing   error // what Frames returns instead of the first frame
	reading   int   // calls of Frames that wait for more
	changed   chan struct{}
}

func newMemoryQueue() *memoryQueue {
	return &memoryQueue{frames: map[string][]model.Frame{}, changed: make(chan struct{})}
}

func (q *memoryQueue) update(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	f()
	close(q.changed)
	q.changed = make(chan struct{})
}

func (q *memoryQueue) write(jobID string, frames ...model.Frame) {
	q.update(func() { q.frames[jobID] = append(q.frames[jobID], frames...) })
}

// waitForReaders waits until n calls of Frames have seen all there is.
func (q *memoryQueue) waitForReaders(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.reading == n
	}, patience, time.Millisecond)
}

func (q *memoryQueue) Publish(_ context.Context, o model.Order) error {
	q.update(func() { q.published = append(q.published, o) })
	return nil
}

func (q *memoryQueue) Cancel(_ context.Context, jobID string) error {
	q.update(func() { q.canceled = append(q.canceled, jobID) })
	return nil
}

func (q *memoryQueue) Frames(ctx context.Context, jobID string, follow bool, f func(model.Frame) error) error {
	for i := 0; ; {
		q.mu.Lock()
		frames, changed, failing := q.frames[jobID], q.changed, q.failing
		q.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case failing != nil:
			return failing
		case i < len(frames):
			if err := f(frames[i]); err != nil {
				return err
			}
			i++
			continue
		case !follow:
			return nil
		}
		q.mu.Lock()
		q.reading++
		q.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		q.mu.Lock()
		q.reading--
		q.mu.Unlock()
	}
}

func (q *memoryQueue) DropFrames(_ context.Context, jobID string) error {
	q.update(func() { delete(q.frames, jobID) })
	return nil
}

func (q *memoryQueue) NextSeq(_ context.Context, jobID string) (uint64, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	next := uint64(1)
	for _, f := range q.frames[jobID] {
		for _, l := range f.Lines {
			next = l.Seq + 1
		}
	}
	return next, nil
}

// memoryLogs keeps logs of jobs that ended.
type memoryLogs struct {
	mu      sync.Mutex
	logs    map[string][]model.LogLine
	failing map[string]error // what adding to a job's log gives
}

func newMemoryLogs() *memoryLogs { return &memoryLogs{logs: map[string][]model.LogLine{}} }

func (l *memoryLogs) Create(jobID string) (LogWriter, error) {
	return &memoryLog{logs: l, jobID: jobID}, nil
}

func (l *memoryLogs) Read(_ context.Context, jobID string, from uint64, f func(model.LogLine) error) error {
	l.mu.Lock()
	lines, ok := l.logs[jobID]
	l.mu.Unlock()
	if !ok {
		return model.Errorf(model.CodeNotFound, "No such log.")
	}
	for _, line := range lines {
		if line.Seq >= from {
			if err := f(line); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *memoryLogs) Remove(string) error { return nil }

type memoryLog struct {
	logs  *memoryLogs
	jobID string
	lines []model.LogLine
}

func (w *memoryLog) Add(l model.LogLine) error {
	if n := len(w.lines); n > 0 && w.lines[n-1].Seq >= l.Seq {
		return fmt.Errorf("line %d after line %d", l.Seq, w.lines[n-1].Seq)
	}
	w.lines = append(w.lines, l)
	return w.logs.failing[w.jobID]
}

func (w *memoryLog) Commit() error {
	w.logs.mu.Lock()
	defer w.logs.mu.Unlock()
	w.logs.logs[w.jobID] = w.lines
	return nil
}

func (w *memoryLog) Abort() {}

// memoryInputs counts what is stored of uploads.
type memoryInputs struct {
	mu      sync.Mutex
	stored  map[string]int64
	failing error
}

func newMemoryInputs() *memoryInputs { return &memoryInputs{stored: map[string]int64{}} }

func (i *memoryInputs) Save(_ context.Context, buildID string, r io.Reader) (string, int64, error) {
	n, err := io.Copy(io.Discard, r)
	i.mu.Lock()
	defer i.mu.Unlock()
	if err == nil {
		err = i.failing
	}
	i.stored[buildID] = n
	return "sha256:upload", n, err
}

func (i *memoryInputs) Remove(buildID string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.stored, buildID)
	return nil
}

func (i *memoryInputs) List(time.Duration) ([]string, error) { return nil, nil }

// memoryRegistry remembers which platforms each tag's index has.
type memoryRegistry struct {
	lost    bool // nothing is there any more
	mu      sync.Mutex
	tags    map[string][]model.ImagePlatform
	notes   map[string]map[string]string
	gone    map[string]bool // platforms whose manifests it has lost
	failing error
}

func newMemoryRegistry() *memoryRegistry {
	return &memoryRegistry{tags: map[string][]model.ImagePlatform{}, notes: map[string]map[string]string{}, gone: map[string]bool{}}
}

func (r *memoryRegistry) PutIndex(_ context.Context, repository string, tags []string, list []model.ImagePlatform, annotations map[string]string) (string, []model.ImagePlatform, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failing != nil {
		return "", nil, r.failing
	}
	kept := slices.DeleteFunc(slices.Clone(list), func(p model.ImagePlatform) bool { return r.gone[p.Platform] })
	for _, t := range tags {
		r.tags[repository+":"+t], r.notes[repository+":"+t] = kept, annotations
	}
	return fmt.Sprintf("sha256:index-of-%d", len(kept)), kept, nil
}

func (r *memoryRegistry) Platform(_ context.Context, _ string, pushed model.Result, _ string) (model.Result, error) {
	return pushed, r.failing
}

func (r *memoryRegistry) Has(context.Context, string, model.Result) bool { return !r.lost }

func (r *memoryRegistry) Push(repository string) (model.Push, error) {
	return model.Push{Repository: "registry/" + repository}, nil
}

func (r *memoryRegistry) Name(repository, tag string) string {
	return "registry/" + repository + ":" + tag
}

// plainNames are simple rules of names.
type plainNames struct{}

func (plainNames) CheckComponent(name string) error {
	if name == "Bad" {
		return model.FieldErrorf(model.CodeNameInvalid, "component", "Bad.")
	}
	return nil
}

func (plainNames) CheckTag(tag string) error {
	if tag == "a/b" {
		return model.FieldErrorf(model.CodeTagInvalid, "tag", "Bad.")
	}
	return nil
}
func (plainNames) IsBuildTag(tag string) bool            { return tag == "build-x" }
func (plainNames) BuildTag(id string) string             { return "build-" + id }
func (plainNames) Repository(name, branch string) string { return name + "-" + branch + "-image" }

// oneCommit resolves every ref to the same commit.
type oneCommit struct{ err error }

func (g oneCommit) Parse(field, raw string) (model.Source, error) {
	if raw == "bad" {
		return model.Source{}, model.FieldErrorf(model.CodeURLInvalid, field, "Bad.")
	}
	return model.Source{URL: raw}, nil
}

func (g oneCommit) Resolve(_ context.Context, _ string, s model.Source) (model.Source, error) {
	s.Commit = "c0ffee"
	return s, g.err
}

// parts are a Service and what it is made of.
type parts struct {
	*Service
	store    *memoryStore
	queue    *memoryQueue
	logs     *memoryLogs
	inputs   *memoryInputs
	registry *memoryRegistry
}

func newParts(builds ...model.Build) *parts {
	p := &parts{store: newMemoryStore(builds...), queue: newMemoryQueue(), logs: newMemoryLogs(), inputs: newMemoryInputs(), registry: newMemoryRegistry()}
	p.Service = New(Config{
		Store: p.store, Queue: p.queue, Logs: p.logs, Inputs: p.inputs, Registry: p.registry, Names: plainNames{}, Git: oneCommit{},
		Log: slog.New(slog.DiscardHandler), Node: "node",
		Limits: Limits{QueuedJobs: 10, QueueTimeout: time.Hour, Timeout: 30 * time.Minute, TimeoutMax: 2 * time.Hour, Compression: model.CompressionGzip},
	})
	return p
}

// newJobs makes a build with a job per platform, all running their first attempt.
func newJobs(id string, platforms ...string) model.Build {
	now := time.Now()
	b := model.Build{
		ID: id, Kind: model.KindImage, Status: model.StatusRunning, Askers: 1, Created: now,
		Image: model.ImageSpec{
			Component: "app", Branch: "main", Tag: "latest", Repository: "app-main-image", Platforms: platforms, Publish: model.PublishEach,
			Timeout: time.Minute,
		},
	}
	for _, p := range platforms {
		b.Jobs = append(b.Jobs, model.Job{
			ID: id + "/" + p, BuildID: id, Platform: p, Status: model.StatusRunning, Attempt: 1, Worker: "node/w", Created: now, Started: now,
		})
	}
	return b
}

// lines makes log lines from their first sequence on.
func lines(from uint64, texts ...string) []model.LogLine {
	var out []model.LogLine
	for i, text := range texts {
		out = append(out, model.LogLine{Seq: from + uint64(i), Text: []byte(text)})
	}
	return out
}

func frame(attempt int, final bool, lines []model.LogLine) model.Frame {
	return model.Frame{Attempt: attempt, Final: final, Lines: lines}
}
