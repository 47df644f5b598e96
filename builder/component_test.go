package builder

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

const (
	zlibURL = "https://host/zlib.git"
	pngURL  = "https://host/png.git"
)

// ask is a query that may build.
func ask(edit func(*model.ComponentQuery)) model.ComponentQuery {
	q := model.ComponentQuery{Component: "zlib", Tag: "v1", Architecture: "arm64", URL: zlibURL, MayBuild: true}
	if edit != nil {
		edit(&q)
	}
	return q
}

func TestAMissIsBuiltAndThenAHit(t *testing.T) {
	p := newComponentParts()
	p.hosts.tag(zlibURL, "v1", "c1")
	miss, err := p.Component(t.Context(), ask(nil))
	require.NoError(t, err)
	require.NotNil(t, miss.Build)
	require.Equal(t, "c1", miss.Build.Component.Source.Commit)
	require.Equal(t, "registry/components/zlib:v1", miss.ImageName)
	again, err := p.Component(t.Context(), ask(nil))
	require.NoError(t, err)
	require.Equal(t, miss.Build.ID, again.Build.ID, "an equal request joins")
	p.succeedNow(t, miss.Build.ID)

	p.values.from["zlib"] = model.Source{URL: zlibURL}
	asked := p.hosts.resolved
	hit, err := p.Component(t.Context(), ask(func(q *model.ComponentQuery) { q.URL = "" }))
	require.NoError(t, err)
	require.Equal(t, miss.Build.ID, hit.Component.BuildID)
	require.Equal(t, asked, p.hosts.resolved, "a tag's value answers without its git server")

	made, err := p.Made(t.Context(), miss.Build.ID, arm)
	require.NoError(t, err)
	require.Equal(t, hit.Component.Tarball, made.Component.Tarball)
}

func TestABranchIsResolvedAfresh(t *testing.T) {
	p := newComponentParts()
	p.hosts.branch(zlibURL, "main", "c1")
	main := ask(func(q *model.ComponentQuery) { q.Tag = "main" })
	first, err := p.Component(t.Context(), main)
	require.NoError(t, err)
	p.succeedNow(t, first.Build.ID)
	same, err := p.Component(t.Context(), main)
	require.NoError(t, err)
	require.NotNil(t, same.Component)
	p.hosts.branch(zlibURL, "main", "c2")
	moved, err := p.Component(t.Context(), main)
	require.NoError(t, err)
	require.Equal(t, "c2", moved.Build.Component.Source.Commit)

	kept, err := p.Component(t.Context(), ask(func(q *model.ComponentQuery) { q.Tag, q.Commit = "main", "c1" }))
	require.NoError(t, err)
	require.Equal(t, first.Build.ID, kept.Component.BuildID, "the earlier value is kept")
}

func TestWhatIsAskedForIsWhatIsGiven(t *testing.T) {
	p := newComponentParts()
	p.hosts.tag(zlibURL, "v1", "c1")
	p.hosts.tag("https://other/zlib.git", "v1", "d1")
	first, err := p.Component(t.Context(), ask(nil))
	require.NoError(t, err)
	p.succeedNow(t, first.Build.ID)

	other, err := p.Component(t.Context(), ask(func(q *model.ComponentQuery) { q.URL = "https://other/zlib.git" }))
	require.NoError(t, err)
	require.Equal(t, "d1", other.Build.Component.Source.Commit, "another repository's component is not this one")

	p.tarballs.gone["sha256:of-"+first.Build.Jobs[0].ID] = true
	lost, err := p.Component(t.Context(), ask(nil))
	require.NoError(t, err)
	require.NotNil(t, lost.Build, "bytes that are lost are made again")

	_, err = p.Component(t.Context(), ask(func(q *model.ComponentQuery) { q.Architecture, q.MayBuild = "amd64", false }))
	require.Equal(t, model.CodeScopeInsufficient, model.CodeOf(err))
	_, err = p.Component(t.Context(), ask(func(q *model.ComponentQuery) { q.Component, q.URL = "nobody", "" }))
	require.Equal(t, model.CodeComponentNotFound, model.CodeOf(err))
}

func TestFailuresThatLastAreRemembered(t *testing.T) {
	for _, test := range []struct {
		code  model.Code
		lasts bool
	}{{model.CodeStepFailed, true}, {model.CodePushFailed, false}, {model.CodeBuilderUnavailable, false}, {model.CodeBaseImageNotFound, false}, {model.CodeCanceled, false}} {
		t.Run(string(test.code), func(t *testing.T) {
			p := newComponentParts()
			p.hosts.tag(zlibURL, "v1", "c1")
			first, err := p.Component(t.Context(), ask(nil))
			require.NoError(t, err)
			p.failNow(t, first.Build.ID, test.code)
			again, err := p.Component(t.Context(), ask(nil))
			require.NoError(t, err)
			if !test.lasts {
				require.NotEqual(t, first.Build.ID, again.Build.ID)
				return
			}
			require.Equal(t, first.Build.ID, again.Failed.ID)
			require.Equal(t, test.code, again.Failed.Error.Code)
			retried, err := p.Component(t.Context(), ask(func(q *model.ComponentQuery) { q.Retry = true }))
			require.NoError(t, err)
			require.NotEqual(t, first.Build.ID, retried.Build.ID)
			p.hosts.tag(zlibURL, "v1", "c2")
			fixed, err := p.Component(t.Context(), ask(func(q *model.ComponentQuery) { q.Architecture = "amd64" }))
			require.NoError(t, err)
			require.NotNil(t, fixed.Build, "another commit is another input")
		})
	}
}

func TestRefusalsThatLastAreRemembered(t *testing.T) {
	p := newComponentParts()
	_, err := p.Component(t.Context(), ask(nil))
	require.Equal(t, model.CodeRefNotFound, model.CodeOf(err))
	p.hosts.tag(zlibURL, "v1", "c1")
	p.hosts.broken["c1"] = model.Errorf(model.CodeRecipeInvalid, "component.hcl:1,1: no.")
	_, err = p.Component(t.Context(), ask(nil))
	require.Equal(t, model.CodeRefNotFound, model.CodeOf(err))
	require.Contains(t, err.Error(), "retry=1")
	require.Equal(t, 1, p.hosts.resolved)
	for range 3 {
		_, err = p.Component(t.Context(), ask(func(q *model.ComponentQuery) { q.Retry = p.hosts.read == 0 }))
		require.Equal(t, model.CodeRecipeInvalid, model.CodeOf(err))
	}
	require.Equal(t, 1, p.hosts.read)

	p.hosts.down = model.Errorf(model.CodeGitUnreachable, "Gone.")
	other := ask(func(q *model.ComponentQuery) { q.Tag = "v2" })
	for range 2 {
		_, err = p.Component(t.Context(), other)
		require.Equal(t, model.CodeGitUnreachable, model.CodeOf(err), "what the network did is not remembered")
	}
}

func TestDependenciesAreBuiltFirst(t *testing.T) {
	p := newComponentParts()
	p.hosts.tag(zlibURL, "v1", "z1")
	p.hosts.tag(pngURL, "v2", "p2", model.ComponentRef{Name: "zlib", Tag: "v1", URL: zlibURL})
	p.hosts.tag("https://host/app.git", "v3", "a3",
		model.ComponentRef{Name: "png", Tag: "v2", URL: pngURL}, model.ComponentRef{Name: "zlib", Tag: "v1"})
	p.values.from["zlib"] = model.Source{URL: zlibURL}
	app, err := p.Component(t.Context(), ask(func(q *model.ComponentQuery) {
		q.Component, q.Tag, q.URL = "app", "v3", "https://host/app.git"
	}))
	require.NoError(t, err)
	p.background.Wait()
	builds := p.store.all()
	require.Len(t, builds, 3, "what is needed twice is built once")
	at := func(name string) model.Build {
		return builds[slices.IndexFunc(builds, func(b model.Build) bool { return b.Component.Name == name })]
	}
	zlib, png := at("zlib"), at("png")
	require.Equal(t, 2, zlib.Askers, "both that need it want it")
	require.Equal(t, []string{zlib.ID}, png.Jobs[0].WaitsFor)
	require.Equal(t, []string{png.ID, zlib.ID}, app.Build.Jobs[0].WaitsFor)
	require.Equal(t, []string{zlib.ID}, p.queue.publishedBuilds())

	p.succeedNow(t, zlib.ID)
	require.Equal(t, []string{zlib.ID, png.ID}, p.queue.publishedBuilds())
	p.succeedNow(t, png.ID)
	require.Equal(t, []string{zlib.ID, png.ID, app.Build.ID}, p.queue.publishedBuilds())
	names, used, err := p.contexts(t.Context(), *app.Build, arm)
	require.NoError(t, err)
	require.Equal(t, "registry/components/zlib@sha256:manifest-of-sha256:of-"+zlib.Jobs[0].ID, names["zlib"])
	require.Len(t, used, 2)
	require.Equal(t, "sha256:of-"+png.Jobs[0].ID, used[0].Digest)
}

func TestADependencyThatIsDamagedIsBuiltAgain(t *testing.T) {
	p := newComponentParts()
	p.hosts.tag(zlibURL, "v1", "z1")
	p.hosts.tag(pngURL, "v2", "p2", model.ComponentRef{Name: "zlib", Tag: "v1", URL: zlibURL})
	first, err := p.Component(t.Context(), ask(nil))
	require.NoError(t, err)
	zlib, err := p.SubmitComponent(t.Context(), model.ComponentRequest{Component: "zlib", Tag: "v1", URL: zlibURL, Architectures: []string{"arm64"}})
	require.NoError(t, err)
	require.Equal(t, first.Build.ID, zlib.Build.ID)
	p.succeedNow(t, first.Build.ID)
	p.tarballs.corrupt["sha256:of-"+first.Build.Jobs[0].ID] = true
	png, err := p.Component(t.Context(), ask(func(q *model.ComponentQuery) { q.Component, q.Tag, q.URL = "png", "v2", pngURL }))
	require.NoError(t, err)
	require.Len(t, png.Build.Jobs[0].WaitsFor, 1)
	require.NotEqual(t, first.Build.ID, png.Build.Jobs[0].WaitsFor[0])
}

func TestADependencyThatFailsFailsWhatNeedsIt(t *testing.T) {
	p := newComponentParts()
	p.hosts.tag(zlibURL, "v1", "z1")
	p.hosts.tag(pngURL, "v2", "p2", model.ComponentRef{Name: "zlib", Tag: "v1", URL: zlibURL})
	png := ask(func(q *model.ComponentQuery) { q.Component, q.Tag, q.URL = "png", "v2", pngURL })
	state, err := p.Component(t.Context(), png)
	require.NoError(t, err)
	zlib := state.Build.Jobs[0].WaitsFor[0]
	p.failNow(t, zlib, model.CodeStepFailed)
	b, err := p.store.Build(t.Context(), state.Build.ID)
	require.NoError(t, err)
	require.Equal(t, model.StatusFailed, b.Status)
	require.Equal(t, model.CodeDependencyFailed, b.Error.Code)
	require.Contains(t, b.Error.Message, "zlib@v1")
	require.Contains(t, b.Error.Message, string(model.CodeStepFailed))

	_, err = p.Component(t.Context(), png)
	require.Equal(t, model.CodeDependencyFailed, model.CodeOf(err), "it is known that it cannot be built")
	retried, err := p.Component(t.Context(), ask(func(q *model.ComponentQuery) { *q = png; q.Retry = true }))
	require.NoError(t, err)
	require.NotEqual(t, zlib, retried.Build.Jobs[0].WaitsFor[0])
}

// A component may need an earlier one of itself, also when nothing but the request says where it comes from.
func TestAComponentNeedsItsPredecessor(t *testing.T) {
	p := newComponentParts()
	p.hosts.tag(zlibURL, "v1", "z1")
	p.hosts.tag(zlibURL, "v2", "z2", model.ComponentRef{Name: "zlib", Tag: "v1"})
	state, err := p.Component(t.Context(), ask(func(q *model.ComponentQuery) { q.Tag = "v2" }))
	require.NoError(t, err)
	require.Len(t, state.Build.Jobs[0].WaitsFor, 1)
	require.Equal(t, "z1", state.Build.Component.Dependencies[0].Commit)
}

// What is wrong with a dependency is no fault of the address or the name that was asked for.
func TestAnUnknownDependencyIsInvalid(t *testing.T) {
	p := newComponentParts()
	p.hosts.tag(zlibURL, "v1", "z1", model.ComponentRef{Name: "nobody", Tag: "v1"})
	_, err := p.Component(t.Context(), ask(nil))
	require.Equal(t, model.CodeDependencyInvalid, model.CodeOf(err))
	require.Contains(t, err.Error(), "zlib@v1 -> nobody@v1: ")
	_, err = p.Component(t.Context(), ask(func(q *model.ComponentQuery) { q.Component, q.URL = "nobody", "" }))
	require.Equal(t, model.CodeComponentNotFound, model.CodeOf(err))
	_, err = p.Component(t.Context(), ask(func(q *model.ComponentQuery) { q.Tag = "v9" }))
	require.Equal(t, model.CodeRefNotFound, model.CodeOf(err))
	require.Equal(t, "tag", model.AsError(err).Field)
}

// postZlibForTwo has a component built for two platforms.
func (p *parts) postZlibForTwo(t *testing.T) model.Submission {
	t.Helper()
	p.hosts.tag(zlibURL, "v1", "z1")
	posted, err := p.SubmitComponent(t.Context(), model.ComponentRequest{
		Component: "zlib", Tag: "v1", URL: zlibURL, Architectures: []string{"amd64", "arm64"},
	})
	require.NoError(t, err)
	return posted
}

// What somebody else has built for several platforms serves who needs one of them, as soon as that one is there.
func TestOnePlatformOfABuildOfSeveral(t *testing.T) {
	p := newComponentParts()
	posted := p.postZlibForTwo(t)
	p.hosts.tag(pngURL, "v2", "p2", model.ComponentRef{Name: "zlib", Tag: "v1", URL: zlibURL})
	zlib := posted.Build.ID
	got, err := p.Component(t.Context(), ask(nil))
	require.NoError(t, err)
	require.Equal(t, zlib, got.Build.ID)
	png, err := p.Component(t.Context(), ask(func(q *model.ComponentQuery) { q.Component, q.Tag, q.URL = "png", "v2", pngURL }))
	require.NoError(t, err)
	require.Len(t, p.store.all(), 2, "what is being built is not built again")
	require.Equal(t, []string{zlib}, png.Build.Jobs[0].WaitsFor)
	require.Equal(t, zlibURL, png.Build.Component.Dependencies[0].URL)
	require.Equal(t, "z1", png.Build.Component.Dependencies[0].Commit)
	askers := func() int {
		b, err := p.store.Build(t.Context(), zlib)
		require.NoError(t, err)
		return b.Askers
	}
	require.Equal(t, 2, askers())

	p.succeedNow(t, zlib, arm)
	b, err := p.Wait(t.Context(), zlib, arm)
	require.NoError(t, err)
	require.False(t, b.Status.Terminal())
	made, err := p.Made(t.Context(), zlib, arm)
	require.NoError(t, err)
	require.NotNil(t, made.Component)
	require.Contains(t, p.queue.publishedBuilds(), png.Build.ID, "it goes on with the platform that it needs")
	require.Equal(t, 1, askers(), "of the other one it wants nothing")
	made, err = p.Made(t.Context(), zlib, "linux/amd64")
	require.NoError(t, err)
	require.NotNil(t, made.Build)
}

func TestOnePlatformOfABuildOfSeveralThatFails(t *testing.T) {
	p := newComponentParts()
	posted := p.postZlibForTwo(t)
	p.hosts.tag(pngURL, "v2", "p2", model.ComponentRef{Name: "zlib", Tag: "v1", URL: zlibURL})
	png, err := p.Component(t.Context(), ask(func(q *model.ComponentQuery) { q.Component, q.Tag, q.URL = "png", "v2", pngURL }))
	require.NoError(t, err)
	p.failNow(t, posted.Build.ID, model.CodeStepFailed, arm)
	made, err := p.Made(t.Context(), posted.Build.ID, arm)
	require.NoError(t, err)
	require.NotNil(t, made.Failed, "though the other platform is still being built")
	require.Equal(t, model.CodeStepFailed, made.Failed.Error.Code)
	b, err := p.store.Build(t.Context(), png.Build.ID)
	require.NoError(t, err)
	require.Equal(t, model.CodeDependencyFailed, b.Error.Code)
	require.Contains(t, b.Error.Message, string(model.CodeStepFailed))
	again, err := p.Component(t.Context(), ask(nil))
	require.NoError(t, err)
	require.Equal(t, posted.Build.ID, again.Failed.ID, "it is remembered of the platform alone")
	require.Equal(t, model.CodeStepFailed, again.Failed.Error.Code)
	retried, err := p.Component(t.Context(), ask(func(q *model.ComponentQuery) { q.Retry = true }))
	require.NoError(t, err)
	require.NotEqual(t, posted.Build.ID, retried.Build.ID, "what has failed there is not joined")
	other, err := p.Component(t.Context(), ask(func(q *model.ComponentQuery) { q.Architecture = "amd64" }))
	require.NoError(t, err)
	require.Equal(t, posted.Build.ID, other.Build.ID)
}

// A build that was joined while it was planned may be stopped before anything is recorded.
func TestADependencyThatIsStoppedMeanwhileIsBuiltAnew(t *testing.T) {
	p := newComponentParts()
	p.hosts.tag(zlibURL, "v1", "z1")
	zlib, err := p.Component(t.Context(), ask(nil))
	require.NoError(t, err)
	pl := p.newPlanner(model.Requester{}, false)
	needs, err := pl.dependencies(t.Context(), "", []model.ComponentRef{{Name: "zlib", Tag: "v1", URL: zlibURL}}, p.environment(""), arm)
	require.NoError(t, err)
	require.Equal(t, zlib.Build.ID, needs[0].build.ID)
	_, _, err = p.Cancel(t.Context(), zlib.Build.ID)
	require.NoError(t, err)
	deps, waits, err := pl.submitNeeds(t.Context(), needs)
	require.NoError(t, err)
	require.NotEqual(t, zlib.Build.ID, deps[0].BuildID)
	require.Equal(t, []string{deps[0].BuildID}, waits[arm])
}

// Bytes that were lost are made again, also while another platform of the build that made them is still being built.
func TestLostBytesOfAPlatformAreMadeAgain(t *testing.T) {
	p := newComponentParts()
	posted := p.postZlibForTwo(t)
	p.succeedNow(t, posted.Build.ID, arm)
	job, _ := posted.Build.JobFor(arm)
	p.tarballs.gone["sha256:of-"+job.ID] = true
	again, err := p.Component(t.Context(), ask(nil))
	require.NoError(t, err)
	require.NotNil(t, again.Build)
	require.NotEqual(t, posted.Build.ID, again.Build.ID)
}

// Layers of components that all need all of the layer below are planned in a moment: what each is made of is worked out
// once.
func TestManyWaysToADependency(t *testing.T) {
	p := newComponentParts()
	const wide, deep = 8, 20
	var below []model.ComponentRef
	for level := range deep {
		var layer []model.ComponentRef
		for i := range wide {
			name := fmt.Sprintf("c%d-%d", level, i)
			url := "https://host/" + name + ".git"
			p.hosts.tag(url, "v1", name, below...)
			layer = append(layer, model.ComponentRef{Name: name, Tag: "v1", URL: url})
		}
		below = layer
	}
	p.hosts.tag(zlibURL, "v1", "z1", below...)
	_, err := p.Component(t.Context(), ask(nil))
	require.NoError(t, err)
	require.Len(t, p.store.all(), wide*deep+1)
}

func TestCyclesAreSpelledOut(t *testing.T) {
	p := newComponentParts()
	p.hosts.tag("https://host/a.git", "1", "a1", model.ComponentRef{Name: "c", Tag: "1", URL: "https://host/c.git"}, model.ComponentRef{Name: "b", Tag: "1", URL: "https://host/b.git"})
	p.hosts.tag("https://host/b.git", "1", "b1", model.ComponentRef{Name: "a", Tag: "1", URL: "https://host/a.git"})
	p.hosts.tag("https://host/c.git", "1", "c1")
	_, err := p.Component(t.Context(), ask(func(q *model.ComponentQuery) { q.Component, q.Tag, q.URL = "a", "1", "https://host/a.git" }))
	require.Equal(t, model.CodeDependencyCycle, model.CodeOf(err))
	require.Contains(t, err.Error(), "a@1 -> b@1 -> a@1")
	require.Empty(t, p.store.all(), "nothing is built of a request that is refused")

	_, err = p.SubmitImage(t.Context(), request(func(r *model.ImageRequest) { r.Components = []string{"nobody@1"} }))
	require.Equal(t, model.CodeComponentNotFound, model.CodeOf(err))
}

func TestCancelingTakesBackWhatWasAskedOfOthers(t *testing.T) {
	p := newComponentParts()
	p.hosts.tag(zlibURL, "v1", "z1")
	p.hosts.tag(pngURL, "v2", "p2", model.ComponentRef{Name: "zlib", Tag: "v1", URL: zlibURL})
	sub, err := p.SubmitComponent(t.Context(), model.ComponentRequest{Component: "png", Tag: "v2", URL: pngURL, Architectures: []string{"arm64"}})
	require.NoError(t, err)
	_, left, err := p.Cancel(t.Context(), sub.Build.ID)
	require.NoError(t, err)
	require.Zero(t, left)
	p.background.Wait()
	zlib, err := p.store.Build(t.Context(), sub.Build.Jobs[0].WaitsFor[0])
	require.NoError(t, err)
	require.Equal(t, model.StatusCanceled, zlib.Status)
}

func TestEqualGETsThatComeTogetherArePlannedOnce(t *testing.T) {
	p := newComponentParts()
	p.hosts.tag(zlibURL, "v1", "c1")
	ids := make(chan string, 100)
	for range 100 {
		go func() {
			state, err := p.Component(t.Context(), ask(nil))
			if err != nil || state.Build == nil {
				ids <- "none"
				return
			}
			ids <- state.Build.ID
		}()
	}
	first := <-ids
	for range 99 {
		require.Equal(t, first, <-ids)
	}
	require.Len(t, p.store.all(), 1)
}

// Whoever can get a recipe built must not be able to put another component in the place of one that is known.
func TestARecipeDoesNotRebindAComponent(t *testing.T) {
	p := newComponentParts()
	const evilURL = "https://evil/zlib.git"
	p.hosts.tag(zlibURL, "v1", "z1")
	p.hosts.tag(evilURL, "v1", "e1")
	p.hosts.tag(pngURL, "v2", "p2", model.ComponentRef{Name: "zlib", Tag: "v1", URL: evilURL})
	p.values.from["zlib"] = model.Source{URL: zlibURL}
	png := ask(func(q *model.ComponentQuery) { q.Component, q.Tag, q.URL = "png", "v2", pngURL })
	_, err := p.Component(t.Context(), png)
	require.Equal(t, model.CodeDependencyInvalid, model.CodeOf(err))
	require.Contains(t, err.Error(), zlibURL)
	require.Contains(t, err.Error(), evilURL)
	require.Empty(t, p.store.all())

	delete(p.values.from, "zlib") // not known: two recipes of one request do not agree
	p.hosts.tag("https://host/app.git", "v3", "a3",
		model.ComponentRef{Name: "zlib", Tag: "v1", URL: zlibURL}, model.ComponentRef{Name: "png", Tag: "v2", URL: pngURL})
	_, err = p.Component(t.Context(), ask(func(q *model.ComponentQuery) { q.Component, q.Tag, q.URL = "app", "v3", "https://host/app.git" }))
	require.Equal(t, model.CodeDependencyInvalid, model.CodeOf(err))
	require.Empty(t, p.store.all())
}

// A failure is remembered of what it was built with: another build of a dependency is another input.
func TestAFailureEndsWithItsDependency(t *testing.T) {
	p := newComponentParts()
	p.hosts.tag(zlibURL, "v1", "z1")
	p.hosts.tag(pngURL, "v2", "p2", model.ComponentRef{Name: "zlib", Tag: "v1", URL: zlibURL})
	zlib, err := p.Component(t.Context(), ask(nil))
	require.NoError(t, err)
	p.succeedNow(t, zlib.Build.ID)
	png := ask(func(q *model.ComponentQuery) { q.Component, q.Tag, q.URL = "png", "v2", pngURL })
	first, err := p.Component(t.Context(), png)
	require.NoError(t, err)
	p.failNow(t, first.Build.ID, model.CodeStepFailed)
	again, err := p.Component(t.Context(), png)
	require.NoError(t, err)
	require.NotNil(t, again.Failed)

	rebuilt, err := p.SubmitComponent(t.Context(), model.ComponentRequest{
		Component: "zlib", Tag: "v1", URL: zlibURL, Architectures: []string{"arm64"}, BuildArgs: []string{"CFLAGS=-fPIC"},
	})
	require.NoError(t, err)
	p.succeedNow(t, rebuilt.Build.ID)
	fixed, err := p.Component(t.Context(), png)
	require.NoError(t, err)
	require.NotNil(t, fixed.Build, "zlib is another one now")
}

func TestRetryLooksAtATagAgain(t *testing.T) {
	p := newComponentParts()
	p.hosts.tag(zlibURL, "v1", "c1")
	first, err := p.Component(t.Context(), ask(nil))
	require.NoError(t, err)
	p.succeedNow(t, first.Build.ID)
	p.hosts.tag(zlibURL, "v1", "c2")
	retry := ask(func(q *model.ComponentQuery) { q.Retry = true })
	moved, err := p.Component(t.Context(), retry)
	require.NoError(t, err)
	require.Equal(t, "c2", moved.Build.Component.Source.Commit)
	p.succeedNow(t, moved.Build.ID)
	same, err := p.Component(t.Context(), retry)
	require.NoError(t, err)
	require.NotNil(t, same.Component, "what has not moved is not built again")

	digest := "sha256:of-" + first.Build.Jobs[0].ID
	kept, err := p.Component(t.Context(), ask(func(q *model.ComponentQuery) { q.Digest = digest }))
	require.NoError(t, err)
	require.Equal(t, first.Build.ID, kept.Component.BuildID)
	p.tarballs.gone[digest] = true
	_, err = p.Component(t.Context(), ask(func(q *model.ComponentQuery) { q.Digest = digest }))
	require.Equal(t, model.CodeNotFound, model.CodeOf(err))
}

func TestAPanicWhilePlanningIsAnError(t *testing.T) {
	p := newComponentParts()
	p.hosts.tag(zlibURL, "v1", "c1")
	p.Recipes = nil
	_, err := p.Component(t.Context(), ask(nil))
	require.Equal(t, model.CodeInternal, model.CodeOf(err))
}

func TestCacheMountsAreSharedByWhatTheSourceItselfNames(t *testing.T) {
	for _, test := range []struct {
		ref    string
		kind   model.RefKind
		args   map[string]string
		shared bool
	}{
		{"v1", model.RefTag, nil, true},
		{"main", model.RefBranch, nil, true},
		{"refs/heads/main", model.RefBranch, nil, true},
		{"0123456789012345678901234567890123456789", model.RefCommit, nil, false}, // of a fork, perhaps
		{"pull/7/head", model.RefBranch, nil, false},
		{"refs/pull/7/head", model.RefBranch, nil, false},
		{"v1", model.RefTag, map[string]string{"MAVEN_ARGS": "x"}, false},
	} {
		scope := cacheScope(wish{source: model.Source{URL: zlibURL, Ref: test.ref, Kind: test.kind, Commit: "c1"}, buildArgs: test.args})
		if test.shared {
			require.Equal(t, "source "+zlibURL, scope, test.ref)
		} else {
			require.Equal(t, "source "+zlibURL+" c1", scope, test.ref)
		}
	}
}
