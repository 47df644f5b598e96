package db

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

func testOutbox(t *testing.T, d *DB) {
	var want []model.Order
	for range 3 {
		for _, j := range create(t, d, newBuild(t, amd64, arm64)).Jobs {
			want = append(want, model.Order{JobID: j.ID, BuildID: j.BuildID, Attempt: 1, Platform: j.Platform})
		}
	}
	unpublished := func(limit int) []model.Order {
		t.Helper()
		orders, err := d.Unpublished(t.Context(), limit)
		require.NoError(t, err)
		return orders
	}
	require.Equal(t, want[:2], unpublished(2))
	require.Equal(t, want, unpublished(100))

	require.NoError(t, d.MarkPublished(t.Context(), want[0].JobID, 1))
	require.NoError(t, d.MarkPublished(t.Context(), want[0].JobID, 1))
	require.NoError(t, d.MarkPublished(t.Context(), want[1].JobID, 2), "another attempt")
	start(t, d, want[2].JobID, 1)
	require.NoError(t, d.MarkPublished(t.Context(), want[2].JobID, 1), "it has started meanwhile")
	require.Equal(t, append([]model.Order{want[1]}, want[3:]...), unpublished(100))

	queued, err := d.QueuedOrders(t.Context())
	require.NoError(t, err)
	require.Equal(t, append(slices.Clone(want[:2]), want[3:]...), queued)

	_, err = d.RequeueJob(t.Context(), want[2].JobID, 1)
	require.NoError(t, err)
	want[2].Attempt = 2
	require.Equal(t, want[1:], unpublished(100), "queued again, in its old place")
}

func testQueuedSince(t *testing.T, d *DB) {
	var jobs []model.Job
	for i := range 4 {
		b := newBuild(t, amd64)
		b.Created = day.Add(time.Duration(i) * time.Minute)
		jobs = append(jobs, create(t, d, b).Jobs[0])
	}
	start(t, d, jobs[1].ID, 1)
	for _, c := range []struct {
		before time.Duration
		limit  int
		want   []model.Job
	}{
		{0, 9, nil},
		{time.Second, 9, jobs[:1]},
		{2 * time.Minute, 9, jobs[:1]},
		{time.Hour, 9, []model.Job{jobs[0], jobs[2], jobs[3]}},
		{time.Hour, 2, []model.Job{jobs[0], jobs[2]}},
	} {
		got, err := d.QueuedSince(t.Context(), day.Add(c.before), c.limit)
		require.NoError(t, err)
		require.Len(t, got, len(c.want), "%+v", c)
		for i, j := range c.want {
			require.Equal(t, j.ID, got[i].JobID)
		}
	}
}

func testLogs(t *testing.T, d *DB) {
	var ended []string
	for range 3 {
		b := create(t, d, newBuild(t, amd64, arm64))
		b, err := d.FinishJob(t.Context(), outcome(b.Jobs[0], model.StatusFailed), nil)
		require.NoError(t, err)
		ended = append(ended, b.Jobs[0].ID)
	}
	without := func(limit int) []string {
		t.Helper()
		jobs, err := d.JobsWithoutLog(t.Context(), limit)
		require.NoError(t, err)
		list := []string{}
		for _, j := range jobs {
			require.False(t, j.LogStored)
			list = append(list, j.ID)
		}
		return list
	}
	require.Equal(t, ended[:2], without(2))
	for range 2 {
		require.NoError(t, d.MarkLogStored(t.Context(), ended[0]))
	}
	require.Equal(t, ended[1:], without(10))
	b, err := d.BuildOfJob(t.Context(), ended[0])
	require.NoError(t, err)
	require.True(t, b.Jobs[0].LogStored)
}

func testQueuePosition(t *testing.T, d *DB) {
	var builds []model.Build
	for range 3 {
		builds = append(builds, create(t, d, newBuild(t, amd64, arm64)))
	}
	position := func(build, job int) int {
		t.Helper()
		n, err := d.QueuePosition(t.Context(), builds[build].Jobs[job].ID)
		require.NoError(t, err)
		return n
	}
	require.Equal(t, []int{0, 1, 2}, []int{position(0, 0), position(1, 0), position(2, 0)})
	start(t, d, builds[0].Jobs[0].ID, 1)
	require.Equal(t, []int{0, 0, 1}, []int{position(0, 0), position(1, 0), position(2, 0)})
	require.Equal(t, 2, position(2, 1), "the other platform's queue stands still")
}

// testBuildsFilter holds each filter, and pairs of them, against a filter written in Go.
func testBuildsFilter(t *testing.T, d *DB) {
	var all []model.Build
	for i := range 24 {
		platforms := [][]string{{amd64}, {arm64}, {amd64, arm64}}[i%3]
		component := []string{"shop", "cart"}[i/2%2]
		b := newBuild(t, platforms...)
		b.Image.Component = component
		b.Image.Branch = []string{"main", "next", "fix"}[i%3]
		if i%2 == 1 {
			b = newComponent(t, component, "v1", platforms...)
		}
		b.Requester = []model.Requester{{LinuxUsername: "ada"}, {GithubUsername: "ada"}, {LinuxUsername: "bob", GithubUsername: "bob"}, {}}[i%4]
		create(t, d, b)
		if i%4 == 0 {
			_, err := d.CancelQueued(t.Context(), b.ID, model.Failure{Code: model.CodeCanceled, Message: "no"}, day)
			require.NoError(t, err)
		}
		b, err := d.Build(t.Context(), b.ID)
		require.NoError(t, err)
		b.Dockerfile = ""
		all = append([]model.Build{b}, all...)
	}
	parts := []model.BuildFilter{
		{},
		{Status: model.StatusQueued},
		{Status: model.StatusCanceled},
		{Status: model.StatusFailed},
		{Kind: model.KindComponent},
		{Component: "cart"},
		{Branch: "next"},
		{Platform: arm64},
		{Platform: "linux/s390x"},
		{Requester: "ada"},
		{Requester: "bob"},
		{Requester: "eve"},
		{Before: all[9].ID},
		{Limit: 3},
	}
	for _, a := range parts {
		for _, b := range parts {
			f := merge(a, b)
			got, err := d.Builds(t.Context(), f)
			require.NoError(t, err)
			require.Equal(t, ids(choose(all, f)), ids(got), "%+v", f)
		}
	}
	got, err := d.Builds(t.Context(), model.BuildFilter{})
	require.NoError(t, err)
	require.Equal(t, all, got, "with jobs and without Dockerfiles")
}

func merge(a, b model.BuildFilter) model.BuildFilter {
	if b.Status != "" {
		a.Status = b.Status
	}
	if b.Kind != "" {
		a.Kind = b.Kind
	}
	if b.Component != "" {
		a.Component = b.Component
	}
	if b.Branch != "" {
		a.Branch = b.Branch
	}
	if b.Platform != "" {
		a.Platform = b.Platform
	}
	if b.Requester != "" {
		a.Requester = b.Requester
	}
	if b.Before != "" {
		a.Before = b.Before
	}
	a.Limit = max(a.Limit, b.Limit)
	return a
}

func choose(all []model.Build, f model.BuildFilter) []model.Build {
	var some []model.Build
	for _, b := range all {
		r := b.Requester
		if (f.Status == "" || b.Status == f.Status) && (f.Kind == "" || b.Kind == f.Kind) &&
			(f.Component == "" || b.Image.Component+b.Component.Name == f.Component) && (f.Branch == "" || b.Image.Branch == f.Branch) &&
			(f.Platform == "" || slices.ContainsFunc(b.Jobs, func(j model.Job) bool { return j.Platform == f.Platform })) &&
			(f.Requester == "" || r.LinuxUsername == f.Requester || r.GithubUsername == f.Requester) &&
			(f.Before == "" || b.ID < f.Before) && (f.Limit == 0 || len(some) < f.Limit) {
			some = append(some, b)
		}
	}
	return some
}

func testBuildsPages(t *testing.T, d *DB) {
	var want []string
	for range 10 {
		want = append([]string{create(t, d, newBuild(t, amd64)).ID}, want...)
	}
	for _, f := range []model.BuildFilter{{}, {Platform: amd64}, {Requester: "ada"}, {Status: model.StatusQueued}} {
		got := []string{}
		f.Limit = 3
		for {
			page, err := d.Builds(t.Context(), f)
			require.NoError(t, err)
			if len(page) == 0 {
				break
			}
			got = append(got, ids(page)...)
			f.Before = got[len(got)-1]
		}
		require.Equal(t, want, got)
	}
}

func testInFlight(t *testing.T, d *DB) {
	older := create(t, d, newBuild(t, amd64, arm64))
	newer := create(t, d, newBuild(t, amd64))
	inFlight := func(platform string) model.Build {
		t.Helper()
		b, err := d.InFlight(t.Context(), older.Image.Repository, older.Image.Tag, platform)
		require.NoError(t, err)
		return b
	}
	require.Equal(t, newer, inFlight(""))
	require.Equal(t, newer, inFlight(amd64))
	require.Equal(t, older, inFlight(arm64))
	_, err := d.InFlight(t.Context(), older.Image.Repository, "other", "")
	requireCode(t, model.CodeNotFound, err)

	start(t, d, newer.Jobs[0].ID, 1)
	require.Equal(t, newer.ID, inFlight(amd64).ID, "running is in flight")
	_, err = d.FinishJob(t.Context(), outcome(newer.Jobs[0], model.StatusSucceeded), nil)
	require.NoError(t, err)
	require.Equal(t, older, inFlight(amd64))
	_, err = d.CancelQueued(t.Context(), older.ID, model.Failure{Code: model.CodeCanceled, Message: "no"}, day)
	require.NoError(t, err)
	_, err = d.InFlight(t.Context(), older.Image.Repository, older.Image.Tag, "")
	requireCode(t, model.CodeNotFound, err)
}
