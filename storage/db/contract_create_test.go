package db

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

func testCreateWhole(t *testing.T, d *DB) {
	b := newBuild(t, amd64, arm64)
	made := create(t, d, b)

	want := b
	want.Status, want.Askers, want.Created = model.StatusQueued, 1, stored(day)
	want.Jobs = nil
	for _, j := range b.Jobs {
		want.Jobs = append(want.Jobs, model.Job{
			ID: j.ID, BuildID: b.ID, Platform: j.Platform, Status: model.StatusQueued, Attempt: 1, Created: stored(day),
		})
	}
	require.Equal(t, want, made)
	read, err := d.Build(t.Context(), b.ID)
	require.NoError(t, err)
	require.Equal(t, want, read)
	read, err = d.BuildOfJob(t.Context(), b.Jobs[1].ID)
	require.NoError(t, err)
	require.Equal(t, want, read)
}

func testCreateJoins(t *testing.T, d *DB) {
	first := create(t, d, newBuild(t, amd64))
	again := newBuild(t, amd64)
	again.InputDigest = first.InputDigest

	joinedTo, joined, err := d.CreateBuild(t.Context(), again, nil, 0)
	require.NoError(t, err)
	require.True(t, joined)
	require.Equal(t, first.ID, joinedTo.ID)
	require.Equal(t, 2, joinedTo.Askers)
	require.Equal(t, first.Dockerfile, joinedTo.Dockerfile)
	_, err = d.Build(t.Context(), again.ID)
	requireCode(t, model.CodeNotFound, err)

	start(t, d, first.Jobs[0].ID, 1)
	joinedTo, joined, err = d.CreateBuild(t.Context(), again, nil, 0)
	require.NoError(t, err)
	require.True(t, joined, "a running build is joined too")
	require.Equal(t, 3, joinedTo.Askers)

	_, err = d.FinishJob(t.Context(), outcome(first.Jobs[0], model.StatusSucceeded), nil)
	require.NoError(t, err)
	require.Equal(t, again.ID, create(t, d, again).ID, "a build that ended is not joined")
}

func testCreateNotLeft(t *testing.T, d *DB) {
	first := create(t, d, newBuild(t, amd64))
	start(t, d, first.Jobs[0].ID, 1)
	left, err := d.Leave(t.Context(), first.ID)
	require.NoError(t, err)
	require.Zero(t, left)

	again := newBuild(t, amd64)
	again.InputDigest = first.InputDigest
	create(t, d, again)
}

func testCreateNoDigest(t *testing.T, d *DB) {
	for range 2 {
		b := newBuild(t, amd64)
		b.InputDigest = ""
		require.Empty(t, create(t, d, b).InputDigest)
	}
}

func testCreateIdempotent(t *testing.T, d *DB) {
	idem := &model.Idempotency{Key: "k1/first", RequestDigest: "sha256:r1"}
	first, joined, err := d.CreateBuild(t.Context(), newBuild(t, amd64), idem, 0)
	require.NoError(t, err)
	require.False(t, joined)

	again, joined, err := d.CreateBuild(t.Context(), newBuild(t, amd64), idem, 1)
	require.NoError(t, err, "the queue is full, but nothing is queued")
	require.True(t, joined)
	require.Equal(t, first, again, "askers included")

	_, _, err = d.CreateBuild(t.Context(), newBuild(t, amd64), &model.Idempotency{Key: idem.Key, RequestDigest: "sha256:r2"}, 0)
	requireCode(t, model.CodeIdempotencyKeyReused, err)

	// A key that came with a request which joined is remembered like any other.
	joining := newBuild(t, amd64)
	joining.InputDigest = first.InputDigest
	other := &model.Idempotency{Key: "k2/first", RequestDigest: "sha256:r1"}
	for range 2 {
		got, joined, err := d.CreateBuild(t.Context(), joining, other, 0)
		require.NoError(t, err)
		require.True(t, joined)
		require.Equal(t, first.ID, got.ID)
		require.Equal(t, 2, got.Askers)
	}
}

func testIdempotencyForgotten(t *testing.T, d *DB) {
	idem := &model.Idempotency{Key: "k1/first", RequestDigest: "sha256:r1"}
	_, _, err := d.CreateBuild(t.Context(), newBuild(t, amd64), idem, 0)
	require.NoError(t, err)

	purged := func(before time.Time) (joined bool) {
		t.Helper()
		require.NoError(t, d.PurgeIdempotency(t.Context(), before))
		_, joined, err := d.CreateBuild(t.Context(), newBuild(t, amd64), idem, 0)
		require.NoError(t, err)
		return joined
	}
	require.True(t, purged(day), "a key as old as the limit stays")
	require.False(t, purged(day.Add(time.Second)), "an older key goes")

	late := newBuild(t, amd64)
	late.Created = day.Add(25 * time.Hour)
	other := &model.Idempotency{Key: idem.Key, RequestDigest: "sha256:r2"}
	made, joined, err := d.CreateBuild(t.Context(), late, other, 0)
	require.NoError(t, err, "a key counts for a day, purged or not")
	require.False(t, joined)
	again, joined, err := d.CreateBuild(t.Context(), late, other, 0)
	require.NoError(t, err)
	require.True(t, joined, "and counts again from then on")
	require.Equal(t, made.ID, again.ID)
}

func testCreateQueueFull(t *testing.T, d *DB) {
	first := create(t, d, newBuild(t, amd64, arm64))
	_, _, err := d.CreateBuild(t.Context(), newBuild(t, amd64), nil, 2)
	requireCode(t, model.CodeQueueFull, err)

	equal := newBuild(t, amd64)
	equal.InputDigest = first.InputDigest
	_, joined, err := d.CreateBuild(t.Context(), equal, nil, 2)
	require.NoError(t, err)
	require.True(t, joined, "joining needs no place")

	start(t, d, first.Jobs[0].ID, 1)
	_, _, err = d.CreateBuild(t.Context(), newBuild(t, amd64), nil, 2)
	require.NoError(t, err, "a running job frees its place")
}

func testCreateRefuses(t *testing.T, d *DB) {
	_, _, err := d.CreateBuild(t.Context(), newBuild(t), nil, 0)
	requireCode(t, model.CodeInternal, err)

	b := create(t, d, newBuild(t, amd64))
	b.InputDigest = "sha256:other"
	b.Jobs[0].ID = newID(t)
	_, _, err = d.CreateBuild(t.Context(), b, nil, 0)
	requireCode(t, model.CodeInternal, err)

	twice := newBuild(t, amd64, amd64)
	_, _, err = d.CreateBuild(t.Context(), twice, nil, 0)
	requireCode(t, model.CodeInternal, err)
	_, err = d.Build(t.Context(), twice.ID)
	requireCode(t, model.CodeNotFound, err)
}

func testCreateRace(t *testing.T, d *DB) {
	const rounds = 100
	for range rounds {
		pair := [2]model.Build{newBuild(t, amd64), newBuild(t, amd64)}
		pair[1].InputDigest = pair[0].InputDigest
		var made [2]model.Build
		var joined [2]bool
		var errs [2]error
		var wg sync.WaitGroup
		for i := range pair {
			wg.Go(func() { made[i], joined[i], errs[i] = d.CreateBuild(t.Context(), pair[i], nil, 0) })
		}
		wg.Wait()
		require.NoError(t, errs[0])
		require.NoError(t, errs[1])
		require.Equal(t, made[0].ID, made[1].ID)
		require.NotEqual(t, joined[0], joined[1], "one makes it, one joins")
		b, err := d.Build(t.Context(), made[0].ID)
		require.NoError(t, err)
		require.Equal(t, 2, b.Askers)
	}
	all, err := d.Builds(t.Context(), model.BuildFilter{Limit: maxLimit})
	require.NoError(t, err)
	require.Len(t, all, rounds)
}

func testCreateAnyText(t *testing.T, d *DB) {
	b := newBuild(t, amd64)
	b.Dockerfile = "FROM scratch\n# \x00 é 日本 '; DROP TABLE builds; --" + strings.Repeat("x", 1<<20)
	b.Requester.LinuxUsername = "a\x00b'\"`"
	b.Image.BuildArgs = map[string]string{"A\n": "\x00\u2028"}
	create(t, d, b)
	got, err := d.Build(t.Context(), b.ID)
	require.NoError(t, err)
	require.Equal(t, b.Dockerfile, got.Dockerfile)
	require.Equal(t, b.Requester, got.Requester)
	require.Equal(t, b.Image, got.Image)
}
