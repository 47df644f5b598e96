package handlers

import (
	"context"
	"strings"
	"sync"
	"time"

	"cooper/internal/model"
)

// fakeComponents answers with its function fields. It keeps what it was asked.
type fakeComponents struct {
	mu        sync.Mutex
	asked     []model.ComponentRequest
	queries   []model.ComponentQuery
	filters   []model.ComponentFilter
	submit    func(model.ComponentRequest) (model.Submission, error)
	component func(context.Context, model.ComponentQuery) (model.ComponentState, error)
	made      func(buildID, platform string) (model.ComponentState, error)
	list      func(model.ComponentFilter) ([]model.Component, error)
	recipe    func(model.ComponentQuery) (model.RecipeReport, error)
	graph     func(model.ComponentQuery) (model.Graph, error)
}

func (f *fakeComponents) SubmitComponent(_ context.Context, r model.ComponentRequest) (model.Submission, error) {
	f.mu.Lock()
	f.asked = append(f.asked, r)
	f.mu.Unlock()
	if f.submit != nil {
		return f.submit(r)
	}
	return model.Submission{Build: componentBuild(model.StatusQueued)}, nil
}

func (f *fakeComponents) note(q model.ComponentQuery) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queries = append(f.queries, q)
}

func (f *fakeComponents) Component(ctx context.Context, q model.ComponentQuery) (model.ComponentState, error) {
	f.note(q)
	if f.component != nil {
		return f.component(ctx, q)
	}
	return model.ComponentState{}, model.Errorf(model.CodeComponentNotFound, "There is no such component.")
}

func (f *fakeComponents) Made(_ context.Context, buildID, platform string) (model.ComponentState, error) {
	if f.made != nil {
		return f.made(buildID, platform)
	}
	return model.ComponentState{}, model.Errorf(model.CodeNotFound, "No such build.")
}

func (f *fakeComponents) Components(_ context.Context, filter model.ComponentFilter) ([]model.Component, error) {
	f.mu.Lock()
	f.filters = append(f.filters, filter)
	f.mu.Unlock()
	if f.list != nil {
		return f.list(filter)
	}
	return nil, nil
}

func (f *fakeComponents) Recipe(_ context.Context, q model.ComponentQuery) (model.RecipeReport, error) {
	f.note(q)
	if f.recipe != nil {
		return f.recipe(q)
	}
	return model.RecipeReport{}, nil
}

func (f *fakeComponents) Graph(_ context.Context, q model.ComponentQuery) (model.Graph, error) {
	f.note(q)
	if f.graph != nil {
		return f.graph(q)
	}
	return model.Graph{}, model.Errorf(model.CodeComponentNotFound, "It was never built.")
}

func (*fakeComponents) Environments() []model.Environment {
	return []model.Environment{
		{Name: "default", Images: map[string]string{"default": "debian:bookworm"}},
		{Name: "debian12-arm64", Platform: "linux/arm64", Images: map[string]string{"go": "golang:1"}, BuildArgs: map[string]string{"A": "b"}},
	}
}

func (*fakeComponents) Name(repository, tag string) string {
	return "localhost/" + repository + ":" + tag
}

// fakeTarballs has what its function fields open.
type fakeTarballs struct {
	open func(model.Tarball, model.Format) (model.Download, error)
	tree func(model.Tarball) (string, error)
	far  bool // not on this machine's disk
}

func (f *fakeTarballs) TreesHere() error {
	if f.far {
		return model.FieldErrorf(model.CodePathNotAvailable, "format", "The tarballs are not on this machine's disk.")
	}
	return nil
}

func (f *fakeTarballs) Open(_ context.Context, t model.Tarball, format model.Format, _ string) (model.Download, error) {
	if f.open != nil {
		return f.open(t, format)
	}
	return model.Download{}, model.Errorf(model.CodeNotFound, "The tarball is gone.")
}

func (f *fakeTarballs) Tree(_ context.Context, t model.Tarball) (string, error) {
	if f.tree != nil {
		return f.tree(t)
	}
	return "", model.Errorf(model.CodePathNotAvailable, "The tarballs are not on this machine's disk.")
}

// zlib is a component that was built.
func zlib() model.Component {
	at := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	return model.Component{
		ID: "019349c2-7f5a-7c31-9d8e-2b6f5a1c4d99", Name: "team/zlib", Tag: "v1.3", Platform: "linux/amd64", CommitTime: at.Add(-time.Hour),
		Source: model.Source{URL: "https://h/zlib.git", Ref: "v1.3", Commit: strings.Repeat("a", 40), Kind: model.RefTag},
		Recipe: model.RecipeCMake, Tarball: model.Tarball{Digest: "sha256:" + strings.Repeat("b", 64), Size: 10, Format: model.FormatTarGz},
		Repository: "components/team/zlib", ImageTag: "v1.3", BuildID: buildID, Created: at,
		Dependencies: []model.Dependency{{Name: "base", Tag: "v1", Platform: "linux/amd64", Commit: strings.Repeat("c", 40), BuildID: buildID, Digest: "sha256:dd"}},
	}
}

// componentBuild is a build of zlib for a platform, whose job stands as it does.
func componentBuild(status model.Status) model.Build {
	b := sampleBuild(status)
	b.Kind, b.Image = model.KindComponent, model.ImageSpec{}
	b.Component = model.ComponentSpec{
		Name: "team/zlib", Tag: "v1.3", Platforms: []string{"linux/amd64"}, Repository: "components/team/zlib", ImageTag: "v1.3",
		Source: zlib().Source, CommitTime: zlib().CommitTime, BuildArgs: map[string]string{"A": "b"}, Timeout: time.Hour, Notes: []string{"A note."},
		Recipe:       model.Recipe{Kind: model.RecipeCMake, File: "CMakeLists.txt", Reason: "It has one.", Target: "component"},
		Dependencies: zlib().Dependencies,
	}
	b.Jobs = b.Jobs[:1]
	b.Jobs[0].WaitsFor = []string{buildID}
	if status == model.StatusSucceeded {
		b.Jobs[0].Result.Tarball = &model.Tarball{Digest: "sha256:ball"}
	}
	return b
}
