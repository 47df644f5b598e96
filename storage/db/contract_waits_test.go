package db

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

// waiting makes a build that waits for the others with its first job.
func waiting(t *testing.T, d *DB, others ...model.Build) model.Build {
	t.Helper()
	b := newComponent(t, "curl", newID(t), amd64, arm64)
	b.Jobs[0].WaitsFor = ids(others)
	return create(t, d, b)
}

// due returns the IDs of the jobs that every one of the queue's queries gives; they must agree.
func due(t *testing.T, d *DB) []string {
	t.Helper()
	unpublished, err := d.Unpublished(t.Context(), 100)
	require.NoError(t, err)
	queued, err := d.QueuedOrders(t.Context())
	require.NoError(t, err)
	require.Equal(t, queued, unpublished)
	since, err := d.QueuedSince(t.Context(), time.Now().Add(24*365*time.Hour), 100)
	require.NoError(t, err)
	require.Equal(t, queued, since)
	list := []string{}
	for _, o := range queued {
		list = append(list, o.JobID)
	}
	return list
}

func testWaitsHoldBack(t *testing.T, d *DB) {
	one, two := create(t, d, newComponent(t, "zlib", "v1", amd64)), create(t, d, newComponent(t, "zstd", "v1", amd64))
	b := waiting(t, d, one, two, one)
	require.Equal(t, ids([]model.Build{one, two}), b.Jobs[0].WaitsFor, "each once")
	require.Nil(t, b.Jobs[1].WaitsFor)
	read, err := d.Build(t.Context(), b.ID)
	require.NoError(t, err)
	require.Equal(t, b, read)
	page, err := d.Builds(t.Context(), model.BuildFilter{Component: "curl"})
	require.NoError(t, err)
	require.Equal(t, b.Jobs, page[0].Jobs)

	free := []string{one.Jobs[0].ID, two.Jobs[0].ID, b.Jobs[1].ID}
	require.Equal(t, free, due(t, d))
	later := create(t, d, newBuild(t, amd64))
	place, err := d.QueuePosition(t.Context(), later.Jobs[0].ID)
	require.NoError(t, err)
	require.Equal(t, 2, place, "what waits is not before it")

	_, err = d.StartJob(t.Context(), b.Jobs[0].ID, 1, "w", day)
	requireCode(t, model.CodeLeaseLost, err)
	for _, c := range []struct {
		build string
		left  int
	}{{newID(t), 2}, {two.ID, 1}, {two.ID, 1}, {one.ID, 0}, {one.ID, 0}} {
		left, _, err := d.EndWait(t.Context(), b.Jobs[0].ID, c.build)
		require.NoError(t, err)
		require.Equal(t, c.left, left)
	}
	require.Equal(t, []string{free[0], free[1], b.Jobs[0].ID, free[2], later.Jobs[0].ID}, due(t, d), "in its old place")
	require.Nil(t, start(t, d, b.Jobs[0].ID, 1).Jobs[0].WaitsFor)
	_, _, err = d.EndWait(t.Context(), newID(t), one.ID)
	requireCode(t, model.CodeNotFound, err)
}

// testWaitsAge checks that a job is not late because it waited.
func testWaitsAge(t *testing.T, d *DB) {
	dep := create(t, d, newComponent(t, "zlib", "v1", amd64))
	b := newComponent(t, "curl", "v1", amd64)
	b.Created = time.Now().Add(-48 * time.Hour)
	b.Jobs[0].WaitsFor = []string{dep.ID}
	b = create(t, d, b)
	since := func(age time.Duration) int {
		t.Helper()
		orders, err := d.QueuedSince(t.Context(), time.Now().Add(-age), 100)
		require.NoError(t, err)
		n := 0
		for _, o := range orders {
			if o.BuildID == b.ID {
				n++
			}
		}
		return n
	}
	require.Zero(t, since(24*time.Hour))
	_, _, err := d.EndWait(t.Context(), b.Jobs[0].ID, dep.ID)
	require.NoError(t, err)
	require.Zero(t, since(time.Hour), "it is due only now")
	require.Equal(t, 1, since(-time.Hour))
}

func testEndedWaits(t *testing.T, d *DB) {
	var deps []model.Build
	for range 4 {
		deps = append(deps, create(t, d, newComponent(t, "zlib", newID(t), amd64)))
	}
	first, then := waiting(t, d, deps...), waiting(t, d, deps[0])
	gone := waiting(t, d, deps[0])
	_, err := d.CancelQueued(t.Context(), gone.ID, model.Failure{Code: model.CodeCanceled, Message: "no"}, day)
	require.NoError(t, err)
	ended := func(limit int) []model.Wait {
		t.Helper()
		waits, err := d.EndedWaits(t.Context(), limit)
		require.NoError(t, err)
		return waits
	}
	require.Empty(t, ended(10))
	for i, s := range []model.Status{model.StatusSucceeded, model.StatusFailed, model.StatusCanceled} {
		start(t, d, deps[i].Jobs[0].ID, 1)
		require.Len(t, ended(10), []int{0, 2, 3}[i], "a build that runs has not ended")
		_, err := d.FinishJob(t.Context(), outcome(deps[i].Jobs[0], s), nil)
		require.NoError(t, err)
	}
	job := first.Jobs[0].ID
	want := []model.Wait{
		{JobID: job, BuildID: deps[0].ID, Status: model.StatusSucceeded},
		{JobID: job, BuildID: deps[1].ID, Status: model.StatusFailed},
		{JobID: job, BuildID: deps[2].ID, Status: model.StatusCanceled},
		{JobID: then.Jobs[0].ID, BuildID: deps[0].ID, Status: model.StatusSucceeded},
	}
	require.Equal(t, want, ended(10))
	require.Equal(t, want[:2], ended(2))
	_, _, err = d.EndWait(t.Context(), job, deps[0].ID)
	require.NoError(t, err)
	require.Equal(t, want[1:], ended(10))
}

// testEndedPlatforms checks that only the platform of the job that waits is waited for.
func testEndedPlatforms(t *testing.T, d *DB) {
	dep := create(t, d, newComponent(t, "zlib", "v1", amd64, arm64))
	b := waiting(t, d, dep)
	mine, other := dep.Jobs[0], dep.Jobs[1]
	require.Equal(t, b.Jobs[0].Platform, mine.Platform)
	for _, j := range []model.Job{other, mine} {
		waits, err := d.EndedWaits(t.Context(), 10)
		require.NoError(t, err)
		require.Empty(t, waits)
		start(t, d, j.ID, 1)
		_, err = d.FinishJob(t.Context(), outcome(j, model.StatusSucceeded), nil)
		require.NoError(t, err)
	}
	waits, err := d.EndedWaits(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []model.Wait{{JobID: b.Jobs[0].ID, BuildID: dep.ID, Status: model.StatusSucceeded}}, waits)
}

// testDropWaits ends a job that waits: what it waited for can be told until it is dropped.
func testDropWaits(t *testing.T, d *DB) {
	for name, end := range map[string]func(model.Build) (model.Build, error){
		"canceled": func(b model.Build) (model.Build, error) {
			return d.CancelQueued(t.Context(), b.ID, model.Failure{Code: model.CodeCanceled, Message: "no"}, day)
		},
		"failed": func(b model.Build) (model.Build, error) {
			return d.FinishJob(t.Context(), outcome(b.Jobs[0], model.StatusFailed), nil)
		},
	} {
		one, two := create(t, d, newComponent(t, "zlib", newID(t), amd64)), create(t, d, newComponent(t, "zstd", newID(t), amd64))
		b := waiting(t, d, one, two)
		want := ids([]model.Build{one, two})
		left := func() []string {
			jobs, err := d.LeftWaits(t.Context(), 10)
			require.NoError(t, err, name)
			return jobs
		}
		require.Empty(t, left(), name)
		b, err := end(b)
		require.NoError(t, err, name)
		require.Equal(t, []string{b.Jobs[0].ID}, left(), "a crash may come before they are dropped")
		require.True(t, b.Jobs[0].Status.Terminal(), name)
		require.Equal(t, want, b.Jobs[0].WaitsFor, name)
		for _, want := range [][]string{want, nil} {
			dropped, err := d.DropWaits(t.Context(), b.Jobs[0].ID)
			require.NoError(t, err, name)
			require.ElementsMatch(t, want, dropped, name)
		}
		require.Empty(t, left(), name)
		b, err = d.Build(t.Context(), b.ID)
		require.NoError(t, err, name)
		require.Nil(t, b.Jobs[0].WaitsFor, name)
	}
	dropped, err := d.DropWaits(t.Context(), newID(t))
	require.NoError(t, err)
	require.Empty(t, dropped)
}

func testWaitsRefused(t *testing.T, d *DB) {
	b := newComponent(t, "curl", "v1", amd64)
	b.Jobs[0].WaitsFor = []string{newID(t)}
	_, _, err := d.CreateBuild(t.Context(), b, nil, 0)
	requireCode(t, model.CodeInternal, err)
	_, err = d.Build(t.Context(), b.ID)
	requireCode(t, model.CodeNotFound, err)
	_, err = d.ComponentSource(t.Context(), "curl")
	requireCode(t, model.CodeNotFound, err)
}

// testWaitsJoined checks that a request that joined adds no waits.
func testWaitsJoined(t *testing.T, d *DB) {
	dep := create(t, d, newComponent(t, "zlib", "v1", amd64))
	b := newComponent(t, "curl", "v1", amd64)
	create(t, d, b)
	b.ID, b.Jobs[0].WaitsFor = newID(t), []string{dep.ID}
	got, joined, err := d.CreateBuild(t.Context(), b, nil, 0)
	require.NoError(t, err)
	require.True(t, joined)
	require.Nil(t, got.Jobs[0].WaitsFor)
	require.Contains(t, due(t, d), got.Jobs[0].ID)
}

// testWaitsRace ends the waits of a job at once: exactly one caller sees that it is due.
func testWaitsRace(t *testing.T, d *DB) {
	for range 10 {
		var deps []model.Build
		for range 6 {
			deps = append(deps, create(t, d, newComponent(t, "zlib", newID(t), amd64)))
		}
		b := waiting(t, d, deps...)
		left := make([]int, len(deps))
		errs := make([]error, len(deps))
		var wg sync.WaitGroup
		for i, dep := range deps {
			wg.Go(func() { left[i], _, errs[i] = d.EndWait(t.Context(), b.Jobs[0].ID, dep.ID) })
		}
		wg.Wait()
		for _, err := range errs {
			require.NoError(t, err)
		}
		require.ElementsMatch(t, []int{0, 1, 2, 3, 4, 5}, left)
	}
}

// testWaitsGiveBack checks that a wait is one asker of the build that is waited for, which is taken off once, whoever ends
// the wait how often.
func testWaitsGiveBack(t *testing.T, d *DB) {
	dep := create(t, d, newComponent(t, "zlib", "v1", amd64, arm64))
	_, err := d.Join(t.Context(), dep.ID, amd64)
	require.NoError(t, err)
	one, two := waiting(t, d, dep), waiting(t, d, dep)
	askers := func() int {
		t.Helper()
		b, err := d.Build(t.Context(), dep.ID)
		require.NoError(t, err)
		return b.Askers
	}
	for i, b := range []model.Build{one, two} {
		var last atomic.Int32
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for j := range errs {
			wg.Go(func() {
				var abandoned bool
				if _, abandoned, errs[j] = d.EndWait(t.Context(), b.Jobs[0].ID, dep.ID); abandoned {
					last.Add(1)
				}
			})
		}
		wg.Wait()
		require.NoError(t, errors.Join(errs...))
		require.Equal(t, 1-i, askers())
		require.Equal(t, int32(i), last.Load(), "one of them is told")
	}
	ended := create(t, d, newComponent(t, "zstd", "v1", amd64))
	succeedComponent(t, d, ended.Jobs[0], "sha256:ended")
	b := waiting(t, d, ended)
	_, abandoned, err := d.EndWait(t.Context(), b.Jobs[0].ID, ended.ID)
	require.NoError(t, err)
	require.False(t, abandoned, "there is nothing to stop")
}
