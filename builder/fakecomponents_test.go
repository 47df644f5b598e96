package builder

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cooper/internal/model"
)

func (p *parts) plan(t *testing.T, r model.ImageRequest) (model.ImageSpec, string, []*planned, error) {
	t.Helper()
	return p.planImage(t.Context(), r, p.newPlanner(r.Requester, false))
}

// newComponentParts is newParts with the repositories of hosts.
func newComponentParts() *parts {
	p := newParts()
	p.Git = p.hosts
	return p
}

// memoryValues keeps components' values beside the builds.
type memoryValues struct {
	ComponentStore
	store *memoryStore
	mu    sync.Mutex
	all   []model.Component // the newest last
	waits []model.Wait
	from  map[string]model.Source
}

func newMemoryValues(s *memoryStore) *memoryValues {
	return &memoryValues{store: s, from: map[string]model.Source{}}
}

func (v *memoryValues) newest(what string, ok func(model.Component) bool) (model.Component, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range slices.Backward(v.all) {
		if ok(c) {
			return c, nil
		}
	}
	return model.Component{}, model.Errorf(model.CodeNotFound, "No %s.", what)
}

func (v *memoryValues) Component(_ context.Context, name, tag, environment, platform string) (model.Component, error) {
	return v.newest(name, func(c model.Component) bool {
		return c.Name == name && c.Tag == tag && c.Environment == environment && c.Platform == platform
	})
}

func (v *memoryValues) Components(_ context.Context, f model.ComponentFilter) ([]model.Component, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []model.Component
	for _, c := range slices.Backward(v.all) {
		if c.Name == f.Component && (f.Commit == "" || c.Source.Commit == f.Commit) && (f.Digest == "" || c.Tarball.Digest == f.Digest) &&
			c.Environment == *f.Environment && c.Platform == f.Platform {
			out = append(out, c)
		}
	}
	return out, nil
}

func (v *memoryValues) LeftWaits(context.Context, int) ([]string, error) { return nil, nil }

func (v *memoryValues) ComponentOfBuild(_ context.Context, buildID, platform string) (model.Component, error) {
	return v.newest(buildID, func(c model.Component) bool { return c.BuildID == buildID && c.Platform == platform })
}

func (v *memoryValues) ComponentPlatforms(_ context.Context, name, tag, environment string) ([]model.Component, error) {
	byPlatform := map[string]model.Component{}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range v.all {
		if c.Name == name && c.Tag == tag && c.Environment == environment {
			byPlatform[c.Platform] = c
		}
	}
	var out []model.Component
	for _, c := range byPlatform {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b model.Component) int { return strings.Compare(a.Platform, b.Platform) })
	return out, nil
}

func (v *memoryValues) ComponentSource(_ context.Context, name string) (model.Source, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	src, ok := v.from[name]
	if !ok {
		return src, model.Errorf(model.CodeNotFound, "No source of %s.", name)
	}
	return src, nil
}

func (v *memoryValues) LastOfInput(_ context.Context, input string) (model.Build, error) {
	var last model.Build
	for _, b := range v.store.all() {
		for _, j := range b.Jobs {
			if j.Input == input && j.Status.Terminal() && b.ID > last.ID {
				last = b
			}
		}
	}
	if last.ID == "" {
		return last, model.Errorf(model.CodeNotFound, "No such build.")
	}
	return last, nil
}

func (v *memoryValues) Join(_ context.Context, buildID, platform string) (bool, error) {
	v.store.mu.Lock()
	defer v.store.mu.Unlock()
	b := v.store.builds[buildID]
	wanted := !b.Status.Terminal() && b.Askers > 0
	j, _ := b.JobFor(platform)
	joined := j.Status == model.StatusSucceeded || wanted && !j.Status.Terminal()
	if wanted && joined {
		b.Askers++
		v.store.builds[buildID] = b
	}
	return joined, nil
}

// pending are the waits of jobs that are not over.
func (v *memoryValues) pending() []model.Wait {
	v.mu.Lock()
	dropped := slices.Clone(v.waits) // those that have ended
	v.mu.Unlock()
	var out []model.Wait
	builds := map[string]model.Build{}
	for _, b := range v.store.all() {
		builds[b.ID] = b
	}
	for _, b := range builds {
		for _, j := range b.Jobs {
			for _, id := range j.WaitsFor {
				w := model.Wait{JobID: j.ID, BuildID: id}
				if !slices.Contains(dropped, w) && !j.Status.Terminal() {
					needed, _ := builds[id].JobFor(j.Platform)
					w.Status = needed.Status
					out = append(out, w)
				}
			}
		}
	}
	return out
}

func (v *memoryValues) EndedWaits(context.Context, int) ([]model.Wait, error) {
	return slices.DeleteFunc(v.pending(), func(w model.Wait) bool { return !w.Status.Terminal() }), nil
}

func (v *memoryValues) EndWait(_ context.Context, jobID, buildID string) (left int, abandoned bool, err error) {
	w := model.Wait{JobID: jobID, BuildID: buildID}
	v.mu.Lock()
	again := slices.Contains(v.waits, w)
	v.waits = append(v.waits, w)
	v.mu.Unlock()
	v.store.mu.Lock()
	if b := v.store.builds[buildID]; !again && !b.Status.Terminal() && b.Askers > 0 {
		b.Askers--
		v.store.builds[buildID] = b
		abandoned = b.Askers == 0
	}
	v.store.mu.Unlock()
	for _, w := range v.pending() {
		if w.JobID == jobID {
			left++
		}
	}
	return left, abandoned, nil
}

func (v *memoryValues) DropWaits(_ context.Context, jobID string) ([]string, error) {
	b, err := v.store.BuildOfJob(context.Background(), jobID)
	if err != nil {
		return nil, err
	}
	j, _ := jobOf(b, jobID)
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []string
	for _, id := range j.WaitsFor {
		w := model.Wait{JobID: jobID, BuildID: id}
		if !slices.Contains(v.waits, w) {
			v.waits = append(v.waits, w)
			out = append(out, id)
		}
	}
	return out, nil
}

// memoryTarballs has every tarball but those that are gone, and finds some corrupt when it reads them.
type memoryTarballs struct {
	Tarballs
	gone, corrupt map[string]bool
}

func (m *memoryTarballs) Has(_ context.Context, t model.Tarball) (bool, error) {
	return !m.gone[t.Digest], nil
}

func (m *memoryTarballs) Check(_ context.Context, t model.Tarball) error {
	if m.gone[t.Digest] {
		return model.Errorf(model.CodeNotFound, "Gone.")
	}
	if m.corrupt[t.Digest] {
		return model.Errorf(model.CodeArtifactCorrupt, "Damaged.")
	}
	return nil
}

func (r *memoryRegistry) PutComponent(_ context.Context, c model.Component) (model.Descriptor, error) {
	return model.Descriptor{Digest: "sha256:manifest-of-" + c.Tarball.Digest}, r.failing
}

func (r *memoryRegistry) ContextName(repository, digest string) string {
	return "registry/" + repository + "@" + digest
}

// gitHosts has repositories by URL: commits by ref, and by commit what its recipe needs.
type gitHosts struct {
	Git
	mu       sync.Mutex
	refs     map[string]string // "url ref" to commit
	kinds    map[string]model.RefKind
	needs    map[string][]model.ComponentRef // by commit
	broken   map[string]error                // recipes, by commit
	resolved int
	read     int
	down     error
}

func newGitHosts() *gitHosts {
	return &gitHosts{refs: map[string]string{}, kinds: map[string]model.RefKind{}, needs: map[string][]model.ComponentRef{}, broken: map[string]error{}}
}

// tag points a tag at a commit that needs the components.
func (g *gitHosts) tag(url, ref, commit string, needs ...model.ComponentRef) {
	g.refs[url+" "+ref], g.kinds[url+" "+ref], g.needs[commit] = commit, model.RefTag, needs
}

func (g *gitHosts) branch(url, ref, commit string) {
	g.refs[url+" "+ref], g.kinds[url+" "+ref] = commit, model.RefBranch
}

func (g *gitHosts) Parse(_, raw string) (model.Source, error) { return model.Source{URL: raw}, nil }

func (g *gitHosts) ParseRepository(_, raw string) (model.Source, error) {
	return model.Source{URL: raw}, nil
}

func (g *gitHosts) CheckSubdir(_, subdir string) (string, error) { return subdir, nil }

func (g *gitHosts) Resolve(_ context.Context, field string, s model.Source) (model.Source, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.resolved++
	if g.down != nil {
		return s, g.down
	}
	s.Commit = g.refs[s.URL+" "+s.Ref]
	if s.Commit == "" {
		return s, model.FieldErrorf(model.CodeRefNotFound, field, "The repository has no branch or tag %q.", s.Ref)
	}
	s.Kind = g.kinds[s.URL+" "+s.Ref]
	return s, nil
}

// commitTree is a commit without files.
type commitTree struct {
	Tree
	commit string
}

func (commitTree) Time() time.Time { return time.Unix(1700000000, 0) }
func (commitTree) Close() error    { return nil }

func (g *gitHosts) Tree(_ context.Context, s model.Source) (Tree, error) {
	return commitTree{commit: s.Commit}, nil
}

func (g *gitHosts) Prefetch(context.Context, model.Source) error { return nil }

func (g *gitHosts) Looked() []string { return nil }

func (g *gitHosts) Find(_ context.Context, tree Tree, name string, _ model.Environment) (model.Recipe, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.read++
	commit := tree.(commitTree).commit
	text := "FROM scratch AS component\n"
	for _, n := range g.needs[commit] {
		text += fmt.Sprintf("COPY --from=%s / /\n", n.Name)
	}
	return model.Recipe{Kind: model.RecipeStage, Reason: "It is " + name + ".", Dockerfile: text, DependsOn: g.needs[commit]}, g.broken[commit]
}

// succeedNow ends the jobs of a build for the platforms, or all, with a tarball, as a worker's outcome would.
func (p *parts) succeedNow(t *testing.T, buildID string, platforms ...string) {
	t.Helper()
	b, err := p.store.Build(t.Context(), buildID)
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range b.Jobs {
		if len(platforms) > 0 && !slices.Contains(platforms, j.Platform) {
			continue
		}
		r := model.Result{Tarball: &model.Tarball{Digest: "sha256:of-" + j.ID, Size: 1, Format: model.FormatTarGz}}
		p.values.mu.Lock()
		p.values.all = append(p.values.all, componentOf(b, j, r))
		p.values.mu.Unlock()
		o := model.Outcome{JobID: j.ID, BuildID: buildID, Attempt: j.Attempt, Worker: j.Worker, Status: model.StatusSucceeded, Result: &r, Time: time.Now()}
		if err := p.end(t.Context(), o, nil); err != nil {
			t.Fatal(err)
		}
	}
	p.goOn(t)
}

// failNow ends the jobs of a build for the platforms, or all, as failed.
func (p *parts) failNow(t *testing.T, buildID string, code model.Code, platforms ...string) {
	t.Helper()
	b, err := p.store.Build(t.Context(), buildID)
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range b.Jobs {
		if len(platforms) > 0 && !slices.Contains(platforms, j.Platform) {
			continue
		}
		f := model.Failure{Code: code, Message: "It failed."}
		o := model.Outcome{JobID: j.ID, BuildID: buildID, Attempt: j.Attempt, Worker: j.Worker, Status: model.StatusFailed, Failure: &f, Time: time.Now()}
		if err := p.end(t.Context(), o, nil); err != nil {
			t.Fatal(err)
		}
	}
	p.goOn(t)
}

// goOn does what the loops would.
func (p *parts) goOn(t *testing.T) {
	t.Helper()
	p.background.Wait()
	if err := p.sweepWaits(t.Context()); err != nil {
		t.Fatal(err)
	}
}
