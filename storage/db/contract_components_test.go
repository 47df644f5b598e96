package db

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

func testComponentBuildWhole(t *testing.T, d *DB) {
	b := newComponent(t, "zlib", "feature/x", amd64, arm64)
	b.Component.Dependencies = []model.Dependency{{Name: "cmake", Tag: "v3", Platform: amd64, Commit: commitOf("c"), BuildID: "b"}}
	made := create(t, d, b)
	require.Equal(t, b.Component, made.Component)
	require.Zero(t, made.Image)
	read, err := d.Build(t.Context(), b.ID)
	require.NoError(t, err)
	require.Equal(t, made, read)
	page, err := d.Builds(t.Context(), model.BuildFilter{Kind: model.KindComponent, Component: "zlib"})
	require.NoError(t, err)
	made.Dockerfile = ""
	require.Equal(t, []model.Build{made}, page)

	got, err := d.InFlight(t.Context(), "components/zlib", "i-feature/x", arm64)
	require.NoError(t, err)
	require.Equal(t, read, got)
	_, err = d.InFlight(t.Context(), "components/zlib", "feature/x", arm64)
	requireCode(t, model.CodeNotFound, err)
	got, err = d.BuildOfJob(t.Context(), b.Jobs[1].ID)
	require.NoError(t, err)
	require.Equal(t, read, got)
}

func testComponentValue(t *testing.T, d *DB) {
	b := create(t, d, newComponent(t, "zlib", "v1", amd64, arm64))
	_, err := d.Component(t.Context(), "zlib", "v1", "", amd64)
	requireCode(t, model.CodeNotFound, err)
	start(t, d, b.Jobs[0].ID, 1)
	o := tarball(b.Jobs[0], "sha256:t")
	o.Result.Dependencies = []model.Dependency{{Name: "cmake", Tag: "v3", Platform: amd64, Commit: commitOf("c"), BuildID: "b", Digest: "sha256:c"}}
	_, err = d.FinishJob(t.Context(), o, nil)
	require.NoError(t, err)

	spec := b.Component
	want := model.Component{
		ID: b.Jobs[0].ID, Name: "zlib", Tag: "v1", Platform: amd64, Source: spec.Source, CommitTime: spec.CommitTime,
		Recipe: model.RecipeMake, Tarball: *o.Result.Tarball, Repository: spec.Repository, ImageTag: spec.ImageTag,
		Manifest: o.Result.Manifest, BuildID: b.ID, Dependencies: o.Result.Dependencies, Created: stored(day.Add(time.Minute)),
	}
	for name, read := range map[string]func() (model.Component, error){
		"newest":   func() (model.Component, error) { return d.Component(t.Context(), "zlib", "v1", "", amd64) },
		"of build": func() (model.Component, error) { return d.ComponentOfBuild(t.Context(), b.ID, amd64) },
	} {
		got, err := read()
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)
	}
	for name, err := range map[string]error{
		"name":        second(d.Component(t.Context(), "zlib2", "v1", "", amd64)),
		"tag":         second(d.Component(t.Context(), "zlib", "v2", "", amd64)),
		"environment": second(d.Component(t.Context(), "zlib", "v1", "debian", amd64)),
		"platform":    second(d.Component(t.Context(), "zlib", "v1", "", arm64)),
		"build":       second(d.ComponentOfBuild(t.Context(), b.ID, arm64)),
	} {
		requireCode(t, model.CodeNotFound, err)
		require.NotEmpty(t, model.AsError(err).Message, name)
	}

	_, err = d.FinishJob(t.Context(), o, nil)
	requireCode(t, model.CodeLeaseLost, err)
	all, err := d.Components(t.Context(), model.ComponentFilter{History: true})
	require.NoError(t, err)
	require.Equal(t, []model.Component{want}, all, "an outcome that comes twice is one value")
}

func second(_ model.Component, err error) error { return err }

// testComponentNone ends jobs that make no value.
func testComponentNone(t *testing.T, d *DB) {
	b := create(t, d, newComponent(t, "zlib", "v1", amd64, arm64))
	image := create(t, d, newBuild(t, amd64))
	for _, j := range []model.Job{b.Jobs[0], image.Jobs[0]} {
		start(t, d, j.ID, 1)
		_, err := d.FinishJob(t.Context(), outcome(j, model.StatusSucceeded), nil)
		require.NoError(t, err)
	}
	start(t, d, b.Jobs[1].ID, 1)
	failed := tarball(b.Jobs[1], "sha256:t")
	failed.Status = model.StatusFailed
	_, err := d.FinishJob(t.Context(), failed, nil)
	require.NoError(t, err)
	all, err := d.Components(t.Context(), model.ComponentFilter{History: true})
	require.NoError(t, err)
	require.Empty(t, all)
}

// testComponentMoves has a tag move, be built again, and move back.
func testComponentMoves(t *testing.T, d *DB) {
	one, two := commitOf("one"), commitOf("two")
	var all []model.Component
	for _, c := range []struct{ commit, previous string }{{one, ""}, {one, ""}, {two, one}, {two, ""}, {one, two}} {
		made := makeComponent(t, d, "zlib", "main", "", amd64, c.commit)
		require.Equal(t, c.previous, made.PreviousCommit)
		got, err := d.Component(t.Context(), "zlib", "main", "", amd64)
		require.NoError(t, err)
		require.Equal(t, made, got)
		all = append([]model.Component{made}, all...)
	}
	require.Empty(t, makeComponent(t, d, "zlib", "main", "", arm64, two).PreviousCommit, "another platform")
	require.Empty(t, makeComponent(t, d, "zlib", "main", "debian", amd64, two).PreviousCommit, "another environment")
	require.Empty(t, makeComponent(t, d, "zlib", "next", "", amd64, two).PreviousCommit, "another tag")

	none := ""
	kept, err := d.Components(t.Context(), model.ComponentFilter{Component: "zlib", Tag: "main", Platform: amd64, Environment: &none, History: true})
	require.NoError(t, err)
	require.Equal(t, all, kept, "every value is kept")
}

// testComponentLate ends the jobs of three requests in every order: the last one asked for is the newest.
func testComponentLate(t *testing.T, d *DB) {
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		var jobs []model.Job
		tag := newID(t)
		for _, commit := range []string{"a", "b", "c"} {
			b := newComponent(t, "zlib", tag, amd64)
			b.Component.Source.Commit = commitOf(commit)
			jobs = append(jobs, create(t, d, b).Jobs[0])
		}
		for _, i := range order {
			succeedComponent(t, d, jobs[i], "sha256:t")
			requireNewest(t, d)
		}
		got, err := d.Components(t.Context(), model.ComponentFilter{Tag: tag, History: true})
		require.NoError(t, err)
		require.Len(t, got, 3)
		require.Equal(t, []string{jobs[2].ID, jobs[1].ID, jobs[0].ID}, []string{got[0].ID, got[1].ID, got[2].ID})
		require.Equal(t, []string{commitOf("b"), commitOf("a"), ""}, []string{got[0].PreviousCommit, got[1].PreviousCommit, got[2].PreviousCommit})
	}
}

// testComponentRace ends many jobs of one tag at once.
func testComponentRace(t *testing.T, d *DB) {
	const n = 24
	var jobs []model.Job
	for i := range n {
		b := newComponent(t, "zlib", "main", amd64)
		b.Component.Source.Commit = commitOf(string(rune('a' + i%5)))
		b = create(t, d, b)
		start(t, d, b.Jobs[0].ID, 1)
		jobs = append(jobs, b.Jobs[0])
	}
	errs := make([]error, 2*n)
	var wg sync.WaitGroup
	for i := range errs { // each outcome comes twice
		wg.Go(func() { _, errs[i] = d.FinishJob(t.Context(), tarball(jobs[i%n], "sha256:t"), nil) })
	}
	wg.Wait()
	for i := range n {
		codes := []model.Code{model.CodeOf(errs[i]), model.CodeOf(errs[n+i])}
		require.ElementsMatch(t, []model.Code{"", model.CodeLeaseLost}, codes)
	}
	got, err := d.Component(t.Context(), "zlib", "main", "", amd64)
	require.NoError(t, err)
	require.Equal(t, jobs[n-1].ID, got.ID)
}

func testComponentPlatforms(t *testing.T, d *DB) {
	makeComponent(t, d, "zlib", "v1", "", arm64, commitOf("old"))
	arm := makeComponent(t, d, "zlib", "v1", "", arm64, commitOf("new"))
	amd := makeComponent(t, d, "zlib", "v1", "", amd64, commitOf("old"))
	makeComponent(t, d, "zlib", "v1", "debian", "linux/riscv64", commitOf("old"))
	makeComponent(t, d, "zlib", "v2", "", "linux/riscv64", commitOf("old"))
	got, err := d.ComponentPlatforms(t.Context(), "zlib", "v1", "")
	require.NoError(t, err)
	require.Equal(t, []model.Component{amd, arm}, got)
	got, err = d.ComponentPlatforms(t.Context(), "zlib", "v3", "")
	require.NoError(t, err)
	require.Empty(t, got)
}

// testComponentsFilter holds each filter, and pairs of them, against a filter written in Go; whole and page by page.
func testComponentsFilter(t *testing.T, d *DB) {
	var all []model.Component
	for i := range 48 {
		c := makeComponent(t, d, []string{"zlib", "curl"}[i%2], []string{"main", "v1", "v2"}[i/2%3], []string{"", "debian"}[i/3%2],
			[]string{amd64, arm64}[i/4%2], commitOf([]string{"a", "b"}[i/24]))
		all = append([]model.Component{c}, all...)
	}
	newest := map[string]bool{}
	seen := map[[4]string]bool{}
	for _, c := range all {
		key := [4]string{c.Name, c.Tag, c.Environment, c.Platform}
		newest[c.ID] = !seen[key]
		seen[key] = true
	}
	none, debian := "", "debian"
	parts := []model.ComponentFilter{
		{},
		{Component: "zlib"},
		{Component: "none"},
		{Tag: "v1"},
		{Platform: arm64},
		{Platform: "linux/s390x"},
		{Environment: &none},
		{Environment: &debian},
		{Commit: commitOf("a")},
		{Digest: all[40].Tarball.Digest},
		{History: true},
		{Before: all[9].ID},
	}
	for _, a := range parts {
		for _, b := range parts {
			for _, c := range parts {
				f := mergeComponents(mergeComponents(a, b), c)
				f.Limit = 100
				want := chooseComponents(all, newest, f)
				got, err := d.Components(t.Context(), f)
				require.NoError(t, err)
				require.Equal(t, want, got, "%+v", f)
				if f.Before == "" {
					require.Equal(t, want, pagesOf(t, d, f), "%+v", f)
				}
			}
		}
	}
}

// pagesOf reads all that the filter chooses, a few at a time.
func pagesOf(t *testing.T, d *DB, f model.ComponentFilter) []model.Component {
	t.Helper()
	all := []model.Component{}
	for f.Limit = 7; ; f.Before = all[len(all)-1].ID {
		page, err := d.Components(t.Context(), f)
		require.NoError(t, err)
		if all = append(all, page...); len(page) == 0 {
			return all
		}
	}
}

func mergeComponents(a, b model.ComponentFilter) model.ComponentFilter {
	for _, s := range []struct{ to, from *string }{
		{&a.Component, &b.Component},
		{&a.Tag, &b.Tag},
		{&a.Platform, &b.Platform},
		{&a.Commit, &b.Commit},
		{&a.Digest, &b.Digest},
		{&a.Before, &b.Before},
	} {
		if *s.from != "" {
			*s.to = *s.from
		}
	}
	if b.Environment != nil {
		a.Environment = b.Environment
	}
	a.History = a.History || b.History
	return a
}

func chooseComponents(all []model.Component, newest map[string]bool, f model.ComponentFilter) []model.Component {
	return slices.DeleteFunc(slices.Clone(all), func(c model.Component) bool {
		return (f.Component != "" && c.Name != f.Component) || (f.Tag != "" && c.Tag != f.Tag) ||
			(f.Platform != "" && c.Platform != f.Platform) || (f.Environment != nil && c.Environment != *f.Environment) ||
			(f.Commit != "" && c.Source.Commit != f.Commit) || (f.Digest != "" && c.Tarball.Digest != f.Digest) ||
			(!f.History && !newest[c.ID]) || (f.Before != "" && c.ID >= f.Before)
	})
}

func testComponentSource(t *testing.T, d *DB) {
	_, err := d.ComponentSource(t.Context(), "zlib")
	requireCode(t, model.CodeNotFound, err)
	first := newComponent(t, "zlib", "v1", amd64)
	create(t, d, first)
	from := func() model.Source {
		t.Helper()
		s, err := d.ComponentSource(t.Context(), "zlib")
		require.NoError(t, err)
		return s
	}
	require.Equal(t, model.Source{URL: "https://example.com/zlib.git"}, from(), "as soon as it is asked for")

	other := newComponent(t, "zlib", "v2", amd64)
	other.Component.Source.URL, other.Component.Source.Subdir = "https://example.org/z.git", "lib"
	made := create(t, d, other)
	require.Equal(t, model.Source{URL: "https://example.com/zlib.git"}, from(), "what is known stays while another is only asked for")
	succeedComponent(t, d, made.Jobs[0], "sha256:other")
	require.Equal(t, model.Source{URL: "https://example.org/z.git", Subdir: "lib"}, from(), "it was built from there")

	refused := newComponent(t, "png", "v3", amd64)
	_, _, err = d.CreateBuild(t.Context(), refused, nil, 1)
	requireCode(t, model.CodeQueueFull, err)
	_, err = d.ComponentSource(t.Context(), "png")
	requireCode(t, model.CodeNotFound, err)
}

func testTarballUsed(t *testing.T, d *DB) {
	for range 2 {
		old := create(t, d, newComponent(t, "zlib", "v1", amd64))
		succeedComponent(t, d, old.Jobs[0], "sha256:old")
	}
	newer := create(t, d, newComponent(t, "zlib", "v1", amd64))
	succeedComponent(t, d, newer.Jobs[0], "sha256:new")
	for digest, want := range map[string]bool{"sha256:old": true, "sha256:new": true, "sha256:none": false, "": false} {
		used, err := d.TarballUsed(t.Context(), digest)
		require.NoError(t, err)
		require.Equal(t, want, used, digest)
	}
}

func testOfInput(t *testing.T, d *DB) {
	b := newComponent(t, "zlib", "v1", amd64)
	last := func() (model.Build, error) { return d.LastOfInput(t.Context(), b.Jobs[0].Input) }
	var ended model.Build
	for _, s := range []model.Status{model.StatusFailed, model.StatusCanceled, model.StatusSucceeded} {
		b.ID, b.Jobs[0].ID = newID(t), newID(t)
		made := create(t, d, b)
		got, err := last()
		if ended.ID == "" {
			requireCode(t, model.CodeNotFound, err)
		} else {
			require.Equal(t, ended, got, "one in flight is not the last that ended")
		}
		start(t, d, made.Jobs[0].ID, 1)
		ended, err = d.FinishJob(t.Context(), outcome(made.Jobs[0], s), nil)
		require.NoError(t, err)
		got, err = last()
		require.NoError(t, err)
		require.Equal(t, ended, got)
	}
}

// testOfInputOfOnePlatform checks that a platform that has ended is found while the others of its build have not.
func testOfInputOfOnePlatform(t *testing.T, d *DB) {
	b := create(t, d, newComponent(t, "zlib", "v1", amd64, arm64))
	start(t, d, b.Jobs[0].ID, 1)
	_, err := d.FinishJob(t.Context(), outcome(b.Jobs[0], model.StatusFailed), nil)
	require.NoError(t, err)
	got, err := d.LastOfInput(t.Context(), b.Jobs[0].Input)
	require.NoError(t, err)
	require.Equal(t, b.ID, got.ID)
	require.False(t, got.Status.Terminal())
	_, err = d.LastOfInput(t.Context(), b.Jobs[1].Input)
	requireCode(t, model.CodeNotFound, err)
	create(t, d, newBuild(t, amd64))
	_, err = d.LastOfInput(t.Context(), "")
	requireCode(t, model.CodeNotFound, err)
}

func testJoin(t *testing.T, d *DB) {
	_, err := d.Join(t.Context(), newID(t), amd64)
	requireCode(t, model.CodeNotFound, err)
	b := create(t, d, newComponent(t, "zlib", "v1", amd64, arm64))
	joins := func(platform string, joined bool, askers int) {
		t.Helper()
		got, err := d.Join(t.Context(), b.ID, platform)
		require.NoError(t, err)
		require.Equal(t, joined, got)
		now, err := d.Build(t.Context(), b.ID)
		require.NoError(t, err)
		require.Equal(t, askers, now.Askers)
	}
	joins(amd64, true, 2)
	joins("linux/s390x", false, 2)
	succeedComponent(t, d, b.Jobs[0], "sha256:b")
	joins(amd64, true, 3)
	joins(arm64, true, 4)
	for range 4 {
		_, err := d.Leave(t.Context(), b.ID)
		require.NoError(t, err)
	}
	joins(arm64, false, 0) // a build that is being stopped is not taken up again
	joins(amd64, true, 0)
	_, err = d.CancelQueued(t.Context(), b.ID, model.Failure{Code: model.CodeCanceled, Message: "no"}, day)
	require.NoError(t, err)
	joins(arm64, false, 0)
	joins(amd64, true, 0)

	b = create(t, d, newComponent(t, "zlib", "v2", amd64, arm64))
	start(t, d, b.Jobs[0].ID, 1)
	_, err = d.FinishJob(t.Context(), outcome(b.Jobs[0], model.StatusFailed), nil)
	require.NoError(t, err)
	joins(amd64, false, 1) // nobody waits for what has failed
}
