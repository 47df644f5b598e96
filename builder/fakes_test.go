package builder

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"cooper/internal/model"
)

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

// The parts here and in the files beside this one are in memory, and only as good as the tests of this package need: what
// the real ones promise is tested where they live, and all of them together in cmd/cooper. A method that is not here is
// not called.

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

func (r *memoryRegistry) Digest(_ context.Context, repository, tag string) (string, error) {
	if _, ok := r.tags[repository+":"+tag]; !ok {
		return "", model.Errorf(model.CodeNotFound, "no such tag")
	}
	return "sha256:index", nil
}

func (r *memoryRegistry) Push(repository string, _ time.Duration) (model.Push, error) {
	return model.Push{Repository: "registry/" + repository}, r.failing
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
func (plainNames) BuildOfTag(tag string) string          { return tag[len("build-"):] }
func (plainNames) Repository(name, branch string) string { return name + "-" + branch + "-image" }

func (plainNames) ComponentRepository(name string) string      { return "components/" + name }
func (plainNames) ComponentTag(ref, environment string) string { return ref + environment }

// oneCommit resolves every ref to the same commit.
type oneCommit struct {
	Git
	err error
}

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
	values   *memoryValues
	tarballs *memoryTarballs
	hosts    *gitHosts
}

func newParts(builds ...model.Build) *parts {
	p := &parts{
		store: newMemoryStore(builds...), queue: newMemoryQueue(), logs: newMemoryLogs(), inputs: newMemoryInputs(), registry: newMemoryRegistry(),
		tarballs: &memoryTarballs{gone: map[string]bool{}, corrupt: map[string]bool{}}, hosts: newGitHosts(),
	}
	p.values = newMemoryValues(p.store)
	p.Service = New(Config{
		Store: p.store, Queue: p.queue, Logs: p.logs, Inputs: p.inputs, Registry: p.registry, Names: plainNames{}, Git: oneCommit{Git: p.hosts},
		Values: p.values, Tarballs: p.tarballs, ComponentImages: p.registry, Recipes: p.hosts,
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
